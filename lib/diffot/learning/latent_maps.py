"""Maps from latents to images, by name, and what they made of which latents, kept on disk.

The latents of a seed are the same for all maps, and the first ones are the same however many
there are. A map is named by a denoiser of images, and options:

- ``"Faces32A"``: DDIM.
- ``"Faces32A steps=20"``: with another number of steps than everything else.
- ``"Faces32A eta=1 noise=3"``: stochastic. The same ``noise``, 0 if it is not said, is the same
  fresh noise in every step, for all models with as many steps.
- ``"Faces32Conditional smile=yes hair_color=red"``: told these attributes; others stay free.
- ``"Faces32Conditional told=1"``: told, for each latent, all that it knows of a held-out image
  drawn at random. The same number, 1 or more, draws the same images.
- ``"linear Faces32A"``: the optimal map from N(0, I) to the Gaussian with the mean and covariance
  of the model's training images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from diffot.data import cache
from diffot.data.images import LabeledImages
from diffot.denoisers.denoiser import Denoiser
from diffot.errors import (
    as_number,
    as_shape,
    as_whole_number,
    require,
    require_batch,
    require_finite,
    require_images,
    require_tensor,
    require_type,
    unknown_name,
)
from diffot.learning import datasets, measured, recipes, registry
from diffot.paths import CACHE
from diffot.samplers.ddim import ddim, invert
from diffot.seeds import generator

BATCH = 32  # latents that pass through a network at a time, and are kept together
TOLD_OF = 1000  # held-out images, of which some are drawn to tell a model their labels
# To be raised with every change, here or in the samplers, that changes an image.
RECIPE = 1


# --- The linear map ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LinearMap:
    r"""The optimal map from N(0, I) to a Gaussian, :math:`z \mapsto m + C^{1/2} z`.

    (Peyré & Cuturi 2019, remark 2.31.) It is also where the probability flow takes z if the data
    have that law, in the limit of no signal at t = T and many steps (Khrulkov et al. 2023,
    theorem 3.1). The covariance may be singular.

    Attributes:
        mean: m, shape (C, H, W).
        axes: the directions in which C is not zero, shape (d, r), orthonormal.
        deviations: the standard deviations in these directions, shape (r,).
    """

    mean: Tensor
    axes: Tensor
    deviations: Tensor

    def __post_init__(self):
        for name, value in vars(self).items():
            require_tensor(value, name)
            require_finite(value, name)
        d = self.mean.numel()
        require(
            self.deviations.ndim == 1 and self.axes.shape == (d, len(self.deviations)),
            f"mean, axes and deviations have the shapes {tuple(self.mean.shape)}, "
            f"{tuple(self.axes.shape)} and {tuple(self.deviations.shape)}; expected (C, H, W), "
            "(d, r) with d = C H W, and (r,)",
        )
        require(bool((self.deviations > 0).all()), "deviations are to be above 0; leave 0 out")

    @classmethod
    def fit(cls, images: Tensor) -> Self:
        """The map to the Gaussian with the mean and covariance of images, shape (N, C, H, W).

        In the type of the images.

        Raises:
            ValueError: also if all images are the same.
        """
        require_images(images)
        require(
            bool((images != images[:1]).any()),
            f"images holds {len(images)} images, all the same; expected at least 2 that differ",
        )
        flat = images.detach().flatten(1).double()
        mean = flat.mean(0)
        many = len(flat) > flat.shape[1]
        # the first solver takes the mean's square from that of the images
        fit = PCA(svd_solver="covariance_eigh" if many else "full").fit((flat - mean).numpy())
        kept = fit.explained_variance_ > 1e-10 * fit.explained_variance_.max()
        return cls(
            mean.reshape(images.shape[1:]).to(images),
            torch.from_numpy(fit.components_[kept].T.copy()).to(images),
            torch.from_numpy(fit.explained_variance_[kept] ** 0.5).to(images),
        )

    def decode(self, z: Tensor) -> Tensor:
        """The images of latents, shape (n, C, H, W), in the type of the latents."""
        self._require_points(z, "z")
        return self._along_axes(z, self.deviations) + self.mean.to(z)

    def encode(self, x: Tensor) -> Tensor:
        """The shortest latents of images, shape (n, C, H, W); what lies outside is left out."""
        self._require_points(x, "x")
        return self._along_axes(x - self.mean.to(x), 1 / self.deviations)

    def _along_axes(self, points: Tensor, factors: Tensor) -> Tensor:
        axes = self.axes.to(points)
        return ((points.flatten(1) @ axes * factors.to(points)) @ axes.T).reshape(points.shape)

    def _require_points(self, points: Tensor, name: str) -> None:
        require_batch(points, name, "(n, C, H, W)")
        require(
            points.shape[1:] == self.mean.shape,
            f"{name} has shape {tuple(points.shape)}; expected (n, *{tuple(self.mean.shape)})",
        )


def linear_map(model: str, folder: Path = CACHE) -> LinearMap:
    """The linear map of a model's training images, kept on disk.

    Fitting takes about a minute for 20,000 images of 32 x 32 pixels in color.
    """
    return _linear_map(str(recipes.config(model).data), model, folder)


@lru_cache(maxsize=4)
def _linear_map(data: str, model: str, folder: Path) -> LinearMap:
    images = datasets.load_images(recipes.config(model).data)
    arrays = cache.provide(
        "linear-map",
        {"recipe": RECIPE, "data": data, "pixels": _digest(images.pixels)},
        ["scikit-learn"],
        [model],
        partial(_fit, images.images),
        folder,
    )
    return LinearMap(**{name: torch.from_numpy(values[0]) for name, values in arrays.items()})


def _fit(images: Tensor, _: object) -> cache.Arrays:
    return {name: values.numpy()[None] for name, values in vars(LinearMap.fit(images)).items()}


# --- Maps by name -----------------------------------------------------------------------------


@dataclass(frozen=True)
class LatentMap:
    """What the name of a map says; see the module's description. Made by :func:`parse`.

    ``labels`` are the classes that a conditional model is told, as whole numbers; ``told`` is 0
    where it is not told those of drawn images.
    """

    model: str
    steps: int
    linear: bool = False
    eta: float = 0.0
    noise: int = 0
    told: int = 0
    labels: dict[str, int] = field(default_factory=dict)

    def shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of the images."""
        return tuple(_first(self.model).pixels.shape[1:])

    def denoiser(self) -> Denoiser:
        """The model, told its labels, but not those of drawn images."""
        denoiser = registry.load(self.model)
        return denoiser.condition(self.labels) if self.labels else denoiser

    def denoiser_for(self, batch: int) -> Denoiser:
        """The model for a batch of latents, told all its labels."""
        batch = as_whole_number(batch, "batch", least=0)
        if not self.told:
            return self.denoiser()
        pool = _told_of(self.model).labels
        draws = generator(self.told, f"images told of {batch}")
        drawn = torch.randint(TOLD_OF, (BATCH,), generator=draws)
        told = recipes.config(self.model).network["labels"]
        return registry.load(self.model).condition({label: pool[label][drawn] for label in told})

    def identity(self) -> dict:
        """Everything that its images depend on but the latents."""
        return {"recipe": RECIPE, "weights": registry.card(self.model)["sha256"], **asdict(self)}


def parse(name: str, steps: int) -> LatentMap:
    """The map that a name describes.

    Args:
        name: as in the module's description.
        steps: of DDIM, unless the name says otherwise.

    Raises:
        ValueError: for unknown models, options, labels and classes, with the known ones, and for
            options that are given twice.
    """
    require_type(name, str, "name", 'a text such as "Faces32A steps=20", a model with options')
    words = name.split()
    linear = words[:1] == ["linear"]
    require(len(words) > linear, f"the map {name!r} names no model")
    model, *options = words[linear:]
    recipe = recipes.config(model)
    require(isinstance(recipe.data, dict), f"{model} draws points; expected a model of images")
    told = recipe.network.get("labels", {})
    known = [] if linear else ["steps", "eta", "noise", *(["told"] if told else []), *told]
    chosen, labels = {}, {}
    for option in options:
        key, _, value = option.partition("=")
        require(key in known, unknown_name(f"option of {name!r}", key, known or ["none"]))
        require(key not in {**chosen, **labels}, f"{name!r} has {key} twice; leave one out")
        if key in told:
            classes = _first(model).classes[key]
            require(value in classes, unknown_name(f"class of {key}", value, classes))
            labels[key] = classes.index(value)
        else:
            chosen[key] = _number(key, value, name)
    require(
        not (labels and chosen.get("told")),
        f"{name!r} is told both chosen labels and those of drawn images; leave out one of them",
    )
    chosen = {"steps": as_whole_number(steps, "steps", least=1), **chosen}
    return LatentMap(model, linear=linear, labels=labels, **chosen)


def _number(key: str, text: str, name: str) -> int | float:
    """The number that an option of a map has."""
    kind, told = (float if key == "eta" else int), f"{key} in {name!r}"
    try:
        number = kind(text)
    except ValueError as error:
        raise ValueError(f"'{key}={text}' in {name!r} is not a number") from error
    if key == "eta":
        return as_number(number, told, at_least=0, at_most=1)
    return as_whole_number(number, told, least=0 if key == "noise" else 1)


@lru_cache
def _first(model: str) -> LabeledImages:
    """The first image that a model is trained on, for its shape and classes."""
    return datasets.load_images({**recipes.config(model).data, "n": 1})


@lru_cache(maxsize=1)
def _told_of(model: str) -> LabeledImages:
    """Held-out images, of some of which a model is told."""
    return measured.held_out(model, TOLD_OF)


# --- Latents and images -----------------------------------------------------------------------


def latents(shape: tuple[int, ...], n: int, seed: int) -> Tensor:
    """The first n latents of a seed, for images of this shape (C, H, W)."""
    shape, n = as_shape(shape, "shape"), as_whole_number(n, "n", least=1)
    seed = as_whole_number(seed, "seed", least=0)
    batches = range(_whole_batches(n) // BATCH)
    return torch.cat([_latents(shape, seed, batch) for batch in batches])[:n]


def decode(name: str, n: int, steps: int, seed: int, folder: Path = CACHE) -> Tensor:
    """The images of the first n latents of a seed under a map, kept on disk.

    Args:
        name: of the map; see the module's description.
        steps: of DDIM, unless the name says otherwise.
        seed: of the latents.

    Returns:
        Shape (n, C, H, W), not clamped to [-1, 1].
    """
    chosen = parse(name, steps)
    n, seed = as_whole_number(n, "n", least=1), as_whole_number(seed, "seed", least=0)
    shape = chosen.shape()
    if chosen.linear:
        return linear_map(chosen.model, folder).decode(latents(shape, n, seed))
    parameters = {**chosen.identity(), "latents": seed}
    make = partial(_decode, chosen, shape, seed)
    return _kept(f"images-{chosen.model}", parameters, _whole_batches(n), make, folder)[:n]


def encode(name: str, images: str, n: int, steps: int, folder: Path = CACHE) -> Tensor:
    """The codes, under a map, of the first n held-out images of the kind that a model draws.

    The probability flow upwards; see :func:`diffot.samplers.ddim.invert`. Kept on disk.

    Args:
        name: of the map.
        images: a model, of images of the same shape as the map's; see
            :func:`diffot.learning.measured.held_out`.

    Returns:
        Shape (n, C, H, W).

    Raises:
        ValueError: for a stochastic map, or one that is told labels of drawn images.
    """
    chosen, n = parse(name, steps), as_whole_number(n, "n", least=1)
    require_type(images, str, "images", "the name of a model")
    _require_own_codes(name, chosen)
    _require_same_images(name, chosen, images, parse(images, 1))
    x = measured.held_out(images, n).images
    if chosen.linear:
        return linear_map(chosen.model, folder).encode(x)
    parameters = {**chosen.identity(), **_held_out_identity(images)}
    return _kept(f"codes-{chosen.model}", parameters, n, partial(_encode, chosen, x), folder)


def translate(first: str, second: str, n: int, steps: int, folder: Path = CACHE) -> Tensor:
    """Held-out images of the first map's kind, encoded by it and decoded by the second.

    The image-to-image translation of Khrulkov et al. (2023) and Su et al. (2023); with the same
    map twice, the round trip. Kept on disk.

    Returns:
        Shape (n, C, H, W), not clamped to [-1, 1].

    Raises:
        ValueError: for stochastic maps, or those that are told labels of drawn images.
    """
    source, target = parse(first, steps), parse(second, steps)
    n = as_whole_number(n, "n", least=1)
    _require_own_codes(second, target)
    _require_same_images(first, source, second, target)
    codes = encode(first, source.model, n, steps, folder)
    if target.linear:
        return linear_map(target.model, folder).decode(codes)
    parameters = {
        **target.identity(),
        "codes": source.identity(),
        **_held_out_identity(source.model),
    }
    make = partial(_translate, target, codes)
    return _kept(f"translations-{target.model}", parameters, n, make, folder)


def _require_own_codes(name: str, chosen: LatentMap) -> None:
    require(
        chosen.eta == 0, f"{name!r} is stochastic, so that images have no code; leave out eta"
    )
    require(
        not chosen.told,
        f"{name!r} tells labels by the latent, and an image has none; leave out told",
    )


def _require_same_images(first: str, one: LatentMap, second: str, other: LatentMap) -> None:
    require(
        one.shape() == other.shape(),
        f"{first!r} draws images of shape {one.shape()}, {second!r} of {other.shape()}; expected "
        "the same shape",
    )


def _latents(shape: tuple[int, ...], seed: int, batch: int) -> Tensor:
    return torch.randn(BATCH, *shape, generator=generator(seed, f"latents {batch}"))


def _whole_batches(n: int) -> int:
    """The least multiple of ``BATCH`` that is at least n."""
    return BATCH * -(-n // BATCH)


def _held_out_identity(model: str) -> dict:
    """What the held-out images for a model depend on."""
    pixels = measured.held_out(model, BATCH).pixels
    return {"images": recipes.config(model).data, "pixels": _digest(pixels)}


def _kept(
    name: str, parameters: dict, n: int, make: Callable[[range], cache.Arrays], folder: Path
) -> Tensor:
    """The n points that ``make`` makes, a batch at a time, given their indices."""
    arrays = cache.provide(name, parameters, ["torch"], range(n), make, folder, BATCH)
    return torch.from_numpy(arrays["points"])


def _decode(chosen: LatentMap, shape: tuple[int, ...], seed: int, indices: range) -> cache.Arrays:
    batch = indices[0] // BATCH
    # the noise belongs to a whole batch
    noise = generator(chosen.noise, f"noise {batch}")
    return _ddim(chosen, chosen.denoiser_for(batch), _latents(shape, seed, batch), noise)


def _translate(target: LatentMap, codes: Tensor, indices: range) -> cache.Arrays:
    return _ddim(target, target.denoiser(), codes[indices], None)


def _ddim(
    chosen: LatentMap, denoiser: Denoiser, z: Tensor, noise: torch.Generator | None
) -> cache.Arrays:
    with torch.no_grad():
        x = ddim(denoiser, z, chosen.steps, chosen.eta, noise)
    return {"points": x.numpy()}


def _encode(chosen: LatentMap, images: Tensor, indices: range) -> cache.Arrays:
    with torch.no_grad():
        z = invert(chosen.denoiser(), images[indices], chosen.steps)
    return {"points": z.numpy()}


def _digest(values: Tensor) -> str:
    return hashlib.sha256(np.ascontiguousarray(values.numpy()).tobytes()).hexdigest()
