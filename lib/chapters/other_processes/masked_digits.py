"""A network for masked digits: what it is surprised by, and what it draws in how many steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from diffot.errors import require, require_known, require_type
from diffot.estimates import GROUPS, columns, mean
from diffot.laws.tokens import MASK
from diffot.learning import datasets, masking, measured, recipes, registry
from diffot.learning.masking import MaskedNetwork
from diffot.measures import quality
from diffot.samplers import masked
from diffot.seeds import generator

MODEL, PROBE = "Masked28", "DigitsProbe28"
SIDE = 28
PIXELS = SIDE**2
BATCH = 20  # images that are revealed in the same order
ORDERS = ("random", "neighbors", "far apart")


@cache
def model() -> MaskedNetwork:
    """The trained network."""
    return registry.load(MODEL)


def training_images() -> Tensor:
    """What it was trained on, in two tones: -1 and 1, shape (N, 1, 28, 28)."""
    return two_tones(datasets.load_images(recipes.config(MODEL).data).images)


def held_out(n: int) -> Tensor:
    """n digits that it was not trained on, in two tones."""
    return two_tones(measured.held_out(MODEL, n).images)


def two_tones(images: Tensor) -> Tensor:
    """Images whose pixels are -1 or 1."""
    return image_of(masking.tones(images))


def image_of(x: Tensor) -> Tensor:
    """The image of sequences of pixels 0 and 1, values -1 and 1, shape (B, 1, 28, 28)."""
    return (2.0 * x - 1).reshape(-1, 1, SIDE, SIDE)


def independent_surprise(x: Tensor, train: Tensor) -> Tensor:
    """Negative log-likelihood, in nats per pixel, of sequences (B, L) if all pixels were
    independent, with the frequencies in the training images, one of each added; (B,)."""
    bright = (train.double().sum(0) + 1) / (len(train) + 2)
    return -torch.where(x == 1, bright.log(), (1 - bright).log()).mean(1)


@dataclass(frozen=True)
class SurpriseTask:
    """So many hidden pixels of held-out digits.

    Attributes:
        weights: the first digits of the hash of the network's weights.
        hidden: number of hidden pixels, 1 to 784.
        n: digits, at least 10. seed: of which pixels are hidden.
    """

    weights: str
    hidden: int
    n: int = 1000
    seed: int = 0

    def __post_init__(self):
        measured.require_weights(MODEL, self.weights)
        measured.set_whole_numbers(self, hidden=1, n=GROUPS, seed=0)
        require(self.hidden <= PIXELS, f"hidden is {self.hidden}; expected at most {PIXELS}")


def measure_surprise(task: SurpriseTask) -> dict[str, float]:
    """``surprise``: of a hidden pixel, in nats, mean over them and the digits, with its error."""
    require_type(task, SurpriseTask, "task", "a SurpriseTask")
    x = masking.tones(held_out(task.n))
    draws = generator(task.seed, f"{task.hidden} hidden pixels")
    order = torch.rand(x.shape, generator=draws).argsort(1)
    away = order.argsort(1) < task.hidden
    shares = model().conditionals(x.masked_fill(away, MASK))
    surprise = -shares.gather(2, x[:, :, None])[:, :, 0].log()
    return columns("surprise", mean((surprise * away).sum(1) / task.hidden))


@dataclass(frozen=True)
class RevealTask:
    """A way to draw digits.

    Attributes:
        weights: as in :class:`SurpriseTask`.
        order: a name in :data:`ORDERS`: of pixels that are revealed in the same step.
        steps: in how many steps all pixels are revealed; divides 784.
        n: digits drawn, a multiple of 20. seed: of everything drawn.
    """

    weights: str
    order: str
    steps: int
    n: int = 200
    seed: int = 0

    def __post_init__(self):
        measured.require_weights(MODEL, self.weights)
        require_known(self.order, "order", ORDERS)
        measured.set_whole_numbers(self, steps=1, n=BATCH, seed=0)
        require(
            PIXELS % self.steps == 0, f"steps is {self.steps}; expected a divisor of {PIXELS}"
        )
        require(self.n % BATCH == 0, f"n is {self.n}; expected a multiple of {BATCH}")

    def groups(self, draws: torch.Generator) -> list[list[int]]:
        """Which pixels are revealed in each step."""
        size = PIXELS // self.steps
        if self.order == "neighbors":
            return masked.in_order(PIXELS, size)
        if self.order == "far apart":
            return far_apart(self.steps)
        order = torch.randperm(PIXELS, generator=draws).tolist()
        return [order[i : i + size] for i in range(0, PIXELS, size)]


def far_apart(steps: int) -> list[list[int]]:
    """Pixels whose rows and columns agree up to multiples of the root of ``steps``, a square; the
    lattices follow each other in the order of :func:`~diffot.samplers.masked.halving`."""
    stride = round(steps**0.5)
    require(
        stride**2 == steps and SIDE % stride == 0,
        f"steps is {steps}; expected the square of a divisor of {SIDE} for pixels far apart",
    )
    shifts = [place for group in masked.halving(stride) for place in group]
    rows = range(0, SIDE, stride)
    return [
        [SIDE * (row + down) + column + right for row in rows for column in rows]
        for down in shifts
        for right in shifts
    ]


def draw(task: RevealTask) -> Tensor:
    """The digits of a task, in two tones."""
    draws = generator(task.seed, f"digits, {task.order}, {task.steps} steps")
    parts = [
        masked.reveal(model(), BATCH, task.groups(draws), draws) for _ in range(task.n // BATCH)
    ]
    return image_of(torch.cat(parts))


def measure_reveal(task: RevealTask) -> dict[str, float]:
    """Quality of what is drawn and of as many real digits, as of
    :func:`~diffot.measures.quality.quality_table`: ``features``, ``features_real``,
    ``digits``, ``digits_real``, each with its error; all in two tones."""
    require_type(task, RevealTask, "task", "a RevealTask")
    table = quality.quality_table(
        draw(task),
        training_images(),
        held_out(2 * task.n),
        registry.load(PROBE),
        generator(task.seed, "measures of masked digits"),
    )
    names = {"features": "feature_distance", "digits": "attribute_digit"}
    kinds = {"": "samples", "_real": "real images"}
    return {
        f"{short}{kind}{end}": float(table.loc[row, name + end])
        for short, name in names.items()
        for kind, row in kinds.items()
        for end in ("", "_error")
    }
