"""Training of noise predictors."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm.auto import trange

from diffot.errors import require, require_finite
from diffot.schedules import Schedule

Draw = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained.

    Args:
        iterations: number of optimizer steps.
        batch_size: fresh draws of (x_0, t, eps) in each step.
        learning_rate: of Adam, at the start.
        decay: ``"cosine"`` (to zero at the end) or ``"constant"``.
        ema: factor of the exponential moving average of the weights, in [0, 1); the average is
            what is kept. In its first steps the average forgets faster, by (1+i)/(10+i).
        seed: of every random number drawn in training.
    """

    iterations: int
    batch_size: int = 1024
    learning_rate: float = 1e-3
    decay: str = "constant"
    ema: float = 0.999
    seed: int = 0

    def __post_init__(self):
        require(
            self.iterations >= 1 and self.batch_size >= 1 and self.learning_rate > 0,
            f"{self}: iterations, batch size and learning rate must be positive",
        )
        require(
            self.decay in ("cosine", "constant"),
            f"decay is {self.decay!r}; expected 'cosine' or 'constant'",
        )
        require(0 <= self.ema < 1, f"ema is {self.ema}; expected a number in [0, 1)")


@dataclass(frozen=True)
class TrainResult:
    """What training leaves behind.

    ``network`` carries the averaged weights; ``losses`` is the mean loss of each of (at most)
    200 stretches of equal length; ``cpu_seconds`` counts all threads of the process.
    """

    network: nn.Module
    losses: list[float]
    cpu_seconds: float


def train(
    network: nn.Module,
    schedule: Schedule,
    draw: Draw,
    config: TrainConfig,
    progress: bool = True,
) -> TrainResult:
    r"""Fit a network to the noise (Ho et al. 2020, algorithm 1; thesis algorithm 1).

    Minimizes :math:`E \|\varepsilon - \varepsilon_\theta(\alpha_t x_0 + \sigma_t \varepsilon,
    t)\|^2 / d`, with t uniform on 1..T, by Adam. The network passed in is not changed.

    Args:
        network: called as ``network(x, t/T)``.
        draw: ``draw(n, generator)`` returns n data points, shape (n, *d).

    Raises:
        ValueError: if the data hold NaN.
        FloatingPointError: if the loss stops being finite.
    """
    network = copy.deepcopy(network).train()
    average = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    alpha, sigma = schedule.alpha_bar.sqrt().float(), (1 - schedule.alpha_bar).sqrt().float()
    stretch = math.ceil(config.iterations / 200)
    losses, total = [], 0.0
    start = time.process_time()

    bar = trange(config.iterations, disable=not progress, desc="training", unit="step")
    for i in bar:
        if config.decay == "cosine":
            rate = 0.5 * (1 + math.cos(math.pi * i / config.iterations))
            optimizer.param_groups[0]["lr"] = config.learning_rate * rate
        x_0 = draw(config.batch_size, generator).float()
        require_finite(x_0, "the training data")
        t = torch.randint(1, schedule.T + 1, (len(x_0),), generator=generator)
        eps = torch.randn(x_0.shape, generator=generator)
        shape = (-1, *[1] * (x_0.ndim - 1))
        x_t = alpha[t].reshape(shape) * x_0 + sigma[t].reshape(shape) * eps
        loss = nn.functional.mse_loss(network(x_t, t.float() / schedule.T), eps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay = min(config.ema, (1 + i) / (10 + i))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(average.parameters()), list(network.parameters()), 1 - decay
            )
        total += loss.item()
        if (i + 1) % stretch == 0 or i + 1 == config.iterations:
            losses.append(total / (i % stretch + 1))
            total = 0.0
            bar.set_postfix(loss=f"{losses[-1]:.4f}")
            if not math.isfinite(losses[-1]):
                raise FloatingPointError(
                    f"the loss is {losses[-1]} after {i + 1} steps; lower the learning rate "
                    f"(now {config.learning_rate})"
                )
    return TrainResult(average.eval(), losses, time.process_time() - start)
