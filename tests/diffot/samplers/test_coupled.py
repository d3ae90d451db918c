"""EDICT: exact there and back, of first order on the way."""

from __future__ import annotations

import pytest
import torch

from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.network import as_denoiser
from diffot.flows.exact import ExactFlow
from diffot.laws.mixtures import equal_mixture, thesis_mixture
from diffot.learning import registry
from diffot.processes.schedules import Rectified, VarianceExploding, scaled_linear
from diffot.samplers.coupled import couple, uncouple
from diffot.samplers.ddim import ddim, invert

SCHEDULE = scaled_linear(1000, 1e-4, 0.02)
LAWS = {
    "apart": thesis_mixture("Low2DBimodal"),
    "overlapping": equal_mixture([[0.6, 0.0], [-0.6, 0.0]], 0.82),
}


def points(law, n: int = 200) -> torch.Tensor:
    return law.sample(n, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("steps", [1, 5, 50, 500])
@pytest.mark.parametrize("schedule", [SCHEDULE, VarianceExploding(80.0)], ids=["vp", "ve"])
@pytest.mark.parametrize("name", LAWS)
def test_back_at_the_start_only_rounding_is_left(name, schedule, steps):
    denoiser, x_0 = ExactDenoiser(LAWS[name], schedule), points(LAWS[name])
    latents = couple(denoiser, x_0, steps)
    for copy in uncouple(denoiser, latents, steps):
        assert (copy - x_0).abs().max() < 1e-9
    one_way = ddim(denoiser, invert(denoiser, x_0, steps), steps)
    assert (one_way - x_0).abs().max() > 1e-3


def test_a_network_in_single_precision_comes_back_as_well():
    denoiser = registry.load("Low2DASymMix")
    x_0 = points(thesis_mixture("Low2DASymMix")).float()
    latents = couple(denoiser, x_0, 20)
    assert latents[0].dtype == torch.float64
    back = uncouple(denoiser, latents, 20)[0]
    assert (back - x_0).abs().max() < 1e-4


def test_one_step_by_hand():
    denoiser = ExactDenoiser(LAWS["apart"], SCHEDULE)
    x, y = torch.randn(2, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (a, s), (b, r) = (map(float, SCHEDULE.levels(t)) for t in (600.0, 500.0))
    first = b * (x - s * denoiser.noise(y, 600.0)) / a + r * denoiser.noise(y, 600.0)
    second = b * (y - s * denoiser.noise(first, 600.0)) / a + r * denoiser.noise(first, 600.0)
    p = 0.99**50  # for a single step
    mixed = p * first + (1 - p) * second
    expected = mixed, p * second + (1 - p) * mixed
    made = uncouple(denoiser, (x, y), [600.0, 500.0], 0.99)
    for ours, theirs in zip(made, expected):
        assert (ours - theirs).abs().max() < 1e-12


@pytest.mark.parametrize("name", LAWS)
def test_latents_are_of_first_order(name):
    law = LAWS[name]
    denoiser, x_0 = ExactDenoiser(law, SCHEDULE), points(law)
    end = law.marginal(*(float(level) for level in SCHEDULE.levels(1000)))
    exact = ExactFlow(end, 1e-10).decode(ExactFlow(law, 1e-10).encode(x_0))
    errors = [
        (couple(denoiser, x_0, n)[0] - exact).norm(dim=1).median() for n in (250, 500, 1000)
    ]
    for error, half in zip(errors, errors[1:]):
        assert half / error == pytest.approx(0.5, abs=0.1)


def test_it_is_exact_where_the_predicted_noise_is_constant():
    noise, x_0 = torch.tensor([0.7, -1.3], dtype=torch.float64), points(LAWS["overlapping"])
    denoiser = as_denoiser(lambda x, t: noise.expand_as(x), SCHEDULE)
    for copy in couple(denoiser, x_0, 30):
        assert (
            copy - SCHEDULE.alpha(1000) * x_0 - SCHEDULE.sigma(1000) * noise
        ).abs().max() < 1e-9


@pytest.mark.parametrize("mixing", [0.5, 1.1, float("nan")])
def test_mixing_that_would_lose_the_digits_is_refused(mixing):
    denoiser = ExactDenoiser(LAWS["apart"], SCHEDULE)
    with pytest.raises(ValueError, match="mixing is"):
        couple(denoiser, torch.zeros(3, 2), 10, mixing)


def test_a_time_without_data_is_refused():
    denoiser = ExactDenoiser(LAWS["apart"], Rectified())
    with pytest.raises(ValueError, match="begins at 1, where nothing is left of the data"):
        couple(denoiser, torch.zeros(3, 2), 10)


def test_a_batch_of_two_is_not_taken_for_two_copies():
    denoiser = ExactDenoiser(LAWS["apart"], SCHEDULE)
    with pytest.raises(ValueError, match="latents is a Tensor; expected the two copies"):
        uncouple(denoiser, torch.zeros(2, 3, 2), 10)


def test_copies_of_different_shapes_are_refused():
    denoiser = ExactDenoiser(LAWS["apart"], SCHEDULE)
    with pytest.raises(ValueError, match=r"latents have shapes \(3, 2\) and \(2, 2\)"):
        uncouple(denoiser, (torch.zeros(3, 2), torch.zeros(2, 2)), 10)
