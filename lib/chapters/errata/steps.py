r"""More of chapters 1 to 5 of the notes "Topics on diffusion generative models", and of the
report "From denoising score matching to denoising diffusion probabilistic models".

Each function measures one formula as it is printed and as it should be, as in
:mod:`chapters.errata.guidance`, on the chain of :mod:`chapters.errata.chain`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from chapters.errata import chain
from chapters.errata.guidance import Errors


def logarithm_of_the_signal() -> Errors:
    r"""(1.18), and likewise (4.17): what is summed is :math:`-0.02 t / T` without a logarithm.
    Difference from the right side, :math:`-0.005 (T + 1)`, T = 1000; the logarithm that is
    printed, of a negative number, is complex."""
    terms = 0.02 * np.arange(1, 1001) / 1000
    sums = np.log(-terms + 0j).sum() / 2, -terms.sum() / 2
    return Errors(*(float(abs(total + 0.005 * 1001)) for total in sums))


def final_signal() -> Errors:
    r"""After (1.18): :math:`\bar\alpha_T` is about :math:`e^{-5}`, not :math:`10^{-5}`.
    Difference of logarithms to base ten from that of the product of the thousand factors. (The
    corrected value is an approximation. The square of it, which others call :math:`\bar\alpha_T`,
    is :math:`4 \cdot 10^{-5}`.)"""
    exact = math.log10(np.sqrt(1 - 0.02 * np.arange(1, 1001) / 1000).prod())
    return Errors(*(abs(guess - exact) for guess in (-5.0, -5 / math.log(10))))


def weight_of_the_loss() -> Errors:
    r"""(2.8): the weight is :math:`\beta_t^4 / (\alpha_t^2 \sigma_t^2 \bar\beta_t^2)`; printed is
    :math:`\sigma_t^4` in the place of :math:`\sigma_t^2 \bar\beta_t^2`. How much (2.7) and (2.8)
    change between two networks, 0 and :math:`x_t / 2`, by quadrature (they may differ by a
    constant), for :math:`\sigma_t = 0.3`: difference."""
    fresh, old, mass, noisy = _noisy_points(chain.CLEAN)
    noise = (chain.ALPHA * chain.BAR_BETA_BEFORE * old + chain.BETA * fresh) / chain.BAR_BETA
    scale, spread = chain.BETA / chain.ALPHA, 0.3
    exact = (scale / spread) ** 2 * mass @ ((fresh - noisy / 2) ** 2 - fresh**2)
    ratio = chain.BAR_BETA / chain.BETA
    change = mass @ ((noise - ratio * noisy / 2) ** 2 - noise**2)
    squares = spread**4, (spread * chain.BAR_BETA) ** 2
    return Errors(*(abs(float((scale * chain.BETA) ** 2 / s * change - exact)) for s in squares))


def target_of_the_loss() -> Errors:
    r"""(2.8): the target is :math:`\varepsilon`, the noise of all steps; printed is
    :math:`\varepsilon_t`, that of the last. Difference of the best multiple of :math:`x_t` from
    that of (2.7), by quadrature, for data that are 0.7 and -0.7 alike."""
    fresh, old, mass, noisy = _noisy_points(chain.CLEAN)
    noise = (chain.ALPHA * chain.BAR_BETA_BEFORE * old + chain.BETA * fresh) / chain.BAR_BETA
    square = mass @ noisy**2  # the mean of the product with the sign reversed is the same
    exact = mass @ (fresh * noisy) / square
    ratio = chain.BETA / chain.BAR_BETA
    slopes = (ratio * (mass @ (target * noisy)) / square for target in (fresh, noise))
    return Errors(*(abs(float(slope - exact)) for slope in slopes))


def marginal_of_two_steps() -> Errors:
    r"""(2.9): the integral is over :math:`x_{t-1}, \dots, x_1`; printed is :math:`dx_t` too.
    Difference, at one :math:`x_2`, from the density :math:`N(\bar\alpha_2 x_0, \bar\beta_2^2)`,
    by quadrature."""
    x, point = np.linspace(-8, 8, 1601), 0.4
    first, second = (float(alpha) for alpha in chain.ALPHAS[:2])
    early = norm.pdf(x, first * chain.CLEAN, math.sqrt(1 - first**2))
    late = norm.pdf(np.append(x, point)[:, None], second * x, math.sqrt(1 - second**2))
    densities = late @ early * (x[1] - x[0])
    kept = first * second
    exact = norm.pdf(point, kept * chain.CLEAN, math.sqrt(1 - kept**2))
    integrals = densities[:-1].sum() * (x[1] - x[0]), densities[-1]
    return Errors(*(abs(float(value - exact)) for value in integrals))


def linear_term() -> Errors:
    r"""Before (3.9): the coefficient of :math:`x_{t-1}` is :math:`-2 (\alpha_t x_t / \beta_t^2 +
    \bar\alpha_{t-1} x_0 / \bar\beta_{t-1}^2)`; printed are no squares. Difference from the
    derivative of (3.7) at 0."""

    def exponent(x: Tensor) -> Tensor:
        return (chain.NOISY - chain.ALPHA * x) ** 2 / chain.BETA**2 + (
            x - chain.BAR_ALPHA_BEFORE * chain.CLEAN
        ) ** 2 / chain.BAR_BETA_BEFORE**2

    exact = float(torch.func.grad(exponent)(torch.zeros((), dtype=torch.float64)))
    coefficients = (
        -2 * chain.ALPHA * chain.NOISY / chain.BETA**power
        - 2 * chain.BAR_ALPHA_BEFORE * chain.CLEAN / chain.BAR_BETA_BEFORE**power
        for power in (1, 2)
    )
    return Errors(*(abs(value - exact) for value in coefficients))


def loss_of_the_clean_point() -> Errors:
    r"""(3.12): :math:`\|\varepsilon - \varepsilon_\theta\|^2`, without the factor
    :math:`\bar\beta_t` that is printed before :math:`\varepsilon_\theta`. Difference of the two
    sides for one noise and one prediction."""
    noise, predicted = 0.9, -0.3
    noisy = chain.BAR_ALPHA * chain.CLEAN + chain.BAR_BETA * noise
    exact = (chain.CLEAN - (noisy - chain.BAR_BETA * predicted) / chain.BAR_ALPHA) ** 2
    weight = (chain.BAR_BETA / chain.BAR_ALPHA) ** 2
    losses = (weight * (noise - f * predicted) ** 2 for f in (chain.BAR_BETA, 1.0))
    return Errors(*(abs(loss - exact) for loss in losses))


def noise_in_the_reverse_mean() -> Errors:
    r"""After (3.13): the second term is :math:`\beta_t^2 \varepsilon_\theta / (\bar\beta_t
    \alpha_t)`, without the factor :math:`\bar\beta_t` that is printed once more. Difference of
    the two sides for one prediction."""
    predicted = -0.3
    left = chain.BAR_ALPHA_BEFORE * (chain.BETA / chain.BAR_BETA) ** 2 / chain.BAR_ALPHA
    exact = left * (chain.NOISY - chain.BAR_BETA * predicted)
    first = (chain.BETA / chain.BAR_BETA) ** 2 / chain.ALPHA * chain.NOISY
    second = chain.BETA**2 / (chain.BAR_BETA * chain.ALPHA) * predicted
    return Errors(*(abs(first - f * second - exact) for f in (chain.BAR_BETA, 1.0)))


def factor_of_the_noisy_point() -> Errors:
    r"""After (3.13): the numerator is :math:`(\alpha_t^2 + \beta_t^2) - \alpha_t^2
    \bar\alpha_{t-1}^2`; printed is :math:`\alpha_t \bar\alpha_{t-1}^2`. Difference from the one
    before it, :math:`\alpha_t^2 (1 - \bar\alpha_{t-1}^2) + \beta_t^2`."""
    exact = chain.ALPHA**2 * (1 - chain.BAR_ALPHA_BEFORE**2) + chain.BETA**2
    lost = (chain.ALPHA**power * chain.BAR_ALPHA_BEFORE**2 for power in (1, 2))
    return Errors(*(abs(chain.ALPHA**2 + chain.BETA**2 - value - exact) for value in lost))


def exponent_for_normal_data() -> Errors:
    r"""(3.16): the factor of :math:`x_{t-1}` is :math:`\alpha_t`; printed is
    :math:`\alpha_{t-1}`. Largest difference, over x_{t-1} and x_t, from the logarithms of the
    densities of Bayes' rule for data N(0, 1), which may differ by a constant."""
    x, noisy = np.meshgrid(np.linspace(-2, 2, 41), np.linspace(-2, 2, 41))
    exact = norm.logpdf(noisy, chain.ALPHA * x, chain.BETA) + norm.logpdf(x) - norm.logpdf(noisy)
    exponents = (
        (noisy - alpha * x) ** 2 / chain.BETA**2 + x**2 - noisy**2
        for alpha in (chain.ALPHA_BEFORE, chain.ALPHA)
    )
    return Errors(*(float(np.ptp(exact + value / 2)) for value in exponents))


def exponent_of_the_reverse_step() -> Errors:
    r"""(5.6), second line: the two terms with :math:`2 g_t^2` have a plus; printed is a minus
    before both. Largest difference from the first line over :math:`x_{t + \Delta t}`, for
    :math:`\Delta t = 0.1` and numbers in the place of drift, score and
    :math:`\partial_t \log p`."""
    step, drift, square, score, rate = 0.1, -0.4, 0.8, 1.3, 0.7
    change = np.linspace(-1, 1, 41)
    first = (change - drift * step) ** 2
    exact = -first / (2 * square * step) - change * score - step * rate
    others = 2 * square * step * (change * score + step * rate)
    lines = (-(first + sign * others) / (2 * square * step) for sign in (-1, 1))
    return Errors(*(float(np.abs(line - exact).max()) for line in lines))


def mean_from_coefficients() -> Errors:
    r"""Report, A.3: in :math:`\gamma \|x_{t-1}\|^2 - \langle x_{t-1}, v \rangle`, where v has the
    factors 2 of the line before, the mean is :math:`v / 2 \gamma`; printed is
    :math:`v / \gamma`. Difference from the mean by Bayes' rule on a grid."""
    exact, _ = chain.reverse_law_of_clean_point()
    gamma = (chain.ALPHA / chain.BETA) ** 2 + 1 / chain.BAR_BETA_BEFORE**2
    v = 2 * chain.ALPHA / chain.BETA**2 * chain.NOISY
    v += 2 * chain.BAR_ALPHA_BEFORE / chain.BAR_BETA_BEFORE**2 * chain.CLEAN
    return Errors(*(abs(mean - exact) for mean in (v / gamma, v / (2 * gamma))))


CHECKS: dict[str, Callable[[], Errors]] = {
    "notes, (1.18)": logarithm_of_the_signal,
    "notes, after (1.18)": final_signal,
    "notes, (2.8), weight": weight_of_the_loss,
    "notes, (2.8), target": target_of_the_loss,
    "notes, (2.9)": marginal_of_two_steps,
    "notes, before (3.9)": linear_term,
    "notes, (3.12)": loss_of_the_clean_point,
    "notes, after (3.13), noise": noise_in_the_reverse_mean,
    "notes, after (3.13), factor": factor_of_the_noisy_point,
    "notes, (3.16)": exponent_for_normal_data,
    "notes, (5.6), second line": exponent_of_the_reverse_step,
    "report, A.3, mean": mean_from_coefficients,
}


def _noisy_points(clean: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Noise of the last step, noise of those before, weights, and x_t, by quadrature."""
    nodes, weight = chain.normal_rule(20)
    fresh, old = (a.ravel() for a in np.meshgrid(nodes, nodes))
    noisy = chain.BAR_ALPHA * clean + chain.ALPHA * chain.BAR_BETA_BEFORE * old
    return fresh, old, np.outer(weight, weight).ravel(), noisy + chain.BETA * fresh
