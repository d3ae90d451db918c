r"""Convex potentials and their conjugates: bounds on transport costs from the other side.

For any function :math:`\varphi` of the data with the conjugate
:math:`\varphi^*(z) = \sup_x \langle z, x \rangle - \varphi(x)`, every coupling of latents with
points obeys :math:`\varphi(x) + \varphi^*(z) - \langle z, x \rangle \ge 0` (Fenchel and Young),
and the optimal one attains it for the optimal :math:`\varphi` (Villani 2009, theorem 5.10).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffot.errors import require_points
from diffot.flows.maps import Map
from diffot.transport.surfaces import Surface

_RESIDUAL = 1e-11  # of the gradient where a conjugate is attained, in units of the data
_ROUNDS = 60


@dataclass(frozen=True, eq=False)
class Potential(Map):
    r"""A function of points in a box of the plane, and infinity elsewhere.

    .. math:: \varphi(x) = \langle u, a + Q u / 2 \rangle + f(u), \quad u = R^T (x - m)

    As a map it is :math:`z \mapsto \nabla \varphi^*(z)`, the point of the box where
    :math:`\langle z, x \rangle - \varphi(x)` is greatest: the optimal map from the law of z to
    that of its image, whatever the law (Brenier 1991).

    Attributes:
        center, axes: m and R, a rotation; shapes (2,) and (2, 2).
        linear, quadratic: a and Q; shapes (2,) and (2, 2).
        surface: f, on the box.
    """

    center: np.ndarray
    axes: np.ndarray
    linear: np.ndarray
    quadratic: np.ndarray
    surface: Surface

    def value(self, x: Tensor) -> Tensor:
        """Shape (B,), for points (B, 2); infinite outside the box."""
        u = self._inward(x)
        value = self.jet(np.clip(u, self.surface.low, self.surface.high))[0]
        inside = ((u >= self.surface.low) & (u <= self.surface.high)).all(1)
        return torch.from_numpy(np.where(inside, value, np.inf)).to(x)

    def conjugate(self, z: Tensor) -> Tensor:
        """Shape (B,), for latents (B, 2)."""
        value = self.greatest(self._turned(z), 4)[0]
        return (torch.from_numpy(value) + z.double().cpu() @ torch.from_numpy(self.center)).to(z)

    def decode(self, z: Tensor) -> Tensor:
        u = self.greatest(self._turned(z), 4)[1]
        return torch.from_numpy(u @ self.axes.T + self.center).to(z)

    def encode(self, x: Tensor) -> Tensor:
        r"""The gradient :math:`\nabla \varphi`, at points of the box."""
        u = np.clip(self._inward(x), self.surface.low, self.surface.high)
        return torch.from_numpy(self.jet(u)[1] @ self.axes.T).to(x)

    def jacobian(self, z: Tensor) -> Tensor:
        """The inverse of the Hessian where the conjugate is attained."""
        hessian = self.jet(self.greatest(self._turned(z), 4)[1])[2]
        return torch.from_numpy(self.axes @ np.linalg.inv(hessian) @ self.axes.T).to(z)

    def gaps(self, z: Tensor, x: Tensor) -> Tensor:
        r""":math:`\varphi(x) + \varphi^*(z) - \langle z, x \rangle` of pairs, shape (B,); never
        negative beyond rounding."""
        v, u = self._turned(z), self._inward(x)
        return torch.from_numpy(self.jet(u)[0] + self.greatest(v, 4)[0] - (u * v).sum(1))

    def _inward(self, x: Tensor) -> np.ndarray:
        require_points(x, 2)
        return (x.detach().double().cpu().numpy() - self.center) @ self.axes

    def _turned(self, z: Tensor) -> np.ndarray:
        require_points(z, 2, "z")
        return z.detach().double().cpu().numpy() @ self.axes

    def jet(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values (B,), gradients (B, 2), Hessians (B, 2, 2) in the coordinates u."""
        value, slope, hessian = self.surface.jet(u)
        bent = u @ self.quadratic
        value = value + (u * (self.linear + bent / 2)).sum(1)
        return value, slope + self.linear + bent, hessian + self.quadratic

    def plain(self, u: np.ndarray) -> np.ndarray:
        """Values (B,) in the coordinates u."""
        return self.surface.value(u) + (u * (self.linear + u @ self.quadratic / 2)).sum(1)

    def greatest(
        self, v: np.ndarray, per_cell: int, guess: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The conjugate (B,) at turned latents (B, 2), and where it is attained (B, 2).

        The search is over all of the box: the best node of a grid, or the guess where that is
        better, and from there Newton's method. Every value is attained, none below the best of
        the nodes.
        """
        nodes = self.surface.nodes(per_cell)
        heights = self.plain(nodes)
        best = _best_nodes(v, nodes, heights)
        floor = (v * nodes[best]).sum(1) - heights[best]
        start = nodes[best]
        if guess is not None:
            better = (v * guess).sum(1) - self.plain(guess) > floor
            start = np.where(better[:, None], guess, start)
        return self._climb(v, start)

    def _climb(self, v: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Newton's method for the maximum of <v, u> - phi(u) in the box, never downhill."""
        u, low, high = start.copy(), self.surface.low, self.surface.high
        active = np.arange(len(u))
        for _ in range(_ROUNDS):
            here, target = u[active], v[active]
            value, slope, hessian = self.jet(here)
            pull = target - slope
            held = ((here <= low) & (pull < 0)) | ((here >= high) & (pull > 0))
            pull = np.where(held, 0, pull)
            go = np.abs(pull).sum(1) > _RESIDUAL * (1 + np.abs(target).sum(1))
            if not go.any():
                break
            active, here, target, pull = active[go], here[go], target[go], pull[go]
            step = _newton_step(hessian[go], pull, held[go])
            longest = np.abs(step / self.surface.cell).max(1, keepdims=True)
            step /= np.maximum(1, longest / 2)
            gained = (target * here).sum(1) - value[go]
            u[active] = self._uphill(here, step, pull, target, gained)
        return (v * u).sum(1) - self.plain(u), u

    def _uphill(
        self,
        here: np.ndarray,
        step: np.ndarray,
        pull: np.ndarray,
        target: np.ndarray,
        gained: np.ndarray,
    ) -> np.ndarray:
        """Each point moved by its step, halved until that gains (Armijo)."""
        moved, todo = here.copy(), np.arange(len(here))
        for _ in range(30):
            trial = np.clip(here[todo] + step[todo], self.surface.low, self.surface.high)
            gain = (target[todo] * trial).sum(1) - self.plain(trial) - gained[todo]
            expected = 1e-4 * (pull[todo] * (trial - here[todo])).sum(1)
            enough = gain >= expected - 1e-15 * (1 + np.abs(gained[todo]))
            moved[todo[enough]] = trial[enough]
            todo = todo[~enough]
            if not len(todo):
                break
            step[todo] /= 2
        return moved


def _best_nodes(v: np.ndarray, nodes: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """For each latent the node with the greatest <v, u> - phi(u), shape (B,)."""
    columns = np.ascontiguousarray(nodes.T)
    parts = [
        (part @ columns - heights).argmax(1) for part in np.array_split(v, len(v) // 300 + 1)
    ]
    return np.concatenate(parts)


def _newton_step(hessian: np.ndarray, pull: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Uphill for a function whose Hessian need not be positive, in the coordinates not held."""
    free = ~held
    hessian = hessian * (free[:, :, None] & free[:, None, :])
    hessian = hessian + held[:, :, None] * np.eye(2)
    first, second = inverse_roots(hessian, 1e-3)
    return first * (first * pull).sum(1, keepdims=True) + second * (second * pull).sum(
        1, keepdims=True
    )


def inverse_roots(
    hessian: np.ndarray, floor: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Two vectors p, q (B, 2) with p p^T + q q^T = H^-1, of symmetric matrices (B, 2, 2) whose
    eigenvalues are raised to a share of their trace norm, at least."""
    a, b, c = hessian[:, 0, 0], hessian[:, 0, 1], hessian[:, 1, 1]
    middle, radius = (a + c) / 2, np.hypot((a - c) / 2, b)
    least = floor * (np.abs(middle) + radius) + 1e-300
    angle = np.arctan2(2 * b, a - c) / 2
    axis = np.stack([np.cos(angle), np.sin(angle)], 1)
    across = np.stack([-axis[:, 1], axis[:, 0]], 1)
    large, small = np.maximum(middle + radius, least), np.maximum(middle - radius, least)
    return axis / np.sqrt(large)[:, None], across / np.sqrt(small)[:, None]
