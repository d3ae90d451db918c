r"""The probability-flow map of a smooth density in the plane, by quadrature.

Diffusion by :math:`dx = -x\,dt + \sqrt 2\,dW` keeps :math:`x_t = \alpha x_0 + \sigma \varepsilon`
with :math:`\alpha = e^{-t}, \sigma^2 = 1 - \alpha^2`: the law of x_t is a Gaussian convolution of
the scaled density, and needs no solver of partial differential equations. The posterior mean

.. math:: m_\alpha(x) = E[x_0 \mid x_t = x] = \frac{\int y\, p(y)\, e^{-|x - \alpha y|^2 / 2
          \sigma^2} dy}{\int p(y)\, e^{-|x - \alpha y|^2 / 2 \sigma^2} dy}

is a ratio of two sums over a square grid (trapezoidal rule, whose error falls faster than any
power of the spacing). The Gaussian is a product over the two axes; with the density on the grid
compressed to :math:`\sum_r u_r v_r^T` (singular values), each sum is two small matrix products.
Where the Gaussian is narrower than the grid resolves, the same posterior is integrated by the
Gauss-Hermite rule around :math:`x / \alpha`, from the density's score:
:math:`\nabla \log p_t(x) = E[\nabla \log p(x_0) \mid x] / \alpha`.

As in :mod:`diffot.flows.flow`, what is integrated is :math:`y = S^{-1/2} x`,
:math:`S = \alpha^2 C + \sigma^2 I` for a law centered, with covariance C,

.. math:: \frac{dy}{d\alpha} = \frac{S^{-1/2}}{\sigma^2} (m_\alpha(x) - \alpha\, C S^{-1} x)
          = \frac{S^{-1/2}}{\alpha} (\nabla \log p_t(x) + S^{-1} x),

which stands still for a Gaussian, and steps are taken in :math:`\log(1 + \ell \alpha)`,
:math:`\ell^2` the largest eigenvalue of C. The solver chooses their length: the field changes
quickly only near the data, so that 10 to 20 steps do what uniform ones in t need hundreds for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from diffot.errors import as_number, as_whole_number, require, require_points, require_type
from diffot.flows.ode import integrate

_CHUNK = 512  # points whose kernels fit a core's cache
_RANK = 1e-14  # singular values below this share of the greatest are rounding
_HERMITE = 6  # nodes per axis of the Gauss-Hermite rule
_NARROW = 1.25  # the grid resolves Gaussians wider than this many spacings to 1e-12


@runtime_checkable
class Density(Protocol):
    """What is needed of a law in the plane, as :class:`~diffot.laws.densities.QuarticMixture` has
    it."""

    mean: Tensor  # shape (2,)
    covariance: Tensor  # shape (2, 2)
    box: Tensor  # lowest and highest coordinates of any mass that matters, shape (2, 2)

    def log_prob(self, x: Tensor) -> Tensor: ...

    def score(self, x: Tensor) -> Tensor: ...


def encode(
    density: Density, x: Tensor, time: float = 8.0, tolerance: float = 1e-8, nodes: int = 160
) -> Tensor:
    """Where the probability flow takes data points in a given time: nearly to N(0, I).

    Args:
        density: the law of the data.
        x: points, shape (B, 2).
        time: of the diffusion above; 8 leaves e^-8 = 0.0003 of the signal (Khrulkov et al.
            2023, section 3.4), ``math.inf`` nothing.
        tolerance: root mean square error of one solver step.
        nodes: of the grid, per axis.

    Returns:
        Float64 of shape (B, 2). It carries no gradient; see :func:`decode_with_jacobian`.

    Raises:
        ValueError: if x is not a finite tensor of that shape or a number is out of range.
        RuntimeError: if the solver does not get to the end, as for a point far outside the box.
    """
    flow = _Flow(density, nodes)
    require_points(x, 2)
    return flow.solve(x, 0.0, time, tolerance)


def decode(
    density: Density, z: Tensor, time: float = 8.0, tolerance: float = 1e-8, nodes: int = 160
) -> Tensor:
    """The inverse of :func:`encode`: from noise to the density, with the same arguments."""
    flow = _Flow(density, nodes)
    require_points(z, 2, "z")
    return flow.solve(z, time, 0.0, tolerance)


def decode_with_jacobian(
    density: Density,
    z: Tensor,
    time: float = 8.0,
    tolerance: float = 1e-8,
    nodes: int = 160,
    step: float = 1e-4,
) -> tuple[Tensor, Tensor]:
    """Decoded points (B, 2) and the Jacobians of :func:`decode` (B, 2, 2), rows being outputs.

    By central differences. All points share the solver's steps, so that its error is as smooth
    a function of z as the flow, and does not spoil the differences: they are off by ``step``
    squared times third derivatives.

    Args:
        step: of the differences.
    """
    step = as_number(step, "step", above=0, below=1)
    require_points(z, 2, "z")
    z = z.double()
    shifts = step * torch.cat([torch.zeros(1, 2), torch.eye(2), -torch.eye(2)]).to(z)
    moved = (z + shifts[:, None]).reshape(-1, 2)
    ends = decode(density, moved, time, tolerance, nodes).reshape(5, -1, 2)
    return ends[0], ((ends[1:3] - ends[3:]) / (2 * step)).permute(1, 2, 0)


def exact_score(density: Density, nodes: int = 160) -> Callable[[Tensor, float], Tensor]:
    r"""The score :math:`\nabla \log p_t(x)`, as a function of points (B, 2) and a time t >= 0."""
    flow = _Flow(density, nodes)
    return flow.score


def _as_time(time: float) -> float:
    """A time of at least 0; the only number of this module that may be infinite."""
    if isinstance(time, float) and time == math.inf:
        return time
    return as_number(time, "time", at_least=0)


class _Flow:
    """The equation for y, in the axes of C; points are (B, 2) tensors."""

    def __init__(self, density: Density, nodes: int):
        require_type(density, Density, "density", "a density in the plane, see Density")
        nodes = as_whole_number(nodes, "nodes", least=16)
        self.density, self.mean = density, density.mean
        self.spectrum, self.axes = torch.linalg.eigh(density.covariance)
        self.reach = math.sqrt(float(self.spectrum.max()))
        line = [torch.linspace(*ends, nodes, dtype=torch.float64) for ends in density.box.T]
        mass = density.log_prob(torch.cartesian_prod(*line)).exp().reshape(nodes, nodes)
        left, values, right = torch.linalg.svd(mass)
        rank = int((values > _RANK * values[0]).sum())
        self.line = [a - m for a, m in zip(line, self.mean)]
        self.spacing = max(float(a[1] - a[0]) for a in line)
        self.factors = [  # for the integral of 1 and that of the coordinate
            torch.cat([a, a * y[:, None]], 1)
            for a, y in zip((left[:, :rank] * values[:rank], right[:rank].mT), self.line)
        ]
        points, weights = (
            torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(_HERMITE)
        )
        self.hermite = torch.cartesian_prod(points, points)
        self.log_weights = torch.cartesian_prod(weights, weights).prod(1).log()

    def solve(self, x: Tensor, start: float, end: float, tolerance: float) -> Tensor:
        """The points at time ``end`` of those that are at x at time ``start``."""
        tolerance = as_number(tolerance, "tolerance", above=0, below=1)
        start, end = _as_time(start), _as_time(end)
        require(len(x) > 0, "there are no points; expected at least one row")
        here, there = math.exp(-start), math.exp(-end)
        y = ((x.detach().double() - here * self.mean) @ self.axes) / self._root(here)
        s = [math.log1p(self.reach * alpha) for alpha in (here, there)]
        y = torch.from_numpy(integrate(self._rate, *s, y.numpy(), tolerance))
        return there * self.mean + (self._root(there) * y) @ self.axes.mT

    def score(self, x: Tensor, time: float) -> Tensor:
        """S^{1/2} alpha dy/dalpha - S^{-1} x, x being centered; see the head of the module."""
        require_points(x, 2)
        alpha = math.exp(-_as_time(time))
        root = self._root(alpha)
        y = ((x.double() - alpha * self.mean) @ self.axes) / root
        return (alpha * root * self._slope(y, alpha) - y / root) @ self.axes.mT

    def _root(self, alpha: float) -> Tensor:
        """Square roots of the eigenvalues of S, shape (2,)."""
        return (1 + alpha**2 * (self.spectrum - 1)).sqrt()

    def _rate(self, s: float, y: np.ndarray) -> np.ndarray:
        # rounding must not lead past the data
        alpha = min(math.expm1(s) / self.reach, 1.0)
        return (math.exp(s) / self.reach * self._slope(torch.from_numpy(y), alpha)).numpy()

    def _slope(self, y: Tensor, alpha: float) -> Tensor:
        """dy/dalpha, by the rule that suits the width of the Gaussian."""
        narrow = math.sqrt(1 - alpha**2) < _NARROW * self.spacing * alpha
        drift = self._drift_near_data if narrow else self._drift
        return torch.cat([drift(part, alpha) for part in y.split(_CHUNK)])

    def _drift(self, y: Tensor, alpha: float) -> Tensor:
        """dy/dalpha, the posterior mean by sums over the grid."""
        variance = 1 - alpha**2
        root = self._root(alpha)
        x = (root * y) @ self.axes.mT
        sums = [
            torch.exp((x[:, i, None] - alpha * self.line[i]) ** 2 / (-2 * variance))
            @ self.factors[i]
            for i in range(2)
        ]
        (one, first), (also_one, second) = (a.tensor_split(2, 1) for a in sums)
        mean = torch.stack([(first * also_one).sum(1), (one * second).sum(1)], 1)
        mean = mean / (one * also_one).sum(1, keepdim=True)
        return (mean @ self.axes - alpha * self.spectrum / root * y) / variance / root

    def _drift_near_data(self, y: Tensor, alpha: float) -> Tensor:
        """dy/dalpha, the score by the Gauss-Hermite rule around x / alpha."""
        root = self._root(alpha)
        x = (root * y) @ self.axes.mT
        width = math.sqrt(1 - alpha**2) / alpha
        near = self.mean + x[:, None] / alpha + width * self.hermite
        flat = near.reshape(-1, 2)
        weight = (self.density.log_prob(flat).reshape(near.shape[:2]) + self.log_weights).softmax(
            1
        )
        score = (
            torch.einsum("bh,bhi->bi", weight, self.density.score(flat).reshape(near.shape))
            / alpha
        )
        return (score @ self.axes + y / root) / root / alpha
