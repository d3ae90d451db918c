"""Error per evaluation: how far samplers end from where the flow of the same denoiser leads.

Exact denoisers of three laws in the plane, and a network of faces, whose flow is followed by a
thousand evaluations of Heun's method. Samplers of this book, of diffusers and of k-diffusion
start from the same noise and may ask the denoiser equally often: each at the times that are usual
for it ("as it comes") or that it offers ("Karras sigmas"), and all at the same times: equal
steps, steps that crowd as the square of time, and those of Karras et al. (2022). The order of
``deis`` falls at the end, or does not ("not falling"); its polynomials are in the logarithm of
noise over signal, or in the ratio itself. A row has the best of our settings against the best of
theirs, each chosen by its median error on one half of the points (of faces, on four), and both
compared on the others; 1.01 counts as equal. Below stand the errors of each sampler at its best
setting, on the points that it was chosen by. Errors are distances, for faces per value. Nothing
is timed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter

import torch
from torch import Tensor

from benchmarks import peers
from benchmarks.measuring import rounded, row
from diffot import seeds
from diffot.denoisers.denoiser import Denoiser
from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.network import as_denoiser
from diffot.flows.density import DensityFlow
from diffot.flows.exact import ExactFlow
from diffot.laws import densities, toy
from diffot.laws.mixtures import GaussianMixture, thesis_mixture
from diffot.laws.quadrature import NoisyDensity
from diffot.learning import recipes, registry
from diffot.samplers.ddim import ddim
from diffot.samplers.higher_order import deis, dpmpp_2m, heun, unipc

TITLE = "Error per evaluation"
BUDGETS = (5, 10, 20, 50, 100)
THREADS = 1
PEERS = ("diffusers", "k-diffusion")
BLOCKS = 10  # of points, for the quartiles
CHOSEN_BY = {"faces": 4}  # points, not half of them
EQUAL = 1.01  # times the error of the best peer's best setting
WHY = {"DPM++ 3M": "DPM++ of third order, without a corrector, is not among ours."}

OURS = {
    "ddim": ddim,
    "dpmpp_2m": dpmpp_2m,
    "unipc 2": unipc,
    "unipc 3": partial(unipc, order=3),
    "deis 3": deis,
    "deis 4": partial(deis, order=4),
    "deis 3 in the ratio": partial(deis, variable="ratio", falling=False),
    "deis 4 in the ratio": partial(deis, order=4, variable="ratio", falling=False),
    "deis 3, not falling": partial(deis, falling=False),
    "deis 4, not falling": partial(deis, order=4, falling=False),
    "heun": heun,
}
DIFFUSERS = {
    "DDIM": ("DDIMScheduler", {"clip_sample": False}),
    "DPM++ 2M": ("DPMSolverMultistepScheduler", {}),
    "DPM++ 3M": ("DPMSolverMultistepScheduler", {"solver_order": 3}),
    "UniPC 2": ("UniPCMultistepScheduler", {}),
    "UniPC 3": ("UniPCMultistepScheduler", {"solver_order": 3}),
    "DEIS 2": ("DEISMultistepScheduler", {}),
    "DEIS 3": ("DEISMultistepScheduler", {"solver_order": 3}),
    "Heun": ("HeunDiscreteScheduler", {}),
}
K_DIFFUSION = ("euler", "heun", "dpm_2", "lms", "dpmpp_2m")
TWICE = {"heun", "Heun", "dpm_2"}  # ask twice in each step but the last


@dataclass(frozen=True)
class Case:
    """A denoiser, noise at time T, and where its flow takes the noise."""

    name: str
    denoiser: Denoiser
    z: Tensor
    ends: Tensor

    def parted(self, n: int) -> tuple[Case, Case]:
        """The first n points, and the others."""
        parts = zip(self.z.tensor_split([n]), self.ends.tensor_split([n]))
        first, others = (replace(self, z=z, ends=ends) for z, ends in parts)
        return first, others

    def errors(self, sampler: Callable[[Tensor], Tensor]) -> Tensor:
        """Distance of each point from its end, of images per value; infinite for a sampler that
        leaves the numbers."""
        try:
            x = sampler(self.z)
        except ValueError:  # a denoiser was asked about points that are not finite
            x = self.ends * math.nan
        off = (x - self.ends).double().flatten(1).nan_to_num(nan=math.inf)
        return off.norm(dim=1) / (1 if x.ndim == 2 else off.shape[1] ** 0.5)


def mixture_case(name: str, law: GaussianMixture, recipe: str, n: int) -> Case:
    schedule = recipes.config(recipe).schedule
    z = torch.randn(n, 2, generator=seeds.generator(0, name), dtype=torch.float64)
    at_T = law.marginal(*(float(level) for level in schedule.levels(schedule.T)))
    ends = ExactFlow(law, 1e-9).decode(ExactFlow(at_T, 1e-9).encode(z))
    return Case(name, ExactDenoiser(law, schedule), z, ends)


def density_case(name: str, n: int) -> Case:
    schedule = recipes.config("Low2DASymMix").schedule
    draws = seeds.generator(0, name)
    law = densities.random_density("compact", draws)
    noisy = NoisyDensity(law)
    z = torch.randn(n, 2, generator=draws, dtype=torch.float64)
    time = -float(schedule.alpha(schedule.T).log())
    ends = DensityFlow(law, time, 1e-10).decode(z)

    def clean(x: Tensor, t: float) -> Tensor:
        return noisy.posterior_mean(x, *schedule.levels(t))

    return Case(name, as_denoiser(clean, schedule, "x0"), z, ends)


def image_case(name: str, n: int, steps: int) -> Case:
    denoiser = registry.load("Faces32A")
    z = torch.randn(n, 3, 32, 32, generator=seeds.generator(0, name))
    return Case(name, denoiser, z, heun(denoiser, z, crowded(denoiser, steps)))


def cases(tiny: bool) -> Iterator[Case]:
    n, few, images, steps = (40, 40, 6, 5) if tiny else (2000, 500, 32, 500)
    yield mixture_case("L.1b", thesis_mixture("Low2DASymMix"), "Low2DASymMix", n)
    yield mixture_case("S-curve", toy.s_curve_mixture(100), "Low2DSCurve", n)
    yield density_case("random density of K.1", few)  # quadrature takes its time
    yield image_case("faces", images, steps)


def crowded(denoiser: Denoiser, steps: int) -> list[float]:
    """Times that crowd towards 0."""
    return [denoiser.schedule.T * (i / steps) ** 2 for i in range(steps, -1, -1)]


def grids(denoiser: Denoiser, steps: int) -> dict[str, list[float]]:
    """The times at which all samplers are compared."""
    ratios = peers.karras(denoiser, steps)[:-1].tolist()
    return {
        "equal steps": denoiser.schedule.timesteps(steps).tolist(),
        "crowding steps": crowded(denoiser, steps),
        "Karras": [*(peers.time_of(denoiser, ratio) for ratio in ratios), 0.0],
    }


def samplers(
    denoiser: Denoiser, budget: int
) -> Iterator[tuple[str, str, str, Callable[[Tensor], Tensor]]]:
    """Whose, which, at what times and how, for so many evaluations."""

    def steps(name: str) -> int:
        return (budget + 1) // 2 if name in TWICE else budget

    for name, sampler in OURS.items():
        for grid, times in grids(denoiser, steps(name)).items():
            yield "ours", name, grid, partial(sampler, denoiser, steps=times)
    for name, (kind, more) in DIFFUSERS.items():
        n = steps(name)
        settings = {"as it comes": {}}
        if name != "DDIM":
            settings["Karras sigmas"] = {"use_karras_sigmas": True}
        for setting, options in settings.items():
            build = partial(peers.scheduler, kind, denoiser, **more, **options)
            yield "diffusers", name, setting, partial(scheduled, build, denoiser, n)
        for grid, times in grids(denoiser, n).items():
            build = partial(peers.scheduler, kind, denoiser, times, **more)
            yield "diffusers", name, grid, partial(scheduled, build, denoiser, n)
    for name in K_DIFFUSION:
        for grid, times in grids(denoiser, steps(name)).items():
            ratios = peers.noise_ratio(denoiser, torch.tensor(times))
            run = partial(peers.run_k_diffusion, name, denoiser, ratios=ratios)
            yield "k-diffusion", name, grid, run


def scheduled(build: Callable, denoiser: Denoiser, steps: int, z: Tensor) -> Tensor:
    return peers.run_scheduler(build(), denoiser, z, steps)


@torch.no_grad()
def compare(case: Case, budget: int) -> dict:
    """The best of ours against the best of the peers', and the error of each at its best."""
    first, others = case.parted(CHOSEN_BY.get(case.name, len(case.z) // 2))
    tried = [
        (float(first.errors(run).median()), whose, name, times, run)
        for whose, name, times, run in samplers(case.denoiser, budget)
    ]
    tried.sort(key=itemgetter(0))
    (_, _, name, times, run), (_, whose, other, their_times, other_run) = (
        next(entry for entry in tried if (entry[1] == "ours") == ours) for ours in (True, False)
    )
    blocks = min(BLOCKS, len(others.z))
    medians = [
        [float(part.median()) for part in others.errors(best).tensor_split(blocks)]
        for best in (run, other_run)
    ]
    compared = row(
        f"{case.name}, {budget} evaluations: {name}, {times}",
        *medians,
        unit="distance",
        against=f"{whose} {other}, {their_times}",
        target=EQUAL,
        why=WHY.get(other, ""),
    )
    least: dict[str, float] = {}
    for error, whose, name, _, _ in tried:
        least.setdefault(f"{whose}: {name}", rounded(error))
    return compared | {"group": case.name, "column": budget, "each": dict(sorted(least.items()))}


def measure(tiny: bool = False) -> list[dict]:
    budgets = BUDGETS[:1] if tiny else BUDGETS
    return [compare(case, budget) for case in cases(tiny) for budget in budgets]
