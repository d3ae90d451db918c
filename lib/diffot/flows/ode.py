"""Following an ordinary differential equation, for the modules on flows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.integrate import DOP853

FINEST = 100 * np.finfo(float).eps  # below this tolerance, DOP853 measures rounding


def integrate(
    rate: Callable[[float, np.ndarray], np.ndarray],
    start: float,
    end: float,
    state: np.ndarray,
    tolerance: float,
) -> np.ndarray:
    """The state at s = ``end``; DOP853 (Hairer, Nørsett & Wanner 1993, chapter II).

    Args:
        rate: derivative of the state in s, of the shape of ``state``.
        state: at s = ``start``, any shape.
        tolerance: of each step, as root mean square over the entries (relative where they
            exceed 1).

    Raises:
        RuntimeError: if the solver does not get to the end.
    """

    def flat_rate(s: float, flat: np.ndarray) -> np.ndarray:
        out = rate(s, flat.reshape(state.shape)).ravel()
        if not np.isfinite(out).all():  # the solver would search for a step forever
            raise RuntimeError(
                f"the flow is not finite at s = {s:.6g} of {max(start, end):.6g}; a point lies "
                "too far out, or a Jacobian overflows between widely separated modes"
            )
        return out

    with np.errstate(over="ignore", invalid="ignore"):  # caught above
        solver = DOP853(flat_rate, start, state.ravel(), end, rtol=tolerance, atol=tolerance)
        while solver.status == "running":
            message = solver.step()
    if solver.status == "failed":
        raise RuntimeError(
            f"the flow could not be followed past s = {solver.t:.6g} of {max(start, end):.6g}: "
            f"{message} Try a larger tolerance"
        )
    return solver.y.reshape(state.shape)
