"""Bad input to schedules, denoisers, samplers, latents and networks."""

import math

import numpy as np
import pytest
import torch
from misuse import Case, Use, check, expect, misuses

from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.network import NetworkDenoiser, as_denoiser
from diffot.laws import mixtures
from diffot.laws.points import PointSet
from diffot.learning import networks
from diffot.processes import schedules
from diffot.samplers import latents
from diffot.samplers.ddim import ddim, ddim_path, invert
from diffot.samplers.ddpm import ddpm
from diffot.samplers.higher_order import dpmpp_2m, heun, unipc
from diffot.samplers.inpainting import inpaint

SCHEDULE = schedules.linear(T=20)
EXACT = ExactDenoiser(mixtures.thesis_mixture("Low2DBimodal"), SCHEDULE)
Z = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
LATENTS = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
BOX = (0.25, 0.25, 0.75, 0.75)
MASK = latents.box_mask(BOX, 8)
UNET = networks.UNet(widths=(8,), middle=(8,), embedding=8, labels={"smile": 2})
TOLD = NetworkDenoiser(UNET, SCHEDULE)
PLAIN = NetworkDenoiser(networks.MLP(2), SCHEDULE)
SAME = as_denoiser(lambda x, t: x, SCHEDULE)
FIRST_ROW = as_denoiser(lambda x, t: x[:1], SCHEDULE)


class Lopsided(networks.MLP):
    """Answers with the first coordinate alone."""

    def __init__(self):
        super().__init__(2)

    def forward(self, x, time):
        return super().forward(x, time)[:, :1]


def draws():
    return torch.Generator().manual_seed(0)


SAMPLERS = (ddim, ddim_path, heun, dpmpp_2m, unipc)
USES = [
    *(Use(sampler, {"denoiser": EXACT, "x_T": Z, "steps": 4}) for sampler in SAMPLERS),
    Use(
        ddim,
        {"denoiser": EXACT, "x_T": Z, "eta": 0.5, "generator": draws()},
    ),
    Use(invert, {"denoiser": EXACT, "x_0": Z, "steps": 4}),
    Use(
        inpaint,
        {
            "denoiser": as_denoiser(lambda x, t: x, SCHEDULE),
            "x_T": LATENTS,
            "x_0": LATENTS,
            "mask": MASK,
            "steps": 4,
            "generator": draws(),
        },
        {"generator": {"None"}},
    ),
    Use(
        ddpm,
        {"denoiser": EXACT, "x_T": Z, "generator": draws(), "variance": "beta", "steps": 4},
        {"steps": {"None"}},
    ),
    Use(schedules.linear, {"T": 20, "beta_1": 1e-4, "beta_T": 0.02}),
    Use(schedules.scaled_linear, {"T": 20, "beta_1": 1e-4, "beta_T": 0.02}),
    Use(schedules.cosine, {"T": 20}),
    Use(SCHEDULE.timesteps, {"steps": 4}),
    *(
        Use(method, {"t": 3.0}, {"t": {"list", "vector"}})
        for schedule in (SCHEDULE, schedules.VarianceExploding(20.0, 0.1))
        for method in (schedule.levels, schedule.rates, schedule.sde, schedule.network_time)
    ),
    Use(SCHEDULE.draw_times, {"n": 3, "generator": draws()}),
    Use(schedules.VarianceExploding, {"T": 20.0, "least": 0.1}),
    Use(ExactDenoiser, {"law": EXACT.law, "schedule": SCHEDULE}),
    Use(PointSet, {"points": Z}),
    Use(NetworkDenoiser, {"network": UNET, "schedule": SCHEDULE, "parametrization": "eps"}),
    Use(
        as_denoiser, {"function": abs, "schedule": SCHEDULE, "parametrization": "eps", "first": 1}
    ),
    Use(EXACT.score, {"x": Z, "t": 3.0}),
    Use(EXACT.velocity, {"x": Z, "t": 3.0}),
    Use(EXACT.denoise, {"x": Z, "t": 3.0}),
    Use(ExactDenoiser(PointSet(Z), SCHEDULE).denoise, {"x": Z, "t": 3.0}),
    Use(SAME.denoise, {"x": Z, "t": 3.0}),
    Use(PLAIN.denoise, {"x": Z, "t": 3.0}),
    Use(PLAIN.noise, {"x": Z, "t": 3.0}),
    Use(TOLD.condition, {"labels": {"smile": 1}}),
    Use(latents.box_mask, {"box": BOX, "size": 8, "soft": 0.1}),
    Use(latents.channel_mask, {"mask": MASK, "channel": 1, "channels": 3}),
    Use(latents.elsewhere, {"box": (0.0, 0.0, 0.25, 0.25), "generator": draws()}),
    Use(latents.in_sigmas, {"shift": 0.1, "m": 12}),
    Use(latents.per_value, {"sigmas": 0.1, "m": 12}),
    Use(latents.coordinate, {"z": LATENTS, "mask": MASK}),
    Use(
        latents.shift, {"z": LATENTS, "mask": MASK, "sigmas": 1.0}, {"sigmas": {"list", "vector"}}
    ),
    Use(latents.transfer, {"recipient": LATENTS, "donor": LATENTS, "mask": MASK}),
    Use(networks.MLP, {"dim": 2, "widths": (4, 4), "frequencies": 2, "input_scale": 0.5}),
    Use(
        networks.UNet,
        {"channels": 3, "widths": (8,), "blocks": 1, "middle": (8,), "embedding": 8, "groups": 4},
    ),
]


@pytest.mark.parametrize(("use", "argument", "value"), misuses(USES))
def test_misuse(use, argument, value):
    check(use, argument, value)


EMPIRICAL = ExactDenoiser(PointSet(Z), SCHEDULE)
CASES = [
    Case(lambda: ddim(EXACT, Z, 21), "steps is 21; expected a whole number from 1 to 20"),
    Case(lambda: ddim(EXACT, Z, 0), "steps is 0"),
    Case(lambda: ddim(EXACT, Z, [3.0, 5.0]), "steps"),
    Case(lambda: ddim(EXACT, Z, [math.nan, 0.0]), "steps"),
    Case(lambda: ddim(EXACT, Z, [20.0]), "steps"),
    Case(lambda: ddim(EXACT, Z[0], 4), "x_T[None]"),
    Case(lambda: ddim(EXACT, LATENTS, 4), "expected (B, 2)"),
    Case(lambda: ddim(EXACT, Z, 4, eta=1.5), "eta is 1.5"),
    Case(lambda: ddim(EXACT, Z, 4, eta=1.0), "generator is None"),
    Case(lambda: ddim(lambda x, t: x, Z, 4), "as_denoiser makes one"),
    Case(lambda: ddpm(EXACT, Z, draws(), "bta"), "did you mean beta"),
    Case(lambda: inpaint(EXACT, Z, Z.double(), torch.ones(2), 4), "x_0"),
    Case(lambda: inpaint(TOLD, LATENTS, LATENTS[:1], MASK, 4), "x_0"),
    Case(lambda: inpaint(TOLD, LATENTS, LATENTS, 2 * MASK, 4), "expected 0 to 1"),
    Case(lambda: inpaint(TOLD, LATENTS, LATENTS, MASK[:, :4], 4), "mask has shape"),
    Case(lambda: SCHEDULE.levels(21), "expected times between 0 and T = 20"),
    Case(lambda: SCHEDULE.levels(torch.tensor([1.0, math.nan])), "t runs from nan"),
    Case(lambda: schedules.linear(20, 0.5, 1.0), "beta_T is 1"),
    Case(lambda: schedules.VariancePreserving("x", {}, torch.tensor([1.0, 0.5])), "float64"),
    Case(
        lambda: schedules.VariancePreserving(
            "x", {}, torch.tensor([1.0, math.nan, 0.1]).double()
        ),
        "decrease strictly",
    ),
    Case(lambda: EXACT.noise(Z, torch.ones(3)), "t has shape (3,) for 4 points"),
    Case(lambda: EXACT.denoise(Z[:, :1], 3.0), "expected (B, 2)"),
    Case(lambda: EXACT.score(Z, 0.0), "t is 0"),
    Case(lambda: EXACT.score(Z, torch.tensor([1.0, 0, 1, 1])), "t is 0"),
    Case(lambda: EMPIRICAL.noise(Z, 0.0), "t is 0"),
    Case(lambda: EMPIRICAL.denoise(Z, 0.0), "sigma is 0"),
    Case(lambda: EMPIRICAL.score(Z, 0.0), "t is 0"),
    Case(lambda: EMPIRICAL.denoise(LATENTS, 1.0), "the shape of the points"),
    Case(lambda: ExactDenoiser(PointSet(Z[:0]), SCHEDULE), "N >= 1"),
    Case(lambda: TOLD.noise(LATENTS, 0.0), "expected 0 < t <= T = 20"),
    Case(lambda: EXACT.noise(Z, 0.0), "t is 0"),
    Case(lambda: EXACT.velocity(Z, 0.0), "t is 0"),
    Case(lambda: SAME.noise(Z, 0.0), "t is 0"),
    Case(lambda: SAME.noise(Z, 21.0), "expected times between 0 and T = 20"),
    Case(lambda: SAME.noise(Z, torch.ones(3)), "t has shape (3,) for 4 points"),
    Case(lambda: PLAIN.noise(Z, torch.ones(3)), "t has shape (3,) for 4 points"),
    Case(lambda: PLAIN.noise(Z, torch.ones(1)), "t has shape (1,) for 4 points"),
    Case(lambda: FIRST_ROW.denoise(Z, 3.0), "the answer of the function has shape (1, 2)"),
    Case(
        lambda: as_denoiser(print, SCHEDULE).noise(Z, 3.0), "the answer of the function is None"
    ),
    Case(
        lambda: NetworkDenoiser(Lopsided(), SCHEDULE).noise(Z, 3.0),
        "the answer of the network has shape (4, 1)",
    ),
    Case(lambda: NetworkDenoiser(torch.nn.Identity(), SCHEDULE), "network has no parameters"),
    Case(lambda: NetworkDenoiser(UNET, SCHEDULE, labels=[1]), "labels is [1]"),
    Case(
        lambda: TOLD.condition({"smile": torch.tensor([1])}).noise(LATENTS, 3.0), "for 2 points"
    ),
    Case(
        lambda: TOLD.condition({"smile": torch.ones(3).long()}).noise(LATENTS, 3.0),
        "for 2 points",
    ),
    Case(lambda: ddim(EXACT, Z, [20.0, 1e-14, 0.0]), "steps holds the time 1e-14"),
    Case(lambda: invert(EXACT, Z, [20.0, 1e-14, 0.0]), "steps holds the time 1e-14"),
    Case(lambda: TOLD.condition({"smile": 2}), "label smile is 2; expected whole"),
    Case(lambda: TOLD.condition({"smile": 1.0}), "label smile"),
    Case(lambda: TOLD.condition({"smile": np.nan}), "label smile"),
    Case(lambda: TOLD.condition({"smle": 1}), "did you mean smile"),
    Case(lambda: TOLD.condition({"smile": torch.zeros(2, 2, dtype=torch.int64)}), "label smile"),
    Case(
        lambda: NetworkDenoiser(networks.MLP(2), SCHEDULE).condition({"smile": 1}),
        "not trained with any",
    ),
    Case(lambda: as_denoiser(abs, SCHEDULE, first=2), "first is 2"),
    Case(lambda: latents.box_mask((0.5, 0, 0.5, 1), 8), "left < right"),
    Case(lambda: latents.box_mask((math.nan, 0, 0.5, 1), 8), "a side of box is nan"),
    Case(lambda: latents.box_mask((0.26, 0.26, 0.29, 0.29), 8), "the center of no pixel"),
    Case(lambda: latents.box_mask(BOX, 8, 0.6), "soft is 0.6; expected a number from 0 to 0.5"),
    Case(lambda: latents.channel_mask(MASK, 3), "channel is 3; expected a whole number"),
    Case(lambda: latents.channel_mask(-MASK, 0), "expected 0 to 1"),
    Case(lambda: latents.elsewhere((0, 0, 1, 1), draws()), "take a smaller box"),
    Case(lambda: latents.elsewhere(BOX, draws(), [(0, 0, 2, 1)]), "a box of avoid"),
    Case(lambda: latents.coordinate(LATENTS, 0 * MASK), "no direction"),
    Case(lambda: latents.shift(LATENTS, MASK, torch.ones(3)), "sigmas has shape (3,)"),
    Case(lambda: latents.transfer(LATENTS, LATENTS[:1], MASK), "donor"),
    Case(lambda: networks.MLP(2, activation="relu"), "leaky_relu"),
    Case(lambda: networks.MLP(2, widths=(4, 0)), "a width of widths is 0"),
    Case(lambda: networks.MLP(2)(Z[:, :1], torch.ones(4)), "expected (B, 2)"),
    Case(lambda: networks.UNet(widths=(12,)), "multiples of 8"),
    Case(lambda: networks.UNet(embedding=7), "embedding is 7; expected an even number"),
    Case(lambda: networks.UNet(labels={"smile": 0}), "labels['smile'] is 0"),
    Case(lambda: networks.MLP(2)(Z, torch.ones(1)), "time has shape (1,) for 4 points"),
    Case(lambda: UNET(LATENTS, None), "time is None"),
    Case(lambda: UNET(LATENTS, torch.ones(1)), "time has shape (1,) for 2 points"),
    Case(
        lambda: UNET(LATENTS, torch.ones(2), {"smile": torch.ones(2)}),
        "label smile is torch.float32",
    ),
    Case(
        lambda: UNET(LATENTS, torch.ones(2), {"smile": torch.tensor([1])}),
        "label smile has shape (1,) for 2 images",
    ),
    Case(lambda: UNET(LATENTS[:, :1], torch.ones(2)), "expected (B, 3, H, W)"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_bad_calls(case):
    expect(case.call, case.says)


@pytest.mark.parametrize("steps", [np.int64(4), torch.tensor(4), np.array(4)])
def test_steps_may_be_numbers_of_other_libraries(steps):
    assert torch.equal(ddim(EXACT, Z, steps), ddim(EXACT, Z, 4))
