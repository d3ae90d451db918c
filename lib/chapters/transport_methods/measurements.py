"""What the maps of the methods are worth.

A row holds, for each map k = 0, 1, ... that the method of its task makes:

- ``sampled_k``: relative excess of the pairs of latents and points, and ``cost_k``, their cost;
- ``lower_k``, ``upper_k``, each with an ``_error``: bracket of the relative excess of the map
  itself, for the first map and the last, on the laws of :data:`BRACKETED`; for the gradients of
  convex functions, whose excess is zero, not computed;
- ``asymmetry_k``: of the Jacobian, the median over latents; not of maps that are constant on
  cells;
- ``law_distance_k``: W2 between its points and a sample of the law; ``floor``, between another
  sample and that one; ``exact``, between it and the points of the exact flow for the same
  latents;
- ``drift_k``: root mean square distance from the points of the first map;
- ``bend_k``: root mean square distance between its points and those of a single step; of
  networks;
- ``seconds_k``: CPU time that it took to make, as a text: it is not compared when a row is
  computed again.
"""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from chapters.transport_methods.methods import LAWS, METHODS, MethodTask, exact_flow
from diffot.errors import require_type
from diffot.estimates import columns
from diffot.flows.maps import Map
from diffot.flows.sampled import SampledMap
from diffot.transport.assignment import (
    optimal_assignment,
    relative_excess_cost,
    transport_cost,
)
from diffot.transport.bounds import excess_bounds
from diffot.transport.certificates import jacobian_asymmetry

CONVEX = ("entropic", "semi-discrete", "potential")  # methods that give such gradients
BRACKETED = ("V", "density")  # laws whose flow has an excess that the grid resolves
JACOBIANS = 400  # latents for the asymmetry
CELLS = 20  # of the potential of the bracket


def measure_method(task: MethodTask) -> dict[str, float | str]:
    """The columns above."""
    require_type(task, MethodTask, "task", "a MethodTask")
    draws = task.draws("measuring")
    z = torch.randn(task.points, 2, dtype=torch.float64, generator=draws)
    sample, other = LAWS[task.law]().sample(2 * task.points, draws).chunk(2)
    reference = exact_flow(LAWS[task.law]()).decode(z)
    row = {"floor": law_distance(other, sample), "exact": law_distance(reference, sample)}
    first, last = None, int(task.setting) if task.method == "reflow" else 0
    for k, made in enumerate(METHODS[task.method](task)):
        x = made.map.decode(z)
        first = x if first is None else first
        bracketed = task.law in BRACKETED and task.method not in CONVEX and k in (0, last)
        measured = {
            "sampled": relative_excess_cost(z, x),
            "cost": transport_cost(z, x),
            **(excess_columns(made.map, task) if bracketed else {}),
            **jacobian_columns(made.map, z[:JACOBIANS]),
            "law_distance": law_distance(x, sample),
            "drift": transport_cost(x, first) ** 0.5,
            **bend_columns(made.map, z, x),
            "seconds": f"{made.seconds:.1f}",
        }
        row |= {f"{name}_{k}": value for name, value in measured.items()}
    return row


def excess_columns(found: Map, task: MethodTask) -> dict[str, float]:
    """The bracket."""
    bracket = excess_bounds(found, task.spacing, CELLS)
    return {**columns("lower", bracket.lower), **columns("upper", bracket.upper)}


def jacobian_columns(found: Map, z: Tensor) -> dict[str, float]:
    """The median asymmetry, of a map that has one."""
    jacobian = found.jacobian(z)
    if not bool((jacobian != 0).any()):
        return {}
    return {"asymmetry": float(jacobian_asymmetry(jacobian).median())}


def bend_columns(found: Map, z: Tensor, x: Tensor) -> dict[str, float]:
    """How far a single step of the sampler ends from the points x, of a map that has steps."""
    if not isinstance(found, SampledMap):
        return {}
    at_once = SampledMap(found.denoiser, 1, found.sampler).decode(z)
    return {"bend": transport_cost(at_once, x) ** 0.5}


def law_distance(x: Tensor, y: Tensor) -> float:
    """W2 of two samples of the same size."""
    return transport_cost(x, y[optimal_assignment(x, y)]) ** 0.5


def maps(table: pd.DataFrame) -> pd.DataFrame:
    """A table with one line for each map; ``round`` says which of its row."""
    tasks = ["law", "method", "setting", "seed"]
    lines = []
    for _, row in table.iterrows():
        ends = sorted(int(c.removeprefix("law_distance_")) for c in row.dropna().index
                      if str(c).startswith("law_distance_"))  # fmt: skip
        for k in ends:
            measured = {
                str(name).removesuffix(f"_{k}"): value
                for name, value in row.items()
                if str(name).endswith(f"_{k}")
            }
            both = {name: row[name] for name in ("floor", "exact")}
            lines.append({**row[tasks], "round": k, **both, **measured})
    return pd.DataFrame(lines).astype({"seconds": float})
