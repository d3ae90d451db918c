r"""Manipulating latents: where, by how much, and with what (thesis section 5.4, experiment H.2).

A latent is a draw of N(0, I) in the shape (C, H, W) of an image, and latents come as a batch of
shape (B, C, H, W). A mask says where it is changed: a floating-point tensor with values in
[0, 1], shape (C, H, W), or (1, H, W) for the same in all channels. Its complement is
``1 - mask``, and a threshold makes a mask of anything, as in ``(share >= 0.5).float()``.

A box is (left, top, right, bottom) in [0, 1], relative to the image, from its top left corner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from diffot.errors import (
    as_number,
    as_tensor,
    as_whole_number,
    require,
    require_alike,
    require_batch,
    require_box,
    require_finite,
    require_generator,
    require_tensor,
)

Box = tuple[float, float, float, float]

# Of the drawn faces, as `datasets.faces.region` finds them, in whole pixels of 32 and symmetric
# about the middle. "eyes" and "mouth": the smallest that hold 95 % of the changes with
# `sunglasses` and `smile`; "hair": the smallest that holds half of those with `hair_color`, the
# top of the head; "face": the largest with 5 % of those at most, so that the hair lies outside.
FACE_BOXES: dict[str, Box] = {
    "eyes": (5 / 32, 12 / 32, 27 / 32, 22 / 32),
    "mouth": (9 / 32, 24 / 32, 23 / 32, 30 / 32),
    "hair": (5 / 32, 2 / 32, 27 / 32, 11 / 32),
    "face": (7 / 32, 13 / 32, 25 / 32, 29 / 32),
}

# The thesis' boxes for CelebA-HQ at 256 pixels (section 5.4, figures 5.12 to 5.15). The hair is
# everything outside of "face".
THESIS_BOXES: dict[str, Box] = {
    "eyes": (65 / 256, 105 / 256, 190 / 256, 140 / 256),
    "mouth": (95 / 256, 178 / 256, 160 / 256, 205 / 256),
    "face": (70 / 256, 50 / 256, 186 / 256, 256 / 256),
}


# --- Where ------------------------------------------------------------------------------------


def box_mask(box: Box, size: int, soft: float = 0.0) -> Tensor:
    r"""The mask of a box.

    A pixel belongs to it if its center does, so that a mask with sharp edges is binary. A soft
    edge falls from 1 to 0 as :math:`3 r^2 - 2 r^3`, half of it on either side of the box's; edges
    on the border of the image stay sharp.

    Args:
        size: width and height of the image in pixels.
        soft: width of an edge, relative to the image, from 0 to the box's shorter side.

    Returns:
        Values in [0, 1], float32 of shape (1, size, size).

    Raises:
        ValueError: if the box is none, covers no pixel, or is too small for soft edges.
    """
    left, top, right, bottom = require_box(box, "box")
    size = as_whole_number(size, "size", least=1)
    soft = as_number(soft, "soft", at_least=0, at_most=min(right - left, bottom - top))
    centers = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    across = _interval(centers, left, right, soft)
    down = _interval(centers, top, bottom, soft)
    mask = (down[:, None] * across).float()[None]
    require(
        bool((mask > 0).any()),
        f"box {box} holds the center of no pixel at size {size}; take a larger box",
    )
    return mask


def channel_mask(mask: Tensor, channel: int, channels: int = 3) -> Tensor:
    """A mask of shape (1, H, W) for one channel alone: shape (channels, H, W), 0 in the others.

    Args:
        channel: its number, from 0; of an image in color red, green or blue.
    """
    require_tensor(mask, "mask", "a floating-point tensor of shape (1, H, W)")
    require(
        mask.ndim == 3 and len(mask) == 1,
        f"mask has shape {tuple(mask.shape)}; expected (1, H, W), the same for all channels",
    )
    _require_unit_interval(mask)
    channels = as_whole_number(channels, "channels", least=1)
    channel = as_whole_number(channel, "channel", least=0, most=channels - 1)
    alone = mask.new_zeros(channels, *mask.shape[1:])
    alone[channel] = mask[0]
    return alone


def elsewhere(box: Box, generator: torch.Generator, avoid: Sequence[Box] = ()) -> Box:
    """A box of the same size that does not overlap, as a control.

    If the sides of the box are whole pixels, its mask has as many pixels.

    Args:
        generator: decides on the place, uniformly among all that are free.
        avoid: further boxes that it must not overlap.

    Raises:
        ValueError: if there is no free place.
    """
    left, top, right, bottom = require_box(box, "box")
    require_generator(generator)
    width, height = right - left, bottom - top
    # its top left corner must stay out of these rectangles
    taken = [
        (a - width, b - height, c, d)
        for a, b, c, d in [box, *(require_box(other, "a box of avoid") for other in avoid)]
    ]
    # between the rectangles' edges lie cells that are free or taken as a whole
    xs = _cuts([x for rectangle in taken for x in rectangle[0::2]], 1 - width)
    ys = _cuts([y for rectangle in taken for y in rectangle[1::2]], 1 - height)
    free = [
        (x_0, y_0, x_1, y_1)
        for x_0, x_1 in zip(xs, xs[1:])
        for y_0, y_1 in zip(ys, ys[1:])
        if not any(a <= x_0 < c and b <= y_0 < d for a, b, c, d in taken)
    ]
    require(
        len(free) > 0,
        f"no box of the size of {box} fits into the image beside it"
        + (f" and {list(avoid)}" if avoid else "")
        + "; take a smaller box",
    )
    # a box as wide as the image moves up and down alone: length 0 counts as 1
    areas = torch.tensor([(x_1 - x_0 or 1) * (y_1 - y_0 or 1) for x_0, y_0, x_1, y_1 in free])
    x_0, y_0, x_1, y_1 = free[int(torch.multinomial(areas, 1, generator=generator))]
    u, v = torch.rand(2, dtype=torch.float64, generator=generator).tolist()
    x, y = x_0 + u * (x_1 - x_0), y_0 + v * (y_1 - y_0)
    return (x, y, min(x + width, 1.0), min(y + height, 1.0))


# --- By how much ------------------------------------------------------------------------------


def in_sigmas(shift: float, m: int) -> float:
    r"""A shift of each of m latent values, in standard deviations of their mean.

    The mean of m independent values of N(0, 1) has the standard deviation :math:`1 / \sqrt m`, so
    that a shift by :math:`\lambda` is one by :math:`\lambda \sqrt m` of these, whatever the
    resolution. The thesis' largest over a whole latent, 0.02 for each of 256 x 256 x 3 values
    (figure 5.10), are 8.9.
    """
    return as_number(shift, "shift") * _root(m)


def per_value(sigmas: float, m: int) -> float:
    r"""The shift :math:`\lambda` of each of m values that is ``sigmas`` of :func:`in_sigmas`."""
    return as_number(sigmas, "sigmas") / _root(m)


def coordinate(z: Tensor, mask: Tensor) -> Tensor:
    r"""Where latents stand in the direction of a mask, :math:`\langle z, u \rangle`,
    :math:`u = m / |m|`.

    It is distributed as N(0, 1). For a binary mask it is the mean of the masked values, in
    standard deviations of that mean.

    Args:
        z: shape (B, C, H, W).

    Returns:
        Shape (B,).
    """
    return (z * _direction(z, mask)).flatten(1).sum(1)


def shift(z: Tensor, mask: Tensor, sigmas: float | Tensor) -> Tensor:
    r"""Latents moved in the direction of a mask, :math:`z + s u`, :math:`u = m / |m|`.

    This adds s to their :func:`coordinate` and nothing to what is orthogonal to it. For a binary
    mask over m values it is the thesis' :math:`z + \lambda m` with :math:`\lambda = s / \sqrt m`
    (section 5.4; :func:`per_value`).

    Args:
        z: shape (B, C, H, W).
        sigmas: s, one for all latents or one for each, shape (B,).

    Returns:
        Shape (B, C, H, W).
    """
    u = _direction(z, mask)
    s = as_tensor(sigmas, "sigmas", z.dtype).to(z.device)
    require(
        s.ndim == 0 or s.shape == z.shape[:1],
        f"sigmas has shape {tuple(s.shape)} for {len(z)} latents; expected a number, or one for "
        "each of them",
    )
    require_finite(s, "sigmas")
    return z + s.reshape(-1, *[1] * (z.ndim - 1)) * u


# --- With what --------------------------------------------------------------------------------


def transfer(recipient: Tensor, donor: Tensor, mask: Tensor) -> Tensor:
    r"""Latents with a part of others, :math:`\sqrt m\, z_d + \sqrt{1 - m}\, z_r`.

    For independent latents this has the law N(0, I) again, whatever the mask. For a binary mask
    it replaces the masked values, as the thesis does (section 5.4, H.2c).

    Args:
        recipient: shape (B, C, H, W). donor: the same shape and type.
    """
    require_batch(recipient, "recipient", "(B, C, H, W)")
    require_batch(donor, "donor", "(B, C, H, W)")
    require_alike(recipient, donor, ("recipient", "donor"))
    m = checked_mask(mask, recipient)
    return m.sqrt() * donor + (1 - m).sqrt() * recipient


# --- Checks -----------------------------------------------------------------------------------


def checked_mask(mask: Tensor, z: Tensor) -> Tensor:
    """A mask in the type and on the device of the latents that it is for.

    Raises:
        TypeError: if it is no floating-point tensor.
        ValueError: if it does not fit their shape or has values outside [0, 1].
    """
    wanted = "a floating-point tensor with values in [0, 1], such as (share >= 0.5).float()"
    require_tensor(mask, "mask", wanted)
    channels, *sides = z.shape[1:]
    require(
        mask.ndim == z.ndim - 1 and list(mask.shape[1:]) == sides and len(mask) in (1, channels),
        f"mask has shape {tuple(mask.shape)}; expected {(1, *sides)} or {(channels, *sides)}, "
        f"for latents of shape {tuple(z.shape)}",
    )
    _require_unit_interval(mask)
    return mask.to(z)


def _require_unit_interval(mask: Tensor) -> None:
    require_finite(mask, "mask")
    require(
        bool(((mask >= 0) & (mask <= 1)).all()),
        f"mask has values from {mask.min():.6g} to {mask.max():.6g}; expected 0 to 1",
    )


def _direction(z: Tensor, mask: Tensor) -> Tensor:
    """The mask as a unit vector among the latents, shape (C, H, W)."""
    require_batch(z, "z", "(B, C, H, W)")
    m = checked_mask(mask, z).expand(z.shape[1:])
    require(bool((m > 0).any()), "mask is 0 everywhere, which is no direction to move in")
    return m / m.norm()


def _interval(x: Tensor, start: float, end: float, soft: float) -> Tensor:
    """1 between start and end, 0 outside, with soft edges but for those at 0 and 1."""
    if soft == 0:
        return ((x >= start) & (x < end)).double()
    rise = (x - start) / soft + 0.5 if start > 0 else torch.ones_like(x)
    fall = (end - x) / soft + 0.5 if end < 1 else torch.ones_like(x)
    r = torch.minimum(rise, fall).clamp(0, 1)
    return r**2 * (3 - 2 * r)


def _cuts(edges: Sequence[float], end: float) -> list[float]:
    """0, the edges between 0 and end, and end, in order."""
    return [0.0, *sorted({edge for edge in edges if 0 < edge < end}), end]


def _root(m: int) -> float:
    return math.sqrt(as_whole_number(m, "m", least=1))
