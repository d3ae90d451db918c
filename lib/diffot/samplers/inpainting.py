"""DDIM that holds a part to a known image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.errors import (
    require_alike,
    require_generator,
)
from diffot.samplers.latents import checked_mask
from diffot.samplers.steps import Level, as_start, estimates, noise_like, path, step


def inpaint(
    denoiser: Denoiser,
    x_T: Tensor,
    x_0: Tensor,
    mask: Tensor,
    steps: int | Sequence[float] = 30,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""DDIM that is free where a mask is 1 and held to a known image where it is 0.

    At every time, what the mask holds is put on a path to the image x_0. Without a generator it
    is the path that begins at the latent (thesis section 6.3), which
    :math:`q(x_t \mid x_T, x_0)` is for eta = 0 (Song et al. 2021a, eq. 7):

    .. math:: x_t = \alpha_t x_0 + \sigma_t \varepsilon,
              \qquad \varepsilon = (x_T - \alpha_T x_0) / \sigma_T.

    With a generator, :math:`\varepsilon` is fresh noise at every time, x_T included: inpainting
    by replacement (Sohl-Dickstein et al. 2015, section 2.5; Song et al. 2021b, appendix I.2).

    Neither draws from the law of the free values given the held ones, however many the steps: the
    denoiser is told the held values at the noise level of x_t, not x_0 itself. Nor does the
    first return the free values of ``ddim(x_T)`` when x_0 is that image, except where they do not
    depend on the held ones or in one step: DDIM's own path from x_T to x_0 is bent, and this one
    is the straight one of a constant :math:`\varepsilon`.

    Args:
        x_T: latents, shape (B, *d).
        x_0: the known images, of the same shape and type.
        mask: values in [0, 1], shape d, or (1, H, W) for images; what lies between 0 and 1 is
            blended, :math:`m x_t + (1 - m) x_t^{\text{held}}`. Two independent noises blended
            are too little noise, so that soft edges suit the first path better.
        steps: as in :func:`~diffot.samplers.ddim.ddim`.
        generator: source of the fresh noise, for inpainting.

    Returns:
        The points at the last time, shape (B, *d); where the mask is 0 and that time is 0, x_0.

    Raises:
        ValueError: for bad points, masks or numbers of steps.
    """
    start, image = as_start(denoiser, x_T), as_start(denoiser, x_0, "x_0")
    require_alike(x_0, x_T, ("x_0", "x_T"))
    mask = checked_mask(mask, start)
    if generator is not None:
        require_generator(generator)
    times, levels = path(denoiser.schedule, steps)
    alpha, sigma = levels[0]
    noise = (start - alpha * image) / sigma

    def held(x: Tensor, level: Level) -> Tensor:
        """x with the values that the mask holds on their path."""
        epsilon = noise if generator is None else noise_like(x, generator)
        kept = level[0] * image + level[1] * epsilon
        return torch.lerp(kept, x, mask.expand_as(x))

    x = held(start, levels[0])
    for clean, here, there in zip(estimates(denoiser, times), levels, levels[1:]):
        x = held(step(x, clean(x), here, there), there)
    return x.to(x_T.dtype)
