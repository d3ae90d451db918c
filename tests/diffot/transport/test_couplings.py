"""Rectified couplings of Gaussians against closed forms, samples and each other."""

import math

import pytest
import torch

from diffot.transport.couplings import GaussianCoupling, gradient_rectified, rectified
from diffot.transport.gaussian import composition_excess, gaussian_monge_map

EYE = torch.eye(2, dtype=torch.float64)
A = torch.diag(torch.tensor([4.0, 0.25], dtype=torch.float64))


def turn(degrees):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def root(matrix):
    spectrum, axes = torch.linalg.eigh(matrix)
    return (axes * spectrum.sqrt()) @ axes.mT


B = 1.5 * turn(30) @ A @ turn(30).mT


def random_covariance(d, generator):
    factor = torch.randn(d, d, dtype=torch.float64, generator=generator)
    return factor @ factor.mT / d + 0.2 * torch.eye(d, dtype=torch.float64)


@pytest.mark.parametrize("d", [1, 2, 4])
def test_independent_pairs_are_rectified_to_the_mean_of_the_two_roots(d, generator):
    """In coordinates in which the source is N(0, I) the flow is the optimal map; it does not
    depend on the coordinates, so that it is A^1/2 (A^-1/2 B A^-1/2)^1/2 A^-1/2."""
    a, b = random_covariance(d, generator), random_covariance(d, generator)
    inverse = torch.linalg.inv(root(a))
    closed = root(a) @ root(inverse @ b @ inverse) @ inverse
    found = rectified(GaussianCoupling.independent(a, b))
    assert torch.allclose(found.matrix, closed, atol=1e-9)
    assert torch.allclose(found.matrix @ a @ found.matrix.mT, b, atol=1e-9)


def test_excess_is_that_of_encoding_and_decoding(generator):
    a, b = random_covariance(3, generator), random_covariance(3, generator)
    composed = GaussianCoupling.of_map(a, root(b) @ torch.linalg.inv(root(a)))
    assert composed.excess == pytest.approx(composition_excess(a, b), rel=1e-9)
    monge = gaussian_monge_map(torch.zeros(3), a, torch.zeros(3), b).matrix
    assert GaussianCoupling.of_map(a, monge).excess == pytest.approx(0, abs=1e-12)


def test_cost_and_covariance_on_the_way_are_those_of_a_sample(generator):
    m, n, epsilon = turn(50) @ root(B), 400_000, 0.7
    pairs = GaussianCoupling.of_map(EYE, m)
    z = torch.randn(n, 2, dtype=torch.float64, generator=generator)
    x, w = z @ m.mT, torch.randn(n, 2, dtype=torch.float64, generator=generator)
    assert pairs.cost == pytest.approx(float((x - z).square().sum(1).mean()), rel=0.01)
    way = 0.7 * z + 0.3 * x + math.sqrt(epsilon * 0.21) * w
    assert torch.allclose(way.T @ way / n, pairs.covariance(0.3, epsilon), atol=0.02)


@pytest.mark.parametrize("degrees", [20, 60, 100])
def test_reflow_keeps_a_map_whose_lines_do_not_meet(degrees):
    m = root(B) @ turn(degrees)
    pairs = GaussianCoupling.of_map(EYE, m)
    assert pairs.excess > 0.1
    assert torch.allclose(rectified(pairs).matrix, m, atol=1e-10)


@pytest.mark.parametrize("degrees", [20, 60, 100])
def test_gradients_keep_both_laws_and_lower_the_excess(degrees):
    pairs = GaussianCoupling.of_map(EYE, root(B) @ turn(degrees))
    once = gradient_rectified(pairs)
    assert torch.allclose(once.matrix @ once.matrix.mT, B, atol=1e-9)
    assert 0 < once.excess < pairs.excess / 20


def test_gradient_velocity_of_the_optimal_map_is_its_own():
    monge = gaussian_monge_map(torch.zeros(2), A, torch.zeros(2), B).matrix
    pairs = GaussianCoupling.of_map(A, monge)
    assert torch.allclose(gradient_rectified(pairs).matrix, monge, atol=1e-9)
    assert torch.allclose(rectified(pairs).matrix, monge, atol=1e-9)


def test_rectification_does_not_depend_on_linear_coordinates(generator):
    """Reflow commutes with any linear change of both ends; gradients only with rotations."""
    pairs = GaussianCoupling(A, B, 0.3 * turn(40) @ A)
    change = torch.randn(2, 2, dtype=torch.float64, generator=generator)
    for function, c in ((rectified, change), (gradient_rectified, turn(25))):
        ends = [c @ s @ c.mT for s in (pairs.source, pairs.target)]
        moved = GaussianCoupling(*[(s + s.mT) / 2 for s in ends], c @ pairs.cross @ c.mT)
        assert torch.allclose(function(moved).cross, c @ function(pairs).cross @ c.mT, atol=1e-8)


@pytest.mark.parametrize("degrees", [150, 180])
def test_where_lines_meet_there_is_no_rectified_flow(degrees):
    m = turn(30) @ torch.diag(torch.tensor([2.0, 0.5], dtype=torch.float64)) @ turn(-30)
    pairs = GaussianCoupling.of_map(EYE, m @ turn(degrees))
    least, t = pairs.least_variance()
    negative = torch.linalg.eigvals(pairs.matrix).real
    assert min(abs(t - 1 / (1 - negative))) < 1e-6 and abs(least) < 1e-12
    for function in (rectified, gradient_rectified):
        with pytest.raises(ValueError, match="singular covariance at t = 0"):
            function(pairs)
    assert rectified(pairs, 0.5).excess < pairs.excess  # noise opens the way


def test_noise_makes_a_rectified_coupling_random():
    found = rectified(GaussianCoupling.independent(A, B), 0.5)
    left = found.target - found.matrix @ found.source @ found.matrix.mT
    assert float(torch.linalg.eigvalsh(left)[0]) > 0.01
