"""Entropic maps and bridges of Gaussians, by other routes."""

import ot
import pytest
import torch

from diffot.laws.mixtures import equal_mixture
from diffot.transport.assignment import optimal_assignment
from diffot.transport.bounds import excess_bounds
from diffot.transport.bridges import EntropicMap, entropic_map, gaussian_bridge
from diffot.transport.couplings import GaussianCoupling, rectified

A = torch.tensor([[2.0, 0.3], [0.3, 0.5]], dtype=torch.float64)
B = torch.tensor([[0.6, -0.4], [-0.4, 1.5]], dtype=torch.float64)
LAW = equal_mixture([[1.0, 0.5], [-1.0, 0.8], [0.3, -1.2]], [0.2, 0.3, 0.1])


def samples(n, m, generator):
    return torch.randn(n, 2, dtype=torch.float64, generator=generator), LAW.sample(m, generator)


def test_the_plan_is_that_of_the_logarithmic_solver(generator):
    z, x = samples(60, 40, generator)
    found = entropic_map(z, x, 0.2, tolerance=1e-12)
    costs = torch.cdist(z, x).square().numpy() / 2
    plan = torch.from_numpy(ot.sinkhorn([], [], costs, 0.2, "sinkhorn_log", 5000, 1e-12))
    assert torch.allclose(found.probabilities(z) / 60, plan, atol=1e-9)
    assert torch.allclose(found.decode(z), 60 * plan @ x, atol=1e-7)


def test_ends_of_epsilon(generator):
    z, x = samples(10, 10, generator)
    mean = x.mean(0).expand_as(z)
    assert torch.allclose(entropic_map(z, x, 1e4).decode(z), mean, atol=1e-2)
    assigned = x[optimal_assignment(z, x)]
    sharp = entropic_map(z, x, 0.01, 1e-4, 100_000).decode(z)
    assert float((sharp - assigned).norm(dim=1).median()) < 0.01


def test_jacobian_is_that_of_differences_and_symmetric(generator):
    z, x = samples(50, 80, generator)
    found = entropic_map(z, x, 0.3)
    jacobian, h = found.jacobian(z[:5]), 1e-5
    for j, step in enumerate(h * torch.eye(2, dtype=torch.float64)):
        slope = (found.decode(z[:5] + step) - found.decode(z[:5] - step)) / (2 * h)
        assert torch.allclose(jacobian[:, :, j], slope, atol=1e-7)
    assert torch.allclose(jacobian, jacobian.mT, atol=1e-13)


def test_an_entropic_map_has_no_excess(generator):
    z, x = samples(200, 200, generator)
    bounds = excess_bounds(entropic_map(z, x, 0.5), spacing=0.3, cells=16)
    assert bounds.lower.value <= 1e-9 and bounds.upper.value < 2e-3


def test_shifts_move_with_the_points(generator):
    z, x = samples(50, 50, generator)
    shift = torch.tensor([30.0, -4.0], dtype=torch.float64)
    moved = entropic_map(z, x + shift, 0.3).decode(z)
    assert torch.allclose(moved, entropic_map(z, x, 0.3).decode(z) + shift, atol=1e-4)


def test_what_does_not_converge_is_said(generator):
    z, x = samples(50, 50, generator)
    with pytest.raises(RuntimeError, match="did not get within"):
        entropic_map(z, x, 0.05, most_rounds=5)


@pytest.mark.parametrize("epsilon", [0.3, 2.0])
def test_the_bridge_of_gaussians_is_a_fixed_point_and_a_limit(epsilon):
    """Of iterated Markovian fitting (Shi et al. 2023)."""
    bridge = gaussian_bridge(A, B, epsilon)
    assert torch.allclose(rectified(bridge, epsilon).cross, bridge.cross, atol=1e-9)
    fitted, before = GaussianCoupling.independent(A, B), 1e9
    for _ in range(12):
        fitted = rectified(fitted, epsilon)
        off = float((fitted.cross - bridge.cross).abs().max())
        assert off < before
        before = off
    assert off < 0.05


def test_the_bridge_of_gaussians_is_that_of_samples(generator):
    n, epsilon = 2500, 1.0
    z, x = (
        torch.randn(n, 2, dtype=torch.float64, generator=generator) @ torch.linalg.cholesky(c).mT
        for c in (A, B)
    )
    linear = gaussian_bridge(A, B, epsilon).matrix
    found = torch.linalg.lstsq(z, entropic_map(z, x, epsilon).decode(z)).solution.mT
    assert torch.allclose(found, linear, atol=0.08)


def test_bridge_without_noise_is_the_optimal_map():
    assert gaussian_bridge(A, B, 1e-9).excess == pytest.approx(0, abs=1e-7)


def test_potentials_count_up_to_a_constant(generator):
    z, x = samples(9, 9, generator)
    found = EntropicMap(x, x[:, 0], 0.4)
    assert torch.allclose(found.decode(z), EntropicMap(x, x[:, 0] + 3, 0.4).decode(z))
