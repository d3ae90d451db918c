"""From data to noise and back with equally many evaluations each way: how far from where one
started. Ours (``invert`` and ``ddim``) against diffusers' ``DDIMInverseScheduler`` and DDIM, with
exact denoisers. Nothing is timed.
"""

from __future__ import annotations

from collections.abc import Iterator

import diffusers
from torch import Tensor

from benchmarks import peers
from benchmarks.measuring import row
from diffot import seeds
from diffot.denoisers.exact import ExactDenoiser
from diffot.laws import toy
from diffot.laws.mixtures import GaussianMixture, equal_mixture, thesis_mixture
from diffot.learning import recipes
from diffot.samplers.ddim import ddim, invert

TITLE = "Inversion, there and back"
STEPS = (10, 20, 50)
THREADS = 1
BLOCKS = 10  # of points, for the quartiles
HALF = 0.5  # of the peer's distance
PLANE = ("Low2DUnimodal", "Low2DBimodal", "Low2DSymMix", "Low2DASymMix", "Low2DSCurve")
WHY = (
    "Where the law of x_t hardly changes, as for centered data of about unit variance, a step up "
    "that asks for the noise at its end loses little, and ours asks at its start."
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


def inverted_by_diffusers(denoiser: ExactDenoiser, x: Tensor, steps: int) -> Tensor:
    theirs = diffusers.DDIMInverseScheduler(
        trained_betas=peers.betas(peers.table(denoiser).alpha_bar),
        clip_sample=False,
        timestep_spacing="trailing",
    )
    theirs.set_timesteps(steps)
    for t in theirs.timesteps:
        x = theirs.step(denoiser.noise(x, float(t) + 1), int(t), x).prev_sample
    return x


def compare(name: str, denoiser: ExactDenoiser, n: int, steps: int) -> dict:
    x = denoiser.law.sample(n, seeds.generator(0, name))
    misses = []
    for way_up in (invert, inverted_by_diffusers):
        off = (ddim(denoiser, way_up(denoiser, x, steps), steps) - x).norm(dim=1)
        misses.append([float(part.median()) for part in off.tensor_split(BLOCKS)])
    return row(
        f"{name}, {steps} steps each way",
        *misses,
        unit="distance",
        against="DDIMInverseScheduler",
        target=HALF,
        why=WHY,
    )


def measure(tiny: bool = False) -> list[dict]:
    n, counts = (BLOCKS, STEPS[:1]) if tiny else (2000, STEPS)
    return [compare(*named, n, steps) for named in denoisers() for steps in counts]
