r"""The probability flow with the discretizations of Khrulkov et al. (2023, section 3.4).

They follow :math:`dx/dt = -x - \nabla \log p_t(x)` with 256 uniform steps of the classical
Runge-Kutta method, from a score that is tabulated: finite differences of :math:`\log p_t` on a
square grid, interpolated linearly in space and time. Each of these choices can be made here by
itself, to see what it costs. :mod:`diffot.flows.density` makes none of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from diffot.errors import (
    as_number,
    as_tensor,
    as_whole_number,
    require,
    require_finite,
    require_points,
    require_type,
)
from diffot.flows.density import Density

Score = Callable[[Tensor, float], Tensor]  # points (B, 2) and a time, to (B, 2)


def runge_kutta(score: Score, x: Tensor, times: Sequence[float]) -> Tensor:
    """Follow the probability flow through the given times, one classical step (order 4) each.

    Args:
        score: of the diffused law.
        x: points at the first time, shape (B, 2). times: at least two, increasing or decreasing.
    """
    require_type(score, Callable, "score", "a function of points (B, 2) and a time")
    require_points(x, 2)
    times = _as_times(times)

    def rate(x: Tensor, t: float) -> Tensor:
        return -x - score(x, t)

    x = x.double()
    for start, end in zip(times, times[1:]):
        h, middle = end - start, (start + end) / 2
        k1 = rate(x, start)
        k2 = rate(x + h / 2 * k1, middle)
        k3 = rate(x + h / 2 * k2, middle)
        k4 = rate(x + h * k3, end)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


def _as_times(times: Sequence[float]) -> list[float]:
    given = as_tensor(times, "times", torch.float64)
    require(
        given.ndim == 1 and len(given) >= 2,
        f"times has shape {tuple(given.shape)}; expected at least two numbers in a row",
    )
    require_finite(given, "times")
    steps = given.diff()
    require(
        bool((steps > 0).all() | (steps < 0).all()),
        "times neither increase nor decrease from each to the next; sort them, each once",
    )
    return given.tolist()


def linear_in_time(score: Score, times: Sequence[float]) -> Score:
    """The score at the given increasing times, and between them on a straight line in t."""

    require_type(score, Callable, "score", "a function of points (B, 2) and a time")
    times = _as_times(times)
    require(times[0] < times[-1], "times decrease; expected increasing ones")

    def interpolated(x: Tensor, t: float) -> Tensor:
        t = as_number(t, "t", at_least=times[0], at_most=times[-1])
        k = min(max(int(np.searchsorted(times, t)), 1), len(times) - 1)
        weight = (t - times[k - 1]) / (times[k] - times[k - 1])
        if weight in (0, 1):
            return score(x, times[k - 1] if weight == 0 else times[k])
        return (1 - weight) * score(x, times[k - 1]) + weight * score(x, times[k])

    return interpolated


def tabulated(density: Density, nodes: int, reach: float = 10.0) -> Score:
    """The score by central differences of log p_t on a grid, interpolated linearly in space.

    p_t itself is exact: the convolution is a quadrature over the same grid.

    Args:
        nodes: of the grid, per axis, over [-reach, reach] in both directions; at least 16.
    """
    require_type(density, Density, "density", "a density in the plane, see Density")
    nodes = as_whole_number(nodes, "nodes", least=16)
    reach = as_number(reach, "reach", above=0)
    line = torch.linspace(-reach, reach, nodes, dtype=torch.float64)
    spacing = float(line[1] - line[0])
    mass = density.log_prob(torch.cartesian_prod(line, line)).exp().reshape(nodes, nodes)
    left, values, right = torch.linalg.svd(mass)
    rank = int((values > 1e-14 * values[0]).sum())
    left, right = left[:, :rank] * values[:rank], right[:rank].mT

    @lru_cache(maxsize=2)  # a step needs the tables at its two ends
    def table(t: float) -> np.ndarray:
        smooth = mass
        if t > 0:
            alpha, variance = math.exp(-t), -math.expm1(-2 * t)
            kernel = torch.exp((line[:, None] - alpha * line) ** 2 / (-2 * variance))
            smooth = (kernel @ left) @ (kernel @ right).mT
        return np.stack(np.gradient(smooth.clamp(min=1e-300).log().numpy(), spacing))

    def score(x: Tensor, t: float) -> Tensor:
        require_points(x, 2)
        t = as_number(t, "t", at_least=0)
        places = (x.double().numpy().T + reach) / spacing
        columns = [map_coordinates(part, places, order=1, mode="nearest") for part in table(t)]
        return torch.from_numpy(np.stack(columns, 1))

    return score
