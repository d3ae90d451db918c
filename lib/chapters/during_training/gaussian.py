r"""The bound on W2 by errors of the score where both sides are known: Gaussians on the line.

Su & Yang (2025, section 16) derive the bound of Kwon, Fan & Lee (2022): for data from p_0 and
what a model with the score :math:`\hat s` draws, q_0,

.. math:: W_2(p_0, q_0) \le \int_0^T c_t\, I_t\, \big(E_{p_t} \|\nabla \log p_t - \hat s\|^2
          \big)^{1/2} dt + I_T W_2(p_T, q_T), \qquad I_t = \exp \int_0^t L_s\, ds .

Here :math:`c_t = g_t^2 / 2` and F is the velocity :math:`f - g^2 \hat s / 2` for the flow;
:math:`c_t = g_t^2` and F is the drift :math:`f - g^2 \hat s` for the diffusion run backwards,
where two paths with the same Brownian motion differ by something without noise. Time runs down,
so that L is a number with :math:`-(F_t(x) - F_t(y)) \cdot (x - y) \le L_t \|x - y\|^2`. (Printed
there are g^2 for both in eq. 16.1, and the opposite sign in eq. 16.10.)

Where alpha = 1 and the noise is s, F is :math:`-s \hat s = \hat\varepsilon` for the flow, twice
that for the diffusion, and ds takes the place of dt.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.integrate import quad
from torch import Tensor

from diffot.errors import as_number, require, require_points, require_type
from diffot.laws.mixtures import GaussianMixture


@dataclass(frozen=True)
class Bounded:
    """A distance W2 and an upper bound on it."""

    distance: float
    bound: float

    @property
    def ratio(self) -> float:
        """Distance over bound: 1 if the bound is tight, above 1 if it is none; NaN if both are 0,
        for a model without error."""
        return self.distance / self.bound if self.bound else math.nan


@dataclass(frozen=True)
class WrongGaussian:
    r"""The exact denoiser of N(mean, model_variance) for data from N(0, variance).

    Both sides start from the law of noisy data at the noise S, :math:`N(0, v + S^2)`. With w the
    model's variance, and :math:`a = m \sqrt{w / (w + s^2)}` and :math:`b = \sqrt{w (v + s^2) /
    (w + s^2)}` the mean and standard deviation of what the model's flow makes of noisy data at
    the noise s (a up to sign and origin), the bound for the flow is the length of this curve
    from s = 0 to S, and W2 is its chord. The curve lies on the conic
    :math:`b^2 + (w - v) a^2 / m^2 = w`.
    """

    variance: float
    mean: float
    model_variance: float
    noise: float

    def __post_init__(self):
        for name in ("variance", "model_variance", "noise"):
            object.__setattr__(self, name, as_number(getattr(self, name), name, above=0))
        object.__setattr__(self, "mean", as_number(self.mean, "mean"))

    def flow(self) -> Bounded:
        """What the probability flow draws."""
        w, end = self.model_variance, self.model_variance + self.noise**2
        mean = self.mean * (1 - math.sqrt(w / end))
        deviation = math.sqrt(w * (self.variance + self.noise**2) / end)
        return self._bounded(mean, deviation, 1)

    def diffusion(self) -> Bounded:
        """What the diffusion run backwards draws, with its noise."""
        w, end = self.model_variance, self.model_variance + self.noise**2
        mean = self.mean * (1 - w / end)
        variance = w + (self.variance - w) * (w / end) ** 2
        return self._bounded(mean, math.sqrt(variance), 2)

    def _bounded(self, mean: float, deviation: float, factor: int) -> Bounded:
        """For the drift that is so many times the noise."""
        v, w = self.variance, self.model_variance

        def rate(s: float) -> float:
            slope = math.sqrt(v + s**2) * (s / (v + s**2) - s / (w + s**2))
            error = math.hypot(slope, self.mean * s / (w + s**2))
            return factor * error * (w / (w + s**2)) ** (factor / 2)

        distance = math.hypot(mean, deviation - math.sqrt(v))
        return Bounded(distance, _integral(rate, self.noise))


@dataclass(frozen=True)
class ScaledScore:
    r"""A score that is off by a factor and a shift, :math:`\hat s = c \nabla \log p_t + h`.

    Data come from N(0, variance) and are diffused by :math:`dx = -x/2\, dt + dW` until ``time``;
    both flows start from their law there.
    """

    variance: float
    factor: float
    shift: float
    time: float

    def __post_init__(self):
        for name in ("variance", "time"):
            object.__setattr__(self, name, as_number(getattr(self, name), name, above=0))
        for name in ("factor", "shift"):
            object.__setattr__(self, name, as_number(getattr(self, name), name))

    def corrected(self) -> Bounded:
        """With the sign and the constant of the derivation."""
        return self._bounded(lambda growth: 0.5 / growth)

    def printed(self, constant: float) -> Bounded:
        """With the sign of eq. 16.10; the constant is 1 in eq. 16.1, and 1/2 for a flow."""
        return self._bounded(lambda growth: constant * growth)

    def _bounded(self, weight: Callable[[float], float]) -> Bounded:
        """With a function of exp of the integral of F's slope from 0 to t."""
        v, c, h = self.variance, self.factor, self.shift

        def variance(t: float) -> float:
            return 1 + (v - 1) * math.exp(-t)

        def growth(t: float) -> float:
            return math.exp((c - 1) * t / 2) * (variance(t) / v) ** (c / 2)

        def rate(t: float) -> float:
            return weight(growth(t)) * math.hypot((c - 1) / math.sqrt(variance(t)), h)

        mean = _integral(lambda t: h / 2 / growth(t), self.time)
        deviation = math.sqrt(variance(self.time)) / growth(self.time)
        distance = math.hypot(mean, deviation - math.sqrt(v))
        return Bounded(distance, _integral(rate, self.time))


def stretch_digits(law: GaussianMixture, point: Tensor, noise: float) -> float:
    r"""The factor :math:`I_T` of the bound for the exact denoiser of a mixture, from below.

    .. math:: \log I = \int_0^S L\, ds, \qquad L = \sup_x \lambda_{\max} \Big(
              -\frac{\partial \hat\varepsilon}{\partial x} \Big)
              \ge \frac{1}{s} \Big(\frac{\lambda_{\max} (\operatorname{Cov}[x_0 | x])}{s^2} - 1
              \Big)

    at any point, with alpha = 1. At the point between two modes it grows until the noise is as
    small as the modes: for two alone, of variance v and 2m apart, with :math:`V = v + S^2`, to
    :math:`\sqrt{v / V}\, \exp (m^2 (1/v - 1/V) / 2)`.

    Args:
        point: where to look, shape (1, d). noise: S, from which the flow starts.

    Returns:
        The decimal logarithm of I.
    """
    require_type(law, GaussianMixture, "law", "a GaussianMixture")
    require_points(point, law.dim, "point")
    noise = as_number(noise, "noise", above=0)

    def rate(log_noise: float) -> float:
        s = math.exp(log_noise)
        covariance = law.posterior_covariance(point.double(), 1.0, s)
        return float(torch.linalg.eigvalsh(covariance)[0, -1]) / s**2 - 1

    # where the noise is a thousandth of the smallest mode, L ds is 1e-6 of d log s
    least = 1e-3 * float(torch.linalg.eigvalsh(law.covariances).min().sqrt())
    require(noise > least, f"noise is {noise}; expected more than {least:.3g}")
    return _integral(rate, math.log(noise), math.log(least)) / math.log(10)


def _integral(function: Callable[[float], float], end: float, start: float = 0.0) -> float:
    return quad(function, start, end, limit=500, epsabs=1e-10, epsrel=1e-10)[0]
