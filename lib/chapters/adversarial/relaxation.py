r"""How the gradient flow of the divergence reaches a law on a line.

Points that move with the velocity :math:`\partial_x \log p / q_t` have a law that obeys
:math:`\partial_t q = \partial_x (p\, \partial_x (q / p))`, the equation of Fokker and Planck. On
an even grid it becomes a chain of jumps between neighbors which keeps p, whose eigenvalues are
the rates at which differences of q from p die away.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal

from diffot.errors import require


class Relaxation:
    """The flow toward a law on a grid.

    Args:
        log_density: of the law at the places, in nats up to a constant, (N,).
        places: an even grid, increasing, at least three, (N,).
    """

    def __init__(self, log_density: NDArray, places: NDArray):
        steps = np.diff(places)
        require(
            len(places) > 2 and bool(np.allclose(steps, steps[0])) and steps[0] > 0,
            "places is no even, increasing grid of at least three",
        )
        root = np.exp((log_density - log_density.max()) / 2)
        self.masses = root**2 / (root**2).sum()
        up, down = root[1:] / root[:-1], root[:-1] / root[1:]  # rates of jumps
        leaving = np.append(up, 0.0) + np.insert(down, 0, 0.0)
        beside = np.ones(len(places) - 1)
        values, self._modes = eigh_tridiagonal(leaving / steps[0] ** 2, -beside / steps[0] ** 2)
        self.rates = np.maximum(values, 0.0)
        self._root = np.sqrt(self.masses)

    def after(self, start: NDArray, time: float) -> NDArray[np.float64]:
        """Masses at a time, from masses at time 0; (N,)."""
        amounts = self._modes.T @ (start / self._root)
        return self._root * (self._modes @ (np.exp(-self.rates * time) * amounts))

    def divergence(self, masses: NDArray) -> float:
        """KL of these masses from the law, in nats."""
        kept = masses > 1e-300
        return float(masses[kept] @ np.log(masses[kept] / self.masses[kept]))
