r"""What a network answers with, and how to read it.

Every common answer is a combination :math:`o = a_t x_0 + b_t \varepsilon` of clean point and
noise. Training aims at it, and with :math:`x = \alpha_t x_0 + \sigma_t \varepsilon` both are
recovered:

.. math:: x_0 = \frac{b_t x - \sigma_t o}{\alpha_t b_t - \sigma_t a_t}, \qquad
          \varepsilon = \frac{\alpha_t o - a_t x}{\alpha_t b_t - \sigma_t a_t}.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffot.denoisers.denoiser import noisy_levels
from diffot.errors import require
from diffot.laws.law import beside
from diffot.processes.schedules import Schedule, Time


@dataclass(frozen=True)
class Parametrization:
    """A kind of answer.

    ``coefficients(schedule, t, alpha, sigma)`` are a_t and b_t, float64 of the shape of t, where
    alpha and sigma are the schedule's at t.
    """

    name: str
    coefficients: Callable[[Schedule, Time, Tensor, Tensor], tuple[Tensor, Tensor]]

    def target(self, schedule: Schedule, x_0: Tensor, noise: Tensor, t: Time) -> Tensor:
        """What a network is to answer at x_t, for clean points and noise of shape (B, *d)."""
        a, b = self.coefficients(schedule, t, *schedule.levels(t))
        return beside(a, x_0) * x_0 + beside(b, x_0) * noise

    def denoise(self, schedule: Schedule, x: Tensor, output: Tensor, t: Time) -> Tensor:
        """The clean point in x, shape (B, *d), that an answer of this kind says.

        If that is the noise: (x - sigma_t times it) / alpha_t (Ho et al. 2020, eq. 15; thesis
        eqs. 3.36 and 3.37; Su & Yang 2025, eq. 3.11).

        Raises:
            ValueError: where it says nothing about it: the noise does not, where x is noise only.
        """
        _, sigma, _, b, whole = self._factors(schedule, x, t)
        return (b * x - sigma * output) / whole

    def noise(self, schedule: Schedule, x: Tensor, output: Tensor, t: Time) -> Tensor:
        """The noise in x, shape (B, *d), that an answer of this kind says.

        Raises:
            ValueError: as :meth:`denoise`.
        """
        alpha, _, a, _, whole = self._factors(schedule, x, t)
        return (alpha * output - a * x) / whole

    def _factors(self, schedule: Schedule, x: Tensor, t: Time) -> tuple[Tensor, ...]:
        """alpha, sigma, a, b and the denominator, shaped to multiply x."""
        alpha, sigma = noisy_levels(schedule, x, t)
        a, b = self.coefficients(schedule, t, alpha, sigma)
        whole = alpha * b - sigma * a
        require(
            bool((whole != 0).all()),
            f"at t = {float(torch.as_tensor(t).max()):.6g} an answer of the kind {self.name!r} "
            "does not say what the clean point is; expected another time, or another "
            "parametrization",
        )
        return tuple(beside(factor, x) for factor in (alpha, sigma, a, b, whole))


#: The noise (Ho et al. 2020), the clean point, v (Salimans & Ho 2022, section 4), and the
#: velocity dx/dt of a path on which x_0 and the noise stay (Lipman et al. 2023, eq. 21).
PARAMETRIZATIONS = {
    kind.name: kind
    for kind in (
        Parametrization("eps", lambda schedule, t, alpha, sigma: (0 * alpha, 0 * alpha + 1)),
        Parametrization("x0", lambda schedule, t, alpha, sigma: (0 * alpha + 1, 0 * alpha)),
        Parametrization("v", lambda schedule, t, alpha, sigma: (-sigma, alpha)),
        Parametrization("flow", lambda schedule, t, alpha, sigma: schedule.rates(t)),
    )
}
