"""Checks of input that answer in full sentences.

Functions called ``require_...`` check and return nothing; those called ``as_...`` also return
the value in the form in which it is used. What is of the wrong kind is a ``TypeError``, what is
out of range or does not fit together a ``ValueError``; both name the argument and say what was
got, what is expected and, where it is not plain, what to do.
"""

from __future__ import annotations

import difflib
import math
import numbers
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


def require(condition: bool, message: str) -> None:
    """Raise ``ValueError(message)`` unless ``condition`` holds."""
    if not condition:
        raise ValueError(message)


def require_type(value: object, kinds: Any, name: str, wanted: str) -> None:
    """Raise ``TypeError`` unless the value is of one of the kinds.

    Args:
        kinds: as ``isinstance`` takes them.
        wanted: what is expected, as in ``"a torch.Generator"``.
    """
    if not isinstance(value, kinds):
        hint = ""
        if isinstance(value, np.ndarray) and kinds is Tensor:
            hint = "; convert it with torch.from_numpy"
        raise TypeError(f"{name} is {_described(value)}; expected {wanted}{hint}")


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """A message for a misspelled name: the nearest known ones, then all of them."""
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"unknown {kind} {name!r}; {hint}known: {', '.join(known)}"


def require_known(name: object, kind: str, known: Iterable[str]) -> None:
    """Require one of the known names; else the message is that of :func:`unknown_name`."""
    known = list(known)
    require_type(name, str, kind, f"a text, one of {', '.join(known)}")
    require(name in known, unknown_name(kind, name, known))


def differences(there: object, here: object, where: str = "") -> list[str]:
    """Where two descriptions, made of dicts, lists, texts and numbers, differ, by name."""
    if isinstance(there, dict) and isinstance(here, dict):
        found = []
        for key in sorted({*there, *here}):
            name = f"{where}.{key}" if where else key
            if key in there and key in here:
                found += differences(there[key], here[key], name)
            else:
                found.append(f"{name} is {'not said here' if key in there else 'missing there'}")
        return found
    return [] if there == here else [f"{where} is {there!r} there and {here!r} here"]


# --- Numbers ----------------------------------------------------------------------------------


def as_whole_number(
    value: object, name: str, least: int | None = None, most: int | None = None
) -> int:
    """A whole number as Python's own.

    Integers of numpy and tensors or arrays of no dimension count; truth values and floats do not,
    not even 2.0: what is meant to be a count should be one.

    Args:
        least, most: the range, ends included.

    Raises:
        TypeError: for anything that is no whole number.
        ValueError: if it is out of range.
    """
    number = _plain(value)
    wanted = "a whole number" + _range_text(least, most)
    if isinstance(number, bool) or not isinstance(number, numbers.Integral):
        raise TypeError(f"{name} is {_described(value)}; expected {wanted}")
    number = int(number)
    fits = (least is None or number >= least) and (most is None or number <= most)
    require(fits, f"{name} is {number}; expected {wanted}")
    return number


def as_number(
    value: object,
    name: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> float:
    """A finite real number as Python's own float; numpy's and tensors of no dimension count.

    Args:
        above, at_least, below, at_most: the range.

    Raises:
        TypeError: for anything that is no real number, truth values included.
        ValueError: if it is NaN, infinite or out of range.
    """
    number = _plain(value)
    least, most = (at_least if above is None else above), (at_most if below is None else below)
    wanted = "a number" + _range_text(least, most, above is not None, below is not None)
    if isinstance(number, bool) or not isinstance(number, numbers.Real):
        raise TypeError(f"{name} is {_described(value)}; expected {wanted}")
    number = float(number)
    fits = (
        math.isfinite(number)
        and (above is None or number > above)
        and (at_least is None or number >= at_least)
        and (below is None or number < below)
        and (at_most is None or number <= at_most)
    )
    require(fits, f"{name} is {number:.6g}; expected {wanted}")
    return number


def _plain(value: object) -> object:
    """A number of numpy, or in a tensor or array of no dimension, as Python's own."""
    if isinstance(value, (np.generic, np.ndarray, Tensor)) and value.ndim == 0:
        return value.item()
    return value


def _range_text(
    least: float | None, most: float | None, above: bool = False, below: bool = False
) -> str:
    if least is None and most is None:
        return ""
    if most is None:
        return f" above {least:g}" if above else f" of at least {least:g}"
    if least is None:
        return f" below {most:g}" if below else f" of at most {most:g}"
    if not above and not below:
        return f" from {least:g} to {most:g}"
    first = f"above {least:g}" if above else f"of at least {least:g}"
    return f" {first} and {'below' if below else 'at most'} {most:g}"


# --- Tensors ----------------------------------------------------------------------------------


def require_tensor(x: Any, name: str, wanted: str = "a floating-point tensor") -> None:
    """Require a floating-point tensor, whatever its shape and values.

    Raises:
        TypeError: for anything else.
    """
    require_type(x, Tensor, name, wanted)
    if not x.is_floating_point():
        raise TypeError(f"{name} is {_described(x)}; expected {wanted}")


def require_finite(x: Tensor, name: str) -> None:
    """Require that no entry is NaN or infinite."""
    require_type(x, Tensor, name, "a tensor")
    # NaN and infinity show in the sum, which is many times faster than asking each value
    if math.isfinite(x.detach().sum()):
        return
    bad = int((~torch.isfinite(x)).sum())
    require(bad == 0, f"{name} holds {bad} values that are NaN or infinite; remove them first")


def require_points(x: Tensor, dim: int | None = None, name: str = "x") -> None:
    """Require a finite floating-point tensor of shape (B, d), with d = ``dim`` if given."""
    wanted = "(B, d)" if dim is None else f"(B, {dim})"
    require_tensor(x, name, f"a floating-point tensor of shape {wanted}")
    require(
        x.ndim == 2 and (dim is None or x.shape[1] == dim),
        f"{name} has shape {tuple(x.shape)}; expected {wanted}, one point per row",
    )
    require_finite(x, name)


def require_batch(x: Tensor, name: str = "x", wanted: str = "(B, *d)") -> None:
    """Require a finite floating-point tensor with one point, latent or image per row."""
    require_tensor(x, name, f"a floating-point tensor of shape {wanted}")
    require(
        x.ndim >= 2,
        f"{name} has shape {tuple(x.shape)}; expected {wanted}, for one of them {name}[None]",
    )
    require_finite(x, name)


def require_images(x: Tensor, name: str = "images") -> None:
    """Require a finite floating-point tensor of shape (n, C, H, W)."""
    wanted = "(n, C, H, W)"
    require_tensor(x, name, f"a floating-point tensor of shape {wanted}")
    require(
        x.ndim == 4,
        f"{name} has shape {tuple(x.shape)}; expected {wanted}, for one image {name}[None]",
    )
    require_finite(x, name)


def require_alike(x: Tensor, y: Tensor, names: tuple[str, str]) -> None:
    """Require two tensors of the same shape and type."""
    for value, name in zip((x, y), names):
        require_type(value, Tensor, name, "a tensor")
    require(
        x.shape == y.shape and x.dtype == y.dtype,
        f"{names[0]} is {_described(x)}, {names[1]} {_described(y)}; expected the same",
    )


def require_same_shape(x: Tensor, y: Tensor, names: tuple[str, str]) -> None:
    """Require two tensors of the same shape: entry i of one belongs to entry i of the other."""
    for value, name in zip((x, y), names):
        require_type(value, Tensor, name, "a tensor")
    require(
        x.shape == y.shape,
        f"{names[0]} has shape {tuple(x.shape)} and {names[1]} {tuple(y.shape)}; expected the "
        "same, row i of one belonging to row i of the other",
    )


def require_covariance(c: Tensor, name: str) -> None:
    """Require symmetric positive definite matrices, float64 of shape (..., d, d).

    Symmetric to 1e-12 of the largest entry.
    """
    require_tensor(c, name, "a floating-point tensor of shape (d, d)")
    require(
        c.ndim >= 2 and c.shape[-1] == c.shape[-2] >= 1,
        f"{name} has shape {tuple(c.shape)}; expected (d, d), a square matrix",
    )
    require_finite(c, name)
    scale = c.abs().amax((-2, -1), keepdim=True)
    require(
        bool(((c - c.mT).abs() <= 1e-12 * scale).all()),
        f"{name} is not symmetric; expected a covariance, equal to its transpose",
    )
    least = float(torch.linalg.eigvalsh(c).min())
    require(
        least > 0,
        f"{name} has the eigenvalue {least:.6g}; expected a positive definite covariance",
    )


def as_probabilities(weights: object, name: str) -> Tensor:
    """Positive weights that sum to 1 within the rounding of their own type, as float64.

    They are divided by their sum, so that weights of a float32 softmax serve too; weights whose
    sum is 1 in float64 are kept as they are.

    Args:
        weights: shape (K,), a tensor or a sequence of numbers.

    Returns:
        Shape (K,), float64 on the CPU.
    """
    typed = isinstance(weights, (Tensor, np.ndarray))
    given = as_tensor(weights, name, None if typed else torch.float64)
    w = given.to("cpu", torch.float64)
    require(
        w.ndim == 1 and len(w) >= 1,
        f"{name} has shape {tuple(w.shape)}; expected (K,), one weight each",
    )
    require_finite(w, name)
    kind = given.dtype if given.is_floating_point() else torch.float64
    slack = max(1e-9, 4 * len(w) ** 0.5 * torch.finfo(kind).eps)
    total = float(w.sum())
    require(
        bool((w > 0).all()) and abs(total - 1) <= slack,
        f"{name} runs from {float(w.min()):.6g} to {float(w.max()):.6g} and sums to "
        f"{total:.12g}; expected positive numbers that sum to 1",
    )
    return w if abs(total - 1) <= 1e-12 else w / total


def as_tensor(values: Any, name: str, dtype: torch.dtype | None = None) -> Tensor:
    """Numbers as a tensor; a list or a numpy array will do.

    Raises:
        TypeError: for what holds anything but real numbers, or rows of different lengths.
    """
    wanted = "a tensor, or numbers that make one"
    if values is None or isinstance(values, (str, bytes, bool)):
        raise TypeError(f"{name} is {_described(values)}; expected {wanted}")
    try:
        # asked for a real type, torch would drop imaginary parts without an error
        if values.is_complex() if isinstance(values, Tensor) else np.iscomplexobj(values):
            wanted = "real numbers"
            raise ValueError(wanted)
        return torch.as_tensor(values, dtype=dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} is {_described(values)}; expected {wanted}") from error


def as_classes(values: Tensor, name: str, classes: int | None = None) -> Tensor:
    """Numbers of classes as int64: whole numbers, or truth values for the classes 0 and 1.

    Args:
        values: shape (n,).
        classes: how many there are; none may then lie outside of 0 to classes - 1.
    """
    wanted = "a tensor of whole numbers of shape (n,)"
    require_type(values, Tensor, name, wanted)
    if values.is_floating_point() or values.is_complex():
        raise TypeError(f"{name} is {_described(values)}; expected {wanted}")
    require(values.ndim == 1, f"{name} has shape {tuple(values.shape)}; expected (n,)")
    values = values.long()
    require(
        classes is None or bool(((values >= 0) & (values < classes)).all()),
        f"{name} has values outside of 0 to {classes and classes - 1}, its {classes} classes",
    )
    return values


def require_array(x: np.ndarray, name: str) -> None:
    """Require a numpy array of finite real numbers."""
    require_type(x, np.ndarray, name, "a numpy array, as x.numpy() makes one of a tensor")
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{name} is a numpy array of {x.dtype}; expected real numbers")
    bad = int((~np.isfinite(x)).sum())
    require(bad == 0, f"{name} holds {bad} values that are NaN or infinite; remove them first")


def require_generator(generator: object, name: str = "generator") -> None:
    """Require a random generator of torch."""
    require_type(
        generator, torch.Generator, name, "a generator such as torch.Generator().manual_seed(0)"
    )


def as_shape(shape: Sequence[int], name: str) -> tuple[int, int, int]:
    """The shape (C, H, W) of an image, whole numbers of at least 1."""
    require_type(shape, (tuple, list), name, "(C, H, W), the shape of an image")
    require(len(shape) == 3, f"{name} is {tuple(shape)}; expected (C, H, W)")
    channels, height, width = (as_whole_number(k, f"a side of {name}", least=1) for k in shape)
    return channels, height, width


def require_box(box: Sequence[float], name: str) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) with 0 <= left < right <= 1 and 0 <= top < bottom <= 1."""
    require_type(box, (tuple, list), name, "(left, top, right, bottom), relative to the image")
    require(len(box) == 4, f"{name} has {len(box)} numbers; expected (left, top, right, bottom)")
    left, top, right, bottom = (as_number(side, f"a side of {name}") for side in box)
    require(
        0 <= left < right <= 1 and 0 <= top < bottom <= 1,
        f"{name} is {tuple(box)}; expected (left, top, right, bottom) with 0 <= left < right <= "
        "1 and 0 <= top < bottom <= 1, relative to the image",
    )
    return left, top, right, bottom


def as_path(value: Any, name: str) -> Path:
    """The path of a file or folder, given as a text or a ``Path``; ``~`` is the reader's home."""
    require_type(value, (str, os.PathLike), name, "a path, as a text or a pathlib.Path")
    return Path(value).expanduser()


def _described(value: object) -> str:
    """What a value is, in a few words."""
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"a numpy array of {value.dtype} of shape {value.shape}"
    text = repr(value)
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return text if value is None else f"{text}, of type {type(value).__name__}"
