r"""Khrulkov, Ryzhakov, Chertkov and Oseledets (2023), "Understanding DDPM latent codes through
optimal transport", in the version of 2022.

Each function measures one formula as it is printed and as it should be, as in
:mod:`chapters.errata.guidance`. In the letters of the paper
:math:`x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t} z`: :math:`\alpha_t` is the square.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from chapters.errata import chain
from chapters.errata.guidance import Errors, law


def score_of_a_noise_predictor() -> Errors:
    r"""(3): the score is :math:`-\epsilon_\theta / \sqrt{1 - \bar\alpha_t}`; printed is without
    the minus. Largest difference, over x_t, from the gradient of the logarithm of the density,
    for two classes on a line; :math:`\epsilon_\theta` is the mean of the noise by Bayes' rule on
    a grid."""
    x = torch.linspace(-2, 2, 41, dtype=torch.float64)

    def log_density(x: torch.Tensor) -> torch.Tensor:
        return law().log_prob(x[:, None], chain.BAR_ALPHA, chain.BAR_BETA).sum()

    exact = torch.func.grad(log_density)(x)
    clean = torch.linspace(-6, 6, 6001, dtype=torch.float64)
    noise = (x[:, None] - chain.BAR_ALPHA * clean) / chain.BAR_BETA
    weight = torch.softmax(law().log_prob(clean[:, None]) - noise**2 / 2, 1)
    guess = (weight * noise).sum(1) / chain.BAR_BETA
    return Errors(*(float((sign * guess - exact).abs().max()) for sign in (1, -1)))


def spread_of_a_step() -> Errors:
    r"""(2): the covariance is :math:`\sigma_t^2 I`, if :math:`\sigma_t` is what z is multiplied
    by in the step that is printed after (3); printed is :math:`\sigma_t`, called a covariance.
    Difference from 1 of the variance of x_{t-1} after this step, for data N(0, 1), the exact
    noise predictor and the exact covariance, by quadrature."""
    _, deviation = chain.reverse_law(0.0, 1.0)
    nodes, weight = chain.normal_rule(20)
    noisy, alpha, bar = nodes[:, None], chain.ALPHA**2, chain.BAR_ALPHA**2
    predicted = np.sqrt(1 - bar) * noisy
    mean = (noisy - (1 - alpha) / np.sqrt(1 - bar) * predicted) / np.sqrt(alpha)
    variances = (weight @ (mean + s * nodes) ** 2 @ weight for s in (deviation**2, deviation))
    return Errors(*(abs(float(variance) - 1) for variance in variances))


CHECKS: dict[str, Callable[[], Errors]] = {
    "(2)": spread_of_a_step,
    "(3)": score_of_a_noise_predictor,
}
