"""What the discretizations of Khrulkov et al. (2023, section 3.4) cost, one by one.

:func:`measure_numerics` follows the encoder of one compact density in five ways and returns a
row. ``error_WAY`` is its root mean square distance from the same flow with a finer grid and a
tolerance of 1e-11, over the first ``few`` points; ``excess_WAY`` is the relative excess over the
optimal assignment of all ``many`` points, for the first way and the last. The ways:

- ``adaptive``: as in this book;
- ``steps``: 256 uniform Runge-Kutta steps with the exact score;
- ``space``: the same, with the score tabulated on a grid and interpolated;
- ``time``: the same, with the score on a straight line between the 257 times;
- ``both``: with both interpolations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from chapters.random_densities.discretized import linear_in_time, runge_kutta, tabulated
from diffot.errors import as_whole_number, require, require_type
from diffot.flows.density import DensityFlow
from diffot.laws.densities import random_density
from diffot.seeds import generator
from diffot.transport.assignment import relative_excess_cost

UNIFORM = np.linspace(0, 8, 257).tolist()


@dataclass(frozen=True)
class NumericsTask:
    """A compact random density whose encoder is followed in several ways.

    Attributes:
        index, seed: which of the densities.
        few, many: points for the errors, and for the excess; few is at most many.
        nodes: of the table of scores, per axis.
    """

    index: int
    few: int
    many: int
    nodes: int
    seed: int = 0

    def __post_init__(self):
        for name, least in (("index", 0), ("few", 1), ("many", 2), ("nodes", 16), ("seed", 0)):
            number = as_whole_number(getattr(self, name), name, least=least)
            object.__setattr__(self, name, number)
        require(self.few <= self.many, f"few is {self.few}; expected at most many, {self.many}")


def measure_numerics(task: NumericsTask) -> dict[str, float]:
    """Errors of the five ways and excesses of two, as the module says."""
    require_type(task, NumericsTask, "task", "a NumericsTask")
    draws = generator(task.seed, f"numerics {task.index}")
    law = random_density("compact", draws)
    x = law.sample(task.many, draws)
    few = x[: task.few]
    exact, table = DensityFlow(law).score, tabulated(law, task.nodes)
    ends = {
        "adaptive": DensityFlow(law).encode(x),
        "steps": runge_kutta(exact, few, UNIFORM),
        "space": runge_kutta(table, few, UNIFORM),
        "time": runge_kutta(linear_in_time(exact, UNIFORM), few, UNIFORM),
        "both": runge_kutta(linear_in_time(table, UNIFORM), x, UNIFORM),
    }
    reference = DensityFlow(law, tolerance=1e-11, nodes=320).encode(few)
    row = {f"error_{way}": _apart(y[: task.few], reference) for way, y in ends.items()}
    for way in ("adaptive", "both"):
        row[f"excess_{way}"] = relative_excess_cost(x, ends[way])
    return row


def _apart(y: Tensor, reference: Tensor) -> float:
    return float((y - reference).square().sum(1).mean().sqrt())
