r"""Schrödinger bridges with networks, by iterated Markovian fitting.

A process from :math:`X_0` to :math:`X_1` is fitted to pairs. Joined by Brownian bridges of
variance :math:`\epsilon`, they lie at time t at
:math:`X_t = (1 - t) X_0 + t X_1 + \sqrt{\epsilon t (1 - t)}\, W`, and

.. math:: dX = v_t(X)\, dt + \sqrt{\epsilon}\, dB, \qquad
          v_t(x) = E\Big[\frac{X_1 - X_t}{1 - t} \,\Big|\, X_t = x\Big]

has the same law at each time. Its start and end are the next pairs. Fitted in turns from either
side, the process approaches the Schrödinger bridge (Shi et al. 2023; Peluchetti 2023). Gaussian
pairs have these rounds in closed form, :func:`diffot.transport.couplings.rectified`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_batch,
    require_generator,
    require_same_shape,
    require_type,
)
from diffot.flows.maps import Map
from diffot.laws.law import beside
from diffot.laws.points import PointSet
from diffot.learning.batches import Draws
from diffot.learning.configuration import TrainConfig
from diffot.learning.objectives import Examples, Inputs, Objective
from diffot.learning.training import train
from diffot.seeds import generator

STEPS = 30  # of the simulated processes


class BridgeLoss(Objective):
    r"""How well a network finds the drift of the process that is fitted to pairs.

    The loss of a pair is :math:`\|(X_1 - X_t) / \sqrt{1 - t} - f_\theta(X_t, t)\|^2 / d`, t being
    uniform, so that the network learns :math:`f = \sqrt{1 - t}\, v`. The drift's own target has
    no variance, for near t = 1 the noise in it grows without bound. Examples are pairs, shape
    (n, 2, *d): start, then end.

    Args:
        epsilon: variance of the bridges, above 0.
    """

    def __init__(self, epsilon: float) -> None:
        self.epsilon = as_number(epsilon, "epsilon", above=0)

    def prepare(self, examples: Examples, generator: torch.Generator) -> Inputs:
        pairs, _ = examples
        require(
            pairs.ndim >= 3 and pairs.shape[1] == 2,
            f"the training data has shape {tuple(pairs.shape)}; expected (n, 2, *d): pairs of a "
            "start and an end",
        )
        start, end = pairs.unbind(1)
        time = torch.rand(len(pairs), generator=generator)
        t = beside(time, start)
        noise = self.epsilon**0.5 * torch.randn(start.shape, generator=generator)
        return {
            "x": (1 - t) * start + t * end + (t * (1 - t)).sqrt() * noise,
            "time": time,
            "target": (1 - t).sqrt() * (end - start) - t.sqrt() * noise,
        }

    def __call__(self, network: nn.Module, inputs: Inputs) -> Tensor:
        output = network(inputs["x"], inputs["time"]).float()
        require_same_shape(
            output, inputs["target"], ("what the network answers", "the training data")
        )
        return (output - inputs["target"]).square().flatten(1).mean(1)


@dataclass(frozen=True, eq=False)
class NoisyProcess:
    r"""The process whose drift is :math:`f(x, t) / \sqrt{1 - t}`.

    Attributes:
        network: f, called with points and times in [0, 1], shapes (B, *d) and (B,).
        epsilon: variance of the noise. steps: of the Euler-Maruyama method, all of one length.
    """

    network: Callable[[Tensor, Tensor], Tensor]
    epsilon: float
    steps: int = STEPS

    def __post_init__(self):
        require_type(self.network, Callable, "network", "a function of points and times")
        object.__setattr__(self, "epsilon", as_number(self.epsilon, "epsilon", above=0))
        object.__setattr__(self, "steps", as_whole_number(self.steps, "steps", least=1))

    @torch.no_grad()
    def ends(self, start: Tensor, draws: torch.Generator) -> Tensor:
        """Where the process ends from these points, each with noise of its own."""
        require_batch(start, "start")
        require_generator(draws, "draws")
        x, length = start, 1 / self.steps
        for k in range(self.steps):
            slope = self._answer(x, k * length) / (1 - k * length) ** 0.5
            noise = torch.randn(x.shape, dtype=x.dtype, generator=draws)
            x = x + length * slope + (self.epsilon * length) ** 0.5 * noise
        return x

    @torch.no_grad()
    def means(self, start: Tensor) -> Tensor:
        """The expected ends of the *pairs* that the process was fitted to, given their starts:
        the answer at time 0. For a bridge they are those of the process."""
        require_batch(start, "start")
        return start + self._answer(start, 0.0)

    def _answer(self, x: Tensor, t: float) -> Tensor:
        times = torch.full((len(x),), t, dtype=torch.float32)
        return self.network(x.float(), times).to(x)


@dataclass(frozen=True, eq=False)
class BridgeEnds(Map):
    """The ends of a process, with noise that depends on nothing but a seed and the number of
    latents; so each latent has one end, as under a map, but its neighbors have others."""

    process: NoisyProcess
    seed: int

    def decode(self, z: Tensor) -> Tensor:
        require_batch(z, "z")
        return self.process.ends(z, generator(self.seed, "noise of a bridge"))

    def jacobian(self, z: Tensor) -> Tensor:
        """None: the ends of neighbors are far apart."""
        raise NotImplementedError("the ends of a process with noise have no Jacobian")


Draw = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True)
class FittingConfig:
    """How a bridge is fitted.

    Args:
        epsilon: variance of the bridges. rounds: after the first process, two trainings each.
        pairs: number of simulated pairs that a training is given.
        training: of a network in each round; it goes on from its weights of the round before.
    """

    epsilon: float
    rounds: int
    pairs: int
    training: TrainConfig

    def __post_init__(self):
        object.__setattr__(self, "epsilon", as_number(self.epsilon, "epsilon", above=0))
        for name, least in (("rounds", 0), ("pairs", 1)):
            object.__setattr__(self, name, as_whole_number(getattr(self, name), name, least))
        require_type(self.training, TrainConfig, "training", "a TrainConfig")


def fitted(
    networks: tuple[nn.Module, nn.Module],
    laws: tuple[Draw, Draw],
    config: FittingConfig,
    draws: torch.Generator,
) -> Iterator[NoisyProcess]:
    """The processes from the first law to the second: that of independent pairs, then one for
    each round.

    In a round, pairs are simulated from fresh points of the first law, a process backward is
    fitted to them, and the process forward to pairs that this one simulates from fresh points of
    the second.

    Args:
        networks: of the process forward and of that backward, with their initial weights.
        laws: each draws n points, shape (n, *d).
    """
    require_type(config, FittingConfig, "config", "a FittingConfig")
    require_generator(draws, "draws")
    sides = list(networks)

    def fit(side: int, draw: Draw) -> NoisyProcess:
        loss = BridgeLoss(config.epsilon)
        result = train(sides[side], Draws(draw), loss, config.training, draws, progress=False)
        sides[side] = result.network
        return NoisyProcess(result.network, config.epsilon)

    def simulated(process: NoisyProcess, side: int) -> Draw:
        """Pairs of the process from this side, end first."""
        start = laws[side](config.pairs, draws)
        return PointSet(torch.stack([process.ends(start, draws), start], 1)).sample

    def independent(n: int, draws: torch.Generator) -> Tensor:
        return torch.stack([law(n, draws).float() for law in laws], 1)

    forward = fit(0, independent)
    yield forward
    for _ in range(config.rounds):
        backward = fit(1, simulated(forward, 0))
        forward = fit(0, simulated(backward, 1))
        yield forward
