"""Errors, bounds and likelihoods of image models: closed forms for Gaussian laws."""

import math

import pytest
import torch

from chapters.equations import images
from chapters.equations.chain import steps_of
from diffot.denoisers.exact import ExactDenoiser
from diffot.laws.mixtures import GaussianMixture
from diffot.processes import schedules
from diffot.samplers.ddpm import ddpm

V = 0.3
SCHEDULE = schedules.linear(1000, 1e-4, 0.02)


def unknown(alpha, sigma):
    """The variance of x_0 ~ N(0, V) given x_t."""
    return V * sigma**2 / (alpha**2 * V + sigma**2)


def test_the_bound_of_a_gaussian_is_its_entropy_and_the_divergence_of_the_start():
    path = steps_of(SCHEDULE, 20)
    errors = [unknown(step.alpha, step.sigma) for step in path]
    spread = path[0].alpha ** 2 * V + path[0].sigma ** 2
    gap = (spread - 1 - math.log(spread)) / 2
    entropy = math.log(2 * math.pi * math.e * V) / 2
    assert images.bound(path, errors, V, "residual") == pytest.approx(entropy + gap, rel=1e-9)
    for kind in ("beta", "posterior"):
        assert images.bound(path, errors, V, kind) > entropy + gap + 1e-3


def test_the_best_variance_draws_a_gaussian_exactly_but_for_the_last_step():
    """Each reverse step of a Gaussian is Gaussian; the last one here adds no noise."""
    law = GaussianMixture([1.0], [[0.0]], [[[V]]])
    exact, steps = ExactDenoiser(law, SCHEDULE), 8
    z = torch.randn(200_000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    draws = torch.Generator().manual_seed(1)

    def error(x, t):
        return unknown(*(float(level) for level in SCHEDULE.levels(t)))

    drawn = {
        kind: float(ddpm(exact, z, draws, variance, steps).var())
        for kind, variance in (("residual", error), ("posterior", "posterior"))
    }
    last = steps_of(SCHEDULE, steps)[-1]
    expected = V - unknown(last.alpha, last.sigma)
    assert drawn["residual"] == pytest.approx(expected, abs=4 * V * (2 / 200_000) ** 0.5)
    assert drawn["posterior"] < 0.97 * expected


def test_an_error_for_each_entry_draws_every_coordinate_right():
    """Two coordinates of different variance, each with its own error."""
    variances = torch.tensor([V, 4 * V], dtype=torch.float64)
    law = GaussianMixture([1.0], [[0.0, 0.0]], variances.diag()[None])
    exact, steps = ExactDenoiser(law, SCHEDULE), 8
    z = torch.randn(100_000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def error(x, t):
        alpha, sigma = (float(level) for level in SCHEDULE.levels(t))
        own = variances * sigma**2 / (alpha**2 * variances + sigma**2)
        return own.expand_as(x)

    drawn = ddpm(exact, z, torch.Generator().manual_seed(1), error, steps).var(0)
    last = steps_of(SCHEDULE, steps)[-1]
    expected = variances - variances * last.sigma**2 / (last.alpha**2 * variances + last.sigma**2)
    assert torch.allclose(drawn, expected, rtol=4 * (2 / 100_000) ** 0.5)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (lambda x, t: torch.full_like(x, -1.0), "falls to -1"),
        (lambda x, t: torch.full_like(x, math.nan), "NaN"),
        (lambda x, t: torch.zeros(2), r"shape \(2,\)"),
    ],
)
def test_bad_errors_for_each_entry_are_refused(error, message):
    exact = ExactDenoiser(GaussianMixture([1.0], [[0.0]], [[[V]]]), SCHEDULE)
    with pytest.raises(ValueError, match=message):
        ddpm(exact, torch.zeros(2, 1), torch.Generator(), error, 4)


def test_the_error_follows_from_the_noise_if_the_mean_is_exact():
    alpha, sigma = 0.6, 0.8
    noise = sigma**2 / (alpha**2 * V + sigma**2)  # of the best estimate of the noise
    assert images.analytic_error(noise, alpha, sigma) == pytest.approx(unknown(alpha, sigma))


def test_bits_are_those_of_levels():
    """An image that is uniform over the 255 levels' whole range has eight bits, nearly."""
    log_density = torch.tensor([-784 * math.log(2 + images.LEVEL)])
    assert float(images.bits(log_density, 784)) == pytest.approx(8)


def test_a_negative_error_is_refused():
    law = GaussianMixture([1.0], [[0.0]], [[[V]]])
    with pytest.raises(ValueError, match="what variance returns"):
        ddpm(
            ExactDenoiser(law, SCHEDULE),
            torch.zeros(2, 1),
            torch.Generator(),
            lambda x, t: -1.0,
            4,
        )


def test_gaussians_have_their_own_bits():
    draws = torch.Generator().manual_seed(0)
    x = 0.5 * torch.randn(4000, 2, dtype=torch.float64, generator=draws)
    found = images.gaussian_bits(x[:2000], x[2000:])
    expected = images.bits(torch.tensor(-2 * math.log(2 * math.pi * math.e * 0.25) / 2), 2)
    assert found.value == pytest.approx(float(expected), abs=4 * found.error + 0.01)
