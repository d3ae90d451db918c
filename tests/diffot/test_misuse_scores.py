"""Bad input to losses of a score, Langevin dynamics and rescaled denoisers."""

import pytest
import torch
from misuse import Case, Use, check, expect, misuses

from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.rescaled import RescaledDenoiser
from diffot.laws.mixtures import thesis_mixture
from diffot.learning import networks
from diffot.learning.score_matching import (
    DenoisingScoreLoss,
    ExplicitScoreLoss,
    ImplicitScoreLoss,
    SlicedScoreLoss,
)
from diffot.processes.schedules import VarianceExploding, linear
from diffot.samplers.langevin import annealed_langevin, langevin

LAW = thesis_mixture("Low2DBimodal")
TABLE = ExactDenoiser(LAW, linear(T=20))
EXPLODING = ExactDenoiser(LAW, VarianceExploding())
Z = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
NETWORK = networks.MLP(2)


def draws():
    return torch.Generator().manual_seed(0)


USES = [
    Use(DenoisingScoreLoss, {"sigma": 0.5}),
    Use(ExplicitScoreLoss, {"score": LAW.score}),
    Use(RescaledDenoiser, {"denoiser": TABLE, "schedule": VarianceExploding()}),
    Use(
        langevin,
        {"score": LAW.score, "x": Z, "step": 0.5, "steps": 2, "generator": draws()},
    ),
    Use(
        annealed_langevin,
        {
            "denoiser": EXPLODING,
            "x": Z,
            "sigmas": [2.0, 1.0],
            "step": 0.2,
            "steps": 2,
            "generator": draws(),
        },
    ),
]


@pytest.mark.parametrize(("use", "argument", "value"), misuses(USES))
def test_misuse(use, argument, value):
    check(use, argument, value)


def annealed(denoiser, sigmas):
    return annealed_langevin(denoiser, Z, sigmas, 0.2, 2, draws())


def loss_of(loss):
    return loss(networks.MLP(3), loss.prepare((torch.zeros(4, 3)[:, :2], {}), draws()))


CASES = [
    Case(lambda: annealed(TABLE, [2.0, 1.0]), "schedule"),
    Case(lambda: annealed(EXPLODING, [1.0, 2.0]), "each below the one before"),
    Case(lambda: annealed(EXPLODING, []), "at least one level"),
    Case(lambda: annealed(EXPLODING, [1.0, 0.0]), "one of sigmas is 0"),
    Case(lambda: langevin(lambda x: x[:1], Z, 0.1, 2, draws()), "score has shape (1, 2)"),
    Case(
        lambda: ExplicitScoreLoss(lambda x: x[:, :1]).prepare((Z, {}), draws()),
        "the score has shape (4, 1)",
    ),
    *(
        Case(lambda loss=loss: loss_of(loss), "x has shape (4, 2)", type(loss).__name__)
        for loss in (ImplicitScoreLoss(), SlicedScoreLoss(), DenoisingScoreLoss(0.5))
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name or case.says)
def test_bad_calls(case):
    expect(case.call, case.says)
