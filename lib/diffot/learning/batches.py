"""Where the examples of a training come from: drawn with replacement, or in epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from diffot.data.images import LabeledImages
from diffot.errors import as_classes, require, require_batch, require_type
from diffot.learning.objectives import Examples

Draw = Callable[[int, torch.Generator], Tensor | Examples]


class Draws:
    """Fresh draws for every batch.

    Args:
        draw: ``draw(n, generator)`` returns n data points, shape (n, *d), or a pair of them and
            their labels, a dict of whole numbers or truth values of shape (n,); -1 for a label
            that is not said.

    Raises:
        TypeError, ValueError: for a draw of another kind, or with NaN.
    """

    def __init__(self, draw: Draw):
        require_type(draw, Callable, "draw", "a function (n, generator) -> points")
        self._draw = draw

    def take(self, n: int, generator: torch.Generator) -> Examples:
        """n examples, the points as float32 and labels as int64."""
        drawn = self._draw(n, generator)
        x, labels = drawn if isinstance(drawn, tuple) and len(drawn) == 2 else (drawn, {})
        require_batch(x, "the training data", "(n, *d), or a pair of it and labels")
        require_type(labels, Mapping, "the labels", "a dict of tensors of shape (n,)")
        labels = {name: as_classes(value, f"label {name!r}") for name, value in labels.items()}
        require(len(x) == n, f"draw was asked for {n} points; the training data has {len(x)}")
        for name, value in labels.items():
            require(len(value) == n, f"label {name!r} has {len(value)} values for {n} points")
        return x.float(), labels

    def state_dict(self) -> dict:
        """What is needed to go on: nothing, beside the generator."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Go on from there."""


class Epochs:
    """All images once, in random order, and again; what is left over of a batch is left out.

    Raises:
        TypeError: for anything but labeled images.
    """

    def __init__(self, data: LabeledImages):
        require_type(data, LabeledImages, "data", "LabeledImages")
        self._data = data
        self._order = torch.empty(0, dtype=torch.int64)  # what is left of this epoch

    def take(self, n: int, generator: torch.Generator) -> Examples:
        """The next n images and their labels.

        Raises:
            ValueError: if there are fewer.
        """
        require(
            len(self._data) >= n,
            f"data are {len(self._data)} images; expected at least {n} (the batch size)",
        )
        if len(self._order) < n:
            self._order = torch.randperm(len(self._data), generator=generator)
        batch = self._data.at(self._order[:n])
        self._order = self._order[n:]
        return batch.images, batch.labels

    def state_dict(self) -> dict:
        """What is left of the epoch."""
        return {"order": self._order.clone()}

    def load_state_dict(self, state: dict) -> None:
        """Go on from there."""
        self._order = state["order"]


Batches = Draws | Epochs
