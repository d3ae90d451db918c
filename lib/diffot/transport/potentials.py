r"""Convex potentials and their conjugates: bounds on transport costs from the other side.

For any function :math:`\varphi` of the data with the conjugate
:math:`\varphi^*(z) = \sup_x \langle z, x \rangle - \varphi(x)`, every coupling of latents with
points obeys :math:`\varphi(x) + \varphi^*(z) - \langle z, x \rangle \ge 0` (Fenchel and Young),
and the optimal one attains it for the optimal :math:`\varphi` (Villani 2009, theorem 5.10).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from diffot.errors import require_points
from diffot.flows.maps import Map
from diffot.transport.pieces import Piece

_SEAM = 2.0  # half widths that a seam reaches to each side, in sides of a cell
_PER_CELL = 4  # nodes along each side of a cell, among which conjugates are looked for


@dataclass(frozen=True, eq=False)
class Peaks:
    """Where the conjugates of K pieces are attained, for B latents.

    Attributes:
        heights: the conjugates, shape (K, B).
        places: coordinates in the box of each piece, shape (K, B, 2).
    """

    heights: np.ndarray
    places: np.ndarray

    @property
    def piece(self) -> np.ndarray:
        """The piece with the greatest, shape (B,)."""
        return self.heights.argmax(0)


@dataclass(frozen=True, eq=False)
class Seams:
    r"""Latents near the lines where the two greatest conjugates are equal.

    The map jumps there, so that the Hessian of :math:`\varphi^*` holds the jump squared, times a
    delta function of the difference of the two. Here that is a bell with the width of a cell of
    the quadrature.

    Attributes:
        latent: which, shape (S,).
        first, second: the two pieces, shape (S,).
        jump: from the second's point to the first's, shape (S, 2).
        weight: value of the bell, shape (S,).
    """

    latent: np.ndarray
    first: np.ndarray
    second: np.ndarray
    jump: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True, eq=False)
class Potential(Map):
    r"""The least of several functions, each of which is finite on a box of the plane.

    Its conjugate is the greatest of theirs. As a map it is :math:`z \mapsto \nabla \varphi^*(z)`,
    the point where :math:`\langle z, x \rangle - \varphi(x)` is greatest: the optimal map from
    the law of z to that of its image, whatever the law (Brenier 1991).

    Attributes:
        center: subtracted from points before pieces see them; shape (2,).
        pieces: the functions.
    """

    center: np.ndarray
    pieces: tuple[Piece, ...]

    def value(self, x: Tensor) -> Tensor:
        """Shape (B,), for points (B, 2); infinite outside all boxes."""
        return torch.from_numpy(self._least(self._centered(x))).to(x)

    def conjugate(self, z: Tensor) -> Tensor:
        """Shape (B,), for latents (B, 2)."""
        latents = _plain(z, "z")
        heights = self.peaks(latents).heights.max(0)
        return torch.from_numpy(heights + latents @ self.center).to(z)

    def decode(self, z: Tensor) -> Tensor:
        return torch.from_numpy(self.points(self.peaks(_plain(z, "z"))) + self.center).to(z)

    def encode(self, x: Tensor) -> Tensor:
        r"""The gradient :math:`\nabla \varphi`, at points of a box."""
        points = self._centered(x)
        best = self._values(points).argmin(0)
        result = np.zeros_like(points)
        for k, piece in enumerate(self.pieces):
            u = piece.clipped(piece.inward(points[best == k]))
            result[best == k] = piece.jet(u)[1] @ piece.axes.T
        return torch.from_numpy(result).to(x)

    def jacobian(self, z: Tensor, width: np.ndarray | float = 0.0) -> Tensor:
        r"""The Hessian of :math:`\varphi^*`, shape (B, 2, 2): the inverse of that of the piece
        where it is attained and, for a positive width of seams, shape (B,), their share."""
        peaks = self.peaks(_plain(z, "z"), width=width)
        result = np.zeros((len(z), 2, 2))
        for k, piece in enumerate(self.pieces):
            here = peaks.piece == k
            inverse = np.linalg.inv(piece.jet(peaks.places[k, here])[2])
            result[here] = piece.axes @ inverse @ piece.axes.T
        if len(self.pieces) > 1 and np.max(width) > 0:
            seams = self.seams(peaks, np.broadcast_to(width, len(z)))
            outer = seams.jump[:, :, None] * seams.jump[:, None, :]
            result[seams.latent] += seams.weight[:, None, None] * outer
        return torch.from_numpy(result).to(z)

    def gaps(self, z: Tensor, x: Tensor) -> Tensor:
        r""":math:`\varphi(x) + \varphi^*(z) - \langle z, x \rangle` of pairs, shape (B,); never
        negative beyond rounding."""
        latents, points = _plain(z, "z"), self._centered(x)
        conjugate = self.peaks(latents).heights.max(0)
        return torch.from_numpy(self._least(points) + conjugate - (points * latents).sum(1))

    def peaks(
        self,
        z: np.ndarray,
        per_cell: int = _PER_CELL,
        guess: Peaks | None = None,
        width: np.ndarray | float = 0.0,
    ) -> Peaks:
        """The conjugates of all pieces, for latents (B, 2).

        The search is over all boxes: the best node of a grid, and from there Newton's method, of
        the piece that is best and of those that can become it: which miss it by no more than
        twice what Newton's method gains anywhere. A guess can take the place of the node. So
        every height is attained, and the greatest is not below that of any node. Pieces that are
        second within a width are climbed as well.
        """
        turned = [z @ piece.axes for piece in self.pieces]
        starts = [
            piece.best_node(v, per_cell, None if guess is None else guess.places[k])
            for k, (piece, v) in enumerate(zip(self.pieces, turned))
        ]
        shifts = np.stack([z @ piece.center for piece in self.pieces])
        heights = np.stack([floor for floor, _ in starts]) + shifts
        places = np.stack([place for _, place in starts])
        floors, first = heights.max(0), heights.argmax(0)

        def climb(chosen: np.ndarray) -> None:
            for k, piece in enumerate(self.pieces):
                here = chosen[k]
                value, places[k, here] = piece.climb(turned[k][here], places[k, here])
                heights[k, here] = value + shifts[k, here]

        best = np.arange(len(self.pieces))[:, None] == first
        climb(best)
        if len(self.pieces) > 1:
            slack = 2 * (heights.max(0) - floors).max() + _SEAM * width * self._size()
            climb(~best & (heights > floors - slack))
        return Peaks(heights, places)

    def _size(self) -> float:
        centers = np.stack([piece.center for piece in self.pieces])
        return float(np.ptp(centers, axis=0).max())

    def points(self, peaks: Peaks) -> np.ndarray:
        """Where the conjugate is attained, about the center; shape (B, 2)."""
        return self.points_of(peaks, peaks.piece, np.arange(peaks.heights.shape[1]))

    def points_of(self, peaks: Peaks, which: np.ndarray, latent: np.ndarray) -> np.ndarray:
        """Where the conjugate of a piece is attained for some latents; shapes (S,), (S, 2)."""
        axes = np.stack([piece.axes for piece in self.pieces])[which]
        centers = np.stack([piece.center for piece in self.pieces])[which]
        return np.einsum("bij,bj->bi", axes, peaks.places[which, latent]) + centers

    def seams(self, peaks: Peaks, width: np.ndarray) -> Seams:
        """Latents within some widths of a seam; the width of each has shape (B,)."""
        latent = np.arange(peaks.heights.shape[1])
        second, first = np.argsort(peaks.heights, axis=0)[-2:]
        difference = peaks.heights[first, latent] - peaks.heights[second, latent]
        jump = self.points_of(peaks, first, latent) - self.points_of(peaks, second, latent)
        scale = width / 2 * np.linalg.norm(jump, axis=1) + 1e-300
        share = expit(-difference / scale)
        near = difference < 2 * _SEAM * scale
        weight = (share * (1 - share) / scale)[near]
        return Seams(latent[near], first[near], second[near], jump[near], weight)

    def plus(self, change: np.ndarray) -> Potential:
        """The potential whose coefficients differ by a vector, piece after piece."""
        sizes = [piece.surface.coefficients.size for piece in self.pieces]
        parts = np.split(change, np.cumsum(sizes)[:-1])
        pieces = (
            replace(piece, surface=piece.surface.plus(part))
            for piece, part in zip(self.pieces, parts)
        )
        return replace(self, pieces=tuple(pieces))

    def _centered(self, x: Tensor) -> np.ndarray:
        return _plain(x, "x") - self.center

    def _values(self, points: np.ndarray) -> np.ndarray:
        """Of each piece, infinite outside its box; shape (K, B)."""
        rows = []
        for piece in self.pieces:
            u = piece.inward(points)
            rows.append(np.where(piece.holds(u), piece.plain(piece.clipped(u)), np.inf))
        return np.stack(rows)

    def _least(self, points: np.ndarray) -> np.ndarray:
        return self._values(points).min(0)


def _plain(points: Tensor, name: str) -> np.ndarray:
    require_points(points, 2, name)
    return points.detach().double().cpu().numpy()
