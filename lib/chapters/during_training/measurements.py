"""The map of a network at moments of its training, measured: each task is one training.

A row holds, for the exact denoiser through the same steps of DDIM, the columns ``excess_exact``
and ``asymmetry_exact``; ``floor_0`` to ``floor_3``, the distance W2 of two independent samples of
the law as large as those that are compared; and ``floor_exact``, that of the exact denoiser's
points to a sample. For each moment of :data:`MOMENTS` and each of the two sets of weights of
:class:`~diffot.learning.snapshots.Snapshots` it holds, as ``NAME_WEIGHTS_STEP``:

- ``excess``: relative excess of the pairs of latents and points;
- ``law_distance``: W2 between the points and a sample of the law;
- ``map_distance``, ``map_median``: root mean square and median distance of the points from those
  of the exact denoiser for the same latents;
- ``asymmetry``: of the Jacobian of the map, the median;
- ``noise_error``: root mean square difference of the noise, per coordinate, from the exact one;
- for the weights ``network`` only, the bounds of :mod:`chapters.during_training.bounds` on
  ``bound_distance``, the distance of the maps for the latents that they are computed with:
  ``bound_carried``, ``bound_uniform_digits`` and ``bound_stretch_digits``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from chapters.during_training.bounds import error_bounds
from diffot.denoisers.denoiser import Denoiser
from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.network import NetworkDenoiser
from diffot.errors import as_whole_number, require, require_known, require_type
from diffot.flows.sampled import SampledMap
from diffot.laws import examples
from diffot.laws.mixtures import thesis_mixture
from diffot.learning import networks, recipes
from diffot.learning.batches import Draws
from diffot.learning.configuration import DECAYS, TrainConfig
from diffot.learning.objectives import DenoisingLoss
from diffot.learning.snapshots import Snapshots
from diffot.learning.training import train
from diffot.measures.evaluation import noise_errors
from diffot.processes.schedules import scaled_linear
from diffot.seeds import generator
from diffot.transport.assignment import (
    optimal_assignment,
    relative_excess_cost,
    transport_cost,
)
from diffot.transport.certificates import jacobian_asymmetry

LAWS = {"V": examples.bent_pair(), "Low2DASymMix": thesis_mixture("Low2DASymMix")}
MOMENTS = (0, 30, 100, 200, 400, 700, 1000, 1400, 2000)  # steps of training
WEIGHTS = ("network", "average")
SCHEDULE = scaled_linear(1000, 1e-4, 0.02)
NETWORK = recipes.config("Low2DASymMixSiLU").network
BATCH, RATE, AVERAGE = 512, 2e-3, 0.99  # size; learning rate at its highest; decay of the average
SAMPLER_STEPS = 40  # of DDIM
FLOORS = 4  # pairs of samples of the law
JACOBIANS, BOUND_LATENTS, NOISES = 300, 200, 4000  # latents, latents and noisy points


@dataclass(frozen=True)
class TrainingTask:
    """One training and how it is looked at.

    Attributes:
        law: a name in :data:`LAWS`.
        decay: of the learning rate, as in :class:`~diffot.learning.configuration.TrainConfig`.
        seed: of the weights and of everything drawn.
        iterations: steps of training; the moments up to here are measured.
        points: latents, and points of a sample.
    """

    law: str
    decay: str
    seed: int
    iterations: int = MOMENTS[-1]
    points: int = 1000

    def __post_init__(self):
        require_known(self.law, "law", LAWS)
        require_known(self.decay, "decay", DECAYS)
        for name, least in (("seed", 0), ("iterations", 1), ("points", 2)):
            object.__setattr__(self, name, as_whole_number(getattr(self, name), name, least))

    def moments(self) -> tuple[int, ...]:
        """The steps at which the training is measured."""
        return tuple(step for step in MOMENTS if step <= self.iterations)

    def exact(self) -> ExactDenoiser:
        """The denoiser that the network should become."""
        return ExactDenoiser(LAWS[self.law], SCHEDULE)


def measure_training(task: TrainingTask) -> dict:
    """The columns above, of one training."""
    require_type(task, TrainingTask, "task", "a TrainingTask")
    exact, draws = task.exact(), generator(task.seed, f"measuring the training on {task.law}")
    z = torch.randn(task.points, 2, dtype=torch.float64, generator=draws)
    sample = exact.law.sample(task.points, draws)
    reference = SampledMap(exact, SAMPLER_STEPS).decode(z)
    columns = {
        "excess_exact": relative_excess_cost(z, reference),
        "asymmetry_exact": median_asymmetry(exact, z),
        "floor_exact": law_distance(reference, sample),
        **{
            f"floor_{i}": law_distance(*exact.law.sample(2 * task.points, draws).chunk(2))
            for i in range(FLOORS)
        },
    }
    noises = draws.get_state()  # the same noisy points for all
    for weights, step, model in trained(task):
        draws.set_state(noises)
        row = map_columns(model, z, reference, sample) | {
            "noise_error": noise_errors(model, exact, NOISES, draws).rmse
        }
        if weights == "network":
            bounds = error_bounds(exact, model, z[:BOUND_LATENTS], SAMPLER_STEPS)
            row |= {f"bound_{name}": value for name, value in vars(bounds).items()}
        columns |= {f"{name}_{weights}_{step}": value for name, value in row.items()}
    return columns


def trained(task: TrainingTask) -> Iterator[tuple[str, int, NetworkDenoiser]]:
    """Train, and give the networks of both sets of weights at each moment."""
    network = networks.build(NETWORK, task.seed)
    snapshots = Snapshots(task.moments())
    train(
        network,
        Draws(LAWS[task.law].sample),
        DenoisingLoss(SCHEDULE),
        TrainConfig(task.iterations, BATCH, RATE, decay=task.decay, ema=AVERAGE),
        generator(task.seed, f"training on {task.law}"),
        progress=False,
        snapshots=snapshots,
    )
    network.requires_grad_(False)
    for step, both in snapshots.weights.items():
        for weights in WEIGHTS:
            network.load_state_dict(both[weights])
            yield weights, step, NetworkDenoiser(network, SCHEDULE)


def map_columns(model: Denoiser, z: Tensor, reference: Tensor, sample: Tensor) -> dict:
    """What can be said of a map by its points: the first five of the columns above.

    Args:
        z: latents, shape (n, 2). reference: their points under the exact denoiser.
        sample: of the law, shape (n, 2).
    """
    x = SampledMap(model, SAMPLER_STEPS).decode(z)
    off = (x - reference).norm(dim=1)
    return {
        "excess": relative_excess_cost(z, x),
        "law_distance": law_distance(x, sample),
        "map_distance": float(off.square().mean().sqrt()),
        "map_median": float(off.median()),
        "asymmetry": median_asymmetry(model, z),
    }


def median_asymmetry(denoiser: Denoiser, z: Tensor) -> float:
    """Of the Jacobians at the first of the latents."""
    jacobian = SampledMap(denoiser, SAMPLER_STEPS).jacobian(z[:JACOBIANS])
    return float(jacobian_asymmetry(jacobian).median())


def law_distance(x: Tensor, y: Tensor) -> float:
    """W2 of two samples of the same size."""
    return transport_cost(x, y[optimal_assignment(x, y)]) ** 0.5


def curves(table: pd.DataFrame) -> pd.DataFrame:
    """A table of trainings with one line for each moment and set of weights."""
    lines = []
    for _, row in table.iterrows():
        task = {name: row[name] for name in ("law", "decay", "seed", "iterations")}
        for weights in WEIGHTS:
            for step in (moment for moment in MOMENTS if moment <= row.iterations):
                end = f"_{weights}_{step}"
                measures = {
                    name.removesuffix(end): value
                    for name, value in row.items()
                    if name.endswith(end)
                }
                lines.append({**task, "weights": weights, "step": step, **measures})
    return pd.DataFrame(lines)


def per_seed(curves: pd.DataFrame, measure: str) -> pd.DataFrame:
    """One measure of one law, one decay and one set of weights: a row for each seed, a column
    for each moment."""
    return curves.pivot(index="seed", columns="step", values=measure)


def interval(values: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Ends of the interval for the mean over seeds, shape (2, ...), by Student's t.

    Args:
        values: shape (seeds, ...), at least two seeds; independent and nearly normal.
    """
    require(len(values) >= 2, f"values are of {len(values)} seeds; expected at least two")
    reach = stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values)
    return np.stack([values.mean(0) - reach, values.mean(0) + reach])
