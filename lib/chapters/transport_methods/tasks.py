"""The rows of the comparison."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chapters.transport_methods.methods import LAWS, BracketTask, MethodTask

SEEDS = 5  # of what is trained
SAMPLES = 3  # of what is computed from a sample
EPSILONS = (1.0, 0.3, 0.1)
BRIDGES = (1.0, 0.3)  # noise of those on the V; their networks are trained in short turns
BRIDGE_SEEDS = 3
TURN = 400
CONVEX = ("V",)  # laws of the convex networks
CONVEX_POINTS, CONVEX_STEPS = 4000, 2000
GROUP = 128  # pairs among which latents are dealt out; on the V also
SMALL_GROUP = 16
POINTS = 500  # of the semi-discrete transport
ROUNDS = 3  # of reflow on the V; elsewhere one
BRACKETED = ("V", "density")  # laws whose flow has an excess that the grid resolves
BRACKET_SEEDS = 3


SHORT = {
    MethodTask: (("reflow", 1), ("minibatch", GROUP), ("convex network", 500)),
    BracketTask: (("reflow", 1), ("minibatch", GROUP)),
}


def comparison() -> list[MethodTask]:
    """All of them."""
    others = [
        MethodTask(law, method, setting, seed)
        for law in LAWS
        for seed in range(SAMPLES)
        for method, setting in (
            ("semi-discrete", POINTS),
            *(("entropic", epsilon) for epsilon in EPSILONS),
        )
    ]
    bridges = [
        MethodTask("V", "bridge", epsilon, seed, iterations=TURN)
        for epsilon in BRIDGES
        for seed in range(BRIDGE_SEEDS)
    ]
    convex = [
        MethodTask(law, "convex network", CONVEX_POINTS, seed, iterations=CONVEX_STEPS)
        for law in CONVEX
        for seed in range(SEEDS)
    ]
    return [MethodTask(*task) for task in _with_excess(LAWS, SEEDS)] + others + bridges + convex


def brackets() -> list[BracketTask]:
    """Those whose maps are not gradients of convex functions, on the laws of
    :data:`BRACKETED`."""
    return [BracketTask(*task) for task in _with_excess(BRACKETED, BRACKET_SEEDS)]


def small(kind: type[MethodTask] = MethodTask) -> list[MethodTask]:
    """Nothing but short trainings and coarse grids, to be computed again."""
    coarse = {"spacing": 0.5} if kind is BracketTask else {}
    return [
        kind("V", method, setting, 0, iterations=20, points=200, **coarse)
        for method, setting in SHORT[kind]
    ]


def _with_excess(laws: Iterable[str], seeds: int) -> Iterator[tuple[str, str, float, int]]:
    """Law, method, setting and seed of what is no gradient of a convex function."""
    for law in laws:
        yield law, "exact flow", 0, 0
        for seed in range(seeds):
            yield law, "reflow", ROUNDS if law == "V" else 1, seed
            yield law, "minibatch", GROUP, seed
            if law == "V":
                yield law, "minibatch", SMALL_GROUP, seed
