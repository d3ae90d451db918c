"""Variational autoencoders of points, and bounds of their likelihood."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from zuko.nn import MLP

from diffot.errors import (
    as_whole_number,
    require_generator,
    require_points,
    require_type,
)
from diffot.flows.maps import Map
from diffot.learning.autoencoder import kl_divergence
from diffot.learning.networks import as_widths
from diffot.learning.objectives import Examples, Inputs, Objective


class VAE(nn.Module):
    r"""A variational autoencoder of points (Kingma & Welling 2014).

    :math:`q(z|x) = N(m(x), \operatorname{diag} e^{l(x)})` and
    :math:`p(x|z) = N(d(z), \sigma^2 I)`, with the prior N(0, I) of the k latents; m and l are one
    perceptron and d another. One :math:`\sigma` is learned for all points.

    Args:
        dim: dimension d of the points.
        latents: k.
        widths: of the hidden layers of either perceptron; none for linear maps.
    """

    def __init__(self, dim: int, latents: int, widths: Sequence[int] = (96, 96)):
        super().__init__()
        self.dim = as_whole_number(dim, "dim", least=1)
        self.latents = as_whole_number(latents, "latents", least=1)
        widths = as_widths(widths)
        self.encoder = MLP(self.dim, 2 * self.latents, widths, nn.SiLU)
        self.decoder = MLP(self.latents, self.dim, widths, nn.SiLU)
        self.log_sigma = nn.Parameter(torch.tensor(-1.0))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of q(z|x), shape (B, k) each, of points (B, d)."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return mean, log_variance

    def log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z) in nats, shape (*b), of points (*b, d) and latents (*b, k)."""
        squares = (x - self.decoder(z)).square().sum(-1)
        constant = self.dim * (self.log_sigma + math.log(2 * math.pi) / 2)
        return -squares / (2 * (2 * self.log_sigma).exp()) - constant


class BoundLoss(Objective):
    r"""Minus the evidence lower bound of each point,
    :math:`KL(q(z|x) \| N(0, I)) - \log p(x|z)` with one z of q(z|x), in nats (thesis eqs. 3.3 and
    3.7; Kim & Lee 2024, eqs. 11 and 12)."""

    def __init__(self, latents: int):
        self.latents = as_whole_number(latents, "latents", least=1)

    def prepare(self, examples: Examples, generator: torch.Generator) -> Inputs:
        x, _ = examples
        return x, torch.randn(len(x), self.latents, generator=generator)

    def __call__(self, network: VAE, inputs: Inputs) -> Tensor:
        x, noise = inputs
        mean, log_variance = network.encode(x)
        z = mean + (log_variance / 2).exp() * noise
        return kl_divergence(mean, log_variance) - network.log_prob(x, z)


def importance_bound(network: VAE, x: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    r"""The bound :math:`\log \frac1K \sum_k p(x|z_k) p(z_k) / q(z_k|x)` of log p(x), shape (B,).

    Its mean over the K draws is a lower bound that rises with K to log p(x) (Burda et al. 2016,
    theorem 1); with K = 1 it is the evidence lower bound (thesis eq. 3.2).

    Args:
        x: points, shape (B, d). draws: K, at least 1.

    Raises:
        TypeError, ValueError: for arguments of other types or shapes.
    """
    require_type(network, VAE, "network", "a VAE")
    require_points(x, network.dim, "x")
    draws = as_whole_number(draws, "draws", least=1)
    require_generator(generator)
    with torch.no_grad():
        mean, log_variance = network.encode(x)
        noise = torch.randn(draws, *mean.shape, generator=generator, dtype=mean.dtype)
        z = mean + (log_variance / 2).exp() * noise
        # log p(z) - log q(z|x); the factors of 2 pi cancel
        ratio = (noise.square() + log_variance - z.square()).sum(-1) / 2
        weights = network.log_prob(x.expand(draws, *x.shape), z) + ratio
    return weights.logsumexp(0) - math.log(draws)


class VAEMap(Map):
    r"""Takes latents :math:`(z, \varepsilon)` of N(0, I), shape (B, k + d), to draws
    :math:`d(z) + \sigma \varepsilon` of the model, shape (B, d)."""

    def __init__(self, network: VAE):
        require_type(network, VAE, "network", "a VAE")
        self.network = network

    def decode(self, z: Tensor) -> Tensor:
        network = self.network
        require_points(z, network.latents + network.dim, "z")
        code, noise = z.to(network.log_sigma.dtype).split([network.latents, network.dim], 1)
        return (network.decoder(code) + network.log_sigma.exp() * noise).to(z)
