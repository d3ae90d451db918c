import math
from functools import cache

import numpy as np
import ot
import pytest
import torch
from scipy import stats

from diffot.flows.exact import ExactFlow
from diffot.laws.examples import bent_pair
from diffot.laws.mixtures import GaussianMixture
from diffot.transport import bounds
from diffot.transport.bounds import excess_bounds
from diffot.transport.gaussian import gaussian_monge_map
from diffot.transport.nodes import nodes
from diffot.transport.surfaces import Surface

BENT = bent_pair()
ROUND = GaussianMixture(
    [0.4, 0.6], [[0.8, 0.3], [-0.5, 0.1]], [[[0.5, 0.1], [0.1, 0.6]], [[0.7, -0.2], [-0.2, 0.4]]]
)


@cache
def bracket_of_round():
    return excess_bounds(ExactFlow(ROUND, 1e-9), spacing=0.3, cells=16)


def normal(n, seed=0):
    return torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_surfaces_reproduce_polynomials_and_their_derivatives():
    surface = Surface.flat(np.array([-1.0, 0.0]), np.array([2.0, 1.5]), 6)
    y = np.random.default_rng(0).uniform([-1, 0], [2, 1.5], (400, 2))
    a, b = y.T
    design = surface.design(y)
    rows = design.matrix(design.value).toarray()
    found = surface.plus(np.linalg.lstsq(rows, a**3 * b - 2 * b**4, rcond=None)[0])
    value, slope, hessian = found.jet(y)
    assert np.allclose(value, a**3 * b - 2 * b**4, atol=1e-9)
    assert np.allclose(found.value(y), value, atol=1e-12)
    assert np.allclose(slope, np.stack([3 * a**2 * b, a**3 - 8 * b**3], 1), atol=1e-7)
    assert np.allclose(hessian[:, 0, 1], 3 * a**2, atol=1e-5)
    assert np.allclose(hessian[:, 1, 1], -24 * b**2, atol=1e-5)
    curvature = design.matrix(design.curvatures[2]) @ found.coefficients.ravel()
    assert np.allclose(curvature, hessian[:, 1, 1], atol=1e-8)


def test_nodes_integrate_moments():
    part = nodes(lambda z: z, 0.3, 6.5, (0.2, 0.7))
    assert part.mean(part.z[:, 0] ** 2) == pytest.approx(1, abs=1e-7)
    assert part.mean((part.z**4).sum(1)) == pytest.approx(6, abs=1e-5)


def test_a_linear_map_of_a_gaussian_has_no_excess():
    mean, covariance = torch.tensor([3.0, -1.0]), torch.tensor([[2.0, 0.9], [0.9, 0.6]])
    monge = gaussian_monge_map(torch.zeros(2), torch.eye(2), mean, covariance)
    bracket = excess_bounds(monge, spacing=0.3, cells=12)
    assert abs(bracket.upper.value) < 1e-12
    assert bracket.lower.value == 0
    z = normal(200)
    assert (bracket.potential.decode(z) - monge.decode(z)).abs().max() < 1e-6


def test_a_turned_linear_map_has_the_excess_of_the_closed_form():
    """D(z) = A z with A = S U, U a rotation: the optimal cost is that of S."""
    angle = 0.3
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    ).double()
    stretch = torch.diag(torch.tensor([2.0, 0.7], dtype=torch.float64))
    bracket = excess_bounds(lambda z: z @ (stretch @ turn).T, spacing=0.2, cells=12)
    identity = torch.eye(2, dtype=torch.float64)
    optimal = float((stretch - identity).square().sum())
    excess = float((stretch @ turn - identity).square().sum()) / optimal - 1
    assert bracket.upper.value == pytest.approx(excess, rel=1e-6)
    assert bracket.lower.value == pytest.approx(excess, rel=1e-2)
    assert bracket.lower.value <= excess * (1 + 1e-4)


def test_a_product_of_increasing_maps_has_no_excess():
    """Each coordinate by the quantile function of a mixture in one dimension."""
    grid = torch.linspace(-9, 9, 20_001, dtype=torch.float64).numpy()
    cdf = 0.4 * stats.norm.cdf(grid, -1, 0.7) + 0.6 * stats.norm.cdf(grid, 0.8, 0.6)

    def decode(z):
        u = stats.norm.cdf(z.numpy())
        return torch.from_numpy(np.interp(u, cdf, grid))

    bracket = excess_bounds(decode, spacing=0.3, cells=24)
    assert 0 <= bracket.upper.value < 3e-4
    assert abs(bracket.lower.value) < 1e-4


def test_lower_stays_below_upper_and_both_are_near():
    bracket = bracket_of_round()
    margin = bracket.lower.error + bracket.upper.error
    assert 0 < bracket.lower.value <= bracket.upper.value + margin
    assert bracket.upper.value < 2 * bracket.lower.value


def test_gaps_are_never_negative_but_those_of_a_conjugate_over_a_sample_are():
    potential = bracket_of_round().potential
    z = normal(1500, 1)
    x = ExactFlow(ROUND).decode(z)
    assert potential.gaps(z, x).min() > -1e-12
    assert potential.gaps(z, x[torch.randperm(1500)]).min() > -1e-12
    sample = ExactFlow(ROUND).decode(normal(300, 2))
    sampled = (z @ sample.T - potential.value(sample)).amax(1)
    naive = potential.value(x) + sampled - (z * x).sum(1)
    assert naive.min() < -1e-3
    assert (sampled <= potential.conjugate(z) + 1e-12).all()


def test_the_potential_is_a_map_with_a_symmetric_jacobian():
    potential = bracket_of_round().potential
    z = normal(200, 3)
    x = potential.decode(z)
    assert (potential.encode(x) - z).abs().max() < 1e-8
    step = 1e-5 * torch.eye(2, dtype=torch.float64)
    columns = [(potential.decode(z + s) - potential.decode(z - s)) / 2e-5 for s in step]
    jacobian = potential.jacobian(z)
    assert (jacobian - torch.stack(columns, 2)).abs().max() < 1e-4
    assert (jacobian - jacobian.mT).abs().max() < 1e-9


def test_shift_unit_and_rotation():
    flow, first = ExactFlow(ROUND, 1e-9), bracket_of_round()

    def gap(bracket):
        upper = bracket.upper.value
        return upper / (1 + upper) * bracket.cost

    far = excess_bounds(lambda z: flow.decode(z) + 1e4, spacing=0.3, cells=16)
    assert gap(far) == pytest.approx(gap(first), rel=1e-3)
    larger = excess_bounds(lambda z: 50 * flow.decode(z), spacing=0.3, cells=16)
    assert gap(larger) == pytest.approx(50 * gap(first), rel=1e-2)  # fits end at a thousandth
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    turned = excess_bounds(lambda z: flow.decode(z @ quarter) @ quarter.T, spacing=0.3, cells=16)
    assert turned.upper.value == pytest.approx(first.upper.value, rel=0.05)


def cost_by_linear_program(flow, spacing=0.35):
    """Excess of the flow's pairs on a coarse grid, by network simplex."""
    part = nodes(flow.decode, spacing, 4.5)
    cost = ot.dist(part.z, part.x)
    return part.cost / ot.emd2(part.mass, part.mass, cost, numItermax=10**6) - 1


@pytest.mark.parametrize("law", [BENT, ROUND])
def test_a_linear_program_on_a_grid_does_not_exceed_the_bracket(law):
    """Between the nodes of a grid a coupling has less freedom than in the plane."""
    flow = ExactFlow(law, 1e-9)
    bracket = excess_bounds(flow, spacing=0.25, cells=24)
    assert cost_by_linear_program(flow) < bracket.upper.value * 1.1


def test_finite_fields_keep_the_normal_law():
    bracket, flow = bracket_of_round(), ExactFlow(ROUND, 1e-9)
    part = nodes(flow.decode, 0.1, 6.0)
    streams = Surface.flat(np.full(2, -7.0), np.full(2, 7.0), 40)
    field, _ = bounds._best_field(streams, part.z, part, bracket.potential)
    moved = bounds._follow(part.z, streams.plus(field))
    assert part.mean(((moved - part.z) ** 2).sum(1)) > 1e-5
    for test in (lambda x: x[:, 0], lambda x: x[:, 0] ** 2, lambda x: np.cos(x @ [1.0, 2.0])):
        assert abs(part.mean(test(moved) - test(part.z))) < 1e-6


@pytest.mark.parametrize(
    "arguments", [{"spacing": 0}, {"cells": 4}, {"rounds": -1}, {"reach": 1}]
)
def test_bad_numbers_are_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        excess_bounds(lambda z: z, **arguments)
