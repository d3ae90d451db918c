"""How far images are apart, pair by pair."""

from __future__ import annotations

import torch
from torch import Tensor

from diffot.errors import (
    require,
    require_batch,
    require_images,
    require_same_shape,
    require_type,
)
from diffot.learning.attributes import AttributeProbe


def distances(x: Tensor, y: Tensor) -> Tensor:
    r"""Root mean square over an image's d values, :math:`|x - y| / \sqrt d`, shape (B,).

    Args:
        x, y: shape (B, *d).
    """
    require_batch(x, "x")
    require_batch(y, "y")
    require_same_shape(x, y, ("x", "y"))
    require(x[:1].numel() > 0, f"x and y have shape {tuple(x.shape)}; expected images")
    return (x - y).flatten(1).square().mean(1).sqrt()


def differently_read(probe: AttributeProbe, x: Tensor, y: Tensor) -> Tensor:
    """Whether a probe reads any label of an image x otherwise than of y, shape (B,).

    Args:
        x, y: shape (B, C, H, W); they are clamped to [-1, 1].
    """
    require_type(probe, AttributeProbe, "probe", "an AttributeProbe such as of registry.load")
    require_images(x, "x")
    require_images(y, "y")
    require_same_shape(x, y, ("x", "y"))
    first, second = probe.classify(x.clamp(-1, 1)), probe.classify(y.clamp(-1, 1))
    return torch.stack([first[label] != second[label] for label in first]).any(0)
