"""Manipulations of photographs: the tasks, by their names in the text, and colors elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chapters.latent_manipulation.edits import edit, start
from chapters.latent_manipulation.readings import Target
from chapters.latent_manipulation.regions import Region, region_means
from chapters.latent_manipulation.shifts import BrightnessTask, ShiftTask
from chapters.latent_manipulation.transfers import TransferTask
from diffot.errors import as_number, require_type
from diffot.estimates import GROUPS, columns, mean
from diffot.learning import checkpoints, datasets, measured, registry
from diffot.learning.latent_maps import LatentMap
from diffot.measures.quality import CHANNELS
from diffot.samplers.latents import THESIS_BOXES

MODEL = "Celeb32A"
STEPS = 20  # of DDIM, as in the thesis
PHOTOGRAPHS = 10_000
N, MANY = 64, 256  # images in a manipulation, and where single ones are looked at
PAIRS = 100  # of a transfer

# Where the thesis shifts latents, and what it seeks there. The hair is all but the face.
EYES, MOUTH = (Region(THESIS_BOXES[part]) for part in ("eyes", "mouth"))
HAIR = Region(THESIS_BOXES["face"], outside=True)
SOUGHT = {
    "eyes": (EYES, Target("Eyeglasses", ("yes",))),
    "mouth": (MOUTH, Target("Smiling", ("yes",))),
    "hair": (HAIR, Target("Blond_Hair", ("yes",))),
}
DOSES = {
    "eyes": (-4.5, -3.0, 3.0),
    "mouth": (-4.5, 3.0, 4.5),
    "hair": (-3.0, 3.0),
}
BEST = {"eyes": -4.5, "mouth": 4.5, "hair": 3.0}
# Boxes of the same size elsewhere; for the hair, the face, whose part of the image is smaller.
CONTROLS = {
    "eyes": Region(THESIS_BOXES["eyes"], elsewhere=0),
    "mouth": Region(THESIS_BOXES["mouth"], elsewhere=0),
    "hair": Region(THESIS_BOXES["face"]),
}
WHOLE = Region("all")
SINGLE = {channel: Region("all", channel=channel) for channel in CHANNELS[3]}
CHEEKS = Region((80 / 256, 140 / 256, 176 / 256, 178 / 256))  # between the eyes and the mouth


def shift(
    region: Region, sigmas: float, target: Target | None, images: str = "drawn"
) -> ShiftTask:
    """A shift of latents of the model of faces."""
    return ShiftTask(
        MODEL, checkpoints.hashes(MODEL), region, sigmas, target, N, STEPS, PHOTOGRAPHS, images
    )


def brightness_shifts() -> list[ShiftTask]:
    """Of the whole latent, and of one channel."""
    whole = [shift(WHOLE, s, None) for s in (-3.5, -2.0, -1.0, 0.0, 1.0, 2.0, 3.5)]
    single = [shift(region, s, None) for region in SINGLE.values() for s in (-2.0, 2.0)]
    return whole + single


def brightness_of_latents() -> BrightnessTask:
    """How single images' brightness follows their own latents."""
    return BrightnessTask(MODEL, checkpoints.hashes(MODEL), WHOLE, 1.0, MANY, STEPS, PHOTOGRAPHS)


def boxes() -> list[ShiftTask]:
    """Each of the thesis' boxes with several shifts, and one elsewhere with the best of them."""
    tasks = []
    for part, (region, target) in SOUGHT.items():
        tasks += [shift(region, s, target) for s in DOSES[part]]
        tasks.append(shift(CONTROLS[part], BEST[part], target))
    return tasks


def held_out() -> list[ShiftTask]:
    """Photographs that the model was not trained on, encoded, shifted and decoded."""
    return [shift(r, BEST[part], t, "held out") for part, (r, t) in SOUGHT.items()]


def colors() -> dict[str, ColorTask]:
    """What becomes of the cheeks."""
    regions = {
        "eyes darker": (EYES, -4.5),
        "box elsewhere darker": (CONTROLS["eyes"], -4.5),
        "whole latent darker": (WHOLE, -1.0),
    }
    return {
        name: ColorTask(MODEL, checkpoints.hashes(MODEL), region, s, CHEEKS, N, STEPS)
        for name, (region, s) in regions.items()
    }


def transfers() -> dict[tuple[str, str], TransferTask]:
    """Pieces of other latents, with the feature and without it, and from another place."""
    tasks = {}
    for part, (region, target) in SOUGHT.items():
        for name, where, donors in (
            ("donors with it", region, "with"),
            ("donors without it", region, "without"),
            ("box elsewhere", CONTROLS[part], "with"),
        ):
            tasks[part, name] = TransferTask(
                MODEL, checkpoints.hashes(MODEL), target, where, donors, PAIRS, STEPS
            )
    return tasks


@dataclass(frozen=True)
class ColorTask:
    """A shift of latents in one region, and the colors of another.

    Attributes:
        model: a name in ``recipes.RECIPES``. weights: the first digits of its weights' hash.
        region: where latents are shifted. sigmas: the shift, in standard deviations of the
            latent's mean there. watched: where colors are looked at.
        n: images, at least 10. steps: of DDIM. seed: of latents.
    """

    model: str
    weights: str
    region: Region
    sigmas: float
    watched: Region
    n: int
    steps: int
    seed: int = 0

    def __post_init__(self):
        measured.require_weights(self.model, self.weights)
        for name in ("region", "watched"):
            require_type(getattr(self, name), Region, name, 'a Region, as Region("all")')
        object.__setattr__(self, "sigmas", as_number(self.sigmas, "sigmas"))
        measured.set_whole_numbers(self, n=GROUPS, steps=1, seed=0)


def measure_colors(task: ColorTask) -> dict[str, float]:
    """The mean changes of ``red``, ``green`` and ``blue`` where colors are looked at, of their
    mean, ``brightness``, and of ``warmth``, red less blue, each with its error over images."""
    require_type(task, ColorTask, "task", "a ColorTask")
    z, x = start(LatentMap(task.model, task.steps), "drawn", task.n, task.seed)
    mask = task.region.mask(x.shape[-1])
    y = edit(registry.load(task.model), z, x, mask, task.sigmas, task.steps)
    return color_columns(x.clamp(-1, 1), y.clamp(-1, 1), task.watched.mask(x.shape[-1]))


def color_columns(x: Tensor, y: Tensor, mask: Tensor) -> dict[str, float]:
    """The row of :func:`measure_colors`, of images before and after, shape (n, 3, H, W)."""
    changes = [region_means((y - x)[:, k : k + 1], mask) for k in range(3)]
    row: dict[str, float] = {}
    for name, change in zip(CHANNELS[3], changes):
        row |= columns(name, mean(change))
    row |= columns("brightness", mean(torch.stack(changes).mean(0)))
    return row | columns("warmth", mean(changes[0] - changes[2]))


@dataclass(frozen=True)
class LabelTask:
    """Two labels of the photographs that the networks' own are taken from.

    Attributes:
        given, asked: names of labels.
    """

    given: str
    asked: str

    def __post_init__(self):
        for name in ("given", "asked"):
            require_type(getattr(self, name), str, name, "the name of a label")


def measure_labels(task: LabelTask) -> dict[str, float]:
    """Shares of the photographs ``with`` and ``without`` the given label that have the other one,
    and the numbers of photographs, ``with_n`` and ``without_n``."""
    require_type(task, LabelTask, "task", "a LabelTask")
    data = {"set": "celeba", "size": 32, "n": PHOTOGRAPHS, "labels": [task.given, task.asked]}
    labels = datasets.load_images(data).labels
    given, asked = (labels[name] == 1 for name in (task.given, task.asked))
    return {
        "with": float(asked[given].double().mean()),
        "with_n": float(given.sum()),
        "without": float(asked[~given].double().mean()),
        "without_n": float((~given).sum()),
    }


@dataclass(frozen=True)
class ShadeTask:
    """A label of the photographs that the networks' own are taken from, and how bright they are.

    Attributes:
        asked: name of the label.
    """

    asked: str

    def __post_init__(self):
        require_type(self.asked, str, "asked", "the name of a label")


def measure_shades(task: ShadeTask) -> dict[str, float]:
    """Shares of the ``darkest`` and of the ``brightest`` tenth of the photographs, by their mean
    brightness, that have the label; each of ``n``."""
    require_type(task, ShadeTask, "task", "a ShadeTask")
    data = {"set": "celeba", "size": 32, "n": PHOTOGRAPHS, "labels": [task.asked]}
    photographs = datasets.load_images(data)
    asked = (photographs.labels[task.asked] == 1).double()
    order = photographs.images.flatten(1).mean(1).argsort()
    n = len(order) // 10
    return {
        "darkest": float(asked[order[:n]].mean()),
        "brightest": float(asked[order[-n:]].mean()),
        "n": float(n),
    }
