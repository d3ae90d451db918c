"""Latents of N(0, I) in the plane as nodes of a quadrature, denser where a map is steep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffot.errors import require, require_points

_STEEP = 0.5  # change across a cell, in standard deviations of the image, that divides it
_NINE = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], indexing="ij"), -1).reshape(9, 2) / 3


@dataclass(frozen=True, eq=False)
class Nodes:
    """Latents z and their images x, float64 of shape (P, 2), with masses that sum to 1, (P,)."""

    z: np.ndarray
    x: np.ndarray
    mass: np.ndarray

    def mean(self, values: np.ndarray) -> float:
        return float(self.mass @ values)

    @property
    def cost(self) -> float:
        """Mean squared distance of latents from their images."""
        return self.mean(((self.z - self.x) ** 2).sum(1))


def nodes(
    decode: Callable[[Tensor], Tensor],
    spacing: float,
    reach: float,
    offset: tuple[float, float] = (0.0, 0.0),
    depth: int = 3,
) -> Nodes:
    """Centers of the square cells of a grid within a disk.

    A cell across which the map changes by more than half a standard deviation of the image is
    divided into nine, again and again, at most ``depth`` times: between separated modes a map
    takes a thin strip of latents across all of the gap.

    Args:
        decode: takes latents (B, 2) to points (B, 2).
        spacing: side of a cell. reach: radius of the disk.
        offset: of the centers, in cells.
        depth: 0 divides none.
    """
    half = int(np.ceil(reach / spacing)) + 1
    line = spacing * (np.arange(-half, half) + 0.5)
    z = np.stack(np.meshgrid(*(line + spacing * o for o in offset), indexing="ij"), -1)
    inside = (z**2).sum(-1) < reach**2
    x = np.full(z.shape, np.nan)
    x[inside] = _images(decode, z[inside])
    change = _change(x)[inside]
    z, x = z[inside], x[inside]
    spread = np.sqrt(np.var(x, 0, ddof=1).sum() / 2)
    mass = np.exp(-(z**2).sum(1) / 2) * spacing**2
    kept, side = [], spacing
    for _ in range(depth):
        steep = (change > _STEEP * spread) & (mass > 1e-9)
        kept.append((z[~steep], x[~steep], mass[~steep]))
        z, side = (z[steep, None] + side * _NINE).reshape(-1, 2), side / 3
        x = _images(decode, z) if len(z) else z
        change = _change(x.reshape(-1, 3, 3, 2), 1).reshape(-1)
        mass = np.exp(-(z**2).sum(1) / 2) * side**2
    kept.append((z, x, mass))
    z, x, mass = (np.concatenate(parts) for parts in zip(*kept))
    return Nodes(z, x, mass / mass.sum())


def _change(x: np.ndarray, first: int = 0) -> np.ndarray:
    """Greatest distance of each image from those of its neighbors in a grid (..., m, n, 2)."""
    greatest = np.zeros(x.shape[:-1])
    for axis in (first, first + 1):
        length = x.shape[axis]
        ahead, behind = (
            np.take(x, range(*ends), axis) for ends in ((1, length), (0, length - 1))
        )
        step = np.nan_to_num(np.linalg.norm(ahead - behind, axis=-1))
        for ends in ((1, length), (0, length - 1)):
            part = [slice(None)] * greatest.ndim
            part[axis] = slice(*ends)
            greatest[tuple(part)] = np.maximum(greatest[tuple(part)], step)
    return greatest


def _images(decode: Callable[[Tensor], Tensor], z: np.ndarray) -> np.ndarray:
    x = decode(torch.from_numpy(z))
    require_points(x, 2, "what the map's decode returns")
    require(
        x.shape == z.shape,
        f"the map's decode returns shape {tuple(x.shape)} for {len(z)} points; expected (B, 2)",
    )
    return x.detach().double().cpu().numpy()
