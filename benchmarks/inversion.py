"""From data to noise and back with equally many evaluations each way: how far from where one
started.

Ours of second order (``invert_2m`` and ``dpmpp_2m``, at equal times, crowding ones or those of
Karras, the best) against the best of diffusers' ways (``DDIMInverseScheduler`` and DDIM;
``DPMSolverMultistepInverseScheduler`` and DPM++ 2M, at times spaced in each of its three ways,
at its Karras sigmas, and at the same crowding times), with exact denoisers. And EDICT (``couple``
and ``uncouple``, in double precision), which keeps two latents and can be undone exactly, with
what that costs: how far its latent, and that of ``invert_2m``, are from where the flow leads.
EDICT takes half as many steps for as many evaluations; it is exact there and back, not on the
way. Nothing is timed. Overlapping data are two components so near each other that they are hardly
two; they and the standard normal law have mean zero and unit variance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import diffusers
from torch import Tensor

from benchmarks import peers
from benchmarks.errors import grids
from benchmarks.measuring import row
from diffot import seeds
from diffot.denoisers.exact import ExactDenoiser
from diffot.flows.exact import ExactFlow
from diffot.laws import toy
from diffot.laws.mixtures import GaussianMixture, equal_mixture, thesis_mixture
from diffot.learning import recipes
from diffot.samplers.coupled import couple, uncouple
from diffot.samplers.ddim import ddim
from diffot.samplers.higher_order import dpmpp_2m, invert_2m

TITLE = "Inversion, there and back"
STEPS = (10, 20, 50)
THREADS = 1
PEERS = ("diffusers",)
BLOCKS = 10  # of points, for the quartiles
HALF = 0.5  # of the peer's distance
NAMES = {"Low2DASymMix": "L.1b", "Low2DSymMix": "L.1a", "Low2DSCurve": "S-curve"}
NAMES |= {"Low2DUnimodal": "one mode", "Low2DBimodal": "two modes"}
PLANE = ("Low2DUnimodal", "Low2DBimodal", "Low2DSymMix", "Low2DASymMix", "Low2DSCurve")
WHY = "Both are of second order; at the best times of each, theirs has less than twice our error."


def overlapping() -> GaussianMixture:
    """Two components of which one hardly sees that they are two; zero mean, unit variance."""
    return equal_mixture([[0.6, 0.0], [-0.6, 0.0]], 1 - 0.6**2 / 2)


def denoisers() -> Iterator[tuple[str, ExactDenoiser]]:
    schedule = recipes.config("Low2DASymMix").schedule
    for name in PLANE:
        law = toy.s_curve_mixture(100) if name == "Low2DSCurve" else thesis_mixture(name)
        yield name, ExactDenoiser(law, recipes.config(name).schedule)
    yield "overlapping", ExactDenoiser(overlapping(), schedule)
    yield "standard normal", ExactDenoiser(equal_mixture([[0.0, 0.0]], 1.0), schedule)


def there_and_back_by_dpm(
    denoiser: ExactDenoiser, x: Tensor, steps: int, times: list[float] | None = None, **more
) -> Tensor:
    """At these times, or at those that the schedulers choose."""
    up = peers.scheduler("DPMSolverMultistepInverseScheduler", denoiser, times, **more)
    back = peers.scheduler("DPMSolverMultistepScheduler", denoiser, times, **more)
    return peers.run_scheduler(back, denoiser, up_by_dpm(up, denoiser, x, steps), steps)


def up_by_dpm(scheduler: Any, denoiser: ExactDenoiser, x: Tensor, steps: int) -> Tensor:
    scheduler.set_timesteps(steps)
    for ratio, t in zip(scheduler.sigmas.tolist(), scheduler.timesteps):
        noise = denoiser.noise(x, peers.time_of(denoiser, ratio))
        x = scheduler.step(noise, t, x).prev_sample
    return x


def up_by_ddim(denoiser: ExactDenoiser, x: Tensor, steps: int) -> Tensor:
    theirs = diffusers.DDIMInverseScheduler(
        trained_betas=peers.betas(peers.table(denoiser).alpha_bar),
        clip_sample=False,
        timestep_spacing="trailing",
    )
    theirs.set_timesteps(steps)
    for t in theirs.timesteps:
        x = theirs.step(denoiser.noise(x, float(t) + 1), int(t), x).prev_sample
    return x


def compare(name: str, denoiser: ExactDenoiser, n: int, steps: int) -> list[dict]:
    x = denoiser.law.sample(n, seeds.generator(0, name))
    times, halved = grids(denoiser, steps), grids(denoiser, steps // 2)
    latents = {grid: invert_2m(denoiser, x, times[grid]) for grid in times}
    ours = {grid: dpmpp_2m(denoiser, latents[grid], times[grid]) for grid in times}
    settings: dict[str, dict] = {
        "crowding steps": {"times": times["crowding steps"]},
        "Karras sigmas": {"use_karras_sigmas": True},
    }
    settings |= {name: {"timestep_spacing": name} for name in ("linspace", "leading", "trailing")}
    theirs = {
        f"DPM++ 2M, {name}": there_and_back_by_dpm(denoiser, x, steps, **setting)
        for name, setting in settings.items()
    }
    theirs["DDIM"] = ddim(denoiser, up_by_ddim(denoiser, x, steps), steps)
    (ours_best, off), (theirs_best, their_off) = (best(ends, x) for ends in (ours, theirs))
    exact = at_the_latents(denoiser, x)
    pairs = {grid: couple(denoiser, x, halved[grid]) for grid in halved}
    copies = {grid: pair[0] for grid, pair in pairs.items()}
    (grid, copy_off), (_, latent_off) = (best(ends, exact) for ends in (copies, latents))
    back_off = (uncouple(denoiser, pairs[grid], halved[grid])[0] - x).norm(dim=1)
    compared = (
        (ours_best, off, f"diffusers, {theirs_best}", their_off, HALF),
        (f"EDICT, {grid}", back_off, f"diffusers, {theirs_best}", their_off, HALF),
        (f"latent of EDICT, {grid}", copy_off, "invert_2m", latent_off, None),
    )
    return [
        row(
            f"{NAMES.get(name, name)}, {steps} evaluations each way, {way}",
            blocks(distances),
            blocks(others),
            unit="distance",
            against=against,
            target=target,
            why=WHY,
        )
        for way, distances, against, others, target in compared
    ]


def at_the_latents(denoiser: ExactDenoiser, x: Tensor) -> Tensor:
    """Where the flow takes the data by time T."""
    levels = (float(level) for level in denoiser.schedule.levels(denoiser.schedule.T))
    end = ExactFlow(denoiser.law.marginal(*levels), 1e-9)
    return end.decode(ExactFlow(denoiser.law, 1e-9).encode(x))


def best(ends: dict[str, Tensor], x: Tensor) -> tuple[str, Tensor]:
    """The way that ends nearest to x in the median, and how far from it."""
    off = {way: (end - x).norm(dim=1) for way, end in ends.items()}
    return min(off.items(), key=lambda item: float(item[1].median()))


def blocks(distances: Tensor) -> list[float]:
    return [float(part.median()) for part in distances.tensor_split(BLOCKS)]


def conclusion(rows: Sequence[dict]) -> str:
    """How many of the targets each of ours meets."""
    with_target = [r for r in rows if r["target"] is not None]
    coupled = [r for r in with_target if "EDICT" in r["name"]]
    single = [r for r in with_target if "EDICT" not in r["name"]]
    met = [sum(r["met"] for r in some) for some in (single, coupled)]
    return (
        f"With one latent, ours has at most half of diffusers' error in {met[0]} of "
        f"{len(single)} cases, and EDICT, with two, in {met[1]} of {len(coupled)}."
    )


def measure(tiny: bool = False) -> list[dict]:
    n, counts = (BLOCKS, STEPS[:1]) if tiny else (2000, STEPS)
    return [made for named in denoisers() for k in counts for made in compare(*named, n, k)]
