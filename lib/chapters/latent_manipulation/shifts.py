r"""Shifts of latents in a region, measured: each function gives one row of a table.

A ``measure`` function takes a task, whose fields are the key of its row. Images are clamped to
[-1, 1], as they are shown, before anything is measured. In the columns, ``NAME_error`` is the
standard error of ``NAME``; a share has its 95 % interval (Wilson 1927) from ``NAME_low`` to
``NAME_high``. What cannot be computed, as a share of no images, is NaN.

A task names the first digits of the hash of the model's ``weights``, and others are refused: a
table is about the weights that its tasks name.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from torch import Tensor

from chapters.latent_manipulation import brightness
from chapters.latent_manipulation.edits import IMAGES, METHODS, change, edit, start
from chapters.latent_manipulation.readings import Target, probe_for, readings, require_target
from chapters.latent_manipulation.regions import Region
from diffot.errors import as_number, require_images, require_known, require_type
from diffot.estimates import GROUPS, columns
from diffot.learning import datasets, measured, recipes, registry
from diffot.learning.latent_maps import LatentMap
from diffot.measures import quality
from diffot.transport.linear import LinearMap


@dataclass(frozen=True)
class ShiftTask:
    """A shift of latents that is measured.

    Attributes:
        model: a name in ``recipes.RECIPES``, of a model of images that a probe can read.
        weights: see the module's description.
        region: where latents are shifted.
        sigmas: the shift, in standard deviations of the latent's mean over the region.
        target: what the shift is to bring about, or None.
        n: number of images, at least 10.
        steps: of DDIM.
        train: how many of the training images, from the first, are used for the predictions and
            searched for the nearest ones.
        images: what is manipulated; see :func:`~chapters.latent_manipulation.edits.start`.
        method: see :func:`~chapters.latent_manipulation.edits.edit`.
        seed: of latents and fresh noise.
    """

    model: str
    weights: str
    region: Region
    sigmas: float
    target: Target | None
    n: int
    steps: int
    train: int
    images: str = "drawn"
    method: str = "shift"
    seed: int = 0

    def __post_init__(self):
        measured.require_weights(self.model, self.weights)
        require_type(self.region, Region, "region", 'a Region, as Region("eyes")')
        object.__setattr__(self, "sigmas", as_number(self.sigmas, "sigmas"))
        if self.target is not None:
            require_target(self.target)
        measured.set_whole_numbers(self, n=GROUPS, steps=1, train=2, seed=0)
        require_known(self.images, "images", IMAGES)
        require_known(self.method, "method", METHODS)


def measure_shift(task: ShiftTask) -> dict[str, float]:
    """What becomes of n images if their latents are shifted in a region.

    Returns:
        The columns of :func:`shifted` and of
        :func:`~chapters.latent_manipulation.readings.readings`, against the images before;
        ``quantile`` and ``linear``, which predict ``region_brightness`` without the model
        (:func:`~chapters.latent_manipulation.brightness.predictions`); and ``nearest``, the
        median distance to the nearest training image by that of n held-out images.
    """
    require_type(task, ShiftTask, "task", "a ShiftTask")
    probe = probe_for(task.model)
    mask = task.region.mask(probe.size)
    if task.target is not None:
        task.target.numbers(probe)  # refused before anything is drawn
    z, x = start(LatentMap(task.model, task.steps), task.images, task.n, task.seed)
    y = edit(
        registry.load(task.model),
        z,
        x,
        mask,
        task.sigmas,
        task.steps,
        method=task.method,
        seed=task.seed,
    )
    real = _real_images(task.model, task.train, task.n)
    near = quality.nearness(
        quality.nearest_distances(y.clamp(-1, 1), real.training), real.distances
    )
    return {
        **shifted(x, y, mask),
        **brightness.predictions(real.training, real.linear, z, mask, task.sigmas),
        **columns("nearest", near.ratio),
        **readings(probe, x.clamp(-1, 1), y.clamp(-1, 1), task.target),
    }


def shifted(x: Tensor, y: Tensor, mask: Tensor) -> dict[str, float]:
    """How images differ from those before the shift.

    Args:
        x, y: before and after, shape (n, C, H, W) with n >= 10, not yet clamped.

    Returns:
        The columns of :func:`~chapters.latent_manipulation.brightness.brightness` and of
        :func:`~chapters.latent_manipulation.edits.change`; ``clamped``, the mean over values of
        what is cut off at -1 and 1.
    """
    require_images(x, "x")
    require_images(y, "y")
    visible = y.clamp(-1, 1)
    return {
        **brightness.brightness(visible, mask),
        "clamped": float((y - visible).abs().mean()),
        **change(x.clamp(-1, 1), visible, mask),
    }


@dataclass(frozen=True)
class BrightnessTask:
    """A look at how the brightness of single images follows their own latents.

    Attributes:
        step: a shift that every latent is given, too.
        model, weights, region, n, steps, train, seed: as in :class:`ShiftTask`.
    """

    model: str
    weights: str
    region: Region
    step: float
    n: int
    steps: int
    train: int
    seed: int = 0

    def __post_init__(self):
        measured.require_weights(self.model, self.weights)
        require_type(self.region, Region, "region", 'a Region, as Region("eyes")')
        object.__setattr__(self, "step", as_number(self.step, "step"))
        measured.set_whole_numbers(self, n=GROUPS, steps=1, train=2, seed=0)


def measure_brightness(task: BrightnessTask) -> dict[str, float]:
    """How the brightness of single images follows their own latents:
    :func:`~chapters.latent_manipulation.brightness.single_images`."""
    require_type(task, BrightnessTask, "task", "a BrightnessTask")
    latent_map = LatentMap(task.model, task.steps)
    mask = task.region.mask(latent_map.shape()[-1])
    z, x = start(latent_map, "drawn", task.n, task.seed)
    y = edit(registry.load(task.model), z, x, mask, task.step, task.steps)
    real = _real_images(task.model, task.train, task.n)
    images = (x.clamp(-1, 1), y.clamp(-1, 1))
    return brightness.single_images(real.training, real.linear, z, images, mask)


@dataclass(frozen=True)
class _RealImages:
    """Training images, their linear map, and the distances of held-out images to the nearest."""

    training: Tensor
    linear: LinearMap
    distances: np.ndarray


# A sweep asks for these once for each row.
@lru_cache(maxsize=2)
def _real_images(model: str, train: int, n: int) -> _RealImages:
    training = datasets.load_images({**recipes.config(model).data, "n": train}).images
    others = measured.held_out(model, n).images
    distances = quality.nearest_distances(others, training)
    return _RealImages(training, LinearMap.fit(training), distances)
