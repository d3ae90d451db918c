"""Generative adversarial networks: a generator and a discriminator, trained in turns."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from diffot.errors import (
    as_number,
    as_whole_number,
    require_generator,
    require_points,
    require_type,
)
from diffot.flows.maps import Map
from diffot.learning.batches import Draws

BETAS = (0.5, 0.999)  # of Adam (Radford et al. 2016, section 3)


@dataclass(frozen=True)
class GANConfig:
    """How the two networks are trained.

    Args:
        iterations: pairs of steps, one of the discriminator and then one of the generator.
        batch_size: real and generated points in each step, as many of either.
        learning_rate: of Adam, of both networks.

    Raises:
        TypeError: for values of other types. ValueError: for values out of range.
    """

    iterations: int
    batch_size: int = 512
    learning_rate: float = 3e-4

    def __post_init__(self):
        for name in ("iterations", "batch_size"):
            value = as_whole_number(getattr(self, name), name, least=1)
            object.__setattr__(self, name, value)
        rate = as_number(self.learning_rate, "learning_rate", above=0)
        object.__setattr__(self, "learning_rate", rate)


@dataclass(frozen=True)
class GANResult:
    """The trained networks, the last of training, and the CPU seconds of all threads."""

    generator: nn.Module
    discriminator: nn.Module
    cpu_seconds: float


def discriminator_loss(real: Tensor, generated: Tensor) -> Tensor:
    r"""The mean of :math:`-\log D(x)` over real points plus that of :math:`-\log(1 - D(x))` over
    generated ones, D being the logistic function of the logits given (Goodfellow et al. 2014,
    eq. 1; Su & Yang 2025, eqs. 19.3 and 19.4). Where D is :math:`p / (p + q)`, the logit is
    :math:`\log p / q` and the loss :math:`2 \log 2 - 2\, \mathrm{JS}(p, q)`."""
    return softplus(-real).mean() + softplus(generated).mean()


def generator_loss(generated: Tensor) -> Tensor:
    r"""The mean of :math:`-\log D(x)` over generated points, of logits given: not the minimax
    loss, whose gradient vanishes where the discriminator wins (Goodfellow et al. 2014, section 3;
    Su & Yang 2025, eq. 19.12, with the logarithm of D)."""
    return softplus(-generated).mean()


def train_gan(
    generating: nn.Module,
    discriminator: nn.Module,
    batches: Draws,
    config: GANConfig,
    latents: int,
    generator: torch.Generator,
) -> GANResult:
    """Train a generator against a discriminator. The networks passed in are not changed.

    Args:
        generating: takes latents (B, latents) of N(0, I) to points (B, d).
        discriminator: takes points to logits (B, 1), high for real ones.
        batches: of real points.
        generator: of every random number drawn in training.

    Raises:
        TypeError, ValueError: for other arguments.
        FloatingPointError: if a loss stops being finite.
    """
    require_type(generating, nn.Module, "generating", "a torch.nn.Module")
    require_type(discriminator, nn.Module, "discriminator", "a torch.nn.Module")
    require_type(batches, Draws, "batches", "Draws")
    require_type(config, GANConfig, "config", "a GANConfig")
    latents = as_whole_number(latents, "latents", least=1)
    require_generator(generator)
    start, size = time.process_time(), config.batch_size
    made, judge = copy.deepcopy(generating).train(), copy.deepcopy(discriminator).train()
    of_made, of_judge = (
        torch.optim.Adam(network.parameters(), config.learning_rate, betas=BETAS)
        for network in (made, judge)
    )
    for step in range(config.iterations):
        real, _ = batches.take(size, generator)
        z = torch.randn(2, size, latents, generator=generator)
        loss = discriminator_loss(judge(real), judge(made(z[0]).detach()))
        _descend(of_judge, loss, step)
        _descend(of_made, generator_loss(judge(made(z[1]))), step)
    return GANResult(made.eval(), judge.eval(), time.process_time() - start)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor, step: int) -> None:
    if not bool(loss.isfinite()):
        raise FloatingPointError(
            f"a loss is {loss.item()} in step {step}; try a smaller learning_rate"
        )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


class GeneratorMap(Map):
    """The map of a generator, from latents (B, k) of N(0, I) to points (B, d)."""

    def __init__(self, network: nn.Module):
        require_type(network, nn.Module, "network", "a torch.nn.Module")
        self.network = network

    def decode(self, z: Tensor) -> Tensor:
        require_points(z, name="z")
        return self.network(z.float()).to(z)
