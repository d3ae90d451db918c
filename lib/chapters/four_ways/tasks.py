"""The rows of the comparison.

The number of iterations of each method is what it does in about 20 seconds of one core, by speeds
measured before any training of the comparison. It is fixed, so that rows repeat themselves; the
seconds that a training took are a column of its row.
"""

from __future__ import annotations

import pandas as pd

from chapters.four_ways.methods import GenerationTask

ITERATIONS = {"VAE": 2560, "GAN": 1700, "normalizing flow": 860, "diffusion": 2640}
RATES = {
    "VAE": (1e-3, 3e-3, 1e-2),
    "GAN": (3e-4, 1e-3, 3e-3),
    "normalizing flow": (1e-3, 3e-3, 1e-2),
    "diffusion": (1e-3, 3e-3, 1e-2),
}
SEEDS = 5  # of the trainings shown
PILOT = 5  # the seed by which rates are chosen, of all but the GAN


def pilots() -> list[GenerationTask]:
    """One training with each rate, for the methods that minimize one loss."""
    return [
        GenerationTask(method, rate, PILOT, ITERATIONS[method])
        for method in RATES
        if method != "GAN"
        for rate in RATES[method]
    ]


def chosen_rates(rows: pd.DataFrame) -> dict[str, float]:
    """For each method the rate whose rows have the least mean ``distance``."""
    means = rows.groupby(["method", "rate"], sort=False)["distance"].mean()
    return {method: float(found.idxmin()[1]) for method, found in means.groupby("method")}


def comparison(chosen: dict[str, float]) -> list[GenerationTask]:
    """Five seeds of each method at its chosen rate, and of the GAN at every rate.

    Args:
        chosen: a rate for each method but the GAN.
    """
    rates = {**{name: (rate,) for name, rate in chosen.items()}, "GAN": RATES["GAN"]}
    return [
        GenerationTask(method, rate, seed, ITERATIONS[method])
        for seed in range(SEEDS)
        for method in RATES
        for rate in rates[method]
    ]


def small() -> list[GenerationTask]:
    """Short trainings, to be computed again."""
    return [GenerationTask(method, RATES[method][1], 0, 20, 400) for method in RATES]
