"""Guided networks of images: each ``measure`` function gives one row of a table.

All images are drawn with DDIM from N(0, I) and clamped to [-1, 1]. A task names the first digits
of the hash of the model's ``weights``, as its card has them, and others are refused. Beside each
number stands the same number for random pairings: of images with the labels, references or
latents of others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.denoisers.guidance import (
    GradientGuidedDenoiser,
    IntervalDenoiser,
    at_clean_point,
    classifier_free,
    cosine_similarity,
)
from diffot.denoisers.network import NetworkDenoiser
from diffot.errors import as_number, require, require_batch, require_type
from diffot.estimates import GROUPS, Estimate, columns, mean
from diffot.learning import measured, recipes, registry
from diffot.learning.attributes import AttributeProbe
from diffot.learning.classifiers import probe_log_probability
from diffot.learning.epoch_kinds import ProbeRecipe
from diffot.measures import quality
from diffot.measures.distances import distances
from diffot.samplers.ddim import ddim
from diffot.seeds import generator

BATCH = 50  # latents that pass through a network at a time
SURE = 0.9  # least probability of the class that a probe reads, for it to be sure
UNTOLD = ("glasses", "beard")  # what the probe reads and the model of faces is never told
Labels = Mapping[str, Tensor]


@dataclass(frozen=True)
class ToldTask:
    """A conditional model under classifier-free guidance.

    Attributes:
        model: a name in ``recipes.RECIPES``, of a conditional model of faces.
        weights: see the module's description.
        probe: a name in ``recipes.RECIPES``, of a probe for such images.
        weight: of guidance.
        n: number of latents, an even number of at least 10; the labels of n / 2 held-out images
            are told to two of them each.
        steps: of DDIM.
        seed: of the latents.
    """

    model: str
    weights: str
    probe: str
    weight: float
    n: int
    steps: int
    seed: int = 0

    def __post_init__(self):
        _check(self, n=GROUPS)
        require(self.n % 2 == 0, f"n is {self.n}; expected an even number")


def measure_told(task: ToldTask) -> dict[str, float]:
    """What guidance by labels does to images: :func:`told_columns`."""
    require_type(task, ToldTask, "task", "a ToldTask")
    others = measured.held_out(task.model, task.n // 2 + 4 * task.n)
    names = recipes.config(task.model).network["labels"]
    labels = {k: others.labels[k][: task.n // 2].repeat_interleave(2) for k in names}
    one, other = others.images[task.n // 2 :].chunk(2)
    z = _latents(task, others.images.shape[1:])
    probe, model = registry.load(task.probe), registry.load(task.model)
    first = told_images(model, labels, task.weight, z, task.steps)
    second = told_images(model, shifted(labels), task.weight, z, task.steps)
    return told_columns(probe, labels, first, second, (one, other))


def told_images(
    denoiser: NetworkDenoiser, labels: Labels, weight: float, z: Tensor, steps: int
) -> Tensor:
    """The images of latents (n, C, H, W), each with labels of its own and guided toward them."""
    require_batch(z, "z")

    def guided(part: Tensor) -> Denoiser:
        own = {label: classes[part] for label, classes in labels.items()}
        if weight in (0, 1):  # one call of the network instead of two
            return denoiser.condition(own) if weight else denoiser
        return classifier_free(denoiser, own, weight)

    parts = torch.arange(len(z)).split(BATCH)
    with torch.no_grad():
        images = torch.cat([ddim(guided(part), z[part], steps) for part in parts])
    return images.clamp(-1, 1)


def shifted(labels: Labels) -> dict[str, Tensor]:
    """Each image's labels exchanged for those of the next pair."""
    return {label: classes.roll(2) for label, classes in labels.items()}


def told_columns(
    probe: AttributeProbe,
    labels: Labels,
    first: Tensor,
    second: Tensor,
    real: tuple[Tensor, Tensor],
) -> dict[str, float]:
    """What images show that were drawn from the same latents with two sets of labels.

    Args:
        labels: that the first images were told, two images after each other the same.
        first, second: images with these labels, and with :func:`shifted` ones.
        real: two sets of as many other real images as there are in both.

    Returns:
        One row, with standard errors over images. ``told``: share of labels that the probe reads
        as they were told; ``told_random``: as the next pair was told. Root mean square
        distances: ``within``, of two images with the same labels; ``across``, of two with other
        labels and latents; ``kept``, of the two images of one latent. ``untold_kept``: share of
        the labels that are never told that the two images of a latent have in common;
        ``untold_random``, that images of other latents have. ``features``: distance from real
        images, and ``features_real`` between two sets of these. ``beard``: share of images with
        a beard; ``unsure``: share of which the probe is unsure of some told label, and
        ``unsure_real`` of real images.
    """
    read, again = probe.classify(first), probe.classify(second)
    everyone = torch.cat([first, second])
    unsure_real = unsure(probe, real[0], labels)
    return {
        **columns("told", _as_told(read, labels)),
        **columns("told_random", _as_told(read, shifted(labels))),
        **columns("within", mean(distances(first[::2], first[1::2]))),
        **columns("across", mean(distances(first, first.roll(3, 0)))),
        **columns("kept", mean(distances(first, second))),
        **columns("untold_kept", _as_told(read, {k: again[k] for k in UNTOLD})),
        **columns("untold_random", _as_told(read, {k: again[k].roll(1) for k in UNTOLD})),
        **columns("features", quality.feature_distance(probe, everyone, real[0])),
        **columns("features_real", quality.feature_distance(probe, real[1], real[0])),
        **columns("beard", mean(read["beard"].double())),
        **columns("unsure", mean(unsure(probe, first, labels).double())),
        **columns("unsure_real", mean(unsure_real.double())),
    }


def unsure(probe: AttributeProbe, images: Tensor, labels: Labels) -> Tensor:
    """Whether the probe gives less than ``SURE`` to the class it reads, of any of some labels."""
    with torch.no_grad():
        probabilities = probe(images)
    least = torch.stack([probabilities[label].amax(1) for label in labels]).amin(0)
    return least < SURE


@dataclass(frozen=True)
class ClassifierTask:
    """A model that is guided by a probe, which is asked at the expected clean image.

    Attributes:
        label, index: the class that it is guided toward, a label of the probe and its class.
        high: noise level sigma / alpha above which it is not guided, above 0.
        model, weights, probe, weight, steps, seed: as in :class:`ToldTask`; the model need not
            be conditional. n: number of latents, at least 10.
    """

    model: str
    weights: str
    probe: str
    label: str
    index: int
    high: float
    weight: float
    n: int
    steps: int
    seed: int = 0

    def __post_init__(self):
        _check(self, n=GROUPS)
        measured.set_whole_numbers(self, index=0)
        object.__setattr__(self, "high", as_number(self.high, "high", above=0))


def measure_classifier(task: ClassifierTask) -> dict[str, float]:
    """What guidance by a probe does: :func:`steered_columns` with the class as goal.

    Returns:
        One row: ``goal``, the share of images read as the class, and those columns.
    """
    require_type(task, ClassifierTask, "task", "a ClassifierTask")
    probe, model = registry.load(task.probe), registry.load(task.model)
    z = _latents(task, _shape(task.model))
    potential = probe_log_probability(probe, {task.label: task.index})
    guided = pushed(model, potential, task.weight, task.high)
    images, free = (_drawn(denoiser, z, task.steps) for denoiser in (guided, model))
    read = probe.classify(images)[task.label] == task.index
    return {
        **columns("goal", mean(read.double())),
        **steered_columns(probe, images, free, task.label),
    }


def pushed(
    denoiser: Denoiser, potential: Callable[[Tensor], Tensor], weight: float, high: float
) -> Denoiser:
    """A denoiser that is guided by a function of clean images at noise levels up to ``high``."""
    guided = GradientGuidedDenoiser(denoiser, at_clean_point(denoiser, potential), weight)
    return IntervalDenoiser(guided, denoiser, 0.0, high)


def push_size(
    denoiser: Denoiser, potential: Callable[[Tensor], Tensor], x: Tensor, t: float
) -> Tensor:
    r"""How far guidance with the weight 1 moves the clean image that is expected at noisy points:
    :math:`\sigma_t^2 \nabla s / \alpha_t`, root mean square, shape (B,)."""
    guided = GradientGuidedDenoiser(denoiser, at_clean_point(denoiser, potential), 1.0)
    with torch.no_grad():
        return distances(guided.denoise(x, t), denoiser.denoise(x, t))


def steered_columns(
    probe: AttributeProbe, images: Tensor, free: Tensor, goal: str = ""
) -> dict[str, float]:
    """What is left of the unguided images of the same latents.

    Args:
        images, free: guided and unguided images of the same latents.
        goal: a label that is not counted among those that may be kept.

    Returns:
        ``moved``: root mean square distance between the two, and ``apart`` between images of
        different latents. ``others``: share of the other labels that both have in common, and
        ``others_random`` with the unguided image of another latent. ``unsure`` as in
        :func:`told_columns`, of all labels of the probe.
    """
    read, before = probe.classify(images), probe.classify(free)
    rest = {label: classes for label, classes in before.items() if label != goal}
    return {
        **columns("moved", mean(distances(images, free))),
        **columns("apart", mean(distances(free, free.roll(1, 0)))),
        **columns("others", _as_told(read, rest)),
        **columns("others_random", _as_told(read, {k: v.roll(1) for k, v in rest.items()})),
        **columns("unsure", mean(unsure(probe, images, read).double())),
    }


@dataclass(frozen=True)
class SimilarityTask:
    """A model that is guided toward reference images, one held-out image for each latent.

    The similarity is the cosine of the angle between a probe's features.

    Attributes:
        model, weights, probe, weight, n, steps, seed: as in :class:`ClassifierTask`.
    """

    model: str
    weights: str
    probe: str
    weight: float
    n: int
    steps: int
    seed: int = 0

    def __post_init__(self):
        _check(self, n=GROUPS)


def measure_similarity(task: SimilarityTask) -> dict[str, float]:
    """What guidance toward a reference does.

    Returns:
        One row: ``similarity`` to the own reference and ``similarity_random`` to that of
        another latent; ``shared``, the share of the probe's labels that image and reference have
        in common, and ``shared_random``; ``distance``, root mean square, and
        ``distance_random``; and :func:`steered_columns`.
    """
    require_type(task, SimilarityTask, "task", "a SimilarityTask")
    probe, model = registry.load(task.probe), registry.load(task.model)
    references = measured.held_out(task.model, task.n).images
    z = _latents(task, references.shape[1:])
    images = similar_images(model, probe, references, task.weight, z, task.steps)
    read, wanted = probe.classify(images), probe.classify(references)
    row: dict[str, float] = {}
    for name, step in (("", 0), ("_random", 1)):
        others = references.roll(step, 0)
        labels = {k: v.roll(step) for k, v in wanted.items()}
        with torch.no_grad():
            cosine = cosine_similarity(probe.features, others)(images)
        row |= columns(f"similarity{name}", mean(cosine.double()))
        row |= columns(f"shared{name}", _as_told(read, labels))
        row |= columns(f"distance{name}", mean(distances(images, others)))
    return row | steered_columns(probe, images, _drawn(model, z, task.steps))


def similar_images(
    denoiser: Denoiser,
    probe: AttributeProbe,
    references: Tensor,
    weight: float,
    z: Tensor,
    steps: int,
) -> Tensor:
    """The images of latents, each guided toward a reference of its own."""
    images = []
    for part in torch.arange(len(z)).split(BATCH):
        similarity = cosine_similarity(probe.features, references[part])
        potential = at_clean_point(denoiser, similarity)
        guided = GradientGuidedDenoiser(denoiser, potential, weight)
        images.append(_drawn(guided, z[part], steps))
    return torch.cat(images)


def _as_told(read: Labels, told: Labels) -> Estimate:
    """Share of labels that agree, with its error over images."""
    agree = torch.stack([read[label] == classes for label, classes in told.items()])
    return mean(agree.double().mean(0))


def _drawn(denoiser: Denoiser, z: Tensor, steps: int) -> Tensor:
    with torch.no_grad():
        return torch.cat([ddim(denoiser, part, steps) for part in z.split(BATCH)]).clamp(-1, 1)


def _shape(model: str) -> tuple[int, ...]:
    return tuple(measured.held_out(model, 1).images.shape[1:])


def _latents(task: Any, shape: tuple[int, ...]) -> Tensor:
    """The same for all weights."""
    return torch.randn(task.n, *shape, generator=generator(task.seed, f"{task.model}, guided"))


def _check(task: Any, n: int) -> None:
    """Check the fields that all tasks have."""
    measured.require_weights(task.model, task.weights)
    recipes.config(task.probe, ProbeRecipe)
    object.__setattr__(task, "weight", as_number(task.weight, "weight"))
    measured.set_whole_numbers(task, n=n, steps=1, seed=0)
