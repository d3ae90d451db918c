"""From data to noise and back with equally many evaluations each way: how far from where one
started. Ours of second order (``invert_2m`` and ``dpmpp_2m``, at equal times, crowding ones or
those of Karras, the best) against the best of diffusers' ways (``DDIMInverseScheduler`` and DDIM;
``DPMSolverMultistepInverseScheduler`` and DPM++ 2M, at their equal times or at those of Karras),
with exact denoisers; and EDICT (``couple`` and ``uncouple``), which keeps two latents and can be
undone exactly, with what that costs: how far its latent, and that of ``invert_2m``, are from
where the flow leads. EDICT is of first order, and takes half as many steps for as many
evaluations; it is exact there and back, not on the way. Nothing is timed.
"""

from __future__ import annotations

from collections.abc import Iterator

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
BLOCKS = 10  # of points, for the quartiles
HALF = 0.5  # of the peer's distance
PLANE = ("Low2DUnimodal", "Low2DBimodal", "Low2DSymMix", "Low2DASymMix", "Low2DSCurve")
WHY = (
    "Both are of second order. Where modes are narrow and far apart, ours is ahead by less than "
    "two times."
)


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


def there_and_back_by_dpm(denoiser: ExactDenoiser, x: Tensor, steps: int, **more) -> Tensor:
    theirs = diffusers.DPMSolverMultistepInverseScheduler(
        trained_betas=peers.betas(peers.table(denoiser).alpha_bar),
        timestep_spacing="trailing",
        **more,
    )
    theirs.set_timesteps(steps)
    for ratio, t in zip(theirs.sigmas.tolist(), theirs.timesteps):
        noise = denoiser.noise(x, peers.time_of(denoiser, ratio))
        x = theirs.step(noise, t, x).prev_sample
    kind = "DPMSolverMultistepScheduler"
    back = peers.scheduler(kind, denoiser, timestep_spacing="trailing", **more)
    return peers.run_scheduler(back, denoiser, x, steps)


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
    latents = {
        grid: invert_2m(denoiser, x, times) for grid, times in grids(denoiser, steps).items()
    }
    ours = {
        grid: dpmpp_2m(denoiser, latents[grid], times)
        for grid, times in grids(denoiser, steps).items()
    }
    pairs = {
        grid: couple(denoiser, x, times) for grid, times in grids(denoiser, steps // 2).items()
    }
    coupled = {
        grid: uncouple(denoiser, pairs[grid], times)[0]
        for grid, times in grids(denoiser, steps // 2).items()
    }
    theirs = {
        "DDIM": ddim(denoiser, up_by_ddim(denoiser, x, steps), steps),
        "DPM++ 2M": there_and_back_by_dpm(denoiser, x, steps),
        "DPM++ 2M, Karras sigmas": there_and_back_by_dpm(
            denoiser, x, steps, use_karras_sigmas=True
        ),
    }
    (ours_best, off), (theirs_best, their_off) = (best(ends, x) for ends in (ours, theirs))
    (pairs_best, pairs_off), exact = best(coupled, x), at_the_latents(denoiser, x)
    copies = {grid: pair[0] for grid, pair in pairs.items()}
    (copy_best, copy_off), (_, latent_off) = (best(ends, exact) for ends in (copies, latents))
    compared = (
        (ours_best, off, f"diffusers, {theirs_best}", their_off, HALF),
        (f"EDICT, {pairs_best}", pairs_off, f"diffusers, {theirs_best}", their_off, HALF),
        (f"latent of EDICT, {copy_best}", copy_off, "invert_2m", latent_off, None),
    )
    return [
        row(
            f"{name}, {steps} evaluations each way, {way}",
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


def measure(tiny: bool = False) -> list[dict]:
    n, counts = (BLOCKS, STEPS[:1]) if tiny else (2000, STEPS)
    return [made for named in denoisers() for k in counts for made in compare(*named, n, k)]
