r"""Denoisers: the one interface between data laws, networks and samplers.

A denoiser knows its schedule and estimates the clean point in a noisy one,

.. math:: \hat x_0(x, t) = E[x_0 \mid x_t = x], \qquad x_t = \alpha_t x_0 + \sigma_t \varepsilon.

Noise, score and velocities are other readings of the same quantity:

.. math:: \hat\varepsilon = \frac{x - \alpha_t \hat x_0}{\sigma_t}, \quad
          \nabla \log p_t(x) = -\frac{\hat\varepsilon}{\sigma_t}, \quad
          v = \alpha_t \hat\varepsilon - \sigma_t \hat x_0, \quad
          \frac{dx}{dt} = \dot\alpha_t \hat x_0 + \dot\sigma_t \hat\varepsilon

(Ho et al. 2020, eq. 15; Salimans & Ho 2022, section 4; Lipman et al.
2023, eq. 15).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

from torch import Tensor

from diffot.errors import require, require_tensor
from diffot.laws.law import beside
from diffot.processes.schedules import Schedule, Time


class Denoiser(ABC):
    """Estimates clean points, and what follows from them.

    In all methods ``x`` has shape (B, *d); ``t`` is a real time in [0, T], one for all points or
    one for each, shape (B,). The result has the shape and type of ``x``. At t = 0, where there is
    no noise, only :meth:`denoise` may have an answer; the others are an error.
    """

    schedule: Schedule

    @abstractmethod
    def denoise(self, x: Tensor, t: Time) -> Tensor:
        """The expected clean point (thesis eq. 3.37; Su & Yang 2025, eqs. 3.11 and 7.6)."""

    def at(self, t: float) -> Callable[[Tensor], Tensor]:
        """:meth:`denoise` at one time, as a function of x: (B, *d) to (B, *d).

        Samplers ask for those of all their times before the first step, so that what depends on
        the time alone is done by then: right after a call of a network it takes several times as
        long, and a graphics card would wait for it.

        Raises:
            ValueError: here or when it is called, where :meth:`denoise` does.
        """
        return partial(self.denoise, t=t)

    def noise(self, x: Tensor, t: Time) -> Tensor:
        """The expected noise (thesis eq. 3.36). Overridden where it can be had without dividing
        by sigma_t."""
        alpha, sigma = amplitudes(self.schedule, x, t)
        return (x - alpha * self.denoise(x, t)) / sigma

    def score(self, x: Tensor, t: Time) -> Tensor:
        """The gradient of the log density of x_t (Su & Yang 2025, eq. 6.16; Khrulkov et al. 2023,
        eq. 3, but for its sign)."""
        _, sigma = amplitudes(self.schedule, x, t)
        return -self.noise(x, t) / sigma

    def velocity(self, x: Tensor, t: Time) -> Tensor:
        r"""The velocity v in the angle :math:`\\arctan(\\sigma_t / \\alpha_t)`."""
        alpha, sigma = amplitudes(self.schedule, x, t)
        return alpha * self.noise(x, t) - sigma * self.denoise(x, t)

    def flow_velocity(self, x: Tensor, t: Time) -> Tensor:
        """The velocity dx/dt of the probability flow (Song et al. 2021b, eq. 13; Su & Yang 2025,
        eqs. 6.14, 15.14 and 15.22; Khrulkov et al. 2023, eq. 6)."""
        amplitudes(self.schedule, x, t)
        alpha_rate, sigma_rate = (beside(rate, x) for rate in self.schedule.rates(t))
        return alpha_rate * self.denoise(x, t) + sigma_rate * self.noise(x, t)


def levels(schedule: Schedule, x: Tensor, t: Time) -> tuple[Tensor, Tensor]:
    """alpha_t and sigma_t for the points x, float64, of no dimension or of shape (B,).

    Raises:
        TypeError, ValueError: if x is no tensor, for times out of range or of another shape.
    """
    require_tensor(x, "x")
    alpha, sigma = schedule.levels(t)
    if alpha.ndim and alpha.shape != x.shape[:1]:
        raise ValueError(
            f"t has shape {tuple(alpha.shape)} for {len(x)} points; "
            "expected one time, or one for each point"
        )
    return alpha, sigma


def noisy_levels(schedule: Schedule, x: Tensor, t: Time) -> tuple[Tensor, Tensor]:
    """The same, at times that have noise.

    Raises:
        TypeError, ValueError: as :func:`levels`, and at t = 0.
    """
    alpha, sigma = levels(schedule, x, t)
    require_noise(schedule, sigma)
    return alpha, sigma


def require_noise(schedule: Schedule, sigma: Tensor) -> None:
    """Require that no amplitude of the noise is 0."""
    require(
        bool(sigma.all()),
        "t is 0, where there is no noise to be told from the data; "
        f"expected 0 < t <= T = {schedule.T}",
    )


def amplitudes(schedule: Schedule, x: Tensor, t: Time) -> tuple[Tensor, Tensor]:
    """The same, shaped to multiply x and in its type."""
    alpha, sigma = noisy_levels(schedule, x, t)
    return beside(alpha, x), beside(sigma, x)
