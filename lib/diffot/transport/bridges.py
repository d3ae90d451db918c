r"""Entropic optimal transport: the Schrödinger bridge and its maps.

Among the couplings of two laws, the entropic one of noise :math:`\epsilon` minimizes
:math:`E\|X_0 - X_1\|^2 / 2 + \epsilon\, \mathrm{KL}(\,\cdot\,\|\,\text{independent})`. It is the
law of start and end of the Brownian motion of variance :math:`\epsilon` that is told to have
these two laws (Shi et al. 2023).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import ot
import torch
from torch import Tensor

from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_covariance,
    require_finite,
    require_points,
    require_same_shape,
    require_tensor,
)
from diffot.flows.maps import Map
from diffot.transport.couplings import GaussianCoupling
from diffot.transport.points import as_double

_CHUNK = 2**22  # numbers in an array of latents by points


@dataclass(frozen=True, eq=False)
class EntropicMap(Map):
    r"""Where a bridge to finitely many points goes in the mean.

    .. math:: z \mapsto \sum_j p_j(z)\, y_j, \qquad p_j(z) \propto
              \exp\big((\langle z, y_j \rangle - \|y_j\|^2 / 2 + g_j) / \epsilon\big)

    (Pooladian & Niles-Weed 2021). It is the gradient of a convex function, whatever the
    :math:`g_j`, and so the optimal map to the law of its own image (Brenier 1991).

    Attributes:
        points: y_j, shape (K, d). potentials: g_j, shape (K,). epsilon: above 0.
    """

    points: Tensor
    potentials: Tensor
    epsilon: float

    def __post_init__(self):
        require_points(self.points, name="points")
        require_tensor(self.potentials, "potentials", "a floating-point tensor of shape (K,)")
        require(
            self.potentials.shape == self.points.shape[:1] and self.points.numel() > 0,
            f"points and potentials have shapes {tuple(self.points.shape)} and "
            f"{tuple(self.potentials.shape)}; expected (K, d) and (K,)",
        )
        require_finite(self.potentials, "potentials")
        object.__setattr__(self, "epsilon", as_number(self.epsilon, "epsilon", above=0))

    def probabilities(self, z: Tensor) -> Tensor:
        """Of each point given z of shape (B, d); float64 of shape (B, K)."""
        require_points(z, self.points.shape[1], "z")
        points = as_double(self.points)
        scores = z.double() @ points.T - points.square().sum(1) / 2 + self.potentials.double()
        return torch.softmax(scores / self.epsilon, 1)

    def decode(self, z: Tensor) -> Tensor:
        require_points(z, self.points.shape[1], "z")
        size = max(1, _CHUNK // len(self.points))
        means = [self.probabilities(part) @ as_double(self.points) for part in z.split(size)]
        return torch.cat(means).to(z)

    def jacobian(self, z: Tensor) -> Tensor:
        r"""The covariance of the points given z, over :math:`\epsilon`."""
        points, weights = as_double(self.points), self.probabilities(z)
        mean = weights @ points
        second = torch.einsum("bk,ki,kj->bij", weights, points, points)
        return ((second - mean[:, :, None] * mean[:, None, :]) / self.epsilon).to(z)


def entropic_map(
    z: Tensor, x: Tensor, epsilon: float, tolerance: float = 1e-6, most_rounds: int = 10_000
) -> EntropicMap:
    """The map of the bridge from one sample to another, by Sinkhorn's algorithm (Cuturi 2013;
    POT, Flamary et al. 2021).

    Args:
        z: shape (n, d). x: shape (m, d).
        epsilon: above 0. The smaller, the more rounds it takes, about in inverse proportion.
        tolerance: largest Euclidean norm of the errors of the masses of x.
        most_rounds: of the algorithm.

    Raises:
        RuntimeError: if the tolerance is not reached, or epsilon is so small that the plan leaves
            the range of float64.
    """
    for points, name in ((z, "z"), (x, "x")):
        require_points(points, name=name)
        require(len(points) > 0, f"{name} holds no points; expected at least one")
    require(
        z.shape[1] == x.shape[1],
        f"z and x have shapes {tuple(z.shape)} and {tuple(x.shape)}; expected points of the same "
        "dimension",
    )
    epsilon = as_number(epsilon, "epsilon", above=0)
    tolerance = as_number(tolerance, "tolerance", above=0)
    most_rounds = as_whole_number(most_rounds, "most_rounds", least=1)
    z, x = as_double(z), as_double(x)
    costs = torch.cdist(z, x).square().numpy() / 2
    # constants of rows and columns change no plan, and keep the exponentials in range
    costs -= costs.min(1, keepdims=True)
    shift = costs.min(0)
    scaling = _sinkhorn(costs - shift, epsilon, tolerance, most_rounds)
    potentials = torch.from_numpy(epsilon * np.log(scaling) + shift)
    return EntropicMap(x, potentials - potentials.mean(), epsilon)


def _sinkhorn(
    costs: np.ndarray, epsilon: float, tolerance: float, most_rounds: int
) -> np.ndarray:
    """The factors of the columns of exp(-costs / epsilon) in the plan."""
    masses = [np.full(n, 1 / n) for n in costs.shape]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            _, log = ot.bregman.sinkhorn_knopp(
                *masses, costs, epsilon, most_rounds, stopThr=tolerance, log=True
            )
        except (UserWarning, RuntimeWarning) as warning:
            raise RuntimeError(
                f"Sinkhorn's algorithm with epsilon = {epsilon:g} did not get within "
                f"{tolerance:g} of the masses in {most_rounds} rounds ({warning}); "
                "raise one of the three"
            ) from warning
    return log["v"]


def gaussian_bridge(source: Tensor, target: Tensor, epsilon: float) -> GaussianCoupling:
    r"""The entropic coupling of two centered Gaussians.

    .. math:: E[X_1 X_0^T] = \tfrac12 \big(A^{-1/2} D A^{1/2} - \epsilon I\big), \qquad
              D = \big(4 A^{1/2} B A^{1/2} + \epsilon^2 I\big)^{1/2}

    (Janati et al. 2020).

    Args:
        source, target: covariances A and B, shape (d, d). epsilon: above 0.
    """
    require_covariance(source, "source")
    require_covariance(target, "target")
    require_same_shape(source, target, ("source", "target"))
    epsilon = as_number(epsilon, "epsilon", above=0)
    a, b = as_double(source), as_double(target)
    spectrum, axes = torch.linalg.eigh(a)
    root, inverse = ((axes * spectrum**power) @ axes.mT for power in (0.5, -0.5))
    eye = torch.eye(len(a), dtype=torch.float64)
    values, vectors = torch.linalg.eigh(4 * root @ b @ root + epsilon**2 * eye)
    middle = (vectors * values.sqrt()) @ vectors.mT
    return GaussianCoupling(a, b, (inverse @ middle @ root - epsilon * eye) / 2)
