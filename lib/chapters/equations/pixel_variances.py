r"""A variance for each pixel of a reverse step, learned by a network of its own.

With a denoiser that is trained and stays as it is, a second network learns the square of
something at x_t, for each pixel (Bao et al. 2022b, section 4): for ``"NPR"`` the residual
:math:`(v - \hat v)^2` of what the first one predicts, for ``"SN"`` the square
:math:`\varepsilon^2` of the noise. The minimizers are the means given x_t, from which follows the
mean squared error of :math:`\hat x_0`,

.. math:: \sigma_t^2\, E[(v - \hat v)^2 \mid x_t] \quad\text{or}\quad
          (\sigma_t / \alpha_t)^2 \left(E[\varepsilon^2 \mid x_t] - \hat\varepsilon^2\right),

:math:`v = \alpha_t \varepsilon - \sigma_t x_0`; the second needs the exact mean
:math:`\hat\varepsilon`. What a network says is cut to [0, 1]: no pixel in [-1, 1] has a variance
above 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chapters.equations import images
from chapters.equations.chain import steps_of
from diffot.denoisers.network import NetworkDenoiser
from diffot.errors import require_known, require_type
from diffot.estimates import GROUPS, columns, mean
from diffot.laws.law import beside
from diffot.learning import datasets, measured, networks, recipes, registry
from diffot.learning.batches import Draws
from diffot.learning.configuration import TrainConfig
from diffot.learning.objectives import Examples, Inputs, Objective
from diffot.learning.training import train
from diffot.seeds import generator

KINDS = ("NPR", "SN")
COUNTS = (10, 25, 50, 100)  # of steps
NETWORKS = {
    model: recipes.config(of).network
    for model, of in (("Digits28", "Digits28"), ("Faces32A", "Faces32B"))
}


class SquareLoss(Objective):
    """Mean squared error of the square that a network is to predict, for each pixel.

    Args:
        denoiser: the first network, which predicts v.
        kind: a name in :data:`KINDS`.
    """

    def __init__(self, denoiser: NetworkDenoiser, kind: str):
        require_type(denoiser, NetworkDenoiser, "denoiser", "a NetworkDenoiser")
        require_known(denoiser.parametrization.name, "parametrization", ("v",))
        require_known(kind, "kind", KINDS)
        self.denoiser, self.kind = denoiser, kind

    def prepare(self, examples: Examples, generator: torch.Generator) -> Inputs:
        x_0, _ = examples
        schedule = self.denoiser.schedule
        t = schedule.draw_times(len(x_0), generator)
        eps = torch.randn(x_0.shape, generator=generator)
        alpha, sigma = (beside(level, x_0) for level in schedule.levels(t))
        return {
            "x": alpha * x_0 + sigma * eps,
            "time": schedule.network_time(t).float(),
            "v": alpha * eps - sigma * x_0,
            "eps": eps,
        }

    def __call__(self, network: nn.Module, inputs: Inputs) -> Tensor:
        seen = inputs["x"], inputs["time"]
        if self.kind == "SN":
            target = inputs["eps"].square()
        else:
            with torch.no_grad():
                target = (inputs["v"] - self.denoiser.network(*seen).float()).square()
        return (network(*seen).float() - target).square().flatten(1).mean(1)


class PixelVariance:
    """The mean squared error of the denoised image, at each pixel.

    Args:
        network: trained with a :class:`SquareLoss` of this denoiser and kind.
    """

    def __init__(self, network: nn.Module, denoiser: NetworkDenoiser, kind: str):
        self.network, self.denoiser, self.kind = network, denoiser, kind

    @torch.no_grad()
    def __call__(self, x: Tensor, t: float) -> Tensor:
        return self.uncut(x, t).clamp(0, 1)

    @torch.no_grad()
    def uncut(self, x: Tensor, t: float) -> Tensor:
        """What the network says, in the type of x."""
        schedule = self.denoiser.schedule
        alpha, sigma = (float(level) for level in schedule.levels(t))
        time = schedule.network_time(t).float().expand(len(x))
        square = self.network(x.float(), time).to(x)
        if self.kind == "NPR":
            return sigma**2 * square
        return (sigma / alpha) ** 2 * (square - self.denoiser.noise(x, t).square())


@dataclass(frozen=True)
class PixelTask:
    """A network of variances, trained and used.

    Attributes:
        model: of images. weights: the first digits of the hash of its weights.
        kind: a name in :data:`KINDS`.
        iterations: of the training, with 64 images each.
        n: held-out images, and images drawn, at least 10. seed: of everything drawn.
    """

    model: str
    weights: str
    kind: str
    iterations: int
    n: int
    seed: int = 0

    def __post_init__(self):
        measured.require_weights(self.model, self.weights)
        require_known(self.model, "model", NETWORKS)
        require_known(self.kind, "kind", KINDS)
        measured.set_whole_numbers(self, iterations=1, n=GROUPS, seed=0)


def measure_pixels(task: PixelTask) -> dict[str, float]:
    """For each number of steps ``gain_N``, bits for each entry that the bound of held-out images
    saves over one variance for all pixels, with its error over images, and ``features_N``, as
    :func:`chapters.equations.images.measure_drawn` has it; ``above`` and ``below``, shares of
    pixels at which the network's answer had to be cut."""
    require_type(task, PixelTask, "task", "a PixelTask")
    variance = trained(task)
    times = sorted({t for n in COUNTS for t in _times(task.model, n)})
    seen = {time: _compared(task, variance, time) for time in times}
    row: dict[str, float] = {}
    for n in COUNTS:
        row |= columns(f"gain_{n}", mean(_gain(task.model, n, seen)))
        drawn = images.drawn_columns(task.model, variance, n, task.n, task.seed)
        row |= {
            f"features_{n}": drawn["features"],
            f"features_{n}_error": drawn["features_error"],
        }
    row["above"] = sum(s.above for s in seen.values()) / len(seen)
    row["below"] = sum(s.below for s in seen.values()) / len(seen)
    return row


def trained(task: PixelTask) -> PixelVariance:
    """The variance that a task's network learns."""
    denoiser = registry.load(task.model)
    data = datasets.load_images(recipes.config(task.model).data)
    result = train(
        networks.build(NETWORKS[task.model], task.seed),
        Draws(data.draw),
        SquareLoss(denoiser, task.kind),
        TrainConfig(task.iterations, 64, 1e-3, "cosine", ema=0.995, clip=1.0, precision="auto"),
        generator(task.seed, f"training {task.kind} of {task.model}"),
        progress=False,
    )
    network = result.network.eval().requires_grad_(False)
    return PixelVariance(network, denoiser, task.kind)


@dataclass(frozen=True)
class _Compared:
    """Squared errors of held-out images at a time, and the variances there, shape (n, *d); shares
    of the variances above 1 and below 0 before they were cut."""

    errors: Tensor
    variances: Tensor
    above: float
    below: float


def _compared(task: PixelTask, variance: PixelVariance, time: float) -> _Compared:
    clean, noisy = images.spoiled(task.model, time, task.n, task.seed)
    parts = noisy.split(images.BATCH)
    with torch.no_grad():
        denoised = torch.cat([variance.denoiser.denoise(x, time) for x in parts])
        found = torch.cat([variance.uncut(x, time) for x in parts]).double()
    above, below = (float(side.double().mean()) for side in (found > 1, found < 0))
    return _Compared((denoised - clean).double().square(), found.clamp(0, 1), above, below)


def _gain(model: str, count: int, seen: dict[float, _Compared]) -> Tensor:
    """Bits for each entry that each image saves; shape (n,)."""
    saved: Any = 0.0
    path = steps_of(recipes.config(model).schedule, count)
    for step, time in zip(path[:-1], _times(model, count)):
        errors, variances = seen[time].errors, seen[time].variances
        one, own = (step.posterior + step.gamma**2 * v for v in (errors.mean(), variances))
        costs = [images.step_cost(step, errors, each) for each in (one, own)]
        saved = saved + (costs[0] - costs[1]).flatten(1).mean(1)
    return saved / math.log(2)


def _times(model: str, count: int) -> list[float]:
    """The times at which the steps of a path start, but for the last."""
    return recipes.config(model).schedule.timesteps(count).tolist()[:-2]
