r"""Chapter 9 of the notes "Topics on diffusion generative models", on guidance.

Each function measures one formula as it is printed and as it should be: an :class:`Errors` holds
how far each is from an exact answer, in the same unit. The law is that of two classes,
:math:`N(\pm 1, 0.6^2)` with equal probability; y is the class of +1. In the notes' letters,
:math:`x_t = \alpha_t x_{t-1} + \beta_t \varepsilon`, and
:math:`x_t = \bar\alpha_t x_0 + \bar\beta_t \bar\varepsilon`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffot.laws.mixtures import GaussianMixture

_VARIANCE = 0.36
# one step: signal kept in all until x_{t-1}, and by the step itself
_BEFORE, _STEP = 0.8, 0.95
_AFTER = _BEFORE * _STEP
_BETA = math.sqrt(1 - _STEP**2)  # of the step
_BAR = math.sqrt(1 - _AFTER**2)  # of all steps
_SCALE = 3.0  # gamma, and the weight of similarities


@dataclass(frozen=True)
class Errors:
    """Distance of a formula from the exact answer, as printed and as corrected."""

    printed: float
    corrected: float


def posterior_step() -> Errors:
    r"""(9.5): the exponent is divided by :math:`2\sigma_t^2`, without the factor
    :math:`\log p(y|x_t)` that is printed after it. Largest difference, over x_{t-1}, of the two
    lines' exponents, which may differ by a constant."""
    x, mean, push = 0.4, 0.5, _class_push(torch.tensor([0.4]).double()).item()
    variance = _BETA**2
    before = np.linspace(mean - 3 * _BETA, mean + 3 * _BETA, 61)
    first = -((before - mean) ** 2) / (2 * variance) + (before - x) * push
    square = -((before - mean - variance * push) ** 2) / (2 * variance)
    log_class = float(_log_class(torch.tensor([x]).double()))
    return Errors(*(float(np.ptp(first - line)) for line in (square / log_class, square)))


def classifier_of_clean_points() -> Errors:
    r"""(9.7): :math:`p_0(y | \mu(x_t))` stands for :math:`p(y | x_t)`, not for
    :math:`p(y | x_0)`. Root mean square difference of the two sides, x_0 and noise being drawn
    by quadrature. (The corrected line is an approximation, whose error is not zero.)"""
    x, clean, weight = _noisy_and_clean()
    guess = _probability(law().posterior_mean(x[:, None], _AFTER, _BAR)[:, 0], 0.0)
    sides = _probability(clean, 0.0), _probability(x, _BAR)
    return Errors(*(float((weight @ (side - guess).square()).sqrt()) for side in sides))


def renormalized_classifier() -> Errors:
    r"""(9.10): the second term is :math:`\nabla \log Z`, not :math:`\nabla Z`. Largest
    difference from the derivative of :math:`\log(p^\gamma / Z)`, over x_t."""
    x = torch.linspace(-3, 3, 61, dtype=torch.float64)

    def scaled(x: Tensor) -> Tensor:  # of both classes, (2, B)
        return _SCALE * torch.stack([_log_class(x), _log_class(-x)])

    exact = _derivative(lambda x: scaled(x)[0] - scaled(x).logsumexp(0), x)
    push = _SCALE * _class_push(x)
    log_z = _derivative(lambda x: scaled(x).logsumexp(0), x)
    plain = _derivative(lambda x: scaled(x).exp().sum(0), x)
    return Errors(*(float((push - term - exact).abs().max()) for term in (plain, log_z)))


def similarity_step() -> Errors:
    r"""(9.14): the left side is :math:`p(x_{t-1} | x_t, y)`; printed without y it is the law
    before guidance. Difference of the right side's mean from that of the law on the left, (9.13)
    being normalized by quadrature."""
    mean, push, variance = 0.5, 0.7, _BETA**2
    before = np.linspace(mean - 12 * _BETA, mean + 12 * _BETA, 4001)
    right = mean + _SCALE * variance * push
    exponents = -((before - mean) ** 2) / (2 * variance)
    laws = exponents, exponents + _SCALE * before * push
    masses = [np.exp(law - law.max()) for law in laws]
    return Errors(*(abs(right - float(mass @ before / mass.sum())) for mass in masses))


def guided_noise() -> Errors:
    r"""After (9.19): :math:`\varepsilon_\theta` is replaced by :math:`\varepsilon_\theta -
    \bar\beta_t \nabla \log p_t(y|x)`; printed is :math:`\beta_t`. Largest difference from the
    expected noise given the class, over x_t."""
    x = torch.linspace(-3, 3, 61, dtype=torch.float64)
    free = -_BAR * law().score(x[:, None], _AFTER, _BAR)[:, 0]
    exact = -_BAR * _class().score(x[:, None], _AFTER, _BAR)[:, 0]
    return Errors(
        *(float((free - b * _class_push(x) - exact).abs().max()) for b in (_BETA, _BAR))
    )


def conditional_mean() -> Errors:
    r"""(9.21): the factor of the noise is :math:`\beta_t^2 / \bar\beta_t`; printed is
    :math:`\beta_t^2 / \beta_t^2`. Largest difference from :math:`E[x_{t-1} | x_t, y]` by
    quadrature, over x_t."""
    x = torch.linspace(-2, 3, 51, dtype=torch.float64)
    before = torch.linspace(-8, 10, 6001, dtype=torch.float64)
    log_prior = _class().log_prob(before[:, None], _BEFORE, math.sqrt(1 - _BEFORE**2))
    log_mass = log_prior - (x[:, None] - _STEP * before) ** 2 / (2 * _BETA**2)
    exact = torch.softmax(log_mass, 1) @ before
    noise = -_BAR * _class().score(x[:, None], _AFTER, _BAR)[:, 0]
    factors = 1.0, _BETA**2 / _BAR
    return Errors(*(float(((x - f * noise) / _STEP - exact).abs().max()) for f in factors))


def conditional_loss() -> Errors:
    r"""(9.22): the loss is :math:`E \|\varepsilon - \varepsilon_\theta\|^2`; printed is
    :math:`E[\|\varepsilon\|^2 - \varepsilon_\theta]`. Its slope at the exact
    :math:`\varepsilon_\theta = E[\varepsilon | x_t, y]`, when a constant is added to it: 0 at a
    minimum. (The printed loss falls without end.)"""
    nodes, weight = _hermite(80)
    clean = 1 + math.sqrt(_VARIANCE) * nodes[:, None]
    x = (_AFTER * clean + _BAR * nodes).flatten()
    noise = nodes.expand(len(nodes), -1).flatten()
    masses = torch.outer(weight, weight).flatten()
    exact = -_BAR * _class().score(x[:, None], _AFTER, _BAR)[:, 0]
    added = torch.zeros((), dtype=torch.float64, requires_grad=True)
    losses = noise.square() - (exact + added), (noise - exact - added).square()
    slopes = [torch.autograd.grad(masses @ loss, added)[0] for loss in losses]
    return Errors(*(abs(float(slope)) for slope in slopes))


CHECKS: dict[str, Callable[[], Errors]] = {
    "(9.5)": posterior_step,
    "(9.7)": classifier_of_clean_points,
    "(9.10)": renormalized_classifier,
    "(9.14)": similarity_step,
    "after (9.19)": guided_noise,
    "(9.21)": conditional_mean,
    "(9.22)": conditional_loss,
}


def law() -> GaussianMixture:
    """Two classes on a line, N(-1, 0.6²) and N(1, 0.6²), equally probable."""
    return GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], [[[_VARIANCE]]] * 2)


def _class() -> GaussianMixture:
    return GaussianMixture([1.0], [[1.0]], [[[_VARIANCE]]])


def _log_class(x: Tensor, alpha: float = _AFTER, sigma: float = _BAR) -> Tensor:
    """log p(y | x_t), shape (B,): of two Gaussians of equal variance, a logistic function."""
    variance = alpha**2 * _VARIANCE + sigma**2
    return torch.nn.functional.logsigmoid(2 * alpha * x / variance)


def _class_push(x: Tensor) -> Tensor:
    """The derivative of log p(y | x_t)."""
    return _derivative(_log_class, x)


def _probability(x: Tensor, sigma: float) -> Tensor:
    """p(y | x) with the noise of x_t, or without any."""
    return _log_class(x, _AFTER if sigma else 1.0, sigma).exp()


def _derivative(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return torch.func.grad(lambda x: function(x).sum())(x)


def _hermite(n: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of the Gauss-Hermite rule for N(0, 1)."""
    nodes, weight = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(n))
    return nodes, weight / weight.sum()


def _noisy_and_clean() -> tuple[Tensor, Tensor, Tensor]:
    """x_t, x_0 and their weights, by quadrature over class, x_0 and noise."""
    nodes, weight = _hermite(40)
    clean = torch.cat([s + math.sqrt(_VARIANCE) * nodes for s in (-1.0, 1.0)])
    x = (_AFTER * clean[:, None] + _BAR * nodes).flatten()
    masses = torch.outer(torch.cat([weight, weight]) / 2, weight).flatten()
    return x, clean[:, None].expand(-1, len(nodes)).flatten(), masses
