"""Langevin dynamics with a network of digits, measured.

The network was trained on a variance preserving process; :class:`RescaledDenoiser` makes a
noise conditional score network of it. Each task is one sampler, its row the quality of what it
draws (:func:`diffot.measures.quality.quality_table`), for ``samples``, ``real`` images and a
``gaussian`` fit, beside the error of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.denoisers.rescaled import RescaledDenoiser
from diffot.errors import as_number, require, require_type
from diffot.estimates import GROUPS
from diffot.learning import datasets, measured, recipes, registry
from diffot.measures import quality
from diffot.processes.schedules import VarianceExploding
from diffot.samplers.ddim import ddim
from diffot.samplers.langevin import annealed_langevin
from diffot.seeds import generator

MODEL, PROBE = "Digits28", "DigitsProbe28"
LEAST = 0.03  # noise at the last level; the network has seen none below 0.0292
STEP = 0.2  # size of a step by the square of the noise, as the report's 2e-5 / 0.01^2
BATCH = 50  # images that pass through the network at a time
MEASURES = ("feature_distance", "sliced_wasserstein", "attribute_digit", "nearest_ratio")
KINDS = {"samples": "samples", "real images": "real", "Gaussian fit": "gaussian"}


@dataclass(frozen=True)
class DigitsTask:
    """One way to draw digits.

    Attributes:
        weights: the first digits of the hash of the network's weights.
        first: noise at the first level. The start is noise of this size, at least 1.
        levels: of noise, in geometric progression down to ``LEAST``; 0 for DDIM.
        steps: at each level, or of DDIM.
        n: number of images, at least 10.
        seed: of everything drawn.
    """

    weights: str
    first: float
    levels: int
    steps: int
    n: int
    seed: int = 0

    def __post_init__(self):
        measured.require_weights(MODEL, self.weights)
        measured.set_whole_numbers(self, levels=0, steps=1, n=GROUPS, seed=0)
        first = as_number(self.first, "first", at_least=LEAST)
        object.__setattr__(self, "first", first)
        require(
            self.levels != 1 or first == LEAST,
            f"first is {first} with one level; expected {LEAST}, the last level, or more levels",
        )

    @property
    def evaluations(self) -> int:
        """Of the network, for each image."""
        return max(self.levels, 1) * self.steps


def measure_digits(task: DigitsTask) -> dict[str, float]:
    """The columns ``KIND_MEASURE`` and ``KIND_MEASURE_error``."""
    require_type(task, DigitsTask, "task", "a DigitsTask")
    training = datasets.load_images(recipes.config(MODEL).data).images
    table = quality.quality_table(
        draw(task),
        training,
        measured.held_out(MODEL, 2 * task.n).images,
        registry.load(PROBE),
        generator(task.seed, "measures of digits"),
    )
    columns = [f"{name}{end}" for name in MEASURES for end in ("", "_error")]
    return {
        f"{short}_{column}": float(table.loc[kind, column])
        for kind, short in KINDS.items()
        for column in columns
    }


def draw(task: DigitsTask) -> Tensor:
    """The images of a task, clamped to [-1, 1], shape (n, 1, 28, 28)."""
    denoiser = network()
    draws = generator(task.seed, "digits by their score")
    start = max(task.first, 1.0) * torch.randn(task.n, 1, 28, 28, generator=draws)
    with torch.no_grad():
        images = [drawn(denoiser, part, task, draws) for part in start.split(BATCH)]
    return torch.cat(images).clamp(-1, 1)


def network() -> Denoiser:
    """The network of digits, with the noise in its images for its time."""
    return RescaledDenoiser(registry.load(MODEL), VarianceExploding())


def drawn(denoiser: Denoiser, x: Tensor, task: DigitsTask, draws: torch.Generator) -> Tensor:
    """The images that the sampler of a task makes of noise x of the first level."""
    if task.levels == 0:
        return ddim(denoiser, x, [*VarianceExploding(task.first, LEAST).timesteps(task.steps)])
    sigmas = np.geomspace(task.first, LEAST, task.levels).tolist()
    x = annealed_langevin(denoiser, x, sigmas, STEP, task.steps, draws)
    return denoiser.denoise(x, LEAST)
