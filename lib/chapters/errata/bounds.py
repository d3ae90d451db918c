r"""Chapter 16 of the notes "Topics on diffusion generative models": errors of the score bound W2
(Kwon, Fan and Lee 2022).

Each function measures one formula as it is printed and as it should be, as in
:mod:`chapters.errata.guidance`. An :class:`Errors` of an inequality holds by how much it fails,
0 if it does not. Everything is Gaussian on a line: data N(0, v), noise by
:math:`dx = -\frac12 x\, dt + dw` until T = 4, and a model whose score is a multiple of the exact
one plus a constant, so that its drift back is :math:`a_t x + b_t`, whose one-sided constant is
:math:`-a_t` (time runs down), or :math:`a_t` with the sign that is printed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.integrate import quad, solve_ivp

from chapters.errata import chain
from chapters.errata.guidance import Errors

_END = 4.0  # T
_FLOW, _DIFFUSION = 0.5, 1.0  # of g^2, before the score


@dataclass(frozen=True)
class _Model:
    """A model of the score of noisy data from N(0, variance): scale times it, plus a shift."""

    variance: float
    scale: float
    shift: float
    share: float  # of g^2 before the score in the drift: 1/2 in the flow, 1 in the diffusion

    def noisy(self, t: float) -> float:
        """Variance of noisy data."""
        return 1 + (self.variance - 1) * math.exp(-t)

    def slope(self, t: float) -> float:
        return -0.5 + self.share * self.scale / self.noisy(t)

    def exact_slope(self, t: float) -> float:
        return -0.5 + self.share / self.noisy(t)

    def constant(self) -> float:
        return -self.share * self.shift

    def rates(self, t: float, state: np.ndarray) -> list[float]:
        """Of mean and variance of what the model draws, and of the integral of the slope."""
        mean, variance, _ = state
        slope, noise = self.slope(t), 2 * self.share - 1  # no noise in the flow
        return [slope * mean + self.constant(), 2 * slope * variance - noise, slope]

    def drawn(self) -> Callable[[float], np.ndarray]:
        """Mean, variance, and the integral of the slope from T, at any time."""
        start = [0.0, self.noisy(_END), 0.0]
        solution = solve_ivp(
            self.rates, (_END, 0), start, "DOP853", dense_output=True, rtol=1e-12, atol=1e-13
        )
        return solution.sol

    def score_error(self, t: float) -> float:
        """Root mean square error of the score over noisy data."""
        return math.hypot((self.scale - 1) / math.sqrt(self.noisy(t)), self.shift)


def sign_of_the_constant() -> Errors:
    r"""(16.10), for the flow: where the differential equation is solved from T to 0, the
    condition is :math:`-(g_t(x) - g_t(y)) \cdot (x - y) \le L_t \|x - y\|^2`; printed is no
    minus. By how much W2 is above the bound (16.17). (With the plus it is right for the other
    sign of (16.13), and both hold if L bounds the absolute value.)"""
    model = _Model(4.0, 1.2, 0.2, _FLOW)
    return Errors(*(_excess(model, sign) for sign in (1, -1)))


def bound_for_the_diffusion() -> Errors:
    r"""(16.1), with (16.10): the same for the diffusion, with the factor :math:`g_t^2` of (16.1).
    Two paths with the same Brownian motion differ by something without noise, so that the
    derivation for the flow holds for the diffusion too, which section 16.5 doubts."""
    model = _Model(30.0, 1.2, 0.2, _DIFFUSION)
    return Errors(*(_excess(model, sign) for sign in (1, -1)))


def factor_of_the_score() -> Errors:
    r"""Section 16.4: with the drifts of the flow (16.20) has the factor :math:`g_t^2 / 2`;
    printed is that it becomes (16.1), with :math:`g_t^2`. Difference of the integral from that of
    (16.20), where the mean square of the difference of both drifts is taken by quadrature."""
    model = _Model(4.0, 1.2, 0.2, _FLOW)
    nodes, weight = chain.normal_rule(20)
    weights = _growth(model, -1)

    def difference(t: float) -> float:
        x = math.sqrt(model.noisy(t)) * nodes
        drifts = model.exact_slope(t) * x - model.slope(t) * x - model.constant()
        return weights(t) * math.sqrt(float(weight @ drifts**2))

    exact = _integral(difference)
    terms = (_integral(lambda t, f=f: f * weights(t) * model.score_error(t)) for f in (1, 0.5))
    return Errors(*(abs(term - exact) for term in terms))


def second_argument() -> Errors:
    r"""(16.13), last two lines, to (16.20): both drifts are taken at :math:`x_t`; printed is
    :math:`g_t(y_t)`. By how much the distance of the paths is above (16.18), for data N(0, 0.1),
    where the way back contracts."""
    model = _Model(0.1, 3.0, 1.0, _FLOW)
    weights, drawn = _growth(model, -1), model.drawn()

    def apart(t: float) -> float:  # x = k z and y = m + s z, with one z from N(0, 1)
        mean, variance, _ = drawn(t)
        slopes = model.exact_slope(t) * math.sqrt(model.noisy(t)), model.slope(t)
        constant = slopes[1] * mean + model.constant()
        return math.hypot(slopes[0] - slopes[1] * math.sqrt(variance), constant)

    distance = _distance(model, 0.0, drawn)
    bounds = (
        _integral(lambda t: weights(t) * apart(t)),
        _integral(lambda t: weights(t) * model.share * model.score_error(t)),
    )
    return Errors(*(max(distance - bound, 0.0) for bound in bounds))


def rate_of_the_distance() -> Errors:
    r"""(16.14): what changes is :math:`\tilde W_2`, and :math:`\tilde W_2` is what L is
    multiplied by; printed is the square of both. Largest amount, over time, by which the
    inequality fails, for a model whose error is large; equality is possible, and rounding is
    left out."""
    model = _Model(4.0, 1.2, 2.0, _FLOW)
    drawn = model.drawn()
    excess = []
    for t in np.linspace(0, _END, 401):
        mean, variance, _ = drawn(t)
        mean_rate, variance_rate, _ = model.rates(t, drawn(t))
        gap = math.sqrt(model.noisy(t)) - math.sqrt(variance)
        gap_rate = model.exact_slope(t) * math.sqrt(model.noisy(t))
        gap_rate -= variance_rate / (2 * math.sqrt(variance))
        square, rate = mean**2 + gap**2, 2 * (mean * mean_rate + gap * gap_rate)
        error, constant = model.share * model.score_error(t), -model.slope(t)
        root = math.sqrt(square)
        root_rate = rate / (2 * root) if root else -error
        excess.append((-rate - error - constant * square, -root_rate - error - constant * root))
    return Errors(*(round(max(float(e), 0.0), 9) for e in np.max(excess, 0)))


CHECKS: dict[str, Callable[[], Errors]] = {
    "(16.1)": bound_for_the_diffusion,
    "(16.10)": sign_of_the_constant,
    "(16.13) to (16.20)": second_argument,
    "(16.14)": rate_of_the_distance,
    "section 16.4": factor_of_the_score,
}


def _growth(model: _Model, sign: int) -> Callable[[float], float]:
    """I_t, the exponential of the integral of sign times the slope from 0 to t."""
    drawn = model.drawn()
    whole = float(drawn(0.0)[2])
    return lambda t: math.exp(sign * (float(drawn(t)[2]) - whole))


def _distance(model: _Model, t: float, drawn: Callable[[float], np.ndarray]) -> float:
    """W2 of noisy data and what the model draws."""
    mean, variance, _ = drawn(t)
    return math.hypot(mean, math.sqrt(model.noisy(t)) - math.sqrt(variance))


def _excess(model: _Model, sign: int) -> float:
    """By how much W2 at t = 0 is above the bound, 0 if it is not."""
    weights = _growth(model, sign)
    bound = _integral(lambda t: model.share * weights(t) * model.score_error(t))
    return max(_distance(model, 0.0, model.drawn()) - bound, 0.0)


def _integral(function: Callable[[float], float]) -> float:
    return quad(function, 0, _END, epsabs=1e-11, epsrel=1e-11)[0]
