"""Four losses of a score: equal up to constants, and least for the exact score."""

import pytest
import torch

from diffot.learning import networks
from diffot.learning.batches import Draws
from diffot.learning.configuration import TrainConfig
from diffot.learning.score_matching import (
    DenoisingScoreLoss,
    ExplicitScoreLoss,
    ImplicitScoreLoss,
    SlicedScoreLoss,
)
from diffot.learning.training import train

SIGMA = 0.5


class Exact(torch.nn.Module):
    """The score of a law, times a number."""

    def __init__(self, law, factor):
        super().__init__()
        self.law, self.factor = law, factor

    def forward(self, x, time):
        assert time.shape == (len(x),) and not time.any()
        return self.factor * self.law.score(x)


def mlp():
    network = {"class": "MLP", "dim": 2, "widths": [16], "activation": "silu"}
    return networks.build(network, 3).double()


def values(loss, network, x, generator):
    return loss(network, loss.prepare((x, {}), generator)).detach()


def test_each_exceeds_the_explicit_loss_by_a_constant(oblique, generator):
    """Which is known: the information of the law, and the variance of the target."""
    noisy, n = oblique.marginal(1.0, SIGMA), 40_000
    clean = oblique.sample(n, generator)
    denoising = DenoisingScoreLoss(SIGMA)
    inputs = denoising.prepare((clean, {}), generator)
    x, network = inputs["x"], mlp()
    explicit = values(ExplicitScoreLoss(noisy.score), network, x, generator)
    information = noisy.score(x).square().sum(1) / 2
    differences = (
        values(ImplicitScoreLoss(), network, x, generator) - explicit + information,
        values(SlicedScoreLoss(), network, x, generator) - explicit + information,
        denoising(network, inputs).detach() - explicit - (1 / SIGMA**2 - information),
    )
    for difference in differences:
        assert abs(float(difference.mean())) < 4 * float(difference.std()) / n**0.5


def test_the_trace_is_that_of_the_jacobian(generator):
    x, network = torch.randn(20, 2, dtype=torch.float64, generator=generator), mlp()
    at_zero = x.new_zeros(1)
    slopes = torch.stack(
        [torch.func.jacrev(lambda p: network(p[None], at_zero)[0])(point).trace() for point in x]
    )
    length = network(x, x.new_zeros(20)).square().sum(1) / 2
    assert torch.allclose(values(ImplicitScoreLoss(), network, x, generator), length + slopes)


def test_the_sliced_loss_of_many_directions_is_the_implicit_one(generator):
    x, network = torch.randn(1, 2, dtype=torch.float64, generator=generator), mlp()
    many = values(SlicedScoreLoss(), network, x.expand(50_000, 2), generator)
    one = values(ImplicitScoreLoss(), network, x, generator)
    assert abs(float(many.mean() - one)) < 4 * float(many.std()) / 50_000**0.5


def test_the_denoising_loss_is_least_for_the_noisy_score(oblique, generator):
    x, n = oblique.sample(40_000, generator), 40_000
    loss, noisy = DenoisingScoreLoss(SIGMA), oblique.marginal(1.0, SIGMA)
    inputs = loss.prepare((x, {}), generator)
    least, other = (loss(Exact(noisy, factor), inputs) for factor in (1.0, 1.2))
    added = 0.04 * noisy.score(inputs["x"]).square().sum(1) / 2
    difference = other - least - added
    assert abs(float(difference.mean())) < 4 * float(difference.std()) / n**0.5


@pytest.mark.parametrize(
    "loss", [ImplicitScoreLoss(), SlicedScoreLoss()], ids=["implicit", "sliced"]
)
def test_the_trainer_differentiates_twice(loss, generator):
    """The slope of N(0, 4) is learned from draws alone."""
    network = networks.build({"class": "MLP", "dim": 1, "widths": []}, 0)
    config = TrainConfig(400, 512, 3e-2, decay="cosine", ema=0.9)
    draws = Draws(lambda n, g: 2 * torch.randn(n, 1, generator=g))
    learned = train(network, draws, loss, config, generator, progress=False).network
    x = torch.tensor([[-1.0], [1.0]])
    with torch.no_grad():
        low, high = learned(x, torch.zeros(2))[:, 0].tolist()
    assert abs((high - low) / 2 + 0.25) < 0.03
