r"""Couplings of two Gaussians, and what rectification makes of them, in closed form.

For a coupling of :math:`X_0` with :math:`X_1`, join each pair by a Brownian bridge of variance
:math:`\epsilon`: :math:`X_t = (1 - t) X_0 + t X_1 + \sqrt{\epsilon t (1 - t)}\, W`. The process
that has the same law at each time, and forgets where it came from, has the drift

.. math:: v_t(x) = E\Big[\frac{X_1 - X_t}{1 - t} \,\Big|\, X_t = x\Big].

Without noise this is reflow (Liu et al. 2023); with it, the Markovian projection of Shi et al.
(2023), which repeated leads to the Schrödinger bridge. For Gaussians the drift is linear, and
what becomes of the coupling is an ordinary differential equation of matrices. Hertrich et al.
(2025) treat such couplings for :math:`\epsilon = 0`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from scipy.linalg import solve_continuous_lyapunov
from scipy.optimize import minimize_scalar
from torch import Tensor

from diffot.errors import (
    as_number,
    require,
    require_covariance,
    require_finite,
    require_same_shape,
    require_tensor,
)
from diffot.flows.ode import integrate
from diffot.transport.points import as_double

_SINGULAR = 1e-8  # least eigenvalue of a covariance, as a share of the largest of the two ends
_TIMES = 400  # looked at for a singular covariance, before the least is refined
_TOLERANCE = 1e-12  # of the steps of the solver


@dataclass(frozen=True, eq=False)
class GaussianCoupling:
    r"""Jointly Gaussian pairs :math:`(X_0, X_1)` with mean zero.

    Attributes:
        source, target: covariances of the two, A and B, positive definite, shape (d, d).
        cross: :math:`E[X_1 X_0^T]`, shape (d, d).

    Raises:
        TypeError, ValueError: for other shapes, and if no pairs have these covariances.
    """

    source: Tensor
    target: Tensor
    cross: Tensor

    def __post_init__(self):
        for name in ("source", "target"):
            require_covariance(getattr(self, name), name)
        require_tensor(self.cross, "cross", "a floating-point tensor of shape (d, d)")
        require_finite(self.cross, "cross")
        for name in ("target", "cross"):
            require_same_shape(self.source, getattr(self, name), ("source", name))
        require(self.source.ndim == 2, "source has several matrices; expected one, (d, d)")
        for name, matrix in vars(self).items():
            object.__setattr__(self, name, as_double(matrix))
        joint = torch.cat(
            [torch.cat([self.source, self.cross.mT], 1), torch.cat([self.cross, self.target], 1)]
        )
        spectrum = torch.linalg.eigvalsh(joint)
        require(
            bool(spectrum[0] > -1e-9 * spectrum[-1]),
            f"cross is too large for source and target: their joint covariance has the "
            f"eigenvalue {float(spectrum[0]):.3g}; expected none below 0",
        )

    @classmethod
    def independent(cls, source: Tensor, target: Tensor) -> Self:
        """Pairs that know nothing of each other."""
        require_covariance(source, "source")
        return cls(source, target, torch.zeros_like(source))

    @classmethod
    def of_map(cls, source: Tensor, matrix: Tensor) -> Self:
        """The pairs of a linear map, :math:`X_1 = M X_0`."""
        require_covariance(source, "source")
        require_tensor(matrix, "matrix", "a floating-point tensor of shape (d, d)")
        require_same_shape(source, matrix, ("source", "matrix"))
        source, matrix = as_double(source), as_double(matrix)
        target = matrix @ source @ matrix.mT
        return cls(source, (target + target.mT) / 2, matrix @ source)

    @property
    def matrix(self) -> Tensor:
        r"""M of :math:`E[X_1 | X_0] = M X_0`, shape (d, d)."""
        return torch.linalg.solve(self.source, self.cross.mT).mT

    @property
    def cost(self) -> float:
        """Mean squared distance of the pairs."""
        return float((self.source + self.target - 2 * self.cross).trace())

    @property
    def excess(self) -> float:
        """(cost - optimal) / optimal, over all couplings of the same two Gaussians."""
        root = _root(self.source)
        saved = _root(root @ self.target @ root).trace() - self.cross.trace()
        return float(2 * saved) / (self.cost - float(2 * saved))

    def covariance(self, t: float, epsilon: float = 0.0) -> Tensor:
        """Of the points a share t of the way along bridges of this variance, shape (d, d)."""
        t = as_number(t, "t", at_least=0, at_most=1)
        epsilon = as_number(epsilon, "epsilon", at_least=0)
        mixed = t * (1 - t) * (self.cross + self.cross.mT)
        noise = epsilon * t * (1 - t) * torch.eye(len(mixed), dtype=torch.float64)
        return (1 - t) ** 2 * self.source + t**2 * self.target + mixed + noise

    def least_variance(self, epsilon: float = 0.0) -> tuple[float, float]:
        """The least eigenvalue of :meth:`covariance` over all times, and its time.

        From 400 times, refined around the least of them.
        """

        def least(t: float) -> float:
            return float(torch.linalg.eigvalsh(self.covariance(t, epsilon))[0])

        times = np.linspace(0, 1, _TIMES + 1)
        best = int(np.argmin([least(float(t)) for t in times]))
        ends = times[max(best - 1, 0)], times[min(best + 1, _TIMES)]
        found = minimize_scalar(least, bounds=ends, method="bounded", options={"xatol": 1e-12})
        t = min((float(found.x), float(times[best])), key=least)
        return least(t), t


def rectified(coupling: GaussianCoupling, epsilon: float = 0.0) -> GaussianCoupling:
    r"""The coupling of start and end of the process with the drift of the module's head.

    With :math:`S_t` the covariance of :math:`X_t` and
    :math:`C_t = E[(X_1 - X_0) ((1 - t) X_0 + t X_1)^T]` the drift is
    :math:`(C_t - \epsilon t I) S_t^{-1} x`. Both Gaussians are kept.

    Args:
        epsilon: variance of the bridges, at least 0. With 0 this is one round of reflow; above
            0, one of iterated Markovian fitting.

    Raises:
        ValueError: where the covariance of the points is singular at some time, so that paths
            meet and the drift has no limit there.
    """
    epsilon = as_number(epsilon, "epsilon", at_least=0)
    eye = torch.eye(len(coupling.source), dtype=torch.float64)

    def drift(t: float) -> Tensor:
        pull = _pull(coupling, t) - epsilon * t * eye
        return torch.linalg.solve(coupling.covariance(t, epsilon), pull.mT).mT

    return _followed(coupling, drift, epsilon)


def gradient_rectified(coupling: GaussianCoupling) -> GaussianCoupling:
    r"""The same without noise, with the velocity that is nearest to the lines among gradients.

    For Gaussians a linear one with the symmetric matrix V that solves
    :math:`V S_t + S_t V = C_t + C_t^T` (Liu 2022, for the squared distance).

    Raises:
        ValueError: as :func:`rectified`.
    """

    def drift(t: float) -> Tensor:
        pull = _pull(coupling, t)
        both = coupling.covariance(t).numpy(), (pull + pull.mT).numpy()
        return torch.from_numpy(solve_continuous_lyapunov(*both))

    return _followed(coupling, drift, 0.0)


def _pull(coupling: GaussianCoupling, t: float) -> Tensor:
    """C_t."""
    from_start = coupling.cross - coupling.source
    from_end = coupling.target - coupling.cross.mT
    return (1 - t) * from_start + t * from_end


def _followed(
    coupling: GaussianCoupling, drift: Callable[[float], Tensor], epsilon: float
) -> GaussianCoupling:
    """What a linear drift makes of the coupling: E[X_t X_0^T] changes at the rate drift times
    itself, with noise or without."""
    least, t = coupling.least_variance(epsilon)
    largest = max(float(torch.linalg.eigvalsh(c)[-1]) for c in (coupling.source, coupling.target))
    require(
        least > _SINGULAR * largest,
        f"the points on the way of the coupling have a singular covariance at t = {t:.6g} (least "
        f"eigenvalue {least:.1e}): lines meet there, and a rectified flow is not defined; choose "
        "another coupling, or bridges with noise",
    )
    cross = integrate(
        lambda t, state: drift(t).numpy() @ state,
        0.0,
        1.0,
        coupling.source.numpy(),
        _TOLERANCE,
    )
    return GaussianCoupling(coupling.source, coupling.target, torch.from_numpy(cross))


def _root(matrix: Tensor) -> Tensor:
    """Square root of a symmetric positive definite matrix."""
    spectrum, axes = torch.linalg.eigh((matrix + matrix.mT) / 2)
    return (axes * spectrum.clamp(min=0).sqrt()) @ axes.mT
