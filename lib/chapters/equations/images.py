r"""Networks of images: errors, variances of steps, bounds and likelihoods, measured.

Images are spread evenly over the brightness levels of 8 bits, so that their law has a density;
bits for each entry are those of the levels. With the errors of a network, the bound of the
likelihood of a chain is a sum of closed forms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chapters.equations.chain import Step
from diffot.errors import as_number, require_known, require_type
from diffot.estimates import GROUPS, Estimate, columns, mean
from diffot.flows.probability import ProbabilityFlow
from diffot.learning import datasets, measured, recipes, registry
from diffot.measures import quality
from diffot.samplers.ddpm import ddpm
from diffot.seeds import generator

LEVEL = 2 / 255  # between neighboring levels of brightness, of values in [-1, 1]
TOLERANCE = 1e-3  # of the probability flow
BATCH = 50  # images that pass through a network at a time
VARIANCES = ("beta", "posterior", "residual")
Variance = str | Callable[[Tensor, float], float | Tensor]
PROBES = {"Digits28": "DigitsProbe28", "Faces32A": "FacesProbe32"}


def spread_evenly(images: Tensor, draws: torch.Generator) -> Tensor:
    """Images with a uniform number added to each entry, as wide as a level; float32."""
    return images + LEVEL * (torch.rand(images.shape, generator=draws) - 0.5)


def bits(log_density: Tensor, entries: int) -> Tensor:
    """Bits for each of so many entries, of log densities in nats."""
    return -(log_density / entries + math.log(LEVEL)) / math.log(2)


def spoiled(model: str, time: float, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Held-out images, spread evenly, and the same with the noise of a time."""
    draws = generator(seed, f"noise at {time:g}")
    images = spread_evenly(measured.held_out(model, n).images, draws)
    alpha, sigma = (float(level) for level in recipes.config(model).schedule.levels(time))
    return images, alpha * images + sigma * torch.randn(images.shape, generator=draws)


@dataclass(frozen=True)
class ErrorTask:
    """What a network misses at one time.

    Attributes:
        model: of images. weights: the first digits of the hash of its weights.
        time: of its schedule. n: held-out images, at least 10. seed: of the noise.
    """

    model: str
    weights: str
    time: float
    n: int
    seed: int = 0

    def __post_init__(self):
        measured.require_weights(self.model, self.weights)
        object.__setattr__(self, "time", as_number(self.time, "time", above=0))
        measured.set_whole_numbers(self, n=GROUPS, seed=0)


def measure_error(task: ErrorTask) -> dict[str, float]:
    """``error``: mean squared error of the denoised image, for each entry, and ``noise``: mean
    square of the predicted noise; over held-out images, each with its standard error."""
    require_type(task, ErrorTask, "task", "an ErrorTask")
    denoiser = registry.load(task.model)
    alpha, sigma = (float(level) for level in denoiser.schedule.levels(task.time))
    images, noisy = spoiled(task.model, task.time, task.n, task.seed)
    with torch.no_grad():
        clean = torch.cat([denoiser.denoise(x, task.time) for x in noisy.split(BATCH)])
    noise = (noisy - alpha * clean) / sigma
    return {
        **columns("error", mean((clean - images).double().square().flatten(1).mean(1))),
        **columns("noise", mean(noise.double().square().flatten(1).mean(1))),
    }


def analytic_error(noise: float, alpha: float, sigma: float) -> float:
    """The mean squared error of x_0 from the mean square of the predicted noise, if the mean is
    exact (Bao et al. 2022a, theorem 1); below 0 if that is above 1."""
    return (sigma / alpha) ** 2 * (1 - noise)


def step_variance(step: Step, kind: str, error: float) -> float:
    """Of a reverse step, of one of the kinds, for a mean squared error of x_0."""
    require_known(kind, "kind", VARIANCES)
    if kind == "beta":
        return step.beta
    return step.posterior + (step.gamma**2 * error if kind == "residual" else 0.0)


def step_cost(step: Step, error: Tensor, variance: float | Tensor) -> Tensor:
    """What a reverse step adds to the bound for each entry, in nats: the divergence of the step
    given x_0 too from one of this variance, the squared errors of x_0 being of any shape."""
    ratio = step.posterior / torch.as_tensor(variance, dtype=torch.float64)
    return (ratio + step.gamma**2 * error * ratio / step.posterior - 1 - ratio.log()) / 2


def bound(path: Sequence[Step], errors: Sequence[float], square: float, kind: str) -> float:
    """Bound of the negative log density for each entry, in nats, mean over images.

    Args:
        path: the steps from T to 0.
        errors: mean squared errors of x_0 for each entry, at the start of each step.
        square: mean square of the entries of the data.
        kind: of variance. The last step, whose noise is only in the likelihood, has
            ``"residual"``.
    """
    first = path[0]
    total = (first.alpha**2 * square + first.sigma**2 - 1) / 2 - math.log(first.sigma)
    for step, error in zip(path[:-1], errors):
        square_error = torch.tensor(error, dtype=torch.float64)
        variance = step_variance(step, kind, float(square_error))
        total += float(step_cost(step, square_error, variance))
    return total + math.log(2 * math.pi * math.e * errors[-1]) / 2


@dataclass(frozen=True)
class DrawTask:
    """A way to draw images.

    Attributes:
        model, weights: as in :class:`ErrorTask`.
        kind: of variance, a name in :data:`VARIANCES`.
        steps: of ancestral sampling. n: images, at least 10. seed: of everything drawn.
        errors: of x_0 at the start of each step, for the residual variance; else empty.
    """

    model: str
    weights: str
    kind: str
    steps: int
    n: int
    seed: int = 0
    errors: tuple[float, ...] = ()

    def __post_init__(self):
        measured.require_weights(self.model, self.weights)
        require_known(self.model, "model", PROBES)
        require_known(self.kind, "kind", VARIANCES)
        measured.set_whole_numbers(self, steps=1, n=GROUPS, seed=0)


def measure_drawn(task: DrawTask) -> dict[str, float]:
    """Distance of what is drawn, and of as many real images, from others in the features of a
    probe: ``features`` and ``features_real``, with their errors."""
    require_type(task, DrawTask, "task", "a DrawTask")
    variance: Variance = task.kind
    if task.kind == "residual":
        times = recipes.config(task.model).schedule.timesteps(task.steps).tolist()
        errors = dict(zip(times, task.errors))
        variance = lambda x, t: errors[t]  # noqa: E731
    return drawn_columns(task.model, variance, task.steps, task.n, task.seed)


def drawn_columns(
    model: str, variance: Variance, steps: int, n: int, seed: int
) -> dict[str, float]:
    """The columns of :func:`measure_drawn`, for any variance that ancestral sampling takes."""
    denoiser, probe = registry.load(model), registry.load(PROBES[model])
    draws = generator(seed, f"{steps} steps")
    held_out = measured.held_out(model, 2 * n).images
    start = torch.randn(n, *held_out.shape[1:], generator=draws)
    with torch.no_grad():
        parts = [ddpm(denoiser, z, draws, variance, steps) for z in start.split(BATCH)]
    drawn = torch.cat(parts).clamp(-1, 1)
    real, others = held_out[:n], held_out[n:]
    return {
        **columns("features", quality.feature_distance(probe, drawn, real)),
        **columns("features_real", quality.feature_distance(probe, others, real)),
    }


@dataclass(frozen=True)
class LikelihoodTask:
    """The likelihood of images by the probability flow of a network.

    Attributes:
        model, weights: as in :class:`ErrorTask`.
        n: held-out images, at least 10. probes: of the divergence, at least 2. seed: of both.
    """

    model: str
    weights: str
    n: int
    probes: int = 4
    seed: int = 0

    def __post_init__(self):
        measured.require_weights(self.model, self.weights)
        measured.set_whole_numbers(self, n=GROUPS, probes=2, seed=0)


def measure_likelihood(task: LikelihoodTask) -> dict[str, float]:
    """``bits`` for each entry, mean over images with its standard error; ``probes_error``, the
    part of it which is due to the estimated divergence; and ``gaussian``, bits under the Gaussian
    with the mean and covariance of the training images, with its error."""
    require_type(task, LikelihoodTask, "task", "a LikelihoodTask")
    draws = generator(task.seed, f"likelihood of {task.model}")
    images = spread_evenly(measured.held_out(task.model, task.n).images, draws)
    flow = ProbabilityFlow(registry.load(task.model), TOLERANCE)
    parts = [flow.estimate_log_likelihood(x, task.probes, draws) for x in images.split(10)]
    values, errors = (torch.cat(part).double() for part in zip(*parts))
    entries = images[0].numel()
    train = datasets.load_images(recipes.config(task.model).data).images
    return {
        **columns("bits", mean(bits(values, entries))),
        "probes_error": float(errors.square().sum().sqrt()) / task.n / entries / math.log(2),
        **columns("gaussian", gaussian_bits(images, spread_evenly(train, draws))),
    }


def gaussian_bits(images: Tensor, train: Tensor) -> Estimate:
    """Bits for each entry of images under the Gaussian fitted to others."""
    flat = train.flatten(1).double()
    law = torch.distributions.MultivariateNormal(flat.mean(0), torch.cov(flat.T))
    return mean(bits(law.log_prob(images.flatten(1).double()), flat.shape[1]))
