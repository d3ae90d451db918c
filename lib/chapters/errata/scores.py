r"""Two sources on scores: section 18 of the notes "Topics on diffusion generative models", and
the report "From denoising score matching to denoising diffusion probabilistic models".

Each function measures one formula as it is printed and as it should be, as in
:mod:`chapters.errata.guidance`. The law is that of two classes on a line, N(-1, 0.6²) and
N(1, 0.6²), with the probabilities 0.3 and 0.7.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from chapters.errata.guidance import Errors
from diffot.laws.mixtures import GaussianMixture

ALPHA, SIGMA = 0.8, 0.6  # of the noisy points
_STEP = 0.01  # of a gradient


def cross_term() -> Errors:
    r"""(18.8), last line but one: the expectation is of the gradient
    :math:`\nabla \log p(x_t|x_0)`, not of its squared length. Distance of the mean of twice the
    product with the model :math:`s_\theta = -x_t` from that before, by quadrature."""
    x, clean, weight = _noisy_and_clean()
    gradient = _conditional(x, clean)
    model = -x
    exact = weight @ (2 * model * gradient)
    # given x_t, the mean of the gradient is the score, and that of its square has a variance more
    score = law().score(x[:, None], ALPHA, SIGMA)[:, 0]
    spread = (ALPHA / SIGMA**2) ** 2 * law().posterior_covariance(x[:, None], ALPHA, SIGMA)
    square = score**2 + spread[:, 0, 0]
    return Errors(*(abs(float(weight @ (2 * model * t) - exact)) for t in (square, score)))


def score_as_average() -> Errors:
    r"""Report, section 3.2: the score is the mean of :math:`\nabla \log q(x_t|x_0)` over
    :math:`q(x_0|x_t)`, not over :math:`q(x_0)`, which would make it that of one Gaussian.
    Largest distance from the score, over x_t."""
    x = torch.linspace(-3, 3, 61, dtype=torch.float64)
    exact = law().score(x[:, None], ALPHA, SIGMA)[:, 0]
    over_all = _conditional(x, law().mean)
    nodes = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    log_mass = law().log_prob(nodes[:, None]) - (x[:, None] - ALPHA * nodes) ** 2 / (2 * SIGMA**2)
    given = (torch.softmax(log_mass, 1) * _conditional(x[:, None], nodes)).sum(1)
    return Errors(*(float((mean - exact).abs().max()) for mean in (over_all, given)))


def where_the_gradient_leads() -> Errors:
    """Report, section 1.1: without noise the points go to a maximum of the density, not to a
    minimum. Distance of where the gradient leads, from 0.5, to the nearest of either."""
    x = torch.tensor([[0.5]], dtype=torch.float64)
    for _ in range(2000):
        x = x + _STEP * law().score(x)
    grid = torch.linspace(-2, 2, 400_001, dtype=torch.float64)
    log_density = law().log_prob(grid[:, None])
    inner = log_density[1:-1]
    lower = (inner < log_density[:-2]) & (inner < log_density[2:])
    higher = (inner > log_density[:-2]) & (inner > log_density[2:])
    places = [grid[1:-1][kind] for kind in (lower, higher)]
    return Errors(*(round(float((place - x[0]).abs().min()), 5) for place in places))


CHECKS: dict[str, Callable[[], Errors]] = {
    "notes, (18.8), last line but one": cross_term,
    "report, section 3.2": score_as_average,
    "report, section 1.1": where_the_gradient_leads,
}


def law() -> GaussianMixture:
    """Two Gaussians on a line, N(-1, 0.6²) and N(1, 0.6²), with probabilities 0.3 and 0.7."""
    return GaussianMixture([0.3, 0.7], [[-1.0], [1.0]], [[[0.36]]] * 2)


def _conditional(x: Tensor, clean: Tensor) -> Tensor:
    """The gradient of log q(x_t | x_0)."""
    return -(x - ALPHA * clean) / SIGMA**2


def _hermite(n: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of the Gauss-Hermite rule for N(0, 1)."""
    nodes, weight = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(n))
    return nodes, weight / weight.sum()


def _noisy_and_clean() -> tuple[Tensor, Tensor, Tensor]:
    """x_t, x_0 and their weights, by quadrature over component, x_0 and noise."""
    nodes, weight = _hermite(60)
    clean = torch.cat([m + 0.6 * nodes for m in (-1.0, 1.0)])
    x = (ALPHA * clean[:, None] + SIGMA * nodes).flatten()
    masses = torch.outer(torch.cat([0.3 * weight, 0.7 * weight]), weight).flatten()
    return x, clean[:, None].expand(-1, len(nodes)).flatten(), masses
