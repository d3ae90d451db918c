r"""The probability flow of a smooth density in the plane, by quadrature.

The law of x_t is a Gaussian convolution of the scaled density, and needs no solver of partial
differential equations. The posterior mean

.. math:: E[x_0 \mid x_t = x] = \frac{\int y\, p(y)\, e^{-|x - \alpha y|^2 / 2
          \sigma^2} dy}{\int p(y)\, e^{-|x - \alpha y|^2 / 2 \sigma^2} dy}

is a ratio of two sums over a square grid (trapezoidal rule, whose error falls faster than any
power of the spacing). The Gaussian is a product over the two axes; with the density on the grid
compressed to :math:`\sum_r u_r v_r^T` (singular values), each sum is two small matrix products.
Where the Gaussian is narrower than the grid resolves, the same posterior is integrated by the
Gauss-Hermite rule around :math:`x / \alpha`, from the density's score:
:math:`\nabla \log p_t(x) = E[\nabla \log p(x_0) \mid x] / \alpha`. From either follows the drift
of :mod:`diffot.flows.engine`, whose solver chooses the steps: the field changes quickly only near
the data, so that 10 to 20 steps do what uniform ones in t need hundreds for.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from diffot.errors import as_number, as_whole_number, require_points, require_type
from diffot.flows.engine import Flow

_CHUNK = 512  # points whose kernels fit a core's cache
_RANK = 1e-14  # singular values below this part of the greatest are rounding
_HERMITE = 6  # nodes per axis of the Gauss-Hermite rule
_NARROW = 1.25  # the grid resolves Gaussians wider than this many spacings to 1e-12
_STEP = 1e-4  # of the differences for Jacobians


@runtime_checkable
class Density(Protocol):
    """What is needed of a law in the plane, as :class:`~diffot.laws.densities.QuarticMixture` has
    it."""

    mean: Tensor  # shape (2,)
    covariance: Tensor  # shape (2, 2)
    box: Tensor  # lowest and highest coordinates of any mass that matters, shape (2, 2)

    def log_prob(self, x: Tensor) -> Tensor: ...

    def score(self, x: Tensor) -> Tensor: ...


class DensityFlow(Flow):
    """The map from nearly N(0, I), where diffusion is after some time, to a density in the plane.

    Args:
        density: the law of the data.
        time: of the diffusion; 8 leaves e^-8 = 0.0003 of the signal (Khrulkov et al. 2023,
            section 3.4), ``math.inf`` nothing.
        tolerance: root mean square error of one solver step.
        nodes: of the grid, per axis.

    Raises:
        TypeError, ValueError: if a number is out of range. A point far outside the box is a
            ``RuntimeError`` of the methods.
    """

    def __init__(
        self, density: Density, time: float = 8.0, tolerance: float = 1e-8, nodes: int = 160
    ):
        require_type(density, Density, "density", "a density in the plane, see Density")
        nodes = as_whole_number(nodes, "nodes", least=16)
        super().__init__(density.mean, density.covariance, 1.0, _as_time(time), tolerance)
        self.density, self.nodes = density, nodes
        line = [torch.linspace(*ends, nodes, dtype=torch.float64) for ends in density.box.T]
        mass = density.log_prob(torch.cartesian_prod(*line)).exp().reshape(nodes, nodes)
        left, values, right = torch.linalg.svd(mass)
        rank = int((values > _RANK * values[0]).sum())
        self._line = [a - m for a, m in zip(line, density.mean)]
        self._spacing = max(float(a[1] - a[0]) for a in line)
        self._factors = [  # for the integral of 1 and that of the coordinate
            torch.cat([a, a * y[:, None]], 1)
            for a, y in zip((left[:, :rank] * values[:rank], right[:rank].mT), self._line)
        ]
        points, weights = (
            torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(_HERMITE)
        )
        self._hermite = torch.cartesian_prod(points, points)
        self._log_weights = torch.cartesian_prod(weights, weights).prod(1).log()

    def decode_with_jacobian(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded points (B, 2) and the Jacobians of :meth:`decode` (B, 2, 2).

        By central differences. All points share the solver's steps, so that its error is as
        smooth a function of z as the flow, and does not spoil the differences: they are off by
        1e-8 times third derivatives.
        """
        require_points(z, 2, "z")
        shifts = _STEP * torch.cat([torch.zeros(1, 2), torch.eye(2), -torch.eye(2)])
        moved = (z.double() + shifts.to(z.device, torch.float64)[:, None]).reshape(-1, 2)
        ends = self.decode(moved).reshape(5, -1, 2)
        slopes = ((ends[1:3] - ends[3:]) / (2 * _STEP)).permute(1, 2, 0)
        return ends[0].to(z), slopes.to(z)

    def score(self, x: Tensor, time: float) -> Tensor:
        r"""The score :math:`\nabla \log p_t` at points (B, 2), a time t >= 0 into the diffusion,
        float64 of shape (B, 2)."""
        require_points(x, 2)
        alpha = math.exp(-_as_time(time))
        turned = self._axes.T @ (x.detach().double().numpy().T - alpha * self._mean)
        score = alpha * self.drift(alpha, turned) - turned / self._root(alpha) ** 2
        return torch.from_numpy(self._axes @ score).T

    def drift(self, alpha: float, x: np.ndarray) -> np.ndarray:
        """g, by the rule that suits the width of the Gaussian."""
        variance = 1 - alpha**2
        narrow = math.sqrt(variance) < _NARROW * self._spacing * alpha
        rule = self._score_near_data if narrow else self._posterior_mean
        parts = torch.from_numpy(self._axes @ x).split(_CHUNK, 1)
        value = self._axes.T @ np.concatenate([rule(alpha, part).numpy() for part in parts], 1)
        precision = 1 / self._root(alpha) ** 2
        if narrow:
            return (value + precision * x) / alpha
        return (value - alpha * self._spectrum * precision * x) / variance

    def _posterior_mean(self, alpha: float, x: Tensor) -> Tensor:
        """E[x_0 | x] by sums over the grid; both centered, (2, B)."""
        sums = [
            torch.exp((x[i, :, None] - alpha * self._line[i]) ** 2 / (-2 * (1 - alpha**2)))
            @ self._factors[i]
            for i in range(2)
        ]
        (one, first), (also_one, second) = (a.tensor_split(2, 1) for a in sums)
        moments = torch.stack([(first * also_one).sum(1), (one * second).sum(1)])
        return moments / (one * also_one).sum(1)

    def _score_near_data(self, alpha: float, x: Tensor) -> Tensor:
        """The score at centered points by the Gauss-Hermite rule around x / alpha, (2, B)."""
        width = math.sqrt(1 - alpha**2) / alpha
        near = self.density.mean + x.T[:, None] / alpha + width * self._hermite
        flat = near.reshape(-1, 2)
        log_joint = self.density.log_prob(flat).reshape(near.shape[:2]) + self._log_weights
        scores = self.density.score(flat).reshape(near.shape)
        return torch.einsum("bh,bhi->ib", log_joint.softmax(1), scores) / alpha


def _as_time(time: float) -> float:
    """A time of at least 0; the only number of this module that may be infinite."""
    if isinstance(time, float) and time == math.inf:
        return time
    return as_number(time, "time", at_least=0)
