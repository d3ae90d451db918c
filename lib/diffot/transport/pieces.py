"""One piece of a convex potential: a quadratic function and a spline on a box of the plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffot.transport.surfaces import Surface

_RESIDUAL = 1e-11  # of the gradient where a conjugate is attained, in units of the data
_ROUNDS = 60


@dataclass(frozen=True, eq=False)
class Piece:
    r"""A function of points in a box of the plane, and infinity elsewhere.

    .. math:: \varphi(x) = \langle u, a + Q u / 2 \rangle + f(u), \quad u = R^T (x - m)

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

    def inward(self, x: np.ndarray) -> np.ndarray:
        """The coordinates u of points, shape (B, 2)."""
        return (x - self.center) @ self.axes

    def outward(self, u: np.ndarray) -> np.ndarray:
        """The points with coordinates u, shape (B, 2)."""
        return u @ self.axes.T + self.center

    def holds(self, u: np.ndarray) -> np.ndarray:
        """Which coordinates (B, 2) are in the box."""
        return np.all((u >= self.surface.low) & (u <= self.surface.high), axis=1)

    def clipped(self, u: np.ndarray) -> np.ndarray:
        """The nearest coordinates in the box, shape (B, 2)."""
        return np.clip(u, self.surface.low, self.surface.high)

    def jet(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values (B,), gradients (B, 2), Hessians (B, 2, 2) in the coordinates u."""
        value, slope, hessian = self.surface.jet(u)
        bent = u @ self.quadratic
        value = value + (u * (self.linear + bent / 2)).sum(1)
        return value, slope + self.linear + bent, hessian + self.quadratic

    def plain(self, u: np.ndarray) -> np.ndarray:
        """Values (B,) in the coordinates u."""
        return self.surface.value(u) + (u * (self.linear + u @ self.quadratic / 2)).sum(1)

    def best_node(
        self, v: np.ndarray, per_cell: int, guess: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The greatest <v, u> - phi(u) among the nodes of a grid over all of the box, or at the
        guess where that is better, (B,), and u (B, 2), for turned latents v (B, 2)."""
        nodes = self.surface.nodes(per_cell)
        heights = self.plain(nodes)
        best = _best_nodes(v, nodes, heights)
        floor = (v * nodes[best]).sum(1) - heights[best]
        start = nodes[best]
        if guess is not None:
            guessed = (v * guess).sum(1) - self.plain(guess)
            start = np.where((guessed > floor)[:, None], guess, start)
            floor = np.maximum(floor, guessed)
        return floor, start

    def climb(self, v: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Newton's method for the maximum of <v, u> - phi(u) in the box, never downhill: the
        greatest value (B,), and where (B, 2)."""
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
