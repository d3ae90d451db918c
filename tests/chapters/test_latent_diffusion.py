"""Encoders against joint Gaussians, and costs and codes of an autoencoder."""

import numpy as np
import pytest
import torch
from torch import nn

from chapters.latent_diffusion import encoder, measurements
from chapters.latent_diffusion.measurements import WayTask
from diffot.denoisers.network import NetworkDenoiser
from diffot.learning import checkpoints


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_the_bound_of_an_encoder_is_the_entropy_and_the_divergence_of_the_start(factor):
    """For an exact way back, whatever the encoder: an identity of three parts."""
    alphas = np.sqrt(1 - np.linspace(0.05, 0.9, 12))
    found = encoder.negative_bound(0.7, factor, alphas)
    gap = encoder.start_divergence(0.7, factor, alphas[-1])
    assert found.total == pytest.approx(encoder.surprise(0.7**2) + gap, rel=1e-12)


def test_what_is_left_unknown_is_that_of_joint_gaussians():
    covariance = np.array([[0.49, 0.6 * 0.49 * 2], [0.6 * 0.49 * 2, 0.36 * 0.49 * 4 + 0.64]])
    expected = 1 / np.linalg.inv(covariance)[0, 0]
    assert encoder.posterior_variance(0.7, 2.0, 0.36, 0.64) == pytest.approx(expected)


def test_the_least_cost_is_that_of_the_optimal_map_between_gaussians(generator):
    """A linear map with a symmetric matrix is optimal, and a turn after it is not."""
    root = torch.tensor([[1.5, 0.3, 0.0], [0.3, 0.8, 0.2], [0.0, 0.2, 2.0]], dtype=torch.float64)
    shift = torch.tensor([0.5, -1.0, 0.0], dtype=torch.float64)
    z = torch.randn(40_000, 3, dtype=torch.float64, generator=generator)
    least = measurements.least_cost(z @ root + shift)
    cost = measurements.cost(z, z @ root + shift)
    assert least.value == pytest.approx(cost.value, abs=4 * (least.error + cost.error))
    turned = (z @ root)[:, [1, 2, 0]] + shift
    more = measurements.cost(z, turned)
    assert more.value > measurements.least_cost(turned).value + 10 * more.error


def test_operations_are_counted_by_hand():
    """Two linear layers for one point: a product for each weight, biases aside."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(6, 50), nn.Linear(50, 6))

        def forward(self, x, time):
            return self.layers(x)

    denoiser = NetworkDenoiser(Two(), measurements.SCHEDULE, "v")
    assert measurements.operations(denoiser, torch.zeros(1, 6)) == pytest.approx(600 / 1e6)


def test_codes_of_faces_are_those_of_the_autoencoder():
    """Encoded faces come back nearly as they were; the distance of codes from themselves is 0."""
    faces = measurements.measured.held_out(measurements.CODER, 12).images
    mean, deviation = measurements.encode(faces)
    error = (measurements.decode(mean) - faces).square().mean().sqrt()
    assert float(error) < 0.08
    assert deviation.shape == (12, measurements.LATENTS) and bool((deviation > 0).all())
    draws = torch.Generator().manual_seed(0)
    assert measurements.code_distance(mean, mean, draws).value == pytest.approx(0, abs=1e-6)


def test_bad_tasks_are_refused():
    weights = checkpoints.hashes(measurements.CODER, measurements.PIXELS)
    with pytest.raises(ValueError, match="did you mean prior"):
        WayTask("priot", weights, 1, 100)
    with pytest.raises(ValueError, match="iterations is 0"):
        WayTask("diffusion", weights, 0, 100)
    with pytest.raises(ValueError, match="weights is"):
        WayTask("diffusion", "0" * 8, 1, 100)
