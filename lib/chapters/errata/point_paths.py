r"""Chapters 15 and 17 of the notes "Topics on diffusion generative models", on paths between two
points.

Each function measures one formula as it is printed and as it should be, as in
:mod:`chapters.errata.guidance`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from chapters.errata.guidance import Errors

_TIME = 0.8
_CLEAN, _END = 0.7, -1.1  # x_0 and x_1


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
    "(15.20)": point_on_a_line,
    "(15.21)": end_of_a_path,
    "(15.22)": velocity_of_a_path,
    "(17.2)": arguments_of_a_path,
}
