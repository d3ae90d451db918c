r"""Samplers: from noise x_T to data x_0 with a noise predictor.

They take any :class:`~diffot.predictors.NoisePredictor`, work on any device, in the type of
``x_T`` and under autograd (wrap calls in ``torch.no_grad()`` where gradients are not wanted), and
never clip. Steps are taken with the denoised point, so that nothing is divided by a small
:math:`\sqrt{\bar\alpha_T}` where the predictor knows that point.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from diffot.errors import require, require_finite
from diffot.predictors import NoisePredictor
from diffot.schedules import timesteps


def _check_start(x_T: Tensor) -> None:
    require(
        isinstance(x_T, Tensor) and x_T.is_floating_point() and x_T.ndim >= 2,
        "x_T is not a floating-point tensor of shape (B, *d); for one point, use x_T[None]",
    )
    require_finite(x_T, "x_T")


def _need(generator: torch.Generator | None, sampler: str) -> torch.Generator:
    require(
        generator is not None,
        f"{sampler} draws random numbers and got no generator; "
        "pass generator=torch.Generator().manual_seed(0), or any other seed",
    )
    return generator


def _noise_like(x: Tensor, generator: torch.Generator) -> Tensor:
    z = torch.randn(x.shape, dtype=x.dtype, device=generator.device, generator=generator)
    return z.to(x.device)


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
    return deque(states, maxlen=1).pop()


def ddim_path(
    predictor: NoisePredictor,
    x_T: Tensor,
    steps: int | Sequence[float] = 30,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """All points that :func:`ddim` visits, from x_T on, shape (steps+1, B, *d)."""
    return torch.stack(list(_ddim_states(predictor, x_T, steps, eta, generator)))


def _ddim_states(
    predictor: NoisePredictor,
    x_T: Tensor,
    steps: int | Sequence[float],
    eta: float,
    generator: torch.Generator | None,
) -> Iterator[Tensor]:
    _check_start(x_T)
    require(0 <= eta <= 1, f"eta is {eta}; expected a number between 0 and 1")
    if eta > 0:
        _need(generator, f"ddim with eta = {eta}")
    times = timesteps(predictor.schedule, steps)
    alpha_bar = predictor.schedule.alpha_bar_at(times)
    alphas, sigmas = alpha_bar.sqrt().tolist(), (1 - alpha_bar).sqrt().tolist()
    fresh = (eta * (1 - alpha_bar[:-1] / alpha_bar[1:]).sqrt()).tolist()
    x = x_T
    yield x
    for i, t in enumerate(times[:-1].tolist()):
        x_0 = predictor.denoised(x, t)
        noise_share = fresh[i] * sigmas[i + 1] / sigmas[i]
        keep = (sigmas[i + 1] ** 2 - noise_share**2) ** 0.5 / sigmas[i]
        x = keep * x + (alphas[i + 1] - keep * alphas[i]) * x_0
        if noise_share > 0:
            x = x + noise_share * _noise_like(x, generator)
        yield x


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
    _check_start(x_T)
    require(
        variance in ("beta", "posterior"),
        f"variance is {variance!r}; expected 'beta' or 'posterior'",
    )
    _need(generator, "ddpm")
    alpha_bar = predictor.schedule.alpha_bar.tolist()
    x = x_T
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
    return x
