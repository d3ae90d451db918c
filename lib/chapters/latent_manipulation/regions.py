"""Regions of images, as masks, and the mean of images over them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from diffot.data import faces
from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_box,
    require_images,
    require_known,
    require_type,
)
from diffot.measures import quality
from diffot.samplers import latents
from diffot.seeds import generator

COLORS = quality.CHANNELS[3]
PARTS = ("all", *latents.FACE_BOXES)
SOFT = 0.1  # width of an edge where there is no reason for another
# What is seen in each part of a face, and from how many faces it is found where.
SEEN_IN = {"eyes": "sunglasses", "mouth": "smile", "hair": "hair_color"}
FACES = 200


@dataclass(frozen=True)
class Region:
    """A region of an image.

    Attributes:
        part: ``"all"``; ``"eyes"``, ``"mouth"``, ``"hair"`` or ``"face"`` of the drawn faces
            (:data:`diffot.samplers.latents.FACE_BOXES`); or any box, (left, top, right, bottom)
            in [0, 1].
        scale: by which factor the box is stretched about its center.
        elsewhere: a number for a box of the same size at another place, drawn at random, the
            same one every time; other numbers are other places. None for the box itself.
        soft: width of its edge, relative to the image; 0 for a sharp one.
        segmented: a share, in place of the box, for the pixels in which at least so many of the
            faces change with the attribute that is seen there; None for the box.
        outside: everything else instead.
        channel: ``"red"``, ``"green"`` or ``"blue"`` for that one alone, None for all.

    Raises:
        TypeError, ValueError: for values of other types or out of range, and for those that do
            not go together.
    """

    part: str | latents.Box = "all"
    scale: float = 1.0
    elsewhere: int | None = None
    soft: float = 0.0
    segmented: float | None = None
    outside: bool = False
    channel: str | None = None

    def __post_init__(self):
        if isinstance(self.part, tuple):
            object.__setattr__(self, "part", require_box(self.part, "part"))
        else:
            require_known(self.part, "part, or a box,", PARTS)
        bounds = {"scale": {"above": 0}, "soft": {"at_least": 0}}
        if self.segmented is not None:
            bounds["segmented"] = {"above": 0, "at_most": 1}
        for name, bound in bounds.items():
            object.__setattr__(self, name, as_number(getattr(self, name), name, **bound))
        if self.elsewhere is not None:
            number = as_whole_number(self.elsewhere, "elsewhere", least=0)
            object.__setattr__(self, "elsewhere", number)
        require_type(self.outside, bool, "outside", "True or False")
        if self.channel is not None:
            require_known(self.channel, "channel", COLORS)
        self._require_fitting()

    def _require_fitting(self) -> None:
        boxed = {"scale": 1.0, "elsewhere": None, "soft": 0.0}
        options = [name for name, none in boxed.items() if getattr(self, name) != none]
        if self.part == "all":
            options += ["segmented"] * (self.segmented is not None) + ["outside"] * self.outside
            require(not options, f"part 'all' goes with channel only, not with {options}")
        if self.segmented is not None:
            require(
                self.part in SEEN_IN,
                f"part {self.part!r} cannot be segmented; {', '.join(SEEN_IN)} can",
            )
            require(not options, f"segmented does not go with {options}; choose one of them")

    def mask(self, size: int) -> Tensor:
        """The region as a mask.

        Args:
            size: of the images, in pixels.

        Returns:
            Values in [0, 1], shape (1, size, size), or (3, size, size) for one channel.

        Raises:
            ValueError: also if it holds no pixel.
        """
        size = as_whole_number(size, "size", least=1)
        inside = self._inside(size)
        values = 1 - inside if self.outside else inside
        require(bool((values > 0).any()), f"{self} holds no pixel at size {size}")
        if self.channel is None:
            return values
        return latents.channel_mask(values, COLORS.index(self.channel))

    def _inside(self, size: int) -> Tensor:
        if self.part == "all":
            return torch.ones(1, size, size)
        if self.segmented is not None and isinstance(self.part, str):
            return (_changes(SEEN_IN[self.part], size) >= self.segmented).float()
        box = latents.FACE_BOXES[self.part] if isinstance(self.part, str) else self.part
        box = _scaled(box, self.scale)
        if self.elsewhere is not None:
            box = latents.elsewhere(box, generator(self.elsewhere, f"not {self.part}"))
        return latents.box_mask(box, size, self.soft)


def _scaled(box: latents.Box, factor: float) -> latents.Box:
    """A box scaled about its center, and cut off at the edges of the image."""
    left, top, right, bottom = box
    x, y = (left + right) / 2, (top + bottom) / 2
    width, height = factor * (right - left) / 2, factor * (bottom - top) / 2
    return (max(x - width, 0.0), max(y - height, 0.0), min(x + width, 1.0), min(y + height, 1.0))


@lru_cache
def _changes(attribute: str, size: int) -> Tensor:
    return faces.region(attribute, size, FACES, seed=0)


def region_means(images: Tensor, mask: Tensor) -> Tensor:
    """The mean of each image over a region, weighted by the mask; float64 of shape (n,).

    Args:
        images: shape (n, C, H, W).
        mask: values in [0, 1], not all 0; shape (1, H, W) or (C, H, W).
    """
    weights = checked_weights(mask, images, "images")
    return (images.flatten(1) @ weights.flatten() / weights.sum()).double()


def checked_weights(mask: Tensor, images: Tensor, name: str) -> Tensor:
    """A mask for images, of which something is left, in their shape and type."""
    require_images(images, name)
    weights = latents.checked_mask(mask, images).expand(images.shape[1:])
    require(bool((weights > 0).any()), "mask is 0 everywhere, which is no region")
    return weights
