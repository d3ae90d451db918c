"""The methods of the comparison: each makes maps from latents to points of a law in the plane.

A method is a function of a task that gives one map after the other, with the CPU seconds that
making it took beyond those before it: reflow gives one for each round, the others one in all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from chapters.transport_methods.bridging import BridgeEnds, FittingConfig, fitted
from chapters.transport_methods.convex import ConvexConfig, convex_map
from diffot.denoisers.network import NetworkDenoiser
from diffot.errors import as_number, as_whole_number, require, require_known
from diffot.flows.density import DensityFlow
from diffot.flows.exact import ExactFlow
from diffot.flows.maps import Map
from diffot.flows.sampled import SampledMap
from diffot.laws import examples, toy
from diffot.laws.densities import QuarticMixture, random_density
from diffot.laws.law import Law
from diffot.laws.mixtures import GaussianMixture, thesis_mixture
from diffot.laws.points import PointSet
from diffot.learning import networks, recipes
from diffot.learning.batches import Draws
from diffot.learning.configuration import TrainConfig
from diffot.learning.objectives import FlowMatchingLoss
from diffot.learning.training import train
from diffot.processes.schedules import Rectified
from diffot.samplers.higher_order import heun
from diffot.seeds import generator
from diffot.transport.bridges import entropic_map
from diffot.transport.semidiscrete import optimal_diagram

LAWS: dict[str, Callable[[], GaussianMixture | QuarticMixture]] = {
    "V": examples.bent_pair,
    "Low2DASymMix": lambda: thesis_mixture("Low2DASymMix"),
    "S-curve": lambda: toy.s_curve_mixture(60),
    # the density of chapter K.1 whose excess is the largest
    "density": lambda: random_density("compact", generator(0, "compact density 36")),
}
NETWORK = recipes.config("Low2DASymMixSiLU").network
BATCH, RATE, AVERAGE = 512, 2e-3, 0.99  # size; learning rate at its highest; decay of the average
SAMPLER_STEPS = 20  # of Heun's method
PAIRS = 20_000  # of latents and points that a round of reflow is trained on
BRIDGE_ROUNDS, BRIDGE_PAIRS = 4, 10_000  # the same for bridges, with simulated pairs


@dataclass(frozen=True)
class MethodTask:
    """A method, on a law.

    Attributes:
        law: a name in :data:`LAWS`.
        method: a name in :data:`METHODS`.
        setting: what the method is set to: pairs dealt out together for ``"minibatch"``, rounds
            after the first for ``"reflow"``, epsilon for ``"entropic"`` and ``"bridge"``, points
            for ``"semi-discrete"`` and ``"convex network"``; 0 for the others.
        seed: of everything drawn.
        iterations: of each training.
        points: latents and points of a sample, for the measures, and of Sinkhorn's samples.
    """

    law: str
    method: str
    setting: float
    seed: int
    iterations: int = 800
    points: int = 2000

    def __post_init__(self):
        require_known(self.law, "law", LAWS)
        require_known(self.method, "method", METHODS)
        for name, least in (("seed", 0), ("iterations", 1), ("points", 2)):
            object.__setattr__(self, name, as_whole_number(getattr(self, name), name, least))
        object.__setattr__(self, "setting", as_number(self.setting, "setting", at_least=0))
        kind = WHOLE.get(self.method)
        require(
            kind is None or self.setting == int(self.setting) >= kind,
            f"setting is {self.setting:g} for {self.method}; expected a whole number, at least "
            f"{kind}",
        )
        require(
            self.method not in NOISY or self.setting > 0,
            f"setting is 0 for {self.method}; expected epsilon above 0",
        )
        require(
            self.method != "minibatch" or BATCH % max(1, int(self.setting)) == 0,
            f"setting is {self.setting:g} for minibatch; expected a number that divides the "
            f"batch of {BATCH}",
        )

    def draws(self, key: str) -> torch.Generator:
        """A generator for one purpose of this task."""
        return generator(self.seed, f"{key} on {self.law}")


@dataclass(frozen=True)
class BracketTask(MethodTask):
    """The excess of the maps of a method themselves, from below and above.

    Attributes:
        spacing: of the grid of latents.
    """

    spacing: float = 0.25

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "spacing", as_number(self.spacing, "spacing", above=0))


@dataclass(frozen=True)
class Made:
    """A map, and the CPU seconds that it took to make; a process is one for given noise."""

    map: Map
    seconds: float


def exact_flow(law: GaussianMixture | QuarticMixture) -> Map:
    """The flow of a law of :data:`LAWS`."""
    if isinstance(law, GaussianMixture):
        return ExactFlow(law, 1e-6)
    return DensityFlow(law, tolerance=1e-5)


def flow(task: MethodTask) -> Iterator[Made]:
    """The exact one."""
    yield Made(exact_flow(LAWS[task.law]()), 0.0)


def minibatch(task: MethodTask) -> Iterator[Made]:
    """Flow matching with latents dealt out among ``setting`` pairs."""
    start = time.process_time()
    learned = trained(task, _independent(LAWS[task.law]()), int(task.setting), "minibatch")
    yield Made(learned, time.process_time() - start)


def reflow(task: MethodTask) -> Iterator[Made]:
    """Flow matching, and ``setting`` rounds of reflow after it, each trained on pairs of fresh
    latents and their points under the map before."""
    start, draw = time.process_time(), _independent(LAWS[task.law]())
    for k in range(int(task.setting) + 1):
        learned = trained(task, draw, 1, f"round {k}")
        yield Made(learned, time.process_time() - start)
        start = time.process_time()
        z = torch.randn(PAIRS, 2, generator=task.draws(f"latents of round {k}"))
        draw = PointSet(torch.stack([learned.decode(z), z], 1)).sample


def entropic(task: MethodTask) -> Iterator[Made]:
    """The mean of the entropic plan of two samples."""
    z, x = _two_samples(task)
    start = time.process_time()
    found = entropic_map(z, x, task.setting)
    yield Made(found, time.process_time() - start)


def convex(task: MethodTask) -> Iterator[Made]:
    """The gradient of an input-convex network, trained on ``setting`` points."""
    points = LAWS[task.law]().sample(int(task.setting), task.draws("points"))
    start, config = time.process_time(), ConvexConfig(task.iterations)
    found = convex_map(points, config, task.draws("training of a convex network"), task.seed)
    yield Made(found, time.process_time() - start)


def bridge(task: MethodTask) -> Iterator[Made]:
    """The process between independent pairs, and one for each of four rounds of iterated
    Markovian fitting after it. Their noise is the same for all."""
    law, start = LAWS[task.law](), time.process_time()
    fitting = FittingConfig(task.setting, BRIDGE_ROUNDS, BRIDGE_PAIRS, _training(task.iterations))
    first, second = (networks.build(NETWORK, 2 * task.seed + k) for k in (0, 1))
    draws = task.draws("fitting of the bridge")
    for process in fitted((first, second), (_latents, law.sample), fitting, draws):
        yield Made(BridgeEnds(process, task.seed), time.process_time() - start)
        start = time.process_time()


def semidiscrete(task: MethodTask) -> Iterator[Made]:
    """The optimal map to a sample of ``setting`` points."""
    points = LAWS[task.law]().sample(int(task.setting), task.draws("points"))
    start = time.process_time()
    masses = torch.full((len(points),), 1 / len(points), dtype=torch.float64)
    found = optimal_diagram(points, masses)
    yield Made(found, time.process_time() - start)


NOISY = ("entropic", "bridge")  # set to an epsilon
# least setting of the methods that are set to a whole number
WHOLE = {"minibatch": 1, "reflow": 0, "semi-discrete": 2, "convex network": 2}
METHODS = {
    "exact flow": flow,
    "minibatch": minibatch,
    "reflow": reflow,
    "entropic": entropic,
    "bridge": bridge,
    "convex network": convex,
    "semi-discrete": semidiscrete,
}


def trained(
    task: MethodTask, draw: Callable[[int, torch.Generator], Tensor], group: int, key: str
) -> SampledMap:
    """The map of a network that has learned the velocity between pairs.

    Args:
        draw: of n pairs, shape (n, 2, 2): data point and latent.
        group: as in :class:`~diffot.learning.objectives.FlowMatchingLoss`.
    """
    result = train(
        networks.build(NETWORK, task.seed),
        Draws(draw),
        FlowMatchingLoss(group),
        _training(task.iterations),
        task.draws(f"training of {key}"),
        progress=False,
    )
    network = result.network.requires_grad_(False)
    return SampledMap(NetworkDenoiser(network, Rectified(), "flow"), SAMPLER_STEPS, heun)


def _training(iterations: int) -> TrainConfig:
    return TrainConfig(iterations, BATCH, RATE, decay="cosine", ema=AVERAGE)


def _latents(n: int, draws: torch.Generator) -> Tensor:
    return torch.randn(n, 2, generator=draws)


def _independent(law: Law) -> Callable[[int, torch.Generator], Tensor]:
    """Draws independent pairs of a point of the law and a latent of N(0, I)."""

    def draw(n: int, draws: torch.Generator) -> Tensor:
        x = law.sample(n, draws)
        return torch.stack([x, torch.randn(x.shape, dtype=x.dtype, generator=draws)], 1)

    return draw


def _two_samples(task: MethodTask) -> tuple[Tensor, Tensor]:
    draws = task.draws("samples for Sinkhorn")
    z = torch.randn(task.points, 2, dtype=torch.float64, generator=draws)
    return z, LAWS[task.law]().sample(task.points, draws)
