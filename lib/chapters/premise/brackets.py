"""How far the flows of laws in the plane are from optimal, and how far they can be.

Two families of mixtures of Gaussians of equal weight and shape are searched for flows that are
far from optimal: two Gaussians that are mirror images of each other, of which the V is nearly
one, and wheels, whose Gaussians are turned into each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize

from diffot.errors import as_number, as_whole_number, require_known, require_type
from diffot.flows.exact import ExactFlow
from diffot.laws import examples
from diffot.laws.mixtures import GaussianMixture, thesis_mixture
from diffot.transport.bounds import Bounds, excess_bounds

FAMILIES = ("mirrored pair", "wheel of two", "wheel of three")
_LIMITS = {"angle": (0.0, 90.0), "radius": (0.2, 4.0), "long": (0.3, 2.0), "short": (0.1, 1.0)}
_COARSE: dict[str, Any] = {"spacing": 0.3, "cells": 20}  # of the searches

NAMED = {
    "V": examples.bent_pair,
    "Low2DASymMix": lambda: thesis_mixture("Low2DASymMix"),
}


@dataclass(frozen=True)
class Arrangement:
    r"""A law of one of the families.

    Its two or three centers are at the distance ``radius`` from the origin, equally far from
    each other, the first to the right. Standard deviations are ``long`` and ``short``; the long
    axis of the first Gaussian has an angle :math:`\theta` to the ray through its center. In a
    wheel so have the others; in a mirrored pair the other has :math:`-\theta`.

    Args:
        family: a name in :data:`FAMILIES`.
        angle: theta, in degrees. radius, long, short: above 0.

    Raises:
        TypeError, ValueError: for other values.
    """

    family: str
    angle: float
    radius: float
    long: float
    short: float

    def __post_init__(self):
        require_known(self.family, "family", FAMILIES)
        object.__setattr__(self, "angle", as_number(self.angle, "angle"))
        for name in ("radius", "long", "short"):
            object.__setattr__(self, name, as_number(getattr(self, name), name, above=0))

    def law(self) -> GaussianMixture:
        """The mixture."""
        count = 3 if self.family == "wheel of three" else 2
        places = 2 * math.pi * torch.arange(count, dtype=torch.float64) / count
        angle = math.radians(self.angle)
        mirrored = self.family == "mirrored pair"
        angles = places + angle * torch.tensor([1.0, -1.0 if mirrored else 1.0, 1.0])[:count]
        axis, across = (
            torch.stack([(angles + turn).cos(), (angles + turn).sin()], 1)
            for turn in (0.0, math.pi / 2)
        )
        covariances: Any = sum(
            deviation**2 * side[:, :, None] * side[:, None, :]
            for deviation, side in ((self.long, axis), (self.short, across))
        )
        centers = self.radius * torch.stack([places.cos(), places.sin()], 1)
        return GaussianMixture([1 / count] * count, centers, covariances)


@dataclass(frozen=True)
class BracketTask:
    """A law whose flow is compared with the optimal map.

    Args:
        law: a name in :data:`NAMED`, or an arrangement.
        spacing, cells, splits: see :func:`~diffot.transport.bounds.excess_bounds`.
    """

    law: str | Arrangement
    spacing: float
    cells: int
    splits: int = 0

    def __post_init__(self):
        require_type(self.law, (str, Arrangement), "law", "a name or an Arrangement")
        if isinstance(self.law, str):
            require_known(self.law, "law", list(NAMED))
        object.__setattr__(self, "spacing", as_number(self.spacing, "spacing", above=0))
        object.__setattr__(self, "cells", as_whole_number(self.cells, "cells", least=8))
        object.__setattr__(self, "splits", as_whole_number(self.splits, "splits", least=0))

    def bounds(self) -> Bounds:
        """The bracket, with the potential."""
        law = NAMED[self.law]() if isinstance(self.law, str) else self.law.law()
        return excess_bounds(ExactFlow(law, 1e-8), self.spacing, self.cells, splits=self.splits)


def measure_bracket(task: BracketTask) -> dict:
    """Cost of the flow, and its relative excess from both sides with its numerical errors."""
    require_type(task, BracketTask, "task", "a BracketTask")
    return task.bounds().row()


@dataclass(frozen=True)
class SearchTask:
    """A family in which a flow is looked for that is as far from optimal as possible.

    Args:
        family: a name in :data:`FAMILIES`.
        evaluations: number of laws that are tried.
    """

    family: str
    evaluations: int

    def __post_init__(self):
        require_known(self.family, "family", FAMILIES)
        evaluations = as_whole_number(self.evaluations, "evaluations", least=10)
        object.__setattr__(self, "evaluations", evaluations)


def measure_search(task: SearchTask) -> dict:
    """Parameters of the law with the largest lower bound on a coarse grid, to two decimals.

    By the simplex method of Nelder and Mead from one starting point: a local search.
    """
    require_type(task, SearchTask, "task", "a SearchTask")

    def arrangement(parameters: Iterable[float]) -> Arrangement:
        values = (
            float(round(np.clip(value, *limits), 2))
            for value, limits in zip(parameters, _LIMITS.values())
        )
        return Arrangement(task.family, *values)

    def below(parameters: np.ndarray) -> float:
        bracket = BracketTask(arrangement(parameters), **_COARSE).bounds()
        # a bracket that does not close says that the grid is too coarse for this law
        return -min(bracket.lower.value, 2 * bracket.lower.value - bracket.upper.value / 2)

    start = np.array([45.0, 1.2, 0.8, 0.2])
    simplex = start + np.vstack([np.zeros(4), np.diag([-15.0, 0.5, 0.4, 0.15])])
    options = {"maxfev": task.evaluations, "initial_simplex": simplex, "xatol": 0.01}
    found = minimize(below, start, method="Nelder-Mead", options=options)
    best = arrangement(found.x)
    return {name: getattr(best, name) for name in _LIMITS}
