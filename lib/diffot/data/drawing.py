"""What drawn images have in common: choosing classes, varying colors, rasterizing."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import resvg_py
import torch
from PIL import Image

from diffot.data import cache
from diffot.data.images import LabeledImages
from diffot.errors import as_number, as_whole_number, require, require_type

# An SVG, and the number of the class of each label.
Drawing = tuple[str, dict[str, int]]

# The same for faces and animals, so that images from the same latent can be compared.
BACKGROUNDS = {"blue": "#6fa8e6", "green": "#86cc8c", "pink": "#f2a3c4", "violet": "#9479d1"}


def rasterize(svg: str, size: int) -> np.ndarray:
    """An SVG as pixels, uint8 of shape (3, size, size).

    Raises:
        ValueError: for a text that is no SVG, and a size below 1.
    """
    require_type(svg, str, "svg", "the text of an SVG")
    size = as_whole_number(size, "size", least=1)
    try:
        png = resvg_py.svg_to_bytes(
            svg_string=svg, width=size, height=size, background="#fff", skip_system_fonts=True
        )
    except ValueError as error:
        raise ValueError(f"svg cannot be drawn ({error}); expected the text of an SVG") from error
    image = Image.open(io.BytesIO(png)).convert("RGB")
    return np.asarray(image).transpose(2, 0, 1)


def choose(u: float, probabilities: Sequence[float]) -> int:
    """The class in which u, uniform on [0, 1), falls: class k has length probabilities[k].

    Raises:
        ValueError: for u outside of [0, 1], and probabilities that are negative or do not sum
            to 1.
    """
    u = as_number(u, "u", at_least=0, at_most=1)
    require_type(probabilities, Sequence, "probabilities", "a list of numbers")
    lengths = [as_number(p, "one of the probabilities", at_least=0) for p in probabilities]
    edges = np.cumsum(lengths)
    require(
        len(edges) > 0 and abs(edges[-1] - 1) < 1e-9,
        f"probabilities are {probabilities}; expected a sum of 1",
    )
    return min(int(np.searchsorted(edges, u, side="right")), len(edges) - 1)


def vary_color(
    color: str, rng: np.random.Generator, lightness: float = 10, hue: float = 6
) -> str:
    """A color like the given one, as ``#rrggbb``.

    Args:
        lightness: all channels move together by up to this, of 255.
        hue: each channel moves by up to this on its own.

    Raises:
        ValueError: for a color of another form, and amounts below 0.
    """
    require_type(color, str, "color", "a text like '#6fa8e6'")
    require(
        re.fullmatch("#[0-9a-fA-F]{6}", color) is not None,
        f"color is {color!r}; expected one like '#6fa8e6'",
    )
    require_type(rng, np.random.Generator, "rng", "a generator, np.random.default_rng(seed)")
    lightness = as_number(lightness, "lightness", at_least=0)
    hue = as_number(hue, "hue", at_least=0)
    channels = [int(color[k : k + 2], 16) for k in (1, 3, 5)]
    shift = rng.uniform(-lightness, lightness) + rng.uniform(-hue, hue, 3)
    moved = np.clip(np.round(channels + shift), 0, 255).astype(int)
    return "#" + "".join(f"{channel:02x}" for channel in moved)


@dataclass(frozen=True)
class Series:
    """A series of drawings without end.

    Args:
        name: of the data set.
        draw: called with an index and the seed; gives the image's SVG and labels. Picklable.
        classes: of each label.
        recipe: everything else that the drawings depend on, as JSON.
        packages: whose versions matter.
    """

    name: str
    draw: Callable[[int, int], Drawing]
    classes: dict[str, tuple[str, ...]]
    recipe: dict
    packages: Sequence[str]


def provide(series: Series, n: int, size: int, seed: int, folder: str | Path) -> LabeledImages:
    """The first n images of a series, drawn or from the cache.

    Raises:
        TypeError: if n, size or seed is no whole number.
        ValueError: if n or size is below 1 or the seed below 0.
    """
    n, size = as_whole_number(n, "n", least=1), as_whole_number(size, "size", least=1)
    seed = as_whole_number(seed, "seed", least=0)
    indices = range(cache.CHUNK * math.ceil(n / cache.CHUNK))
    arrays = cache.provide(
        f"{series.name}-{size}px",
        {"size": size, "seed": seed, **series.recipe},
        series.packages,
        indices,
        partial(_draw_piece, series.draw, size, seed),
        folder,
    )
    return LabeledImages(
        torch.from_numpy(arrays["pixels"][:n]),
        {label: torch.from_numpy(arrays[label][:n].astype(np.int64)) for label in series.classes},
        series.classes,
    )


def _draw_piece(
    draw: Callable[[int, int], Drawing], size: int, seed: int, indices: Sequence[int]
) -> cache.Arrays:
    """Pixels and labels of the images with these indices."""
    drawn = [draw(index, seed) for index in indices]
    pixels = np.stack([rasterize(svg, size) for svg, _ in drawn])
    names = drawn[0][1]
    return {
        "pixels": pixels,
        **{name: np.array([labels[name] for _, labels in drawn], np.uint8) for name in names},
    }
