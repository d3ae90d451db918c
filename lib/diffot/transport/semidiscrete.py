"""Semi-discrete optimal transport: from N(0, I) in the plane to finitely many points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import optimize, special
from torch import Tensor

from diffot.errors import (
    as_number,
    as_probabilities,
    as_whole_number,
    require,
    require_finite,
    require_points,
    require_tensor,
)
from diffot.flows.maps import Map

_REACH = 1e3  # unbounded cells are cut off here; N(0, I) has no mass beyond in float64


@dataclass(frozen=True, eq=False)
class LaguerreDiagram(Map):
    r"""Cells of the plane, each sent to its point.

    Cell k holds the z with the smallest :math:`\|z - p_k\|^2 - w_k` (Aurenhammer 1987). Such a
    map is optimal for the masses that its cells have (Brenier 1991); :func:`optimal_diagram`
    prescribes them.

    Args:
        points: p_k, shape (K, 2).
        weights: the dual weights w_k, shape (K,).
    """

    points: Tensor
    weights: Tensor

    def __post_init__(self):
        require_points(self.points, 2, "points")
        require_tensor(self.weights, "weights", "a floating-point tensor of shape (K,)")
        require(
            self.weights.shape == self.points.shape[:1] and self.points.numel() > 0,
            f"points and weights have shapes {tuple(self.points.shape)} and "
            f"{tuple(self.weights.shape)}; expected (K, 2) and (K,), one weight for each point",
        )
        require_finite(self.weights, "weights")

    def cells(self, z: Tensor) -> Tensor:
        """Index of the cell that holds each of the z, shape (B, 2); int64 of shape (B,)."""
        require_points(z, 2, "z")
        center = self.points.double().mean(0)
        z, points = z.double() - center, self.points.double() - center
        return (2 * z @ points.T - points.square().sum(1) + self.weights.double()).argmax(1)

    def decode(self, z: Tensor) -> Tensor:
        return self.points[self.cells(z)].to(z)

    def jacobian(self, z: Tensor) -> Tensor:
        """Zero, for the map is constant on each cell."""
        require_points(z, 2, "z")
        return z.new_zeros(len(z), 2, 2)

    def polygon(self, k: int) -> Tensor:
        """Corners of one cell, counter-clockwise, shape (V, 2).

        Cells that reach to infinity are cut off a thousand units from the origin; an empty cell
        has no corners.
        """
        k = as_whole_number(k, "k", least=0, most=len(self.points) - 1)
        return torch.from_numpy(_polygon(k, *self._arrays()))

    def masses(self) -> Tensor:
        r"""Mass of each cell under N(0, I), shape (K,), to about 1e-14.

        A polygon is a signed sum of triangles between the origin and its edges. With h the
        distance of an edge from the origin and a, b the positions of its ends along it, seen
        under the angle :math:`\theta`, such a triangle holds
        :math:`\theta / 2 \pi - T(h, b/h) + T(h, a/h)`, T being Owen's function (Owen 1956).
        """
        return torch.from_numpy(_masses(*self._arrays()))

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return self.points.double().numpy(), self.weights.double().numpy()


def _polygon(k: int, p: np.ndarray, w: np.ndarray) -> np.ndarray:
    corners = _REACH * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    for j in np.delete(np.arange(len(p)), k):
        difference = p[k] - p[j]
        # |p_k|^2 - |p_j|^2 as a product: far from the origin, the squares are huge
        corners = _cut(corners, 2 * difference, difference @ (p[k] + p[j]) - (w[k] - w[j]))
    return corners


def _cut(corners: np.ndarray, normal: np.ndarray, level: float) -> np.ndarray:
    """The part of a convex polygon where normal . x >= level (Sutherland & Hodgman 1974)."""
    kept = []
    height = corners @ normal - level
    for i in range(len(corners)):
        if min(height[i - 1], height[i]) < 0 < max(height[i - 1], height[i]):
            weight = height[i - 1] / (height[i - 1] - height[i])
            kept.append(corners[i - 1] + weight * (corners[i] - corners[i - 1]))
        if height[i] >= 0:
            kept.append(corners[i])
    return np.array(kept).reshape(-1, 2)


def _masses(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    masses = []
    for k in range(len(points)):
        end = _polygon(k, points, weights)
        start = np.roll(end, 1, axis=0)
        start, end = (a[(start != end).any(1)] for a in (start, end))
        edge = (end - start) / np.linalg.norm(end - start, axis=1, keepdims=True)
        h = start[:, 0] * edge[:, 1] - start[:, 1] * edge[:, 0]
        a, b = (start * edge).sum(1), (end * edge).sum(1)
        h, a, b = (v[h != 0] for v in (h, a, b))  # an edge through the origin spans no triangle
        angle = np.arctan(b / h) - np.arctan(a / h)
        tail = special.owens_t(h, b / h) - special.owens_t(h, a / h)
        masses.append((angle / (2 * np.pi) - tail).sum())
    return np.array(masses)


def optimal_diagram(points: Tensor, masses: Tensor, tolerance: float = 1e-9) -> LaguerreDiagram:
    r"""The diagram that is the optimal transport from N(0, I) to points of given masses.

    For squared distance, the optimal map from a density to points p_k of mass m_k sends every
    Laguerre cell to its point, with dual weights such that the cells hold the masses
    (Aurenhammer, Hoffmann & Aronov 1998; Peyré & Cuturi 2019, section 5.2).

    Args:
        points: shape (K, 2), distinct. masses: shape (K,), positive, summing to 1.
        tolerance: largest allowed error of a cell's mass. Weights are of the order of the points'
            distance from the origin times that of each other; further out than about 1e6, their
            own rounding is more than the default.

    Returns:
        The diagram; its weights have mean zero.

    Raises:
        ValueError: for points that coincide or masses that do not sum to 1.
        RuntimeError: if the tolerance is not reached.
    """
    require_points(points, 2, "points")
    masses = as_probabilities(masses, "masses").numpy()
    require(
        len(masses) == len(points),
        f"masses has {len(masses)} numbers for {len(points)} points; expected one for each",
    )
    require(
        len(torch.unique(points, dim=0)) == len(points), "two of the points coincide; merge them"
    )
    tolerance = as_number(tolerance, "tolerance", above=0)

    # A common shift of the points changes no cell, and neither does a common factor, with other
    # weights. Of points with the center and spread of N(0, I), no Voronoi cell is empty.
    center = points.double().mean(0)
    centered = points.double() - center
    size = float(centered.abs().max()) or 1.0
    spread = size * float((centered / size).square().sum(1).mean().sqrt()) or 1.0
    standard = centered / spread

    def padded(change: np.ndarray) -> np.ndarray:
        return np.append(change - 1, 0.0)

    def miss(change: np.ndarray) -> np.ndarray:
        return (_masses(standard.numpy(), padded(change)) - masses)[:-1]

    # The size of the first guess sets the solver's first trust region, hence the offset of 1.
    solution = optimize.least_squares(
        miss, np.ones(len(points) - 1), xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    weights = (spread - 1) * standard.square().sum(1) + torch.from_numpy(padded(solution.x))
    weights = spread * weights + 2 * centered @ center
    diagram = LaguerreDiagram(points, weights - weights.mean())
    error = float(np.abs(diagram.masses().numpy() - masses).max())
    if error > tolerance:
        raise RuntimeError(
            f"cell masses are off by {error:.1e}, more than the tolerance {tolerance:.1e}; bring "
            "the points closer to the origin (a shift or a factor changes no cell), or raise it"
        )
    return diagram
