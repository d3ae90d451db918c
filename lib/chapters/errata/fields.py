r"""Chapters 12 to 15 and 17 of the notes "Topics on diffusion generative models", on ordinary
differential equations that move one law to another.

Each function measures one formula as it is printed and as it should be, as in
:mod:`chapters.errata.guidance`. Where a law is needed, it is that of two classes on a line with
noise :math:`\sigma_t = t`, whose density p is known, moved by
:math:`f = -\dot\sigma_t \sigma_t\, \partial_x \log p`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy.integrate import quad
from scipy.stats import beta
from torch import Tensor

from chapters.errata.guidance import Errors

_TIME = 0.8
_CLEAN, _END = 0.7, -1.1  # x_0 and x_1


def equation_for_the_field() -> Errors:
    r"""(12.8): the derivative in time stands without the factor :math:`\Delta t` that is printed
    before it. Largest difference of the two sides over x, :math:`\Delta t = 0.01`."""
    x, t = _points()
    left = -_along_x(_velocity, x, t)
    slope, rate = _along_x(_log_density, x, t), _along_t(_log_density, x, t)
    sides = (_velocity_at(x, t) * slope + factor * rate for factor in (0.01, 1.0))
    return Errors(*(float((side - left).abs().max()) for side in sides))


def equation_of_continuity() -> Errors:
    r"""(12.9): what changes in time is p; printed is :math:`\log p`. Largest difference of the
    two sides over x."""
    x, t = _points()
    right = -_along_x(_flux, x, t)
    rates = (_along_t(function, x, t) for function in (_log_density, _density))
    return Errors(*(float((rate - right).abs().max()) for rate in rates))


def partial_derivative() -> Errors:
    r"""(14.2): the derivative in time is partial, at a fixed x; printed is that along
    :math:`x_t`. Largest difference of the two sides over x."""
    x, t = _points()
    right = -_along_x(_flux, x, t)
    partial = _along_t(_density, x, t)
    along = partial + _velocity_at(x, t) * _along_x(_density, x, t)
    return Errors(*(float((rate - right).abs().max()) for rate in (along, partial)))


def normalization() -> Errors:
    r"""(14.6): the integral of :math:`u_1` is over :math:`x_t`; printed is over t. Difference
    from 1, over x at t = 0.8, and over t from 0 to 10 at x = 0.7, by quadrature."""

    def density(x: float, t: float) -> float:
        return float(_density(*torch.tensor([x, t], dtype=torch.float64)))

    over_t, _ = quad(lambda t: density(_CLEAN, t), 0, 10, epsabs=1e-9)
    over_x, _ = quad(lambda x: density(x, _TIME), -12, 12, points=[0], epsabs=1e-12)
    return Errors(abs(over_t - 1), abs(over_x - 1))


def radius_of_the_prior() -> Errors:
    r"""After (13.5): the law of the radius is :math:`r^{d-1} (r^2 + T^2)^{-(d+1)/2}`; printed is
    no minus. Difference of the logarithm of its ratio at 20 and 60 from that of the law of
    :math:`T \tan\theta`, where a direction that is uniform in d + 1 dimensions has the angle
    :math:`\theta` to the last axis and so :math:`\sin^2\theta \sim \mathrm{Beta}(d/2, 1/2)`,
    for d = 3 and T = 40."""
    dimension, height = 3, 40.0

    def exact(r: float) -> float:
        share = r**2 / (r**2 + height**2)
        change = 2 * r * height**2 / (r**2 + height**2) ** 2
        return float(beta.logpdf(share, dimension / 2, 0.5)) + math.log(change)

    def guess(r: float, sign: int) -> float:
        power = sign * (dimension + 1) / 2
        return (dimension - 1) * math.log(r) + power * math.log(r**2 + height**2)

    ratio = exact(60) - exact(20)
    return Errors(*(abs(guess(60, sign) - guess(20, sign) - ratio) for sign in (1, -1)))


def height_of_the_peak() -> Errors:
    r"""Section 14.4.2: at :math:`x_t = x_0` the limit of :math:`G_1` is infinite; printed is 1.
    Difference of :math:`1 / G_1` from the inverse of the limit, at :math:`t = 10^{-6}` in three
    dimensions."""
    time, dimension = 1e-6, 3
    constant = math.gamma((dimension + 1) / 2) / math.pi ** ((dimension + 1) / 2)
    inverse = time**dimension / constant
    return Errors(abs(inverse - 1), abs(inverse - 0))


def field_from_a_cumulative_law() -> Errors:
    r"""(14.31): the second formula has the derivative of :math:`\psi_t`, the cumulative law;
    printed is :math:`\phi_t`. Largest value, over r, of what (14.24) says is zero, for
    :math:`\psi_t = \tanh(r / t)` in three dimensions."""
    dimension = 3
    r, t = torch.linspace(0.2, 3, 57, dtype=torch.float64), torch.full((57,), 0.7).double()

    def cumulative(r: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(r / t)

    def density(r: Tensor, t: Tensor) -> Tensor:
        return torch.func.grad(cumulative, 0)(r, t) / r ** (dimension - 1)

    def residual(function: Callable[[Tensor, Tensor], Tensor]) -> float:
        def field_times_power(r: Tensor, t: Tensor) -> Tensor:
            return -torch.func.grad(function, 1)(r, t)

        flux = _along_x(field_times_power, r, t) / r ** (dimension - 1)
        return float((_along_t(density, r, t) + flux).abs().max())

    return Errors(residual(density), residual(cumulative))


def point_on_a_line() -> Errors:
    r"""(15.20): :math:`x_t = (1 - t) x_0 + t \varepsilon`; printed is :math:`1 + t`. Difference
    from (15.16), where :math:`\varepsilon` is :math:`x_1`."""
    exact = (_END - _CLEAN) * _TIME + _CLEAN
    points = ((1 + sign * _TIME) * _CLEAN + _TIME * _END for sign in (1, -1))
    return Errors(*(abs(point - exact) for point in points))


def end_of_a_path() -> Errors:
    r"""(15.21): the argument of :math:`\mu_t` is :math:`x_0`, as in (15.24); printed is
    :math:`x_t`. Difference of what it gives for x_1 from where the path to x_1 ends, for
    :math:`\mu_t(x) = (1 - t) x` and :math:`\sigma_t = t`."""
    point = (1 - _TIME) * _CLEAN + _TIME * _END
    ends = ((point - (1 - _TIME) * argument) / _TIME for argument in (point, _CLEAN))
    return Errors(*(abs(end - _END) for end in ends))


def velocity_of_a_path() -> Errors:
    r"""(15.22): the factor is :math:`\dot\sigma_t / \sigma_t`; printed is
    :math:`\sigma_t / \sigma_t`. Difference from the derivative of the path, for
    :math:`\mu_t(x) = x \cos(\pi t / 2)` and :math:`\sigma_t = \sin(\pi t / 2)`."""
    t = torch.tensor(_TIME, dtype=torch.float64)

    def mean(t: Tensor) -> Tensor:
        return _CLEAN * torch.cos(math.pi * t / 2)

    def noise(t: Tensor) -> Tensor:
        return torch.sin(math.pi * t / 2)

    def path(t: Tensor) -> Tensor:
        return mean(t) + noise(t) * _END

    drift = torch.func.grad(mean)(t)
    ratio = torch.func.grad(noise)(t) / noise(t)
    exact = torch.func.grad(path)(t)
    velocities = (drift + factor * (path(t) - mean(t)) for factor in (1.0, ratio))
    return Errors(*(abs(float(velocity - exact)) for velocity in velocities))


def arguments_of_a_path() -> Errors:
    r"""(17.2): the arguments of :math:`\varphi_t` are :math:`x_0` and :math:`x_T`, as in (17.3);
    printed are :math:`x_t` and :math:`x_0`. Difference of the two sides for the path (17.7)."""

    def path(start: float, end: float) -> float:
        return (end - start) * _TIME + start

    point = (1 - _TIME) * _CLEAN + _TIME * _END
    return Errors(abs(path(point, _CLEAN) - point), abs(path(_CLEAN, _END) - point))


CHECKS: dict[str, Callable[[], Errors]] = {
    "(12.8)": equation_for_the_field,
    "(12.9)": equation_of_continuity,
    "after (13.5)": radius_of_the_prior,
    "(14.2)": partial_derivative,
    "(14.6)": normalization,
    "section 14.4.2": height_of_the_peak,
    "(14.31)": field_from_a_cumulative_law,
    "(15.20)": point_on_a_line,
    "(15.21)": end_of_a_path,
    "(15.22)": velocity_of_a_path,
    "(17.2)": arguments_of_a_path,
}


def _points() -> tuple[Tensor, Tensor]:
    x = torch.linspace(-2, 2, 41, dtype=torch.float64)
    return x, torch.full_like(x, _TIME)


def _density(x: Tensor, t: Tensor) -> Tensor:
    """Of N(-1, 0.36 + t²) and N(1, 0.36 + t²) with the probabilities 0.3 and 0.7, at one x."""
    variance = 0.36 + t**2
    peaks = 0.3 * torch.exp(-((x + 1) ** 2) / (2 * variance))
    peaks = peaks + 0.7 * torch.exp(-((x - 1) ** 2) / (2 * variance))
    return peaks / torch.sqrt(2 * math.pi * variance)


def _log_density(x: Tensor, t: Tensor) -> Tensor:
    return _density(x, t).log()


def _velocity(x: Tensor, t: Tensor) -> Tensor:
    return -t * torch.func.grad(_log_density, 0)(x, t)


def _flux(x: Tensor, t: Tensor) -> Tensor:
    return _velocity(x, t) * _density(x, t)


def _velocity_at(x: Tensor, t: Tensor) -> Tensor:
    return torch.func.vmap(_velocity)(x, t)


def _along_x(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: Tensor) -> Tensor:
    """The derivative in the first argument, at many points."""
    return torch.func.vmap(torch.func.grad(function, 0))(x, t)


def _along_t(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: Tensor) -> Tensor:
    """The derivative in the second argument, at many points."""
    return torch.func.vmap(torch.func.grad(function, 1))(x, t)
