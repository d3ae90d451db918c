"""Drawn animals whose attributes are known, with the art of the package ``animal-avatar``.

Their eyes are where the faces' eyes are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from animal_avatar import shapes

from diffot.data.drawing import BACKGROUNDS, Drawing, Series, choose, provide, vary_color
from diffot.data.images import LabeledImages
from diffot.errors import as_whole_number
from diffot.paths import CACHE

# To be raised with every change below that changes a picture.
RECIPE = 1
PACKAGES = ("animal-avatar", "resvg-py")

# The classes of each attribute and how frequent they are; attributes are independent.
ATTRIBUTES = {
    "ears": dict.fromkeys(("pointed", "floppy", "horned", "round"), 1 / 4),
    "fur": dict.fromkeys(("tan", "brown", "gray", "rose", "teal"), 1 / 5),
    "pattern": {"none": 0.4, "cheek": 0.2, "light patch": 0.2, "dark patch": 0.2},
    "background": dict.fromkeys(BACKGROUNDS, 1 / 4),
}
CLASSES = {name: tuple(classes) for name, classes in ATTRIBUTES.items()}

_FUR = {
    "tan": "#dcb98a",
    "brown": "#8f5f43",
    "gray": "#9aa0a8",
    "rose": "#e8858d",
    "teal": "#4fbfbd",
}
# Places in the package's list of ears; a horned head has ears too.
_EARS = {
    "pointed": (0, 3, 5, 8, 9),
    "floppy": (1, 2, 4, 7),
    "horned": (6, 10, 11, 12),
    "round": (13,),
}
_PATTERNS = {"cheek": 0, "light patch": 1, "dark patch": 2}
# The corner and size of the part of the canvas that is shown.
_VIEW = (-10, -16, 520)


def load(n: int, size: int = 32, seed: int = 0, folder: str | Path = CACHE) -> LabeledImages:
    """Animals with the labels ears, fur, pattern and background.

    Image i depends on ``seed``, i and ``size`` only, and its labels not on ``size``. Use another
    seed for images to be held out.

    Args:
        n: how many.
        size: width and height in pixels.
        folder: where the images are kept when they have been drawn once.

    Raises:
        TypeError: if n, size or seed is no whole number.
        ValueError: if n or size is below 1 or the seed below 0.
    """
    series = Series("animals", animal, CLASSES, {"recipe": RECIPE}, PACKAGES)
    return provide(series, n, size, seed, folder)


def animal(index: int, seed: int = 0) -> Drawing:
    """One animal: its SVG, and its labels.

    Raises:
        ValueError: if the index or seed is below 0.
    """
    index, seed = as_whole_number(index, "index", least=0), as_whole_number(seed, "seed", least=0)
    rng = np.random.default_rng([seed, index])
    labels = {name: choose(rng.random(), list(c.values())) for name, c in ATTRIBUTES.items()}
    words = {name: CLASSES[name][label] for name, label in labels.items()}
    fur = vary_color(_FUR[words["fur"]], rng)
    background = vary_color(BACKGROUNDS[words["background"]], rng, lightness=18)
    ears = shapes.EARS[rng.choice(_EARS[words["ears"]])]
    hair = shapes.HAIRS[rng.integers(len(shapes.HAIRS))] if rng.random() < 0.5 else None
    muzzle = shapes.MUZZLES[rng.integers(len(shapes.MUZZLES))]
    eyes = shapes.EYES[rng.integers(len(shapes.EYES))]
    brows = shapes.BROWS[rng.integers(len(shapes.BROWS))]
    fall, drop = rng.uniform(-10, 12), rng.uniform(-6, 12)

    left, top, width = _VIEW
    parts = [
        f'<rect x="{left}" y="{top}" width="{width}" height="{width}" fill="{background}"/>',
        shapes.FACES[0](fur),
        shapes.PATTERNS[_PATTERNS[words["pattern"]]](fur) if words["pattern"] != "none" else "",
        _moved(ears(fur), rng.uniform(0.95, 1.08), 0, 0, (250, 200)),
        hair(fur) if hair else "",
        _moved(muzzle(fur), rng.uniform(0.9, 1.3), rng.uniform(-6, 6), drop, (250, 310)),
        _moved(eyes(fur), rng.uniform(0.95, 1.15), rng.uniform(-5, 5), fall, (250, 253)),
        _moved(brows(fur), 1, 0, min(fall, 4), (250, 195)),
    ]
    view = f"{left} {top} {width} {width}"
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}">{"".join(parts)}</svg>'
    return svg, labels


def _moved(svg: str, scale: float, right: float, down: float, center: tuple[float, float]) -> str:
    """A part scaled about a point and then displaced, in units of the canvas."""
    x, y = center
    shift = f"{x * (1 - scale) + right:.2f} {y * (1 - scale) + down:.2f}"
    return f'<g transform="translate({shift}) scale({scale:.4f})">{svg}</g>'
