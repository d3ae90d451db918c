"""A denoiser on another schedule."""

from __future__ import annotations

from torch import Tensor

from diffot.denoisers.denoiser import Denoiser, levels
from diffot.errors import require_type
from diffot.laws.law import beside
from diffot.processes.schedules import Schedule, Time


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
        time = self.denoiser.schedule.time_of(amplitude, noise)
        alpha = self.denoiser.schedule.alpha(time)
        return self.denoiser.denoise(beside(alpha / amplitude, x) * x, time)
