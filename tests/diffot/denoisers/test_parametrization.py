"""Four kinds of answers say the same, on every kind of schedule."""

import pytest
import torch

from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.guidance import GuidedDenoiser
from diffot.denoisers.network import NetworkDenoiser, as_denoiser
from diffot.denoisers.parametrization import PARAMETRIZATIONS
from diffot.learning.networks import MLP
from diffot.processes import schedules

KINDS = [
    schedules.linear(100, 1e-3, 0.1),
    schedules.VarianceExploding(20.0, 0.05),
    schedules.Rectified(),
]


@pytest.mark.parametrize("schedule", KINDS, ids=lambda s: s.name)
@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_targets_are_read_as_what_they_were_made_of(schedule, name, generator):
    kind = PARAMETRIZATIONS[name]
    x_0, noise = torch.randn(2, 30, 3, dtype=torch.float64, generator=generator)
    t = schedule.draw_times(30, generator) * 0.9
    levels = schedule.levels(t)
    alpha, sigma = (level[:, None] for level in levels)
    x, target = alpha * x_0 + sigma * noise, kind.target(schedule, x_0, noise, t)
    for factors, wanted in ((kind.clean, x_0), (kind.noise, noise)):
        of_x, of_target = (factor[:, None] for factor in factors(schedule, t, *levels))
        assert (of_x * x + of_target * target - wanted).abs().max() < 1e-10


@pytest.mark.parametrize("schedule", KINDS, ids=lambda s: s.name)
def test_readings_of_a_denoiser_are_targets_in_expectation(schedule, oblique, generator):
    """A function that answers with one reading of the exact denoiser is that denoiser."""
    exact = ExactDenoiser(oblique, schedule)
    readings = {
        "eps": exact.noise, "x0": exact.denoise, "v": exact.velocity, "flow": exact.flow_velocity
    }  # fmt: skip
    assert readings.keys() == PARAMETRIZATIONS.keys()
    x = torch.randn(20, 2, dtype=torch.float64, generator=generator)
    for t in (0.3 * schedule.T, 0.8 * schedule.T):
        for name, reading in readings.items():
            lifted = as_denoiser(reading, schedule, name)
            assert (lifted.denoise(x, t) - exact.denoise(x, t)).abs().max() < 1e-10
            assert (lifted.score(x, t) - exact.score(x, t)).abs().max() < 1e-10


def test_the_flow_moves_points_along_its_velocity(oblique, generator):
    """x_t of the probability flow of one Gaussian is m alpha + (root of its covariance) z."""
    law = oblique.posterior(torch.zeros(2), 0.1, 1.0)
    one = type(law)([1.0], law.means[:1], law.covariances[:1])
    spectrum, axes = torch.linalg.eigh(one.covariances[0])
    z = torch.randn(10, 2, dtype=torch.float64, generator=generator)

    def x(t):
        alpha, sigma = schedule.levels(t)
        return alpha * one.mean + (z * (alpha**2 * spectrum + sigma**2).sqrt()) @ axes.T

    for schedule in KINDS:
        exact, t, h = ExactDenoiser(one, schedule), 0.437 * schedule.T, 1e-5 * schedule.T
        moved = (x(t + h) - x(t - h)) / (2 * h)
        torch.testing.assert_close(exact.flow_velocity(x(t), t), moved, rtol=1e-6, atol=1e-8)


def test_noise_does_not_say_the_data_where_there_is_noise_only():
    x = torch.ones(3, 2)
    blind = as_denoiser(lambda x, t: x, schedules.Rectified(), "eps")
    with pytest.raises(ValueError, match="t = 1 an answer of the kind 'eps' does not say"):
        blind.denoise(x, 1.0)
    for name in ("x0", "v", "flow"):
        as_denoiser(lambda x, t: x, schedules.Rectified(), name).denoise(x, 1.0)
    with pytest.raises(ValueError, match=r"unknown parametrization 'epsilon'.*known: eps"):
        as_denoiser(lambda x, t: x, schedules.Rectified(), "epsilon")


@pytest.mark.parametrize("schedule", KINDS, ids=lambda s: s.name)
@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_a_denoiser_at_one_time_is_the_denoiser(schedule, name, generator):
    t = 0.4 * schedule.T
    x = torch.randn(20, 2, dtype=torch.float64, generator=generator)
    network = NetworkDenoiser(MLP(2, widths=[16]), schedule, name)
    guided = GuidedDenoiser(network, as_denoiser(lambda x, t: x.sin(), schedule, name), 1.5)
    for denoiser in (network, guided):
        with torch.no_grad():
            torch.testing.assert_close(denoiser.at(t)(x), denoiser.denoise(x, t))
        for wrong in (0, -1.0, 2 * schedule.T):
            with pytest.raises(ValueError, match="t"):
                denoiser.at(wrong)(x)
