r"""The law of what a sampler draws, exactly, on a grid: no sampling.

A sampler of the form :math:`x_s = \mu(x_t) + \sqrt{v(x_t)}\, z` turns the density of x_t into

.. math:: p_s(y) = \int p_t(x)\, N(y; \mu(x), v(x))\, dx,

which on a line is one matrix for each step. Noise levels are those of a schedule; from time t to
s, with :math:`a = \alpha_t / \alpha_s` and :math:`\beta = \sigma_t^2 - a^2 \sigma_s^2`, the
reverse mean is :math:`\gamma \hat x_0 + \kappa x_t`,
:math:`\gamma = \alpha_s \beta / \sigma_t^2`, :math:`\kappa = a \sigma_s^2 / \sigma_t^2`, and the
variance given x_0 too is :math:`\lambda = \beta \sigma_s^2 / \sigma_t^2`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffot.denoisers.exact import ExactDenoiser
from diffot.errors import as_number, as_whole_number, require, require_known
from diffot.laws.mixtures import GaussianMixture
from diffot.processes.schedules import Schedule, linear

VARIANCES = ("beta", "posterior", "analytic", "residual", "NPR", "SN")
TABLE = linear(1000, 1e-4, 0.02)


def pair() -> GaussianMixture:
    """Two Gaussians on a line, with weights 0.3 and 0.7, of mean 0 and variance 1."""
    weights, means = torch.tensor([0.3, 0.7]).double(), torch.tensor([-1.5, 1.0]).double()
    variances = torch.tensor([0.3, 0.4]).double() ** 2
    weights = weights / weights.sum()
    mean = weights @ means
    scale = (weights @ (variances + means**2) - mean**2).sqrt()
    return GaussianMixture(
        weights, ((means - mean) / scale)[:, None], (variances / scale**2)[:, None, None]
    )


@dataclass(frozen=True)
class Step:
    """From time t to the next time s: amplitudes, and what follows from them."""

    alpha: float
    sigma: float
    next_alpha: float
    next_sigma: float

    @property
    def beta(self) -> float:
        return self.sigma**2 - (self.alpha / self.next_alpha * self.next_sigma) ** 2

    @property
    def gamma(self) -> float:
        return self.next_alpha * self.beta / self.sigma**2

    @property
    def kappa(self) -> float:
        return self.alpha / self.next_alpha * (self.next_sigma / self.sigma) ** 2

    @property
    def posterior(self) -> float:
        """The variance of x_s given x_t and x_0."""
        return self.beta * (self.next_sigma / self.sigma) ** 2


class Line:
    """A law on a line, as it is seen on a grid.

    Args:
        law: in one dimension. reach: of the grid. cells: of the grid.
        scale: of the predicted noise, by the exact one; 1 for the exact mean.
    """

    def __init__(
        self, law: GaussianMixture, reach: float = 6.0, cells: int = 1200, scale: float = 1.0
    ):
        require(law.dim == 1, f"law has {law.dim} dimensions; expected 1")
        cells = as_whole_number(cells, "cells", least=10)
        self.law, self.scale = law, as_number(scale, "scale")
        self.width = 2 * as_number(reach, "reach", above=0) / cells
        self.x = (torch.arange(cells, dtype=torch.float64) + 0.5) * self.width - reach
        self.density = law.log_prob(self.x[:, None]).exp()

    def expect(self, values: Tensor, step: Step) -> float:
        """The mean over x_t of a function on the grid."""
        masses = self.law.log_prob(self.x[:, None], step.alpha, step.sigma).exp() * self.width
        return float(masses @ values)

    def noise_moments(self, step: Step) -> tuple[Tensor, Tensor]:
        """Mean of the noise and of its square, given x_t."""
        level = step.alpha, step.sigma
        mean = -step.sigma * self.law.score(self.x[:, None], *level)[:, 0]
        spread = self.law.posterior_covariance(self.x[:, None], *level)[:, 0, 0]
        return mean, mean**2 + (step.alpha / step.sigma) ** 2 * spread

    def mean(self, step: Step) -> Tensor:
        """The reverse mean, at each x_t, with the predicted noise."""
        noise = self.scale * self.noise_moments(step)[0]
        clean = (self.x - step.sigma * noise) / step.alpha
        return step.gamma * clean + step.kappa * self.x

    def variance(self, kind: str, step: Step) -> Tensor:
        r"""The variance of the reverse step, at each x_t.

        ``"beta"`` and ``"posterior"`` are the two of Ho et al. (2020); in the last step, where
        the second is 0, it is beta. The others are
        :math:`\lambda + \gamma^2 (\sigma_t / \alpha_t)^2 u` with an estimate u of the variance of
        the noise given x_t:

        - ``"analytic"``: :math:`1 - E \varepsilon_\theta^2` (Bao et al. 2022a, eq. 8);
        - ``"residual"``: :math:`E (\varepsilon - \varepsilon_\theta)^2`, of all x_t;
        - ``"NPR"``: :math:`E[(\varepsilon - \varepsilon_\theta)^2 \mid x_t]` (Bao et al. 2022b);
        - ``"SN"``: :math:`E[\varepsilon^2 \mid x_t] - \varepsilon_\theta^2` (the same).
        """
        require_known(kind, "kind", VARIANCES)
        ones = torch.ones_like(self.x)
        if kind in ("beta", "posterior"):
            last = step.next_sigma == 0
            return ones * (step.beta if kind == "beta" or last else step.posterior)
        mean, square = self.noise_moments(step)
        told = self.scale * mean
        residual = square - 2 * mean * told + told**2
        unknown = {
            "analytic": lambda: ones * (1 - self.expect(told**2, step)),
            "residual": lambda: ones * self.expect(residual, step),
            "NPR": lambda: residual,
            "SN": lambda: square - told**2,
        }[kind]()
        return step.posterior + (step.gamma * step.sigma / step.alpha) ** 2 * unknown

    def pushed(self, density: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """The density after a step."""
        require(
            bool((variance > 0).all()),
            f"the variance of a step falls to {float(variance.min()):.4g}; expected above 0",
        )
        away = self.x[:, None] - mean
        kernel = torch.exp(-(away**2) / (2 * variance)) / (2 * math.pi * variance).sqrt()
        return self.width * kernel @ density

    def divergence(self, density: Tensor) -> float:
        """KL divergence of the law from a density on the grid, in nats."""
        seen = self.density > 1e-300
        ratio = (self.density[seen] / density[seen].clamp(min=1e-300)).log()
        return self.width * float(self.density[seen] @ ratio)


def steps_of(schedule: Schedule, count: int) -> list[Step]:
    """The steps of a path of the schedule."""
    alphas, sigmas = (a.tolist() for a in schedule.levels(schedule.timesteps(count)))
    return [Step(*s) for s in zip(alphas, sigmas, alphas[1:], sigmas[1:])]


def chain_divergence(line: Line, kind: str, count: int, schedule: Schedule = TABLE) -> float:
    """KL divergence of the law from what ancestral sampling draws in so many steps, in nats,
    from N(0, 1)."""
    density = torch.exp(-(line.x**2) / 2) / math.sqrt(2 * math.pi)
    for step in steps_of(schedule, count):
        density = line.pushed(density, line.mean(step), line.variance(kind, step))
    return line.divergence(density)


def bound_terms(line: Line, kind: str, count: int, schedule: Schedule = TABLE) -> list[float]:
    r"""The terms of the bound on :math:`-E \log p(x_0)`, in nats, from T down to 0.

    The first is the divergence of x_T given x_0 from N(0, 1), for data of variance 1 and mean 0,
    the last :math:`-E \log p(x_0 | x_1)`, and the others the divergences of the reverse steps
    (Ho et al. 2020, eq. 5).
    """
    path = steps_of(schedule, count)
    alpha, sigma = path[0].alpha, path[0].sigma
    second = float(line.law.covariance[0, 0] + line.law.mean[0] ** 2)
    terms = [(alpha**2 * second + sigma**2 - 1) / 2 - math.log(sigma)]
    for step in path:
        mean, square = line.noise_moments(step)
        told = line.scale * mean
        residual = square - 2 * mean * told + told**2
        off = (step.gamma * step.sigma / step.alpha) ** 2 * residual
        variance = line.variance(kind, step)
        if step.next_sigma == 0:
            values = (torch.log(2 * math.pi * variance) + off / variance) / 2
        else:
            ratio = step.posterior / variance
            values = (ratio + off / variance - 1 - ratio.log()) / 2
        terms.append(line.expect(values, step))
    return terms


def family_divergence(line: Line, noise: float, count: int, schedule: Schedule = TABLE) -> float:
    r"""KL divergence of the law from what Euler's method draws with the equation

    .. math:: dx = \left(f x - \frac{1 + c^2}{2} g^2 \nabla \log p_t\right) dt + c\, g\, d\bar W

    in so many steps, c being ``noise``, above 0. The last step keeps its noise."""
    noise = as_number(noise, "noise", above=0)
    exact = ExactDenoiser(line.law, schedule)
    times = schedule.timesteps(count).tolist()
    pulls, spreads = (c.tolist() for c in schedule.sde(torch.tensor(times[:-1]).double()))
    scale = float(schedule.prior_scale)
    density = torch.exp(-((line.x / scale) ** 2) / 2) / (scale * math.sqrt(2 * math.pi))
    for t, s, pull, spread in zip(times, times[1:], pulls, spreads):
        score = exact.score(line.x[:, None], t)[:, 0]
        drift = pull * line.x - (1 + noise**2) / 2 * spread * score
        variance = torch.full_like(line.x, noise**2 * spread * (t - s))
        density = line.pushed(density, line.x - (t - s) * drift, variance)
    return line.divergence(density)
