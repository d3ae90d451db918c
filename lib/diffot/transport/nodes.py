"""Latents of N(0, I) in the plane as nodes of a quadrature, with their images under a map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor

from diffot.errors import require, require_points

_STEEP = 0.3  # of the data's deviation, between neighbors: a step
_MATTERS = 1e-6  # of the data's variance: mass of a cell, times its step and its side
_SMALLEST = 1e-4  # mass of a mode
_CORNERS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])


@dataclass(frozen=True, eq=False)
class Nodes:
    """Latents z and their images x, float64 of shape (P, 2), with masses that sum to 1, (P,);
    each stands for a square with a side, shape (P,)."""

    z: np.ndarray
    x: np.ndarray
    mass: np.ndarray
    side: np.ndarray

    def mean(self, values: np.ndarray) -> float:
        """Mean over the law of values at the nodes, shape (P,)."""
        return float(self.mass @ values)

    @property
    def cost(self) -> float:
        """Mean squared distance of latents from their images."""
        return self.mean(((self.z - self.x) ** 2).sum(1))

    @property
    def deviation(self) -> float:
        """Root mean square distance of the images from their mean."""
        return float(np.sqrt(self.mean(((self.x - self.mass @ self.x) ** 2).sum(1))))


def nodes(
    decode: Callable[[Tensor], Tensor],
    spacing: float,
    reach: float,
    offset: tuple[float, float] = (0.0, 0.0),
    splits: int = 0,
) -> Nodes:
    """A grid in a disk: the centers of its square cells (trapezoidal rule).

    With splits, cells of twice the spacing with the four nodes of Gauss in each, so that the rule
    does not owe its precision to evenness: cells over which the map is steep are quartered.

    Args:
        decode: takes latents (B, 2) to points (B, 2).
        spacing: of the nodes. reach: radius of the disk.
        offset: of the cells, in cells.
        splits: how often a cell and its quarters are split, at most.
    """
    side = spacing if splits == 0 else 2 * spacing
    half = int(np.ceil(reach / side)) + 1
    line = side * (np.arange(-half, half) + 0.5)
    both = np.meshgrid(*(line + side * part for part in offset), indexing="ij")
    centers = np.stack(both, -1).reshape(-1, 2)
    centers = centers[(centers**2).sum(1) < reach**2]
    if splits == 0:
        return _weighted(centers, _images(decode, centers), np.full(len(centers), float(side)))
    found = _gauss(decode, centers, np.full(len(centers), float(side)))
    for level in range(splits):
        divisible = found.side > 0.75 * spacing / 2**level
        steep = (_is_steep(found) & divisible).reshape(-1, 4).any(1)
        if not steep.any():
            break
        found = _quartered(decode, found, steep)
    return found


def _weighted(z: np.ndarray, x: np.ndarray, side: np.ndarray) -> Nodes:
    mass = np.exp(-(z**2).sum(1) / 2) * (side / side.max()) ** 2
    return Nodes(z, x, mass / mass.sum(), side)


def _gauss(decode: Callable[[Tensor], Tensor], centers: np.ndarray, side: np.ndarray) -> Nodes:
    """The four nodes of Gauss in each cell, one cell after the other."""
    z = (centers[:, None] + side[:, None, None] / np.sqrt(12) * _CORNERS).reshape(-1, 2)
    return _weighted(z, _images(decode, z), np.repeat(side / 2, 4))


def _quartered(decode: Callable[[Tensor], Tensor], part: Nodes, chosen: np.ndarray) -> Nodes:
    """The chosen cells are replaced by their quarters."""
    side = 2 * part.side[::4][chosen]
    centers = part.z.reshape(-1, 4, 2).mean(1)[chosen]
    quarters = (centers[:, None] + side[:, None, None] / 4 * _CORNERS).reshape(-1, 2)
    new, kept = _gauss(decode, quarters, np.repeat(side / 2, 4)), np.repeat(~chosen, 4)
    fields = (
        np.concatenate([getattr(part, name)[kept], getattr(new, name)])
        for name in ("z", "x", "side")
    )
    return _weighted(*fields)


def neighbors(part: Nodes) -> tuple[np.ndarray, np.ndarray]:
    """Indices of nodes and of nodes near them, shapes (E,): of the eight nearest, those whose
    squares touch."""
    distance, other = cKDTree(part.z).query(part.z, 9)
    near = (distance[:, 1:] < 1.7 * part.side[:, None]).ravel()
    one = np.repeat(np.arange(len(part.z)), 8)
    return one[near], other[:, 1:].ravel()[near]


def _is_steep(part: Nodes) -> np.ndarray:
    """Whether a step that matters to integrals leads from a node to a neighbor, shape (P,)."""
    one, other = neighbors(part)
    step = np.zeros(len(part.z))
    np.maximum.at(step, one, np.linalg.norm(part.x[one] - part.x[other], axis=1))
    weight = part.mass * step * part.side
    return (step > _STEEP * part.deviation) & (weight > _MATTERS * part.deviation)


def modes(part: Nodes) -> np.ndarray:
    """To which mode of the data each node's image belongs, from 0; shape (P,).

    A mode is a set of nodes that steps do not separate. Those that are too light belong to the
    one whose images are nearest.
    """
    one, other = neighbors(part)
    joined = np.linalg.norm(part.x[one] - part.x[other], axis=1) < _STEEP * part.deviation
    shape = (len(part.z),) * 2
    graph = sparse.coo_matrix((joined[joined], (one[joined], other[joined])), shape=shape)
    found = connected_components(graph, directed=False)[1]
    heavy = np.bincount(found, part.mass) > _SMALLEST
    kept = heavy[found]
    nearest = cKDTree(part.x[kept]).query(part.x)[1]
    return np.unique(found[kept][nearest], return_inverse=True)[1]


def _images(decode: Callable[[Tensor], Tensor], z: np.ndarray) -> np.ndarray:
    x = decode(torch.from_numpy(z))
    require_points(x, 2, "what the map's decode returns")
    require(
        x.shape == z.shape,
        f"the map's decode returns shape {tuple(x.shape)} for {len(z)} points; expected (B, 2)",
    )
    return x.detach().double().cpu().numpy()
