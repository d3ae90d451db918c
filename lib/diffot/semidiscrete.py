"""Semi-discrete optimal transport: from N(0, I) in the plane to finitely many points."""

from __future__ import annotations

import numpy as np
import torch
from scipy import optimize, special
from torch import Tensor

from diffot.errors import require, require_points

_REACH = 1e3  # unbounded cells are cut off here; N(0, I) has no mass beyond in float64


def cell_of(x: Tensor, points: Tensor, weights: Tensor) -> Tensor:
    r"""Index of the power cell that holds x: the k with the smallest
    :math:`\|x - p_k\|^2 - w_k` (Aurenhammer 1987).

    Args:
        x: shape (B, d). points: shape (K, d). weights: shape (K,).

    Returns:
        int64 of shape (B,).
    """
    require_points(x, points.shape[1])
    return (2 * x @ points.T - (points**2).sum(1) + weights).argmax(1)


def cell_polygon(k: int, points: Tensor, weights: Tensor) -> Tensor:
    """Corners of one power cell in the plane, counter-clockwise, shape (V, 2).

    Cells that reach to infinity are cut off a thousand units from the origin; an empty cell
    has no corners.

    Args:
        points: shape (K, 2). weights: shape (K,).
    """
    require_points(points, 2, "points")
    corners = _REACH * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    p, w = points.double().numpy(), weights.double().numpy()
    for j in np.delete(np.arange(len(p)), k):
        normal = 2 * (p[k] - p[j])
        corners = _cut(corners, normal, (p[k] ** 2).sum() - (p[j] ** 2).sum() - w[k] + w[j])
    return torch.from_numpy(corners)


def _cut(corners: np.ndarray, normal: np.ndarray, level: float) -> np.ndarray:
    """The part of a convex polygon where normal . x >= level (Sutherland & Hodgman 1974)."""
    kept = []
    height = corners @ normal - level
    for i in range(len(corners)):
        if height[i - 1] * height[i] < 0:
            share = height[i - 1] / (height[i - 1] - height[i])
            kept.append(corners[i - 1] + share * (corners[i] - corners[i - 1]))
        if height[i] >= 0:
            kept.append(corners[i])
    return np.array(kept).reshape(-1, 2)


def cell_masses(points: Tensor, weights: Tensor) -> Tensor:
    r"""Mass of each power cell under N(0, I) in the plane, shape (K,), to about 1e-14.

    A polygon is a signed sum of triangles between the origin and its edges. With h the distance
    of an edge from the origin and a, b the positions of its ends along it, seen under the angle
    :math:`\theta`, such a triangle holds
    :math:`\theta / 2 \pi - T(h, b/h) + T(h, a/h)`, T being Owen's function (Owen 1956).

    Args:
        points: shape (K, 2). weights: shape (K,).
    """
    masses = []
    for k in range(len(points)):
        end = cell_polygon(k, points, weights).numpy()
        start = np.roll(end, 1, axis=0)
        start, end = (a[(start != end).any(1)] for a in (start, end))
        edge = (end - start) / np.linalg.norm(end - start, axis=1, keepdims=True)
        h = start[:, 0] * edge[:, 1] - start[:, 1] * edge[:, 0]
        a, b = (start * edge).sum(1), (end * edge).sum(1)
        h, a, b = (v[h != 0] for v in (h, a, b))  # an edge through the origin spans no triangle
        angle = np.arctan(b / h) - np.arctan(a / h)
        tail = special.owens_t(h, b / h) - special.owens_t(h, a / h)
        masses.append((angle / (2 * np.pi) - tail).sum())
    return torch.tensor(masses, dtype=torch.float64)


def optimal_weights(points: Tensor, masses: Tensor, tolerance: float = 1e-9) -> Tensor:
    r"""Weights of the power diagram that is the optimal transport from N(0, I) to points.

    For squared distance, the optimal map from a density to points p_k of mass m_k sends every
    power cell to its point, with weights such that the cells hold the masses (Aurenhammer,
    Hoffmann & Aronov 1998; Peyré & Cuturi 2019, section 5.2).

    Args:
        points: shape (K, 2), distinct. masses: shape (K,), positive, summing to 1.
        tolerance: largest allowed error of a cell's mass.

    Returns:
        Shape (K,), mean zero.

    Raises:
        ValueError: for points that coincide or masses that do not sum to 1.
        RuntimeError: if the tolerance is not reached.
    """
    require_points(points, 2, "points")
    require(
        len(masses) == len(points) and bool((masses > 0).all())
        and abs(float(masses.sum()) - 1) < 1e-9,
        f"masses {masses.tolist()} for {len(points)} points; "
        "expected one positive number for each, summing to 1",
    )  # fmt: skip
    require(
        len(torch.unique(points, dim=0)) == len(points), "two of the points coincide; merge them"
    )

    # A common shift of the points changes no cell; centered, with these first weights, the
    # diagram is the Voronoi diagram of the points shrunk to the spread of N(0, I): none is empty.
    centered = points.double() - points.double().mean(0)
    squares = (centered**2).sum(1)
    start = squares * (1 - 1 / squares.mean().clamp(min=1e-300).sqrt())

    def shifted(change: np.ndarray) -> Tensor:
        return start + torch.from_numpy(np.append(change - 1, 0.0))

    def miss(change: np.ndarray) -> np.ndarray:
        return (cell_masses(centered, shifted(change)) - masses).numpy()[:-1]

    # The size of the first guess sets the solver's first trust region, hence the offset of 1.
    found = optimize.least_squares(
        miss, np.ones(len(points) - 1), xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    weights = shifted(found.x)
    error = float((cell_masses(centered, weights) - masses).abs().max())
    if error > tolerance:
        raise RuntimeError(f"cell masses are off by {error:.1e}, more than {tolerance:.1e}")
    weights += (points.double() ** 2).sum(1) - squares
    return weights - weights.mean()
