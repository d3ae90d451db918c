"""The uniform law on a box."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from diffot.errors import (
    as_tensor,
    as_whole_number,
    require,
    require_finite,
    require_generator,
    require_points,
)
from diffot.laws.law import Law, Level, levels

_NODES, _WEIGHTS = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(40))
_WIDE = 6.0  # standard deviations of noise in the box, up to which quadrature is exact


class UniformBox(Law):
    r"""Points that are equally likely everywhere in a box, coordinate by coordinate.

    Given a noisy point, a coordinate of x_0 has the normal law with mean :math:`x / \alpha` and
    standard deviation :math:`\sigma / \alpha`, cut off at the sides of the box (Johnson, Kotz &
    Balakrishnan 1994, section 10.1). Where the noise is wider than a sixth of the box its moments
    are taken by Gauss-Legendre quadrature, which is exact to rounding there and goes on to
    alpha = 0; elsewhere from the normal density and distribution function.

    Args:
        low, high: corners of the box, shape (d,), finite, low < high.
    """

    def __init__(self, low: Sequence[float], high: Sequence[float]):
        self.low, self.high = (
            as_tensor(corner, name, torch.float64)
            for name, corner in (("low", low), ("high", high))
        )
        require(
            self.low.ndim == 1 and self.low.shape == self.high.shape and len(self.low) >= 1,
            f"low and high have shapes {tuple(self.low.shape)} and {tuple(self.high.shape)}; "
            "expected (d,) twice",
        )
        require_finite(self.low, "low")
        require_finite(self.high, "high")
        require(
            bool((self.low < self.high).all()),
            f"low is {self.low.tolist()} and high {self.high.tolist()}; expected low < high",
        )
        self.shape = tuple(self.low.shape)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        n = as_whole_number(n, "n", least=1)
        require_generator(generator)
        draws = torch.rand(n, *self.shape, dtype=torch.float64, generator=generator)
        return torch.lerp(self.low, self.high, draws)

    def log_prob(self, x: Tensor, alpha: Level = 1.0, sigma: Level = 0.0) -> Tensor:
        return self._moments(x, alpha, sigma)[0].sum(1).to(x)

    def posterior_mean(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return self._moments(x, alpha, sigma)[1].to(x)

    def posterior_covariance(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return torch.diag_embed(self._moments(x, alpha, sigma)[2]).to(x)

    def _moments(self, x: Tensor, alpha: Level, sigma: Level) -> tuple[Tensor, Tensor, Tensor]:
        """Log density of each coordinate, and mean and variance of x_0 given it, (B, d) each."""
        require_points(x, len(self.low))
        alpha, sigma = (level.reshape(-1, 1) for level in levels(len(x), alpha, sigma))
        signal, noise, x = torch.broadcast_tensors(alpha, sigma, x.double())
        wide = _WIDE * noise > signal * (self.high - self.low)
        by_nodes = self._quadrature(x, signal, torch.where(wide, noise, 1.0))
        cut_off = self._truncated(x, torch.where(wide, 1.0, signal), noise)
        log_density, mean, variance = (torch.where(wide, a, b) for a, b in zip(by_nodes, cut_off))
        return log_density, mean, variance

    def _quadrature(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, ...]:
        middle, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        x_0 = middle + _NODES[:, None, None] * half
        exponent = -((x - alpha * x_0) ** 2) / (2 * sigma**2)
        log_weights = exponent + (_WEIGHTS / 2).log()[:, None, None]
        log_mass = log_weights.logsumexp(0)
        weights = (log_weights - log_mass).exp()
        mean = (weights * x_0).sum(0)
        variance = (weights * (x_0 - mean) ** 2).sum(0)
        return log_mass - 0.5 * (2 * math.pi * sigma**2).log(), mean, variance

    def _truncated(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, ...]:
        volume = (alpha * (self.high - self.low)).log()
        inside = (alpha * self.low <= x) & (x <= alpha * self.high)
        noise = torch.where(sigma > 0, sigma, 1.0)
        ends = (alpha * self.low - x) / noise, (alpha * self.high - x) / noise
        # both ends on the negative side or around zero, where the logarithms are exact
        mirrored = ends[0] + ends[1] > 0
        low = torch.where(mirrored, -ends[1], ends[0])
        high = torch.where(mirrored, -ends[0], ends[1])
        top = torch.special.log_ndtr(high)
        log_mass = top + torch.log(-torch.expm1(torch.special.log_ndtr(low) - top))
        at_low, at_high = (torch.exp(_log_normal(end) - log_mass) for end in (low, high))
        shift = at_low - at_high
        spread = 1 + low * at_low - high * at_high - shift**2
        mean = (x + torch.where(mirrored, -shift, shift) * noise) / alpha
        exact = sigma == 0
        return (
            torch.where(exact, torch.where(inside, 0.0, -math.inf), log_mass) - volume,
            torch.where(exact, x / alpha, mean).clamp(self.low, self.high),
            torch.where(exact, 0.0, spread.clamp(min=0) * (noise / alpha) ** 2),
        )


def _log_normal(x: Tensor) -> Tensor:
    return -0.5 * x**2 - 0.5 * math.log(2 * math.pi)
