r"""Reverse steps of a corruption, exactly, for a mixture of Gaussians on a line.

A step from the level :math:`(\alpha, \sigma)` to :math:`(\alpha', \sigma')` guesses
:math:`\hat x_0` and corrupts it again,

.. math:: x' = \alpha' \hat x_0 + \sigma' \left(
          c\, \frac{x - \alpha \hat x_0}{\sigma} + \sqrt{1 - c^2}\; \varepsilon \right),

with fresh noise (c = 0), the noise that is in x (c = 1), or some of each (Su & Yang 2025,
eq. 10.13). The last guess is what is drawn. Its law is computed on a grid, without sampling.
Levels are :math:`(\cos, \sin)` of angles in equal steps.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from diffot.errors import as_number, as_whole_number, require
from diffot.laws.mixtures import GaussianMixture

_REACH = 6.0
Level = tuple[float, float]


def pair() -> GaussianMixture:
    """Two Gaussians of unequal weight, 0.3 and 0.7, and width, of mean 0 and about unit
    variance."""
    return GaussianMixture([0.3, 0.7], [[-1.4], [0.6]], [[[0.09]], [[0.2]]])


def grid(cells: int) -> Tensor:
    """Centers of the cells."""
    cells = as_whole_number(cells, "cells", least=10)
    return (torch.arange(cells, dtype=torch.float64) + 0.5) * (2 * _REACH / cells) - _REACH


def levels(steps: int) -> list[Level]:
    """The levels of so many steps, from noise to data."""
    steps = as_whole_number(steps, "steps", least=1)
    inner = [math.pi / 2 * (1 - k / steps) for k in range(1, steps)]
    return [(0.0, 1.0), *((math.cos(a), math.sin(a)) for a in inner), (1.0, 0.0)]


def drawn_with_samples(
    law: GaussianMixture, steps: int, kept: float = 0.0, cells: int = 800
) -> Tensor:
    """Masses of the cells, for what is drawn if each guess is drawn from the posterior.

    Args:
        law: on a line. kept: c, in [0, 1). cells: of the grid.
    """
    kept = _checked(law, kept)
    x, path = grid(cells), levels(steps)
    mass: Any = _normal(x, torch.zeros(1).double(), 1.0)[:, 0]
    mass = mass / mass.sum()
    for now, after in zip(path, path[1:]):
        mass = sum(
            _pushed(x, mass * share, *_corrupted(x, now, after, kept, *guess))
            for share, *guess in _posterior(law, x, now)
        )
    return mass


def drawn_with_means(
    law: GaussianMixture, steps: int, kept: float = 0.0, cells: int = 800
) -> tuple[Tensor, Tensor]:
    """Points and their masses, for what is drawn if each guess is the posterior mean; the points
    increase. Arguments as in :func:`drawn_with_samples`."""
    kept = _checked(law, kept)
    x, path = grid(cells), levels(steps)
    mass = _normal(x, torch.zeros(1).double(), 1.0)[:, 0]
    mass = mass / mass.sum()
    nothing = torch.zeros_like(x)
    for now, after in zip(path[:-2], path[1:]):
        guess = law.posterior_mean(x[:, None], *now)[:, 0]
        mass = _pushed(x, mass, *_corrupted(x, now, after, kept, guess, nothing))
    return law.posterior_mean(x[:, None], *path[-2])[:, 0], mass


def drawn_with_same_noise(law: GaussianMixture, steps: int, count: int = 2000) -> Tensor:
    """Quantiles of what is drawn, at equal steps of probability, if each guess is the posterior
    mean and all of the noise is kept: a map of the line that keeps the order."""
    x = torch.special.ndtri(probabilities(count))
    path = levels(steps)
    for (alpha, sigma), (next_alpha, next_sigma) in zip(path, path[1:]):
        guess = law.posterior_mean(x[:, None], alpha, sigma)[:, 0]
        x = next_alpha * guess + next_sigma * (x - alpha * guess) / sigma
    return x


def probabilities(count: int) -> Tensor:
    """The middles of so many equal parts of [0, 1]."""
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def quantiles(points: Tensor, mass: Tensor, count: int = 2000) -> Tensor:
    """Of increasing points with masses, at :func:`probabilities`; a mass counts half at its own
    point."""
    cumulated = mass.cumsum(0) - mass / 2
    wanted = probabilities(count)
    right = torch.searchsorted(cumulated, wanted).clamp(1, len(points) - 1)
    below, above = cumulated[right - 1], cumulated[right]
    part = ((wanted - below) / (above - below).clamp(min=1e-300)).clamp(0, 1)
    return points[right - 1] + part * (points[right] - points[right - 1])


def _checked(law: GaussianMixture, kept: float) -> float:
    require(law.dim == 1, f"law has {law.dim} dimensions; expected 1")
    return as_number(kept, "kept", at_least=0, below=1)


def _posterior(law: GaussianMixture, x: Tensor, level: Level):
    """Probability, mean and variance of each component of x_0, at each x."""
    alpha, sigma = level
    shares = law.responsibilities(x[:, None], alpha, sigma)
    for k, (mean, variance) in enumerate(zip(law.means[:, 0], law.covariances[:, 0, 0])):
        total = alpha**2 * variance + sigma**2
        guess = mean + alpha * variance / total * (x - alpha * mean)
        yield shares[:, k], guess, (sigma**2 * variance / total).expand_as(x)


def _corrupted(
    x: Tensor, now: Level, after: Level, kept: float, guess: Tensor, variance: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the next point, for a Gaussian guess."""
    same = kept * after[1] / now[1]
    mean = after[0] * guess + same * (x - now[0] * guess)
    fresh = after[1] ** 2 * (1 - kept**2)
    return mean, ((after[0] - same * now[0]) ** 2 * variance + fresh).sqrt()


def _normal(x: Tensor, mean: Tensor, spread: Tensor | float) -> Tensor:
    """Densities at x (rows) of normal laws (columns)."""
    away = (x[:, None] - mean) / spread
    return torch.exp(-(away**2) / 2) / (spread * math.sqrt(2 * math.pi))


def _pushed(x: Tensor, mass: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    return (x[1] - x[0]) * (_normal(x, mean, spread) @ mass)
