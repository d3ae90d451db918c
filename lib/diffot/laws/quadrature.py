r"""What a diffusion asks of a smooth density in the plane, by quadrature.

The law of :math:`\alpha x_0 + \sigma \varepsilon` is a Gaussian convolution of the scaled
density, and needs no solver of partial differential equations. Its posterior moments,

.. math:: E[f(x_0) \mid x] = \frac{\int f(y)\, p(y)\, e^{-|x - \alpha y|^2 / 2
          \sigma^2} dy}{\int p(y)\, e^{-|x - \alpha y|^2 / 2 \sigma^2} dy},

are ratios of sums over a square grid (trapezoidal rule, whose error falls faster than any power
of the spacing). The Gaussian is a product over the two axes; with the density on the grid
compressed to :math:`\sum_r u_r v_r^T` (singular values), each sum is two small matrix products.
Where the Gaussian is narrower than the grid resolves, the same integrals are taken by the
Gauss-Hermite rule around :math:`x / \alpha`, and the score from that of the density,
:math:`\nabla \log p_{\alpha, \sigma}(x) = E[\nabla \log p(x_0) \mid x] / \alpha`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from diffot.errors import as_whole_number, require, require_points, require_type
from diffot.laws.law import Level, levels

_CHUNK = 512  # points whose kernels fit a core's cache
_RANK = 1e-14  # singular values below this part of the greatest are rounding
_HERMITE = 6  # nodes per axis of the Gauss-Hermite rule
_NARROW = 1.25  # the grid resolves Gaussians wider than this many spacings to 1e-12


@runtime_checkable
class Density(Protocol):
    """A smooth law in the plane, as :class:`~diffot.laws.densities.QuarticMixture` is one."""

    mean: Tensor  # shape (2,)
    covariance: Tensor  # shape (2, 2)
    box: Tensor  # lowest and highest coordinates of any mass that matters, shape (2, 2)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density at x of shape (B, 2), in nats, shape (B,)."""
        ...

    def score(self, x: Tensor) -> Tensor:
        """Its gradient, shape (B, 2)."""
        ...


class NoisyDensity:
    """A density in the plane under noise.

    Methods take points (B, 2) and amplitudes with alpha > 0 or sigma > 0, as those of
    :class:`~diffot.laws.law.Law`, and give float64.

    Args:
        density: the law without noise.
        nodes: of the grid, per axis.
    """

    def __init__(self, density: Density, nodes: int = 160):
        require_type(density, Density, "density", "a density in the plane, see Density")
        self.density, self.nodes = density, as_whole_number(nodes, "nodes", least=16)
        line = [torch.linspace(a, b, self.nodes, dtype=torch.float64) for a, b in density.box.T]
        mass = density.log_prob(torch.cartesian_prod(*line)).exp()
        left, values, right = torch.linalg.svd(mass.reshape(self.nodes, self.nodes))
        rank = int((values > _RANK * values[0]).sum())
        self._sides = left[:, :rank] * values[:rank], right[:rank].mT
        self._line = [a - m for a, m in zip(line, density.mean)]
        spacings = [float(a[1] - a[0]) for a in line]
        self._spacing, self._cell = max(spacings), math.prod(spacings)
        points, weights = (
            torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(_HERMITE)
        )
        self._hermite = torch.cartesian_prod(points, points)
        # of the rule for N(0, I)
        self._log_weights = (torch.cartesian_prod(weights, weights).prod(1) / math.tau).log()

    def log_prob(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        """Log density, shape (B,)."""

        def on_grid(x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
            (one,), (other,) = self._sums(x, alpha, sigma, 1)
            mass = (one * other).sum(1)
            return (mass * self._cell / (math.tau * sigma[:, 0] ** 2)).log()

        def near_data(x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
            log_joint, _ = self._near(x, alpha, sigma)
            return log_joint.logsumexp(1) - 2 * alpha[:, 0].log()

        return self._by_rule(x, alpha, sigma, on_grid, near_data)

    def posterior_mean(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        """The expected clean point, shape (B, 2)."""

        def near_data(x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
            return (x + sigma**2 * self._score_near_data(x, alpha, sigma)) / alpha

        return self._by_rule(x, alpha, sigma, self._mean_on_grid, near_data)

    def posterior_covariance(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        """The covariance of the clean point, shape (B, 2, 2)."""

        def on_grid(x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
            one, other = self._sums(x, alpha, sigma, 3)
            powers = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (1, 1), (0, 2))
            moments = torch.stack([(one[i] * other[j]).sum(1) for i, j in powers], 1)
            moments = moments / moments[:, :1]
            mean, second = moments[:, 1:3], moments[:, 3:].reshape(-1, 2, 2)
            return second - mean[:, :, None] * mean[:, None]

        def near_data(x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
            log_joint, _ = self._near(x, alpha, sigma)
            weights = log_joint.softmax(1)
            centered = self._hermite - (weights @ self._hermite)[:, None]
            spread = torch.einsum("bh,bhi,bhj->bij", weights, centered, centered)
            return (sigma / alpha)[:, :, None] ** 2 * spread

        return self._by_rule(x, alpha, sigma, on_grid, near_data)

    def score(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        """The gradient of the log density, shape (B, 2)."""

        def on_grid(x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
            return (alpha * self._mean_on_grid(x, alpha, sigma) - x) / sigma**2

        return self._by_rule(x, alpha, sigma, on_grid, self._score_near_data)

    def _mean_on_grid(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        (one, first), (also_one, second) = self._sums(x, alpha, sigma, 2)
        moments = torch.stack([(first * also_one).sum(1), (one * second).sum(1)], 1)
        return self.density.mean + moments / (one * also_one).sum(1, keepdim=True)

    def _score_near_data(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        log_joint, near = self._near(x, alpha, sigma)
        scores = self.density.score(near.reshape(-1, 2)).reshape(near.shape)
        return torch.einsum("bh,bhi->bi", log_joint.softmax(1), scores) / alpha

    def _near(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Log density times weight at the Gauss-Hermite nodes of each point, and the nodes."""
        near = (x / alpha)[:, None] + (sigma / alpha)[:, :, None] * self._hermite
        log_prob = self.density.log_prob(near.reshape(-1, 2)).reshape(near.shape[:2])
        return log_prob + self._log_weights, near

    def _sums(self, x: Tensor, alpha: Tensor, sigma: Tensor, powers: int) -> list:
        """For both axes, sums over the grid of kernel times side times coordinate^p, p below
        ``powers``, about the mean: (B, rank) each."""
        x = x - alpha * self.density.mean
        return [
            (torch.exp((x[:, i, None] - alpha * self._line[i]) ** 2 / (-2 * sigma**2)) @ factors)
            .tensor_split(powers, 1)
            for i, factors in enumerate(self._factors[powers - 1])
        ]  # fmt: skip

    @cached_property
    def _factors(self) -> list[list[Tensor]]:
        """What kernels are multiplied with, for one, two and three powers."""
        return [
            [
                torch.cat([side * y[:, None] ** p for p in range(powers)], 1)
                for side, y in zip(self._sides, self._line)
            ]
            for powers in (1, 2, 3)
        ]

    def _by_rule(
        self, x: Tensor, alpha: Level, sigma: Level, on_grid: Callable, near_data: Callable
    ) -> Tensor:
        """Values at points, each by the rule that suits the width of its Gaussian."""
        require_points(x, 2)
        require(len(x) > 0, "x holds no points; expected at least one row")
        alpha, sigma = (
            level.cpu().expand(len(x))[:, None] for level in levels(len(x), alpha, sigma)
        )
        x = x.to("cpu", torch.float64)
        narrow = (sigma < _NARROW * self._spacing * alpha)[:, 0]
        parts = []
        for rule, which in ((on_grid, ~narrow), (near_data, narrow)):
            if which.any():
                for part in torch.nonzero(which)[:, 0].split(_CHUNK):
                    parts.append((part, rule(x[part], alpha[part], sigma[part])))
        order = torch.cat([part for part, _ in parts]).argsort()
        return torch.cat([values for _, values in parts])[order]
