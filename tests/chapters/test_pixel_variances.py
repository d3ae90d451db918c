"""Learned variances of pixels: on a Gaussian law, where denoiser and squares are known."""

import pytest
import torch
from torch import nn

from chapters.equations.pixel_variances import KINDS, PixelTask, PixelVariance, SquareLoss
from diffot.denoisers.network import NetworkDenoiser
from diffot.learning import checkpoints
from diffot.processes import schedules

V = 0.3  # variance of the pixels, which are independent
SCHEDULE = schedules.linear(1000, 1e-4, 0.02)


def unknown(alpha, sigma):
    """The variance of x_0 given x_t."""
    return V * sigma**2 / (alpha**2 * V + sigma**2)


class Exact(nn.Module):
    """Answers with v, or with the mean of a square, at x_t."""

    def __init__(self, what="v", factor=1.0):
        super().__init__()
        self.what, self.factor = what, nn.Parameter(torch.tensor(factor))

    def forward(self, x, time):
        alpha, sigma = (
            level.float()[:, None, None, None] for level in SCHEDULE.levels(time.double() * 1000)
        )
        clean = alpha * V * x / (alpha**2 * V + sigma**2)
        noise = (x - alpha * clean) / sigma
        return (
            self.factor
            * {
                "v": alpha * noise - sigma * clean,
                "NPR": (unknown(alpha, sigma) / sigma**2).expand_as(x),
                "SN": noise**2 + (alpha / sigma) ** 2 * unknown(alpha, sigma),
            }[self.what]
        )


DENOISER = NetworkDenoiser(Exact(), SCHEDULE, "v")


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_the_square_gives_the_variance(kind, generator):
    found = PixelVariance(Exact(kind), DENOISER, kind)
    x = torch.randn(5, 1, 4, 4, generator=generator)
    for t in (40, 300, 900):
        alpha, sigma = (float(level) for level in SCHEDULE.levels(t))
        expected = torch.full_like(x, unknown(alpha, sigma))
        assert torch.allclose(found(x, t), expected, rtol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_least_at_the_mean_of_the_square(kind, generator):
    """Against the same answer times 0.8 and 1.2, on the same draws."""
    loss = SquareLoss(DENOISER, kind)
    x_0 = V**0.5 * torch.randn(20_000, 1, 2, 2, generator=generator)
    inputs = loss.prepare((x_0, {}), generator)
    with torch.no_grad():
        losses = {f: loss(Exact(kind, f), inputs).double() for f in (0.8, 1.0, 1.2)}
    for factor in (0.8, 1.2):
        more = losses[factor] - losses[1.0]
        assert float(more.mean()) > 4 * float(more.std()) / len(more) ** 0.5


def test_what_is_impossible_is_cut():
    class Answer(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = nn.Parameter(torch.tensor(value))

        def forward(self, x, time):
            return self.value.expand_as(x)

    x = torch.zeros(2, 1, 4, 4)
    for answer, expected in ((-3.0, 0.0), (30.0, 1.0)):
        found = PixelVariance(Answer(answer), DENOISER, "NPR")
        assert torch.equal(found(x, 900), torch.full_like(x, expected))
        assert not torch.equal(found.uncut(x, 900), found(x, 900))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="did you mean NPR"):
        SquareLoss(DENOISER, "NRP")
    with pytest.raises(ValueError, match="parametrization"):
        SquareLoss(NetworkDenoiser(Exact(), SCHEDULE, "eps"), "NPR")
    with pytest.raises(ValueError, match="iterations is 0"):
        PixelTask("Digits28", checkpoints.hashes("Digits28"), "NPR", 0, 10)
    with pytest.raises(ValueError, match="known: Digits28"):
        PixelTask("Animals32", checkpoints.hashes("Animals32"), "NPR", 1, 10)
