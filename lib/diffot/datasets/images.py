"""Labeled images in memory, and drawing from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from diffot.errors import require

Draw = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class LabeledImages:
    """Images with labels.

    Args:
        pixels: uint8, shape (N, C, size, size).
        labels: for each label a tensor of whole numbers, int64 of shape (N,).
        classes: what the numbers of each label mean: class k is called ``classes[label][k]``.
            Binary labels have the classes ``("no", "yes")``.

    Raises:
        ValueError: if types, lengths or names do not fit together.
    """

    pixels: Tensor
    labels: dict[str, Tensor]
    classes: dict[str, tuple[str, ...]]

    def __post_init__(self):
        require(
            self.pixels.dtype == torch.uint8 and self.pixels.ndim == 4,
            f"pixels are {self.pixels.dtype} of shape {tuple(self.pixels.shape)}; "
            "expected torch.uint8 of shape (N, C, size, size)",
        )
        require(
            self.labels.keys() == self.classes.keys(),
            f"labels are {sorted(self.labels)}, classes are given for {sorted(self.classes)}; "
            "expected the same names",
        )
        for name, values in self.labels.items():
            require(
                values.dtype == torch.int64 and values.shape == self.pixels.shape[:1],
                f"label {name!r} is {values.dtype} of shape {tuple(values.shape)}; "
                f"expected torch.int64 of shape ({len(self.pixels)},)",
            )
            count = len(self.classes[name])
            require(
                bool(((values >= 0) & (values < count)).all()),
                f"label {name!r} has values outside 0..{count - 1}, its {count} classes",
            )

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.pixels.shape[1:]))
        labels = ", ".join(self.labels) or "none"
        return f"{type(self).__name__}({len(self)} of {shape} pixels, labels: {labels})"

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def images(self) -> Tensor:
        """All images as float32 in [-1, 1], shape (N, C, size, size)."""
        return _to_unit(self.pixels)

    def at(self, indices: Tensor | Sequence[int] | slice) -> Self:
        """The images at these places: whole numbers, a slice, or a mask of shape (N,)."""
        if not isinstance(indices, slice):
            indices = torch.as_tensor(indices)
        labels = {name: values[indices] for name, values in self.labels.items()}
        return replace(self, pixels=self.pixels[indices], labels=labels)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n images with replacement, float32 in [-1, 1] of shape (n, C, size, size)."""
        return self.draw_labeled(n, generator)[0]

    def draw_labeled(
        self, n: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As :meth:`draw`, with the labels of the drawn images, int64 of shape (n,) each."""
        require(len(self) > 0, "there are no images to draw from")
        chosen = torch.randint(len(self), (n,), generator=generator)
        labels = {name: values[chosen] for name, values in self.labels.items()}
        return _to_unit(self.pixels[chosen]), labels


def flipped(draw: Draw) -> Draw:
    """The same draws, each image mirrored left to right with probability 1/2."""

    def draw_flipped(n: int, generator: torch.Generator) -> Tensor:
        return mirrored(draw(n, generator), generator)

    return draw_flipped


def mirrored(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images of shape (B, C, H, W), each mirrored left to right with probability 1/2."""
    mirror = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirror.reshape(-1, 1, 1, 1), images.flip(-1), images)


def _to_unit(pixels: Tensor) -> Tensor:
    return pixels.float() / 127.5 - 1
