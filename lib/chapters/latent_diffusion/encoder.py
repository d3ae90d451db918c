r"""Diffusion of what an encoder makes of the data, :math:`x_t = \alpha_t f x_0 + \sigma_t
\varepsilon`, for data :math:`N(0, s^2)` on a line and an exact way back.

The negative bound of the likelihood (Sohl-Dickstein et al. 2015; Ho et al. 2020, eq. 5) has three
parts: how far the spoiled data are from the law that sampling starts from, the steps back, and
the last step to the data, which undoes the encoder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """The parts of the negative bound, means over the data in nats."""

    start: float
    steps: float
    last: float

    @property
    def total(self) -> float:
        return self.start + self.steps + self.last


def negative_bound(spread: float, factor: float, alphas: Sequence[float]) -> Bound:
    """The parts of the bound.

    Args:
        spread: s. factor: f. alphas: of the signal at steps 1 to T, falling, between 0 and 1;
            sigma is the root of what is left of the squares.
    """
    squares = [alpha**2 for alpha in alphas]
    noise = [1 - square for square in squares]
    unknown = [posterior_variance(spread, factor, a, n) for a, n in zip(squares, noise)]
    end = squares[-1] * (factor * spread) ** 2
    start = (noise[-1] + end - 1 - math.log(noise[-1])) / 2
    steps = 0.0
    for before, after, n, m, v in zip(squares, squares[1:], noise, noise[1:], unknown[1:]):
        added = 1 - after / before
        # the mean of x_{t-1} given x_t and x_0 has the factor f sqrt(before) added / m of x_0
        own = n * added / m
        steps += math.log(1 + (factor * added / m) ** 2 * before * v / own) / 2
    return Bound(start, steps, surprise(unknown[0]))


def posterior_variance(spread: float, factor: float, square: float, noise: float) -> float:
    r"""Of x_0 given :math:`x_t`, whose signal and noise have these squares."""
    return spread**2 * noise / (square * (factor * spread) ** 2 + noise)


def surprise(variance: float) -> float:
    """Entropy in nats of a Gaussian on a line: -log q(x_0 | x_t) in the mean."""
    return math.log(2 * math.pi * math.e * variance) / 2


def start_divergence(spread: float, factor: float, alpha: float) -> float:
    """KL in nats of the law of the last x_t from N(0, 1)."""
    variance = (alpha * factor * spread) ** 2 + 1 - alpha**2
    return (variance - 1 - math.log(variance)) / 2
