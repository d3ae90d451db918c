"""Closed forms of the chapters on scores, their tasks, and the errata of their sources."""

import numpy as np
import pytest
import torch
from scipy.linalg import eigvals
from scipy.stats import norm

from chapters.scores import closed_forms, digits, learning
from diffot.laws.mixtures import GaussianMixture
from diffot.learning import checkpoints


@pytest.mark.parametrize("loss", closed_forms.LOSSES)
@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_the_relative_variance_is_that_of_batches(loss, noise, generator):
    d, n, batches, variance = 3, 400, 500, 1 + noise**2
    law = GaussianMixture([1.0], [[0.0] * d], [(variance * torch.eye(d)).tolist()])
    x = torch.randn(n * batches, d, dtype=torch.float64, generator=generator)
    if loss != "denoising":
        x = x * variance**0.5
    objective = learning.objective(loss, law, noise)
    slopes = learning.best_slopes(objective, x, batches, generator) * variance
    expected = closed_forms.relative_variance(loss, noise) / (n * d)
    assert abs(float(slopes.mean()) - 1) < 5 * (expected / batches) ** 0.5 + 4 * expected + 1e-12
    assert abs(float(slopes.var()) - expected) < 5 * expected * (2 / batches) ** 0.5 + 1e-20


def test_the_gap_is_that_of_quadrature():
    nodes, weight = np.polynomial.hermite_e.hermegauss(60)
    weight = weight / weight.sum()
    alpha, sigma, deviation = 0.7, 0.4, 1.3
    x = alpha * deviation * nodes[:, None] + sigma * nodes
    variance = (alpha * deviation) ** 2 + sigma**2
    masses = np.outer(weight, weight)
    model = np.tanh(x)
    conditional = masses * (-nodes / sigma - model) ** 2
    unconditional = masses * (-x / variance - model) ** 2
    gap = closed_forms.gap(alpha, sigma, deviation)
    assert conditional.sum() - unconditional.sum() == pytest.approx(gap, rel=1e-9)


def test_the_variance_tends_to_its_limit():
    assert closed_forms.stationary_variance(0.2, 1.0) == pytest.approx(1 / 0.95)
    assert closed_forms.variance_after(3.0, 0.2, 1.0, 0) == 3
    one = (1 - 0.1) ** 2 * 3.0 + 0.2
    assert closed_forms.variance_after(3.0, 0.2, 1.0, 1) == pytest.approx(one)


def test_one_well_relaxes_like_a_gaussian():
    """exp(-t / 2) for N(0, 1): twice the unit of time."""
    assert closed_forms.Wells(0.0, 0.5).relaxation_time() == pytest.approx(2, rel=1e-3)


def test_the_chain_relaxes_as_the_diffusion_does():
    """The second eigenvalue of many small steps, for wells that are near enough."""
    wells, step = closed_forms.Wells(2.0, 0.3, reach=8.0, cells=320), 0.05
    kernel = np.stack(
        [wells.after(row, step, 1) for row in np.eye(len(wells.x))[:: len(wells.x) // 320]], 1
    )
    second = np.sort(np.abs(eigvals(kernel)))[-2]
    assert -step / np.log(second) == pytest.approx(wells.relaxation_time(), rel=0.05)


def test_a_step_moves_the_mass_as_it_should():
    wells = closed_forms.Wells(0.0, 0.5)
    start = norm.pdf(wells.x, 1.0, 0.5)
    after = wells.after(start / start.sum(), 0.3, 1)
    mean = float(after @ wells.x)
    assert mean == pytest.approx(0.85, abs=1e-6)
    assert float(after @ (wells.x - mean) ** 2) == pytest.approx(0.85**2 / 4 + 0.3, abs=1e-5)


def test_the_start_on_the_diagonal_is_a_density(generator):
    x = np.linspace(-12, 12, 24_001)
    density = closed_forms.on_the_diagonal(8.0, x)
    assert np.trapezoid(density, x) == pytest.approx(1, rel=1e-6)
    drawn = 16 * torch.rand(100_000, 2, generator=generator) - 8
    assert np.trapezoid(density * x**2, x) == pytest.approx(
        float((drawn.sum(1) / 2**0.5).var()), rel=0.02
    )


def test_tasks_refuse_what_they_cannot_measure():
    weights = checkpoints.hashes("Digits28")
    task = digits.DigitsTask("Digits28", weights, 16.0, 10, 20, 100)
    assert task.evaluations == 200
    with pytest.raises(ValueError, match="with one level; expected"):
        digits.DigitsTask("Digits28", weights, 16.0, 1, 20, 100)
    with pytest.raises(ValueError, match="weights is"):
        digits.DigitsTask("Digits28", "0" * 12, 16.0, 10, 20, 100)
    with pytest.raises(ValueError, match="did you mean implicit"):
        learning.LineTask("implict", 0.1, 0, 100)
    with pytest.raises(ValueError, match="iterations is 5"):
        learning.LineTask("implicit", 0.1, 0, 5)
