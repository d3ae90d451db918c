r"""Chapters 1 to 5 of the notes "Topics on diffusion generative models", and the report "From
denoising score matching to denoising diffusion probabilistic models", on steps and equations.

Each function measures one formula as it is printed and as it should be, as in
:mod:`chapters.errata.guidance`, on the steps of :mod:`chapters.errata.chain`. The report has
:math:`\alpha_t` for the square of the notes'.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from chapters.errata.chain import (
    ALPHA,
    ALPHA_BEFORE,
    ALPHAS,
    BAR_ALPHA,
    BAR_ALPHA_BEFORE,
    BAR_BETA,
    BAR_BETA_BEFORE,
    BETA,
    CLEAN,
    NOISY,
    T,
    reverse_law_of_clean_point,
)
from chapters.errata.guidance import Errors


def sum_of_noises() -> Errors:
    r"""Notes, (1.4): the variances of the noises are squares, and their sum is
    :math:`1 - \bar\alpha_t^2`. Difference of the two sides."""
    later = np.append(np.cumprod(ALPHAS[:T][:0:-1])[::-1], 1.0)  # of all steps after each
    amounts = later * np.sqrt(1 - ALPHAS[:T] ** 2)
    printed, squares = float(amounts.sum()), float((amounts**2).sum())
    return Errors(abs(printed - 1), abs(squares - (1 - BAR_ALPHA**2)))


def signal_after_a_step() -> Errors:
    r"""Notes, (1.9) and (1.10): the factor of x_0 is :math:`\bar\alpha_t`, not
    :math:`\alpha_t`. Difference from that of the two steps one after the other."""
    exact = ALPHA * BAR_ALPHA_BEFORE
    return Errors(abs(ALPHA - exact), abs(BAR_ALPHA - exact))


def reverse_mean() -> Errors:
    r"""Notes, (3.9): both denominators are :math:`\bar\beta_t^2`. Difference from the mean of
    x_{t-1} given x_t and x_0, by quadrature."""
    exact, _ = reverse_law_of_clean_point()
    printed = (
        ALPHA * BAR_BETA_BEFORE**2 / BETA * NOISY + BAR_ALPHA_BEFORE * BETA**2 / BAR_BETA * CLEAN,
        (ALPHA * BAR_BETA_BEFORE**2 * NOISY + BAR_ALPHA_BEFORE * BETA**2 * CLEAN) / BAR_BETA**2,
    )
    return Errors(*(abs(mean - exact) for mean in printed))


def reverse_mean_of_noise() -> Errors:
    r"""Notes, (3.13): it is :math:`(x_t - \beta_t^2 \varepsilon / \bar\beta_t) / \alpha_t`;
    printed are :math:`\bar\beta_t^2` and :math:`\bar\alpha_t`. Difference as for (3.9)."""
    exact, _ = reverse_law_of_clean_point()
    noise = (NOISY - BAR_ALPHA * CLEAN) / BAR_BETA
    means = (
        (NOISY - BAR_BETA * noise) / BAR_ALPHA,
        (NOISY - BETA**2 / BAR_BETA * noise) / ALPHA,
    )
    return Errors(*(abs(mean - exact) for mean in means))


def general_step() -> Errors:
    r"""Notes, (4.6) and (4.7): both roots are divided by :math:`\bar\beta_t`; printed are
    :math:`\bar\beta_{t-1}` and :math:`\bar\beta_t^2`. Larger of the differences of the two
    sides of (4.5)."""
    sigma = 0.5 * BAR_BETA_BEFORE * BETA / BAR_BETA
    root = math.sqrt(BAR_BETA_BEFORE**2 - sigma**2)
    errors = []
    for first, second in ((BAR_BETA_BEFORE, BAR_BETA**2), (BAR_BETA, BAR_BETA)):
        kappa, lam = root / first, BAR_ALPHA_BEFORE - BAR_ALPHA * root / second
        errors.append(
            max(
                abs(kappa * BAR_ALPHA + lam - BAR_ALPHA_BEFORE),
                abs(math.hypot(kappa * BAR_BETA, sigma) - BAR_BETA_BEFORE),
            )
        )
    return Errors(*errors)


def reverse_step() -> Errors:
    r"""Notes, (5.9): the bracket has a minus before it. Difference from the rate at which the
    mean of x_t given :math:`x_{t + \Delta t}` moves as :math:`\Delta t` grows from 0, for data
    N(0, 0.5) and :math:`dx = -x\,dt + \sqrt 2\,dw`."""
    time, x = 0.3, 0.8

    def variance(t: Tensor) -> Tensor:
        return 1 - 0.5 * torch.exp(-2 * t)

    def mean(step: Tensor) -> Tensor:
        now, later = variance(torch.tensor(time, dtype=torch.float64)), variance(time + step)
        return torch.exp(-step) * now / later * x

    exact = float(torch.func.grad(mean)(torch.zeros((), dtype=torch.float64)))
    bracket = -x - 2 * (-x / float(variance(torch.tensor(time, dtype=torch.float64))))
    return Errors(abs(bracket - exact), abs(-bracket - exact))


def diffusion_coefficient() -> Errors:
    r"""Notes, (5.21): the right side is :math:`g_t^2`, not :math:`g_t`. Difference of the two
    sides of the rate of the variance of the noise,
    :math:`d\bar\beta^2 / dt = 2 f \bar\beta^2 + g^2`, for :math:`\bar\alpha = e^{-5 t^2}` at
    t = 0.8."""
    t = torch.tensor(0.8, dtype=torch.float64)

    def signal(t: Tensor) -> Tensor:
        return torch.exp(-5 * t**2)

    def square(t: Tensor) -> Tensor:
        return 1 - signal(t) ** 2

    rate = torch.func.grad(square)(t)
    pull = torch.func.grad(lambda t: signal(t).log())(t)
    right = signal(t) ** 2 * torch.func.grad(lambda t: square(t) / signal(t) ** 2)(t)
    return Errors(*(abs(float(2 * pull * square(t) + g2 - rate)) for g2 in (right**2, right)))


def noise_of_a_step() -> Errors:
    r"""Report, section 3.3: the noise is multiplied by the root of :math:`\tilde\beta_t`.
    Relative difference of its standard deviation from that by quadrature."""
    _, exact = reverse_law_of_clean_point()
    spread = BAR_BETA_BEFORE * BETA / BAR_BETA
    return Errors(*(abs(deviation / exact - 1) for deviation in (spread**2, spread)))


def noise_of_two_steps() -> Errors:
    r"""Report, A.2: the factor of the noise is
    :math:`\sqrt{\alpha_{t+1} (1 - \bar\alpha_t) + \beta_{t+1}}`; printed are
    :math:`\alpha_t` and no root over :math:`\beta_{t+1}`. Difference from
    :math:`\sqrt{1 - \bar\alpha_{t+1}}`."""
    step, other = ALPHA**2, ALPHA_BEFORE**2
    factors = (
        math.sqrt(other * BAR_BETA_BEFORE**2) + BETA**2,
        math.sqrt(step * BAR_BETA_BEFORE**2 + BETA**2),
    )
    return Errors(*(abs(factor - BAR_BETA) for factor in factors))


def reverse_mean_of_report() -> Errors:
    r"""Report, A.3: both denominators are :math:`1 - \bar\alpha_t`; printed is
    :math:`1 - \bar\alpha_{t-1}`. Difference as for the notes' (3.9)."""
    exact, _ = reverse_law_of_clean_point()
    top = ALPHA * BAR_BETA_BEFORE**2 * NOISY + BAR_ALPHA_BEFORE * BETA**2 * CLEAN
    return Errors(*(abs(top / bar**2 - exact) for bar in (BAR_BETA_BEFORE, BAR_BETA)))


def weight_of_a_step() -> Errors:
    r"""Report, A.4: the weight is :math:`1 / 2 \tilde\beta_t`; printed is the square of
    :math:`\tilde\beta_t`. Relative difference from the divergence of two Gaussians of this
    variance whose means are one standard deviation apart, by quadrature."""
    _, away = reverse_law_of_clean_point()
    variance = away**2
    x = np.linspace(-12 * away, 12 * away, 4001)
    first, second = (-((x - m) ** 2) / (2 * variance) for m in (0.0, away))
    mass = np.exp(first) / np.exp(first).sum()
    exact = float(mass @ (first - second))
    return Errors(*(abs(variance / (2 * v) / exact - 1) for v in (variance**2, variance)))


CHECKS: dict[str, Callable[[], Errors]] = {
    "notes, (1.4)": sum_of_noises,
    "notes, (1.9)": signal_after_a_step,
    "notes, (3.9)": reverse_mean,
    "notes, (3.13)": reverse_mean_of_noise,
    "notes, (4.6)": general_step,
    "notes, (5.9)": reverse_step,
    "notes, (5.21)": diffusion_coefficient,
    "report, section 3.3": noise_of_a_step,
    "report, A.2": noise_of_two_steps,
    "report, A.3": reverse_mean_of_report,
    "report, A.4": weight_of_a_step,
}
