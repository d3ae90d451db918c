"""Samplers of second order for the probability flow."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.samplers.steps import Level, as_start, path, step


def heun(denoiser: Denoiser, x_T: Tensor, steps: int | Sequence[float] = 30) -> Tensor:
    r"""Heun's method (improved Euler) for the probability flow, of second order.

    With :math:`z = x / \sigma` and :math:`r = \alpha / \sigma` the flow is
    :math:`dz / dr = \hat x_0`, of which :func:`~diffot.samplers.ddim.ddim` is Euler's method.
    Here a step is taken with DDIM, and again with the mean of the denoised points at its two ends
    (Karras et al. 2022, algorithm 1; with the denoised point in the place of the noise, as in Lu
    et al. 2022b, algorithm 1, and therefore sound from the first step on, where alpha is small).
    The last step, to time 0, is DDIM: 2 * steps - 1 evaluations in all.

    That last step leaves an error of order :math:`\sigma_t^2`, t being the last positive time.
    For equal steps this shrinks like 1/steps once beta is nearly constant below t, and the
    measured order falls from 2 towards 1; with times that crowd towards 0, such as
    :math:`T (i / n)^2`, it remains 2.

    Args:
        x_T: starting noise, shape (B, *d).
        steps: a number of steps, or the times to visit; see
            :func:`~diffot.processes.schedules.Schedule.timesteps`.

    Returns:
        The points at the last time (0 if ``steps`` is a number), shape (B, *d).

    Raises:
        ValueError: for a bad start or number of steps.
    """
    x = as_start(denoiser, x_T)
    times, levels = path(denoiser.schedule, steps)
    for i, (here, there) in enumerate(zip(levels, levels[1:])):
        x_0 = denoiser.denoise(x, times[i])
        guess = step(x, x_0, here, there)
        if times[i + 1] == 0:
            return guess.to(x_T.dtype)
        x_0 = (x_0 + denoiser.denoise(guess, times[i + 1])) / 2
        x = step(x, x_0, here, there)
    return x.to(x_T.dtype)


def dpmpp_2m(denoiser: Denoiser, x_T: Tensor, steps: int | Sequence[float] = 30) -> Tensor:
    r"""DPM-Solver++(2M), of second order with one evaluation in each step.

    A step of :func:`~diffot.samplers.ddim.ddim` with a denoised point that is extrapolated to the
    middle of the step in :math:`\lambda = \log(\alpha / \sigma)` (Lu et al. 2022b, algorithm 2),

    .. math:: \hat x_0 + \frac{h_i}{2 h_{i-1}} (\hat x_0 - \hat x_0^{\text{previous}}),
              \qquad h_i = \lambda_{i+1} - \lambda_i.

    The first step has no previous point, and in the last, to time 0, h is infinite; these two are
    DDIM, as is the step after one from no data at all. What the last one does to the order is
    said in :func:`heun`.

    The factor :math:`h_i / 2 h_{i-1}` is 1/2 for steps that are equal in :math:`\lambda`. With
    times whose steps in :math:`\lambda` grow from noise to data, the method overshoots: if each
    is 1.3 times as long as the one before, it is no better than
    :func:`~diffot.samplers.ddim.ddim` on the thesis' mixtures, and several times worse if each is
    1.6 times as long. :func:`heun`, which only interpolates, stays ahead of both.

    Arguments, result and errors are those of :func:`heun`.
    """
    x = as_start(denoiser, x_T)
    times, levels = path(denoiser.schedule, steps)
    previous, h_previous = None, 0.0
    for t, here, there in zip(times, levels, levels[1:]):
        x_0 = denoiser.denoise(x, t)
        guess, h = x_0, _log_snr(there) - _log_snr(here)
        if previous is not None and h < math.inf:
            guess = x_0 + h / (2 * h_previous) * (x_0 - previous)
        x = step(x, guess, here, there)
        previous, h_previous = x_0, h
    return x.to(x_T.dtype)


def _log_snr(level: Level) -> float:
    """lambda = log(alpha / sigma), half the log signal-to-noise ratio; infinite at time 0, and
    where nothing is left of the data."""
    alpha, sigma = level
    if alpha == 0:
        return -math.inf
    return math.log(alpha / sigma) if sigma > 0 else math.inf
