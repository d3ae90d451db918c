"""A denoiser that is asked about another schedule's points."""

import pytest
import torch

from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.rescaled import RescaledDenoiser
from diffot.processes import schedules
from diffot.samplers.ddim import ddim

TABLE = schedules.linear(1000, 1e-4, 0.02)
EXPLODING = schedules.VarianceExploding(200.0, 0.02)
OTHERS = (EXPLODING, schedules.Rectified(), schedules.cosine(100))


@pytest.mark.parametrize("schedule", OTHERS, ids=lambda schedule: schedule.name)
def test_it_is_the_exact_denoiser_of_the_other_schedule(oblique, schedule, generator):
    rescaled = RescaledDenoiser(ExactDenoiser(oblique, TABLE), schedule)
    exact = ExactDenoiser(oblique, schedule)
    x = 2 * torch.randn(6, 2, dtype=torch.float64, generator=generator)
    times = schedule.T * torch.linspace(0.01, 0.7, 6, dtype=torch.float64)
    for t in (float(times[2]), times):
        for name in ("denoise", "noise", "score"):
            ours, theirs = (getattr(d, name)(x, t) for d in (rescaled, exact))
            assert torch.allclose(ours, theirs, rtol=1e-7, atol=1e-9)


def test_samplers_make_the_same_points_of_the_same_ratios(oblique, generator):
    """DDIM depends on alpha / sigma alone."""
    exact = ExactDenoiser(oblique, TABLE)
    rescaled = RescaledDenoiser(exact, EXPLODING)
    times = TABLE.timesteps(20)
    alpha, sigma = TABLE.levels(times)
    z = torch.randn(5, 2, dtype=torch.float64, generator=generator)
    ratios = (sigma / alpha).tolist()
    points = ddim(rescaled, z / alpha[0], ratios)
    assert torch.allclose(points, ddim(exact, z, 20), rtol=1e-6, atol=1e-8)


def test_more_noise_than_there_is(oblique):
    rescaled = RescaledDenoiser(ExactDenoiser(oblique, TABLE), schedules.VarianceExploding(1e4))
    with pytest.raises(ValueError, match=r"noise is 1e\+04 times the data, more than the 157.4"):
        rescaled.denoise(torch.zeros(1, 2), 1e4)
