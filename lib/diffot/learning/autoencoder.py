"""A conditional variational autoencoder: what diffusion models are compared with.

The same latent under different labels: an autoencoder has one prior and one decoder for all
labels too, but its loss ties its map to no diffusion process. What its images have in common, a
diffusion model's may have in common for no deeper reason (Khrulkov & Oseledets 2022, section 3.5,
compare with a conditional GAN).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffot.data.images import LabeledImages
from diffot.errors import (
    as_classes,
    as_whole_number,
    require,
    require_generator,
    require_images,
    require_points,
    require_same_shape,
    require_type,
    unknown_name,
)
from diffot.learning.datasets import require_labels
from diffot.learning.networks import as_widths
from diffot.learning.objectives import Examples, Inputs, Objective
from diffot.seeds import generator

GROUPS = 8  # of channels that are normalized together
BATCH = 250  # images at a time where nothing is learned


def as_class_counts(labels: Mapping[str, int]) -> dict[str, int]:
    """Names of labels and their numbers of classes, checked."""
    require_type(labels, Mapping, "labels", "a dict of numbers of classes")
    return {
        name: as_whole_number(classes, f"the classes of {name!r} in labels", least=1)
        for name, classes in labels.items()
    }


class ConditionalVAE(nn.Module):
    r"""A convolutional variational autoencoder that is told labels (Kingma & Welling 2014; Sohn,
    Lee & Yan 2015).

    The prior is :math:`z \sim N(0, I)` whatever the labels y; the decoder says :math:`p(x|z, y)
    = N(d(z, y), \sigma^2 I)` with one learned :math:`\sigma` for all pixels, which leaves no
    weight between the two terms of the bound to be chosen (Rybkin, Daniilidis & Levine 2021);
    the encoder says :math:`q(z|x, y)`, normal with independent coordinates. Each level halves
    the resolution by a 4 x 4 convolution, on the way up by a transposed one. Labels enter as one
    learned vector for each class, beside the features of the image and beside the latent.

    Args:
        labels: number of classes of each label, as in ``{"smile": 2, "hair_color": 5}``; ``{}``
            for an autoencoder that is told nothing but the image.
        channels, size: of the images; the size in pixels is a multiple of 2^levels.
        widths: channels of each level, multiples of 8.
        latents: dimension k of the latents.
        embedding: length of the vector that carries the labels.

    Raises:
        TypeError: for arguments of other types.
        ValueError: if sizes do not fit.
    """

    def __init__(
        self,
        labels: Mapping[str, int],
        channels: int = 3,
        size: int = 32,
        widths: Sequence[int] = (32, 64, 128),
        latents: int = 64,
        embedding: int = 64,
    ):
        super().__init__()
        self.labels = as_class_counts(labels)
        channels = as_whole_number(channels, "channels", least=1)
        size = as_whole_number(size, "size", least=1)
        widths = as_widths(widths, GROUPS, least=1)
        latents = as_whole_number(latents, "latents", least=1)
        embedding = as_whole_number(embedding, "embedding", least=1)
        require(
            size % 2 ** len(widths) == 0,
            f"images of {size} pixels cannot be halved {len(widths)} times; use fewer levels",
        )
        self.latents, self.shape, self.embedding = latents, (channels, size, size), embedding
        side = size // 2 ** len(widths)
        features, hidden = widths[-1] * side**2, 2 * widths[-1]
        self.label = nn.ModuleDict(
            {name: nn.Embedding(classes, embedding) for name, classes in self.labels.items()}
        )
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for start, end in zip([channels, *widths], widths):
            convolution = nn.Conv2d(start, end, 4, stride=2, padding=1)
            down += [convolution, nn.GroupNorm(GROUPS, end), nn.SiLU()]
        for start, end in zip(reversed(widths), [*reversed(widths[:-1]), channels]):
            back = nn.ConvTranspose2d(start, end, 4, stride=2, padding=1)
            up += [nn.GroupNorm(GROUPS, start), nn.SiLU(), back]
        self.down, self.up = nn.Sequential(*down, nn.Flatten()), nn.Sequential(*up)
        self.posterior = nn.Sequential(
            nn.Linear(features + embedding, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latents)
        )
        self.start = nn.Sequential(
            nn.Linear(latents + embedding, hidden),
            nn.SiLU(),
            nn.Linear(hidden, features),
            nn.Unflatten(1, (widths[-1], side, side)),
        )
        # about the spread of images around their mean, from where it falls
        self.log_sigma = nn.Parameter(torch.tensor(-1.0))

    def encode(self, images: Tensor, labels: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of q(z|x, y), shape (B, k) each.

        Args:
            images: shape (B, channels, size, size), values in [-1, 1].
            labels: all labels of the images, whole numbers or truth values of shape (B,).

        Raises:
            TypeError: for arguments of other types.
            ValueError: for images of another shape, or labels that are missing or unknown.
        """
        require_images(images)
        require(
            tuple(images.shape[1:]) == self.shape,
            f"images have shape {tuple(images.shape)}; expected (B, "
            f"{', '.join(map(str, self.shape))})",
        )
        features = torch.cat([self.down(images), self._embed(labels, len(images))], 1)
        mean, log_variance = self.posterior(features).chunk(2, 1)
        return mean, log_variance

    def decode(self, z: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
        """The mean d(z, y) of p(x|z, y), shape (B, channels, size, size); not clamped.

        Args:
            z: latents, shape (B, k).
            labels: whole numbers or truth values of shape (B,) for every label.

        Raises:
            TypeError: for arguments of other types.
            ValueError: for latents of another shape, or labels that are missing or unknown.
        """
        require_points(z, self.latents, "z")
        return self._decoded(z, labels)

    def _decoded(self, z: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
        return self.up(self.start(torch.cat([z, self._embed(labels, len(z))], 1)))

    def _embed(self, labels: Mapping[str, Tensor], count: int) -> Tensor:
        """The vector that stands for the labels, shape (count, embedding)."""
        require_type(labels, Mapping, "labels", "a dict of tensors of shape (B,)")
        for name in labels:
            require(name in self.labels, unknown_name("label", name, self.labels))
        vector = self.log_sigma.new_zeros(count, self.embedding)
        for name, classes in self.labels.items():
            require(name in labels, f"label {name!r} is missing; all are needed: "
                    f"{', '.join(self.labels)}")  # fmt: skip
            index = as_classes(labels[name], f"label {name!r}", classes)
            require(
                len(index) == count,
                f"label {name!r} has {len(index)} values for {count} images or latents",
            )
            vector = vector + self.label[name](index)
        return vector


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Divergence of :math:`N(m, \operatorname{diag} e^l)` from N(0, I), in nats.

    :math:`\tfrac12 \sum_i (m_i^2 + e^{l_i} - l_i - 1)` (Kingma & Welling 2014, appendix B;
    thesis eq. 2.22 and Kim & Lee 2024, eq. 34, for the second Gaussian N(0, I)).

    Args:
        mean, log_variance: m and l, shape (B, k).

    Returns:
        Shape (B,).

    Raises:
        TypeError, ValueError: unless both are finite and of the same shape (B, k).
    """
    require_points(mean, name="mean")
    require_points(log_variance, name="log_variance")
    require_same_shape(mean, log_variance, ("mean", "log_variance"))
    return _divergence(mean, log_variance)


def _divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(1)


@dataclass(frozen=True)
class Bound:
    """The two terms of the evidence lower bound of each image, in nats, shape (B,) each.

    ``log_likelihood`` is log p(x|z, y) of one z drawn from q(z|x, y); ``divergence`` that of
    q(z|x, y) from the prior. The bound is their difference.
    """

    log_likelihood: Tensor
    divergence: Tensor

    @property
    def elbo(self) -> Tensor:
        """log p(x|y) is at least the mean of this, shape (B,)."""
        return self.log_likelihood - self.divergence


def evidence_bound(
    network: ConditionalVAE,
    images: Tensor,
    labels: Mapping[str, Tensor],
    generator: torch.Generator,
) -> Bound:
    r"""The evidence lower bound :math:`E_q \log p(x|z, y) - KL(q(z|x, y) \| N(0, I))` with one
    draw of z for each image; weight of the divergence 1 (thesis eqs. 3.3 and 3.7; Kim & Lee 2024,
    eqs. 11 and 12). Arguments as for :meth:`ConditionalVAE.encode`."""
    require_type(network, ConditionalVAE, "network", "a ConditionalVAE")
    require_generator(generator)
    posterior = network.encode(images, labels)
    noise = torch.randn(posterior[0].shape, generator=generator)
    return _bound(network, images, labels, posterior, noise)


def _bound(
    network: ConditionalVAE,
    images: Tensor,
    labels: Mapping[str, Tensor],
    posterior: tuple[Tensor, Tensor],
    noise: Tensor,
) -> Bound:
    """The bound of these images, whose posterior is known, for the latents with this noise."""
    mean, log_variance = posterior
    z = mean + (log_variance / 2).exp() * noise
    squares = (images - network._decoded(z, labels)).square().flatten(1)
    log_sigma = network.log_sigma
    log_likelihood = -(
        squares.sum(1) / (2 * (2 * log_sigma).exp())
        + squares.shape[1] * (log_sigma + math.log(2 * math.pi) / 2)
    )
    return Bound(log_likelihood, _divergence(mean, log_variance))


class EvidenceLoss(Objective):
    """Minus the evidence lower bound of each image, in nats, with one draw of its latent (thesis
    eqs. 3.3 and 3.7).

    Args:
        labels: those of the images that the network is conditioned on.
        latents: dimension of the latents.
    """

    def __init__(self, labels: Iterable[str], latents: int):
        self.labels, self.latents = tuple(labels), latents

    def prepare(self, examples: Examples, generator: torch.Generator) -> Inputs:
        images, labels = examples
        noise = torch.randn(len(images), self.latents, generator=generator)
        return images, {name: labels[name] for name in self.labels}, noise

    def __call__(self, network: ConditionalVAE, inputs: Inputs) -> Tensor:
        images, labels, noise = inputs
        return -_bound(network, images, labels, network.encode(images, labels), noise).elbo


def evaluate(network: ConditionalVAE, data: LabeledImages, seed: int = 0) -> dict[str, float]:
    """How well an autoencoder describes images, as means over them.

    Returns:
        ``negative_elbo`` and its part ``divergence``, in nats; ``rmse``, the root mean square
        difference of images and the decoded means of their codes; ``rmse_other_latent``, the
        same for codes of other images with the labels of this one; and ``rmse_labels_only``, for
        the latent 0. Pixels lie in [-1, 1].

    Raises:
        ValueError: if there are no images, or they lack a label.
    """
    require_type(network, ConditionalVAE, "network", "a ConditionalVAE")
    require_labels(data, network.labels)
    seed = as_whole_number(seed, "seed", least=0)
    require(len(data) > 0, "data holds no images to evaluate on")
    draws = generator(seed, "evaluating an autoencoder")
    bounds, divergences, errors = [], [], []
    with torch.no_grad():
        for part in torch.arange(len(data)).split(BATCH):
            drawn = data.at(part)
            x, labels = drawn.images, {name: drawn.labels[name] for name in network.labels}
            bound = evidence_bound(network, x, labels, draws)
            bounds.append(bound.elbo)
            divergences.append(bound.divergence)
            code, _ = network.encode(x, labels)
            latents = (code, code.roll(1, 0), torch.zeros_like(code))
            decoded = torch.stack([network.decode(z, labels) for z in latents])
            errors.append((decoded - x).square().flatten(2).mean(2))
    rmse = torch.cat(errors, 1).mean(1).sqrt().tolist()
    return {
        "negative_elbo": -float(torch.cat(bounds).mean()),
        "divergence": float(torch.cat(divergences).mean()),
        "rmse": rmse[0],
        "rmse_other_latent": rmse[1],
        "rmse_labels_only": rmse[2],
    }
