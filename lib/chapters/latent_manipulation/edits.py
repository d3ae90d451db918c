"""Images of shifted latents, and how they differ from those before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chapters.latent_manipulation.regions import checked_weights
from diffot.denoisers.denoiser import Denoiser
from diffot.errors import (
    as_number,
    as_whole_number,
    require_alike,
    require_images,
    require_known,
    require_same_shape,
    require_type,
)
from diffot.estimates import Estimate, columns, jackknife, mean, require_groups
from diffot.learning import measured
from diffot.learning.latent_maps import BATCH, LatentMap, decode, draw, encode
from diffot.learning.latent_maps import latents as latents_of
from diffot.paths import CACHE
from diffot.samplers import latents
from diffot.samplers.inpainting import inpaint
from diffot.seeds import generator

IMAGES = ("drawn", "held out")
METHODS = ("shift", "hold", "replace", "inpaint")


def start(
    latent_map: LatentMap, images: str, n: int, seed: int, folder: Path = CACHE
) -> tuple[Tensor, Tensor]:
    """What is manipulated: n latents, and the images that they stand for.

    Args:
        latent_map: a model and its number of steps, either way.
        images: ``"drawn"``: the latents of a seed and what the model makes of them; or
            ``"held out"``: images that it was not trained on and their codes. Coding loses a
            little: what a shift by 0 changes.
        seed: of the latents; does not matter to held-out images.
        folder: where images and codes are kept.

    Returns:
        Latents and images, shape (n, C, H, W) each.
    """
    require_known(images, "images", IMAGES)
    if images == "drawn":
        x = decode(latent_map, n, seed, folder)
        return latents_of(latent_map.shape(), n, seed), x
    z = encode(latent_map, latent_map.model, n, folder)
    return z, measured.held_out(latent_map.model, n).images


def edit(
    denoiser: Denoiser,
    z: Tensor,
    x: Tensor,
    mask: Tensor,
    sigmas: float,
    steps: int,
    *,
    method: str = "shift",
    seed: int = 0,
) -> Tensor:
    """The images of shifted latents.

    Args:
        z, x: latents and their images, shape (n, C, H, W), as :func:`start` gives them.
        mask: of the region that is shifted.
        sigmas: by how much; see :func:`diffot.samplers.latents.shift`.
        steps: of DDIM.
        method: what becomes of the pixels outside of the mask. ``"shift"``: whatever DDIM makes
            of them; ``"hold"``: they are held to the path from z to x; ``"replace"``: they are x
            with fresh noise in every step; ``"inpaint"``: the same, and the latents are fresh
            noise before they are shifted, so that nothing of the image is left in the region
            (Sohl-Dickstein et al. 2015). See :func:`diffot.samplers.inpainting.inpaint`.
        seed: of the fresh noise.

    Returns:
        Shape (n, C, H, W), not clamped.
    """
    require_type(denoiser, Denoiser, "denoiser", "a Denoiser; as_denoiser makes one")
    require_images(z, "z")
    require_images(x, "x")
    require_alike(z, x, ("z", "x"))
    sigmas, steps = as_number(sigmas, "sigmas"), as_whole_number(steps, "steps", least=1)
    seed = as_whole_number(seed, "seed", least=0)
    require_known(method, "method", METHODS)
    if method == "inpaint":
        z = torch.randn(z.shape, generator=generator(seed, "latents to inpaint with"))
    shifted = latents.shift(z, mask, sigmas)
    if method == "shift":
        return draw(denoiser, shifted, steps)
    edited = []
    with torch.no_grad():
        for batch, parts in enumerate(zip(shifted.split(BATCH), x.split(BATCH))):
            draws = None if method == "hold" else generator(seed, f"fresh noise {batch}")
            edited.append(inpaint(denoiser, *parts, mask, steps, draws))
    return torch.cat(edited)


def change(x: Tensor, y: Tensor, mask: Tensor) -> dict[str, float]:
    r"""How images were changed, in a region and out of it.

    Args:
        x, y: images before and after, shape (n, C, H, W) with n >= 10.
        mask: of the region, values m in [0, 1], not all 0; shape (1, H, W) or (C, H, W).

    Returns:
        ``inside`` and ``outside``: root mean square difference over an image's values, weighted
        by m and by 1 - m, in the mean over images. ``seam``: by which factor the change made the
        edge of the region sharper or smoother: the root mean square difference of neighboring
        values across it, each pair weighted by the difference of m, by the same of the images
        before. Near 1 if there is nothing to be seen of the edge. NaN without an outside or edge.
    """
    require_images(y, "y")
    inside = checked_weights(mask, x, "x")
    require_same_shape(x, y, ("x", "y"))
    require_groups(x, "x")
    row: dict[str, float] = {}
    for name, weights in {"inside": inside, "outside": 1 - inside}.items():
        squares = ((y - x).square() * weights).double().sum((1, 2, 3)) / weights.double().sum()
        row |= columns(name, mean(squares.sqrt()))
    new, old = (_jumps_across(images, inside).numpy() for images in (y, x))
    seam = Estimate(np.nan, np.nan)
    if old.any():
        seam = jackknife(lambda a, b: (a.sum() / b.sum()) ** 0.5, new, old)
    return row | columns("seam", seam)


def _jumps_across(images: Tensor, mask: Tensor) -> Tensor:
    """Squared differences of neighbors, weighted by those of the mask; summed, shape (n,)."""
    total: Any = sum(
        (images.diff(dim=axis).square() * mask.diff(dim=axis).abs()).double().sum((1, 2, 3))
        for axis in (-2, -1)
    )
    return total
