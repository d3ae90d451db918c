"""The rows of the comparison."""

from __future__ import annotations

from chapters.transport_methods.methods import LAWS, MethodTask

SEEDS = 3
EPSILONS = (1.0, 0.3, 0.1)
GROUP = 128  # pairs among which latents are dealt out; on the V also
SMALL_GROUP = 16
POINTS = 500  # of the semi-discrete transport
ROUNDS = 3  # of reflow on the V; elsewhere one


def comparison() -> list[MethodTask]:
    """All of them."""
    tasks = [MethodTask(law, "exact flow", 0, 0) for law in LAWS]
    for law in LAWS:
        for seed in range(SEEDS):
            rounds = ROUNDS if law == "V" else 1
            tasks += [
                MethodTask(law, "reflow", rounds, seed),
                MethodTask(law, "minibatch", GROUP, seed),
                MethodTask(law, "semi-discrete", POINTS, seed),
                *(MethodTask(law, "entropic", epsilon, seed) for epsilon in EPSILONS),
            ]
    return tasks + [MethodTask("V", "minibatch", SMALL_GROUP, seed) for seed in range(SEEDS)]


def small() -> list[MethodTask]:
    """Nothing but short trainings and coarse grids, to be computed again."""
    return [
        MethodTask("V", method, setting, 0, iterations=20, points=200, spacing=0.5)
        for method, setting in (("reflow", 1), ("minibatch", GROUP))
    ]
