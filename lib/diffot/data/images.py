"""Labeled images in memory, and drawing from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from diffot.errors import (
    as_tensor,
    as_whole_number,
    require,
    require_generator,
    require_images,
    require_type,
)

Draw = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class LabeledImages:
    """Images with labels.

    Args:
        pixels: uint8, shape (N, C, H, W).
        labels: for each label a tensor of whole numbers, int64 of shape (N,).
        classes: what the numbers of each label mean: class k is called ``classes[label][k]``.
            Binary labels have the classes ``("no", "yes")``.

    Raises:
        TypeError: for what is of a wrong type, or a tensor of numbers of a wrong type.
        ValueError: if shapes, lengths or names do not fit together.
    """

    pixels: Tensor
    labels: dict[str, Tensor]
    classes: dict[str, tuple[str, ...]]

    def __post_init__(self):
        _require_integers(self.pixels, "pixels", torch.uint8, "(N, C, H, W)")
        require(
            self.pixels.ndim == 4,
            f"pixels have shape {tuple(self.pixels.shape)}; expected (N, C, H, W)",
        )
        require_type(self.labels, dict, "labels", "a dict of tensors")
        require_type(self.classes, dict, "classes", "a dict of tuples of texts")
        require(
            self.labels.keys() == self.classes.keys(),
            f"labels are {list(self.labels)}, classes are given for {list(self.classes)}; "
            "expected the same names",
        )
        for name, values in self.labels.items():
            names = self.classes[name]
            require_type(names, tuple, f"classes[{name!r}]", "a tuple of texts")
            _require_integers(values, f"labels[{name!r}]", torch.int64, "(N,)")
            require(
                values.shape == self.pixels.shape[:1],
                f"labels[{name!r}] has shape {tuple(values.shape)}; expected "
                f"({len(self.pixels)},), one for each image",
            )
            require(
                bool(((values >= 0) & (values < len(names))).all()),
                f"labels[{name!r}] has values outside of 0 to {len(names) - 1}, its "
                f"{len(names)} classes",
            )

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.pixels.shape[1:]))
        labels = ", ".join(self.labels) or "none"
        return f"{type(self).__name__}({len(self)} of {shape} pixels, labels: {labels})"

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def images(self) -> Tensor:
        """All images as float32 in [-1, 1], shape (N, C, H, W)."""
        return _to_unit(self.pixels)

    def at(self, indices: Tensor | Sequence[int] | slice) -> Self:
        """The images at these places.

        Args:
            indices: whole numbers of shape (n,), those below 0 counted from the end; or a mask,
                truth values of shape (N,); or a slice.

        Raises:
            TypeError: for anything else.
            ValueError: for places where there is no image, and masks of another length.
        """
        chosen = _places(indices, len(self))
        labels = {name: values[chosen] for name, values in self.labels.items()}
        return replace(self, pixels=self.pixels[chosen], labels=labels)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n images with replacement, float32 in [-1, 1] of shape (n, C, H, W)."""
        return self.draw_labeled(n, generator)[0]

    def draw_labeled(
        self, n: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As :meth:`draw`, with the labels of the drawn images, int64 of shape (n,) each.

        Raises:
            ValueError: if n is below 1, or there are no images.
        """
        n = as_whole_number(n, "n", least=1)
        require_generator(generator)
        require(len(self) > 0, "there are no images to draw from")
        chosen = torch.randint(len(self), (n,), generator=generator)
        labels = {name: values[chosen] for name, values in self.labels.items()}
        return _to_unit(self.pixels[chosen]), labels


def flipped(draw: Draw) -> Draw:
    """The same draws, each image mirrored left to right with probability 1/2."""
    require_type(draw, Callable, "draw", "a function of n and a generator")

    def draw_flipped(n: int, generator: torch.Generator) -> Tensor:
        return mirrored(draw(n, generator), generator)

    return draw_flipped


def mirrored(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images of shape (B, C, H, W), each mirrored left to right with probability 1/2."""
    require_images(images)
    require_generator(generator)
    mirror = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirror.reshape(-1, 1, 1, 1), images.flip(-1), images)


def _require_integers(x: Tensor, name: str, dtype: torch.dtype, shape: str) -> None:
    wanted = f"a tensor of {dtype} of shape {shape}"
    require_type(x, Tensor, name, wanted)
    if x.dtype != dtype:
        raise TypeError(f"{name} is of {x.dtype}; expected {wanted}")


def _places(indices: Tensor | Sequence[int] | slice, n: int) -> Tensor | slice:
    """Places among n images, in a form that a tensor takes as an index."""
    if isinstance(indices, slice):
        try:
            chosen = range(n)[indices]
        except (TypeError, ValueError) as error:
            raise type(error)(f"indices are {indices}: {error}") from error
        return indices if chosen.step > 0 else torch.tensor(chosen, dtype=torch.int64)
    places = as_tensor(indices, "indices")
    wanted = "whole numbers of shape (n,), a mask or a slice"
    require(places.ndim == 1, f"indices have shape {tuple(places.shape)}; expected {wanted}")
    if places.dtype == torch.bool:
        require(
            len(places) == n,
            f"indices are a mask of length {len(places)}; expected {n}, the number of images",
        )
        return places
    if places.is_floating_point() and len(places):
        raise TypeError(f"indices are of {places.dtype}; expected {wanted}")
    places = places.long()
    inside = (places >= -n) & (places < n)
    require(
        bool(inside.all()),
        f"indices hold {places[~inside][:1].tolist()} and there are {n} images; expected {-n} "
        f"to {n - 1}",
    )
    return places


def _to_unit(pixels: Tensor) -> Tensor:
    return pixels.float() / 127.5 - 1
