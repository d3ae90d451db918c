"""Image data sets as recipes describe them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch

from diffot.data.images import LabeledImages
from diffot.errors import as_whole_number, require, require_known, require_type, unknown_name
from diffot.learning.descriptions import called, split
from diffot.paths import FOLDERS
from diffot.seeds import generator


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

    loaders: dict[str, Callable] = {
        "celeba": folders.celeba,
        "celeba_hq": folders.celeba_hq,
        "afhq": folders.afhq,
    }
    n, seed = arguments.pop("n", None), arguments.pop("seed", None)
    images = called(loaders[family], {**arguments, "root": FOLDERS / family}, family)
    if n is not None:
        n = as_whole_number(n, "n", least=1)
        require(
            len(images) >= n, f"{FOLDERS / family} has {len(images)} images; {n} are asked for"
        )
        images = images.at(slice(n))
    if seed is not None:
        images = images.at(torch.randperm(len(images), generator=generator(seed, "order")))
    return images


DATASETS: dict[str, Callable[[dict], LabeledImages]] = {
    "faces": _faces,
    "animals": _animals,
    "digits": _digits,
    "celeba": partial(_real, "celeba"),
    "celeba_hq": partial(_real, "celeba_hq"),
    "afhq": partial(_real, "afhq"),
}

# Drawn without end, each seed other images; of the others there are so many and no more.
DRAWN = ("faces", "animals")

# What may be done with pictures of a data set, and with a network trained on them.
_CELEBA_TERMS = "non-commercial research only; CelebA (Liu et al. 2015)"
TERMS = {
    "celeba": _CELEBA_TERMS,
    "celeba_hq": _CELEBA_TERMS,
    "afhq": "non-commercial use only, CC BY-NC 4.0; AFHQ (Choi et al. 2020)",
}


def load_images(data: dict) -> LabeledImages:
    """The images that a recipe describes, as in ``{"set": "faces", "n": 500, "seed": 1}``.

    The first ``"skip"`` images of a data set are left out, and then only so many as ``"take"``
    says are taken. ``"labels"`` are the names of those that are kept, all if left out. A
    ``"bias"`` of faces is a dict with the fields of :class:`~diffot.data.faces.Bias`. Real images
    are looked for in ``data/folders``, or in the folder that ``DIFFOT_PHOTOS`` in the environment
    names, under the name of the data set: the first ``"n"`` by name, and with a ``"seed"`` these
    in random order.

    Raises:
        ValueError: for an unknown data set or argument.
        FileNotFoundError: if real images are not there, saying what is expected.
    """
    arguments, family = split(data, "data", "set")
    arguments.pop("mirror", None)  # concerns drawing from the images
    require_known(family, "data set", DATASETS)
    skip = as_whole_number(arguments.pop("skip", 0), "skip", least=0)
    take, labels = arguments.pop("take", None), arguments.pop("labels", None)
    images = DATASETS[family](arguments)
    if labels is not None:
        images = _only(images, labels)
    take = len(images) - skip if take is None else as_whole_number(take, "take", least=1)
    require(
        1 <= take <= len(images) - skip,
        f"skip is {skip} and take {take}; expected images among the {len(images)} of {family}",
    )
    return images.at(slice(skip, skip + take))


def first_image(data: dict) -> LabeledImages:
    """One image of the data set that a recipe describes, for what all its images share."""
    return load_images({**data, "n": 1, "skip": 0, "take": None})


def image_shape(data: dict) -> tuple[int, ...]:
    """Shape (C, H, W) of the images that a recipe describes. Photographs need not be there."""
    if isinstance(data, dict) and data.get("set") in TERMS and "size" in data:
        size = as_whole_number(data["size"], "size", least=1)
        return 3, size, size
    return tuple(first_image(data).pixels.shape[1:])


def _only(images: LabeledImages, names: Sequence[str]) -> LabeledImages:
    """The images with these labels alone."""
    require_type(names, (list, tuple), "labels", "a list of names")
    for name in names:
        require(name in images.classes, unknown_name("label", name, images.classes))
    return replace(
        images,
        labels={name: images.labels[name] for name in names},
        classes={name: images.classes[name] for name in names},
    )


def terms(data: str | dict) -> dict[str, str]:
    """What a card says of the terms of a data set, under ``"terms"``; nothing for one without."""
    family = data["set"] if isinstance(data, dict) else None
    return {"terms": TERMS[family]} if family in TERMS else {}


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
