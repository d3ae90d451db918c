"""Ancestral sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.errors import (
    as_number,
    require,
    require_finite,
    require_generator,
    require_known,
    require_same_shape,
    require_type,
)
from diffot.processes.schedules import VariancePreserving
from diffot.samplers.steps import as_start, estimates, noise_like, path


def ddpm(
    denoiser: Denoiser,
    x_T: Tensor,
    generator: torch.Generator,
    variance: str | Callable[[Tensor, float], float | Tensor] = "beta",
    steps: int | Sequence[float] | None = None,
) -> Tensor:
    r"""Ancestral sampling (Ho et al. 2020, algorithm 2; thesis algorithm 2).

    From time t to the next time s, with the factor :math:`a = \alpha_t / \alpha_s` and the
    variance :math:`\beta = \sigma_t^2 - a^2 \sigma_s^2` of the step between them,

    .. math:: x_s = \frac{\alpha_s \beta}{\sigma_t^2} \hat x_0
              + \frac{a \sigma_s^2}{\sigma_t^2} x_t + c z, \qquad z \sim N(0, I),

    with no noise in the last step. For all T steps of a table these are the paper's equations:
    :math:`a = \sqrt{1 - \beta_t}` and :math:`\beta = \beta_t` (thesis eqs. 3.35 and 3.38;
    Su & Yang 2025, eq. 3.10; Kim & Lee 2024, eq. 45).

    Args:
        x_T: starting noise, shape (B, *d).
        generator: source of the noise z.
        variance: ``"beta"`` for :math:`c^2 = \beta`, or ``"posterior"`` for
            :math:`c^2 = \beta \sigma_s^2 / \sigma_t^2` (thesis eq. 3.34). Or the mean squared
            error of :math:`\hat x_0` as a function of x_t and t, a number for all entries or
            one for each, of the shape of x_t: then
            :math:`c^2 = \beta \sigma_s^2 / \sigma_t^2 + (\alpha_s \beta / \sigma_t^2)^2` times
            it, the best variance there is (Bao et al. 2022a, theorem 1; Bao et al. 2022b, eq.
            13, for a mean that is not exact; Su & Yang 2025, eqs. 8.1 and 8.8).
        steps: as in :func:`~diffot.samplers.ddim.ddim`; all T steps of a table if left out.

    Returns:
        Points at the last time, shape (B, *d).

    Raises:
        TypeError: without ``steps``, if the schedule is no table.
        ValueError: for a bad start, steps or variance, or a missing generator.
    """
    x = as_start(denoiser, x_T)
    if not callable(variance):
        require_known(variance, "variance", ("beta", "posterior"))
    require_generator(generator)
    if steps is None:
        wanted = "a table, VariancePreserving, if no steps are given"
        require_type(denoiser.schedule, VariancePreserving, "the schedule", wanted)
        steps = int(denoiser.schedule.T)
    times, levels = path(denoiser.schedule, steps)
    clean = estimates(denoiser, times)
    for i, ((alpha, sigma), (next_alpha, next_sigma)) in enumerate(zip(levels, levels[1:])):
        factor, kept = alpha / next_alpha, (next_sigma / sigma) ** 2
        beta = max(sigma**2 - (factor * next_sigma) ** 2, 0.0)
        x_0, start = clean[i](x), x
        x = next_alpha * beta / sigma**2 * x_0 + factor * kept * x
        if i + 2 < len(times):
            spread: float | Tensor = beta if variance == "beta" else beta * kept
            if callable(variance):
                error = _as_error(variance(start, times[i]), start)
                spread = spread + (next_alpha * beta / sigma**2) ** 2 * error
            x = x + spread**0.5 * noise_like(x, generator)
    return x.to(x_T.dtype)


def _as_error(error: float | Tensor, x: Tensor) -> float | Tensor:
    """A mean squared error for all entries of x, or one for each, checked."""
    name = "what variance returns"
    if not isinstance(error, Tensor) or error.ndim == 0:
        return as_number(error, name, at_least=0)
    require_same_shape(error, x, (name, "x_t"))
    require_finite(error, name)
    require(
        bool((error >= 0).all()),
        f"{name} falls to {float(error.min()):.4g}; expected squared errors, at least 0",
    )
    return error.to(x)
