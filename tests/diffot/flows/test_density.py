"""The flow of a density in the plane against the flow of mixtures, closed forms, quadrature."""

import math

import numpy as np
import pytest
import torch
from scipy import linalg

from chapters.random_densities.discretized import runge_kutta
from diffot.flows.density import DensityFlow
from diffot.flows.exact import ExactFlow
from diffot.laws.densities import QuarticMixture, random_density
from diffot.laws.mixtures import GaussianMixture


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def normal(n, seed):
    return torch.randn(n, 2, dtype=torch.float64, generator=seeded(seed))


def largest(error):
    return float(error.abs().max())


def twins(means, q1):
    """The same law as a density, by quadrature, and as a mixture of Gaussians."""
    means, q1 = (torch.tensor(a, dtype=torch.float64) for a in (means, q1))
    k = len(means)
    law = QuarticMixture(means, torch.zeros(k, 2), q1, torch.zeros(k, 2, 2))
    covariances = torch.linalg.inv(2 * q1)
    return law, GaussianMixture([1 / k] * k, means, (covariances + covariances.mT) / 2)


@pytest.fixture(scope="module")
def pair():
    return twins(
        [[2.0, 0.5], [-1.0, 0.8], [0.3, -1.2]],
        [[[1.2, 0.5], [0.5, 0.6]], [[0.8, -0.3], [-0.3, 1.5]], [[2.0, 0.2], [0.2, 0.5]]],
    )


@pytest.fixture(scope="module", params=["compact", "separated"])
def law(request):
    """Of fourth order, with four and with three components."""
    found = random_density(request.param, seeded({"compact": 8, "separated": 10}[request.param]))
    assert len(found.a1) > 2
    return found


# --- Where another module knows the answer ------------------------------------------------------


def test_infinite_time_agrees_with_the_flow_of_mixtures(pair):
    law, twin = pair
    x = law.sample(300, seeded(1))
    assert largest(DensityFlow(law, math.inf, 1e-11).encode(x) - ExactFlow(twin).encode(x)) < 1e-7
    z = normal(300, seed=2)
    assert largest(DensityFlow(law, math.inf, 1e-11).decode(z) - ExactFlow(twin).decode(z)) < 1e-7


@pytest.mark.parametrize("time", [0.3, 2.0, 8.0])
def test_finite_time_agrees_with_the_flow_of_mixtures(pair, time):
    """The law at time t is a mixture of Gaussians as well; both have the same latents."""
    law, twin = pair
    x = law.sample(300, seeded(3))
    later = twin.marginal(math.exp(-time), (1 - math.exp(-2 * time)) ** 0.5)
    expected = ExactFlow(later).decode(ExactFlow(twin).encode(x))
    assert largest(DensityFlow(law, time, 1e-11).encode(x) - expected) < 1e-7
    assert largest(DensityFlow(law, time, 1e-11).decode(expected) - x) < 1e-7


@pytest.mark.parametrize("time", [0.0, 0.4, 8.0, math.inf])
def test_one_gaussian_in_closed_form(time):
    law, twin = twins([[3.0, -1.0]], [[[0.9, 0.5], [0.5, 0.6]]])
    x = normal(50, seed=4) + law.mean
    alpha = math.exp(-time)
    covariance = twin.covariances[0].numpy()
    later = alpha**2 * covariance + (1 - alpha**2) * np.eye(2)
    matrix = torch.from_numpy(linalg.sqrtm(later) @ linalg.inv(linalg.sqrtm(covariance)))
    expected = alpha * twin.means[0] + (x - twin.means[0]) @ matrix.T
    assert largest(DensityFlow(law, time).encode(x) - expected) < 1e-8
    assert largest(DensityFlow(law, time).decode(expected) - x) < 1e-8


def test_jacobian_agrees_with_the_flow_of_mixtures(pair):
    law, twin = pair
    z = normal(100, seed=5)
    x, jacobian = DensityFlow(law, math.inf, 1e-9).decode_with_jacobian(z)
    expected_x, expected = ExactFlow(twin).decode_with_jacobian(z)
    assert largest(x - expected_x) < 1e-6
    assert largest(jacobian - expected) < 1e-5


# --- What a flow must do ------------------------------------------------------------------------


def test_determinant_is_the_ratio_of_densities(law):
    z = normal(200, seed=6)
    x, jacobian = DensityFlow(law, math.inf, 1e-9).decode_with_jacobian(z)
    log_normal = -(z**2).sum(1) / 2 - math.log(2 * math.pi)
    error = torch.linalg.slogdet(jacobian)[1] - (log_normal - law.log_prob(x))
    assert largest(error) < 1e-4
    assert float(error.square().mean().sqrt()) < 1e-6


@pytest.mark.parametrize("time", [0.5, 8.0, math.inf])
def test_decode_undoes_encode(law, time):
    x, flow = law.sample(500, seeded(7)), DensityFlow(law, time)
    error = (flow.decode(flow.encode(x)) - x).norm(dim=1)
    assert float(error.square().mean().sqrt()) < 1e-5


def test_defaults_are_accurate_and_finer_ones_more_so(law):
    x = law.sample(150, seeded(8))
    fine = DensityFlow(law, tolerance=1e-12, nodes=320).encode(x)

    def error(**settings):
        off = DensityFlow(law, **settings).encode(x) - fine
        return float(off.square().sum(1).mean().sqrt())

    assert error() < 1e-6
    by_tolerance = [error(tolerance=10.0**-k) for k in (3, 5, 7)]
    assert all(fine < coarse / 5 for coarse, fine in zip(by_tolerance, by_tolerance[1:]))
    by_nodes = [error(tolerance=1e-11, nodes=n) for n in (24, 48, 96)]
    assert all(fine < coarse / 5 for coarse, fine in zip(by_nodes, by_nodes[1:]))


def test_going_on_from_a_later_time_is_going_on(law):
    """dx/dt = -x - score in the plain coordinates, step by step, from time s to time t."""
    x = law.sample(100, seeded(9))
    times = np.linspace(0.2, 0.7, 101).tolist()
    on = runge_kutta(DensityFlow(law).score, DensityFlow(law, 0.2, 1e-11).encode(x), times)
    assert largest(on - DensityFlow(law, 0.7, 1e-11).encode(x)) < 1e-6


# --- The score ----------------------------------------------------------------------------------


def brute_force_score(law, x, time):
    """(alpha E[x_0 | x] - x) / sigma^2 by Gauss-Legendre over a window around each point."""
    alpha, variance = math.exp(-time), -math.expm1(-2 * time)
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(200))
    out = []
    for point in x:
        window = 12 * math.sqrt(variance) / alpha
        low = torch.maximum(law.box[0], point / alpha - window)
        high = torch.minimum(law.box[1], point / alpha + window)
        y = torch.cartesian_prod(*(a + (b - a) * (1 + nodes) / 2 for a, b in zip(low, high)))
        log_mass = law.log_prob(y) - ((point - alpha * y) ** 2).sum(1) / (2 * variance)
        mass = (log_mass - log_mass.max()).exp() * torch.outer(weights, weights).ravel()
        out.append((alpha * mass @ y / mass.sum() - point) / variance)
    return torch.stack(out)


@pytest.mark.parametrize("time", [1e-4, 1e-3, 0.01, 0.1, 1.0, 5.0])
def test_score_is_that_of_the_convolved_density(law, time):
    x = DensityFlow(law, time).encode(law.sample(10, seeded(10)))
    expected = brute_force_score(law, x, time)
    error = (DensityFlow(law, nodes=320).score(x, time) - expected) / (1 + expected.abs())
    assert largest(error) < 1e-7


def test_score_at_both_ends(law):
    x = law.sample(100, seeded(11))
    score = DensityFlow(law).score
    assert largest(score(x, 0.0) - law.score(x)) < 1e-12
    assert largest(score(x, math.inf) + x) < 1e-12


# --- What is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["encode", "decode", "decode_with_jacobian"])
def test_bad_points_are_named(pair, method):
    function = getattr(DensityFlow(pair[0]), method)
    for x, message in [
        (torch.zeros(3, 1), r"has shape \(3, 1\); expected \(B, 2\)"),
        (torch.zeros(2), r"has shape \(2,\); expected \(B, 2\)"),
        (torch.zeros(0, 2), "expected at least one row"),
        (torch.zeros(3, 2, dtype=torch.int64), "expected a floating-point tensor"),
        (torch.full((1, 2), math.nan), "2 values that are NaN or infinite"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            function(x)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"time": -1.0}, "time is -1; expected a number of at least 0"),
        ({"time": math.nan}, "time is nan; expected a number"),
        ({"tolerance": 0.0}, "tolerance is 0; expected a number above 0 and below 1"),
        ({"tolerance": math.nan}, "tolerance is nan"),
        ({"nodes": 15}, "nodes is 15; expected a whole number of at least 16"),
        ({"nodes": 160.0}, "nodes is 160.0.*; expected a whole number"),
    ],
)
def test_bad_settings_are_named(pair, settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        DensityFlow(pair[0], **settings)


def test_bad_input_of_the_score_is_named(pair):
    flow = DensityFlow(pair[0])
    with pytest.raises(ValueError, match=r"time is -0\.1; expected a number of at least 0"):
        flow.score(torch.zeros(1, 2), -0.1)
    with pytest.raises(ValueError, match=r"shape \(1, 3\)"):
        flow.score(torch.zeros(1, 3), 0.1)


def test_a_point_far_outside_is_an_error(pair):
    with pytest.raises(RuntimeError, match="a point lies too far out"):
        DensityFlow(pair[0]).encode(torch.tensor([[0.0, 0.0], [1e4, 0.0]]))


def test_inputs_are_left_alone_and_carry_no_gradient(pair):
    z = normal(5, seed=13).requires_grad_(True)
    before = z.detach().clone()
    assert not DensityFlow(pair[0]).decode(z).requires_grad
    assert torch.equal(z.detach(), before)
