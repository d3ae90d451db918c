"""Densities under a flow and distances between samples, each library at the loosest setting that
is accurate enough.

Log densities of points under the probability flow of an exact denoiser, whose true values are
known; and squared Wasserstein distances between two samples, which an assignment gives exactly
and a Sinkhorn divergence approximately.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import torch
from geomloss import SamplesLoss
from torch import Tensor
from zuko.transforms import FreeFormJacobianTransform

from benchmarks.measuring import in_turn, row
from diffot import seeds
from diffot.denoisers.exact import ExactDenoiser
from diffot.flows.probability import ProbabilityFlow
from diffot.laws.mixtures import GaussianMixture, thesis_mixture
from diffot.learning import recipes
from diffot.transport.assignment import optimal_assignment, transport_cost

TITLE = "Densities and distances"
THREADS = 1
PEERS = ("geomloss", "zuko")
T = TypeVar("T")
NATS = 1e-3  # root mean square error of the log densities
SHARE = 0.01  # error of the squared distance
TOLERANCES = tuple(10.0**-k for k in range(2, 11))
BLURS = tuple(
    (blur, scaling) for blur in (0.5, 0.2, 0.1, 0.05, 0.02, 0.01) for scaling in (0.5, 0.9)
)
LAW = "Low2DASymMix"
WHY = "A divergence sums over all pairs and does not search for the cheapest ones."


def measure(tiny: bool = False) -> list[dict]:
    points, rounds = (50, 1) if tiny else (1000, 7)
    draws = seeds.generator(0, "benchmark of densities and distances")
    return [density(points, rounds, draws), distance(2 * points, rounds, draws)]


def density(n: int, rounds: int, draws: torch.Generator) -> dict:
    """Log densities with the exact divergence, against zuko's."""
    law = thesis_mixture(LAW)
    denoiser = ExactDenoiser(law, recipes.config(LAW).schedule)
    x = law.sample(n, draws)
    true = law.log_prob(x)

    def error(found: Tensor) -> float:
        return float((found - true).square().mean().sqrt())

    ours = loosest(partial(by_flow, denoiser, x), TOLERANCES, error, NATS)
    theirs = loosest(partial(by_zuko, law, x), TOLERANCES, error, NATS)
    times = in_turn({"ours": ours, "zuko": theirs}, rounds)
    return row(
        f"log density of a point under the flow of L.1b, error below {NATS:g}",
        times["ours"],
        times["zuko"],
        unit=f"s, {n} points",
        against="zuko, free-form Jacobian",
        target=1.0,
    )


def by_flow(denoiser: ExactDenoiser, x: Tensor, tolerance: float) -> Tensor:
    return ProbabilityFlow(denoiser, tolerance, denoiser.prior()).log_likelihood(x)


def by_zuko(law: GaussianMixture, x: Tensor, tolerance: float) -> Tensor:
    """In time from the data to e^-8 of signal."""

    def velocity(t: Tensor, x: Tensor) -> Tensor:
        alpha = min(float(torch.exp(-t)), 1.0)  # the solver tries times beyond the ends
        return -x - law.score(x, alpha, (1 - alpha**2) ** 0.5)

    flow = FreeFormJacobianTransform(velocity, 0.0, 8.0, atol=tolerance, rtol=tolerance)
    with torch.no_grad():
        z, log_volume = flow.call_and_ladj(x)
    return torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + log_volume


def distance(n: int, rounds: int, draws: torch.Generator) -> dict:
    """Between noise and a sample of L.1b."""
    x = torch.randn(n, 2, dtype=torch.float64, generator=draws)
    y = thesis_mixture(LAW).sample(n, draws)
    exact = by_assignment(x, y)

    def error(found: float) -> float:
        return abs(found / exact - 1)

    theirs = loosest(partial(by_geomloss, x, y), BLURS, error, SHARE)
    times = in_turn({"ours": partial(by_assignment, x, y), "geomloss": theirs}, rounds)
    return row(
        f"squared Wasserstein distance of {n} points of noise and {n} of L.1b, ours exact",
        times["ours"],
        times["geomloss"],
        unit="s",
        against=f"geomloss, error below {SHARE:.0%}",
        target=1.0,
        why=WHY,
    )


def by_assignment(x: Tensor, y: Tensor) -> float:
    return transport_cost(x, y[optimal_assignment(x, y)])


def by_geomloss(x: Tensor, y: Tensor, setting: tuple[float, float]) -> float:
    """Twice the Sinkhorn divergence of half the squared distance."""
    blur, scaling = setting
    solve = SamplesLoss("sinkhorn", p=2, blur=blur, scaling=scaling, backend="tensorized")
    return 2 * float(solve(x, y))


def loosest(
    solve: Callable[[Any], T],
    settings: Iterable[Any],
    error: Callable[[T], float],
    allowed: float,
) -> Callable[[], T]:
    """The solver at the first setting, from loose to tight, whose error is small enough."""
    for setting in settings:
        if error(solve(setting)) <= allowed:
            return partial(solve, setting)
    raise AssertionError(f"no setting of {list(settings)} has an error below {allowed}")
