r"""Chapter 11 of the notes "Topics on diffusion generative models", on one framework for all ways
to destroy data; more of it is in :mod:`chapters.errata.processes`.

Each function measures one formula, or one step of an algorithm, as it is printed and as it should
be, as in :mod:`chapters.errata.guidance`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.stats import laplace

from chapters.errata import chain
from chapters.errata.guidance import Errors

_SPREAD = chain.BAR_BETA_BEFORE * chain.BETA / chain.BAR_BETA  # sigma_t of DDPM


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


CHECKS: dict[str, Callable[[], Errors]] = {
    "(11.10)": step_of_hot_diffusion,
    "(11.13)": law_of_absolute_errors,
}
