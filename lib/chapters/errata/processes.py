r"""Chapters 10 to 14 of the notes "Topics on diffusion generative models", on other processes.

Each function measures one formula as it is printed and as it should be, as in
:mod:`chapters.errata.guidance`. Where a law is needed, it is N(0, 1/2) spread by heat,
:math:`p_t = N(0, 1/2 + 2t)`, which :math:`f = -\nabla \log p_t` carries, at t = 0.3 and x = 0.8.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy import integrate
from torch import Tensor

from chapters.errata.guidance import Errors

_T, _X, _VARIANCE = 0.3, 0.8, 0.5
_ALPHA, _SIGMA = 0.8, 0.6  # of the noise that is added, in chapters 10 and 11


def law_of_a_guess() -> Errors:
    r"""(10.4): the normal law around :math:`G_t(x_t)` is that of x_0 given x_t; printed is
    :math:`q(x_t | x_0)`. Relative difference of the two densities from that of x_0 given x_t, by
    Bayes' rule with the normalizer by quadrature."""
    guess, x = 0.3, 0.8

    def joint(x_0: float) -> float:
        return _density(x_0, 0.0, _VARIANCE) * _density(x, _ALPHA * x_0, _SIGMA**2)

    exact = joint(guess) / integrate.quad(joint, -10, 10, epsabs=1e-13)[0]
    total = _ALPHA**2 * _VARIANCE + _SIGMA**2
    mean, spread = _ALPHA * _VARIANCE / total * x, _SIGMA**2 * _VARIANCE / total
    forward = _density(x, _ALPHA * guess, _SIGMA**2)
    return Errors(*(abs(d / exact - 1) for d in (forward, _density(guess, mean, spread))))


def split_noise() -> Errors:
    r"""(11.9): the noise :math:`\bar\beta_{t-1} \varepsilon` is split into two parts, with
    :math:`\sigma_t` in both; printed is :math:`\bar\sigma_t`, which is that of the guess in
    (11.7), in one of them. Difference of the variances of the two sides."""
    before, step, guess = 0.6, 0.3, 0.5
    return Errors(*(abs(before**2 - s**2 + step**2 - before**2) for s in (guess, step)))


def change_along_a_path() -> Errors:
    r"""(12.8): no :math:`\Delta t` before :math:`\partial_t \log p`. Difference of the two sides,
    for :math:`\Delta t = 0.1`."""
    t, x = _place()
    by_time, by_place = torch.func.grad(_log_density, (0, 1))(t, x)
    left = -torch.func.grad(_velocity, 1)(t, x)
    right = _velocity(t, x) * by_place
    return Errors(*(abs(float(left - right - step * by_time)) for step in (0.1, 1.0)))


def continuity() -> Errors:
    r"""(12.9): the left side is :math:`\partial_t p`; printed is :math:`\partial_t \log p`.
    Difference of the two sides."""
    t, x = _place()
    right = -torch.func.grad(_flux, 1)(t, x)
    by_time = torch.func.grad(_log_density)(t, x)
    density = _log_density(t, x).exp()
    return Errors(*(abs(float(left - right)) for left in (by_time, density * by_time)))


def partial_derivative() -> Errors:
    r"""(14.2): the derivative is that at a fixed place, :math:`\partial_t`; printed is
    :math:`d / dt`, that along the path. Difference of the two sides."""
    t, x = _place()
    right = -torch.func.grad(_flux, 1)(t, x)
    by_time, by_place = torch.func.grad(lambda t, x: _log_density(t, x).exp(), (0, 1))(t, x)
    along = by_time + _velocity(t, x) * by_place
    return Errors(*(abs(float(left - right)) for left in (along, by_time)))


def prior_radius() -> Errors:
    r"""After (13.5): the exponent of :math:`r^2 + T^2` is -(d + 1)/2; printed is its negative.
    Relative difference of the densities at r = T and 2T from one another's ratio in the law Beta
    of :math:`r^2 / (r^2 + T^2)`, d = 2."""

    def beta(r: float) -> float:
        share = r**2 / (r**2 + 1)  # Beta(1, 1/2), up to a constant
        return (1 - share) ** -0.5 * 2 * r / (r**2 + 1) ** 2

    def radial(r: float, exponent: float) -> float:
        return r * (r**2 + 1) ** exponent

    exact = beta(2.0) / beta(1.0)
    return Errors(*(abs(radial(2.0, e) / radial(1.0, e) / exact - 1) for e in (1.5, -1.5)))


def integral_condition() -> Errors:
    r"""(14.6): the integral of :math:`u_1` is over x; printed is dt. Difference from 1, for the
    field of a charge on a line and x_t = 0.8, over heights up to 100."""

    def kernel(x: float, t: float) -> float:
        return t / (math.pi * (x**2 + t**2))

    over_height = integrate.quad(lambda t: kernel(_X, t), 0, 100, epsabs=1e-12)[0]
    over_place = integrate.quad(lambda x: kernel(x, _T), -math.inf, math.inf, epsabs=1e-12)[0]
    return Errors(abs(over_height - 1), abs(over_place - 1))


def value_at_the_charge() -> Errors:
    r"""Section 14.4.2: over its charge, the kernel grows without bound as t falls to 0; printed
    is the limit 1. Difference of the inverse of the kernel from that of its limit, in the plane,
    t = 1e-6."""
    inverse = 2 * math.pi * 1e-6**2
    return Errors(abs(inverse - 1), inverse)


def field_of_a_family() -> Errors:
    r"""(14.31): the second formula has :math:`\psi_t`; printed is :math:`\phi_t`. Difference of
    the two sides of the equation of continuity (14.24), the larger of those for
    :math:`\psi = \tanh(r / t)` and :math:`1 - e^{-r/t}` in three dimensions, r = 0.8, t = 0.3."""
    t, r, d = *_place(), 3
    printed: list[float] = []
    corrected: list[float] = []
    for psi in (lambda t, r: torch.tanh(r / t), lambda t, r: 1 - torch.exp(-r / t)):

        def phi(t: Tensor, r: Tensor, psi=psi) -> Tensor:
            return torch.func.grad(psi, 1)(t, r) / r ** (d - 1)

        for inner, out in ((phi, printed), (psi, corrected)):

            def outward(r: Tensor, inner=inner) -> Tensor:  # of r^d times the field
                return -torch.func.grad(inner)(t, r)

            change = torch.func.grad(phi)(t, r)
            out.append(abs(float(change + torch.func.grad(outward)(r) / r ** (d - 1))))
    return Errors(max(printed), max(corrected))


CHECKS: dict[str, Callable[[], Errors]] = {
    "notes, (10.4)": law_of_a_guess,
    "notes, (11.9)": split_noise,
    "notes, (12.8)": change_along_a_path,
    "notes, (12.9)": continuity,
    "notes, after (13.5)": prior_radius,
    "notes, (14.2)": partial_derivative,
    "notes, (14.6)": integral_condition,
    "notes, section 14.4.2": value_at_the_charge,
    "notes, (14.31)": field_of_a_family,
}


def _density(x: float, mean: float, variance: float) -> float:
    return math.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)


def _place() -> tuple[Tensor, Tensor]:
    return torch.tensor(_T, dtype=torch.float64), torch.tensor(_X, dtype=torch.float64)


def _log_density(t: Tensor, x: Tensor) -> Tensor:
    variance = _VARIANCE + 2 * t
    return -(x**2) / (2 * variance) - 0.5 * torch.log(2 * math.pi * variance)


def _velocity(t: Tensor, x: Tensor) -> Tensor:
    return x / (_VARIANCE + 2 * t)


def _flux(t: Tensor, x: Tensor) -> Tensor:
    return _velocity(t, x) * _log_density(t, x).exp()
