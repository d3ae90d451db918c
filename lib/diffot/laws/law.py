r"""What a law of data offers: everything a diffusion asks of it.

A diffusion sees :math:`x = \alpha x_0 + \sigma \varepsilon`, x_0 from the law and
:math:`\varepsilon \sim N(0, I)`. All methods take the two amplitudes, one number for all points
or one for each, and stand for the law itself at :math:`(\alpha, \sigma) = (1, 0)`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from diffot.errors import as_number, as_tensor, require, require_batch

Level = float | Tensor


class Law(ABC):
    """A distribution of points of shape ``shape``.

    Points are tensors (B, *shape); ``alpha`` and ``sigma`` are at least 0 and not both 0, numbers
    or tensors of shape (B,). Results come back in the type and on the device of the points.
    """

    if TYPE_CHECKING:  # read only: some classes keep it, others compute it

        @property
        def shape(self) -> tuple[int, ...]: ...

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n independent points, shape (n, *shape)."""

    @abstractmethod
    def log_prob(self, x: Tensor, alpha: Level = 1.0, sigma: Level = 0.0) -> Tensor:
        """Log density of the noisy points x, in nats, shape (B,)."""

    @abstractmethod
    def posterior_mean(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        r"""The best denoiser in the mean-square sense, :math:`E[x_0 \mid x]`, of x's shape."""

    @abstractmethod
    def posterior_covariance(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        r"""The covariance of x_0 given x, shape (B, d, d), d the number of entries of a point.

        (Su & Yang 2025, eq. 7.8.) The posterior mean has the Jacobian
        :math:`\alpha / \sigma^2` times it (Efron 2011, eq. 2.8, in d dimensions).
        """

    def score(self, x: Tensor, alpha: Level = 1.0, sigma: Level = 0.0) -> Tensor:
        r"""The gradient of the log density at x, shape (B, *shape).

        :math:`(\alpha\, E[x_0 \mid x] - x) / \sigma^2` (Tweedie's formula: Efron 2011, eq. 2.8;
        Su & Yang 2025, eq. 18.5) where a law has none of its own, which needs sigma > 0.
        """
        require_batch(x)
        a, s = levels(len(x), alpha, sigma)
        require(
            bool((s > 0).all()),
            "sigma is 0, and this law has a score only with noise; expected sigma > 0",
        )
        a, s = (beside(level, x) for level in (a, s))
        return (a * self.posterior_mean(x, alpha, sigma) - x) / s**2

    def marginal(self, alpha: float, sigma: float) -> Law:
        """The law of the noisy points."""
        return Marginal(self, alpha, sigma)


class Marginal(Law):
    r"""The law of :math:`\alpha x_0 + \sigma \varepsilon`, x_0 from another law.

    With more noise, :math:`y = a (\alpha x_0 + \sigma \varepsilon) + s \varepsilon'` has
    the other law at :math:`(a \alpha, \sqrt{a^2 \sigma^2 + s^2})` (thesis eqs. 2.15 and 3.12;
    Su & Yang 2025, eq. 1.3), and given x_0 and y the law of x is Gaussian (thesis eqs. 3.33 and
    3.34; Su & Yang 2025, eq. 3.6; Kim & Lee 2024, theorem 2).

    Args:
        law: of x_0.
        alpha, sigma: numbers of at least 0, not both 0.
    """

    def __init__(self, law: Law, alpha: float, sigma: float):
        self.law, self.shape = law, law.shape
        self.alpha = as_number(alpha, "alpha", at_least=0)
        self.sigma = as_number(sigma, "sigma", at_least=0)
        require(
            self.alpha + self.sigma > 0,
            "alpha and sigma are both 0, which is no law; expected one of them above 0",
        )

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        x_0 = self.law.sample(n, generator)
        noise = torch.randn(x_0.shape, dtype=x_0.dtype, generator=generator)
        return self.alpha * x_0 + self.sigma * noise

    def log_prob(self, x: Tensor, alpha: Level = 1.0, sigma: Level = 0.0) -> Tensor:
        return self.law.log_prob(x, *self._together(x, alpha, sigma)[:2])

    def posterior_mean(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        a, s, clean, noisy, _ = self._together(x, alpha, sigma)
        clean, noisy = (beside(factor, x) for factor in (clean, noisy))
        return clean * self.law.posterior_mean(x, a, s) + noisy * x

    def posterior_covariance(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        a, s, clean, _, variance = self._together(x, alpha, sigma)
        of_clean = self.law.posterior_covariance(x, a, s)
        clean, variance = (level.to(x).reshape(-1, 1, 1) for level in (clean, variance))
        return clean**2 * of_clean + variance * torch.eye(math.prod(self.shape)).to(x)

    def score(self, x: Tensor, alpha: Level = 1.0, sigma: Level = 0.0) -> Tensor:
        return self.law.score(x, *self._together(x, alpha, sigma)[:2])

    def _together(self, x: Tensor, alpha: Level, sigma: Level) -> tuple[Tensor, ...]:
        """Both amplitudes in all; and the law of a point of this law given x_0 and x, whose mean
        is ``clean * x_0 + noisy * x``, with its variance."""
        require_batch(x)
        a, s = levels(len(x), alpha, sigma)
        total = a * self.alpha, torch.hypot(a * self.sigma, s)
        noise = total[1] ** 2
        noisy = torch.where(noise > 0, a * self.sigma**2 / noise, 1 / a)
        variance = torch.where(noise > 0, (self.sigma * s) ** 2 / noise, 0 * s)
        return *total, self.alpha * (1 - a * noisy), noisy, variance


def levels(n: int, alpha: Level, sigma: Level) -> tuple[Tensor, Tensor]:
    """Two amplitudes for n points, checked: float64, of no dimension or of shape (n,).

    Raises:
        TypeError, ValueError: for amplitudes out of range or of another shape.
    """
    checked = []
    for name, level in (("alpha", alpha), ("sigma", sigma)):
        level = as_tensor(level, name, torch.float64)
        in_range = (level >= 0) & (level < math.inf)
        if level.shape not in ((), (n,)) or not bool(in_range.all()):
            raise ValueError(
                f"{name} is {level.tolist()!s:.60} for {n} points; expected one finite number of "
                "at least 0, or one for each point"
            )
        checked.append(level)
    require(
        bool((checked[0] + checked[1] > 0).all()),
        "alpha and sigma are both 0; expected one of them above 0",
    )
    return checked[0], checked[1]


def beside(level: Tensor, x: Tensor) -> Tensor:
    """An amplitude of no dimension or of shape (B,), shaped to multiply x of shape (B, *d), in
    its type and on its device."""
    if level.ndim:
        level = level.reshape(-1, *[1] * (x.ndim - 1))
    return level.to(x.device, x.dtype)
