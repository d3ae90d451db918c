"""The probability-flow map against closed forms, quantiles, densities and finite differences."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, special

from diffot.flows import exact, ode
from diffot.flows.exact import ExactFlow
from diffot.laws.mixtures import GaussianMixture, equal_mixture, thesis_mixture

THESIS = ["Low1DMix", "Low2DSymMix", "Low2DASymMix", "Low2DUnimodal", "Low2DBimodal"]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed):
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def random_covariance(dim, seed):
    root = normal(dim, dim, seed=seed)
    return root @ root.T / dim + 0.1 * torch.eye(dim, dtype=torch.float64)


def bent_mixture():
    """Off-center, unequal weights, oblique and different covariances, three dimensions."""
    covariances = torch.stack([random_covariance(3, seed) for seed in (11, 12, 13)])
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    return GaussianMixture(weights, 4 + 1.5 * normal(3, 3, seed=14), covariances)


def largest(error):
    return float(error.abs().max())


def log_normal(z):
    return -0.5 * (z**2).sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)


def quantile_map(mixture, z):
    """The x with CDF(x) = Phi(z) for one point and a one-dimensional mixture."""
    w, m = mixture.weights.numpy(), mixture.means[:, 0].numpy()
    sd = mixture.covariances[:, 0, 0].sqrt().numpy()
    side = -1 if z > 0 else 1  # the smaller of the two tails keeps its digits

    def miss(x):
        return w @ special.ndtr(side * (x - m) / sd) - special.ndtr(side * z)

    low, high = (m - 12 * sd).min(), (m + 12 * sd).max()
    return optimize.brentq(miss, low, high, xtol=1e-14, rtol=1e-14)


# --- the map itself ---------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_gaussian_is_whitened(dim):
    covariance, mean = random_covariance(dim, seed=dim), 10 + normal(dim, seed=20 + dim)
    law = GaussianMixture(torch.ones(1), mean[None], covariance[None])
    x = law.sample(500, seeded(1))
    spectrum, axes = torch.linalg.eigh(covariance)
    whitening = axes @ torch.diag(spectrum**-0.5) @ axes.T
    z = (x - mean) @ whitening
    assert largest(ExactFlow(law).encode(x) - z) < 1e-9
    assert largest(ExactFlow(law).decode(z) - x) < 1e-9
    assert largest(ExactFlow(law).jacobian(z) - torch.linalg.inv(whitening)) < 1e-9


@pytest.mark.parametrize("center", [0.0, 10.0])
def test_one_dimension_is_the_quantile_map(center):
    law = thesis_mixture("Low1DMix")
    law = GaussianMixture(law.weights, law.means + center, law.covariances)
    z = torch.linspace(-5, 5, 201, dtype=torch.float64)[:, None]
    x = torch.tensor([[quantile_map(law, v)] for v in z[:, 0].tolist()], dtype=torch.float64)
    assert largest(ExactFlow(law).decode(z) - x) < 1e-9
    assert largest(ExactFlow(law).encode(x) - z) < 1e-9


def test_product_law_flows_by_coordinate():
    law = thesis_mixture("Low2DSymMix")
    one = equal_mixture([[-5.0], [5.0]], 0.1)
    z = normal(100, 2, seed=7)
    z[:, 1] = z[:, 1].abs() + 0.05  # both off the axes of symmetry
    z[:, 0] = -z[:, 0].abs() - 0.05
    expected = torch.tensor(
        [[quantile_map(one, v) for v in row] for row in z.tolist()], dtype=torch.float64
    )
    assert largest(ExactFlow(law).decode(z) - expected) < 1e-9


@pytest.mark.parametrize("name", THESIS)
def test_decode_undoes_encode_on_the_thesis_mixtures(name):
    law = thesis_mixture(name)
    x = law.sample(4000, seeded(0))
    assert largest(ExactFlow(law).decode(ExactFlow(law).encode(x)) - x) < 1e-9


def test_decode_undoes_encode_in_three_dimensions():
    law = bent_mixture()
    x = law.sample(2000, seeded(1))
    assert largest(ExactFlow(law).decode(ExactFlow(law).encode(x)) - x) < 1e-9


def test_shift_and_scale_of_the_law_pass_through():
    law = bent_mixture()
    shift, scale = torch.tensor([100.0, -30.0, 7.0], dtype=torch.float64), 50.0
    moved = GaussianMixture(law.weights, scale * law.means + shift, scale**2 * law.covariances)
    z = normal(200, 3, seed=8)
    expected = scale * ExactFlow(law).decode(z) + shift
    assert largest(ExactFlow(moved).decode(z) - expected) < 1e-9 * scale


def test_map_is_the_flow_of_the_score():
    # An independent integration of dx/dt = -x - score from t = 0 by classical Runge-Kutta,
    # with the score of the mixture class, ends where the flow of x_t's law starts.
    law = equal_mixture([[1.0, 0.3], [-0.8, 0.5], [0.2, -1.0]], [0.5, 0.7, 0.4])
    x = start = law.sample(50, seeded(2))

    def velocity(t, x):
        x = x.requires_grad_(True)
        later = law.marginal(math.exp(-t), (1 - math.exp(-2 * t)) ** 0.5)
        score = torch.autograd.grad(later.log_prob(x).sum(), x)[0]
        return (-x - score).detach()

    steps = 200
    h = 0.5 / steps
    for i in range(steps):
        t = i * h
        k1 = velocity(t, x.detach())
        k2 = velocity(t + h / 2, x.detach() + h / 2 * k1)
        k3 = velocity(t + h / 2, x.detach() + h / 2 * k2)
        k4 = velocity(t + h, x.detach() + h * k3)
        x = x.detach() + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    later = law.marginal(math.exp(-0.5), (1 - math.exp(-1)) ** 0.5)
    assert largest(ExactFlow(later).encode(x) - ExactFlow(law).encode(start)) < 1e-8


def test_tolerance_controls_the_error():
    law = thesis_mixture("Low2DASymMix")
    z = normal(100, 2, seed=9)
    fine = ExactFlow(law).decode(z)
    flows = [ExactFlow(law, tolerance) for tolerance in (1e-3, 1e-6, 1e-9)]
    errors = [largest(flow.decode(z) - fine) for flow in flows]
    assert errors[0] > 30 * errors[1] > 900 * errors[2] > 0


def test_points_do_not_depend_on_the_batch(monkeypatch):
    flow = ExactFlow(thesis_mixture("Low2DASymMix"))
    z = normal(50, 2, seed=10)
    together = flow.decode(z), flow.jacobian(z), flow.log_likelihood(flow.decode(z))
    monkeypatch.setattr(exact, "_CHUNK", 7 * 8)
    apart = flow.decode(z), flow.jacobian(z), flow.log_likelihood(flow.decode(z))
    for a, b in zip(together, apart):
        assert largest((a - b) / (1 + b.abs())) < 1e-9


def test_float32_is_computed_in_float64():
    law = thesis_mixture("Low2DBimodal")
    z = normal(20, 2, seed=3).float()
    x = ExactFlow(law).decode(z)
    assert x.dtype == torch.float32
    assert torch.equal(x, ExactFlow(law).decode(z.double()).float())
    assert torch.equal(ExactFlow(law).encode(x), ExactFlow(law).encode(x.double()).float())


# --- derivatives and densities ----------------------------------------------------------------


@pytest.mark.parametrize(
    "law", [thesis_mixture("Low2DBimodal"), bent_mixture()], ids=["L2b", "3d"]
)
def test_jacobian_against_finite_differences(law):
    z, flow = normal(40, law.dim, seed=4), ExactFlow(law)
    h = 1e-4
    columns = []
    for step in h * torch.eye(law.dim, dtype=torch.float64):
        near = (flow.decode(z + step) - flow.decode(z - step)) / (2 * h)
        wide = (flow.decode(z + 2 * step) - flow.decode(z - 2 * step)) / (4 * h)
        columns.append((4 * near - wide) / 3)
    differences = torch.stack(columns, 2)
    exact = flow.jacobian(z)
    assert largest((exact - differences) / exact.abs().amax((1, 2), keepdim=True)) < 1e-6


@pytest.mark.parametrize("name", THESIS)
def test_determinant_is_the_ratio_of_densities(name):
    law = thesis_mixture(name)
    x = law.sample(1000, seeded(5))
    z = ExactFlow(law).encode(x)
    log_volume = torch.linalg.slogdet(ExactFlow(law).jacobian(z))[1]
    assert largest(log_normal(z) - law.log_prob(x) - log_volume) < 1e-8


def test_determinant_is_the_ratio_of_densities_in_three_dimensions():
    law = bent_mixture()
    z = normal(500, 3, seed=15)
    log_volume = torch.linalg.slogdet(ExactFlow(law).jacobian(z))[1]
    assert largest(log_normal(z) - law.log_prob(ExactFlow(law).decode(z)) - log_volume) < 1e-8


@pytest.mark.parametrize("name", THESIS)
def test_log_likelihood_is_the_log_density(name):
    law = thesis_mixture(name)
    x = law.sample(1000, seeded(6))
    assert largest(ExactFlow(law).log_likelihood(x) - law.log_prob(x)) < 1e-8


def test_log_likelihood_off_the_mixture():
    # In the gap between modes and far outside, where no sample falls.
    law = bent_mixture()
    x = law.mean + 8 * normal(300, 3, seed=16)
    assert largest(ExactFlow(law).log_likelihood(x) / law.log_prob(x) - 1) < 1e-9


def test_product_law_has_a_diagonal_jacobian():
    law = thesis_mixture("Low2DSymMix")
    J = ExactFlow(law).jacobian(ExactFlow(law).encode(law.sample(1000, seeded(7))))
    off_diagonal = J * (1 - torch.eye(2, dtype=torch.float64))
    assert largest(off_diagonal / J.abs().amax((1, 2), keepdim=True)) < 1e-9
    # ... and a law that is no product has none: the check above can fail.
    other = thesis_mixture("Low2DASymMix")
    J = ExactFlow(other).jacobian(ExactFlow(other).encode(other.sample(1000, seeded(7))))
    assert largest(J[:, 0, 1] / J[:, 0, 0]) > 1e-2


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["decode", "encode", "jacobian", "log_likelihood"])
def test_bad_input_is_named(method):
    function = getattr(ExactFlow(thesis_mixture("Low2DBimodal")), method)
    good = torch.zeros(3, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"has shape \(3, 1\); expected \(B, 2\)"):
        function(good[:, :1])
    with pytest.raises(ValueError, match=r"has shape \(2,\); expected \(B, 2\)"):
        function(good[0])
    with pytest.raises(ValueError, match="no points; expected at least one row"):
        function(good[:0])
    with pytest.raises(TypeError, match=r"is torch\.int64 .*; expected a floating-point tensor"):
        function(good.long())
    with pytest.raises(ValueError, match="1 values that are NaN or infinite"):
        function(torch.tensor([[0.0, math.nan]]))


@pytest.mark.parametrize("tolerance", [0, -1e-9, math.nan, 1.0])
def test_a_bad_tolerance_is_named(tolerance):
    with pytest.raises(
        ValueError, match=r"tolerance is .*; expected a number above 0 and below 1"
    ):
        ExactFlow(thesis_mixture("Low2DBimodal"), tolerance)


def test_overflow_is_an_error_not_a_hang():
    # On the ridge between narrow modes far apart the Jacobian is of the order exp(5e7).
    law = equal_mixture([[-100.0, 0.0], [100.0, 0.0]], 1e-4)
    with pytest.raises(RuntimeError, match=r"is not finite at s = .* Jacobian overflows"):
        ExactFlow(law, tolerance=1e-3).jacobian(torch.zeros(1, 2, dtype=torch.float64))
    with pytest.raises(RuntimeError, match="a point lies too far out"):
        ExactFlow(law).decode(torch.full((1, 2), 1e200, dtype=torch.float64))


def test_a_solver_that_gives_up_is_an_error(monkeypatch):
    class Stuck(ode.DOP853):
        def _step_impl(self):
            return False, self.TOO_SMALL_STEP

    monkeypatch.setattr(ode, "DOP853", Stuck)
    with pytest.raises(RuntimeError, match=r"could not be followed past s = 0 .*step size"):
        ExactFlow(thesis_mixture("Low2DBimodal")).decode(torch.zeros(1, 2, dtype=torch.float64))


def test_inputs_are_left_alone_and_carry_no_gradient():
    law = thesis_mixture("Low2DBimodal")
    z = normal(5, 2, seed=17).requires_grad_(True)
    before = z.detach().clone()
    assert not ExactFlow(law).decode(z).requires_grad
    assert torch.equal(z.detach(), before)
    assert np.array_equal(law.means.numpy(), thesis_mixture("Low2DBimodal").means.numpy())
