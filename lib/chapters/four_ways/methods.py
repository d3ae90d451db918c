"""Four ways to generate: each trains networks on one law in the plane and gives a map.

All see the data divided by :data:`SCALE`, which brings them to about the scale of N(0, I).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from zuko.nn import MLP

from diffot.denoisers.network import NetworkDenoiser
from diffot.errors import as_number, as_whole_number, require_known
from diffot.flows.maps import Map
from diffot.flows.probability import ProbabilityFlow
from diffot.flows.sampled import SampledMap
from diffot.laws.mixtures import GaussianMixture, thesis_mixture
from diffot.learning import networks
from diffot.learning.batches import Draws
from diffot.learning.configuration import TrainConfig
from diffot.learning.gan import GANConfig, GeneratorMap, train_gan
from diffot.learning.normalizing_flow import LikelihoodLoss, NormalizingFlow, spline_flow
from diffot.learning.objectives import DenoisingLoss, Objective
from diffot.learning.training import train
from diffot.learning.vae import VAE, BoundLoss, VAEMap, importance_bound
from diffot.processes.schedules import Rectified
from diffot.samplers.higher_order import heun
from diffot.seeds import generator

SCALE = 5.0
BATCH, AVERAGE = 512, 0.99  # points of each step; decay of the average of the weights
LATENTS = 2  # of the VAE and the GAN
STEPS = 20  # of Heun's method, for the diffusion
IMPORTANCE = 500  # latents for each point, for the bound of the VAE
WIDE, GAN_WIDE, FLOW_WIDE = (96, 96), (97, 97), (69, 69)  # hidden layers
DIFFUSION = {
    "class": "MLP", "dim": 2, "widths": [96, 96, 96], "activation": "silu", "frequencies": 4
}  # fmt: skip


def law() -> GaussianMixture:
    """Four round modes of equal weight, one of them moved: L.1b."""
    return thesis_mixture("Low2DASymMix")


@dataclass(frozen=True)
class GenerationTask:
    """A training.

    Attributes:
        method: a name in :data:`METHODS`.
        rate: learning rate at its highest.
        seed: of everything drawn.
        iterations: steps of the optimizer; for the GAN, of both.
        points: generated, and fresh ones of the law, for the measures.
    """

    method: str
    rate: float
    seed: int
    iterations: int
    points: int = 4000

    def __post_init__(self):
        require_known(self.method, "method", METHODS)
        object.__setattr__(self, "rate", as_number(self.rate, "rate", above=0))
        for name, least in (("seed", 0), ("iterations", 1), ("points", 100)):
            object.__setattr__(self, name, as_whole_number(getattr(self, name), name, least))

    def draws(self, key: str) -> torch.Generator:
        """A generator for one purpose of this task."""
        return generator(self.seed, f"{key} of {self.method} at {self.rate:g}")


@dataclass(frozen=True)
class Made:
    """What a training gives.

    Attributes:
        map: from latents of N(0, I), shape (n, latents), to points in units of :data:`SCALE`.
        latents: their dimension.
        parameters: number of those trained.
        seconds: CPU time of the training.
        log_likelihood: of points in these units, in nats, or a bound of it; None if there is
            none.
    """

    map: Map
    latents: int
    parameters: int
    seconds: float
    log_likelihood: Callable[[Tensor], Tensor] | None


def vae(task: GenerationTask) -> Made:
    """The bound of its likelihood is that of :data:`IMPORTANCE` draws."""
    network = networks.seeded(lambda: VAE(2, LATENTS, WIDE), task.seed)
    trained, seconds = _fit(network, BoundLoss(LATENTS), task)

    def bound(x: Tensor) -> Tensor:
        draws = task.draws("bound")
        parts = x.float().split(500)
        return torch.cat([importance_bound(trained, p, IMPORTANCE, draws) for p in parts])

    return Made(VAEMap(trained), LATENTS + 2, parameter_count(trained), seconds, bound)


def gan(task: GenerationTask) -> Made:
    """A generator and a discriminator of the same widths."""
    pair = [
        networks.seeded(lambda ends=ends: MLP(*ends, GAN_WIDE, nn.SiLU), 2 * task.seed + k)
        for k, ends in enumerate(((LATENTS, 2), (2, 1)))
    ]
    config = GANConfig(task.iterations, BATCH, task.rate)
    generating, discriminator = pair
    result = train_gan(
        generating, discriminator, _batches(), config, LATENTS, task.draws("training")
    )
    made = result.generator.requires_grad_(False)
    count = sum(parameter_count(network) for network in pair)
    return Made(GeneratorMap(made), LATENTS, count, result.cpu_seconds, None)


def normalizing_flow(task: GenerationTask) -> Made:
    """Three autoregressive transforms by splines."""
    network = spline_flow(2, 3, FLOW_WIDE, task.seed)
    network, seconds = _fit(network, LikelihoodLoss(), task)
    found = NormalizingFlow(network)
    return Made(found, 2, parameter_count(network), seconds, found.log_likelihood)


def diffusion(task: GenerationTask) -> Made:
    """A rectified schedule; the network answers with the velocity."""
    loss = DenoisingLoss(Rectified(), "flow")
    network, seconds = _fit(networks.build(DIFFUSION, task.seed), loss, task)
    denoiser = NetworkDenoiser(network, Rectified(), "flow")
    flow = ProbabilityFlow(denoiser, 1e-4)
    count = parameter_count(network)
    return Made(SampledMap(denoiser, STEPS, heun), 2, count, seconds, flow.log_likelihood)


METHODS = {
    "VAE": vae,
    "GAN": gan,
    "normalizing flow": normalizing_flow,
    "diffusion": diffusion,
}


def parameter_count(network: nn.Module) -> int:
    """Trained numbers, without those that masks of the flow's perceptrons hold at no effect."""
    masks = (getattr(module, "mask", None) for module in network.modules())
    masked = sum(int((~mask.bool()).sum()) for mask in masks if isinstance(mask, Tensor))
    return sum(weight.numel() for weight in network.parameters()) - masked


def _fit(network: nn.Module, loss: Objective, task: GenerationTask) -> tuple[Any, float]:
    config = TrainConfig(task.iterations, BATCH, task.rate, decay="cosine", ema=AVERAGE)
    draws = task.draws("training")
    result = train(network, _batches(), loss, config, draws, progress=False)
    return result.network.requires_grad_(False), result.cpu_seconds


def _batches() -> Draws:
    target = law()
    return Draws(lambda n, draws: target.sample(n, draws) / SCALE)
