"""Ancestral sampling."""

from __future__ import annotations

import torch
from torch import Tensor

from diffot.denoisers.predictors import NoisePredictor
from diffot.errors import (
    require_generator,
    require_known,
)
from diffot.samplers.steps import as_start, noise_like


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
    x = as_start(predictor, x_T)
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
            x = x + spread**0.5 * noise_like(x, generator)
    return x.to(x_T.dtype)
