"""The probability flow of a smooth density in the plane.

What is known of the noisy law comes from :mod:`diffot.laws.quadrature`, and the solver of
:mod:`diffot.flows.engine` chooses the steps: the field changes quickly only near the data, so
that 10 to 20 steps do what uniform ones in t need hundreds for.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from diffot.errors import as_number, require_points
from diffot.flows.engine import Flow
from diffot.laws.quadrature import Density, NoisyDensity

_STEP = 1e-4  # of the differences for Jacobians


class DensityFlow(Flow):
    """The map from nearly N(0, I), where diffusion is after some time, to a density in the plane.

    Args:
        density: the law of the data.
        time: of the diffusion; 8 leaves e^-8 = 0.0003 of the signal (Khrulkov et al. 2023,
            section 3.4), ``math.inf`` nothing.
        tolerance: root mean square error of one solver step.
        nodes: of the grid, per axis; see :class:`~diffot.laws.quadrature.NoisyDensity`.

    Raises:
        TypeError, ValueError: if a number is out of range. A point far outside the box is a
            ``RuntimeError`` of the methods.
    """

    def __init__(
        self, density: Density, time: float = 8.0, tolerance: float = 1e-8, nodes: int = 160
    ):
        self._noisy = NoisyDensity(density, nodes)
        super().__init__(density.mean, density.covariance, 1.0, _as_time(time), tolerance)

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
        alpha = math.exp(-_as_time(time))
        sigma = math.sqrt(1 - alpha**2)
        if sigma == 0:
            return self._noisy.density.score(x.double())
        return self._noisy.score(x, alpha, sigma)

    def drift(self, alpha: float, x: np.ndarray) -> np.ndarray:
        precision, sigma = 1 / self._root(alpha) ** 2, math.sqrt(1 - alpha**2)
        points = torch.from_numpy(self._axes @ x).T + alpha * self._noisy.density.mean
        if alpha < 0.5:
            clean = self._noisy.posterior_mean(points, alpha, sigma) - self._noisy.density.mean
            linear = alpha * self._spectrum * precision * x
            return (self._axes.T @ clean.numpy().T - linear) / sigma**2
        score = self.score(points, -math.log(alpha)).numpy().T
        return (self._axes.T @ score + precision * x) / alpha


def _as_time(time: float) -> float:
    """A time of at least 0; the only number of this module that may be infinite."""
    if isinstance(time, float) and time == math.inf:
        return time
    return as_number(time, "time", at_least=0)
