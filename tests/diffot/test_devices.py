"""The same on a graphics card as on the processor; skipped where there is no card."""

import pytest
import torch

from diffot.denoisers.exact import ExactDenoiser
from diffot.flows.exact import ExactFlow
from diffot.laws.mixtures import thesis_mixture
from diffot.learning import registry
from diffot.learning.batches import Draws
from diffot.learning.configuration import TrainConfig
from diffot.learning.networks import MLP
from diffot.learning.objectives import DenoisingLoss
from diffot.learning.training import train
from diffot.processes.schedules import Rectified, scaled_linear
from diffot.samplers.coupled import couple
from diffot.samplers.ddim import ddim, invert
from diffot.samplers.ddpm import ddpm
from diffot.samplers.higher_order import deis, dpmpp_2m, heun, invert_2m, unipc

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a graphics card that PyTorch can use"
)

SCHEDULES = {"table": scaled_linear(1000, 1e-4, 0.02), "rectified": Rectified()}


def points(n: int = 200) -> torch.Tensor:
    return torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def both(function):
    """The result on the processor, and that on the card, which has to be there."""
    there = function(points().cuda())
    assert there.device.type == "cuda"
    return function(points()), there.cpu()


@pytest.mark.parametrize("name", ["score", "log_prob", "posterior_mean"])
def test_laws_are_the_same_on_a_card(name):
    law = thesis_mixture("Low2DASymMix")
    levels = () if name == "log_prob" else (0.8, 0.6)
    here, there = both(lambda x: getattr(law, name)(x, *levels))
    torch.testing.assert_close(there, here, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("sampler", [ddim, dpmpp_2m, unipc, deis, heun, invert, invert_2m])
def test_samplers_are_the_same_on_a_card(sampler, schedule):
    denoiser = ExactDenoiser(thesis_mixture("Low2DASymMix"), schedule)
    here, there = both(lambda z: sampler(denoiser, z, 10))
    torch.testing.assert_close(there, here, rtol=1e-7, atol=1e-7)


def test_fresh_noise_does_not_depend_on_the_device():
    denoiser = ExactDenoiser(thesis_mixture("Low2DASymMix"), SCHEDULES["table"])
    here, there = both(lambda z: ddpm(denoiser, z, torch.Generator().manual_seed(1), steps=10))
    torch.testing.assert_close(there, here, rtol=1e-7, atol=1e-7)


def test_coupled_latents_are_the_same_on_a_card():
    denoiser = ExactDenoiser(thesis_mixture("Low2DASymMix"), SCHEDULES["table"])
    here, there = both(lambda x: couple(denoiser, x, 10)[0])
    torch.testing.assert_close(there, here, rtol=1e-7, atol=1e-7)


def test_the_exact_map_gives_points_back_where_the_latents_are():
    here, there = both(ExactFlow(thesis_mixture("Low2DASymMix"), 1e-8).decode)
    assert torch.equal(there, here)  # it is computed on the processor


def test_a_network_draws_the_same_images_on_a_card():
    z = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=False):
        here = ddim(registry.load("Faces32A"), z, 10)
        denoiser = registry.load("Faces32A")
        denoiser.network.cuda()
        there = ddim(denoiser, z.cuda(), 10).cpu()
    # a value next to an edge may fall on its other side
    assert (there - here).abs().median() < 1e-4


def test_training_lowers_the_loss_on_a_card_and_comes_back():
    law = thesis_mixture("Low2DASymMix")
    result = train(
        MLP(2, widths=[64, 64]),
        Draws(lambda n, generator: law.sample(n, generator).float()),
        DenoisingLoss(SCHEDULES["table"], "eps"),
        TrainConfig(600, 256, record_every=60),
        torch.Generator().manual_seed(0),
        progress=False,
    )
    losses = result.column("loss")
    assert losses[-1] < 0.7 * losses[0]
    assert next(result.network.parameters()).device.type == "cpu"
    assert result.device == torch.cuda.get_device_name()
