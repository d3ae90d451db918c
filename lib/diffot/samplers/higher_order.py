"""Samplers of second order and more for the probability flow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.errors import as_whole_number, require_known
from diffot.samplers.ddim import invert
from diffot.samplers.steps import Level, as_start, estimates, path, step

Seen = tuple[float, Tensor]  # lambda, or rho, and what was predicted at a time
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)


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
    clean = [denoiser.at(t) for t in times if t > 0]
    for i, (here, there) in enumerate(zip(levels, levels[1:])):
        x_0 = clean[i](x)
        guess = step(x, x_0, here, there)
        if times[i + 1] == 0:
            return guess.to(x_T.dtype)
        x_0 = (x_0 + clean[i + 1](guess)) / 2
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
    seen: list[Seen] = []
    for clean, here, there in zip(estimates(denoiser, times), levels, levels[1:]):
        seen = [*seen[-1:], (_log_snr(here), clean(x))]
        x = step(x, _ahead(seen, there), here, there)
    return x.to(x_T.dtype)


def unipc(
    denoiser: Denoiser, x_T: Tensor, steps: int | Sequence[float] = 30, order: int = 2
) -> Tensor:
    r"""UniPC, a predictor and a corrector with one evaluation in each step.

    The predictor takes a step with denoised points :math:`\hat x_0` that are extrapolated over it
    from the last ``order`` times: a step of :func:`dpmpp_2m` for two of them. What the denoiser
    says at its end is then also used to take the same step again, with the polynomial through
    these points and that one (Zhao et al. 2023, algorithm 1 and algorithm 2, with
    :math:`B(h) = e^h - 1`). The mean of such a polynomial P over the step, for s from 0 at its
    start to 1 at its end, is taken with the weights of the flow,

    .. math:: \frac{\int_0^1 e^{h s} P(s) \, ds}{\int_0^1 e^{h s} \, ds},
              \qquad P(s) = \hat x_0(\lambda_i + s h),

    but for the predictor from two points, which is :func:`dpmpp_2m`'s, and the corrector of a
    step from one, which takes the mean of its ends. Toward a last step to time 0 the order
    falls to 1: that step is DDIM without a correction, as is one from no data at all.

    Args:
        denoiser, x_T, steps: as for :func:`heun`.
        order: 2 or 3. On smooth laws 3 is more accurate from some twenty steps on.

    Returns and raises what :func:`heun` does; also ``ValueError`` for another order.
    """
    order = as_whole_number(order, "order", least=2, most=3)
    start = x = as_start(denoiser, x_T)
    times, levels = path(denoiser.schedule, steps)
    seen: list[Seen] = []
    used = 0  # points that the last step was predicted from
    clean = estimates(denoiser, times)
    for i, (here, there) in enumerate(zip(levels, levels[1:])):
        seen = [*seen[-order:], (_log_snr(here), clean[i](x))]
        if i > 0 and levels[i - 1][0] == 0:
            seen = seen[-1:]
        elif i > 0:
            x = step(start, _over_step(seen[-used - 1 :]), levels[i - 1], here)
        left = len(levels) - 1 - i if levels[-1][1] == 0 else order
        used = min(order, len(seen), left)
        start, x = x, step(x, _ahead(seen[-used:], there), here, there)
    return x.to(x_T.dtype)


def deis(
    denoiser: Denoiser,
    x_T: Tensor,
    steps: int | Sequence[float] = 30,
    order: int = 3,
    variable: str = "log",
    falling: bool = True,
) -> Tensor:
    r"""DEIS, which extrapolates the predicted noise, with one evaluation in each step.

    In :math:`x / \alpha` and :math:`\rho = \sigma / \alpha` the flow is the predicted noise,
    :math:`d(x / \alpha) / d\rho = \hat\varepsilon`. A step takes its mean over :math:`\rho` of
    the polynomial through the last ``order`` predictions (Zhang & Chen 2023, section 3). It is
    one in :math:`\lambda = -\log \rho`, or in :math:`\rho` itself, the paper's
    :math:`\rho`\ AB-DEIS, which is the method of Adams and Bashforth. In :math:`\lambda`, with P
    for s from 0 to 1 along a step of length h, the mean is

    .. math:: \frac{\int_0^1 e^{-h s} P(s) \, ds}{\int_0^1 e^{-h s} \, ds},
              \qquad P(s) = \hat\varepsilon(\lambda_i + s h).

    Steps from no data at all are DDIM, and in :math:`\lambda` the one to time 0, which is
    infinite there. The first steps, from few points, are of lower order. There is no correction.
    With ten steps it is often more accurate than :func:`unipc` of order 3; with order 4, on
    smooth laws and times that crowd towards 0, from twenty steps on as well.

    Args:
        denoiser, x_T, steps: as for :func:`heun`.
        order: 2, 3 or 4.
        variable: of the polynomials, ``"log"`` for :math:`\lambda` or ``"ratio"`` for
            :math:`\rho`.
        falling: let the order fall to 1 toward a last step to time 0, which protects few steps
            from overshooting.

    Returns and raises what :func:`heun` does; also ``ValueError`` for another order or variable.
    """
    order = as_whole_number(order, "order", least=2, most=4)
    require_known(variable, "variable", ("log", "ratio"))
    place, sign = (_log_snr, -1) if variable == "log" else (_noise_ratio, 0)
    x = as_start(denoiser, x_T)
    times, levels = path(denoiser.schedule, steps)
    seen: list[Seen] = []
    clean = estimates(denoiser, times)
    for i, (here, there) in enumerate(zip(levels, levels[1:])):
        alpha, sigma = here
        x_0 = clean[i](x)
        left = len(levels) - 1 - i if falling and levels[-1][1] == 0 else order
        if alpha > 0:
            noise, now = (x - alpha * x_0) / sigma, place(here)
            seen = [*seen[1 - order :], (now, noise)]
            used, h = seen[-min(order, left) :], place(there) - now
            if len(used) > 1 and math.isfinite(h):
                x_0 = x_0 + (noise - _mean(used, now, h, sign)) * (sigma / alpha)
        x = step(x, x_0, here, there)
    return x.to(x_T.dtype)


def invert_2m(denoiser: Denoiser, x_0: Tensor, steps: int | Sequence[float] = 30) -> Tensor:
    r"""From data to latents with the steps of :func:`dpmpp_2m`, taken upwards.

    The first step is that of :func:`~diffot.samplers.ddim.invert`, as there is no noise to
    predict at time 0. There and back with :func:`dpmpp_2m`, on times that crowd towards 0, comes
    closer to where it began than :func:`~diffot.samplers.ddim.invert` and
    :func:`~diffot.samplers.ddim.ddim` do, for as many evaluations.

    Arguments, result and errors are those of :func:`~diffot.samplers.ddim.invert`.
    """
    x = as_start(denoiser, x_0, "x_0")
    times, levels = path(denoiser.schedule, steps, backwards=True)
    if times[0] == 0:
        x = invert(denoiser, x, [times[1], 0])
        times, levels = times[1:], levels[1:]
    seen: list[Seen] = []
    for clean, here, there in zip(estimates(denoiser, times), levels, levels[1:]):
        seen = [*seen[-1:], (_log_snr(here), clean(x))]
        x = step(x, _ahead(seen, there), here, there)
    return x.to(x_0.dtype)


def _ahead(seen: Sequence[Seen], there: Level) -> Tensor:
    """The denoised point over the next step, by one to three of the last; the very last one if
    the step is infinite."""
    now, x_0 = seen[-1]
    h = _log_snr(there) - now
    if len(seen) == 1 or math.isinf(h):
        return x_0
    if len(seen) == 2:
        before, previous = seen[0]
        return x_0 + h / (2 * (now - before)) * (x_0 - previous)
    return _mean(seen, now, h, 1)


def _over_step(seen: Sequence[Seen]) -> Tensor:
    """The mean of the denoised point over the step between the last two times."""
    (before, x_0), (now, end) = seen[-2:]
    return (x_0 + end) / 2 if len(seen) == 2 else _mean(seen, before, now - before, 1)


def _mean(seen: Sequence[Seen], start: float, h: float, sign: int) -> Tensor:
    """The mean over a step of the polynomial through the points, with weights that grow like
    exp(sign * place); see :func:`unipc` and :func:`deis`."""
    nodes = [(place - start) / h for place, _ in seen]
    powers = np.arange(len(seen))[:, None]
    s = (_NODES + 1) / 2
    density = _WEIGHTS * np.exp(sign * h * s - max(sign * h, 0))
    moments = (density * s**powers).sum(1) / density.sum()
    weights = np.linalg.solve(np.array(nodes) ** powers, moments)
    mean = seen[0][1] * weights[0]
    for weight, (_, x_0) in zip(weights[1:], seen[1:]):
        mean = mean + weight * x_0
    return mean


def _log_snr(level: Level) -> float:
    """lambda = log(alpha / sigma), half the log signal-to-noise ratio; infinite at time 0, and
    where nothing is left of the data."""
    alpha, sigma = level
    if alpha == 0:
        return -math.inf
    return math.log(alpha / sigma) if sigma > 0 else math.inf


def _noise_ratio(level: Level) -> float:
    """rho = sigma / alpha, where there are data."""
    alpha, sigma = level
    return sigma / alpha
