"""Langevin dynamics against what is known of it for Gaussians."""

import torch

from diffot.denoisers.exact import ExactDenoiser
from diffot.laws.mixtures import GaussianMixture
from diffot.laws.points import PointSet
from diffot.processes.schedules import VarianceExploding
from diffot.samplers.langevin import annealed_langevin, langevin

N = 100_000
ERROR = (2 / N) ** 0.5  # of a variance, relative


def test_the_variance_settles_where_the_step_says(generator):
    """v / (1 - h / 4v), for another unit of length too."""
    for unit in (1.0, 100.0):
        v, step = 0.5 * unit**2, 0.6 * unit**2
        start = unit * torch.randn(N, 1, dtype=torch.float64, generator=generator)
        x = langevin(lambda x, v=v: -x / v, start, step, 25, generator)
        assert abs(float(x.var()) / (v / (1 - step / (4 * v))) - 1) < 4 * ERROR


def test_small_steps_stay_in_the_law(oblique, generator):
    x = langevin(oblique.score, oblique.sample(20_000, generator), 0.01, 50, generator)
    assert ((x.mean(0) - oblique.mean).abs() < 4 * x.std(0) / 20_000**0.5).all()
    assert ((x.T.cov() - oblique.covariance).abs() < 0.04).all()


def test_annealing_follows_its_recursion(generator):
    """Data at one point: each step multiplies by 1 - step / 2 and adds the variance
    step * sigma^2."""
    sigmas, step, steps = [2.0, 0.7, 0.3], 0.3, 4
    exact = ExactDenoiser(PointSet(torch.full((1, 1), 5.0).double()), VarianceExploding())
    start = 5 + 3 * torch.randn(N, 1, dtype=torch.float64, generator=generator)
    x = annealed_langevin(exact, start, sigmas, step, steps, generator)
    variance = 9.0
    for sigma in sigmas:
        for _ in range(steps):
            variance = (1 - step / 2) ** 2 * variance + step * sigma**2
    assert abs(float(x.var()) / variance - 1) < 4 * ERROR
    assert abs(float(x.mean()) - 5) < 4 * (variance / N) ** 0.5


def test_annealing_finds_the_weights_that_one_level_does_not(generator):
    law = GaussianMixture([0.2, 0.8], [[-5.0], [5.0]], [[[1.0]]] * 2)
    start = 16 * torch.rand(1000, 1, dtype=torch.float64, generator=generator) - 8
    alone = langevin(law.score, start, 0.2, 100, generator)
    exact = ExactDenoiser(law, VarianceExploding())
    annealed = annealed_langevin(exact, start, [10.0, 6.0, 3.0, 1.0], 0.2, 50, generator)
    assert 0.42 < float((alone < 0).double().mean()) < 0.58
    assert float((annealed < 0).double().mean()) < 0.3
