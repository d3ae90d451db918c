"""Adversarial training: closed forms against other libraries, rates against known ones."""

import math

import numpy as np
import ot
import pytest
import torch
from scipy import stats
from torch.distributions import MultivariateNormal, kl_divergence
from torch.nn.functional import logsigmoid, softplus

from chapters.adversarial import affine, relaxation, steps

MEAN = torch.tensor([1.0, -0.5], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.5, 0.6], [0.6, 0.5]], dtype=torch.float64)
START = torch.tensor([[0.8, -0.3], [0.4, 1.1]], dtype=torch.float64)
ZERO = torch.zeros(2, dtype=torch.float64)


def test_training_goes_the_way_of_the_closed_form_and_ends_at_the_data():
    times = (0.0, 0.4, 2.0, 40.0)
    path = affine.trained(START, ZERO, MEAN, COVARIANCE, times)
    for time, covariance in zip(times, path.covariances):
        expected = affine.closed_covariance(START @ START.T, COVARIANCE, time)
        torch.testing.assert_close(covariance, expected, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(path.offsets[-1], MEAN, rtol=1e-8, atol=1e-8)


def test_a_short_time_of_training_climbs_the_gradient_of_the_mean_logit():
    """By autograd through the logit, which is held fixed, on many latents."""
    z = torch.randn(200_000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    start = START.clone().requires_grad_()
    made = MultivariateNormal(ZERO, START @ START.T)
    logit = MultivariateNormal(MEAN, COVARIANCE).log_prob(z @ start.T)
    mean = (logit - made.log_prob(z @ start.T)).mean()
    slope = torch.autograd.grad(mean, start)[0]
    path = affine.trained(START, ZERO, MEAN, COVARIANCE, (0.0, 1e-6))
    rate = (path.matrices[1] - path.matrices[0]) / 1e-6
    torch.testing.assert_close(rate, slope, rtol=0.02, atol=0.02)


def test_the_divergence_is_that_of_torch():
    found = affine.divergence((START @ START.T)[None], ZERO[None], MEAN, COVARIANCE)
    pair = MultivariateNormal(ZERO, START @ START.T), MultivariateNormal(MEAN, COVARIANCE)
    assert float(found) == pytest.approx(float(kl_divergence(*pair)))


def test_the_excess_is_that_over_the_distance_of_bures():
    matrix, identity = affine.turn(60) @ START, torch.eye(2, dtype=torch.float64)
    least = ot.gaussian.bures_wasserstein_distance(ZERO, MEAN, identity, matrix @ matrix.T) ** 2
    cost = (matrix - identity).square().sum() + MEAN.square().sum()
    assert affine.excess(matrix, MEAN) == pytest.approx(float(cost / least) - 1)


@pytest.mark.parametrize(
    ("name", "h"),
    [
        ("h(D) = D", lambda logit: logit),
        ("non-saturating", logsigmoid),
        ("minimax", softplus),
    ],
)
def test_slopes_are_those_of_the_objectives(name, h):
    logit = torch.linspace(-4, 4, 9, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(h(logit).sum(), logit)[0]
    np.testing.assert_allclose(affine.OBJECTIVES[name](logit.detach().numpy()), slope)


def test_on_a_line_the_mean_logit_gives_the_closed_form():
    times = np.array([0.0, 0.5, 2.0])
    a, b = np.sqrt(1 + (0.5**2 - 1) * np.exp(-2 * times)), 3 * np.exp(-times)
    found = affine.trained_on_a_line("h(D) = D", 0.5, 3.0, times)
    np.testing.assert_allclose(found, (a**2 + b**2 - 1) / 2 - np.log(a), atol=1e-8)


def test_a_gaussian_relaxes_as_the_process_of_ornstein_and_uhlenbeck():
    x = np.linspace(-9, 9, 901)
    flow = relaxation.Relaxation(-(x**2) / 2, x)
    np.testing.assert_allclose(flow.rates[:5], np.arange(5), atol=2e-3)
    start = stats.norm.pdf(x, 1.5, 0.6)
    start = start / start.sum()
    spread = math.sqrt(1 + (0.6**2 - 1) * math.exp(-2 * 0.7))
    expected = stats.norm.pdf(x, 1.5 * math.exp(-0.7), spread) * (x[1] - x[0])
    np.testing.assert_allclose(flow.after(start, 0.7), expected, atol=2e-5)


def test_the_divergence_falls_and_mass_stays():
    x = np.linspace(-6, 6, 301)
    flow = relaxation.Relaxation(np.logaddexp(-((x - 2) ** 2), -((x + 2) ** 2)), x)
    start = stats.norm.pdf(x, 1, 1)
    start = start / start.sum()
    later = [flow.after(start, t) for t in (0.0, 0.1, 1.0, 10.0, 100.0)]
    assert [masses.sum() for masses in later] == pytest.approx([1] * 5)
    divergences = [flow.divergence(masses) for masses in later]
    assert divergences == sorted(divergences, reverse=True)


def test_grids_are_even():
    with pytest.raises(ValueError, match="no even, increasing grid"):
        relaxation.Relaxation(np.zeros(3), np.array([0.0, 1.0, 3.0]))


def test_points_should_go_up_the_slope_of_the_discriminator():
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    goal = steps.goals(x, lambda x: x.square().sum(1, keepdim=True), 0.1)
    torch.testing.assert_close(goal, 1.2 * x)


def test_a_thousandth_of_the_law_strays():
    x = steps.law().sample(100_000, torch.Generator().manual_seed(3))
    assert steps.stray_share(x) == pytest.approx(1e-3, abs=4e-4)
    assert steps.stray_share(x + 100) == 1


def test_the_exact_path_is_that_of_training():
    start = torch.tensor([[steps.START[0]]], dtype=torch.float64)
    offset = torch.tensor([steps.START[1]], dtype=torch.float64)
    path = affine.trained(start, offset, torch.zeros(1), torch.eye(1).double(), (0.0, 1.5))
    found = steps.exact_path(1.5).double()
    assert float(found[0]) == pytest.approx(float(path.matrices[-1]), rel=1e-6)
    assert float(found[1]) == pytest.approx(float(path.offsets[-1]), rel=1e-6)


def test_tasks_refuse_what_they_cannot_measure():
    with pytest.raises(ValueError, match="loss"):
        steps.StepTask("follow", 0)
    with pytest.raises(ValueError, match="critic_steps is 0"):
        steps.CriticTask(0, 0)
