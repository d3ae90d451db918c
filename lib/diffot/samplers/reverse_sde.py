"""The diffusion run backwards."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.errors import as_number, require, require_generator
from diffot.samplers.steps import as_start, noise_like, path


def euler_maruyama(
    denoiser: Denoiser,
    x_T: Tensor,
    generator: torch.Generator,
    steps: int | Sequence[float] = 1000,
    noise: float = 1.0,
) -> Tensor:
    r"""The Euler-Maruyama method for the reverse diffusion (Song et al. 2021b, eq. 6).

    The diffusion :math:`dx = f x\,dt + g\,dW` has the same laws as

    .. math:: dx = \big(f x - g^2 \nabla \log p_t(x)\big)\,dt + g\,d\bar W

    run from T down to 0 (Su & Yang 2025, eq. 5.8), :math:`\bar W` being Brownian motion in that
    direction. From time t to the next time s,

    .. math:: x_s = x_t - (t - s) \big(f x_t - g^2 \nabla \log p_t(x_t)\big)
              + g \sqrt{t - s}\, z, \qquad z \sim N(0, I),

    with f and g at t, and no noise in the last step. With c times the noise, the drift
    :math:`f x - \frac{1 + c^2}{2} g^2 \nabla \log p_t` has the same laws again (Zhang & Chen
    2023; Su & Yang 2025, eq. 6.13): c = 0 is the probability flow, c = 1 the reverse diffusion.
    Expectations converge at first order in the steps. (:func:`~diffot.samplers.ddpm.ddpm` has
    the limit of c = 1, and takes the law of x_s given x_t and the denoised point exactly, which
    allows larger steps.)

    Args:
        x_T: starting noise, shape (B, *d).
        generator: source of the noise z.
        steps: as in :func:`~diffot.samplers.ddim.ddim`.
        noise: c, at least 0.

    Returns:
        Points at the last time, shape (B, *d).

    Raises:
        ValueError: for a bad start or steps, a missing generator, or a first time at which no
            data are left, where f is infinite.
    """
    x = as_start(denoiser, x_T)
    require_generator(generator)
    noise = as_number(noise, "noise", at_least=0)
    times, levels = path(denoiser.schedule, steps)
    require(
        levels[0][0] > 0,
        f"steps begin at {times[0]:.6g}, where no data are left and the diffusion is infinitely "
        "fast; expected times from below it on",
    )
    pulls, spreads = (
        c.tolist() for c in denoiser.schedule.sde(torch.tensor(times[:-1]).double())
    )
    for t, s, pull, spread in zip(times, times[1:], pulls, spreads):
        x = x - (t - s) * (pull * x - (1 + noise**2) / 2 * spread * denoiser.score(x, t))
        if s != times[-1] and noise > 0:
            x = x + noise * (spread * (t - s)) ** 0.5 * noise_like(x, generator)
    return x.to(x_T.dtype)
