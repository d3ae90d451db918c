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

    def clean(
        self, schedule: Schedule, t: Time, alpha: Tensor, sigma: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The two factors with which a noisy point and the answer add up to the clean point.

        If the answer is the noise, that is (x - sigma_t times it) / alpha_t (Ho et al. 2020, eq.
        15; thesis eqs. 3.36 and 3.37; Su & Yang 2025, eq. 3.11).

        Args:
            alpha, sigma: the schedule's at t, float64 of shape () or (B,), sigma above 0, as
                :func:`~diffot.denoisers.denoiser.noisy_levels` has them.

        Returns:
            Float64, of the shape of alpha.

        Raises:
            ValueError: where it says nothing about it: the noise does not, where x is noise only.
        """
        a, b = self.coefficients(schedule, t, alpha, sigma)
        whole = self._whole(alpha * b - sigma * a, t)
        return b / whole, -sigma / whole

    def noise(
        self, schedule: Schedule, t: Time, alpha: Tensor, sigma: Tensor
    ) -> tuple[Tensor, Tensor]:
        r"""Those with which they add up to the noise, for the answer o
        :math:`(\alpha o - a x) / (\alpha b - \sigma a)`.

        Arguments, result and errors are those of :meth:`clean`.
        """
        a, b = self.coefficients(schedule, t, alpha, sigma)
        whole = self._whole(alpha * b - sigma * a, t)
        return -a / whole, alpha / whole

    def _whole(self, whole: Tensor, t: Time) -> Tensor:
        """The denominator, if it is not 0."""
        if not bool(whole.all()):
            raise ValueError(
                f"at t = {float(torch.as_tensor(t).max()):.6g} an answer of the kind "
                f"{self.name!r} does not say what the clean point is; expected another time, or "
                "another parametrization"
            )
        return whole


def _noise(schedule: Schedule, t: Time, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(alpha), torch.ones_like(alpha)


def _point(schedule: Schedule, t: Time, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ones_like(alpha), torch.zeros_like(alpha)


#: The noise (Ho et al. 2020), the clean point, v (Salimans & Ho 2022, section 4), and the
#: velocity dx/dt of a path on which x_0 and the noise stay (Lipman et al. 2023, eq. 21).
PARAMETRIZATIONS = {
    kind.name: kind
    for kind in (
        Parametrization("eps", _noise),
        Parametrization("x0", _point),
        Parametrization("v", lambda schedule, t, alpha, sigma: (-sigma, alpha)),
        Parametrization("flow", lambda schedule, t, alpha, sigma: schedule.rates(t)),
    )
}
