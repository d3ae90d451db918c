"""Samplers as maps, against the flows they approach."""

import pytest
import torch

from diffot.denoisers.exact import ExactDenoiser
from diffot.flows.probability import ProbabilityFlow
from diffot.flows.sampled import SampledMap
from diffot.laws.mixtures import equal_mixture
from diffot.processes import schedules
from diffot.samplers.higher_order import heun

LAW = equal_mixture([[1.0, 0.5], [-1.0, 0.8], [0.3, -1.2]], [0.4, 0.3, 0.5])
KINDS = [
    schedules.scaled_linear(1000, 1e-4, 0.02),
    schedules.VarianceExploding(50.0, 0.01),
    schedules.Rectified(),
]


def normal(n):
    return torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("schedule", KINDS, ids=lambda s: s.name)
def test_with_many_steps_it_is_the_probability_flow(schedule):
    exact, z = ExactDenoiser(LAW, schedule), normal(20)
    flow = ProbabilityFlow(exact, 1e-8)
    x = flow.decode(z)
    few, many = (SampledMap(exact, n, heun).decode(z) - x for n in (100, 400))
    assert many.norm() < 0.4 * few.norm() and many.abs().max() < 0.02
    there = SampledMap(exact, 800)
    assert (there.encode(x) - flow.encode(x)).abs().max() < 0.05


def test_its_jacobian_is_that_of_the_sampler():
    """By differences of the sampled points themselves."""
    sampled, z, h = SampledMap(ExactDenoiser(LAW, KINDS[2]), 20), normal(10), 1e-5
    found = sampled.jacobian(z)
    for j in range(2):
        shift = h * torch.eye(2, dtype=torch.float64)[j]
        column = (sampled.decode(z + shift) - sampled.decode(z - shift)) / (2 * h)
        assert (found[:, :, j] - column).abs().max() < 1e-7


def test_what_is_no_sampler_or_denoiser_is_refused():
    with pytest.raises(TypeError, match="as_denoiser makes one"):
        SampledMap(lambda x, t: x)
    with pytest.raises(TypeError, match="sampler is"):
        SampledMap(ExactDenoiser(LAW, KINDS[0]), 10, "ddim")
