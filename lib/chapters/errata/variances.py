r"""The notes "Topics on diffusion generative models" on variances: chapters 2, 3, 5, 7 and 8.

Each function measures one formula as it is printed and as it should be, as in
:mod:`chapters.errata.guidance`, on the chain of :mod:`chapters.errata.chain`. In the notes
:math:`\sigma_t` is what noise is multiplied by in a step back, a standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from chapters.errata import chain
from chapters.errata.guidance import Errors


def spread_for_one_point() -> Errors:
    r"""Section 2.5: for data that are one point :math:`\sigma_t = \bar\beta_{t-1} \beta_t /
    \bar\beta_t`; printed is :math:`\beta_{t-1}`. Difference from the standard deviation of
    x_{t-1} given x_t by Bayes' rule on a grid."""
    _, exact = chain.reverse_law_of_clean_point()
    ratio = chain.BETA / chain.BAR_BETA
    return Errors(*(abs(b * ratio - exact) for b in (chain.BETA_BEFORE, chain.BAR_BETA_BEFORE)))


def square_for_one_point() -> Errors:
    r"""After (3.15): :math:`\bar\beta_{t-1}^2 \beta_t^2 / \bar\beta_t^2` is :math:`\sigma_t^2`;
    printed is :math:`\sigma_t`. Difference as for section 2.5."""
    _, exact = chain.reverse_law_of_clean_point()
    square = (chain.BAR_BETA_BEFORE * chain.BETA / chain.BAR_BETA) ** 2
    return Errors(*(abs(value - exact) for value in (square, math.sqrt(square))))


def square_for_normal_data() -> Errors:
    r"""After (3.17): :math:`\beta_t^2` is :math:`\sigma_t^2`; printed is :math:`\sigma_t`.
    Difference as for section 2.5, with data N(0, 1)."""
    _, exact = chain.reverse_law(0.0, 1.0)
    return Errors(*(abs(value - exact) for value in (chain.BETA**2, chain.BETA)))


def variance_of_a_short_step() -> Errors:
    r"""After (5.7), and in the summary of section 7: :math:`g^2 \Delta t` is the variance;
    printed is the standard deviation. Difference of the rate at which the variance of x_t given
    :math:`x_{t + \Delta t}` grows from :math:`\Delta t = 0`, for data N(0, 0.5) and
    :math:`dx = -x\,dt + \sqrt 2\,dw`, from the rate of the square of what is printed, 0, and from
    :math:`g^2`."""
    now = 1 - 0.5 * math.exp(-2 * 0.3)

    def variance(step: Tensor) -> Tensor:  # by the rule for Gaussians
        kept, noise = torch.exp(-step), 1 - torch.exp(-2 * step)
        return now - (kept * now) ** 2 / (kept**2 * now + noise)

    zero = torch.zeros((), dtype=torch.float64)
    exact = float(torch.func.grad(variance)(zero))
    claims = (lambda step: (2 * step) ** 2), (lambda step: 2 * step)
    return Errors(*(abs(float(torch.func.grad(claim)(zero)) - exact) for claim in claims))


def summary_for_one_point() -> Errors:
    r"""Section 7, summary of section 2: :math:`\sigma_t = \bar\beta_{t-1} \beta_t /
    \bar\beta_t`; printed is :math:`\beta_{t-1} \beta_t^2 / \beta_t^2`. Difference as for section
    2.5."""
    _, exact = chain.reverse_law_of_clean_point()
    printed = chain.BETA_BEFORE * chain.BETA**2 / chain.BETA**2
    corrected = chain.BAR_BETA_BEFORE * chain.BETA / chain.BAR_BETA
    return Errors(*(abs(value - exact) for value in (printed, corrected)))


def covariance_of_a_step() -> Errors:
    r"""After (7.4): :math:`(\sigma_t^2 + \gamma_t^2 \bar\sigma_t^2) I` is the covariance; printed
    is the standard deviation. Difference from the standard deviation of the last line of (7.4),
    by quadrature over its two noises, for :math:`\sigma_t = 0.3` and
    :math:`\gamma_t \bar\sigma_t = 0.5`."""
    nodes, weight = chain.normal_rule(20)
    noise = 0.3 * nodes[:, None] + 0.5 * nodes
    exact = math.sqrt(float(weight @ noise**2 @ weight))
    covariance = 0.3**2 + 0.5**2
    return Errors(*(abs(value - exact) for value in (covariance, math.sqrt(covariance))))


def variance_of_each_pixel() -> Errors:
    r"""(8.10): the square is of each component, :math:`(\varepsilon - \varepsilon_\theta)^2`;
    printed is that of the norm, which is one number. Largest difference, over two components,
    from the variance of x_0 given x_t, for data N(0, diag(0.25, 4)) and the exact
    :math:`\varepsilon_\theta`, by quadrature over x_0 and noise."""
    variances = np.array([0.25, 4.0])
    exact = 1 / (1 / variances + (chain.BAR_ALPHA / chain.BAR_BETA) ** 2)
    nodes, weight = chain.normal_rule(20)
    noise = nodes[:, None]
    noisy = chain.BAR_ALPHA * np.sqrt(variances)[:, None, None] * nodes + chain.BAR_BETA * noise
    total = (chain.BAR_ALPHA**2 * variances + chain.BAR_BETA**2)[:, None, None]
    errors = weight @ (noise - chain.BAR_BETA * noisy / total) ** 2 @ weight
    scale = (chain.BAR_BETA / chain.BAR_ALPHA) ** 2
    guesses = scale * errors.sum(), scale * errors
    return Errors(*(float(np.abs(guess - exact).max()) for guess in guesses))


CHECKS: dict[str, Callable[[], Errors]] = {
    "section 2.5": spread_for_one_point,
    "after (3.15)": square_for_one_point,
    "after (3.17)": square_for_normal_data,
    "after (5.7)": variance_of_a_short_step,
    "section 7, summary": summary_for_one_point,
    "after (7.4)": covariance_of_a_step,
    "(8.10)": variance_of_each_pixel,
}
