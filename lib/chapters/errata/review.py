r"""The "Review of denoising diffusion probabilistic models" of Kim and Lee (2024).

Each function measures one formula as it is printed and as it should be, as in
:mod:`chapters.errata.guidance`. In the letters of the review
:math:`z_t = \sqrt{\alpha_t} x + \sqrt{1 - \alpha_t} \epsilon`: :math:`\alpha_t` is the square,
and of all steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from chapters.errata.guidance import Errors

_REAL, _FAKE = 0.7, 0.2  # densities of both at one point


def label_of_real_points() -> Errors:
    r"""(1): y = 1 is real, as in (2), and f is the logit of the probability that a point is real;
    printed is that y = 0 is real. Difference of the probability with the least expected loss (1)
    from :math:`p / (p + q)`, p being the density of real points and q that of fake ones."""
    share = torch.tensor([_REAL, _FAKE], dtype=torch.float64) / (_REAL + _FAKE)

    def loss(guess: Tensor, labels: tuple[int, int]) -> Tensor:
        y = torch.tensor(labels)
        return (share * (-(1 - y) * (1 - guess).log() - y * guess.log())).sum()

    exact = _REAL / (_REAL + _FAKE)
    guesses = (_minimum(lambda p, y=y: loss(p, y), 0.01, 0.99) for y in ((0, 1), (1, 0)))
    return Errors(*(abs(guess - exact) for guess in guesses))


def probability_from_a_logit() -> Errors:
    r"""(2) and (3): the function of f is the sigmoid; printed is the sign. Difference from the
    probability whose logit f is."""
    exact = _REAL / (_REAL + _FAKE)
    logit = math.log(_REAL / _FAKE)
    return Errors(*(abs(float(value) - exact) for value in (np.sign(logit), expit(logit))))


def likelihood_of_a_flow() -> Errors:
    r"""(5), second line: :math:`- \log f_Z(z_i)` is left out of the sum. Difference of the scale
    at which the sum is least, among 0.01 to 100, from the estimate of greatest likelihood, for
    :math:`x = \phi z` and four points."""
    points = torch.tensor([-1.2, -0.1, 0.4, 2.0], dtype=torch.float64)
    exact = norm.fit(points.numpy(), floc=0)[1]

    def volume(scale: Tensor) -> Tensor:
        return len(points) * scale.log()

    def full(scale: Tensor) -> Tensor:
        return volume(scale) + ((points / scale) ** 2).sum() / 2

    return Errors(*(abs(_minimum(loss, 0.01, 100.0) - exact) for loss in (volume, full)))


def inverse_of_a_composition() -> Errors:
    r"""(7): what the inverses are applied to is x; printed is z. Difference from z, for
    :math:`f_1(z) = 2 z + 1` and :math:`f_2 = \sinh`."""
    z = 0.3
    x = math.sinh(2 * z + 1)
    return Errors(*(abs((math.asinh(argument) - 1) / 2 - z) for argument in (z, x)))


def likelihood_of_the_data() -> Errors:
    r"""(14): what is maximized is the sum of :math:`\log q(x_i)`, as in (27); printed is the sum
    of :math:`q(x_i)`. Difference of the best mean of N(m, 1) from the estimate of greatest
    likelihood, for four points."""
    points = torch.tensor([-1.0, 0.0, 0.3, 2.5], dtype=torch.float64)
    exact, _ = norm.fit(points.numpy())
    normal = torch.distributions.Normal

    def densities(mean: Tensor) -> Tensor:
        return -normal(mean, 1.0).log_prob(points).exp().sum()

    def logarithms(mean: Tensor) -> Tensor:
        return -normal(mean, 1.0).log_prob(points).sum()

    return Errors(*(abs(_minimum(loss, -1.0, 2.5) - exact) for loss in (densities, logarithms)))


def divergence_of_gaussians() -> Errors:
    r"""Lemma 3, for multiples of the identity: the logarithm is of :math:`\sigma_b / \sigma_a`,
    as in (34); printed is :math:`\sigma_a / \sigma_b`, with which the divergence can be negative.
    Difference from that of another library, in two dimensions."""
    a, b, first, second = torch.tensor([0.3, -0.2]), torch.tensor([0.1, 0.4]), 0.5, 1.5
    a, b, unit = a.double(), b.double(), torch.eye(2, dtype=torch.float64)
    laws = MultivariateNormal(a, first * unit), MultivariateNormal(b, second * unit)
    exact = float(kl_divergence(*laws))
    length, ratio = float(((a - b) ** 2).sum()), first / second
    values = (
        (length / second + 2 * (ratio - 1 + log)) / 2
        for log in (math.log(ratio), -math.log(ratio))
    )
    return Errors(*(abs(value - exact) for value in values))


def clean_point_of_noise() -> Errors:
    r"""(38), and the second line of (39): the noise is subtracted; printed is a plus. Difference
    from x, for one noise."""
    x, noise, alpha = 0.7, -1.1, 0.6
    z = math.sqrt(alpha) * x + math.sqrt(1 - alpha) * noise
    clean = ((z + sign * math.sqrt(1 - alpha) * noise) / math.sqrt(alpha) for sign in (1, -1))
    return Errors(*(abs(value - x) for value in clean))


CHECKS: dict[str, Callable[[], Errors]] = {
    "(1)": label_of_real_points,
    "(2), (3)": probability_from_a_logit,
    "(5)": likelihood_of_a_flow,
    "(7)": inverse_of_a_composition,
    "(14)": likelihood_of_the_data,
    "lemma 3": divergence_of_gaussians,
    "(38), (39)": clean_point_of_noise,
}


def _minimum(loss: Callable[[Tensor], Tensor], low: float, high: float) -> float:
    """Where a loss with one minimum is least between two numbers, its end if it only falls or
    only rises."""

    def slope(value: float) -> float:
        return float(torch.func.grad(loss)(torch.tensor(value, dtype=torch.float64)))

    if slope(low) >= 0:
        return low
    if slope(high) <= 0:
        return high
    return brentq(slope, low, high, xtol=1e-14)
