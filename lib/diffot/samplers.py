r"""Samplers: from noise x_T to data x_0 with a noise predictor.

They take any :class:`~diffot.predictors.NoisePredictor`, work on any device and under autograd
(wrap calls in ``torch.no_grad()`` where gradients are not wanted), and never clip. The result has
the type of ``x_T``; on the way, points are kept in float32 at least, for a step may be smaller
than half precision resolves. Steps are taken with the denoised point, so that nothing is divided
by a small :math:`\sqrt{\bar\alpha_T}` where the predictor knows that point.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from diffot.errors import (
    as_number,
    require,
    require_alike,
    require_batch,
    require_generator,
    require_known,
    require_type,
)
from diffot.latents import checked_mask
from diffot.predictors import NoisePredictor
from diffot.schedules import Schedule, timesteps

Level = tuple[float, float]  # alpha_t and sigma_t


def _start(predictor: NoisePredictor, x: Tensor, name: str = "x_T") -> Tensor:
    """The points to start from, in float32 at least."""
    require_type(
        predictor, NoisePredictor, "predictor", "a NoisePredictor; as_predictor makes one"
    )
    require_batch(x, name)
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _noise_like(x: Tensor, generator: torch.Generator) -> Tensor:
    z = torch.randn(x.shape, dtype=x.dtype, device=generator.device, generator=generator)
    return z.to(x.device)


def _path(
    schedule: Schedule, steps: int | Sequence[float], backwards: bool = False
) -> tuple[list[float], list[Level]]:
    """The times to visit and (alpha, sigma) at each."""
    times = timesteps(schedule, steps)
    alpha_bar = schedule.alpha_bar_at(times)
    require(
        bool(alpha_bar[-2] < 1),
        f"steps holds the time {times[-2]:.6g}, whose noise is too little for float64; expected "
        "0 alone after the times with noise",
    )
    if backwards:
        times, alpha_bar = times.flip(0), alpha_bar.flip(0)
    levels = zip(alpha_bar.sqrt().tolist(), (1 - alpha_bar).sqrt().tolist())
    return times.tolist(), list(levels)


def _step(x: Tensor, x_0: Tensor, here: Level, there: Level, fresh: float = 0.0) -> Tensor:
    """DDIM's step between two noise levels, less the fresh noise of standard deviation ``fresh``.

    It is exact if x_0 does not change on the way, in either direction; ``here`` is not sigma = 0.
    """
    (alpha, sigma), (next_alpha, next_sigma) = here, there
    keep = (next_sigma**2 - fresh**2) ** 0.5 / sigma
    return keep * x + (next_alpha - keep * alpha) * x_0


def ddim(
    predictor: NoisePredictor,
    x_T: Tensor,
    steps: int | Sequence[float] = 30,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""DDIM sampling (Song et al. 2021a, eqs. 12 and 16; thesis eqs. 3.44 and 3.47).

    From time t to the next time s on the grid,

    .. math:: x_s = \alpha_s \hat x_0 + \sqrt{\sigma_s^2 - c^2}\, \hat\varepsilon + c z,
              \qquad c = \eta \frac{\sigma_s}{\sigma_t}
              \sqrt{1 - \bar\alpha_t / \bar\alpha_s}, \quad z \sim N(0, I).

    With eta = 0 this is deterministic, the exponential Euler scheme of the probability flow; with
    eta = 1 and all T steps it is :func:`ddpm` with the posterior variance. (Algorithm 3 of the
    thesis prints the conditions for drawing z and for keeping the noise term exchanged.)

    Args:
        x_T: starting noise, shape (B, *d).
        steps: a number of steps, or the times to visit; see :func:`~diffot.schedules.timesteps`.
        eta: amount of fresh noise, in [0, 1].
        generator: source of that noise; required if eta > 0.

    Returns:
        The points at the last time (0 if ``steps`` is a number), shape (B, *d).

    Raises:
        ValueError: for a bad start, number of steps or eta, or a missing generator.
    """
    states = _ddim_states(predictor, x_T, steps, eta, generator)
    return deque(states, maxlen=1).pop().to(x_T.dtype)


def ddim_path(
    predictor: NoisePredictor,
    x_T: Tensor,
    steps: int | Sequence[float] = 30,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """All points that :func:`ddim` visits, from x_T on, shape (steps+1, B, *d)."""
    states = _ddim_states(predictor, x_T, steps, eta, generator)
    return torch.stack(list(states)).to(x_T.dtype)


def _ddim_states(
    predictor: NoisePredictor,
    x_T: Tensor,
    steps: int | Sequence[float],
    eta: float,
    generator: torch.Generator | None,
) -> Iterator[Tensor]:
    x = _start(predictor, x_T)
    eta = as_number(eta, "eta", at_least=0, at_most=1)
    if eta > 0 or generator is not None:
        require_generator(generator)
    times, levels = _path(predictor.schedule, steps)
    yield x
    for t, here, there in zip(times, levels, levels[1:]):
        fresh = eta * there[1] / here[1] * (1 - (here[0] / there[0]) ** 2) ** 0.5
        x = _step(x, predictor.denoised(x, t), here, there, fresh)
        if fresh > 0:
            x = x + fresh * _noise_like(x, generator)
        yield x


def hold(
    predictor: NoisePredictor,
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
    predictor is told the held values at the noise level of x_t, not x_0 itself. Nor does the
    first return the free values of ``ddim(x_T)`` when x_0 is that image, except where they do not
    depend on the held ones or in one step: DDIM's own path from x_T to x_0 is bent, and this one
    is the straight one of a constant :math:`\varepsilon`.

    Args:
        x_T: latents, shape (B, *d).
        x_0: the known images, of the same shape and type.
        mask: values in [0, 1], shape d, or (1, H, W) for images; what lies between 0 and 1 is
            blended, :math:`m x_t + (1 - m) x_t^{\text{held}}`. Two independent noises blended
            are too little noise, so that soft edges suit the first path better.
        steps: as in :func:`ddim`.
        generator: source of the fresh noise, for inpainting.

    Returns:
        The points at the last time, shape (B, *d); where the mask is 0 and that time is 0, x_0.

    Raises:
        ValueError: for bad points, masks or numbers of steps.
    """
    start, image = _start(predictor, x_T), _start(predictor, x_0, "x_0")
    require_alike(x_0, x_T, ("x_0", "x_T"))
    mask = checked_mask(mask, start)
    if generator is not None:
        require_generator(generator)
    times, levels = _path(predictor.schedule, steps)
    alpha, sigma = levels[0]
    noise = (start - alpha * image) / sigma

    def held(x: Tensor, level: Level) -> Tensor:
        """x with the values that the mask holds on their path."""
        epsilon = noise if generator is None else _noise_like(x, generator)
        known = level[0] * image + level[1] * epsilon
        return torch.lerp(known, x, mask.expand_as(x))

    x = held(start, levels[0])
    for t, here, there in zip(times, levels, levels[1:]):
        x = held(_step(x, predictor.denoised(x, t), here, there), there)
    return x.to(x_T.dtype)


def invert(predictor: NoisePredictor, x_0: Tensor, steps: int | Sequence[float] = 30) -> Tensor:
    r"""DDIM inversion, from data to noise: the probability flow, integrated upwards.

    The steps of :func:`ddim` (eta = 0) taken from each time t to the next greater time s
    (Song et al. 2021a, eq. 14 and section 5.4),

    .. math:: \frac{x_s}{\alpha_s} = \frac{x_t}{\alpha_t}
              + \Big(\frac{\sigma_s}{\alpha_s} - \frac{\sigma_t}{\alpha_t}\Big)
              \hat\varepsilon(x_t, t).

    There is no noise to predict at time 0, so that the first step asks for the noise in x_0 at
    the first positive time. Each step uses the prediction at its own start, as an integrator of
    the flow does, and ``ddim`` on the same grid uses the one at the other end: the error of the
    round trip is of first order in the step, like that of each way. (Widespread code evaluates
    the point x_t at the later time s in every step. That is of first order too; it loses less
    where the law of x_t hardly changes, as for centered data of about unit variance, and more
    where the data lie off the origin or in narrow clusters.)

    Args:
        x_0: data, shape (B, *d).
        steps: as in :func:`ddim`, the same times in the opposite order. If the last of them is
            positive, ``x_0`` are points at that time.

    Returns:
        The points at the first of the times (T if ``steps`` is a number), shape (B, *d).

    Raises:
        ValueError: for a bad start or number of steps.
    """
    x = _start(predictor, x_0, "x_0")
    times, levels = _path(predictor.schedule, steps, backwards=True)
    if times[0] == 0:
        alpha = levels[1][0]
        x = x + alpha * (x - predictor.denoised(x, times[1]))
        times, levels = times[1:], levels[1:]
    for t, here, there in zip(times, levels, levels[1:]):
        x = _step(x, predictor.denoised(x, t), here, there)
    return x.to(x_0.dtype)


def heun(predictor: NoisePredictor, x_T: Tensor, steps: int | Sequence[float] = 30) -> Tensor:
    r"""Heun's method (improved Euler) for the probability flow, of second order.

    With :math:`z = x / \sigma` and :math:`r = \alpha / \sigma` the flow is
    :math:`dz / dr = \hat x_0`, of which :func:`ddim` is Euler's method. Here a step is taken
    with DDIM, and again with the mean of the denoised points at its two ends (Karras et al.
    2022, algorithm 1; with the denoised point in the place of the noise, as in Lu et al. 2022b,
    algorithm 1, and therefore sound from the first step on, where alpha is small). The last
    step, to time 0, is DDIM: 2 * steps - 1 evaluations in all.

    That last step leaves an error of order :math:`\sigma_t^2`, t being the last positive time.
    For equal steps this shrinks like 1/steps once beta is nearly constant below t, and the
    measured order falls from 2 towards 1; with times that crowd towards 0, such as
    :math:`T (i / n)^2`, it remains 2.

    Args:
        x_T: starting noise, shape (B, *d).
        steps: a number of steps, or the times to visit; see :func:`~diffot.schedules.timesteps`.

    Returns:
        The points at the last time (0 if ``steps`` is a number), shape (B, *d).

    Raises:
        ValueError: for a bad start or number of steps.
    """
    x = _start(predictor, x_T)
    times, levels = _path(predictor.schedule, steps)
    for i, (here, there) in enumerate(zip(levels, levels[1:])):
        x_0 = predictor.denoised(x, times[i])
        guess = _step(x, x_0, here, there)
        if times[i + 1] == 0:
            return guess.to(x_T.dtype)
        x_0 = (x_0 + predictor.denoised(guess, times[i + 1])) / 2
        x = _step(x, x_0, here, there)
    return x.to(x_T.dtype)


def dpm_solver(
    predictor: NoisePredictor, x_T: Tensor, steps: int | Sequence[float] = 30
) -> Tensor:
    r"""DPM-Solver++(2M), of second order with one evaluation in each step.

    A step of :func:`ddim` with a denoised point that is extrapolated to the middle of the step
    in :math:`\lambda = \log(\alpha / \sigma)` (Lu et al. 2022b, algorithm 2),

    .. math:: \hat x_0 + \frac{h_i}{2 h_{i-1}} (\hat x_0 - \hat x_0^{\text{previous}}),
              \qquad h_i = \lambda_{i+1} - \lambda_i.

    The first step has no previous point, and in the last, to time 0, h is infinite; these two are
    DDIM. What the last one does to the order is said in :func:`heun`.

    The factor :math:`h_i / 2 h_{i-1}` is 1/2 for steps that are equal in :math:`\lambda`. With
    times whose steps in :math:`\lambda` grow from noise to data, the method overshoots: if each
    is 1.3 times as long as the one before, it is no better than :func:`ddim` on the thesis'
    mixtures, and several times worse if each is 1.6 times as long. :func:`heun`, which only
    interpolates, stays ahead of both.

    Arguments, result and errors are those of :func:`heun`.
    """
    x = _start(predictor, x_T)
    times, levels = _path(predictor.schedule, steps)
    previous, h_previous = None, 0.0
    for t, here, there in zip(times, levels, levels[1:]):
        x_0 = predictor.denoised(x, t)
        guess, h = x_0, _log_snr(there) - _log_snr(here)
        if previous is not None and h < math.inf:
            guess = x_0 + h / (2 * h_previous) * (x_0 - previous)
        x = _step(x, guess, here, there)
        previous, h_previous = x_0, h
    return x.to(x_T.dtype)


def _log_snr(level: Level) -> float:
    """lambda = log(alpha / sigma), half the log signal-to-noise ratio; infinite at time 0."""
    alpha, sigma = level
    return math.log(alpha / sigma) if sigma > 0 else math.inf


def ddpm(
    predictor: NoisePredictor,
    x_T: Tensor,
    generator: torch.Generator,
    variance: str = "beta",
) -> Tensor:
    r"""Ancestral sampling with all T steps (Ho et al. 2020, algorithm 2; thesis algorithm 2).

    .. math:: x_{t-1} = \frac{\sqrt{\bar\alpha_{t-1}} \beta_t}{1 - \bar\alpha_t} \hat x_0
              + \frac{\sqrt{\alpha_t} (1 - \bar\alpha_{t-1})}{1 - \bar\alpha_t} x_t + s_t z,

    with no noise in the last step; :math:`\alpha_t = 1 - \beta_t` here is the factor of one step.

    Args:
        x_T: starting noise, shape (B, *d).
        generator: source of the noise z.
        variance: ``"beta"`` for :math:`s_t^2 = \beta_t`, or ``"posterior"`` for
            :math:`s_t^2 = \beta_t (1 - \bar\alpha_{t-1}) / (1 - \bar\alpha_t)`.

    Returns:
        Points at time 0, shape (B, *d).

    Raises:
        ValueError: for a bad start, an unknown variance or a missing generator.
    """
    x = _start(predictor, x_T)
    require_known(variance, "variance", ("beta", "posterior"))
    require_generator(generator)
    alpha_bar = predictor.schedule.alpha_bar.tolist()
    for t in range(predictor.schedule.T, 0, -1):
        now, before = alpha_bar[t], alpha_bar[t - 1]
        step = now / before
        beta = 1 - step
        x_0 = predictor.denoised(x, float(t))
        mean_x_0 = before**0.5 * beta / (1 - now)
        mean_x_t = step**0.5 * (1 - before) / (1 - now)
        x = mean_x_0 * x_0 + mean_x_t * x
        if t > 1:
            spread = beta if variance == "beta" else beta * (1 - before) / (1 - now)
            x = x + spread**0.5 * _noise_like(x, generator)
    return x.to(x_T.dtype)
