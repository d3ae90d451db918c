r"""A generator's steps against a discriminator that is held fixed, and against one that learns.

Of eq. 19.8 and 19.11 of Su & Yang (2025): to follow, in squared distance, where the points
should go, :math:`x + \epsilon \nabla D(x)`; or to raise :math:`D` itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from zuko.nn import MLP

from diffot.errors import as_whole_number, require_known, require_type
from diffot.laws import examples
from diffot.laws.mixtures import GaussianMixture
from diffot.learning import networks
from diffot.learning.batches import Draws
from diffot.learning.gan import GANConfig, discriminator_loss, train_gan
from diffot.seeds import generator

LATENTS, WIDE = 2, (97, 97)  # as in the chapter on four ways to generate
STEP = 0.1  # epsilon
RATE = 1e-3  # of Adam, in the steps after the training
LOSSES = ("follow the points", "raise the discriminator")
MOMENTS = (1, 3, 10, 30, 100, 300)  # numbers of steps
START = (0.5, 3.0)  # of the affine generator a z + b
PACE, PACES = 0.02, 200  # steps of the affine generator, in time, and their number


def law() -> GaussianMixture:
    """The V."""
    return examples.bent_pair()


def following_loss(points: Tensor, goal: Tensor) -> Tensor:
    """Mean of the squared distance from where points should go; (B, d) each."""
    return (points - goal).square().sum(1).mean()


def raising_loss(logits: Tensor) -> Tensor:
    """Minus the mean of the discriminator's logits."""
    return -logits.mean()


def goals(points: Tensor, discriminator: nn.Module, step: float) -> Tensor:
    r"""Where the flow takes points in a short time, :math:`x + \epsilon \nabla D(x)`; (B, d)."""
    x = points.detach().requires_grad_()
    slope = torch.autograd.grad(discriminator(x).sum(), x)[0]
    return (x + step * slope).detach()


@dataclass(frozen=True)
class StepTask:
    """A GAN on the V, and steps of its generator after training.

    Attributes:
        loss: a name in :data:`LOSSES`.
        seed: of networks and draws.
        iterations: of the training before.
        points: in the fixed batch of the steps, and to measure.
    """

    loss: str
    seed: int
    iterations: int = 2000
    points: int = 2000

    def __post_init__(self):
        require_known(self.loss, "loss", LOSSES)
        for name, least in (("seed", 0), ("iterations", 1), ("points", 100)):
            object.__setattr__(self, name, as_whole_number(getattr(self, name), name, least))


def measure_steps(task: StepTask) -> dict[str, float]:
    """How far points move, as a root mean square, and the share of them that stray, after numbers
    of steps of the generator with the discriminator held fixed."""
    require_type(task, StepTask, "task", "a StepTask")
    made, judge = (
        networks.seeded(lambda ends=ends: MLP(*ends, WIDE, nn.SiLU), 2 * task.seed + k)
        for k, ends in enumerate(((LATENTS, 2), (2, 1)))
    )
    draws = generator(task.seed, "a generator's steps")
    config = GANConfig(task.iterations)
    batches = Draws(lambda n, draws: law().sample(n, draws))
    result = train_gan(made, judge, batches, config, LATENTS, draws)
    made, judge = result.generator, result.discriminator.requires_grad_(False)
    z = torch.randn(task.points, LATENTS, generator=draws)
    start = made(z).detach()
    goal = goals(start, judge, STEP)
    optimizer = torch.optim.Adam(made.parameters(), RATE)
    row = {"goal": _distance(goal, start), "stray_0": stray_share(start)}
    for step in range(1, max(MOMENTS) + 1):
        x = made(z)
        followed = task.loss == "follow the points"
        loss = following_loss(x, goal) if followed else raising_loss(judge(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in MOMENTS:
            x = made(z).detach()
            row[f"moved_{step}"] = _distance(x, start)
            row[f"stray_{step}"] = stray_share(x)
    return row


def _distance(x: Tensor, y: Tensor) -> float:
    return float((x - y).square().sum(1).mean().sqrt())


def stray_share(x: Tensor) -> float:
    """Share of points (B, 2) at which the law has a lower density than at all but one in a
    thousand of its own."""
    own = law().log_prob(law().sample(100_000, generator(0, "points of the V")))
    return float((law().log_prob(x.double()) < own.quantile(1e-3)).double().mean())


@dataclass(frozen=True)
class CriticTask:
    """An affine generator on a line, led by a discriminator that learns as it goes.

    Attributes:
        critic_steps: of Adam, before each step of the generator.
        seed: of the network and draws.
        points: in each batch.
    """

    critic_steps: int
    seed: int
    points: int = 512

    def __post_init__(self):
        for name, least in (("critic_steps", 1), ("seed", 0), ("points", 10)):
            object.__setattr__(self, name, as_whole_number(getattr(self, name), name, least))


def measure_critic(task: CriticTask) -> dict[str, float]:
    """The generator's path toward N(0, 1), from :data:`START`, with steps in time of
    :data:`PACE`: largest distance of (a, b) from the exact path at the same time, and both at
    the end."""
    require_type(task, CriticTask, "task", "a CriticTask")
    draws = generator(task.seed, f"a discriminator's {task.critic_steps} steps")
    judge = networks.seeded(lambda: MLP(1, 1, (32, 32), nn.SiLU), task.seed)
    optimizer = torch.optim.Adam(judge.parameters(), 1e-2)
    affine = torch.tensor(START, requires_grad=True)
    furthest = 0.0
    for k in range(1, PACES + 1):
        for _ in range(task.critic_steps):
            real, z = torch.randn(2, task.points, 1, generator=draws)
            made = (affine[0] * z + affine[1]).detach()
            loss = discriminator_loss(judge(real), judge(made))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        z = torch.randn(task.points, 1, generator=draws)
        slope = torch.autograd.grad(judge(affine[0] * z + affine[1]).mean(), affine)[0]
        affine = (affine + PACE * slope).detach().requires_grad_()
        furthest = max(furthest, float((affine.detach() - exact_path(k * PACE)).norm()))
    a, b = affine.tolist()
    return {"furthest": furthest, "a": a, "b": b}


def exact_path(time: float) -> Tensor:
    """a and b at a time with a perfect discriminator, (2,)."""
    decay = torch.exp(torch.tensor(-2.0 * time))
    a, b = (torch.tensor(value) for value in START)
    return torch.stack([torch.sqrt(1 + (a**2 - 1) * decay), b * decay.sqrt()])
