r"""Blur without noise, and with a little, for a Gaussian law on a ring: all in closed form.

A frequency k of the data is Gaussian with variance :math:`c_k`, independent of the others, and
blurring multiplies it by :math:`b_k(t) = e^{-k^2 t}`. What is seen is
:math:`x_t = b(t)\, x_0 + \delta \varepsilon`; the best restoration multiplies it by

.. math:: g(t) = \frac{b c}{b^2 c + \delta^2},

and every sampler that is linear in the restoration multiplies :math:`x_T` by one number for each
frequency.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffot.errors import as_number, as_whole_number


@dataclass(frozen=True)
class BlurredRing:
    """A stationary Gaussian law on a ring of pixels, and how it is blurred.

    Args:
        pixels: even, at least 4. decay: variances fall as 1 / (1 + k)^decay.
        noise: delta, above 0. time: T, above 0.
    """

    pixels: int = 32
    decay: float = 2.0
    noise: float = 0.01
    time: float = 4.0

    def __post_init__(self):
        object.__setattr__(self, "pixels", as_whole_number(self.pixels, "pixels", least=4))
        for name in ("decay", "noise", "time"):
            object.__setattr__(self, name, as_number(getattr(self, name), name, above=0))

    @property
    def frequencies(self) -> np.ndarray:
        """k of each of the real Fourier coefficients, shape (pixels,)."""
        return np.abs(np.fft.fftfreq(self.pixels, 1 / self.pixels))

    @property
    def variances(self) -> np.ndarray:
        """c, shape (pixels,)."""
        return (1 + self.frequencies) ** -self.decay

    def blur(self, t: float) -> np.ndarray:
        """b(t)."""
        return np.exp(-(self.frequencies**2) * t)

    def restoration(self, t: float) -> np.ndarray:
        """g(t), the best linear guess of x_0, which is also the best of all."""
        b, c = self.blur(t), self.variances
        return b * c / (b**2 * c + self.noise**2)

    def path(self, steps: int) -> np.ndarray:
        """Times from T to 0, denser near 0 (squares of equal steps)."""
        steps = as_whole_number(steps, "steps", least=1)
        return self.time * np.linspace(1, 0, steps + 1) ** 2


def one_shot(ring: BlurredRing) -> np.ndarray:
    """What one restoration multiplies x_T by."""
    return ring.restoration(ring.time)


def naive(ring: BlurredRing, steps: int) -> np.ndarray:
    """The same for steps that blur the guess again, x_s = b(s) g(t) x_t (Bansal et al. 2023,
    algorithm 1); the last guess is the point."""
    factor = np.ones(ring.pixels)
    for t, s in zip(ring.path(steps), ring.path(steps)[1:]):
        factor = ring.blur(s) * ring.restoration(t) * factor
    return factor


def improved(ring: BlurredRing, steps: int) -> np.ndarray:
    """The same for steps that add the difference of two blurred guesses,
    x_s = x_t + (b(s) - b(t)) g(t) x_t (Bansal et al. 2023, algorithm 2)."""
    factor = np.ones(ring.pixels)
    for t, s in zip(ring.path(steps), ring.path(steps)[1:]):
        factor = (1 + (ring.blur(s) - ring.blur(t)) * ring.restoration(t)) * factor
    return factor


@dataclass(frozen=True)
class Quality:
    """Root mean squares, relative to that of the data."""

    error: float  # of what is drawn from the image that was blurred
    distance: float  # W2 of the two laws
    variance: float  # of what is drawn by that of the data; not a root


def quality(ring: BlurredRing, factor: np.ndarray) -> Quality:
    """How good x_T times ``factor`` is, x_T being blurred data.

    The laws are Gaussians with the same axes, whose W2 is the distance of their standard
    deviations.
    """
    c, b = ring.variances, ring.blur(ring.time)
    seen = b**2 * c + ring.noise**2
    error = (1 - factor * b) ** 2 * c + (factor * ring.noise) ** 2
    distance = (np.sqrt(c) - np.abs(factor) * np.sqrt(seen)) ** 2
    total = c.sum()
    return Quality(
        float(np.sqrt(error.sum() / total)),
        float(np.sqrt(distance.sum() / total)),
        float((factor**2 * seen).sum() / total),
    )
