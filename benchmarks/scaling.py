"""How costs grow: exponents, fitted to times and to peaks of memory, beside those that the
arithmetic has; and what more workers gain.

A cost that grows like n^p has the exponent p. Sizes grow by factors of two, on one thread. Peaks
of memory are those of processes of their own, without what they need for one point. Two processes
are compared with one on the same densities, in turn, and their times include their start.
"""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.measuring import MEMORY_KEPT, fitted_exponent, in_turn, row
from bookkit.sweeps import sweep
from chapters.random_densities.visibility import DensityTask, measure_density
from diffot import seeds
from diffot.flows.density import DensityFlow
from diffot.flows.exact import ExactFlow
from diffot.laws import densities
from diffot.laws.mixtures import equal_mixture, thesis_mixture
from diffot.learning import registry
from diffot.samplers.ddim import ddim
from diffot.transport.assignment import optimal_assignment

TITLE = "Scaling"
THREADS = 1
PEERS = ("joblib", "dask", "distributed")
SLACK = 1.1  # times the exponent of the arithmetic
WHY = "Not known; larger arrays may no longer fit the cache."
WHY_WORKERS = (
    "The start of the processes counts, some seconds of it with Dask; the cores are virtual."
)
MEMORY = "memory of the exact map, in points"
ASSIGNMENT = "assignment from a map's pairs, in points"
EXPERIMENT = "experiment of K.1, in densities"
POINTS = 10**6  # of the estimate
DENSITIES = 10**5
CORES = 128


def measure(tiny: bool = False) -> list[dict]:
    rounds = 1 if tiny else 3
    with torch.no_grad():
        grown = [growth(name, exponent, works(tiny), rounds) for name, exponent, works in COSTS]
    return [*grown, *([] if tiny else [memory()]), *workers(2 if tiny else 6, min(rounds, 2))]


def growth(
    name: str, exponent: float, works: dict[int, Callable[[], object]], rounds: int
) -> dict:
    """The exponent of each round, for works by their size; what the largest took is said."""
    times = in_turn({str(size): work for size, work in works.items()}, rounds)
    found = [fitted_exponent(list(works), costs) for costs in zip(*times.values())]
    largest = max(works)
    return row(
        f"{name} ({largest}: {min(times[str(largest)]):.3g} s)",
        found,
        [exponent] * rounds,
        unit="exponent",
        against="its arithmetic",
        target=SLACK,
        why=WHY,
    )


def sizes(least: int, tiny: bool, factor: int = 2) -> list[int]:
    return [least * factor**i for i in range(2 if tiny else 4)]


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def ddim_in_points(tiny: bool) -> dict:
    denoiser = registry.load("Low2DASymMixSiLU")
    return {n: partial(ddim, denoiser, normal(n, 2).float(), 20) for n in sizes(2000, tiny)}


def ddim_in_steps(tiny: bool) -> dict:
    denoiser = registry.load("Low2DASymMixSiLU")
    return {n: partial(ddim, denoiser, normal(2000, 2).float(), n) for n in sizes(10, tiny)}


def map_in_points(tiny: bool) -> dict:
    flow = ExactFlow(thesis_mixture("Low2DASymMix"), 1e-6)
    return {n: partial(flow.decode, normal(n, 2)) for n in sizes(1000 if tiny else 8000, tiny)}


def score_in_components(tiny: bool) -> dict:
    laws = {k: equal_mixture(normal(k, 2).tolist(), 0.1) for k in sizes(50, tiny)}
    return {k: partial(law.score, normal(2000, 2), 0.8, 0.6) for k, law in laws.items()}


def score_in_dimension(tiny: bool) -> dict:
    laws = {d: equal_mixture(normal(8, d).tolist(), 0.1) for d in sizes(32, tiny)}
    return {d: partial(law.score, normal(2000, d), 0.8, 0.6) for d, law in laws.items()}


def encoder_in_points(tiny: bool) -> dict:
    law, draws = density()
    flow = DensityFlow(law)
    return {n: partial(flow.encode, law.sample(n, draws)) for n in sizes(500, tiny)}


def assignment_in_points(tiny: bool) -> dict:
    law, draws = density()
    works = {}
    for n in sizes(100 if tiny else 500, tiny):
        x = law.sample(n, draws)
        z = DensityFlow(law, tolerance=1e-5).encode(x)
        works[n] = partial(optimal_assignment, x, z, guess=torch.arange(n))
    return works


def densities_in_number(tiny: bool) -> dict:
    counts = sizes(1, tiny)[:3]
    tasks = [DensityTask("compact", i, seed=3) for i in range(max(counts))]
    return {n: partial(sweep, measure_density, tasks[:n], jobs=1, progress=False) for n in counts}


def density() -> tuple[densities.QuarticMixture, torch.Generator]:
    draws = seeds.generator(0, "benchmark of scaling")
    return densities.random_density("compact", draws), draws


COSTS = (
    ("ddim, in points", 1.0, ddim_in_points),
    ("ddim, in steps", 1.0, ddim_in_steps),
    ("exact map, in points", 1.0, map_in_points),
    ("score, in components", 1.0, score_in_components),
    ("score, in dimension", 2.0, score_in_dimension),
    ("encoder of a density, in points", 1.0, encoder_in_points),
    (ASSIGNMENT, 2.0, assignment_in_points),
    (EXPERIMENT, 1.0, densities_in_number),
)


def memory() -> dict:
    """The exponent of the exact map's peak of memory, and its bytes for each point."""
    counts = [50_000, 100_000, 200_000, 400_000]
    least = peak_of_map(1)
    peaks = [peak_of_map(n) - least for n in counts]
    return row(
        f"{MEMORY} ({counts[-1]}: {peaks[-1] / 1e9:.3g} GB)",
        [fitted_exponent(counts, peaks)],
        [1.0],
        unit="exponent",
        against="its arithmetic",
        target=SLACK,
        why=WHY,
    )


def peak_of_map(n: int) -> int:
    """Bytes at most in use in a fresh process that maps n points."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (n,))


def _peak(n: int) -> int:
    torch.set_num_threads(1)
    # what getrusage says began with the memory of the process that started this one
    Path("/proc/self/clear_refs").write_text("5")
    ExactFlow(thesis_mixture("Low2DASymMix"), 1e-6).decode(normal(n, 2))
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024


def workers(count: int, rounds: int) -> list[dict]:
    """Densities by two processes against one: half the time is aimed at, and 0.6 is enough."""
    tasks = [DensityTask("compact", i, seed=2) for i in range(count)]
    run = partial(sweep, measure_density, tasks, progress=False)
    ways = {
        "one process": partial(run, jobs=1),
        "joblib": partial(run, jobs=2),
        "Dask": partial(by_dask, run),
    }
    times = in_turn(ways, rounds)
    return [
        row(
            f"{count} densities by two processes of {name}",
            times[name],
            times["one process"],
            unit="s",
            against="one process",
            target=0.6,
            why=WHY_WORKERS,
        )
        for name in ("joblib", "Dask")
    ]


def by_dask(run: Callable) -> None:
    from distributed import LocalCluster

    # Dask's own setting makes its workers much slower
    os.environ.update({name: str(value) for name, value in MEMORY_KEPT.items()})
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        run(scheduler=cluster.scheduler_address)


def conclusion(rows: Sequence[dict]) -> str:
    """What a million points and a hundred thousand densities would take, from these fits."""
    map_seconds = estimate(rows, "exact map, in points", POINTS)
    encoder_seconds = estimate(rows, "encoder of a density, in points", POINTS)
    return (
        "By these fits, or by the arithmetic where it grows faster: the exact map (tolerance "
        f"1e-6) takes {map_seconds:.2g} s for a million points on one core and "
        f"{estimate(rows, MEMORY, POINTS):.2g} GB, and the encoder of a density "
        f"{encoder_seconds / 60:.2g} minutes. Points can be divided among processes: on {CORES} "
        f"cores that is {map_seconds / CORES:.2g} s and {encoder_seconds / CORES:.2g} s, if none "
        "slows another down. The optimal assignment of a million points would take "
        f"{estimate(rows, ASSIGNMENT, POINTS) / 3600:.2g} hours, and "
        f"{8 * POINTS**2 / 1e12:.0f} TB for the costs of all pairs: it is out of reach in one "
        "piece, and bounds have to do. The experiment of K.1 on a hundred thousand densities "
        f"takes {estimate(rows, EXPERIMENT, DENSITIES) / 3600 / CORES:.2g} hours on {CORES} "
        "cores. That none slows another down is not a matter of course: what two processes gain "
        "on this machine is said in the table."
    )


def estimate(rows: Sequence[dict], name: str, size: int) -> float:
    """The cost at a size, from the row's largest measured one and its exponent."""
    found = next(r for r in rows if r["name"].startswith(f"{name} ("))
    largest, cost = re.search(r"\((\d+): (\S+) \w+\)$", found["name"]).groups()
    return float(cost) * (size / float(largest)) ** max(found["ours"], found["peer"])
