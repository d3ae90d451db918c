"""The reverse diffusion, on all kinds of schedules."""

import numpy as np
import pytest
import torch

from diffot.denoisers.exact import ExactDenoiser
from diffot.laws.mixtures import GaussianMixture
from diffot.laws.uniform import UniformBox
from diffot.processes import schedules
from diffot.samplers.reverse_sde import euler_maruyama

RECTIFIED = schedules.Rectified()
KINDS = {
    "preserving": (schedules.linear(1000, 1e-4, 0.02), 250),
    "exploding": (schedules.VarianceExploding(20.0, 0.01), 250),
    "rectified": (RECTIFIED, torch.linspace(0.99, 0, 251).double().tolist()),
}
each = pytest.mark.parametrize(("schedule", "steps"), KINDS.values(), ids=KINDS)


@each
def test_it_reaches_the_law(schedule, steps, generator):
    law, n = UniformBox([-1.0, 0.0], [1.0, 0.5]), 2000
    exact = ExactDenoiser(law, schedule)
    start = schedule.timesteps(steps)[0]
    alpha, sigma = (float(level) for level in schedule.levels(start))
    x = euler_maruyama(exact, law.marginal(alpha, sigma).sample(n, generator), generator, steps)
    assert ((x.mean(0) - torch.tensor([0.0, 0.25])).abs() < 4 * x.std(0) / n**0.5).all()
    variance = torch.tensor([4.0, 0.25]) / 12
    assert (x.var(0) / variance - 1).abs().max() < 4 * (0.8 / n) ** 0.5 + 0.05  # kurtosis 1.8


def test_the_variance_converges_at_first_order(generator):
    """From the law of x_T itself, for one Gaussian on the line."""
    law, n = GaussianMixture([1.0], [[2.0]], [[[0.25]]]), 200_000
    schedule = schedules.VarianceExploding(20.0, 0.01)
    exact, errors = ExactDenoiser(law, schedule), []
    for steps in (10, 20, 40):
        times = torch.linspace(3.0, 0.3, steps + 1).double()
        start, end = (law.marginal(1.0, float(t)) for t in times[[0, -1]])
        x = euler_maruyama(exact, start.sample(n, generator), generator, times.tolist())
        # the last step adds no noise; give it
        last, before = times[-1], times[-2]
        _, spread = schedule.sde(before)
        variance = float(x.var() + spread * (before - last))
        errors.append(variance / float(end.covariance) - 1)
    assert min(errors) > 4 * (2 / n) ** 0.5
    order = -np.polyfit(np.log([10, 20, 40]), np.log(errors), 1)[0]
    assert 0.8 < order < 1.6


def test_where_no_data_are_left_it_does_not_start():
    exact = ExactDenoiser(UniformBox([0.0], [1.0]), RECTIFIED)
    x = torch.zeros(3, 1)
    with pytest.raises(ValueError, match="steps begin at 1, where no data are left"):
        euler_maruyama(exact, x, torch.Generator(), 100)
    with pytest.raises(TypeError, match="generator is None"):
        euler_maruyama(exact, x, None, 100)


def test_the_variance_obeys_its_recursion_with_any_noise(generator):
    """A linear score: each step multiplies, and adds the noise squared."""
    law, n = GaussianMixture([1.0], [[0.0]], [[[0.25]]]), 100_000
    schedule = schedules.VarianceExploding(20.0, 0.01)
    exact, times = ExactDenoiser(law, schedule), [3.0, 2.0, 1.2, 0.6]
    start = 3 * torch.randn(n, 1, dtype=torch.float64, generator=generator)
    for noise in (0.0, 0.5, 1.5):
        x = euler_maruyama(exact, start, generator, times, noise=noise)
        variance = 9.0
        for t, s in zip(times, times[1:]):
            square = 2 * t * (t - s)  # g^2 in this step
            variance *= (1 - (1 + noise**2) / 2 * square / (0.25 + t**2)) ** 2
            variance += noise**2 * square * (s != times[-1])
        assert abs(float(x.var()) / variance - 1) < 4 * (2 / n) ** 0.5
