"""Learning a score by each of the four losses, measured: each task is one training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chapters.scores.closed_forms import LOSSES
from diffot.errors import as_number, require_known, require_type
from diffot.laws.mixtures import equal_mixture
from diffot.learning import networks
from diffot.learning.batches import Draws
from diffot.learning.configuration import TrainConfig
from diffot.learning.measured import set_whole_numbers
from diffot.learning.objectives import Objective
from diffot.learning.score_matching import (
    DenoisingScoreLoss,
    ExplicitScoreLoss,
    ImplicitScoreLoss,
    SlicedScoreLoss,
)
from diffot.learning.training import train
from diffot.seeds import generator

LAW = equal_mixture([[1.0, 0.5], [-1.0, 0.8], [0.3, -1.2]], [0.2, 0.3, 0.1])
NOISE = 0.5  # added to LAW, for all four losses
NOISY = LAW.marginal(1.0, NOISE)
NETWORK = {"class": "MLP", "dim": 2, "widths": [64, 64], "activation": "silu"}
BATCH, RATE, AVERAGE = 256, 3e-3, 0.99  # size; learning rate at its highest; of the weights
POINTS = 20_000  # at which a network is compared with the exact score
RECORDS = 10  # of the loss, along a training on a line


class LinearScore(nn.Module):
    r"""The score :math:`-\theta x` of a round Gaussian."""

    def __init__(self, theta: float):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(float(theta), dtype=torch.float64))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """The score at x, shape (B, d); the time does not matter."""
        return -self.theta * x


def objective(loss: str, law: Any, sigma: float) -> Objective:
    """The loss of this name. The denoising one adds noise of the size ``sigma`` itself; to the
    explicit one ``law``, of the noisy points, is known."""
    require_known(loss, "loss", LOSSES)
    return {
        "explicit": lambda: ExplicitScoreLoss(law.score),
        "implicit": ImplicitScoreLoss,
        "sliced": SlicedScoreLoss,
        "denoising": lambda: DenoisingScoreLoss(sigma),
    }[loss]()


def best_slopes(loss: Objective, x: Tensor, batches: int, draws: torch.Generator) -> Tensor:
    r"""The :math:`\theta` of :class:`LinearScore` with the least mean loss in each batch.

    Every loss is a parabola in it, which three values tell.

    Args:
        x: points, shape (n, d), that are split into so many batches, which must divide n.

    Returns:
        Shape (batches,).
    """
    inputs = loss.prepare((x, {}), draws)
    low, middle, high = (
        loss(LinearScore(theta), inputs).detach().reshape(batches, -1).mean(1)
        for theta in (-1.0, 0.0, 1.0)
    )
    return (low - high) / (2 * (low + high - 2 * middle))


@dataclass(frozen=True)
class ScoreTask:
    """A network that learns the score of a mixture with noise.

    Attributes:
        loss: a name in ``LOSSES``.
        seed: of the weights and of everything drawn.
        iterations: steps of training.
    """

    loss: str
    seed: int
    iterations: int

    def __post_init__(self):
        require_known(self.loss, "loss", LOSSES)
        set_whole_numbers(self, seed=0, iterations=1)


def measure_score(task: ScoreTask) -> dict[str, float]:
    r"""``error``: the root of :math:`E \|s_\theta - s\|^2 / E \|s\|^2`, points being noisy."""
    require_type(task, ScoreTask, "task", "a ScoreTask")
    law = LAW if task.loss == "denoising" else NOISY
    trained = train(
        networks.build(NETWORK, task.seed),
        Draws(law.sample),
        objective(task.loss, NOISY, NOISE),
        TrainConfig(task.iterations, BATCH, RATE, decay="cosine", ema=AVERAGE),
        generator(task.seed, f"learning a score by the {task.loss} loss"),
        progress=False,
    ).network
    x = NOISY.sample(POINTS, generator(task.seed, "points that are compared"))
    exact = NOISY.score(x)
    with torch.no_grad():
        learned = trained(x.float(), torch.zeros(POINTS)).double()
    return {"error": float(((learned - exact).square().sum() / exact.square().sum()).sqrt())}


@dataclass(frozen=True)
class LineTask:
    """A network that learns the score of points of a plane that lie on a line, N(0, 1) on it.

    Attributes:
        loss: ``"implicit"`` or ``"sliced"``.
        sigma: of the noise that is added to the points; none with 0.
        seed: of the weights and of everything drawn.
        iterations: steps of training, at least 10.
    """

    loss: str
    sigma: float
    seed: int
    iterations: int

    def __post_init__(self):
        require_known(self.loss, "loss", ("implicit", "sliced"))
        set_whole_numbers(self, seed=0, iterations=RECORDS)
        object.__setattr__(self, "sigma", as_number(self.sigma, "sigma", at_least=0))


def on_a_line(n: int, sigma: float, draws: torch.Generator) -> Tensor:
    """Points (n, 2), the second entry of which is noise alone."""
    x = torch.randn(n, 2, generator=draws)
    return x * torch.tensor([(1 + sigma**2) ** 0.5, sigma])


def measure_line(task: LineTask) -> dict[str, float]:
    """``loss_1`` to ``loss_10``, the mean losses of the tenths of a training."""
    require_type(task, LineTask, "task", "a LineTask")
    result = train(
        networks.build(NETWORK, task.seed),
        Draws(lambda n, draws: on_a_line(n, task.sigma, draws)),
        objective(task.loss, None, task.sigma),
        TrainConfig(
            task.iterations, BATCH, RATE, clip=10.0, record_every=task.iterations // RECORDS
        ),
        generator(task.seed, f"learning the score of a line by the {task.loss} loss"),
        progress=False,
    )
    losses = result.column("loss")[:RECORDS]
    return {f"loss_{i}": float(loss) for i, loss in enumerate(losses, start=1)}
