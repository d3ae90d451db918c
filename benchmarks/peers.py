"""The peers' samplers, called as ours are: with a denoiser and noise at time T."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import diffusers
import numpy as np
import torch
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.processes.schedules import VariancePreserving

# whose data are at the first level of their table, not at no noise
ENDS_AT_FIRST = ("DEISMultistepScheduler", "DPMSolverMultistepInverseScheduler")


def table(denoiser: Denoiser) -> VariancePreserving:
    assert isinstance(denoiser.schedule, VariancePreserving)
    return denoiser.schedule


def noise_ratio(denoiser: Denoiser, times: Tensor) -> Tensor:
    """sigma / alpha, which k-diffusion and most schedulers of diffusers call sigma."""
    alpha, sigma = denoiser.schedule.levels(times)
    return sigma / alpha


def time_of(denoiser: Denoiser, ratio: float) -> float:
    """The time at which sigma / alpha has a value above 0, in float32 perhaps, at most T."""
    most = noise_ratio(denoiser, torch.tensor(table(denoiser).T))
    return float(denoiser.schedule.time_of(1.0, min(ratio, float(most))))


def scheduler(kind: str, denoiser: Denoiser, times: Sequence[float] | None = None, **more) -> Any:
    """A scheduler of diffusers for the denoiser's schedule; with times, one that visits these:
    its table has no other levels."""
    build = getattr(diffusers, kind)
    if times is None:
        return build(trained_betas=betas(table(denoiser).alpha_bar), **more)
    levels = denoiser.schedule.alpha(torch.tensor(times[::-1])) ** 2  # from 0 to T
    if kind in ENDS_AT_FIRST:
        first = table(denoiser).alpha_bar[1:2].clamp(min=float(levels[1]) + 1e-5)
        levels = torch.cat([levels[:1], first, levels[1:]])
    else:
        more |= {"timestep_spacing": "trailing"}
    return build(num_train_timesteps=len(levels) - 1, trained_betas=betas(levels), **more)


def betas(alpha_bar: Tensor) -> np.ndarray:
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).numpy()


def run_scheduler(scheduler: Any, denoiser: Denoiser, z: Tensor, steps: int) -> Tensor:
    """Points at time 0, each evaluation of the denoiser at the very level that the scheduler is
    at (a pipeline asks at the nearest whole time)."""
    scheduler.set_timesteps(steps)
    cumulated = scheduler.alphas_cumprod.double()
    x = z
    for i, t in enumerate(scheduler.timesteps):
        if hasattr(scheduler, "sigmas"):
            ratio = float(scheduler.sigmas[i])
        else:
            ratio = float(((1 - cumulated[int(t)]) / cumulated[int(t)]) ** 0.5)
        alpha = (1 + ratio**2) ** -0.5
        if i == 0 and keeps_amplitude(scheduler):
            x = x / alpha
        seen = scheduler.scale_model_input(x, t)
        clean = denoiser.denoise(seen, time_of(denoiser, ratio))
        noise = (seen - alpha * clean) / (alpha * ratio)
        x = scheduler.step(noise, t, x).prev_sample
    return x


def keeps_amplitude(scheduler: Any) -> bool:
    """Whether its points are the data plus noise, without a factor alpha."""
    return "Discrete" in type(scheduler).__name__


def run_k_diffusion(
    name: str, denoiser: Denoiser, z: Tensor, ratios: Tensor, **more: Any
) -> Tensor:
    """Points at time 0, by ``k_diffusion.sampling.sample_NAME``.

    Args:
        ratios: sigma / alpha at the times to visit, the last one 0.
    """
    from k_diffusion import sampling

    def model(x: Tensor, ratio: Tensor, **_: Any) -> Tensor:
        value = float(ratio[0])
        return denoiser.denoise(x / (1 + value**2) ** 0.5, time_of(denoiser, value))

    sampler: Callable = getattr(sampling, f"sample_{name}")
    start = z * (1 + ratios[0] ** 2) ** 0.5
    return sampler(model, start, ratios.to(z.dtype), disable=True, **more)


def karras(denoiser: Denoiser, steps: int) -> Tensor:
    """sigma / alpha at the times of Karras et al. (2022), from T to 1, and 0."""
    from k_diffusion.sampling import get_sigmas_karras

    ends = noise_ratio(denoiser, torch.tensor([1.0, table(denoiser).T]).double()).tolist()
    return get_sigmas_karras(steps, *ends).double()
