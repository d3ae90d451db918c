"""The rows of the comparison."""

from __future__ import annotations

from chapters.transport_methods.methods import LAWS, MethodTask

SEEDS = 3
EPSILONS = (1.0, 0.3, 0.1)
GROUP = 128  # pairs among which latents are dealt out
POINTS = 500  # of the semi-discrete transport
ROUNDS = {"V": 3, "Low2DASymMix": 1, "S-curve": 1, "density": 1}  # of reflow


def comparison(seeds: int = SEEDS) -> list[MethodTask]:
    """All of them; those of the first seeds first."""
    tasks = [MethodTask(law, "exact flow", 0, 0) for law in LAWS]
    for seed in range(seeds):
        for law in LAWS:
            tasks += [
                MethodTask(law, "reflow", ROUNDS[law], seed),
                MethodTask(law, "minibatch", GROUP, seed),
                MethodTask(law, "semi-discrete", POINTS, seed),
                *(MethodTask(law, "entropic", epsilon, seed) for epsilon in EPSILONS),
            ]
    return tasks
