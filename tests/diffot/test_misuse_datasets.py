"""Bad input to the data sets of images and what they are made with."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from misuse import Case, Use, check, expect, misuses

from diffot.data import animals, cache, digits, drawing, faces, folders
from diffot.data.images import LabeledImages, flipped, mirrored

PIXELS = torch.arange(6, dtype=torch.uint8).reshape(6, 1, 1, 1).repeat(1, 3, 4, 4)
KINDS = {"kind": ("a", "b", "c")}
DATA = LabeledImages(PIXELS, {"kind": torch.arange(6) % 3}, KINDS)
NAMES = {"kind": KINDS["kind"], "odd": ("no", "yes")}
GENERATOR = torch.Generator().manual_seed(0)
RNG = np.random.default_rng(0)
NONE = {"None"}
PATH = {"text"}  # a text is a path


def provide(**arguments):
    """Before anything is made or written, or nowhere."""
    return cache.provide(**{"folder": "/dev/null", **arguments})


def at(indices):
    return DATA.at(indices)


def draw(n, generator):
    return DATA.draw(n, generator)


def draw_labeled(n, generator):
    return DATA.draw_labeled(n, generator)


USES = [
    Use(
        provide,
        {
            "name": "squares",
            "parameters": {"a": 1},
            "packages": ["numpy"],
            "items": range(4),
            "make": len,
            "folder": "/dev/null",
            "piece_size": 2,
            "holds": len,
        },
        allowed={"name": PATH, "folder": PATH, "piece_size": NONE, "holds": NONE},
    ),
    Use(cache.sha256, {"arrays": {"a": np.ones(2)}}),
    Use(drawing.rasterize, {"svg": animals.animal(0)[0], "size": 8}),
    Use(drawing.choose, {"u": 0.5, "probabilities": [0.5, 0.5]}),
    Use(drawing.vary_color, {"color": "#102030", "rng": RNG, "lightness": 1.0, "hue": 1.0}),
    Use(animals.load, {"n": 1, "size": 8, "seed": 0, "folder": "/dev/null"}, {"folder": PATH}),
    Use(animals.animal, {"index": 1, "seed": 0}),
    Use(
        faces.load,
        {"n": 1, "size": 8, "seed": 0, "bias": faces.Bias("smile", "beard", "yes", 0.5)},
        allowed={"bias": NONE},
    ),
    Use(faces.load, {"n": 1, "folder": "/dev/null"}, allowed={"folder": PATH}),
    Use(faces.face, {"index": 1, "seed": 0, "bias": None}, allowed={"bias": NONE}),
    Use(faces.attributes, {"index": 1, "seed": 0, "bias": None}, allowed={"bias": NONE}),
    Use(faces.region, {"attribute": "smile", "size": 8, "n": 1, "seed": 0}),
    Use(
        faces.Bias,
        {"given": "smile", "attribute": "beard", "value": "yes", "probability": 0.5},
        named={"given": "binary attribute", "value": "class of beard"},
    ),
    Use(digits.load, {"n": 10, "seed": 0}, allowed={"n": NONE}),
    Use(folders.images, {"root": "nowhere", "size": 8}, allowed={"root": PATH}),
    Use(folders.celeba, {"root": "nowhere", "size": 8}, allowed={"root": PATH}),
    Use(folders.celeba_hq, {"root": "nowhere", "size": 8}, allowed={"root": PATH}),
    Use(folders.afhq, {"root": "nowhere", "split": "val", "size": 8}, allowed={"root": PATH}),
    Use(LabeledImages, {"pixels": PIXELS, "labels": DATA.labels, "classes": KINDS}),
    Use(
        at,
        {"indices": torch.tensor([1, 2])},
        allowed={"indices": {"array", "list"}},
    ),
    Use(draw, {"n": 2, "generator": GENERATOR}),
    Use(draw_labeled, {"n": 2, "generator": GENERATOR}),
    Use(flipped, {"draw": DATA.draw}),
    Use(mirrored, {"images": DATA.images, "generator": GENERATOR}),
]


@pytest.mark.parametrize("use, argument, value", misuses(USES))
def test_bad_input_is_refused_by_name(use, argument, value):
    check(use, argument, value)


squares = partial(provide, name="squares", packages=["numpy"], items=range(4), make=len)
labeled = partial(LabeledImages, PIXELS)
ONES = torch.ones(6, dtype=torch.int64)

CASES = [
    Case(lambda: squares(parameters={}, piece_size=0), "piece_size is 0", "empty pieces"),
    Case(lambda: squares(parameters={"a": math.nan}), "parameters", "NaN in a recipe"),
    Case(lambda: squares(parameters={"a": torch.ones(2)}), "parameters", "tensor in a recipe"),
    Case(lambda: squares(parameters={}, items=[]), "no items", "nothing to make"),
    Case(lambda: squares(parameters={}, packages=["numpi"]), "numpi is not", "no such package"),
    Case(lambda: squares(parameters={}, packages=[None]), "packages", "no name of a package"),
    *(
        Case(lambda name=name: squares(parameters={}, name=name), "name is", f"name {name!r}")
        for name in ("../../x", "a/b", "", ".", "..")
    ),
    Case(lambda: cache.sha256({"a": [1]}), "arrays['a']", "a list for an array"),
    Case(lambda: cache.sha256({"a": np.array([None])}), "arrays['a']", "an array of objects"),
    Case(lambda: drawing.choose(1.5, [0.5, 0.5]), "u is 1.5", "a share above 1"),
    Case(lambda: drawing.choose(0.5, [0.5, 0.4]), "probabilities", "a sum below 1"),
    Case(lambda: drawing.choose(0.5, [1.5, -0.5]), "probabilities", "a negative probability"),
    Case(lambda: drawing.choose(0.5, [math.nan]), "probabilities", "a NaN probability"),
    Case(lambda: drawing.choose(0.5, []), "probabilities", "no probability"),
    Case(lambda: drawing.vary_color("#12345g", RNG), "color", "no color"),
    Case(lambda: drawing.vary_color("red", RNG), "color", "a color by name"),
    Case(lambda: drawing.vary_color("#123456", RNG, hue=-1), "hue is -1", "a negative amount"),
    Case(lambda: folders.afhq("nowhere", "trian"), "did you mean train", "a misspelled split"),
    Case(lambda: folders.images("nowhere", 0), "size is 0", "no pixels"),
    Case(lambda: digits.load(5001), "n is 5001", "more digits than there are"),
    Case(lambda: digits.load(0), "n is 0", "no digits"),
    Case(lambda: LabeledImages(PIXELS[0], {}, {}), "pixels", "a single image"),
    Case(lambda: LabeledImages(PIXELS.float(), {}, {}), "pixels", "images as numbers"),
    Case(lambda: labeled({"kind": ONES[:5]}, KINDS), "labels['kind']", "too few labels"),
    Case(lambda: labeled({"kind": ONES[:1]}, KINDS), "labels['kind']", "one label for all"),
    Case(lambda: labeled({"kind": ONES[None]}, KINDS), "labels['kind']", "labels in a row"),
    Case(lambda: labeled({"kind": ONES.float()}, KINDS), "labels['kind']", "labels as floats"),
    Case(lambda: labeled({"kind": ONES.bool()}, KINDS), "labels['kind']", "labels as truths"),
    Case(lambda: labeled({"kind": ONES.numpy()}, KINDS), "labels['kind']", "labels as arrays"),
    Case(lambda: labeled({"kind": 3 * ONES}, KINDS), "0 to 2", "a class that is none"),
    Case(lambda: labeled({"kind": -ONES}, KINDS), "0 to 2", "a negative class"),
    Case(lambda: labeled({"kind": ONES}, {"kind": "abc"}), "classes['kind']", "a text"),
    Case(lambda: labeled({"kind": ONES}, NAMES), "expected the same names", "an unused name"),
    *(
        Case(lambda bad=bad: DATA.at(bad), "indices", f"at {bad}")
        for bad in (
            6,
            True,
            [6],
            [-7],
            [[1]],
            [0.5],
            [math.nan],
            ["a"],
            torch.tensor([1.0]),
            torch.ones(5, dtype=torch.bool),
            torch.ones(1, dtype=torch.bool),
            np.array([7]),
            slice("a", "b"),
            slice(0, 2, 0),
            slice(0.5),
        )
    ),
    Case(lambda: DATA.draw(0, GENERATOR), "n is 0", "no draws"),
    Case(lambda: DATA.draw_labeled(0, GENERATOR), "n is 0", "no labeled draws"),
    Case(lambda: DATA.draw(1, RNG), "generator", "numpy's generator"),
    Case(lambda: DATA.at([]).draw(1, GENERATOR), "no images to draw from", "an empty set"),
    Case(lambda: mirrored(DATA.images[0], GENERATOR), "images", "a single image to mirror"),
    Case(lambda: mirrored(PIXELS, GENERATOR), "images", "pixels to mirror"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_calls_are_explained(case):
    expect(case.call, case.says)
