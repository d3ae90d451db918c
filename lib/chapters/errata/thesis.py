r"""Chapter 3 of the thesis of Dalheim (2023), on diffusion models.

Each function measures one formula as it is printed and as it should be, as in
:mod:`chapters.errata.guidance`. In the letters of the thesis
:math:`x_t = \sqrt{\alpha_t} x_{t-1} + \sqrt{1 - \alpha_t} \varepsilon`, and a bar stands for the
product of all :math:`\alpha` until t. There are ten steps, :math:`\alpha_t = 1 - t / 20`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import norm

from chapters.errata.guidance import Errors

_ALPHAS = 1 - np.arange(11) / 20  # at t = 0, ..., 10
_BARS = np.cumprod(_ALPHAS)
_T = 6
_TIMES = (10, 7, 4, 2, 0)  # of the sampler, tau_n to tau_1
_CLEAN = 0.7  # x_0


def signal_of_several_steps() -> Errors:
    r"""(3.13) and (3.14): from :math:`x_{t-k}` on, the last step is
    :math:`\alpha_{t-k+1}`; printed is :math:`\alpha_{t-k}`. Difference of the factor of
    :math:`x_{t-k}` from that of the steps one after the other, k = 3."""
    factor, _ = _one_by_one(_T - 3, _T)
    products = _ALPHAS[_T - 3 : _T + 1].prod(), _ALPHAS[_T - 2 : _T + 1].prod()
    return Errors(*(abs(math.sqrt(product) - factor) for product in products))


def noise_of_several_steps() -> Errors:
    r"""(3.13) and (3.14): the variance of the noise is
    :math:`1 - \alpha_t \alpha_{t-1} \cdots \alpha_{t-k+1}`; in print :math:`\alpha_{t-1}` is left
    out, and :math:`\alpha_{t-k}` is the last. Difference of the standard deviation from that of
    the steps one after the other, k = 3."""
    _, variance = _one_by_one(_T - 3, _T)
    products = (
        _ALPHAS[_T] * _ALPHAS[_T - 3 : _T - 1].prod(),
        _ALPHAS[_T - 2 : _T + 1].prod(),
    )
    return Errors(*(abs(math.sqrt(1 - product) - math.sqrt(variance)) for product in products))


def exponent_of_bayes() -> Errors:
    r"""(3.29): the last term is divided by :math:`1 - \bar\alpha_t`; printed is twice that, and
    one half stands before the bracket. Largest difference, over x_{t-1} and x_t, from the sum of
    the logarithms of the three densities of Bayes' rule, which may differ by a constant."""
    step, before, bar = _ALPHAS[_T], _BARS[_T - 1], _BARS[_T]
    x, noisy = np.meshgrid(np.linspace(-2, 2, 41), np.linspace(-2, 2, 41))
    exact = (
        norm.logpdf(noisy, math.sqrt(step) * x, math.sqrt(1 - step))
        + norm.logpdf(x, math.sqrt(before) * _CLEAN, math.sqrt(1 - before))
        - norm.logpdf(noisy, math.sqrt(bar) * _CLEAN, math.sqrt(1 - bar))
    )
    terms = (
        step * x**2 / (1 - step)
        + x**2 / (1 - before)
        - 2 * math.sqrt(step) * noisy * x / (1 - step)
        - 2 * math.sqrt(before) * x * _CLEAN / (1 - before)
        + noisy**2 / (1 - step)
        + before * _CLEAN**2 / (1 - before)
    )
    last = (noisy - math.sqrt(bar) * _CLEAN) ** 2 / (1 - bar)
    return Errors(*(float(np.ptp(exact + (terms - end) / 2)) for end in (last / 2, last)))


def expanded_square() -> Errors:
    r"""After (3.31): the square ends in :math:`+ \mu^T \mu`; printed is a minus. Difference from
    the square, for a point and a mean in the plane."""
    x, mean = np.array([0.3, -1.1]), np.array([0.8, 0.5])
    exact = float(((x - mean) ** 2).sum())
    rest = x @ x - 2 * x @ mean
    return Errors(*(abs(float(rest + end) - exact) for end in (-mean @ mean, mean @ mean)))


def spread_of_a_long_step() -> Errors:
    r"""Algorithm 3, line 5: with :math:`\eta = 1` the spread is that of :math:`x_{\tau_{i-1}}`
    given :math:`x_{\tau_i}` and :math:`x_0`, and the second root is over
    :math:`1 - \bar\alpha_{\tau_i} / \bar\alpha_{\tau_{i-1}}`; printed is
    :math:`1 - \alpha_{\tau_i}`, right for steps of length one only. Relative difference from the
    spread by Bayes' rule on a grid, from 7 to 4."""
    early, late = 4, 7
    x = np.linspace(-12, 12, 400_001)
    kept, noise = _one_by_one(early, late)
    log_mass = norm.logpdf(-0.4, kept * x, math.sqrt(noise))
    log_mass += norm.logpdf(x, math.sqrt(_BARS[early]) * _CLEAN, math.sqrt(1 - _BARS[early]))
    mass = np.exp(log_mass - log_mass.max())
    mass /= mass.sum()
    exact = math.sqrt(mass @ (x - mass @ x) ** 2)
    shared = math.sqrt((1 - _BARS[early]) / (1 - _BARS[late]))
    printed, corrected = 1 - _ALPHAS[late], 1 - _BARS[late] / _BARS[early]
    return Errors(*(abs(shared * math.sqrt(v) / exact - 1) for v in (printed, corrected)))


def condition_on_fresh_noise() -> Errors:
    r"""Algorithm 3, line 4: fresh noise is drawn if i > 2; printed is i = 2. Relative difference
    of the standard deviation of :math:`x_{\tau_2}` from :math:`\sqrt{1 - \bar\alpha_{\tau_2}}`,
    data that are a single point, :math:`\eta = 1`."""
    printed, corrected = _both_conditions()
    return Errors(*(_spread_error(1.0, fresh, corrected) for fresh in (printed, corrected)))


def condition_on_predicted_noise() -> Errors:
    r"""Algorithm 3, line 8: the predicted noise is kept if i > 2; printed is i = 2. Difference as
    for line 4, with :math:`\eta = 0`."""
    return Errors(*(_spread_error(0.0, kept, kept) for kept in _both_conditions()))


CHECKS: dict[str, Callable[[], Errors]] = {
    "(3.13), (3.14), signal": signal_of_several_steps,
    "(3.13), (3.14), noise": noise_of_several_steps,
    "(3.29)": exponent_of_bayes,
    "after (3.31)": expanded_square,
    "algorithm 3, line 4": condition_on_fresh_noise,
    "algorithm 3, line 5": spread_of_a_long_step,
    "algorithm 3, line 8": condition_on_predicted_noise,
}


def _one_by_one(early: int, late: int) -> tuple[float, float]:
    """Factor of x_early in x_late, and variance of the noise, by single steps."""
    factor, variance = 1.0, 0.0
    for alpha in _ALPHAS[early + 1 : late + 1]:
        factor, variance = factor * math.sqrt(alpha), alpha * variance + 1 - alpha
    return factor, variance


def _both_conditions() -> tuple[list[bool], list[bool]]:
    """Whether i = 2, and whether i > 2, in each step of the sampler that ends at tau_2."""
    numbers = range(len(_TIMES), 2, -1)  # i, from n to 3
    return [i == 2 for i in numbers], [i > 2 for i in numbers]


def _spread_error(eta: float, fresh: Sequence[bool], kept: Sequence[bool]) -> float:
    """Relative error of the standard deviation of x at tau_2 when the data are one point, so that
    the predicted noise is the true one."""
    variance = 1 - _BARS[_TIMES[0]]
    for late, early, draws, keeps in zip(_TIMES, _TIMES[1:-1], fresh, kept):
        ratio = (1 - _BARS[early]) / (1 - _BARS[late])
        new = eta**2 * ratio * (1 - _BARS[late] / _BARS[early])
        old = (1 - _BARS[early] - new) / (1 - _BARS[late]) * variance
        variance = keeps * old + draws * new
    return abs(math.sqrt(variance / (1 - _BARS[_TIMES[-2]])) - 1)
