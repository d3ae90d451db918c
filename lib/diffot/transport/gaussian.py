"""Affine maps: between Gaussians, and nearest to given pairs."""

from __future__ import annotations

from dataclasses import dataclass

import ot
import torch
from torch import Tensor

from diffot.errors import (
    require,
    require_covariance,
    require_finite,
    require_points,
    require_same_shape,
    require_tensor,
)
from diffot.flows.maps import Map
from diffot.transport.assignment import transport_cost
from diffot.transport.points import as_double, as_pair, unit_of


@dataclass(frozen=True, eq=False)
class AffineMap(Map):
    r"""The map :math:`z \mapsto A z + b` of points of shape (B, d).

    Attributes:
        matrix: A, float64 of shape (d, d). offset: b, float64 of shape (d,).
    """

    matrix: Tensor
    offset: Tensor

    def decode(self, z: Tensor) -> Tensor:
        require_points(z, len(self.offset), "z")
        return (as_double(z) @ self.matrix.T + self.offset).to(z)

    def encode(self, x: Tensor) -> Tensor:
        require_points(x, len(self.offset))
        return torch.linalg.solve(self.matrix, (as_double(x) - self.offset).T).T.to(x)

    def jacobian(self, z: Tensor) -> Tensor:
        require_points(z, len(self.offset), "z")
        return self.matrix.to(z).repeat(len(z), 1, 1)


def gaussian_monge_map(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> AffineMap:
    r"""The optimal map from one Gaussian to another, :math:`x \mapsto m_b + A (x - m_a)`.

    .. math:: A = C_a^{-1/2} \big(C_a^{1/2} C_b C_a^{1/2}\big)^{1/2} C_a^{-1/2}

    (Peyré & Cuturi 2019, remark 2.31; for C_a = I the inverse of Khrulkov et al. 2023, theorem
    3.1; computed by POT, Flamary et al. 2021).

    Args:
        mean_a, mean_b: shape (d,). cov_a, cov_b: symmetric positive definite, shape (d, d).

    Raises:
        ValueError: if a shape or a covariance is not as above.
    """
    for mean, cov, law in ((mean_a, cov_a, "a"), (mean_b, cov_b, "b")):
        require_tensor(mean, f"mean_{law}", "a floating-point tensor of shape (d,)")
        require_finite(mean, f"mean_{law}")
        require_covariance(cov, f"cov_{law}")
        require(
            cov.shape == 2 * mean_a.shape and mean.shape == mean_a.shape,
            f"mean_{law} and cov_{law} have shapes {tuple(mean.shape)} and {tuple(cov.shape)}, "
            f"mean_a {tuple(mean_a.shape)}; expected two Gaussians in the same dimension, (d,) "
            "and (d, d)",
        )
    mean_a, mean_b, cov_a, cov_b = map(as_double, (mean_a, mean_b, cov_a, cov_b))
    return AffineMap(*ot.gaussian.bures_wasserstein_mapping(mean_a, mean_b, cov_a, cov_b))


def composition_excess(cov_a: Tensor, cov_b: Tensor) -> float:
    r"""Relative excess cost of encoding with one centered Gaussian and decoding with another.

    The map is :math:`C_b^{1/2} C_a^{-1/2}`, which pairs A and B at the cost
    :math:`\operatorname{tr}(C_a + C_b - 2 C_a^{1/2} C_b^{1/2})`; the optimal cost has
    :math:`(C_a^{1/2} C_b C_a^{1/2})^{1/2}` in the last term (Peyré & Cuturi 2019, remark 2.31).
    It is zero if and only if the covariances commute.

    Args:
        cov_a, cov_b: symmetric positive definite, shape (d, d), not equal.

    Raises:
        ValueError: if the covariances are equal, so that nothing has to be moved.
    """
    for cov, name in ((cov_a, "cov_a"), (cov_b, "cov_b")):
        require_covariance(cov, name)
    require_same_shape(cov_a, cov_b, ("cov_a", "cov_b"))
    require(cov_a.ndim == 2, f"cov_a has shape {tuple(cov_a.shape)}; expected (d, d)")
    a, b = as_double(cov_a), as_double(cov_b)
    unit = unit_of(torch.stack([a, b]))
    a, b = a / unit, b / unit
    root_a, root_b = _root(a), _root(b)
    left, _, right = torch.linalg.svd(root_b @ root_a)
    # Both costs as squared distances of roots: that of the optimal map has the orthogonal factor
    # of root_b root_a between them.
    paired = float((root_a - root_b).square().sum())
    optimal = float((root_a - (left @ right).mT @ root_b).square().sum())
    require(
        optimal > 1e-12 * float((a + b).trace()),
        "cov_a and cov_b are equal; there is nothing to move",
    )
    return paired / optimal - 1


def affine_fit(x: Tensor, y: Tensor) -> tuple[AffineMap, float]:
    r"""The affine map nearest to the pairs (x_i, y_i): least squares for :math:`y = A x + b`.

    Args:
        x, y: shape (n, d), n greater than d.

    Returns:
        The map, and the root mean square of :math:`\|y - A x - b\|`.

    Raises:
        ValueError: if the shapes differ or there are too few points.
    """
    x, y = as_pair(x, y)
    n, d = x.shape
    require(n > d, f"x holds {n} points in dimension {d}; an affine map needs at least {d + 1}")
    center, mean = x.mean(0), y.mean(0)
    x, y = x - center, y - mean
    unit = unit_of(x, 0)
    solution = torch.linalg.lstsq(x / unit, y).solution / unit.T
    residual = transport_cost(x @ solution, y) ** 0.5
    return AffineMap(solution.T, mean - center @ solution), residual


def _root(matrix: Tensor) -> Tensor:
    """Square root of a symmetric positive definite matrix."""
    spectrum, axes = torch.linalg.eigh(matrix)
    return (axes * spectrum.clamp(min=0).sqrt()) @ axes.mT  # negative by rounding
