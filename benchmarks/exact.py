"""The exact machinery: scores, maps, assignments and bounds, against the arithmetic in them and
against other libraries, on one thread.

The map computes scores in coordinates of its own and without the checks of ``score``, so that it
can take less time than as many calls of that. Assignments cost the same to six digits, that of
ott-jax, which computes in single precision, to four; only ours is given the pairs of the map as a
guess. A batch of pairs for training is one with its noise dealt out, ready for the network.
"""

from __future__ import annotations

import os
from functools import partial

import numpy as np
import ot
import torch
from torch import Tensor

from benchmarks.measuring import in_turn, row, rows, seconds
from bookkit.sweeps import sweep
from chapters.random_densities.visibility import (
    BracketTask,
    DensityTask,
    measure_bracket,
    measure_density,
    random_gaussian_mixture,
)
from diffot import seeds
from diffot.flows.exact import ExactFlow
from diffot.laws.mixtures import GaussianMixture, equal_mixture, thesis_mixture
from diffot.learning.objectives import DenoisingLoss
from diffot.processes.schedules import Rectified
from diffot.transport.assignment import optimal_assignment, transport_cost

TITLE = "Exact machinery"
THREADS = 1
PEERS = ("POT", "ott-jax", "torchcfm", "torchdiffeq")
SIZES = ((4, 2), (64, 2), (400, 2), (16, 64), (64, 64))  # components, dimension
ASKED = 150  # densities a minute

WHY_SCORE = (
    "In few dimensions the two products are small beside the passes that subtract, divide, "
    "square and weigh every component at every point (not timed one by one)."
)
WHY_ASSIGNMENT = "Costs of all pairs are computed and checked once more at the end."
WHY_DENSITIES = "A density costs several seconds of a core."


def measure(tiny: bool = False) -> list[dict]:
    points, rounds, n = (100, 1, 50) if tiny else (4000, 7, 2000)
    draws = seeds.generator(0, "benchmark of exact machinery")
    with torch.no_grad():
        return [
            *(
                made
                for size in SIZES[: 1 if tiny else None]
                for made in score(*size, points, rounds, draws)
            ),
            *exact_map(points, rounds, draws),
            *assignment(n, rounds, draws),
            pairs(256, rounds, draws),
            *random_densities(0 if tiny else 10),
        ]


def score(k: int, d: int, n: int, rounds: int, draws: torch.Generator) -> list[dict]:
    """Scores against their two products of matrices, points with axes and back: written down
    plainly, and in the arrangement that is fastest here, in parts that the cache holds."""
    means = torch.randn(k, d, dtype=torch.float64, generator=draws)
    law = equal_mixture(means.tolist(), 0.1)
    x = torch.randn(n, d, dtype=torch.float64, generator=draws)
    axes = torch.randn(k * d, d, dtype=torch.float64, generator=draws)
    parts = x.split(max(1, 2**17 // (k * d)))
    ways = {
        "score": lambda: law.score(x, 0.8, 0.6),
        "its two matrix products": lambda: x @ axes.mT @ axes,
        "the same, arranged best": lambda: [axes.mT @ (axes @ part.mT) for part in parts],
    }
    taken = in_turn(ways, rounds)
    times = {way: [1e6 * value / n for value in values] for way, values in taken.items()}
    name = f"score, {k} components in dimension {d}"
    ours = times.pop("score")
    return rows(name, ours, times, unit="microseconds a point", target=2.0, why=WHY_SCORE)


class Counted(ExactFlow):
    """Counts the points at which the drift is evaluated."""

    evaluations = 0

    def drift(self, alpha: float, x: np.ndarray) -> np.ndarray:
        self.evaluations += x.shape[1]
        return super().drift(alpha, x)


def exact_map(n: int, rounds: int, draws: torch.Generator) -> list[dict]:
    """The map against as many bare scores, and against torchdiffeq's solver of the same order."""
    law = thesis_mixture("Low2DASymMix")
    z = torch.randn(n, 2, dtype=torch.float64, generator=draws)
    counted = Counted(law)
    counted.decode(z)
    calls = round(counted.evaluations / n)

    def scores() -> None:
        for _ in range(calls):
            law.score(z, 0.8, 0.6)

    ways = {"decode": partial(ExactFlow(law).decode, z), "scores": scores}
    ways["torchdiffeq"] = partial(by_torchdiffeq, law, z)
    exact, looser = ExactFlow(law).decode(z), ExactFlow(law, 1e-10).decode(z)
    off, their_off = (
        float((x - exact).norm(dim=1).max()) for x in (looser, ways["torchdiffeq"]())
    )
    times = in_turn(ways, rounds)
    named = partial(row, unit=f"s, {n} points")
    return [
        named(
            f"exact map of L.1b, tolerance 1e-12, {calls} evaluations a point",
            times["decode"],
            times["scores"],
            against="as many bare scores",
            target=2.0,
        ),
        named(
            f"exact map of L.1b, changed by {off:.0e} at most if the tolerance is 1e-10",
            times["decode"],
            times["torchdiffeq"],
            against=f"torchdiffeq, dopri8, tolerance 1e-8, off by {their_off:.0e} at most",
            target=1.0,
        ),
    ]


def by_torchdiffeq(law: GaussianMixture, z: Tensor) -> Tensor:
    """The probability flow in time, from e^-8 of signal, at a tolerance ten thousand times
    larger."""
    from torchdiffeq import odeint

    def velocity(t: Tensor, x: Tensor) -> Tensor:
        alpha = min(float(torch.exp(-t)), 1.0)  # the solver tries times beyond the ends
        return -x - law.score(x, alpha, (1 - alpha**2) ** 0.5)

    times = torch.tensor([8.0, 0.0], dtype=torch.float64)
    return odeint(velocity, z, times, method="dopri8", rtol=1e-8, atol=1e-8)[1]


def assignment(n: int, rounds: int, draws: torch.Generator) -> list[dict]:
    """Pairs that a map makes, as a guess, against solvers that have none."""
    law = random_gaussian_mixture(2, draws)
    x = torch.randn(n, 2, dtype=torch.float64, generator=draws)
    y = ExactFlow(law, 1e-6).decode(x)
    ways = {
        "ours": lambda: optimal_assignment(x, y, guess=torch.arange(n)),
        "ot.emd": lambda: ot.emd([], [], ot.dist(x.numpy(), y.numpy()), numItermax=10**7),
        "ott-jax, Hungarian": by_ott(x, y),
    }
    least = transport_cost(x, y[ways["ours"]()])
    theirs = {
        "ot.emd": ways["ot.emd"]().argmax(1),
        "ott-jax, Hungarian": np.asarray(ways["ott-jax, Hungarian"]())[1],
    }
    for peer, tolerance in (("ot.emd", 1e-6), ("ott-jax, Hungarian", 1e-4)):
        cost = transport_cost(x, y[torch.tensor(theirs[peer])])
        assert abs(cost / least - 1) < tolerance, f"{peer} costs {cost:.9g}, ours {least:.9g}"
    times = in_turn(ways, max(rounds // 2, 1))
    name = f"optimal assignment of {n} points from a map's pairs"
    ours = times.pop("ours")
    return rows(name, ours, times, unit="s", target=1.0, why=WHY_ASSIGNMENT)


def pairs(n: int, rounds: int, draws: torch.Generator) -> dict:
    """A batch of flow matching whose noise is dealt out optimally, ready for the network."""
    from torchcfm.conditional_flow_matching import ExactOptimalTransportConditionalFlowMatcher

    x, y = torch.randn(2, n, 2, generator=draws)
    objective = DenoisingLoss(Rectified(), "flow", coupling="optimal")
    theirs = ExactOptimalTransportConditionalFlowMatcher(sigma=0.0)
    ways = {
        "ours": lambda: objective.prepare((x, {}), draws),
        "torchcfm": lambda: theirs.sample_location_and_conditional_flow(y, x),
    }
    times = in_turn(ways, 3 * rounds)
    return row(
        f"a batch of {n} optimal pairs for training",
        times["ours"],
        times["torchcfm"],
        unit="s",
        against="torchcfm",
        target=1.0,
        why=WHY_ASSIGNMENT,
    )


def by_ott(x: Tensor, y: Tensor):
    """In single precision, which is the peer's own, and on one thread as the others."""
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    import jax
    from ott.geometry.pointcloud import PointCloud
    from ott.tools.unreg import hungarian

    solve = jax.jit(lambda a, b: hungarian(PointCloud(a, b))[1].paired_indices)
    ours, theirs = x.float().numpy(), y.float().numpy()
    return lambda: jax.block_until_ready(solve(ours, theirs))


def random_densities(count: int) -> list[dict]:
    """The whole experiment of K.1, as a sweep, and the bounds of one density."""
    if not count:
        return []
    tasks = [DensityTask("compact", i, seed=1) for i in range(count)]
    whole = seconds(lambda: sweep(measure_density, tasks, progress=False)) / count
    brackets = [
        seconds(lambda i=i: measure_bracket(BracketTask("compact", i, 1))) for i in range(3)
    ]
    return [
        row(
            "experiment of K.1 on all cores, a density",
            [whole],
            [60 / ASKED],
            unit="s",
            against=f"{ASKED} densities a minute",
            target=1.0,
            why=WHY_DENSITIES,
        ),
        row(
            "bounds from both sides, a density",
            brackets,
            [60.0] * len(brackets),
            unit="s",
            against="a minute",
        ),
    ]
