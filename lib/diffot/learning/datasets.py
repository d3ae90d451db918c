"""Image data sets as recipes describe them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from diffot.data.images import LabeledImages
from diffot.errors import require, require_known, require_type, unknown_name
from diffot.learning.descriptions import called, split
from diffot.paths import FOLDERS


# The modules of data sets are imported when they are needed: drawing images takes packages that
# loading a model does not.
def _faces(arguments: dict) -> LabeledImages:
    from diffot.data import faces

    if "bias" in arguments:
        arguments["bias"] = called(faces.Bias, arguments["bias"], "bias")
    return called(faces.load, arguments, "faces")


def _animals(arguments: dict) -> LabeledImages:
    from diffot.data import animals

    return called(animals.load, arguments, "animals")


def _digits(arguments: dict) -> LabeledImages:
    from diffot.data import digits

    return called(digits.load, arguments, "digits")


def _real(family: str, arguments: dict) -> LabeledImages:
    from diffot.data import folders

    loaders = {"celeba": folders.celeba, "celeba_hq": folders.celeba_hq, "afhq": folders.afhq}
    return called(loaders[family], {**arguments, "root": FOLDERS / family}, family)


DATASETS = {
    "faces": _faces,
    "animals": _animals,
    "digits": _digits,
    "celeba": partial(_real, "celeba"),
    "celeba_hq": partial(_real, "celeba_hq"),
    "afhq": partial(_real, "afhq"),
}


def load_images(data: dict) -> LabeledImages:
    """The images that a recipe describes, as in ``{"set": "faces", "n": 500, "seed": 1}``.

    A ``"bias"`` of faces is a dict with the fields of :class:`~diffot.data.faces.Bias`. Real
    images are looked for in ``data/folders``, under the name of the data set.

    Raises:
        ValueError: for an unknown data set or argument.
        FileNotFoundError: if real images are not there, saying what is expected.
    """
    arguments, family = split(data, "data", "set")
    arguments.pop("mirror", None)  # concerns drawing from the images
    require_known(family, "data set", DATASETS)
    return DATASETS[family](arguments)


def require_labels(data: LabeledImages, labels: Mapping[str, int]) -> None:
    """Require images with these labels, and as many classes of each.

    Raises:
        TypeError: for anything but labeled images. ValueError: if they have others.
    """
    require_type(data, LabeledImages, "data", "LabeledImages")
    for label, classes in labels.items():
        require(label in data.classes, unknown_name("label", label, data.classes))
        require(
            len(data.classes[label]) == classes,
            f"one of {classes} classes of {label} is expected, and the images have "
            f"{', '.join(data.classes[label])}; correct the recipe",
        )
