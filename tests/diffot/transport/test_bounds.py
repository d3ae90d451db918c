import math
from functools import cache

import numpy as np
import ot
import pytest
import torch
from scipy import stats

from diffot.flows.exact import ExactFlow
from diffot.laws.examples import bent_pair
from diffot.laws.mixtures import GaussianMixture, thesis_mixture
from diffot.transport import bounds
from diffot.transport.bounds import excess_bounds
from diffot.transport.gaussian import gaussian_monge_map
from diffot.transport.nodes import modes, nodes
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


def test_nodes_of_a_map_with_a_jump_integrate_moments_and_find_its_modes():
    """5 sign(z_1 - 0.2): mass Phi(-0.2) at -5."""
    place = torch.tensor([5.0, 0.0], dtype=torch.float64)
    part = nodes(lambda z: z / 9 + (z[:, :1] - 0.2).sign() * place, 0.25, 6.5, (0.3, 0.1), 4)
    assert part.side.min() == 0.25 / 16
    assert part.mean(part.z[:, 0] ** 2) == pytest.approx(1, abs=1e-4)
    assert part.mean((part.z**4).sum(1)) == pytest.approx(6, abs=2e-3)
    mode = modes(part)
    assert mode.max() == 1
    left = part.mass[part.x[:, 0] < 0].sum()
    assert left == pytest.approx(stats.norm.cdf(0.2), abs=4e-3)  # of a cell with side 0.016
    assert len(set(zip(mode, part.x[:, 0] > 0))) == 2


def test_no_symmetry_of_the_square_takes_one_grid_of_evaluation_to_another():
    """Centers are at 1/2 plus the offset, in cells, so that -a and 1 - a are the same place."""
    places = [tuple(sorted(min(a % 1, -a % 1) for a in offset)) for offset in bounds._OFFSETS]
    assert len({tuple(np.round(place, 6)) for place in places}) == len(places)


@pytest.mark.parametrize("spacing", [0.25, 0.15])
@pytest.mark.parametrize("place", [0.0, 0.33, 1.0])
def test_the_error_covers_that_of_a_map_with_a_jump(spacing, place):
    """E |<z, e> - s| for the direction e of any angle; even about the origin for s = 0. Its kink
    is that of the gap of a map with a jump. True: 2 density(s) - s (1 - 2 Phi(s))."""
    true = 2 * stats.norm.pdf(place) - place * (1 - 2 * stats.norm.cdf(place))
    parts = [nodes(lambda z: z, spacing, 6.0, offset) for offset in bounds._OFFSETS]
    angles = np.linspace(0, np.pi, 90, endpoint=False)
    found = [
        bounds._bound([p.mean(np.abs(p.z @ [np.cos(a), np.sin(a)] - place)) for p in parts])
        for a in angles
    ]
    off = np.array([abs(bound.value - true) for bound in found])
    error = np.array([bound.error for bound in found]) + 1e-6
    assert off.max() > 1e-4
    assert (off <= error).mean() > 2 / 3
    assert (off <= 3 * error).mean() > 0.85


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


def jump(z):
    """The gradient of 5 |z_1| + z_1^2 / 20 + z_2^2 / 4."""
    return torch.stack([5 * z[:, 0].sign() + 0.1 * z[:, 0], 0.5 * z[:, 1]], 1)


def test_a_turned_jump_has_the_excess_of_the_closed_form():
    """D(z) = T(U z), T optimal, U a rotation: <z, D(z)> has the mean cos(theta) E<z, T(z)>."""
    angle = 0.1
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    ).double()
    product = 5 * math.sqrt(2 / math.pi) + 0.1 + 0.5
    optimal = 2 + 25 + math.sqrt(2 / math.pi) + 0.01 + 0.25 - 2 * product
    excess = 2 * product * (1 - math.cos(angle)) / optimal
    bracket = excess_bounds(lambda z: jump(z @ turn.T), spacing=0.3, cells=16, rounds=2, splits=4)
    assert len(bracket.potential.pieces) == 2
    assert bracket.upper.value == pytest.approx(excess, rel=0.03)
    assert 0.6 * excess < bracket.lower.value < 1.01 * excess
    points = bracket.potential.decode(normal(2000, 4))
    wanted = jump(normal(2000, 4))
    assert (points - wanted).norm(dim=1).median() < 0.05


DIRECTIONS = torch.tensor([[1.2, 0.0], [-0.5, 1.1], [-0.6, -0.9]], dtype=torch.float64)


def soft_corner(z):
    """The gradient of log sum exp over directions, plus |z|^2 / 4."""
    return (z @ DIRECTIONS.T).softmax(1) @ DIRECTIONS + z / 2


@pytest.mark.parametrize("angle", [0.05, 0.2])
def test_a_turned_gradient_has_the_excess_of_an_independent_quadrature(angle):
    """D(z) = T(U z) with an optimal T and a rotation U: E<z, D(z)> = cos(angle) E<z, T(z)>, and
    both have the same image. By the Hermite rule, which shares nothing with the bracket's."""
    line, weight = np.polynomial.hermite_e.hermegauss(60)
    w = torch.cartesian_prod(*[torch.from_numpy(line)] * 2)
    mass = torch.from_numpy(np.outer(weight, weight).ravel() / (2 * np.pi))
    t = soft_corner(w)
    product = mass @ (w * t).sum(1)
    excess = float(2 * product * (1 - math.cos(angle)) / (mass @ ((w - t) ** 2).sum(1)))
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    ).double()
    bracket = excess_bounds(lambda z: soft_corner(z @ turn.T), spacing=0.25, cells=24)
    assert bracket.lower.value - bracket.lower.error <= excess * 1.0001
    assert excess * 0.9999 <= bracket.upper.value + bracket.upper.error
    assert bracket.upper.value < 1.1 * bracket.lower.value
    z = normal(2000, 6)
    off = (bracket.potential.decode(z) - soft_corner(z)).norm(dim=1)
    assert off.mean() < 0.05 * (soft_corner(z @ turn.T) - soft_corner(z)).norm(dim=1).mean()


def test_the_flow_of_a_product_with_far_modes_has_no_excess():
    """Four narrow Gaussians at the corners of a square; each coordinate's map increases."""
    flow = ExactFlow(thesis_mixture("Low2DSymMix"), 1e-9)
    bracket = excess_bounds(flow, spacing=0.3, cells=16, splits=3)
    assert len(bracket.potential.pieces) == 4
    assert -1e-12 < bracket.upper.value < 1e-5
    # even about the origin: grids that are mirror images would all be off by the same
    assert bracket.lower.value < 2 * bracket.lower.error + 1e-7
    assert bracket.lower.error < 1e-5
    z = normal(1000, 5)
    gaps = bracket.potential.gaps(z, flow.decode(z[torch.randperm(1000)]))
    assert gaps.min() > -1e-12


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
    "arguments", [{"spacing": 0}, {"cells": 4}, {"rounds": -1}, {"reach": 1}, {"splits": -1}]
)
def test_bad_numbers_are_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        excess_bounds(lambda z: z, **arguments)
