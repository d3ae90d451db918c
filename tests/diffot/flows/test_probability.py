"""The flow of any denoiser against the exact flow, closed forms and densities."""

import math

import pytest
import torch

from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.network import as_denoiser
from diffot.flows.exact import ExactFlow
from diffot.flows.maps import Map
from diffot.flows.probability import ProbabilityFlow
from diffot.laws.mixtures import GaussianMixture, equal_mixture, thesis_mixture
from diffot.processes.schedules import (
    Rectified,
    VarianceExploding,
    VariancePreserving,
    scaled_linear,
)
from diffot.samplers.ddim import invert
from diffot.samplers.higher_order import heun


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def largest(error):
    return float(error.abs().max())


def to_the_end():
    """A variance-preserving table at whose end no data are left."""
    signal = torch.cos(torch.linspace(0, math.pi / 2, 201, dtype=torch.float64)) ** 2
    return VariancePreserving("to the end", {}, signal.clamp(min=1e-24))


# --- one map for all schedules ----------------------------------------------------------------
SCHEDULES = {
    "preserving": to_the_end(),
    "exploding": VarianceExploding(T=1e9),
    "rectified": Rectified(),
}
LAW = GaussianMixture(
    [0.3, 0.7],
    [[1.0, -0.5], [-0.6, 0.4]],
    [[[0.6, 0.2], [0.2, 0.3]], [[0.4, -0.1], [-0.1, 0.8]]],
)
each = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


def flow_of(schedule, law=LAW, tolerance=1e-10):
    return ProbabilityFlow(ExactDenoiser(law, schedule), tolerance)


@each
def test_every_schedule_gives_the_exact_flow(schedule):
    flow, exact, z = flow_of(schedule), ExactFlow(LAW), normal(100, 2)
    x, jacobian = flow.decode_with_jacobian(z)
    expected, slopes = exact.decode_with_jacobian(z)
    assert largest(flow.decode(z) - expected) < 1e-6
    assert largest(x - expected) < 1e-6
    assert largest(jacobian - slopes) < 1e-6
    assert largest(flow.encode(expected) - z) < 1e-6


@each
@pytest.mark.parametrize("law", [LAW, thesis_mixture("Low1DMix")], ids=["plane", "line"])
def test_log_likelihood_is_the_log_density(schedule, law):
    x = law.sample(100, torch.Generator().manual_seed(1))
    assert largest(flow_of(schedule, law).log_likelihood(x) - law.log_prob(x)) < 1e-6


@each
def test_one_gaussian_in_closed_form(schedule):
    law = GaussianMixture([1.0], [[3.0, -1.0]], [[[2.0, 0.0], [0.0, 0.25]]])
    z = normal(50, 2)
    spreads = torch.tensor([2**0.5, 0.5], dtype=torch.float64)
    assert largest(flow_of(schedule, law).decode(z) - (law.means + spreads * z)) < 1e-6


# --- where data are left at time T ------------------------------------------------------------
SHORT = scaled_linear(1000, 1e-4, 0.02)


def test_the_true_prior_gives_the_true_likelihood_and_the_usual_one_does_not():
    denoiser = ExactDenoiser(LAW, scaled_linear(1000, 8.5e-4, 0.012))
    x = LAW.sample(50, torch.Generator().manual_seed(2))
    right = ProbabilityFlow(denoiser, 1e-10, denoiser.prior()).log_likelihood(x)
    assert largest(right - LAW.log_prob(x)) < 1e-6
    assert largest(ProbabilityFlow(denoiser, 1e-10).log_likelihood(x) - LAW.log_prob(x)) > 1e-3


def test_an_exploding_prior_is_measured_in_its_own_unit():
    denoiser = ExactDenoiser(LAW, VarianceExploding(T=5.0))
    x = LAW.sample(50, torch.Generator().manual_seed(2))
    flow = ProbabilityFlow(denoiser, 1e-10, denoiser.prior())
    assert largest(flow.log_likelihood(x) - LAW.log_prob(x)) < 1e-6


def test_samplers_with_many_steps_go_the_same_way():
    denoiser, z = ExactDenoiser(LAW, SHORT), normal(50, 2)
    flow = ProbabilityFlow(denoiser, 1e-10)
    x = flow.decode(z)
    errors = [
        float((heun(denoiser, z, steps) - x).square().mean().sqrt()) for steps in (100, 1000)
    ]
    assert errors[1] < 1e-4 and errors[1] < errors[0] / 10
    assert float((invert(denoiser, x, 1000) - z).square().mean().sqrt()) < 0.02


def test_latents_of_an_exploding_schedule_are_scaled_to_its_prior():
    schedule = VarianceExploding(T=20.0)
    denoiser, z = ExactDenoiser(LAW, schedule), normal(50, 2)
    x = ProbabilityFlow(denoiser, 1e-10).decode(z)
    error = heun(denoiser, schedule.prior_scale * z, 2000) - x
    assert float(error.square().mean().sqrt()) < 1e-4


def test_decode_undoes_encode():
    flow = flow_of(SHORT)
    x = LAW.sample(50, torch.Generator().manual_seed(3))
    assert largest(flow.decode(flow.encode(x)) - x) < 1e-6


def test_jacobian_against_finite_differences():
    flow, z, h = flow_of(SHORT, tolerance=1e-12), normal(20, 2), 1e-4
    columns = [
        (flow.decode(z + step) - flow.decode(z - step)) / (2 * h)
        for step in h * torch.eye(2, dtype=torch.float64)
    ]
    assert largest(flow.jacobian(z) - torch.stack(columns, 2)) < 1e-5


# --- Hutchinson's estimator -------------------------------------------------------------------
def test_the_estimate_is_unbiased_with_its_error():
    dim = 6
    means = normal(3, dim, seed=4)
    roots = normal(3, dim, dim, seed=5) / dim**0.5
    law = GaussianMixture(
        [0.2, 0.3, 0.5], means, roots @ roots.mT + 0.2 * torch.eye(dim, dtype=torch.float64)
    )
    flow = flow_of(Rectified(), law, 1e-8)
    x = law.sample(30, torch.Generator().manual_seed(6))
    value, error = flow.estimate_log_likelihood(x, 64, torch.Generator().manual_seed(7))
    deviation = (value - law.log_prob(x)) / error
    assert largest(deviation) < 4
    # ... and the errors are no larger than they have to be
    assert 0.6 < float(deviation.square().mean().sqrt()) < 1.5


def test_the_estimate_is_exact_where_jacobians_are_diagonal():
    law = equal_mixture([[0.0] * 4], 0.5)
    x = law.sample(5, torch.Generator().manual_seed(8))
    flow = flow_of(Rectified(), law)
    value, error = flow.estimate_log_likelihood(x, 2, torch.Generator())
    assert largest(value - law.log_prob(x)) < 1e-6 and largest(error) < 1e-9


# --- shapes, types and bad calls --------------------------------------------------------------
def test_images_are_mapped_entry_by_entry():
    """A denoiser of independent entries N(0, v), as images in float32."""
    variance, schedule = 0.25, Rectified()

    def clean(x, t):
        alpha, sigma = schedule.levels(t)
        return (alpha * variance / (alpha**2 * variance + sigma**2)).to(x) * x

    flow = ProbabilityFlow(as_denoiser(clean, schedule, "x0"), 1e-6)
    z = normal(4, 3, 2, 2).float()
    x = flow.decode(z)
    assert x.dtype == torch.float32 and x.shape == z.shape
    assert largest(x - variance**0.5 * z) < 1e-4
    assert largest(flow.jacobian(z) - variance**0.5 * torch.eye(12)) < 1e-4
    log_prob = torch.distributions.Normal(0, variance**0.5).log_prob(x).flatten(1).sum(1)
    assert largest(flow.log_likelihood(x) - log_prob) < 1e-3
    value, _ = flow.estimate_log_likelihood(x, 2, torch.Generator())
    assert largest(value - log_prob) < 1e-3


def test_inputs_are_left_alone_and_carry_no_gradient():
    z = normal(5, 2).requires_grad_(True)
    before = z.detach().clone()
    flow = flow_of(Rectified())
    assert not flow.decode(z).requires_grad and not flow.log_likelihood(z).requires_grad
    assert torch.equal(z.detach(), before)


def test_a_map_without_more_has_jacobians_by_differentiation_and_no_encoder():
    class Bent(Map):
        def decode(self, z):
            return torch.stack([z[:, 0] + z[:, 1] ** 2, z[:, 0] * z[:, 1], z[:, 1]], 1)

    z = normal(3, 2)
    one, zero = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    rows = [[one, 2 * z[:, 1]], [z[:, 1], z[:, 0]], [zero, one]]
    expected = torch.stack([torch.stack(row, 1) for row in rows], 1)
    torch.testing.assert_close(Bent().jacobian(z), expected)
    with pytest.raises(NotImplementedError, match="Bent has no encoder"):
        Bent().encode(z)
