r"""Transport maps, and how far they are from optimal.

A transport map pairs every point x with a point y. Its cost is the mean squared distance; the
optimal pairing of the same points is the cheapest one, and

.. math:: \text{relative excess} = \frac{\text{paired} - \text{optimal}}{\text{optimal}}

says by how much a pairing misses it. (W1, the mean distance, is the case ``order=1``.)
"""

from __future__ import annotations

import warnings

import numpy as np
import ot
import torch
from scipy import optimize, special
from torch import Tensor

from diffot.errors import require, require_points


def _check_pair(x: Tensor, y: Tensor) -> None:
    require_points(x, name="x")
    require_points(y, name="y")
    require(
        x.shape == y.shape,
        f"x and y have shapes {tuple(x.shape)} and {tuple(y.shape)}; "
        "expected the same number of points in the same dimension",
    )


def transport_cost(x: Tensor, y: Tensor, order: int = 2) -> float:
    r"""Cost of moving each x_i to y_i: the mean of :math:`\|x_i - y_i\|^p`, p = ``order``.

    Args:
        x, y: shape (n, d).
    """
    _check_pair(x, y)
    return float((x - y).double().norm(dim=1).pow(order).mean())


def optimal_assignment(x: Tensor, y: Tensor, order: int = 2) -> Tensor:
    r"""The permutation p that minimizes :math:`\sum_i \|x_i - y_{p(i)}\|^q`, q = ``order``.

    Solved exactly by POT's network simplex (Bonneel et al. 2011; Flamary et al. 2021). Memory
    grows as n^2 and time a little faster: about a second at n = 2500, six at n = 5000.

    Args:
        x, y: shape (n, d).

    Returns:
        Indices into y, int64 of shape (n,).

    Raises:
        ValueError: if the shapes differ or a value is not finite.
        RuntimeError: if the solver stops before the optimum.
    """
    _check_pair(x, y)
    n = len(x)
    x, y = (a.detach().double().cpu().numpy() for a in (x, y))
    costs = ot.dist(x, y, metric="sqeuclidean" if order == 2 else "euclidean")
    if order not in (1, 2):
        costs **= order
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            plan = ot.emd(np.full(n, 1 / n), np.full(n, 1 / n), costs, numItermax=50_000_000)
        except UserWarning as warning:
            raise RuntimeError(f"the assignment of {n} points failed: {warning}") from warning
    permutation = plan.argmax(1)
    if len(np.unique(permutation)) != n:
        raise RuntimeError(f"the plan of {n} points splits mass; is a point repeated?")
    return torch.from_numpy(permutation)


def relative_excess_cost(x: Tensor, y: Tensor, optimal: Tensor | None = None) -> float:
    """(paired - optimal) / optimal for the pairs (x_i, y_i), squared distance; 0 is optimal.

    On n sampled points this understates, in the mean, the excess of the map they come from: the
    cost can only be lowered by swaps among the sampled points.

    Args:
        x, y: shape (n, d).
        optimal: y in the optimal order, where that is known already.
    """
    if optimal is None:
        optimal = y[optimal_assignment(x, y)]
    least = transport_cost(x, optimal)
    return (transport_cost(x, y) - least) / least


# --- Semi-discrete transport: from N(0, I) in the plane to finitely many points ---------------

_REACH = 1e3  # unbounded cells are cut off here; N(0, I) has no mass beyond in float64


def power_cell(x: Tensor, points: Tensor, weights: Tensor) -> Tensor:
    r"""Index of the power cell that holds x: the k with the smallest
    :math:`\|x - p_k\|^2 - w_k` (Aurenhammer 1987).

    Args:
        x: shape (B, d). points: shape (K, d). weights: shape (K,).

    Returns:
        int64 of shape (B,).
    """
    require_points(x, points.shape[1])
    return (2 * x @ points.T - (points**2).sum(1) + weights).argmax(1)


def power_cell_polygon(k: int, points: Tensor, weights: Tensor) -> Tensor:
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


def power_cell_masses(points: Tensor, weights: Tensor) -> Tensor:
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
        end = power_cell_polygon(k, points, weights).numpy()
        start = np.roll(end, 1, axis=0)
        edge = end - start
        length = np.linalg.norm(edge, axis=1)
        start, end, edge = (a[length > 0] for a in (start, end, edge / length[:, None]))
        h = start[:, 0] * edge[:, 1] - start[:, 1] * edge[:, 0]
        a, b = (start * edge).sum(1), (end * edge).sum(1)
        h, a, b = (v[h != 0] for v in (h, a, b))  # an edge through the origin spans no triangle
        angle = np.arctan(b / h) - np.arctan(a / h)
        tail = special.owens_t(h, b / h) - special.owens_t(h, a / h)
        masses.append((angle / (2 * np.pi) - tail).sum())
    return torch.tensor(masses, dtype=torch.float64)


def semidiscrete_weights(points: Tensor, masses: Tensor, tolerance: float = 1e-9) -> Tensor:
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
        return (power_cell_masses(centered, shifted(change)) - masses).numpy()[:-1]

    # The size of the first guess sets the solver's first trust region, hence the offset of 1.
    found = optimize.least_squares(
        miss, np.ones(len(points) - 1), xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    weights = shifted(found.x)
    error = float((power_cell_masses(centered, weights) - masses).abs().max())
    if error > tolerance:
        raise RuntimeError(f"cell masses are off by {error:.1e}, more than {tolerance:.1e}")
    weights += (points.double() ** 2).sum(1) - squares
    return weights - weights.mean()
