"""What trained models of images draw, measured: each function gives one row of a table.

A ``measure`` function takes a task, whose fields are the key of its row. Samples are drawn with
DDIM from N(0, I). They are clamped to [-1, 1] for all but the distances between numbers of steps.

A task names the first digits of the hash of the model's ``weights``, as its card has them, and
others are refused: a table is about the weights that its tasks name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas
import torch
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.denoisers.network import NetworkDenoiser
from diffot.errors import (
    as_shape,
    as_whole_number,
    require,
    require_batch,
    require_generator,
    require_type,
)
from diffot.estimates import GROUPS, columns, mean
from diffot.learning import datasets, measured, recipes, registry
from diffot.learning.attributes import AttributeProbe
from diffot.learning.epoch_kinds import ProbeRecipe
from diffot.measures import quality
from diffot.measures.distances import differently_read, distances
from diffot.samplers.ddim import ddim
from diffot.seeds import generator

BATCH = 50  # latents that pass through a network at a time
COUNTS = (10, 20, 50, 100, 200, 500)  # of DDIM steps, each compared with T steps


@dataclass(frozen=True)
class QualityTask:
    """Samples of a model that are compared with real images and a Gaussian.

    Attributes:
        model: a name in ``recipes.RECIPES``, of a model of images.
        weights: see the module's description.
        probe: a name in ``recipes.RECIPES``, of a probe for such images.
        n: number of samples, and of the held-out images that they are compared with; at least
            10.
        steps: of DDIM.
        train: how many of the training images, from the first, are searched for the nearest ones
            and have the Gaussian fitted to them.
        seed: of everything drawn.
    """

    model: str
    weights: str
    probe: str
    n: int
    steps: int
    train: int
    seed: int = 0

    def __post_init__(self):
        measured.require_weights(self.model, self.weights)
        recipes.config(self.probe, ProbeRecipe)
        measured.set_whole_numbers(self, n=GROUPS, steps=1, train=2, seed=0)


def measure_quality(task: QualityTask) -> dict[str, float]:
    """The quality of n samples of a model, beside real images and a Gaussian.

    Returns:
        One row; :func:`unfold` makes the table of :func:`diffot.measures.quality.quality_table`
        of it.
    """
    require_type(task, QualityTask, "task", "a QualityTask")
    model, n = task.model, task.n
    training = datasets.load_images({**recipes.config(model).data, "n": task.train}).images
    draws = generator(task.seed, f"{model}, samples")
    samples = sample(registry.load(model), training.shape[1:], n, task.steps, draws)
    table = quality.quality_table(
        samples,
        training,
        measured.held_out(model, 2 * n).images,
        registry.load(task.probe),
        generator(task.seed, f"{model}, measures"),
    )
    return fold(table.drop(columns="n"))


def fold(table: pandas.DataFrame) -> dict[str, float]:
    """A table of measures as one row, whose columns are called ``IMAGES: MEASURE``."""
    require_type(table, pandas.DataFrame, "table", "a table, as of quality_table")
    return {
        f"{images}: {measure}": float(value)
        for images, row in table.iterrows()
        for measure, value in row.items()
    }


def unfold(row: Mapping[str, object]) -> pandas.DataFrame:
    """The table in a row of :func:`measure_quality`: a line for each kind of images."""
    require_type(row, Mapping, "row", "a dict, as of measure_quality")
    cells = {tuple(key.split(": ")): value for key, value in row.items() if ": " in key}
    kinds = list(dict.fromkeys(images for images, _ in cells))
    measures = list(dict.fromkeys(measure for _, measure in cells))
    require(
        0 < len(cells) == len(kinds) * len(measures),
        f"row has {len(cells)} columns of the form 'IMAGES: MEASURE', for {len(kinds)} kinds of "
        f"images and {len(measures)} measures; expected a row of measure_quality",
    )
    return pandas.DataFrame(
        [[cells[images, measure] for measure in measures] for images in kinds], kinds, measures
    )


@dataclass(frozen=True)
class StepsTask:
    """Few steps that are compared with T steps.

    Attributes:
        n: number of latents, at least 2.
        model, weights, probe, seed: as in :class:`QualityTask`.
    """

    model: str
    weights: str
    probe: str
    n: int
    seed: int = 0

    def __post_init__(self):
        measured.require_weights(self.model, self.weights)
        recipes.config(self.probe, ProbeRecipe)
        measured.set_whole_numbers(self, n=2, seed=0)


def measure_steps(task: StepsTask) -> dict[str, float]:
    """How far few steps lead from where T steps lead, over n latents: :func:`steps_columns`."""
    require_type(task, StepsTask, "task", "a StepsTask")
    shape = datasets.load_images({**recipes.config(task.model).data, "n": 1}).pixels.shape[1:]
    z = torch.randn(task.n, *shape, generator=generator(task.seed, f"{task.model}, latents"))
    return steps_columns(registry.load(task.model), registry.load(task.probe), z)


def steps_columns(denoiser: Denoiser, probe: AttributeProbe, z: Tensor) -> dict[str, float]:
    """How far few steps lead from where T steps lead.

    Args:
        z: latents, shape (n, C, H, W), n >= 2.

    Returns:
        One row. For each number of steps N in ``COUNTS``: ``distance_N``, the mean of
        :func:`~diffot.measures.distances.distances`, its standard error ``distance_N_error``,
        and ``distance_N_most``, the largest; and ``changed_N``, the share of the images of which
        the probe reads any label otherwise. And ``apart``, the mean distance between the images
        of one latent and of the next.
    """
    *few, finest = in_steps(denoiser, z, COUNTS)
    row: dict[str, float] = {}
    for count, images in zip(COUNTS, few):
        from_finest = distances(images, finest).double()
        row |= columns(f"distance_{count}", mean(from_finest))
        row[f"distance_{count}_most"] = float(from_finest.max())
        row[f"changed_{count}"] = float(differently_read(probe, images, finest).float().mean())
    return {**row, "apart": float(distances(finest, finest.roll(1, 0)).mean())}


@dataclass(frozen=True)
class ConditionTask:
    """A conditional model that is given the labels of n held-out images, all that it knows.

    Attributes:
        model: a name in ``recipes.RECIPES``, of a conditional model of images.
        n: number of images.
        weights, probe, steps, seed: as in :class:`QualityTask`.
    """

    model: str
    weights: str
    probe: str
    n: int
    steps: int
    seed: int = 0

    def __post_init__(self):
        measured.require_weights(self.model, self.weights)
        recipes.config(self.probe, ProbeRecipe)
        require(
            recipes.config(self.model).network.get("labels") is not None,
            f"{self.model} takes no labels; expected a conditional model",
        )
        measured.set_whole_numbers(self, n=1, steps=1, seed=0)


def measure_condition(task: ConditionTask) -> dict[str, float]:
    """How often a conditional model draws what it is given: :func:`agreement_with_labels`."""
    require_type(task, ConditionTask, "task", "a ConditionTask")
    others = measured.held_out(task.model, task.n)
    labels = {name: others.labels[name] for name in recipes.config(task.model).network["labels"]}
    draws = generator(task.seed, f"{task.model}, told")
    z = torch.randn(task.n, *others.pixels.shape[1:], generator=draws)
    images = conditioned(registry.load(task.model), labels, z, task.steps)
    return agreement_with_labels(registry.load(task.probe), labels, images)


def conditioned(
    denoiser: NetworkDenoiser, labels: Mapping[str, Tensor], z: Tensor, steps: int
) -> Tensor:
    """The images of latents, each with labels of its own, clamped to [-1, 1].

    Args:
        denoiser: of a conditional model.
        labels: classes of each image, by label, shape (n,) each.
        z: shape (n, C, H, W).
    """
    require_type(labels, Mapping, "labels", "a dict with the classes of the images by label")
    require_batch(z, "z")
    with torch.no_grad():
        images = [
            ddim(
                denoiser.condition({label: classes[part] for label, classes in labels.items()}),
                z[part],
                steps,
            )
            for part in torch.arange(len(z)).split(BATCH)
        ]
    return torch.cat(images).clamp(-1, 1)


def agreement_with_labels(
    probe: AttributeProbe, labels: Mapping[str, Tensor], images: Tensor
) -> dict[str, float]:
    r"""How often images show the labels that they were drawn with.

    Args:
        labels: classes of each image, by label, shape (n,) each.
        images: shape (n, C, H, W).

    Returns:
        One row. For each label ``told_NAME``, the share of the images in which the probe reads
        the class that was asked for, and ``chance_NAME``, what this would be if the model had
        not listened, :math:`\sum_k p_k q_k` with the frequencies of classes asked for and read.
    """
    require_type(probe, AttributeProbe, "probe", "an AttributeProbe such as of registry.load")
    require_type(labels, Mapping, "labels", "a dict with the classes of the images by label")
    read, n = probe.classify(images), len(images)
    row: dict[str, float] = {}
    for label, classes in labels.items():
        row[f"told_{label}"] = float((read[label] == classes).double().mean())
        kinds = max(int(classes.max()), int(read[label].max())) + 1
        p, q = (c.bincount(minlength=kinds).double() / n for c in (classes, read[label]))
        row[f"chance_{label}"] = float(p @ q)
    return row


def in_steps(denoiser: Denoiser, z: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """The images of latents z, shape (B, *d), under each number of DDIM steps, and under T."""
    _require_denoiser(denoiser)
    require_batch(z, "z")
    require_type(counts, (tuple, list), "counts", "a list of numbers of steps")
    counts = [as_whole_number(count, "a number in counts", least=1) for count in counts]
    finest: Any = denoiser.schedule.T  # of a table: its number of steps
    with torch.no_grad():
        return [ddim(denoiser, z, n) for n in (*counts, finest)]


def sample(
    denoiser: Denoiser,
    shape: Sequence[int],
    n: int,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """n images of the given shape (C, H, W) from fresh latents, clamped to [-1, 1]."""
    _require_denoiser(denoiser)
    shape, n = as_shape(shape, "shape"), as_whole_number(n, "n", least=1)
    steps = as_whole_number(steps, "steps", least=1)
    require_generator(generator)
    z = torch.randn(n, *shape, generator=generator)
    with torch.no_grad():
        images = [ddim(denoiser, part, steps) for part in z.split(BATCH)]
    return torch.cat(images).clamp(-1, 1)


def _require_denoiser(denoiser: Denoiser) -> None:
    require_type(denoiser, Denoiser, "denoiser", "a Denoiser; as_denoiser makes one")
