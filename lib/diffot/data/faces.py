"""Drawn faces whose attributes are known.

The art is a remix of "Personas by Draftbit" (https://personas.draftbit.com) by Draftbit, licensed
under CC BY 4.0, in the form that DiceBear gives it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from dicebear import Avatar, Style
from torch import Tensor

from diffot.data.drawing import (
    BACKGROUNDS,
    Drawing,
    Series,
    choose,
    provide,
    rasterize,
    vary_color,
)
from diffot.data.images import LabeledImages
from diffot.errors import as_number, as_whole_number, require, require_known, require_type
from diffot.paths import CACHE

# To be raised with every change below that changes a picture.
RECIPE = 1
PACKAGES = ("dicebear-core", "dicebear-styles", "resvg-py")

# The classes of each attribute and how frequent they are. Attributes are independent of each
# other, except that nobody wears both kinds of glasses: 2/9 of the faces without sunglasses, and
# thus 1/6 of all, wear clear ones.
ATTRIBUTES = {
    "smile": {"no": 1 / 2, "yes": 1 / 2},
    "glasses": {"no": 7 / 9, "yes": 2 / 9},
    "sunglasses": {"no": 3 / 4, "yes": 1 / 4},
    "hair_color": {"black": 0.24, "brown": 0.24, "blond": 0.2, "red": 0.16, "gray": 0.16},
    "skin": {"light": 0.4, "medium": 0.3, "dark": 0.3},
    "beard": {"no": 0.8, "yes": 0.2},
    "background": dict.fromkeys(BACKGROUNDS, 1 / 4),
}
CLASSES = {name: tuple(classes) for name, classes in ATTRIBUTES.items()}

_ALTERNATIVE = {"glasses": "sunglasses", "sunglasses": "glasses"}
_SKIN = {"light": "#f2c6b0", "medium": "#d18d68", "dark": "#8a5a46"}
_HAIR = {
    "black": "#1d1a2c",
    "brown": "#66391f",
    "blond": "#ebbb50",
    "red": "#cf432a",
    "gray": "#d5d8ea",
}
# Variants, with weights, that show what the labels say at 32 pixels. Left out are hats and bald
# heads (no hair color), hair over the eyes, and mouths between smiling and not.
_MOUTHS = {
    "no": {"frown": 2, "surprise": 1, "lips": 1},
    "yes": {"smile": 2, "bigSmile": 1},
}
_EYES = {"open": 3, "happy": 1, "sleep": 1, "wink": 1}
_BEARDS = ["beardMustache", "goatee"]
_NOSES = ["mediumRound", "smallRound"]
_HAIRCUTS = [
    "bobCut", "bunUndercut", "curlyHighTop", "extraLong", "fade", "long", "mohawk",
    "pigtails", "shortCombover", "shortComboverChops",
]  # fmt: skip
# Ranges of the parts' sizes, and of their displacements in percent of their width and height.
_RANGES = {
    "mouth": {"scale": (1.25, 1.75), "x": (-6, 6), "y": (0, 12)},
    "eyes": {"scale": (0.95, 1.2), "x": (-2, 2), "y": (-6, 8)},
    "nose": {"scale": (0.8, 1.4)},
    "hair": {"scale": (0.97, 1.06)},
}


@dataclass(frozen=True)
class Bias:
    """A planted correlation between two attributes.

    Of the faces that have the attribute ``given``, a share of ``probability`` has the class
    ``value`` of ``attribute``; the other classes keep their proportions. Nothing changes for
    faces without ``given``, or in how frequent ``given`` is.

    Raises:
        TypeError: for names that are no texts and a probability that is no number.
        ValueError: for unknown names, a probability outside [0, 1], or attributes that exclude
            each other.
    """

    given: str
    attribute: str
    value: str
    probability: float

    def __post_init__(self):
        binary = [name for name, classes in CLASSES.items() if classes == ("no", "yes")]
        require_known(self.given, "binary attribute", binary)
        require_known(self.attribute, "attribute", CLASSES)
        require_known(self.value, f"class of {self.attribute}", CLASSES[self.attribute])
        # As a plain number, for the recipe of the images is written as JSON.
        probability = as_number(self.probability, "probability", at_least=0, at_most=1)
        object.__setattr__(self, "probability", probability)
        require(
            self.attribute not in (self.given, _ALTERNATIVE.get(self.given)),
            f"{self.given} and {self.attribute} cannot be correlated: they are the same, or "
            "exclude each other as glasses and sunglasses do",
        )


def load(
    n: int,
    size: int = 32,
    seed: int = 0,
    bias: Bias | None = None,
    folder: str | Path = CACHE,
) -> LabeledImages:
    """Faces with the labels smile, glasses, sunglasses, hair_color, skin, beard and background.

    Image i depends on ``seed``, i, ``size`` and ``bias`` only, and its labels not on ``size``.
    Use another seed for images to be held out. With a bias, face i is the same as without,
    but for the biased attribute.

    Args:
        n: how many.
        size: width and height in pixels.
        folder: where the images are kept when they have been drawn once.

    Raises:
        TypeError: if n, size or seed is no whole number, or bias no :class:`Bias`.
        ValueError: if n or size is below 1 or the seed below 0.
    """
    _require_bias(bias)
    recipe = {"recipe": RECIPE, "bias": asdict(bias) if bias else None}
    series = Series("faces", partial(face, bias=bias), CLASSES, recipe, PACKAGES)
    return provide(series, n, size, seed, folder)


def face(index: int, seed: int = 0, bias: Bias | None = None) -> Drawing:
    """One face: its SVG, and its labels; see :func:`attributes` for what is refused."""
    index, seed = as_whole_number(index, "index", least=0), as_whole_number(seed, "seed", least=0)
    labels = attributes(index, seed, bias)
    return _svg(index, seed, labels), labels


def region(attribute: str, size: int = 32, n: int = 400, seed: int = 0) -> Tensor:
    """Where an attribute shows: how often each pixel changes when nothing else does.

    Each face is drawn as it is and with the next class of the attribute (after the last comes the
    first). A pixel counts as changed if any channel does, by whatever amount. Beards have the
    color of the hair, and change with ``hair_color``. Takes about a second for 100 faces.

    Args:
        attribute: a label of the faces.
        size: width and height in pixels.
        n: how many faces, from the first of the seed.

    Returns:
        The share of the faces in which a pixel changes, in [0, 1], float32 of shape
        (1, size, size). A threshold makes a mask of it: ``(share >= 0.5).float()``.

    Raises:
        ValueError: for an unknown attribute, or if n or size is below 1 or the seed below 0.
    """
    require_known(attribute, "attribute", CLASSES)
    n, size = as_whole_number(n, "n", least=1), as_whole_number(size, "size", least=1)
    seed = as_whole_number(seed, "seed", least=0)
    changes = np.zeros((size, size))
    for index in range(n):
        labels = attributes(index, seed)
        following = (labels[attribute] + 1) % len(CLASSES[attribute])
        changed = _relabeled(labels, attribute, following)
        before, after = (rasterize(_svg(index, seed, drawn), size) for drawn in (labels, changed))
        changes += (before != after).any(0)
    return torch.from_numpy(changes / n).float()[None]


def _svg(index: int, seed: int, labels: dict[str, int]) -> str:
    """One face with these labels; all else depends on its index and seed alone."""
    words = {name: CLASSES[name][label] for name, label in labels.items()}
    rng = np.random.default_rng([seed, index, 1])
    hair = vary_color(_HAIR[words["hair_color"]], rng)
    eyes = _EYES
    for kind in ("glasses", "sunglasses"):
        if words[kind] == "yes":
            eyes = {kind: 1}
    options = {
        "seed": f"{seed}-{index}",
        "scale": 1.7,
        "translateY": 10.2,
        "mouthVariant": _MOUTHS[words["smile"]],
        "eyesVariant": eyes,
        "noseVariant": _NOSES,
        "hairVariant": _HAIRCUTS,
        "hairColor": hair,
        "facialHairVariant": _BEARDS,
        "facialHairColor": hair,
        "facialHairProbability": 100 if words["beard"] == "yes" else 0,
        "skinColor": vary_color(_SKIN[words["skin"]], rng, hue=4),
        "backgroundColor": vary_color(BACKGROUNDS[words["background"]], rng, lightness=18),
    }
    return Avatar(_style(), options).to_string()


def attributes(index: int, seed: int = 0, bias: Bias | None = None) -> dict[str, int]:
    """The labels of one face, each drawn with a random number of its own.

    Raises:
        TypeError: if index or seed is no whole number, or bias no :class:`Bias`.
        ValueError: if index or seed is below 0.
    """
    index, seed = as_whole_number(index, "index", least=0), as_whole_number(seed, "seed", least=0)
    _require_bias(bias)
    rng = np.random.default_rng([seed, index])
    uniform = dict(zip(ATTRIBUTES, rng.random(len(ATTRIBUTES))))
    labels = {
        name: choose(uniform[name], list(classes.values()))
        for name, classes in ATTRIBUTES.items()
    }
    if labels["sunglasses"]:
        labels["glasses"] = 0
    if bias is not None and labels[bias.given]:
        label = choose(uniform[bias.attribute], _biased(bias))
        labels = _relabeled(labels, bias.attribute, label)
    return labels


def _require_bias(bias: Bias | None) -> None:
    require_type(bias, (Bias, type(None)), "bias", "a faces.Bias, or None")


def _relabeled(labels: dict[str, int], attribute: str, label: int) -> dict[str, int]:
    """The labels with another class of one attribute; what it excludes is taken away."""
    labels = {**labels, attribute: label}
    if label and attribute in _ALTERNATIVE:
        labels[_ALTERNATIVE[attribute]] = 0
    return labels


def _biased(bias: Bias) -> list[float]:
    """Probabilities of the biased attribute's classes."""
    usual = ATTRIBUTES[bias.attribute]
    rest = (1 - bias.probability) / (1 - usual[bias.value])
    return [bias.probability if c == bias.value else rest * p for c, p in usual.items()]


@cache
def _style() -> Style:
    """The style "personas" with continuous ranges, and with parts that can be told apart."""
    definition = json.loads(files("dicebear_styles").joinpath("personas.json").read_text("utf-8"))
    parts = definition["components"]
    for variant in parts["nose"]["variants"].values():
        for element in variant["elements"]:
            # The nose would be lost with the overlays; a plain shade it is then.
            element["attributes"].pop("style", None)
    _drop_overlays(definition)
    # The full beard comes with a mouth of its own: skin takes its place, and the face's mouth is
    # drawn on top.
    beard = parts["facialHair"]["variants"]["beardMustache"]["elements"]
    around_the_mouth = {"cx": "14", "cy": "12.5", "rx": "6.6", "ry": "4.4"}
    beard[1:] = [
        {
            "type": "element",
            "name": "ellipse",
            "attributes": {**around_the_mouth, "fill": {"type": "color", "name": "skin"}},
        }
    ]
    canvas = definition["canvas"]["elements"]
    order = [element["name"] for element in canvas]
    canvas.insert(order.index("mouth"), canvas.pop(order.index("facialHair")))
    for part, ranges in _RANGES.items():
        as_range = {key: {"min": low, "max": high} for key, (low, high) in ranges.items()}
        parts[part]["scale"] = as_range.pop("scale")
        parts[part]["translate"] = as_range
    return Style(definition)


def _drop_overlays(node: dict | list) -> None:
    """Remove the elements that are meant to be blended, which the rasterizer would paint over."""
    children = node.values() if isinstance(node, dict) else node
    for child in children:
        if isinstance(child, dict | list):
            _drop_overlays(child)
    if isinstance(node, list):
        node[:] = [child for child in node if not _is_overlay(child)]


def _is_overlay(node: object) -> bool:
    attributes = node.get("attributes") if isinstance(node, dict) else None
    return "mix-blend-mode" in str((attributes or {}).get("style", ""))
