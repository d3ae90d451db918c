"""What the maps of the methods are worth.

A row of :func:`measure_method` holds, for each map k = 0, 1, ... that the method of its task
makes:

- ``sampled_k``: relative excess of the pairs of latents and points, and ``cost_k``, their cost;
- ``asymmetry_k``: of the Jacobian, the median over latents; not of maps that are constant on
  cells, and not of processes with noise;
- ``law_distance_k``: W2 between its points and a sample of the law; ``floor``, between another
  sample and that one; ``exact``, between it and the points of the exact flow for the same
  latents;
- ``drift_k``: root mean square distance from the points of the first map;
- ``bend_k``: root mean square distance between its points and those of a single step; of
  networks;
- ``off_k``: root mean square distance of the mean ends of a bridge from those of the entropic
  plan of two samples; ``off_floor``, of those of the plan of two other samples; ``plan_cost``,
  the cost of the plan from the same latents;
- ``seconds_k``: CPU time that it took to make, as a text: it is not compared when a row is
  computed again.

One of :func:`measure_bracket` holds ``lower_k`` and ``upper_k``, each with an ``_error``: the
bracket of the relative excess of the first map and of the last.
"""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from chapters.transport_methods.bridging import BridgeEnds
from chapters.transport_methods.methods import (
    LAWS,
    METHODS,
    BracketTask,
    MethodTask,
    exact_flow,
)
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
from diffot.transport.bridges import EntropicMap, entropic_map
from diffot.transport.certificates import jacobian_asymmetry

JACOBIANS = 400  # latents for the asymmetry
CELLS = 20  # of the potential of the bracket


def measure_method(task: MethodTask) -> dict[str, float | str]:
    """The columns above."""
    require_type(task, MethodTask, "task", "a MethodTask")
    draws = task.draws("measuring")
    z = torch.randn(task.points, 2, dtype=torch.float64, generator=draws)
    sample, other = LAWS[task.law]().sample(2 * task.points, draws).chunk(2)
    reference = exact_flow(LAWS[task.law]()).decode(z)
    row: dict[str, float | str] = {
        "floor": law_distance(other, sample),
        "exact": law_distance(reference, sample),
    }
    plan = None
    if task.method == "bridge":
        plan, more = entropic_plan(task, z, draws)
        row |= more
    first = None
    for k, made in enumerate(METHODS[task.method](task)):
        x = made.map.decode(z)
        first = x if first is None else first
        measured = {
            "sampled": relative_excess_cost(z, x),
            "cost": transport_cost(z, x),
            **jacobian_columns(made.map, z[:JACOBIANS]),
            "law_distance": law_distance(x, sample),
            "drift": transport_cost(x, first) ** 0.5,
            **bend_columns(made.map, z, x),
            **off_columns(made.map, z, plan),
            "seconds": f"{made.seconds:.1f}",
        }
        row |= {f"{name}_{k}": value for name, value in measured.items()}
    return row


def measure_bracket(task: BracketTask) -> dict[str, float]:
    """The brackets. Maps are made again, as :func:`measure_method` makes them."""
    require_type(task, BracketTask, "task", "a BracketTask")
    made = [made.map for made in METHODS[task.method](task)]
    row: dict[str, float] = {}
    for k in sorted({0, len(made) - 1}):
        bracket = excess_bounds(made[k], task.spacing, CELLS)
        both = columns("lower", bracket.lower) | columns("upper", bracket.upper)
        row |= {f"{name}_{k}": value for name, value in both.items()}
    return row


def jacobian_columns(found: Map, z: Tensor) -> dict[str, float]:
    """The median asymmetry, of a map that has one."""
    if isinstance(found, BridgeEnds):
        return {}
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


def off_columns(found: Map, z: Tensor, means: Tensor | None) -> dict[str, float]:
    """How far the mean ends of a bridge are from these."""
    if not isinstance(found, BridgeEnds) or means is None:
        return {}
    return {"off": transport_cost(found.process.means(z), means) ** 0.5}


def entropic_plan(
    task: MethodTask, z: Tensor, draws: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Mean ends of latents under the entropic plan of two samples, each of twice the size of the
    task's, and the columns on it."""

    def plan() -> EntropicMap:
        latents = torch.randn(2 * task.points, 2, dtype=torch.float64, generator=draws)
        points = LAWS[task.law]().sample(2 * task.points, draws)
        return entropic_map(latents, points, task.setting)

    one, other = plan(), plan()
    means = one.decode(z)
    costs = torch.cdist(z, one.points.double()).square()
    cost = float((one.probabilities(z) * costs).sum(1).mean())
    return means, {"off_floor": transport_cost(other.decode(z), means) ** 0.5, "plan_cost": cost}


def law_distance(x: Tensor, y: Tensor) -> float:
    """W2 of two samples of the same size."""
    return transport_cost(x, y[optimal_assignment(x, y)]) ** 0.5


def maps(table: pd.DataFrame) -> pd.DataFrame:
    """A table with one line for each map; ``round`` says which of its row, ``name`` its method,
    the first map of reflow being that of flow matching, ``gap`` how much farther from the law it
    is than the exact flow, and ``total`` the CPU seconds of it and the rounds before."""
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
            shared = row.drop(tasks)[lambda part: ~part.index.str.contains(r"_\d+$")]
            lines.append({**row[tasks], "round": k, **shared, **measured})
    found = pd.DataFrame(lines).astype({"seconds": float})
    started = (found.method == "reflow") & (found["round"] == 0)
    found["name"] = found.method.mask(started, "flow matching")
    found["total"] = found.groupby(tasks).seconds.cumsum()
    return found.assign(gap=found.law_distance - found.exact)


def averages(found: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Means over seeds of columns of :func:`maps`, each with its standard error, ``NAME_error``;
    one line for each law, method, setting and round. Seeds that lack a number are left out."""
    groups = found.groupby(["law", "name", "setting", "round"], sort=False)[names]
    errors = groups.sem().add_suffix("_error")
    return pd.concat([groups.mean(), errors], axis=1).reset_index()
