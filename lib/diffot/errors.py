"""Checks of input that answer in full sentences."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import torch
from torch import Tensor


def require(condition: bool, message: str) -> None:
    """Raise ``ValueError(message)`` unless ``condition`` holds."""
    if not condition:
        raise ValueError(message)


def require_points(x: Tensor, dim: int | None = None, name: str = "x") -> None:
    """Require a finite floating-point tensor of shape (B, d), with d = ``dim`` if given."""
    wanted = "(B, d)" if dim is None else f"(B, {dim})"
    require(
        isinstance(x, Tensor) and x.is_floating_point(),
        f"{name} is {x.dtype if isinstance(x, Tensor) else type(x).__name__}; "
        f"expected a floating-point tensor of shape {wanted}",
    )
    require(
        x.ndim == 2 and (dim is None or x.shape[1] == dim),
        f"{name} has shape {tuple(x.shape)}; expected {wanted}, one point per row",
    )
    require_finite(x, name)


def require_finite(x: Tensor, name: str) -> None:
    """Require that no entry is NaN or infinite."""
    bad = int((~torch.isfinite(x)).sum())
    require(bad == 0, f"{name} holds {bad} values that are NaN or infinite; remove them first")


def require_alike(x: Tensor, y: Tensor, names: tuple[str, str]) -> None:
    """Require two tensors of the same shape and type."""
    require(
        x.shape == y.shape and x.dtype == y.dtype,
        f"{names[0]} is {x.dtype} of shape {tuple(x.shape)}, {names[1]} {y.dtype} of shape "
        f"{tuple(y.shape)}; expected the same",
    )


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """A message for a misspelt name: the nearest known ones, then all of them."""
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"unknown {kind} {name!r}; {hint}known: {', '.join(known)}"
