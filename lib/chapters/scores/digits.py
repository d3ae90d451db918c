"""Langevin dynamics with networks of digits, measured.

One network was trained on a variance preserving process; :class:`RescaledDenoiser` makes a
noise conditional score network of it. Others were trained as such. Each task is one network and
sampler, its row the quality of what it draws (:func:`diffot.measures.quality.quality_table`), for
``samples``, ``real`` images and a ``gaussian`` fit, beside the error of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.denoisers.rescaled import RescaledDenoiser
from diffot.errors import as_number, require, require_known, require_type
from diffot.estimates import GROUPS
from diffot.learning import datasets, measured, recipes, registry
from diffot.measures import quality
from diffot.processes.schedules import VarianceExploding
from diffot.samplers.ddim import ddim
from diffot.samplers.langevin import annealed_langevin
from diffot.seeds import generator

PROBE = "DigitsProbe28"
# The least noise that each network may be asked at: Digits28 has seen none below 0.0292.
LEAST = {"Digits28": 0.03, "NCSN28": 0.01}
STEP = 0.2  # size of a step by the square of the noise, as the report's 2e-5 / 0.01^2
BATCH = 50  # images that pass through the network at a time
MEASURES = ("feature_distance", "sliced_wasserstein", "attribute_digit", "nearest_ratio")
KINDS = {"samples": "samples", "real images": "real", "Gaussian fit": "gaussian"}


@dataclass(frozen=True)
class DigitsTask:
    """One way to draw digits.

    Attributes:
        model: a name in :data:`LEAST`.
        weights: the first digits of the hash of the network's weights.
        first: noise at the first level. The start is noise of this size, at least 1.
        levels: of noise, in geometric progression down to the network's least; 0 for DDIM.
        steps: at each level, or of DDIM.
        n: number of images, at least 10.
        seed: of everything drawn.
    """

    model: str
    weights: str
    first: float
    levels: int
    steps: int
    n: int
    seed: int = 0

    def __post_init__(self):
        measured.require_weights(self.model, self.weights)
        require_known(self.model, "model", LEAST)
        measured.set_whole_numbers(self, levels=0, steps=1, n=GROUPS, seed=0)
        first = as_number(self.first, "first", at_least=self.least)
        object.__setattr__(self, "first", first)
        require(
            self.levels != 1 or first == self.least,
            f"first is {first} with one level; expected {self.least}, the last level, or more "
            "levels",
        )

    @property
    def least(self) -> float:
        """The noise at the last level."""
        return LEAST[self.model]

    @property
    def evaluations(self) -> int:
        """Of the network, for each image."""
        return max(self.levels, 1) * self.steps


def measure_digits(task: DigitsTask) -> dict[str, float]:
    """The columns ``KIND_MEASURE`` and ``KIND_MEASURE_error``."""
    require_type(task, DigitsTask, "task", "a DigitsTask")
    training = datasets.load_images(recipes.config(task.model).data).images
    table = quality.quality_table(
        draw(task),
        training,
        measured.held_out(task.model, 2 * task.n).images,
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
    denoiser = network(task.model)
    draws = generator(task.seed, "digits by their score")
    start = max(task.first, 1.0) * torch.randn(task.n, 1, 28, 28, generator=draws)
    with torch.no_grad():
        images = [drawn(denoiser, part, task, draws) for part in start.split(BATCH)]
    return torch.cat(images).clamp(-1, 1)


def network(model: str) -> Denoiser:
    """A network of digits, with the noise in its images for its time."""
    denoiser = registry.load(model)
    if isinstance(denoiser.schedule, VarianceExploding):
        return denoiser
    return RescaledDenoiser(denoiser, VarianceExploding())


def drawn(denoiser: Denoiser, x: Tensor, task: DigitsTask, draws: torch.Generator) -> Tensor:
    """The images that the sampler of a task makes of noise x of the first level."""
    if task.levels == 0:
        path = VarianceExploding(task.first, task.least).timesteps(task.steps)
        return ddim(denoiser, x, [*path])
    sigmas = np.geomspace(task.first, task.least, task.levels).tolist()
    x = annealed_langevin(denoiser, x, sigmas, STEP, task.steps, draws)
    return denoiser.denoise(x, task.least)
