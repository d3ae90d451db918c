r"""Schedules: how data become noise.

A diffusion process mixes data and Gaussian noise (Ho et al. 2020, eq. 4; Song et al. 2021b,
eq. 29; thesis eqs. 3.16 and 3.17; Su & Yang 2025, eq. 1.5; Kim & Lee 2024, eq. 19),

.. math:: x_t = \alpha_t x_0 + \sigma_t \varepsilon, \qquad \varepsilon \sim N(0, I), \quad
          0 \le t \le T,

and a schedule says :math:`(\alpha_t, \sigma_t)`: nothing but data at t = 0, and from there on a
falling ratio :math:`\alpha_t / \sigma_t`. Three kinds differ in what else they keep: the variance
(:class:`VariancePreserving`), the data's amplitude (:class:`VarianceExploding`), or their sum
(:class:`Rectified`, on whose straight lines rectified flow and flow matching run). In
:math:`z = x / \sigma`, :math:`r = \alpha / \sigma` the probability flow is
:math:`dz / dr = E[x_0 \mid x_t]` for all of them: the map from noise to data depends on the ratio
alone.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from diffot.errors import (
    as_number,
    as_tensor,
    as_whole_number,
    require,
    require_generator,
    require_same_shape,
    require_type,
)

Time = float | Tensor


class Schedule(ABC):
    """Amplitudes of data and noise at real times t in [0, T].

    ``name`` and ``parameters`` say what it was made with; ``longest_path`` is the largest number
    of steps that a path may have, None if there is none.
    """

    name: str
    if TYPE_CHECKING:  # read only: some classes keep these, others compute them

        @property
        def parameters(self) -> dict: ...
        @property
        def T(self) -> float: ...

    @property
    def longest_path(self) -> int | None:
        """None: a path may have any number of steps."""
        return None

    @abstractmethod
    def _levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(alpha, sigma) at times known to lie in [0, T], float64 of the shape of t."""

    @abstractmethod
    def _rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Their derivatives at such times."""

    @abstractmethod
    def _time(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The times with these ratios alpha / sigma, float64, up to rounding at T."""

    @abstractmethod
    def _path(self, steps: int) -> Tensor:
        """The times of so many steps from T down to 0, float64 of shape (steps+1,)."""

    @abstractmethod
    def _draw(self, n: int, generator: torch.Generator) -> Tensor:
        """n times to train at."""

    @abstractmethod
    def _network_time(self, t: Tensor) -> Tensor:
        """Where on the way from data to noise such times are, as a network is told it."""

    def levels(self, t: Time) -> tuple[Tensor, Tensor]:
        r"""Amplitudes :math:`\alpha_t` of the data and :math:`\sigma_t` of the noise, float64 of
        the shape of ``t``.

        Raises:
            ValueError: if a time lies outside [0, T] or is not a number.
        """
        return self._levels(self._checked(t))

    def alpha(self, t: Time) -> Tensor:
        """The first of the :meth:`levels`."""
        return self.levels(t)[0]

    def sigma(self, t: Time) -> Tensor:
        """The second of the :meth:`levels`."""
        return self.levels(t)[1]

    def rates(self, t: Time) -> tuple[Tensor, Tensor]:
        r"""The derivatives :math:`\dot\alpha_t, \dot\sigma_t`, float64 of the shape of ``t``.

        Raises:
            ValueError: as :meth:`levels`.
        """
        return self._rates(self._checked(t))

    def sde(self, t: Time) -> tuple[Tensor, Tensor]:
        r"""The coefficients f and g^2 of the diffusion :math:`dx = f x\,dt + g\,dW`.

        .. math:: f = \dot\alpha / \alpha, \qquad
                  g^2 = 2 \sigma (\dot\sigma - \sigma \dot\alpha / \alpha)

        (Song et al. 2021b, eqs. 5 and 29, solved for f and g; Su & Yang 2025, eq. 5.21). Where
        the variance is preserved, :math:`f = -g^2 / 2` (Song et al. 2021b, eq. 11; Khrulkov et
        al. 2023, eq. 5). Both are infinite where no data are left.

        Returns:
            float64, of the shape of ``t``.

        Raises:
            ValueError: as :meth:`levels`.
        """
        t = self._checked(t)
        (alpha, sigma), (alpha_rate, sigma_rate) = self._levels(t), self._rates(t)
        pull = alpha_rate / alpha
        return pull, 2 * sigma * (sigma_rate - sigma * pull)

    def time_of(self, alpha: Time, sigma: Time) -> Tensor:
        r"""The time at which :math:`\alpha_t / \sigma_t` is ``alpha / sigma``, float64: the
        inverse of :meth:`levels`, for amplitudes of any common unit.

        Args:
            alpha, sigma: amplitudes of data and noise, at least 0 and not both 0, of one shape.

        Raises:
            TypeError: if they are no numbers.
            ValueError: for other values, and for more noise than the schedule ends with.
        """
        alpha, sigma = (
            as_tensor(level, name, torch.float64)
            for level, name in ((alpha, "alpha"), (sigma, "sigma"))
        )
        require_same_shape(alpha, sigma, ("alpha", "sigma"))
        require(
            bool(((alpha >= 0) & (sigma >= 0) & (alpha + sigma > 0)).all()),
            f"alpha is {alpha.min():.6g} at least, and sigma {sigma.min():.6g}; expected "
            "amplitudes of 0 or more, one of the two above it",
        )
        least = torch.atan2(*self.levels(float(self.T))).to(alpha.device)
        angle = torch.atan2(alpha, sigma)
        require(
            bool((angle >= least - 1e-12).all()),
            f"noise is {float(1 / angle.min().tan()):.4g} times the data, more than the "
            f"{float(1 / least.tan()):.4g} times with which the schedule {self.name} ends; "
            "expected less",
        )
        return self._time(alpha, sigma).clamp(max=float(self.T))

    def network_time(self, t: Time) -> Tensor:
        """What a network is told of a time, float64 in [0, 1], of the shape of ``t``.

        Raises:
            ValueError: as :meth:`levels`.
        """
        return self._network_time(self._checked(t))

    def draw_times(self, n: int, generator: torch.Generator) -> Tensor:
        """Random times to train at, shape (n,); the law is said with each kind of schedule."""
        n = as_whole_number(n, "n", least=1)
        require_generator(generator)
        return self._draw(n, generator)

    def timesteps(self, steps: int | Sequence[float]) -> Tensor:
        """The decreasing times that a sampler visits, float64.

        Args:
            steps: a number of steps from T down to 0, spaced as is usual for the schedule; or
                the times themselves, strictly decreasing in [0, T].

        Returns:
            Shape (steps+1,).

        Raises:
            ValueError: if the count or a time is out of range, or the times do not decrease.
        """
        if not isinstance(steps, Sequence) and not getattr(steps, "ndim", 0):
            return self._path(as_whole_number(steps, "steps", 1, self.longest_path))
        times = as_tensor(steps, "steps", torch.float64)
        require(
            times.ndim == 1
            and len(times) >= 2
            and bool((times[1:] < times[:-1]).all())
            and bool(times[-1] >= 0)
            and bool(times[0] <= self.T),
            f"steps are the times {times.tolist()!s:.60}, which form no path; expected at least "
            f"two strictly decreasing numbers between T = {self.T} and 0, or a whole number of "
            "steps",
        )
        return times

    @property
    def prior_signal(self) -> float:
        r"""The data's part of the amplitude at time T,
        :math:`\alpha_T / \sqrt{\alpha_T^2 + \sigma_T^2}`, in [0, 1).

        Sampling starts from :math:`N(0, s^2 I)`, s being the :attr:`prior_scale`, which is the
        law of x_T only where this is zero.
        """
        return float(self.alpha(self.T)) / self.prior_scale

    @property
    def prior_scale(self) -> float:
        r"""Standard deviation :math:`\sqrt{\alpha_T^2 + \sigma_T^2}` of x_T for data whose own
        is 1."""
        return math.hypot(*(float(level) for level in self.levels(self.T)))

    def _checked(self, t: Time) -> Tensor:
        # samplers ask for one time at every step: a shortcut
        if type(t) in (int, float) and 0 <= t <= self.T:
            return torch.tensor(t, dtype=torch.float64)
        t = as_tensor(t, "t", torch.float64)
        if not bool(((t >= 0) & (t <= self.T)).all()):
            raise ValueError(
                f"t runs from {t.min():.6g} to {t.max():.6g}, outside the schedule; expected "
                f"times between 0 and T = {self.T}"
            )
        return t


@dataclass(frozen=True, eq=False)
class VariancePreserving(Schedule):
    r"""Amplitudes with :math:`\alpha_t^2 + \sigma_t^2 = 1`, from a table of T steps.

    Args:
        name, parameters: the family, e.g. ``"scaled_linear"``, and what it was called with.
        alpha_bar: :math:`\bar\alpha_t = \alpha_t^2`, float64, shape (T+1,), strictly decreasing
            in (0, 1], ``alpha_bar[0] == 1``.

    Between two whole numbers the log signal-to-noise ratio
    :math:`\log \bar\alpha_t / (1 - \bar\alpha_t)` is interpolated linearly; between 0 and 1,
    where it is infinite at 0, the variance :math:`1 - \bar\alpha_t` is. Networks are trained at
    times drawn uniformly from 1, ..., T, and told t/T, at least 1/T; between these times they
    interpolate. Paths visit whole numbers, (almost) equally far apart.

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
    def longest_path(self) -> int:
        """Paths visit whole times."""
        return self.T

    def levels(self, t: Time) -> tuple[Tensor, Tensor]:
        # as they do for one whole time
        if type(t) in (int, float) and 0 <= t <= self.T and t == int(t):
            variance = self.alpha_bar[int(t)]
            return variance.sqrt(), (1 - variance).sqrt()
        return super().levels(t)

    def _levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        table = self.alpha_bar.to(t.device)
        low = t.floor().long().clamp(max=self.T - 1)
        weight = t - low
        start, end = table[low], table[low + 1]
        variance_line = 1 - weight * (1 - end)
        logit_line = torch.sigmoid(torch.lerp(torch.logit(start), torch.logit(end), weight))
        between = torch.where(low == 0, variance_line, logit_line)
        variance = torch.where(weight == 0, start, torch.where(weight == 1, end, between))
        return variance.sqrt(), (1 - variance).sqrt()

    def _rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        table = self.alpha_bar.to(t.device)
        low = t.floor().long().clamp(max=self.T - 1)
        start, end = table[low], table[low + 1]
        alpha, sigma = self._levels(t)
        logit_slope = torch.logit(end) - torch.logit(start)
        change = torch.where(low == 0, end - 1, (alpha * sigma) ** 2 * logit_slope)
        return change / (2 * alpha), -change / (2 * sigma)

    def _time(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        table = self.alpha_bar.to(alpha.device)
        # the shares of noise of times before the first whole one lie on a line
        early = sigma**2 / (alpha**2 + sigma**2) / (1 - table[1])
        noise = -torch.logit(table[1:])  # increases along whole times
        sought = 2 * (sigma.log() - alpha.log())
        high = torch.searchsorted(noise, sought).clamp(1, max(self.T - 1, 1))
        if self.T == 1:
            return early
        start, end = noise[high - 1], noise[high]
        return torch.where(early <= 1, early, high + (sought - start) / (end - start))

    def _path(self, steps: int) -> Tensor:
        return torch.linspace(self.T, 0, steps + 1, dtype=torch.float64).round()

    def _draw(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randint(1, self.T + 1, (n,), generator=generator)

    def _network_time(self, t: Tensor) -> Tensor:
        return t.clamp(min=1) / self.T


@dataclass(frozen=True, eq=False)
class VarianceExploding(Schedule):
    r"""Data that keep their amplitude under growing noise: :math:`\alpha_t = 1, \sigma_t = t`.

    (Song et al. 2021b, section 3.4; Su & Yang 2025, eq. 12.13; in the time of Karras et al. 2022,
    eq. 5, whose spacing of paths it has: :math:`t^{1/7}` falls in equal steps from T to
    ``least``, and then to 0.)
    Networks are trained at times whose logarithm is uniform between that of ``least`` and of T,
    and told where it lies between them.

    Args:
        T: largest standard deviation of the noise; data should be small beside it.
        least: standard deviation of the noise at the last time but one of a path, below T.

    Raises:
        ValueError: for values out of range.
    """

    T: float = 80.0
    least: float = 0.002

    name = "exploding"

    def __post_init__(self):
        least = as_number(self.least, "least", above=0)
        object.__setattr__(self, "T", as_number(self.T, "T", above=least))
        object.__setattr__(self, "least", least)

    @property
    def parameters(self) -> dict:
        """What the schedule was made with."""
        return {"T": self.T, "least": self.least}

    def _levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), t.clone()

    def _rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(t), torch.ones_like(t)

    def _time(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return sigma / alpha

    def _path(self, steps: int) -> Tensor:
        ends = self.T ** (1 / 7), self.least ** (1 / 7)
        line = torch.linspace(*ends, steps, dtype=torch.float64) ** 7
        return torch.cat([line.clamp(max=self.T), line.new_zeros(1)])

    def _draw(self, n: int, generator: torch.Generator) -> Tensor:
        weight = torch.rand(n, dtype=torch.float64, generator=generator)
        return self.least * (self.T / self.least) ** weight

    def _network_time(self, t: Tensor) -> Tensor:
        return ((t / self.least).log() / math.log(self.T / self.least)).clamp(min=0)


@dataclass(frozen=True, eq=False)
class Rectified(Schedule):
    r"""Straight lines from data to noise: :math:`\alpha_t = 1 - t, \sigma_t = t`, T = 1.

    (Liu et al. 2023, eq. 1; Lipman et al. 2023, section 4.1; their time runs from noise to data.
    In Su & Yang 2025, eq. 15.16, it runs as here.)
    Networks are trained at times drawn uniformly from (0, 1] and told t; paths visit equally
    distant times.
    """

    name = "rectified"
    T = 1.0

    @property
    def parameters(self) -> dict:
        """None: there is one such schedule."""
        return {}

    def _levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - t, t.clone()

    def _rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return -torch.ones_like(t), torch.ones_like(t)

    def _time(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return sigma / (alpha + sigma)

    def _path(self, steps: int) -> Tensor:
        return torch.linspace(1, 0, steps + 1, dtype=torch.float64)

    def _draw(self, n: int, generator: torch.Generator) -> Tensor:
        return 1 - torch.rand(n, dtype=torch.float64, generator=generator)

    def _network_time(self, t: Tensor) -> Tensor:
        return t.clone()


def _from_betas(name: str, parameters: dict, betas: Tensor) -> VariancePreserving:
    require(
        bool(((betas > 0) & (betas < 1)).all()),
        f"{name}({parameters}) gives variances beta_t between {betas.min():.6g} and "
        f"{betas.max():.6g}; every beta_t must lie strictly between 0 and 1",
    )
    one = torch.ones(1, dtype=torch.float64)
    return VariancePreserving(name, parameters, torch.cat([one, torch.cumprod(1 - betas, 0)]))


def linear(T: int = 1000, beta_1: float = 1e-4, beta_T: float = 0.02) -> VariancePreserving:
    r"""Variances on a line from beta_1 to beta_T (Ho et al. 2020, section 4).

    They are those of single steps, :math:`x_t = \sqrt{1 - \beta_t}\, x_{t-1} + \sqrt{\beta_t}\,
    \varepsilon` (thesis eqs. 3.8 and 3.10; Khrulkov et al. 2023, eq. 1; Kim & Lee 2024, eq. 17),
    so that :math:`\bar\alpha_t = \prod_{s \le t} (1 - \beta_s)` (thesis eqs. 3.15 and 3.16).
    """
    parameters = _checked(T, beta_1, beta_T)
    betas = torch.linspace(beta_1, beta_T, parameters["T"], dtype=torch.float64)
    return _from_betas("linear", parameters, betas)


def scaled_linear(
    T: int = 1000, beta_1: float = 8.5e-4, beta_T: float = 0.012
) -> VariancePreserving:
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


def cosine(T: int = 1000) -> VariancePreserving:
    r"""Squared-cosine signal (Nichol & Dhariwal 2021, eq. 17).

    :math:`\bar\alpha_t = f(t)/f(0)`, :math:`f(t) = \cos^2\frac{\pi (t/T + s)}{2 (1 + s)}`,
    s = 0.008, with beta_t capped at 0.999.
    """
    T = as_whole_number(T, "T", least=1)
    s = 0.008
    t = torch.arange(T + 1, dtype=torch.float64) / T
    f = torch.cos((t + s) / (1 + s) * math.pi / 2) ** 2
    return _from_betas("cosine", {"T": T}, (1 - f[1:] / f[:-1]).clamp(max=0.999))
