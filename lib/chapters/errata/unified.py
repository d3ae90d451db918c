r"""Chapters 10 and 11 of the notes "Topics on diffusion generative models", on one framework for
all ways to destroy data.

Each function measures one formula, or one step of an algorithm, as it is printed and as it should
be, as in :mod:`chapters.errata.guidance`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import laplace, norm

from chapters.errata import chain
from chapters.errata.guidance import Errors

_SPREAD = chain.BAR_BETA_BEFORE * chain.BETA / chain.BAR_BETA  # sigma_t of DDPM
_TOKENS = 5


def law_of_the_clean_point() -> Errors:
    r"""(10.4): the normal law stands for :math:`q(x_0 | x_t)`; printed is
    :math:`q(x_t | x_0)`. Largest difference, over x_0, of the two densities from that of x_0
    given x_t by Bayes' rule on a grid, for data N(0, 0.25)."""
    x, step = np.linspace(-8, 8, 16_001, retstep=True)
    forward = norm.pdf(chain.NOISY, chain.BAR_ALPHA * x, chain.BAR_BETA)
    exact = forward * norm.pdf(x, 0, 0.5)
    exact /= exact.sum() * step
    variance = 1 / (4 + (chain.BAR_ALPHA / chain.BAR_BETA) ** 2)
    mean = variance * chain.BAR_ALPHA / chain.BAR_BETA**2 * chain.NOISY
    backward = norm.pdf(x, mean, math.sqrt(variance))
    return Errors(*(float(np.abs(law - exact).max()) for law in (forward, backward)))


def noise_in_two_parts() -> Errors:
    r"""(11.9): the root is over :math:`\bar\beta_{t-1}^2 - \sigma_t^2`; printed is
    :math:`\bar\sigma_t^2`, which is 0 for DDPM. Difference of the standard deviation of the sum
    of both noises from :math:`\bar\beta_{t-1}`, by quadrature, for DDPM."""
    nodes, weight = chain.normal_rule(20)
    errors = []
    for square in (0.0, _SPREAD**2):
        first = math.sqrt(chain.BAR_BETA_BEFORE**2 - square)
        noise = first * nodes[:, None] + _SPREAD * nodes
        deviation = math.sqrt(float(weight @ noise**2 @ weight))
        errors.append(abs(deviation - chain.BAR_BETA_BEFORE))
    return Errors(*errors)


def step_of_hot_diffusion() -> Errors:
    r"""(11.10): both :math:`\bar\sigma_t` are :math:`\sigma_t`. Larger of the differences of mean
    and standard deviation from those of x_{t-1} given x_t and x_0 by Bayes' rule, for DDPM, where
    :math:`\bar\sigma_t = 0` and :math:`\sigma_t = \bar\beta_{t-1} \beta_t / \bar\beta_t`."""
    exact, deviation = chain.reverse_law_of_clean_point()
    noise = (chain.NOISY - chain.BAR_ALPHA * chain.CLEAN) / chain.BAR_BETA
    errors = []
    for spread in (0.0, _SPREAD):
        root = math.sqrt(chain.BAR_BETA_BEFORE**2 - spread**2)
        mean = chain.BAR_ALPHA_BEFORE * chain.CLEAN + root * noise
        errors.append(max(abs(mean - exact), abs(spread - deviation)))
    return Errors(*errors)


def law_of_absolute_errors() -> Errors:
    r"""(11.13): without the integral over x_0 that is printed, whose value is 1 whatever x_0 is.
    (The law is Laplace's; the text calls it normal.) Difference at one point from the density of
    Laplace's law, the constant by quadrature, :math:`\tau = 0.5`."""
    center, scale, point = 0.2, 0.5, 0.9
    x = center + scale * np.linspace(-40, 40, 800_001)
    mass = np.exp(-np.abs(x - center) / scale)
    constant = np.trapezoid(mass, x)
    integral = np.trapezoid(mass / constant, x)
    exact = laplace.pdf(point, center, scale)
    density = math.exp(-abs(point - center) / scale) / constant
    return Errors(abs(float(integral - exact)), abs(float(density - exact)))


def tokens_of_an_edit() -> Errors:
    r"""Section 11.4, step 3 of the first algorithm: :math:`t - 1` tokens of the estimate are
    replaced by others; printed is :math:`\ell - 1` in every step. How many of five tokens are
    wrong after the last step, t = 1, if the estimate before it is right; none should be."""
    generator = np.random.default_rng(0)
    truth = np.arange(_TOKENS)
    wrong = []
    for replaced in (_TOKENS - 1, 1 - 1):
        tokens = truth.copy()
        places = generator.permutation(_TOKENS)[:replaced]
        tokens[places] = (tokens[places] + generator.integers(1, _TOKENS, replaced)) % _TOKENS
        wrong.append(float((tokens != truth).sum()))
    return Errors(*wrong)


def tokens_of_a_mask() -> Errors:
    r"""Section 11.5, step 3 of the second algorithm: one masked position gets its token, as in
    the single step that is printed after it, so that t - 1 remain; in step 3 it is t - 1
    positions that get theirs. Total variation distance of what three bits become from their law,
    all conditional laws being exact and bits of one step being drawn independently, by
    enumeration."""
    energy = [a * b + b * c + 0.3 * a for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)]
    law = np.exp(energy).reshape(2, 2, 2)
    law /= law.sum()
    return Errors(*(float(np.abs(_revealed(law, n) - law).sum() / 2) for n in (2, 1)))


CHECKS: dict[str, Callable[[], Errors]] = {
    "(10.4)": law_of_the_clean_point,
    "(11.9)": noise_in_two_parts,
    "(11.10)": step_of_hot_diffusion,
    "(11.13)": law_of_absolute_errors,
    "section 11.4, step 3": tokens_of_an_edit,
    "section 11.5, step 3": tokens_of_a_mask,
}


def _revealed(law: NDArray[np.float64], at_once: int) -> NDArray[np.float64]:
    """What becomes of three masked bits if ``at_once`` of them, at random, get their values
    independently, and then one after the other."""
    total = np.zeros_like(law)
    orders = list(permutations(range(3)))
    for order in orders:
        first, rest = order[:at_once], order[at_once:]
        result = np.ones_like(law)
        for place in first:
            result = result * _marginal(law, (place,))
        known = first
        for place in rest:
            result = result * _marginal(law, (*known, place)) / _marginal(law, known)
            known = (*known, place)
        total += result / len(orders)
    return total


def _marginal(law: NDArray[np.float64], places: tuple[int, ...]) -> NDArray[np.float64]:
    others = tuple(axis for axis in range(3) if axis not in places)
    return law.sum(others, keepdims=True)
