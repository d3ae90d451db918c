"""DDIM: deterministic or with fresh noise, downwards and upwards."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.errors import as_number, require_generator, require_type
from diffot.samplers.steps import Level, as_start, estimates, noise_like, path, step


def ddim(
    denoiser: Denoiser,
    x_T: Tensor,
    steps: int | Sequence[float] = 30,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""DDIM sampling (Song et al. 2021a, eqs. 12 and 16; thesis eqs. 3.44 and 3.47).

    From time t to the next time s on the grid (Su & Yang 2025, eqs. 4.13 and 4.14),

    .. math:: x_s = \alpha_s \hat x_0 + \sqrt{\sigma_s^2 - c^2}\, \hat\varepsilon + c z,
              \qquad c = \eta \frac{\sigma_s}{\sigma_t}
              \sqrt{\sigma_t^2 - (\alpha_t / \alpha_s)^2 \sigma_s^2}, \quad z \sim N(0, I)

    (for a preserved variance, the last root is the paper's
    :math:`\sqrt{1 - \bar\alpha_t / \bar\alpha_s}`). With eta = 0 this is deterministic (Su & Yang
    2025, eq. 4.12; Khrulkov et al. 2023, eq. 4), the exponential Euler scheme of the probability
    flow; with eta = 1 and all T steps it is :func:`~diffot.samplers.ddpm.ddpm` with the posterior
    variance. (Algorithm 3 of the thesis prints the conditions for drawing z and for keeping the
    noise term exchanged.)

    Args:
        x_T: starting noise, shape (B, *d).
        steps: a number of steps, or the times to visit; see
            :func:`~diffot.processes.schedules.Schedule.timesteps`.
        eta: amount of fresh noise, in [0, 1].
        generator: source of that noise; required if eta > 0.

    Returns:
        The points at the last time (0 if ``steps`` is a number), shape (B, *d).

    Raises:
        ValueError: for a bad start, number of steps or eta, or a missing generator.
    """
    states = _ddim_states(denoiser, x_T, steps, eta, generator)
    return deque(states, maxlen=1).pop().to(x_T.dtype)


def ddim_path(
    denoiser: Denoiser,
    x_T: Tensor,
    steps: int | Sequence[float] = 30,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """All points that :func:`ddim` visits, from x_T on, shape (steps+1, B, *d)."""
    states = _ddim_states(denoiser, x_T, steps, eta, generator)
    return torch.stack(list(states)).to(x_T.dtype)


def _ddim_states(
    denoiser: Denoiser,
    x_T: Tensor,
    steps: int | Sequence[float],
    eta: float,
    generator: torch.Generator | None,
) -> Iterator[Tensor]:
    x = as_start(denoiser, x_T)
    eta = as_number(eta, "eta", at_least=0, at_most=1)
    if eta > 0 or generator is not None:
        require_generator(generator)
    times, levels = path(denoiser.schedule, steps)
    yield x
    for clean, here, there in zip(estimates(denoiser, times), levels, levels[1:]):
        added = max(here[1] ** 2 - (here[0] / there[0] * there[1]) ** 2, 0.0)
        fresh = eta * there[1] / here[1] * added**0.5
        x = step(x, clean(x), here, there, fresh)
        if fresh > 0 and generator is not None:
            x = x + fresh * noise_like(x, generator)
        yield x


def ddim_steps(
    denoiser: Denoiser, steps: int | Sequence[float] = 30
) -> list[Callable[[Tensor], Tensor]]:
    """The steps of deterministic :func:`ddim`, each a function of the points before it.

    One after the other, they take x_T to the points at the last time. For work on single steps,
    such as their derivatives (:mod:`diffot.flows.jacobian`).

    Args:
        steps: as in :func:`ddim`.

    Raises:
        TypeError, ValueError: for no denoiser, or a bad number of steps.
    """
    require_type(denoiser, Denoiser, "denoiser", "a Denoiser; as_denoiser makes one")
    times, levels = path(denoiser.schedule, steps)
    return [
        partial(_ddim_step, clean=clean, here=here, there=there)
        for clean, here, there in zip(estimates(denoiser, times), levels, levels[1:])
    ]


def _ddim_step(x: Tensor, clean: Callable[[Tensor], Tensor], here: Level, there: Level) -> Tensor:
    return step(x, clean(x), here, there)


def invert(denoiser: Denoiser, x_0: Tensor, steps: int | Sequence[float] = 30) -> Tensor:
    r"""DDIM inversion, from data to noise: the probability flow, integrated upwards.

    The steps of :func:`ddim` (eta = 0) taken from each time t to the next greater time s
    (Song et al. 2021a, eq. 14 and section 5.4; Su & Yang 2025, eq. 4.15),

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
    x = as_start(denoiser, x_0, "x_0")
    times, levels = path(denoiser.schedule, steps, backwards=True)
    if times[0] == 0:
        alpha = levels[1][0]
        x = x + alpha * (x - denoiser.denoise(x, times[1]))
        times, levels = times[1:], levels[1:]
    for clean, here, there in zip(estimates(denoiser, times), levels, levels[1:]):
        x = step(x, clean(x), here, there)
    return x.to(x_0.dtype)
