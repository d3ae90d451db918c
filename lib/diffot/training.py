"""Training of noise predictors: one engine for points and images, one device or several."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm.auto import tqdm

from diffot import samplers
from diffot.errors import require, require_finite, unknown_name
from diffot.predictors import PREDICTIONS, NetworkPredictor
from diffot.runs import Run
from diffot.schedules import Schedule

Labels = Mapping[str, Tensor]
Draw = Callable[[int, torch.Generator], Tensor | tuple[Tensor, Labels]]
LEVELS = 10  # of noise, equal stretches of t/T, whose losses are recorded apart
STRETCHES = 200  # of training, at most, over which losses are averaged
GRIDS = 10  # of samples, drawn along training


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
            :class:`~diffot.predictors.NetworkPredictor`.
        precision: ``"float32"``, or ``"bfloat16"`` for the products in the network (the weights
            stay in float32).
        label_dropout: probability with which an image hides all its labels, and with which it
            hides each, so that a conditional network also learns to do without.
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
        require(
            self.iterations >= 1 and self.batch_size >= 1 and self.learning_rate > 0,
            f"{self}: iterations, batch size and learning rate must be positive",
        )
        require(
            self.decay in ("cosine", "constant"),
            f"decay is {self.decay!r}; expected 'cosine' or 'constant'",
        )
        require(0 <= self.ema < 1, f"ema is {self.ema}; expected a number in [0, 1)")
        require(self.warmup >= 0, f"warmup is {self.warmup}; expected a number of steps")
        require(self.clip is None or self.clip > 0, f"clip is {self.clip}; expected a norm > 0")
        require(
            self.prediction in PREDICTIONS,
            unknown_name("prediction", self.prediction, PREDICTIONS),
        )
        require(
            self.precision in ("float32", "bfloat16"),
            f"precision is {self.precision!r}; expected 'float32' or 'bfloat16'",
        )
        require(
            0 <= self.label_dropout < 1,
            f"label_dropout is {self.label_dropout}; expected a number in [0, 1)",
        )

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
    ``seconds`` is the time on the clock, both over all parts of an interrupted run.
    """

    network: nn.Module
    losses: list[float]
    cpu_seconds: float
    seconds: float = 0.0
    level_losses: list[list[float | None]] = field(default_factory=list)
    device: str = "cpu"
    processes: int = 1


def accelerator() -> Accelerator:
    """The devices and processes at hand. Mixed precision is the recipe's affair, not theirs."""
    return Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision="no")


def train(
    network: nn.Module,
    schedule: Schedule,
    draw: Draw,
    config: TrainConfig,
    progress: bool = True,
    run: Run | None = None,
) -> TrainResult:
    r"""Fit a network to the noise (Ho et al. 2020, algorithm 1; thesis algorithm 1) or to v.

    Minimizes :math:`E \|\varepsilon - \varepsilon_\theta(\alpha_t x_0 + \sigma_t \varepsilon,
    t)\|^2 / d`, with t uniform on 1..T, by Adam; with ``config.prediction = "v"`` the target is
    :math:`v = \alpha_t \varepsilon - \sigma_t x_0`. The network passed in is not changed.

    Under ``accelerate launch`` every process draws the whole batch and works on its slice, so
    that the number of processes changes nothing but the speed.

    Args:
        network: called as ``network(x, t/T)``, with the labels as a third argument if ``draw``
            gives any.
        draw: ``draw(n, generator)`` returns n data points, shape (n, *d), or a pair of them and
            their labels, a dict of whole numbers of shape (n,).
        run: where to keep the state, log and samples; without it nothing is written.

    Raises:
        ValueError: if the data hold NaN, or a batch cannot be shared among the processes.
        FloatingPointError: if the loss stops being finite.
        OSError: if the run's folder cannot be written to.
    """
    trainer = _Trainer(network, schedule, draw, config, run)
    trainer.fit(progress)
    return trainer.result()


class _Trainer:
    """The moving parts of one training: weights, average, optimizer, generator, records."""

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        draw: Draw,
        config: TrainConfig,
        run: Run | None,
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
        # in bfloat16 on processors, GroupNorm's backward pass is slow on channels_last
        layout = torch.channels_last if device.type == "cuda" else torch.preserve_format
        self.network = copy.deepcopy(network).train().to(device, memory_format=layout)
        self.average = copy.deepcopy(self.network)
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
        if run and run.state:
            self._restore(run.state)
        self.stretch = math.ceil(config.iterations / STRETCHES)

    def fit(self, progress: bool) -> None:
        """Take the steps that are left."""
        if self.run:
            self.run.prepare(4 * sum(w.numel() * w.element_size() for w in self.weights))
        config = self.config
        bar = tqdm(
            total=config.iterations * config.batch_size,
            initial=self.step * config.batch_size,
            disable=not (progress and self.accelerator.is_main_process),
            desc="training",
            unit=" images" if hasattr(self.network, "channels") else " points",
            unit_scale=True,
        )
        clock = _Clock(self.seconds, self.cpu_seconds)
        saved = clock.seconds()
        grid_steps = max(1, config.iterations // GRIDS)
        while self.step < config.iterations:
            shape = self._advance()
            bar.update(config.batch_size)
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
        )

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
        half = config.precision == "bfloat16"
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            output = self.model(*inputs)
        output = output.float()
        loss = nn.functional.mse_loss(output, target)
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        if config.clip is not None:
            nn.utils.clip_grad_norm_(self.weights, config.clip)
        self.optimizer.step()
        decay = min(config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average_weights, self.weights, 1 - decay)
            squares = (output - target).square().flatten(1).mean(1)
            level = ((t - 1) * LEVELS // self.schedule.T).to(device)
            self.sums.index_add_(1, level, torch.stack([squares, torch.ones_like(squares)]))
        self.step += 1
        return x_0.shape[1:]

    def _batch(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Data points and labels of the whole batch, the labels partly hidden."""
        n = self.config.batch_size
        drawn = self.draw(n, self.generator)
        x_0, labels = drawn if isinstance(drawn, tuple) else (drawn, {})
        x_0 = x_0.float()
        require_finite(x_0, "the training data")
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
        predictor = NetworkPredictor(self.average, self.schedule, self.config.prediction)
        with torch.no_grad():
            return samplers.ddim(predictor, latents, min(20, self.schedule.T))

    def _state(self) -> dict:
        return {
            "step": self.step,
            "processes": self.accelerator.num_processes,
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


class _Clock:
    """Time on the clock and of the processor, on top of what earlier parts of a run took."""

    def __init__(self, seconds: float, cpu_seconds: float):
        self._start = time.perf_counter() - seconds
        self._cpu_start = time.process_time() - cpu_seconds

    def seconds(self) -> float:
        return time.perf_counter() - self._start

    def cpu_seconds(self) -> float:
        return time.process_time() - self._cpu_start
