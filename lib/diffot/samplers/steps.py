r"""Samplers: from noise x_T to data x_0 with a denoiser.

They take any :class:`~diffot.denoisers.denoiser.Denoiser` on any schedule, work on any device and
under autograd (wrap calls in ``torch.no_grad()`` where gradients are not wanted), and never clip.
The result has the type of ``x_T``; on the way, points are kept in float32 at least, for a step
may be smaller than half precision resolves. Steps are taken with the denoised point, so that
nothing is divided by :math:`\alpha_t`, which is small or zero at time T.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.errors import require, require_batch, require_type
from diffot.processes.schedules import Schedule

Level = tuple[float, float]  # alpha_t and sigma_t


def as_start(denoiser: Denoiser, x: Tensor, name: str = "x_T") -> Tensor:
    """The points to start from, in float32 at least."""
    require_type(denoiser, Denoiser, "denoiser", "a Denoiser; as_denoiser makes one")
    require_batch(x, name)
    return x.to(torch.promote_types(x.dtype, torch.float32))


def noise_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draws of N(0, I) of the shape, type and device of x."""
    z = torch.randn(x.shape, dtype=x.dtype, device=generator.device, generator=generator)
    return z.to(x.device)


def path(
    schedule: Schedule, steps: int | Sequence[float], backwards: bool = False
) -> tuple[list[float], list[Level]]:
    """The times to visit and (alpha, sigma) at each."""
    times = schedule.timesteps(steps)
    sigma = schedule.sigma(times)
    require(
        bool(sigma[-2] > 0),
        f"steps holds the time {times[-2]:.6g}, whose noise is too little for float64; expected "
        "0 alone after the times with noise",
    )
    if backwards:
        times = times.flip(0)
    levels = zip(*(level.tolist() for level in schedule.levels(times)))
    return times.tolist(), list(levels)


def estimates(denoiser: Denoiser, times: Sequence[float]) -> list[Callable[[Tensor], Tensor]]:
    """The denoiser at each of these times but the last, where the path ends."""
    return [denoiser.at(t) for t in times[:-1]]


def step(x: Tensor, x_0: Tensor, here: Level, there: Level, fresh: float = 0.0) -> Tensor:
    """DDIM's step between two noise levels, less the fresh noise of standard deviation ``fresh``.

    It is exact if x_0 does not change on the way, in either direction; ``here`` is not sigma = 0.
    """
    (alpha, sigma), (next_alpha, next_sigma) = here, there
    keep = (next_sigma**2 - fresh**2) ** 0.5 / sigma
    return torch.add(keep * x, x_0, alpha=next_alpha - keep * alpha)
