r"""Chapter 19 of the notes "Topics on diffusion generative models", on adversarial training.

The function measures one formula as it is printed and as it should be, as in
:mod:`chapters.errata.guidance`: on a line, for data from N(0, 1) and the generator
:math:`g(z) = a z` at a = 2, whose discriminator is perfect.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.optimize import minimize_scalar

from chapters.errata.guidance import Errors

_SCALE, _TIME = 2.0, 1e-4


def next_generator() -> Errors:
    r"""(19.11): the next generator is one step of gradient descent on the loss, of length
    :math:`\epsilon`, and not its minimum. Relative difference of the change of a from that of the
    flow (19.2) in the time :math:`\epsilon`."""

    def loss(a: float) -> float:
        """-E D(a z), D(x) = log 2 - x^2 / 2 + x^2 / 8, with E z^2 = 1."""
        return a**2 / 2 - a**2 / (2 * _SCALE**2) - math.log(_SCALE)

    exact = math.sqrt(1 + (_SCALE**2 - 1) * math.exp(-2 * _TIME)) - _SCALE
    lowest = minimize_scalar(loss, bounds=(0, 2 * _SCALE), method="bounded").x - _SCALE
    h = 1e-5
    step = -_TIME * (loss(_SCALE + h) - loss(_SCALE - h)) / (2 * h)
    return Errors(*(abs(change / exact - 1) for change in (lowest, step)))


CHECKS: dict[str, Callable[[], Errors]] = {"notes, (19.11)": next_generator}
