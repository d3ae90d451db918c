r"""Laguerre cells of the plane: their corners, edges, masses and moments under N(0, I).

Cell k of points p and weights w holds the z with the smallest :math:`\|z - p_k\|^2 - w_k`. Points
and weights are arrays of shapes (K, 2) and (K,) throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special
from scipy.sparse import coo_array
from scipy.spatial import ConvexHull, QhullError

OUTSIDE = -1  # in place of a neighbor, where a cell is cut off
_REACH = 1e3  # unbounded cells are cut off here; N(0, I) has no mass beyond in float64


@dataclass(frozen=True, eq=False)
class Edges:
    """The edges of all cells, each once for either side; arrays over the edges.

    Attributes:
        count: of cells.
        cell, neighbor: indices of the cells to the left and to the right.
        normal: to the right, away from the cell, shape (E, 2).
        h, a, b: position along the normal, and of both ends along the edge.
    """

    count: int
    cell: np.ndarray
    neighbor: np.ndarray
    normal: np.ndarray
    h: np.ndarray
    a: np.ndarray
    b: np.ndarray

    def lengths(self) -> np.ndarray:
        """The integral of the density of N(0, I) along each edge."""
        density = np.exp(-(self.h**2) / 2) / np.sqrt(2 * np.pi)
        return density * (special.ndtr(self.b) - special.ndtr(self.a))

    def masses(self) -> np.ndarray:
        """Of the cells under N(0, I), shape (K,): sums of triangles from the origin."""
        turned = self.h != 0  # an edge through the origin spans no triangle
        h, a, b = self.h[turned], self.a[turned], self.b[turned]
        angle = np.arctan(b / h) - np.arctan(a / h)
        tail = special.owens_t(h, b / h) - special.owens_t(h, a / h)
        triangles = angle / (2 * np.pi) - tail
        return np.bincount(self.cell[turned], triangles, minlength=self.count)

    def moments(self) -> np.ndarray:
        """Integral of z over each cell, shape (K, 2), by the flux of the density's gradient."""
        flux = -self.normal * self.lengths()[:, None]
        return np.stack([np.bincount(self.cell, f, minlength=self.count) for f in flux.T], 1)

    def slopes(self, points: np.ndarray) -> coo_array:
        """Derivatives of the masses by the weights (Kitagawa, Mérigot & Thibert 2019, theorem
        1.3), sparse of shape (K, K): a border moves by half its weight's change over the distance
        of its points."""
        inner = self.neighbor != OUTSIDE
        i, j = self.cell[inner], self.neighbor[inner]
        rates = self.lengths()[inner] / (2 * np.linalg.norm(points[i] - points[j], axis=1))
        values = np.concatenate([rates, -rates])
        return coo_array(
            (values, (np.concatenate([i, i]), np.concatenate([i, j]))), (self.count, self.count)
        )


def edges_of(p: np.ndarray, w: np.ndarray) -> Edges:
    """The edges of all cells."""
    starts, ends, cells, beyond = [], [], [], []
    for k, others in enumerate(_possible_neighbors(p, w)):
        corners, right = polygon(k, p, w, others)
        starts.append(corners)
        ends.append(np.roll(corners, -1, axis=0))
        cells.append(np.full(len(corners), k))
        beyond.append(right)
    start, end, cell, neighbor = map(np.concatenate, (starts, ends, cells, beyond))
    long = (start != end).any(1)
    start, end, cell, neighbor = (a[long] for a in (start, end, cell, neighbor))
    along = (end - start) / np.linalg.norm(end - start, axis=1, keepdims=True)
    normal = np.stack([along[:, 1], -along[:, 0]], 1)
    h, a, b = (start * normal).sum(1), (start * along).sum(1), (end * along).sum(1)
    return Edges(len(p), cell, neighbor.astype(int), normal, h, a, b)


def _possible_neighbors(p: np.ndarray, w: np.ndarray) -> list[np.ndarray]:
    """For each cell, others among which all its neighbors are.

    Cells that touch are joined by an edge in the lower part of the convex hull of the points
    (p, |p|^2 - w) in space, and points that are not on it have empty cells (Aurenhammer 1987).
    """
    everyone = [np.delete(np.arange(len(p)), k) for k in range(len(p))]
    if len(p) < 5:
        return everyone
    # far from the origin, weights are large; a plane taken off the heights changes no neighbors
    flat = p - p.mean(0)
    flat = flat / np.abs(flat).max()
    plane = np.column_stack([flat, np.ones(len(p))])
    height = ((p - p.mean(0)) ** 2).sum(1) - w
    height = height - plane @ np.linalg.lstsq(plane, height, rcond=None)[0]
    height = height / (np.abs(height).max() or 1.0)
    try:
        hull = ConvexHull(np.column_stack([flat, height]))
    except QhullError:  # all in one plane: points on a circle or a line
        return everyone
    below = np.unique(hull.simplices[hull.equations[:, 2] < 0])
    joined: list[set[int]] = [set() for _ in p]
    for corners in hull.simplices.tolist():
        for k in corners:
            joined[k].update(corners)
    for k in below.tolist():
        everyone[k] = np.array(sorted(joined[k] - {k}))
    return everyone


def polygon(
    k: int, p: np.ndarray, w: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a cell, counter-clockwise, and who is beyond the edges that begin there."""
    corners = _REACH * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    beyond = np.full(4, OUTSIDE)
    difference = p[k] - p[others]
    # |p_k|^2 - |p_j|^2 as a product: far from the origin, the squares are huge
    levels = (difference * (p[k] + p[others])).sum(1) - (w[k] - w[others])
    for j, normal, level in zip(others, 2 * difference, levels):
        corners, beyond = _cut(corners, beyond, normal, level, j)
    return corners, beyond


def _cut(
    corners: np.ndarray, beyond: np.ndarray, normal: np.ndarray, level: float, neighbor: int
) -> tuple[np.ndarray, np.ndarray]:
    """The part of a convex polygon where normal . x >= level (Sutherland & Hodgman 1974), with
    ``neighbor`` beyond the new edge."""
    height = corners @ normal - level
    heights = height.tolist()
    if min(heights, default=0) >= 0:
        return corners, beyond
    kept, right = [], []
    for i, here in enumerate(heights):
        before, after = heights[i - 1], heights[(i + 1) % len(heights)]
        if min(before, here) < 0 < max(before, here):
            weight = before / (before - here)
            kept.append(corners[i - 1] + weight * (corners[i] - corners[i - 1]))
            right.append(neighbor if here < 0 else beyond[i - 1])
        if here >= 0:
            kept.append(corners[i])
            right.append(neighbor if here == 0 and after < 0 else beyond[i])
    return np.array(kept).reshape(-1, 2), np.array(right, dtype=int)
