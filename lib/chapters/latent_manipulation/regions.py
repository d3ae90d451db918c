"""Regions of images by name, as masks.

A name is a part of the image, then options in any order:

- ``"all"``; ``"eyes"``, ``"mouth"``, ``"hair"`` and ``"face"`` of the drawn faces
  (:data:`diffot.samplers.latents.FACE_BOXES`); or any box, ``"box=LEFT,TOP,RIGHT,BOTTOM"`` in [0,
  1];
- ``"eyes scale=0.7"``: the box shrunk about its center;
- ``"eyes elsewhere"``: a box of the same size at another place, drawn at random, the same one
  every time; ``elsewhere=1``, ``elsewhere=2`` and so on are others;
- ``"eyes soft"`` or ``"eyes soft=0.2"``: with an edge of that width, 0.1 if it is not said;
- ``"eyes segmented"``: the pixels in which at least half of the faces change with the attribute
  that is seen there, or another share, as in ``segmented=0.2``;
- ``"face outside"``: everything else;
- ``"all red"``, ``"eyes blue"``: one channel of it.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from diffot.data import faces
from diffot.errors import as_number, as_whole_number, require, require_type, unknown_name
from diffot.measures import quality
from diffot.samplers import latents
from diffot.seeds import generator

COLORS = quality.CHANNELS[3]
OPTIONS = {"scale": float, "elsewhere": int, "soft": float, "segmented": float}
# What an option means that stands alone.
DEFAULTS = {"elsewhere": 0, "soft": 0.1, "segmented": 0.5}
# What is seen in each part of a face, and from how many faces it is found where.
SEEN_IN = {"eyes": "sunglasses", "mouth": "smile", "hair": "hair_color"}
FACES = 200


def mask(region: str, size: int) -> Tensor:
    """The mask of a region that is named as in the module's description.

    Args:
        size: of the images, in pixels.

    Returns:
        Values in [0, 1], shape (1, size, size), or (3, size, size) for one channel.

    Raises:
        ValueError: for unknown parts and options, and for those that do not go together.
    """
    require_type(region, str, "region", 'a text such as "eyes scale=0.7"')
    size = as_whole_number(size, "size", least=1)
    part, *words = region.split() or [""]
    known = ["all", *latents.FACE_BOXES]
    require(
        part in known or part.startswith("box="),
        unknown_name("region", part, [*known, "box=LEFT,TOP,RIGHT,BOTTOM"]),
    )
    channels = [word for word in words if word in COLORS]
    require(len(channels) <= 1, f"{region!r} names the channels {channels}; expected at most one")
    options = [_option(word, region) for word in words if word not in (*channels, "outside")]
    names = [key for key, _ in options] + ["outside"] * words.count("outside")
    require(len(set(names)) == len(names), f"{region!r} has an option twice; leave one out")
    found = _mask(part, dict(options), size)
    if "outside" in words:
        found = 1 - found
        require(bool(found.any()), f"nothing is outside of {part!r}; leave out 'outside'")
    return latents.channel_mask(found, COLORS.index(channels[0])) if channels else found


def _mask(part: str, options: dict[str, float], size: int) -> Tensor:
    if part == "all":
        require(not options, f"{part!r} goes with a channel only, not with {', '.join(options)}")
        return torch.ones(1, size, size)
    if "segmented" in options:
        require(part in SEEN_IN, f"{part!r} cannot be segmented; {', '.join(SEEN_IN)} can")
        others = ", ".join(options.keys() - {"segmented"})
        require(not others, f"{part!r} cannot be segmented and {others}; choose one of them")
        share = as_number(options["segmented"], "segmented", above=0, at_most=1)
        found = _changes(SEEN_IN[part], size) >= share
        require(bool(found.any()), f"no pixel changes in {share:.0%} of the faces; choose less")
        return found.float()
    box = _scaled(_box(part), options.get("scale", 1.0))
    if "elsewhere" in options:
        box = latents.elsewhere(box, generator(options["elsewhere"], f"not {part}"))
    return latents.box_mask(box, size, options.get("soft", 0.0))


def _option(word: str, region: str) -> tuple[str, float]:
    key, _, number = word.partition("=")
    require(
        key in OPTIONS, unknown_name(f"option of {region!r}", key, [*OPTIONS, "outside", *COLORS])
    )
    require(bool(number) or key in DEFAULTS, f"{word!r} lacks a number, as in {key}=0.7")
    return key, _number(OPTIONS[key], number, word) if number else DEFAULTS[key]


def _box(part: str) -> latents.Box:
    if part in latents.FACE_BOXES:
        return latents.FACE_BOXES[part]
    sides = part.removeprefix("box=").split(",")
    require(len(sides) == 4, f"{part!r} has {len(sides)} numbers; expected left,top,right,bottom")
    return tuple(_number(float, side, part) for side in sides)


def _scaled(box: latents.Box, factor: float) -> latents.Box:
    """A box scaled about its center, and cut off at the edges of the image."""
    factor = as_number(factor, "scale", above=0)
    left, top, right, bottom = box
    x, y = (left + right) / 2, (top + bottom) / 2
    width, height = factor * (right - left) / 2, factor * (bottom - top) / 2
    return (max(x - width, 0.0), max(y - height, 0.0), min(x + width, 1.0), min(y + height, 1.0))


def _number(kind: type, text: str, word: str) -> float:
    try:
        return kind(text)
    except ValueError as error:
        wanted = "a whole number" if kind is int else "a number"
        raise ValueError(f"{text!r} in {word!r} is not {wanted}") from error


@lru_cache
def _changes(attribute: str, size: int) -> Tensor:
    return faces.region(attribute, size, FACES, seed=0)
