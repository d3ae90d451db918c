"""What the modules on transport share: pairs of points, and units in which to compute."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from diffot.errors import (
    require,
    require_points,
    require_same_shape,
)

TransportMap = Callable[[Tensor], Tensor]  # points (B, d) to points (B, d)


def as_pair(x: Tensor, y: Tensor, names: tuple[str, str] = ("x", "y")) -> tuple[Tensor, Tensor]:
    """Points and their images as float64."""
    for points, name in zip((x, y), names):
        require_points(points, name=name)
    require_same_shape(x, y, names)
    require(x.numel() > 0, f"{names[0]} has shape {tuple(x.shape)}; expected at least one point")
    return as_double(x), as_double(y)


def unit_of(a: Tensor, dim: int | tuple[int, ...] = ()) -> Tensor:
    """The power of two next below the largest entry, float64: dividing by it does not round."""
    largest = a.abs().amax(dim, keepdim=dim != ())
    return torch.as_tensor(np.ldexp(1.0, np.frexp(largest.numpy())[1] - 1))


def as_double(x: Tensor) -> Tensor:
    """Float64 on the CPU, without gradients."""
    return x.detach().to("cpu", torch.float64)
