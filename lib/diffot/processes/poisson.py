r"""Poisson flow: data spread by the kernel of Poisson's equation.

With one more coordinate t, a charge at :math:`(x_0, 0)` has a field along
:math:`(x - x_0, t) / (|x - x_0|^2 + t^2)^{(d+1)/2}` (Xu et al. 2022). Followed by height, its
lines carry :math:`x_t = x_0 + t \xi`, where :math:`\xi` has the multivariate Cauchy law, and

.. math:: \frac{dx}{dt} = \frac{x - m(x, t)}{t}, \qquad m(x, t) = E[x_0 \mid x_t = x],

which is the flow of variance exploding diffusion with a Cauchy kernel for the Gaussian one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffot.errors import as_number, as_whole_number, require_generator, require_points


def log_kernel(x: Tensor, t: float) -> Tensor:
    r"""Log-density at height t > 0 of a unit charge at 0, for x of shape (B, d); shape (B,).

    :math:`\Gamma(\tfrac{d+1}2) \pi^{-(d+1)/2}\, t\, (|x|^2 + t^2)^{-(d+1)/2}`, the law of
    Cauchy.
    """
    require_points(x)
    t = as_number(t, "t", above=0)
    half = (x.shape[1] + 1) / 2
    constant = math.lgamma(half) - half * math.log(math.pi) + math.log(t)
    return constant - half * torch.log(x.square().sum(1) + t**2)


def prior(count: int, dim: int, t: float, generator: torch.Generator) -> Tensor:
    r"""Draws, float64 of shape (count, dim), of the kernel at height t > 0.

    A Gaussian vector over an independent Gaussian number; :math:`|x|^2 / (|x|^2 + t^2)` has the
    law Beta(d/2, 1/2).
    """
    count, dim = as_whole_number(count, "count", 1), as_whole_number(dim, "dim", 1)
    t = as_number(t, "t", above=0)
    require_generator(generator)
    z = torch.randn(count, dim + 1, generator=generator, dtype=torch.float64)
    return t * z[:, :dim] / z[:, dim:].abs()


def velocity(x: Tensor, t: float, points: Tensor) -> Tensor:
    """dx/dt = (x - m) / t at height t > 0, shape (B, d), for equal charges at points (n, d)."""
    require_points(x)
    require_points(points, x.shape[1], "points")
    t = as_number(t, "t", above=0)
    squares = (x[:, None] - points).square().sum(2) + t**2
    weights = torch.softmax(-(x.shape[1] + 1) / 2 * squares.log(), 1)
    return (x - weights @ points) / t
