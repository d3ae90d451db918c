r"""Affine generators against a perfect discriminator, in closed form.

The generator :math:`x = A z + b`, z from N(0, I), makes :math:`q = N(b, A A^T)`; the data have
:math:`p = N(m, C)`. The discriminator that tells them apart best has the logit
:math:`D = \log p / q` (Goodfellow et al. 2014; Su & Yang 2025, eq. 19.4). Steepest ascent of
:math:`E\, D(A z + b)` by A and b, with D held fixed in each moment, is

.. math:: A' = A^{-T} - C^{-1} A, \qquad b' = -C^{-1} (b - m),

and each point :math:`A z + b` then moves with the velocity :math:`\nabla \log p / q`, which is
the flow of eq. 19.2 without any error. The law obeys the equation of Fokker and Planck of p.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

from diffot.errors import require_known
from diffot.transport.gaussian import gaussian_monge_map

# Increasing functions h of the logit whose mean a generator raises, by their slopes.
OBJECTIVES: dict[str, Callable[[NDArray], NDArray]] = {
    "h(D) = D": np.ones_like,
    "non-saturating": lambda logit: 1 / (1 + np.exp(logit)),  # h = log sigmoid(D)
    "minimax": lambda logit: 1 / (1 + np.exp(-logit)),  # h = -log(1 - sigmoid(D))
}


@dataclass(frozen=True, eq=False)
class Path:
    """Generators along a training: matrices (T, d, d) and offsets (T, d), float64."""

    matrices: Tensor
    offsets: Tensor

    @property
    def covariances(self) -> Tensor:
        """Of what is made, (T, d, d)."""
        return self.matrices @ self.matrices.mT


def trained(
    matrix: Tensor, offset: Tensor, mean: Tensor, covariance: Tensor, times: Sequence[float]
) -> Path:
    """Steepest ascent from a generator, to precise digits, at times that begin with 0."""
    d, precision = len(mean), torch.linalg.inv(covariance).numpy()

    def ascent(_: float, flat: NDArray) -> NDArray:
        a, b = flat[: d * d].reshape(d, d), flat[d * d :]
        slope = np.linalg.inv(a).T - precision @ a
        return np.concatenate([slope.ravel(), -precision @ (b - mean.numpy())])

    start = np.concatenate([matrix.numpy().ravel(), offset.numpy()])
    found = solve_ivp(ascent, (0, times[-1]), start, t_eval=times, rtol=1e-11, atol=1e-12)
    values = torch.from_numpy(found.y.T.copy())
    return Path(values[:, : d * d].reshape(-1, d, d), values[:, d * d :])


def closed_covariance(start: Tensor, covariance: Tensor, time: float) -> Tensor:
    r"""Of what is made at a time, :math:`C + e^{-t C^{-1}} (S_0 - C) e^{-t C^{-1}}`."""
    decay = torch.linalg.matrix_exp(-time * torch.linalg.inv(covariance))
    return covariance + decay @ (start - covariance) @ decay


def divergence(cov: Tensor, offset: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """KL of N(offset, cov) from N(mean, covariance) in nats, of batches; (T,)."""
    precision = torch.linalg.inv(covariance)
    trace = (precision @ cov).diagonal(dim1=-2, dim2=-1).sum(-1)
    away = offset - mean
    squares = ((away @ precision) * away).sum(-1)
    volume = torch.logdet(covariance) - torch.logdet(cov)
    return (trace + squares - len(mean) + volume) / 2


def excess(matrix: Tensor, offset: Tensor) -> float:
    """Relative excess of z to A z + b, in closed form, over the optimal map to the same law."""
    d = len(matrix)
    zero, identity = torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    optimal = gaussian_monge_map(zero, identity, zero, matrix @ matrix.T).matrix
    away = offset.square().sum()
    cost, least = (float((a - identity).square().sum() + away) for a in (matrix, optimal))
    return cost / least - 1


def turn(degrees: float) -> Tensor:
    """The rotation of the plane by an angle."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def trained_on_a_line(
    objective: str, scale: float, offset: float, times: Sequence[float]
) -> NDArray[np.float64]:
    r"""KL in nats of what is made from N(0, 1), at times, for :math:`x = a z + b` whose a and b
    climb :math:`E\, h(D)`; expectations by quadrature.

    Args:
        objective: a name in :data:`OBJECTIVES`, which says h.
        scale, offset: a and b at the start.
    """
    require_known(objective, "objective", OBJECTIVES)
    slope = OBJECTIVES[objective]
    z, weight = np.polynomial.hermite_e.hermegauss(80)
    weight = weight / weight.sum()

    def ascent(_: float, generator: NDArray) -> NDArray:
        a, b = generator
        x = a * z + b
        logit = np.log(a) + (z**2 - x**2) / 2
        push = weight * slope(logit) * (z / a - x)
        return np.array([push @ z, push.sum()])

    found = solve_ivp(
        ascent, (0, times[-1]), [scale, offset], "LSODA", times, rtol=1e-9, atol=1e-11
    )
    a, b = found.y
    return (a**2 + b**2 - 1) / 2 - np.log(a)
