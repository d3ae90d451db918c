r"""What is known exactly of the four losses and of Langevin dynamics.

For data N(0, s² I) in d dimensions with noise :math:`\sigma`, whose variance is
:math:`V = s^2 + \sigma^2`, and scores :math:`-\theta x`, each loss has the minimizer
:math:`\theta = 1 / V`; that over a batch of n examples has the relative variance
:math:`c / (n d)` for large n, and c is :func:`relative_variance`.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats
from scipy.linalg import eigh_tridiagonal

from diffot.errors import as_number, require_known

LOSSES = ("explicit", "implicit", "sliced", "denoising")


def relative_variance(loss: str, noise: float) -> float:
    r"""c of the four losses: 0, 2, 4 and :math:`(s / \sigma)^2`.

    :math:`\hat\theta` is 1/V for the explicit one, :math:`n d / \sum |x|^2` for the implicit,
    :math:`\sum |v|^2 / \sum |x|^2` for the sliced, and
    :math:`\sum \tilde x \cdot \varepsilon / (\sigma \sum |\tilde x|^2)` for the denoising
    one, whose residual :math:`\varepsilon / \sigma - \tilde x / V` is independent of
    :math:`\tilde x` with the variance :math:`s^2 / \sigma^2 V`.

    Args:
        noise: :math:`\sigma / s`, above 0.
    """
    require_known(loss, "loss", LOSSES)
    noise = as_number(noise, "noise", above=0)
    return {"explicit": 0.0, "implicit": 2.0, "sliced": 4.0, "denoising": noise**-2}[loss]


def gap(alpha: float, sigma: float, deviation: float) -> float:
    r"""Conditional less unconditional score matching, of N(0, s²) on a line:
    :math:`1 / \sigma^2 - 1 / (\alpha^2 s^2 + \sigma^2)` (without the factor 1/2)."""
    return 1 / sigma**2 - 1 / ((alpha * deviation) ** 2 + sigma**2)


def stationary_variance(step: float, variance: float) -> float:
    r"""In which unadjusted Langevin dynamics settles for N(0, v): :math:`v / (1 - h / 4v)`.

    A step multiplies by :math:`1 - h / 2v` and adds the variance h.
    """
    step = as_number(step, "step", above=0, below=4 * variance)
    return variance / (1 - step / (4 * variance))


def variance_after(start: float, step: float, variance: float, steps: int) -> float:
    """The variance after so many steps, for N(0, variance), from the variance ``start``."""
    limit, kept = stationary_variance(step, variance), (1 - step / (2 * variance)) ** 2
    return limit + (start - limit) * kept**steps


class Wells:
    r"""Two Gaussians N(±a, 1) on a line, as Langevin dynamics sees them, on a grid.

    Args:
        center: a. weight: of the one at -a.
        reach: of the grid, which is symmetric about 0. cells: of the grid.
    """

    def __init__(self, center: float, weight: float, reach: float = 14.0, cells: int = 560):
        self.center, self.weight = center, weight
        width = 2 * reach / cells
        self.x = (np.arange(cells) + 0.5) * width - reach
        self.width = width
        components = np.stack(
            [
                math.log(w) + stats.norm.logpdf(self.x, m)
                for w, m in ((weight, -center), (1 - weight, center))
            ]
        )
        self.log_density = np.logaddexp(*components)
        right = np.exp(components[1] - self.log_density)
        self.score = -self.x + center * (2 * right - 1)

    def after(self, start: np.ndarray, step: float, steps: int) -> np.ndarray:
        """Probabilities of the cells after so many steps of the size, from those before."""
        kernel = stats.norm.pdf(self.x[:, None], self.x + step / 2 * self.score, math.sqrt(step))
        kernel /= kernel.sum(0)
        return np.linalg.matrix_power(kernel, steps) @ start

    def left(self, probabilities: np.ndarray) -> float:
        """The share below 0."""
        return float(probabilities[self.x < 0].sum())

    def relaxation_time(self) -> float:
        r"""In which the difference from the law falls by the factor e under
        :math:`dx = \frac12 \nabla \log p\,dt + dW`: the inverse of the least eigenvalue above 0
        of the generator, discretized by finite volumes."""
        density = np.exp(self.log_density)
        between = np.sqrt(density[1:] * density[:-1])
        flow = between / (2 * self.width**2)
        out = np.zeros_like(density)
        out[:-1] += flow
        out[1:] += flow
        root = np.sqrt(density)
        diagonal, beside = out / density, -flow / (root[1:] * root[:-1])
        values = eigh_tridiagonal(diagonal, beside, select="i", select_range=(0, 1))[0]
        return float(1 / values[1])


def on_the_diagonal(reach: float, x: np.ndarray) -> np.ndarray:
    """Density of (u + v) / sqrt 2 for u and v uniform on [-reach, reach]."""
    most = math.sqrt(2) * reach
    return np.clip(most - np.abs(x), 0, None) / most**2
