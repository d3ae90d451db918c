import math

import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.stats import norm

from chapters.guidance import closed_forms, plane
from diffot.laws.mixtures import GaussianMixture
from diffot.laws.quasi_random import quasi_normal


def covariance(ratio, degrees, scale):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    whole = scale * turn @ torch.diag(torch.tensor([ratio**2, 1.0]).double()) @ turn.mT
    return (whole + whole.mT) / 2


WHOLE, PART = covariance(4, 0, 0.25), covariance(4, 45, 0.05)


@pytest.mark.parametrize("weight", [-0.5, 0.3, 1.0, 3.0])
def test_the_guided_matrix_of_commuting_covariances_is_a_product_of_powers(weight):
    whole, part = torch.diag(torch.tensor([2.0, 0.5]).double()), torch.eye(2).double()
    expected = whole ** ((1 - weight) / 2)
    matrix = closed_forms.guided_matrix(whole, part, weight)
    assert torch.allclose(matrix, torch.diag(expected.diagonal()), atol=1e-7)


@pytest.mark.parametrize("weight", [0.5, 2.0, 4.0])
def test_the_guided_matrix_solves_its_equation(weight):
    """dM/dr = r [(1-w) A (I + r²A)⁻¹ + w B (I + r²B)⁻¹] M, by another solver."""

    def rate(r, flat):
        identity = torch.eye(2, dtype=torch.float64)
        parts = [c @ torch.linalg.inv(identity + r**2 * c) for c in (WHOLE, PART)]
        bracket = (1 - weight) * parts[0] + weight * parts[1]
        return (r * bracket @ torch.from_numpy(flat).reshape(2, 2)).flatten().numpy()

    end = 1e5
    path = solve_ivp(rate, (0, end), [1, 0, 0, 1], "LSODA", rtol=1e-11, atol=1e-11)
    expected = torch.from_numpy(path.y[:, -1]).reshape(2, 2) / end
    matrix = closed_forms.guided_matrix(WHOLE, PART, weight)
    assert torch.allclose(matrix, expected, atol=1e-6)
    powers = torch.linalg.det(WHOLE) ** ((1 - weight) / 2), torch.linalg.det(PART) ** (weight / 2)
    assert float(torch.linalg.det(matrix)) == pytest.approx(float(math.prod(powers)), rel=1e-6)


def test_the_excess_of_a_linear_map_is_that_of_its_pairs():
    """Against the cost of pairs, and zero for symmetric positive matrices only."""
    matrix = torch.tensor([[1.5, 0.9], [-0.2, 0.7]], dtype=torch.float64)
    product = matrix @ matrix.mT
    spectrum, axes = torch.linalg.eigh(product)
    root = axes @ torch.diag(spectrum.sqrt()) @ axes.mT
    paired, best = (2 + product.trace() - 2 * m.trace() for m in (matrix, root))
    assert closed_forms.linear_excess(matrix) == pytest.approx(float(paired / best) - 1)
    assert abs(closed_forms.linear_excess(root)) < 1e-12


@pytest.mark.parametrize("weight", [0.05, 0.25, 0.45])
def test_the_separatrix_divides_latents_followed_forward(weight):
    def end(z):
        def rate(rho, z):
            return (1 - weight) * math.tanh(min(rho * z[0], 300.0)) + weight

        path = solve_ivp(lambda rho, z: [rate(rho, z)], (0, 60), [z], rtol=1e-10, atol=1e-12)
        return path.y[0, -1]

    expected = brentq(end, -1.5, 0.5, xtol=1e-6)
    assert closed_forms.separatrix(weight) == pytest.approx(expected, abs=1e-5)


def test_the_separatrix_is_refused_where_there_is_none():
    with pytest.raises(ValueError, match="weight"):
        closed_forms.separatrix(0.5)


def test_the_tilted_law_of_a_distant_mode_is_that_mode():
    case = plane.condition("near mode of L.1b")
    law = plane.tilted(case, 0.5, 300)
    assert law.share.value == pytest.approx(1, abs=1e-9)
    assert law.mean == pytest.approx((3.0, 3.0), abs=1e-9)
    assert law.trace == pytest.approx(0.2, abs=1e-9)


def test_tilting_by_0_and_1_gives_the_law_and_the_class():
    case = plane.condition("two of four")
    whole, part = plane.tilted(case, 0, 400), plane.tilted(case, 1, 400)
    assert whole.mean == pytest.approx(tuple(case.law.mean.tolist()), abs=1e-9)
    assert whole.trace == pytest.approx(float(case.law.covariance.trace()), abs=1e-8)
    assert part.mean == pytest.approx(tuple(case.part.mean.tolist()), abs=1e-9)
    draws = case.part.sample(20_000, torch.Generator().manual_seed(0))
    inside = float((case.probability(draws) > 0.5).double().mean())
    assert part.share.value == pytest.approx(inside, abs=0.005)


def test_the_tilted_law_on_a_line_is_that_of_direct_quadrature():
    law = GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], [[[0.36]], [[0.36]]])
    case = plane.Condition(law, (1,))
    x = torch.linspace(-6, 8, 20_001, dtype=torch.float64)
    density = sum(torch.exp(-((x - m) ** 2) / 0.72) for m in (-1, 1))
    probability = torch.sigmoid(2 * x / 0.36)
    mass = density * probability**4
    assert plane.tilted(case, 4, 2000).mean[0] == pytest.approx(
        float((mass * x).sum() / mass.sum()), abs=1e-8
    )


def test_destinations_name_the_mode_or_nothing():
    case = plane.condition("near mode of L.1b")
    x = torch.tensor([[3.1, 2.9], [-5, 5.2], [1.0, 1.0], [5, -5]], dtype=torch.float64)
    assert case.destination(x).tolist() == [0, 1, -1, 3]


def test_stranded_points_settle_where_the_two_estimates_balance():
    case = plane.condition("near mode of L.1b")
    x = case.flow(0.25).decode(quasi_normal(64, 2, torch.Generator().manual_seed(1)))
    place, distance = case.settled(x, 0.25)
    assert set(place.tolist()) == {0, 1, 2, 3}
    # a round Gaussian of variance 0.1 around each place
    assert float(distance.quantile(0.9)) < 1.0
    assert float(distance.median()) == pytest.approx(math.sqrt(0.2 * math.log(2)), abs=0.1)


def test_a_class_of_two_modes_has_no_one_place():
    case = plane.condition("two of four")
    with pytest.raises(ValueError, match="2 components"):
        case.settled(torch.zeros(1, 2, dtype=torch.float64), 0.5)


def test_the_columns_of_the_class_alone():
    """With the weight 1 the flow is that of the class, a round Gaussian: a scaled identity."""
    case = plane.condition("one of four")
    sets = [quasi_normal(256, 2, torch.Generator().manual_seed(k)) for k in range(3)]
    row = plane.flow_columns(case, case.flow(1.0), sets)
    assert row["trace"] == pytest.approx(0.72, rel=0.02)
    assert row["mean"] == pytest.approx(1.0, abs=0.01)
    assert row["asymmetry"] < 1e-6 and row["folded"] == 0
    assert row["left"] == 0 and row["entered"] > 0
    assert row["share"] == pytest.approx(plane.tilted(case, 1).share.value, abs=0.01)


def test_an_interval_of_all_levels_is_guidance_everywhere():
    every = plane.IntervalTask("one of four", 2.0, 0.0, 1e6, 32, 2)
    whole = plane.WeightTask("one of four", 2.0, 32, 2)
    limited, guided = plane.measure_interval(every), plane.measure_weight(whole)
    assert limited["share"] == guided["share"]
    assert limited["trace"] == pytest.approx(guided["trace"], rel=1e-3)


def test_shares_of_two_far_modes_are_those_of_the_separatrix():
    law = GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], [[[1e-3]], [[1e-3]]])
    flow = plane.Condition(law, (1,)).flow(0.25)
    z = torch.linspace(-0.6, -0.1, 51, dtype=torch.float64)
    ends = flow.decode(z[:, None])[:, 0]
    first = float(z[ends > 0.25].min())
    assert norm.cdf(-first) == pytest.approx(norm.cdf(-closed_forms.separatrix(0.25)), abs=0.02)


@pytest.mark.parametrize(
    ("task", "arguments", "says"),
    [
        (plane.WeightTask, ("far mode", 1.0, 64, 2), "condition"),
        (plane.WeightTask, ("one of four", math.nan, 64, 2), "weight"),
        (plane.WeightTask, ("one of four", -1.0, 64, 2), "weight"),
        (plane.WeightTask, ("one of four", 1.0, 64, 1), "sets"),
        (plane.IntervalTask, ("one of four", 1.0, 2.0, 1.0, 64, 2), "high"),
        (plane.BracketTask, ("one of four", 1.0, 0.0, 12), "spacing"),
        (plane.BracketTask, ("one of four", 1.0, 0.2, 4), "cells"),
    ],
)
def test_bad_tasks(task, arguments, says):
    with pytest.raises((TypeError, ValueError), match=says):
        task(*arguments)
