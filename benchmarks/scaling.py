"""How costs grow: exponents, fitted to times and to peaks of memory, beside those that the
arithmetic has; and what more workers gain.

A cost that grows like n^p has the exponent p. Sizes grow by factors of two, on one thread.
"""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.measuring import fitted_exponent, in_turn, row, seconds
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
SLACK = 1.1  # times the exponent of the arithmetic
WHY = "The sizes are so small or large that caches and fixed costs bend the line."
WHY_WORKERS = (
    "Two processes at work slow each other down on this machine, which has two virtual cores, "
    "and each loads its libraries before it works."
)
POINTS = 10**6  # of the estimate
DENSITIES = 10**5
CORES = 128


def measure(tiny: bool = False) -> list[dict]:
    rounds = 1 if tiny else 3
    with torch.no_grad():
        grown = [growth(name, exponent, works(tiny), rounds) for name, exponent, works in COSTS]
    return [*grown, *([] if tiny else [memory()]), *workers(2 if tiny else 12)]


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
        against=f"{exponent:g}",
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
    return {n: partial(flow.decode, normal(n, 2)) for n in sizes(1000, tiny)}


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
    ("assignment from a map's pairs, in points", 2.0, assignment_in_points),
)


def memory() -> dict:
    """Peaks of memory of the exact map, each in a process of its own."""
    counts = [100_000, 400_000]
    peaks = [peak_of_map(n) for n in [1, *counts]]
    few, many = ((peak - peaks[0]) / n for peak, n in zip(peaks[1:], counts))
    return row(
        f"memory of the exact map, for each of {counts[1]} points",
        [many],
        [few],
        unit="bytes",
        against=f"each of {counts[0]}",
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


def workers(count: int) -> list[dict]:
    """Densities by two processes against one: half the time is aimed at, and 0.6 is enough."""
    from distributed import LocalCluster

    tasks = [DensityTask("compact", i, seed=2) for i in range(count)]
    run = partial(sweep, measure_density, tasks, progress=False)
    alone = seconds(partial(run, jobs=1))
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        by_dask = seconds(partial(run, scheduler=cluster.scheduler_address))
    by_joblib = seconds(partial(run, jobs=2))
    return [
        row(
            f"{count} densities by two processes of {name}",
            [both],
            [alone],
            unit="s",
            against="one process",
            target=0.6,
            why=WHY_WORKERS,
        )
        for name, both in (("joblib", by_joblib), ("Dask", by_dask))
    ]


def conclusion(rows: Sequence[dict]) -> str:
    """What a million points and a hundred thousand densities would take, from these fits."""
    found = {r["name"].partition(" (")[0]: r for r in rows}

    def hours(name: str, size: int) -> float:
        r = found[name]
        largest, _, taken = r["name"].partition(" (")[2].removesuffix(" s)").partition(": ")
        exponent = max(r["ours"], r["peer"])
        return float(taken) * (size / float(largest)) ** exponent / 3600

    one = next(r for r in rows if r["against"] == "one process")
    each = one["peer"] / float(one["name"].split()[0])
    return (
        f"By these fits, or by the arithmetic where it grows faster, a million points take the "
        f"exact map {60 * hours('exact map, in points', POINTS):.2g} minutes on one core, and "
        f"the encoder of a density "
        f"{60 * hours('encoder of a density, in points', POINTS):.2g} minutes; both can be "
        f"divided among any number of processes, as points do not know each other. Their "
        f"optimal assignment would take "
        f"{hours(COSTS[-1][0], POINTS):.2g} hours and {8 * POINTS**2 / 1e12:.0f} TB for the "
        f"costs of all pairs, so that it is out of reach in one piece, and bounds have to do. A "
        f"hundred thousand densities at {each:.2g} s each take "
        f"{DENSITIES * each / 3600 / CORES:.2g} hours on {CORES} cores that do not slow each "
        f"other down, as the two of this machine do."
    )
