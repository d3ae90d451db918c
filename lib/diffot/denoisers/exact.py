"""Denoisers of laws that are known: the best there can be."""

from __future__ import annotations

from torch import Tensor

from diffot.denoisers.denoiser import Denoiser, levels, noisy_levels
from diffot.errors import require_type
from diffot.laws.law import Law, beside
from diffot.processes.schedules import Schedule, Time


class ExactDenoiser(Denoiser):
    r"""The posterior mean :math:`E[x_0 \mid x_t]` of a law (Su & Yang 2025, eq. 7.6).

    At t = 0 it is x itself, if the law has a density.
    """

    def __init__(self, law: Law, schedule: Schedule):
        require_type(law, Law, "law", "a Law, such as a GaussianMixture")
        require_type(schedule, Schedule, "schedule", "a Schedule")
        self.law, self.schedule = law, schedule

    def denoise(self, x: Tensor, t: Time) -> Tensor:
        return self.law.posterior_mean(x, *levels(self.schedule, x, t))

    def noise(self, x: Tensor, t: Time) -> Tensor:
        # in float64: in half precision the score may overflow where the noise does not
        wide = x.double() if isinstance(x, Tensor) else x
        alpha, sigma = noisy_levels(self.schedule, wide, t)
        return (-beside(sigma, wide) * self.law.score(wide, alpha, sigma)).to(x)

    def score(self, x: Tensor, t: Time) -> Tensor:
        return self.law.score(x, *noisy_levels(self.schedule, x, t))

    def prior(self) -> Law:
        """The true law of x_T, in whose place samplers usually take a centered Gaussian."""
        alpha, sigma = self.schedule.levels(self.schedule.T)
        return self.law.marginal(float(alpha), float(sigma))
