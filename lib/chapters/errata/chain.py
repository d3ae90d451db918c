r"""The chain of steps on which formulas of several sources are checked, and exact answers on it.

In the letters of the notes "Topics on diffusion generative models":
:math:`x_t = \alpha_t x_{t-1} + \beta_t \varepsilon_t` with :math:`\alpha_t^2 + \beta_t^2 = 1`,
and bars stand for all steps together. There are ten steps, :math:`\alpha_t = \sqrt{1 - t / 20}`,
and what is checked is step t = 4.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

T = 4
ALPHAS = np.sqrt(1 - np.arange(1, 11) / 20)
ALPHA_BEFORE, ALPHA = (float(alpha) for alpha in ALPHAS[T - 2 : T])
BETA_BEFORE, BETA = math.sqrt(1 - ALPHA_BEFORE**2), math.sqrt(1 - ALPHA**2)
BAR_ALPHA_BEFORE, BAR_ALPHA = (float(bar) for bar in ALPHAS.cumprod()[T - 2 : T])
BAR_BETA_BEFORE, BAR_BETA = math.sqrt(1 - BAR_ALPHA_BEFORE**2), math.sqrt(1 - BAR_ALPHA**2)
CLEAN, NOISY = 0.7, -0.4  # x_0 and x_t


def reverse_law(mean: float, deviation: float) -> tuple[float, float]:
    """Mean and standard deviation of x_{t-1} given x_t = NOISY, by Bayes' rule on a grid, where
    x_{t-1} has the law N(mean, deviation²)."""
    x = np.linspace(-12, 12, 400_001)
    log_mass = -((NOISY - ALPHA * x) ** 2) / (2 * BETA**2) - (x - mean) ** 2 / (2 * deviation**2)
    mass = np.exp(log_mass - log_mass.max())
    mass /= mass.sum()
    center = float(mass @ x)
    return center, math.sqrt(float(mass @ (x - center) ** 2))


def reverse_law_of_clean_point() -> tuple[float, float]:
    """The same given x_0 = CLEAN too."""
    return reverse_law(BAR_ALPHA_BEFORE * CLEAN, BAR_BETA_BEFORE)


def normal_rule(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of the Gauss-Hermite rule for N(0, 1), n of them."""
    nodes, weight = np.polynomial.hermite_e.hermegauss(n)
    return nodes, weight / weight.sum()
