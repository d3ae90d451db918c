"""A denoiser on another schedule."""

from __future__ import annotations

import torch
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser, levels
from diffot.errors import require, require_type
from diffot.laws.law import beside
from diffot.processes.schedules import Schedule, Time

_HALVINGS = 60  # of the interval of times: more than the digits of float64


class RescaledDenoiser(Denoiser):
    r"""A denoiser that is asked about points of another schedule.

    :math:`E[x_0 \mid x_t]` depends on the schedule by the ratio :math:`r = \alpha / \sigma` and
    by the unit of x alone. A point x of the other schedule with amplitudes :math:`(a, s)` is
    therefore shown as :math:`x \alpha / a`, at the time at which
    :math:`\alpha / \sigma = a / s`. So a network of a variance preserving process is a noise
    conditional score network (Song & Ermon 2019): on
    :class:`~diffot.processes.schedules.VarianceExploding` its score at level s is
    :math:`-\hat\varepsilon(\alpha x, t) / s`.

    Args:
        denoiser: what is asked, with a schedule of its own.
        schedule: of the points that this one is asked about.

    Raises:
        TypeError, ValueError: for other arguments; of the methods also for a level with more or
            less noise than the denoiser's schedule has.
    """

    def __init__(self, denoiser: Denoiser, schedule: Schedule):
        require_type(denoiser, Denoiser, "denoiser", "a Denoiser; as_denoiser makes one")
        require_type(schedule, Schedule, "schedule", "a Schedule")
        self.denoiser, self.schedule = denoiser, schedule

    def denoise(self, x: Tensor, t: Time) -> Tensor:
        amplitude, noise = levels(self.schedule, x, t)
        time = self._time(torch.atan2(amplitude, noise))
        alpha = self.denoiser.schedule.alpha(time)
        return self.denoiser.denoise(beside(alpha / amplitude, x) * x, time)

    def _time(self, angle: Tensor) -> Tensor:
        """The denoiser's time whose arctan(alpha / sigma) is this, by halving."""
        schedule = self.denoiser.schedule
        least = torch.atan2(*schedule.levels(float(schedule.T)))
        require(
            bool((angle >= least - 1e-12).all()),
            f"t has a level of noise of {float(1 / angle.min().tan()):.4g} times the data, more "
            f"than the denoiser's schedule ends with, {float(1 / least.tan()):.4g}; expected a "
            "time with less",
        )
        low = torch.zeros_like(angle)
        high = torch.full_like(angle, float(schedule.T))
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            noisier = torch.atan2(*schedule.levels(middle)) < angle
            low, high = torch.where(noisier, low, middle), torch.where(noisier, middle, high)
        return high
