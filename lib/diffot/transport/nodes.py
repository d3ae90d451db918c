"""Latents of N(0, I) in the plane as nodes of a quadrature, with their images under a map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffot.errors import require, require_points


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
) -> Nodes:
    """The centers of the square cells of a grid that lie in a disk (trapezoidal rule).

    Args:
        decode: takes latents (B, 2) to points (B, 2).
        spacing: side of a cell. reach: radius of the disk.
        offset: of the centers, in cells.
    """
    half = int(np.ceil(reach / spacing)) + 1
    line = spacing * (np.arange(-half, half) + 0.5)
    both = np.meshgrid(*(line + spacing * part for part in offset), indexing="ij")
    z = np.stack(both, -1).reshape(-1, 2)
    z = z[(z**2).sum(1) < reach**2]
    mass = np.exp(-(z**2).sum(1) / 2)
    return Nodes(z, _images(decode, z), mass / mass.sum())


def _images(decode: Callable[[Tensor], Tensor], z: np.ndarray) -> np.ndarray:
    x = decode(torch.from_numpy(z))
    require_points(x, 2, "what the map's decode returns")
    require(
        x.shape == z.shape,
        f"the map's decode returns shape {tuple(x.shape)} for {len(z)} points; expected (B, 2)",
    )
    return x.detach().double().cpu().numpy()
