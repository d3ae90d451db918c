r"""Noise schedules: how much of the data is left after t steps of diffusion.

A diffusion mixes data and Gaussian noise (Ho et al. 2020, eq. 4; thesis eq. 3.17):

.. math:: x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \varepsilon,
          \qquad \varepsilon \sim N(0, I),

so that a schedule is nothing but the sequence :math:`\bar\alpha_0 = 1 > \bar\alpha_1 > \dots`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffot.errors import as_number, as_tensor, as_whole_number, require, require_type

Time = float | Tensor


@dataclass(frozen=True, eq=False)
class Schedule:
    r"""The noise levels of a diffusion with T steps.

    Args:
        name: the family, e.g. ``"scaled_linear"``.
        parameters: what the family was called with; ``name`` and ``parameters`` rebuild it.
        alpha_bar: float64, shape (T+1,), strictly decreasing in (0, 1], ``alpha_bar[0] == 1``.

    Times are real numbers in [0, T]. Between two integers the log signal-to-noise ratio
    :math:`\log \bar\alpha_t / (1 - \bar\alpha_t)` is interpolated linearly; between 0 and 1,
    where it is infinite at 0, the variance :math:`1 - \bar\alpha_t` is.

    Raises:
        ValueError: if ``alpha_bar`` is not such a sequence.
    """

    name: str
    parameters: dict
    alpha_bar: Tensor = field(repr=False)

    def __post_init__(self):
        a = self.alpha_bar
        require_type(self.name, str, "name", "the name of the family")
        require_type(a, Tensor, "alpha_bar", "a float64 tensor of shape (T+1,)")
        require(
            a.ndim == 1 and len(a) >= 2 and a.dtype == torch.float64,
            f"alpha_bar has shape {tuple(a.shape)} and type {a.dtype}; "
            "expected float64 of shape (T+1,) with T >= 1",
        )
        require(
            bool((a[0] == 1) & (a[1:] < a[:-1]).all() & (a[-1] > 0)),
            f"alpha_bar runs from {a[0]:.6g} to {a[-1]:.6g}; "
            "it must start at exactly 1, decrease strictly and stay above 0",
        )

    @property
    def T(self) -> int:
        """Number of diffusion steps."""
        return len(self.alpha_bar) - 1

    @property
    def prior_signal(self) -> float:
        r"""Share of the data's amplitude left at time T, :math:`\sqrt{\bar\alpha_T}` in (0, 1).

        Sampling starts from N(0, I), which is the law of x_T only where this is zero.
        """
        return math.sqrt(self.alpha_bar[-1])

    def alpha_bar_at(self, t: Time) -> Tensor:
        r"""Signal variance :math:`\bar\alpha_t`, float64 in (0, 1], of the shape of ``t``.

        Raises:
            ValueError: if a time lies outside [0, T] or is not a number.
        """
        # samplers ask for one whole time at every step: look it up at once
        if type(t) in (int, float) and 0 <= t <= self.T and t == int(t):
            return self.alpha_bar[int(t)].clone()
        t = as_tensor(t, "t", torch.float64)
        if not bool(((t >= 0) & (t <= self.T)).all()):
            raise ValueError(
                f"t runs from {t.min():.6g} to {t.max():.6g}, outside the schedule; expected "
                f"times between 0 and T = {self.T}"
            )
        table = self.alpha_bar.to(t.device)
        low = t.floor().long().clamp(max=self.T - 1)
        share = t - low
        start, end = table[low], table[low + 1]
        variance_line = 1 - share * (1 - end)
        logit_line = torch.sigmoid(torch.lerp(torch.logit(start), torch.logit(end), share))
        between = torch.where(low == 0, variance_line, logit_line)
        return torch.where(share == 0, start, torch.where(share == 1, end, between))

    def alpha(self, t: Time) -> Tensor:
        r"""Signal amplitude :math:`\sqrt{\bar\alpha_t}`, float64, of the shape of ``t``."""
        return self.alpha_bar_at(t).sqrt()

    def sigma(self, t: Time) -> Tensor:
        r"""Noise amplitude :math:`\sqrt{1 - \bar\alpha_t}`, float64, of the shape of ``t``."""
        return (1 - self.alpha_bar_at(t)).sqrt()


def _from_betas(name: str, parameters: dict, betas: Tensor) -> Schedule:
    require(
        bool(((betas > 0) & (betas < 1)).all()),
        f"{name}({parameters}) gives variances beta_t between {betas.min():.6g} and "
        f"{betas.max():.6g}; every beta_t must lie strictly between 0 and 1",
    )
    one = torch.ones(1, dtype=torch.float64)
    return Schedule(name, parameters, torch.cat([one, torch.cumprod(1 - betas, 0)]))


def linear(T: int = 1000, beta_1: float = 1e-4, beta_T: float = 0.02) -> Schedule:
    r"""Variances on a line from beta_1 to beta_T (Ho et al. 2020, section 4).

    :math:`\bar\alpha_t = \prod_{s \le t} (1 - \beta_s)` (thesis eq. 3.16).
    """
    parameters = _checked(T, beta_1, beta_T)
    betas = torch.linspace(beta_1, beta_T, parameters["T"], dtype=torch.float64)
    return _from_betas("linear", parameters, betas)


def scaled_linear(T: int = 1000, beta_1: float = 8.5e-4, beta_T: float = 0.012) -> Schedule:
    r"""Standard deviations :math:`\sqrt{\beta_t}` on a line (Rombach et al. 2022; thesis 4.1)."""
    parameters = _checked(T, beta_1, beta_T)
    ends = math.sqrt(beta_1), math.sqrt(beta_T)
    betas = torch.linspace(*ends, parameters["T"], dtype=torch.float64) ** 2
    return _from_betas("scaled_linear", parameters, betas)


def _checked(T: int, beta_1: float, beta_T: float) -> dict:
    return {
        "T": as_whole_number(T, "T", least=1),
        "beta_1": as_number(beta_1, "beta_1", above=0, below=1),
        "beta_T": as_number(beta_T, "beta_T", above=0, below=1),
    }


def cosine(T: int = 1000) -> Schedule:
    r"""Squared-cosine signal (Nichol & Dhariwal 2021, eq. 17).

    :math:`\bar\alpha_t = f(t)/f(0)`, :math:`f(t) = \cos^2\frac{\pi (t/T + s)}{2 (1 + s)}`,
    s = 0.008, with beta_t capped at 0.999.
    """
    T = as_whole_number(T, "T", least=1)
    s = 0.008
    t = torch.arange(T + 1, dtype=torch.float64) / T
    f = torch.cos((t + s) / (1 + s) * math.pi / 2) ** 2
    return _from_betas("cosine", {"T": T}, (1 - f[1:] / f[:-1]).clamp(max=0.999))


FAMILIES = {"linear": linear, "scaled_linear": scaled_linear, "cosine": cosine}


def timesteps(schedule: Schedule, steps: int | Sequence[float]) -> Tensor:
    """The decreasing times that a sampler visits, float64.

    Args:
        steps: a number of steps between 1 and T, for that many (almost) equal whole-number
            steps from T down to 0; or the times themselves, strictly decreasing in [0, T].

    Returns:
        Shape (steps+1,). For a count, neighbors differ by ``T/steps`` rounded up or down.

    Raises:
        ValueError: if the count or a time is out of range, or the times do not decrease.
    """
    require_type(schedule, Schedule, "schedule", "a Schedule")
    T = schedule.T
    if not isinstance(steps, Sequence) and not getattr(steps, "ndim", 0):
        steps = as_whole_number(steps, "steps", least=1, most=T)
        return torch.linspace(T, 0, steps + 1, dtype=torch.float64).round()
    times = as_tensor(steps, "steps", torch.float64)
    require(
        times.ndim == 1
        and len(times) >= 2
        and bool((times[1:] < times[:-1]).all())
        and times[-1] >= 0
        and times[0] <= T,
        f"steps are the times {times.tolist()!s:.60}, which form no path; expected at least two "
        f"strictly decreasing numbers between T = {T} and 0, or a whole number of steps",
    )
    return times
