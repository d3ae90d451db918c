"""Training of denoisers: one engine for points and images, one device or several."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from tqdm.auto import tqdm

from diffot.denoisers.network import NetworkDenoiser
from diffot.denoisers.parametrization import PARAMETRIZATIONS
from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_known,
    require_same_shape,
    require_type,
)
from diffot.learning.clock import Clock, time_text, wait_for
from diffot.learning.precision import PRECISIONS, Draw, answer, checked_draw, faster_precision
from diffot.learning.runs import TrainingRun
from diffot.processes.schedules import Schedule
from diffot.samplers.ddim import ddim

LEVELS = 10  # of noise, equal stretches of t/T, whose losses are recorded apart
STRETCHES = 200  # of training, at most, over which losses are averaged
GRIDS = 10  # of samples, drawn along training
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained.

    Args:
        iterations: number of optimizer steps.
        batch_size: fresh draws of (x_0, t, eps) in each step, over all processes together.
        learning_rate: of Adam, at its highest.
        decay: ``"cosine"`` (to zero at the end) or ``"constant"``.
        ema: factor of the exponential moving average of the weights, in [0, 1); the average is
            what is kept. In its first steps the average forgets faster, by (1+i)/(10+i).
        seed: of every random number drawn in training.
        warmup: steps in which the learning rate rises from zero in a line.
        clip: largest norm of the gradient; longer ones are shortened to it.
        prediction: what the network learns to answer with, ``"eps"`` or ``"v"``; see
            :class:`~diffot.denoisers.denoiser.NetworkDenoiser`.
        precision: ``"float32"``, or ``"bfloat16"`` for the products in the network (the weights
            stay in float32), or ``"auto"`` for the faster of the two on the machine at hand.
        label_dropout: probability with which an image hides all its labels, and with which it
            hides each, so that a conditional network also learns to do without.

    Raises:
        TypeError: for values of other types. ValueError: for values out of range.
    """

    iterations: int
    batch_size: int = 1024
    learning_rate: float = 1e-3
    decay: str = "constant"
    ema: float = 0.999
    seed: int = 0
    warmup: int = 0
    clip: float | None = None
    prediction: str = "eps"
    precision: str = "float32"
    label_dropout: float = 0.0

    def __post_init__(self):
        require_known(self.decay, "decay", ("cosine", "constant"))
        require_known(self.prediction, "prediction", PARAMETRIZATIONS)
        require_known(self.precision, "precision", (*PRECISIONS, "auto"))
        checked = {
            "iterations": as_whole_number(self.iterations, "iterations", least=1),
            "batch_size": as_whole_number(self.batch_size, "batch_size", least=1),
            "learning_rate": as_number(self.learning_rate, "learning_rate", above=0),
            "ema": as_number(self.ema, "ema", at_least=0, below=1),
            "seed": as_whole_number(self.seed, "seed", least=0, most=LARGEST_SEED),
            "warmup": as_whole_number(self.warmup, "warmup", least=0),
            "clip": None if self.clip is None else as_number(self.clip, "clip", above=0),
            "label_dropout": as_number(self.label_dropout, "label_dropout", at_least=0, below=1),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def learning_rate_at(self, i: int) -> float:
        """The learning rate of step i = 0, 1, ..."""
        rate = min(1.0, (i + 1) / self.warmup) if self.warmup else 1.0
        if self.decay == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * i / self.iterations))
        return self.learning_rate * rate


@dataclass(frozen=True)
class TrainResult:
    """What training leaves behind.

    ``network`` carries the averaged weights; ``losses`` is the mean loss of each of (at most)
    200 stretches of equal length, and ``level_losses`` the same for each tenth of the noise
    levels (None where none was drawn); ``cpu_seconds`` counts all threads of the process,
    ``seconds`` is the time on the clock, both over all parts of an interrupted run. ``precision``
    is the one that was trained in, ``"float32"`` or ``"bfloat16"``.
    """

    network: nn.Module
    losses: list[float]
    cpu_seconds: float
    seconds: float = 0.0
    level_losses: list[list[float | None]] = field(default_factory=list)
    device: str = "cpu"
    processes: int = 1
    precision: str = "float32"


def accelerator() -> Accelerator:
    """The devices and processes at hand. Mixed precision is the recipe's affair, not theirs."""
    return Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision="no")


def train(
    network: nn.Module,
    schedule: Schedule,
    draw: Draw,
    config: TrainConfig,
    progress: bool = True,
    run: TrainingRun | None = None,
) -> TrainResult:
    r"""Fit a network to the noise (Ho et al. 2020, algorithm 1; thesis algorithm 1) or to v.

    Minimizes :math:`E \|\varepsilon - \varepsilon_\theta(\alpha_t x_0 + \sigma_t \varepsilon,
    t)\|^2 / d`, with t uniform on 1..T, by Adam; with ``config.prediction = "v"`` the target is
    :math:`v = \alpha_t \varepsilon - \sigma_t x_0`. The network passed in is not changed.

    The result carries the moving average of the weights and, by the same factor, of the
    buffers that hold floating-point numbers: running statistics, as of BatchNorm, then belong to
    the weights beside them, and fit them better than the last ones, which belong to the last
    weights. Other buffers are those of the last step.

    Under ``accelerate launch`` every process draws the whole batch and works on its slice, so
    that the number of processes changes nothing but the speed.

    Args:
        network: called as ``network(x, t/T)``, with the labels as a third argument if ``draw``
            gives any.
        draw: ``draw(n, generator)`` returns n data points, shape (n, *d), or a pair of them and
            their labels, a dict of whole numbers or truth values of shape (n,); -1 for a label
            that is not said.
        progress: show a bar, the choice of precision and, after a few steps, how long it takes.
        run: where to keep the state, log and samples; without it nothing is written.

    Raises:
        TypeError: for arguments, or data, of other types.
        ValueError: if the data hold NaN or have another shape than the network's answers, if a
            batch cannot be shared among the processes, or if the run was begun in another
            precision than the one asked for.
        FloatingPointError: if the loss stops being finite.
        OSError: if the run's folder cannot be written to.
    """
    require_type(network, nn.Module, "network", "a torch.nn.Module")
    require_type(schedule, Schedule, "schedule", "a Schedule")
    require_type(draw, Callable, "draw", "a function (n, generator) -> points")
    require_type(config, TrainConfig, "config", "a TrainConfig")
    require_type(run, (TrainingRun, type(None)), "run", "a Run, or None to write nothing")
    require(
        any(weight.requires_grad for weight in network.parameters()),
        "network has no weights to train; if it is frozen, thaw it: network.requires_grad_(True)",
    )
    with run.held() if run and accelerator().is_main_process else nullcontext():
        trainer = _Trainer(network, schedule, draw, config, run, progress)
        trainer.fit()
    return trainer.result()


class _Trainer:
    """The moving parts of one training: weights, average, optimizer, generator, records."""

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        draw: Draw,
        config: TrainConfig,
        run: TrainingRun | None,
        progress: bool,
    ):
        self.schedule, self.draw, self.config = schedule, draw, config
        self.accelerator = accelerator()
        device = self.accelerator.device
        processes = self.accelerator.num_processes
        require(
            config.batch_size % processes == 0,
            f"a batch of {config.batch_size} cannot be shared equally among {processes} "
            "processes; start a number of processes that divides it",
        )
        self.share = config.batch_size // processes
        self.run = run if self.accelerator.is_main_process else None
        self.progress = progress and self.accelerator.is_main_process
        # in bfloat16 on processors, GroupNorm's backward pass is slow on channels_last
        layout = torch.channels_last if device.type == "cuda" else torch.preserve_format
        self.network = copy.deepcopy(network).train().to(device, memory_format=layout)
        self.average = copy.deepcopy(self.network).eval()
        self.model = self.accelerator.prepare_model(self.network)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.alpha = schedule.alpha_bar.sqrt().float()
        self.sigma = (1 - schedule.alpha_bar).sqrt().float()
        self.weights = list(self.network.parameters())
        self.average_weights = list(self.average.parameters())
        self.step = 0
        self.sums = torch.zeros(2, LEVELS, device=device)  # of losses, and how many
        self.rows = []
        self.cpu_seconds = self.seconds = 0.0
        self.precision = self._precision(run)
        if run and run.state:
            self._restore(run.state)
        self.stretch = math.ceil(config.iterations / STRETCHES)

    def fit(self) -> None:
        """Take the steps that are left."""
        if self.run:
            self.run.prepare(4 * sum(w.numel() * w.element_size() for w in self.weights))
        config = self.config
        bar = tqdm(
            total=config.iterations * config.batch_size,
            initial=self.step * config.batch_size,
            disable=not self.progress,
            desc="training",
            unit=" images" if hasattr(self.network, "channels") else " points",
            unit_scale=True,
        )
        clock = Clock(self.seconds, self.cpu_seconds)
        first, saved = self.step, clock.seconds()
        grid_steps = max(1, config.iterations // GRIDS)
        while self.step < config.iterations:
            shape = self._advance()
            bar.update(config.batch_size)
            if self.progress and self.step == first + 1:
                wait_for(self.accelerator.device)
                warm = clock.seconds()
            elif self.progress and self.step == first + 4:
                wait_for(self.accelerator.device)
                self._say(self._estimate((clock.seconds() - warm) / 3))
            last = self.step == config.iterations
            if self.step % self.stretch == 0 or last:
                self.seconds, self.cpu_seconds = clock.seconds(), clock.cpu_seconds()
                self._record()
                bar.set_postfix(loss=f"{self.rows[-1]['loss']:.4f}")
            if not self.run:
                continue
            if len(shape) == 3 and (self.step % grid_steps == 0 or last):
                self.run.save_samples(self._sample(shape), self.step)
            if last or clock.seconds() - saved >= self.run.seconds:
                self.seconds, self.cpu_seconds = clock.seconds(), clock.cpu_seconds()
                self._check_finite()
                self.run.save(self._state())
                saved = clock.seconds()
        bar.close()

    def result(self) -> TrainResult:
        return TrainResult(
            network=self.average.eval().cpu(),
            losses=[row["loss"] for row in self.rows],
            cpu_seconds=self.cpu_seconds,
            seconds=self.seconds,
            level_losses=[[row[f"level_{i + 1}"] for i in range(LEVELS)] for row in self.rows],
            device=self._device_name(),
            processes=self.accelerator.num_processes,
            precision=self.precision,
        )

    def _precision(self, run: TrainingRun | None) -> str:
        """What to train in: what the run was begun in, what is asked for, or what is faster."""
        asked = self.config.precision
        if run and run.state:
            require(
                "precision" in run.state,
                f"{run.path} does not say its precision, so it is of an earlier version; delete "
                f"{run.folder} to start anew",
            )
            begun = run.state["precision"]
            require(
                asked in ("auto", begun),
                f"the run in {run.folder} was begun in {begun}, and {asked} is asked for; to "
                f"continue it pass --precision {begun}, or delete the folder to start anew",
            )
            return begun
        if asked != "auto":
            return asked
        choice = [None]
        if self.accelerator.is_main_process:
            name, ratio = faster_precision(self.network, self.draw, self.share)
            speed = "slow" if ratio > 1.1 else "fast" if name == "bfloat16" else "no faster"
            cpu = self.accelerator.device.type == "cpu"
            self._say(
                f"bfloat16 is {speed} on this {'processor' if cpu else self._device_name()} "
                f"({ratio:.2g} times the time of float32); training in {name}"
            )
            choice = [name]
        return broadcast_object_list(choice)[0]

    def _estimate(self, duration: float) -> str:
        left = self.config.iterations - self.step
        return (
            f"{left} steps of {self.config.batch_size} in {self.precision}, {duration:.2g} s "
            f"each: about {time_text(left * duration)}"
        )

    def _say(self, message: str) -> None:
        if self.progress:
            tqdm.write(message, file=sys.stderr)

    def _advance(self) -> torch.Size:
        """One step of the optimizer; returns the shape of a data point."""
        config, device = self.config, self.accelerator.device
        x_0, labels = self._batch()
        t = torch.randint(1, self.schedule.T + 1, (len(x_0),), generator=self.generator)
        eps = torch.randn(x_0.shape, generator=self.generator)
        start = self.accelerator.process_index * self.share
        mine = slice(start, start + self.share)
        x_0, t, eps = x_0[mine], t[mine], eps[mine]
        shape = (-1, *[1] * (x_0.ndim - 1))
        alpha, sigma = self.alpha[t].reshape(shape), self.sigma[t].reshape(shape)
        x_t = alpha * x_0 + sigma * eps
        target = eps if config.prediction == "eps" else alpha * eps - sigma * x_0
        inputs = [x_t.to(device), (t.float() / self.schedule.T).to(device)]
        if labels:
            inputs.append({name: value[mine].to(device) for name, value in labels.items()})
        target = target.to(device)

        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate_at(self.step)
        output = answer(self.model, inputs, self.precision)
        require_same_shape(output, target, ("what the network answers", "the training data"))
        loss = nn.functional.mse_loss(output, target)
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        if config.clip is not None:
            nn.utils.clip_grad_norm_(self.weights, config.clip)
        self.optimizer.step()
        decay = min(config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average_weights, self.weights, 1 - decay)
            for mean, buffer in zip(self.average.buffers(), self.network.buffers()):
                _follow(mean, buffer, 1 - decay)
            squares = (output - target).square().flatten(1).mean(1)
            level = ((t - 1) * LEVELS // self.schedule.T).to(device)
            self.sums.index_add_(1, level, torch.stack([squares, torch.ones_like(squares)]))
        self.step += 1
        return x_0.shape[1:]

    def _batch(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Data points and labels of the whole batch, the labels partly hidden."""
        n = self.config.batch_size
        x_0, labels = checked_draw(self.draw(n, self.generator), n)
        if not labels:
            return x_0, {}
        all_hidden = self._chance(n)
        hidden = {name: all_hidden | self._chance(n) for name in labels}
        return x_0, {name: labels[name].masked_fill(hidden[name], -1) for name in labels}

    def _chance(self, n: int) -> Tensor:
        return torch.rand(n, generator=self.generator) < self.config.label_dropout

    def _record(self) -> None:
        """Add a row on the last stretch of training, and start the next."""
        # several processes: each has seen a part
        sums, counts = self.accelerator.reduce(self.sums).tolist()
        self._check_finite()
        self.sums.zero_()
        before = self.rows[-1] if self.rows else {"step": 0, "seconds": 0.0}
        duration = self.seconds - before["seconds"]
        images = (self.step - before["step"]) * self.config.batch_size
        self.rows.append(
            {
                "step": self.step,
                "loss": sum(sums) / sum(counts),
                "learning_rate": self.config.learning_rate_at(self.step - 1),
                "seconds": round(self.seconds, 3),
                "per_second": round(images / duration, 1) if duration > 0 else None,
                **{
                    f"level_{i + 1}": total / count if count else None
                    for i, (total, count) in enumerate(zip(sums, counts))
                },
            }
        )
        if self.run:
            self.run.log(self.rows)

    def _check_finite(self) -> None:
        """Stop before bad weights are recorded or kept."""
        healthy = all(bool(w.isfinite().all()) for w in self.weights)
        if not healthy or not bool(self.sums.isfinite().all()):
            raise FloatingPointError(
                f"loss or weights are no longer finite after {self.step} steps; lower the "
                f"learning rate (now {self.config.learning_rate})"
            )

    def _sample(self, shape: torch.Size) -> Tensor:
        """Images of the averaged network from 16 latents, always the same."""
        latents = torch.randn(16, *shape, generator=torch.Generator().manual_seed(0))
        denoiser = NetworkDenoiser(self.average, self.schedule, self.config.prediction)
        with torch.no_grad():
            return ddim(denoiser, latents, min(20, self.schedule.T))

    def _state(self) -> dict:
        return {
            "step": self.step,
            "processes": self.accelerator.num_processes,
            "precision": self.precision,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "sums": self.sums,
            "rows": self.rows,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
        }

    def _restore(self, state: dict) -> None:
        self.step, self.rows = state["step"], state["rows"]
        self.seconds, self.cpu_seconds = state["seconds"], state["cpu_seconds"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        if self.accelerator.is_main_process:
            self.sums.copy_(state["sums"])

    def _device_name(self) -> str:
        device = self.accelerator.device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _follow(mean: Tensor, buffer: Tensor, share: float) -> None:
    """Move an average towards a buffer, or copy the buffer if it holds no real numbers."""
    if buffer.is_floating_point():
        # equal entries stay as they are: a mask may hold infinities
        mean.copy_(torch.where(mean == buffer, mean, mean.lerp(buffer, share)))
    else:
        mean.copy_(buffer)
