"""The training loop: any network and objective, one device or several, to be interrupted."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, send_to_device, slice_tensors
from torch import Tensor, nn
from tqdm.auto import tqdm

from diffot.errors import (
    require,
    require_generator,
    require_type,
)
from diffot.learning.batches import Batches
from diffot.learning.clock import Clock, time_text, wait_for
from diffot.learning.configuration import TrainConfig
from diffot.learning.objectives import BestWeights, Inputs, Objective
from diffot.learning.precision import Losses, faster_precision
from diffot.learning.runs import TrainingRun
from diffot.learning.snapshots import Snapshots

RECORDS = 200  # of losses, at most, where the config does not say how many
PREVIEWS = 10  # pictures that are drawn along training


@dataclass(frozen=True)
class TrainResult:
    """What training leaves behind.

    ``network``, of the class that was trained, carries the averaged weights; ``rows`` is the log,
    a dict for each stretch of training with its last ``step``, mean ``loss`` and whatever else
    the objective and the validation record; ``cpu_seconds`` counts all threads of the process,
    ``seconds`` is the time on the clock, both over all parts of an interrupted run.
    ``precision`` is the one that was trained in, ``"float32"`` or ``"bfloat16"``.
    """

    network: Any
    rows: list[dict]
    cpu_seconds: float
    seconds: float = 0.0
    device: str = "cpu"
    processes: int = 1
    precision: str = "float32"

    def column(self, name: str) -> list:
        """What was recorded under this name, such as ``"loss"``, from first to last."""
        return [row[name] for row in self.rows]


def accelerator() -> Accelerator:
    """The devices and processes at hand. Mixed precision is the config's affair, not theirs."""
    return Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision="no")


def train(
    network: nn.Module,
    batches: Batches,
    objective: Objective,
    config: TrainConfig,
    generator: torch.Generator,
    *,
    progress: bool = True,
    run: TrainingRun | None = None,
    validation: BestWeights | None = None,
    snapshots: Snapshots | None = None,
    preview: Callable[[nn.Module], Tensor] | None = None,
) -> TrainResult:
    r"""Minimize the mean of an objective by AdamW. The network passed in is not changed.

    The result carries the moving average of the weights and, by the same factor, of the
    buffers that hold floating-point numbers: running statistics, as of BatchNorm, then belong to
    the weights beside them, and fit them better than the last ones, which belong to the last
    weights. Other buffers are those of the last step.

    Under ``accelerate launch`` every process draws the whole batch and works on its part, so
    that the number of processes changes nothing but the speed.

    Args:
        generator: of every random number drawn in training.
        progress: show a bar, the choice of precision and, after a few steps, how long it takes.
        run: where to keep the state, log and pictures; without it nothing is written.
        validation: shown the network, not its average, at each record.
        snapshots: shown both after every step, and before the first; keeps those it is to.
        preview: draws images of the averaged network, which the run keeps, about ten times.

    Raises:
        TypeError: for arguments, or data, of other types.
        ValueError: for data that the objective or the network refuses, if a batch cannot be
            shared among the processes, or if the run was begun in another precision than the
            one asked for.
        FloatingPointError: if the loss stops being finite.
        OSError: if the run's folder cannot be written to.
    """
    require_type(network, nn.Module, "network", "a torch.nn.Module")
    require_type(batches, Batches, "batches", "Draws or Epochs")
    require_type(objective, Objective, "objective", "an Objective such as a DenoisingLoss")
    require_type(config, TrainConfig, "config", "a TrainConfig")
    require_generator(generator)
    require_type(run, (TrainingRun, type(None)), "run", "a TrainingRun, or None to write nothing")
    require_type(snapshots, (Snapshots, type(None)), "snapshots", "Snapshots, or None for none")
    if snapshots:
        snapshots.require_within(config.iterations)
    require(
        any(weight.requires_grad for weight in network.parameters()),
        "network has no weights to train; if it is frozen, thaw it: network.requires_grad_(True)",
    )
    with run.held() if run and accelerator().is_main_process else nullcontext():
        trainer = _Trainer(
            network, batches, objective, config, generator, progress, run, validation, snapshots,
            preview,
        )  # fmt: skip
        trainer.fit()
    return trainer.result()


@dataclass
class _Trainer:
    """The moving parts of one training: weights, average, optimizer, generator, records."""

    network: nn.Module
    batches: Batches
    objective: Objective
    config: TrainConfig
    generator: torch.Generator
    progress: bool
    run: TrainingRun | None
    validation: BestWeights | None
    snapshots: Snapshots | None
    preview: Callable[[nn.Module], Tensor] | None

    def __post_init__(self):
        config, self.accelerator = self.config, accelerator()
        device, processes = self.accelerator.device, self.accelerator.num_processes
        require(
            config.batch_size % processes == 0,
            f"a batch of {config.batch_size} cannot be shared equally among {processes} "
            "processes; start a number of processes that divides it",
        )
        size = config.batch_size // processes
        start = self.accelerator.process_index * size
        self.own = slice(start, start + size)  # examples of each batch
        self.progress = self.progress and self.accelerator.is_main_process
        # in bfloat16 on processors, GroupNorm's backward pass is slow on channels_last
        layout = torch.channels_last if device.type == "cuda" else torch.preserve_format
        self.network = copy.deepcopy(self.network).train().to(device, memory_format=layout)
        self.average = copy.deepcopy(self.network).eval()
        self.weights = list(self.network.parameters())
        self.average_weights = list(self.average.parameters())
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.scheduler = config.scheduler(self.optimizer)
        self.precision = self._precision()
        self.losses = self.accelerator.prepare_model(
            Losses(self.network, self.objective, self.precision)
        )
        self.step, self.rows, self.rate = 0, [], config.learning_rate  # of the last step
        self.sums = self.objective.new_sums().to(device)
        self.cpu_seconds = self.seconds = 0.0
        if self.run and self.run.state:
            self._restore(self.run.state)
        if not self.accelerator.is_main_process:
            self.run = None  # one process writes

    def fit(self) -> None:
        """Take the steps that are left."""
        config = self.config
        if self.run:
            self.run.prepare(4 * sum(w.numel() * w.element_size() for w in self.weights))
        stretch = config.record_every or math.ceil(config.iterations / RECORDS)
        preview_steps = max(1, config.iterations // PREVIEWS)
        if self.snapshots:
            self.snapshots.record(self.step, self.network, self.average)
        clock = Clock(self.seconds, self.cpu_seconds)
        first, saved = self.step, clock.seconds()
        with tqdm(
            total=config.iterations * config.batch_size,
            initial=self.step * config.batch_size,
            disable=not self.progress,
            desc="training",
            unit=" examples",
            unit_scale=True,
        ) as bar:
            while self.step < config.iterations:
                self._advance()
                bar.update(config.batch_size)
                self._report_time(self.step - first, clock)
                last = self.step == config.iterations
                if self.step % stretch == 0 or last:
                    self.seconds, self.cpu_seconds = clock.seconds(), clock.cpu_seconds()
                    self._record()
                    bar.set_postfix(loss=f"{self.rows[-1]['loss']:.4f}")
                if not self.run:
                    continue
                if self.preview and (self.step % preview_steps == 0 or last):
                    with torch.no_grad():
                        self.run.save_samples(self.preview(self.average), self.step)
                if last or clock.seconds() - saved >= self.run.seconds:
                    self.seconds, self.cpu_seconds = clock.seconds(), clock.cpu_seconds()
                    self._check_finite()
                    self.run.save(self._state())
                    saved = clock.seconds()

    def result(self) -> TrainResult:
        return TrainResult(
            network=self.average.eval().cpu(),
            rows=self.rows,
            cpu_seconds=self.cpu_seconds,
            seconds=self.seconds,
            device=self._device_name(),
            processes=self.accelerator.num_processes,
            precision=self.precision,
        )

    def _precision(self) -> str:
        """What to train in: what the run was begun in, what is asked for, or what is faster."""
        wanted, run = self.config.precision, self.run
        if run and run.state:
            require(
                "scheduler" in run.state,
                f"{run.path} is of an earlier version; delete {run.folder} to start anew",
            )
            begun = run.state["precision"]
            require(
                wanted in ("auto", begun),
                f"the run in {run.folder} was begun in {begun}, and {wanted} is asked for; to "
                f"continue it pass --precision {begun}, or delete the folder to start anew",
            )
            return begun
        if wanted != "auto":
            return wanted
        choice = [self._faster_precision() if self.accelerator.is_main_process else None]
        return broadcast_object_list(choice)[0]

    def _faster_precision(self) -> str:
        generator = torch.Generator().manual_seed(0)
        size = self.own.stop - self.own.start
        examples = copy.copy(self.batches).take(size, generator)
        inputs = self.objective.prepare(examples, generator)
        name, ratio = faster_precision(self.network, self.objective, inputs, min(size, 64))
        speed = "slow" if ratio > 1.1 else "fast" if name == "bfloat16" else "no faster"
        cpu = self.accelerator.device.type == "cpu"
        self._say(
            f"bfloat16 is {speed} on this {'processor' if cpu else self._device_name()} "
            f"({ratio:.2g} times the time of float32); training in {name}"
        )
        return name

    def _report_time(self, steps: int, clock: Clock) -> None:
        """Say how long the rest takes, by the second to fourth of the steps taken here."""
        if not self.progress or steps not in (1, 4):
            return
        wait_for(self.accelerator.device)
        if steps == 1:
            self.warm = clock.seconds()
            return
        duration = (clock.seconds() - self.warm) / 3
        steps = self.config.iterations - self.step
        self._say(
            f"{steps} steps of {self.config.batch_size} in {self.precision}, {duration:.2g} s "
            f"each: about {time_text(steps * duration)}"
        )

    def _say(self, message: str) -> None:
        if self.progress:
            tqdm.write(message, file=sys.stderr)

    def _advance(self) -> None:
        """One step of the optimizer."""
        examples = self.batches.take(self.config.batch_size, self.generator)
        inputs: Inputs = self.objective.prepare(examples, self.generator)
        inputs = send_to_device(slice_tensors(inputs, self.own), self.accelerator.device)
        losses = self.losses(inputs)
        self.optimizer.zero_grad()
        self.accelerator.backward(losses.mean())
        if self.config.clip is not None:
            nn.utils.clip_grad_norm_(self.weights, self.config.clip)
        self.optimizer.step()
        self.rate = self.scheduler.get_last_lr()[0]
        self.scheduler.step()
        with torch.no_grad():
            self._follow(1 - min(self.config.ema, (1 + self.step) / (10 + self.step)))
            self.objective.add(self.sums, inputs, losses)
        self.step += 1
        if self.snapshots:
            self.snapshots.record(self.step, self.network, self.average)

    def _follow(self, weight: float) -> None:
        """Move the average by this part of the way towards the network."""
        torch._foreach_lerp_(self.average_weights, self.weights, weight)
        for mean, buffer in zip(self.average.buffers(), self.network.buffers()):
            if buffer.is_floating_point():
                # equal entries stay as they are: a mask may hold infinities
                mean.copy_(torch.where(mean == buffer, mean, mean.lerp(buffer, weight)))
            else:
                mean.copy_(buffer)

    def _record(self) -> None:
        """Add a row on the last stretch of training, and start the next."""
        # several processes: each has seen a part
        sums = self.accelerator.reduce(self.sums).tolist()
        self._check_finite()
        self.sums.zero_()
        before = self.rows[-1] if self.rows else {"step": 0, "seconds": 0.0}
        duration = self.seconds - before["seconds"]
        examples = (self.step - before["step"]) * self.config.batch_size
        row = {
            "step": self.step,
            **self.objective.record(sums),
            "learning_rate": self.rate,
            "seconds": round(self.seconds, 3),
            "per_second": round(examples / duration, 1) if duration > 0 else None,
        }
        if self.validation:
            row |= self.validation.record(self.network)
            self._require_finite(math.isfinite(row["validation_loss"]))
        self.rows.append(row)
        if self.run:
            self.run.log(self.rows)

    def _check_finite(self) -> None:
        """Stop before bad weights are recorded or kept."""
        tensors = (*self.weights, self.sums)
        self._require_finite(all(bool(values.isfinite().all()) for values in tensors))

    def _require_finite(self, finite: bool) -> None:
        if not finite:
            raise FloatingPointError(
                f"loss or weights are no longer finite after {self.step} steps; lower the "
                f"learning rate (now {self.config.learning_rate})"
            )

    def _parts(self) -> dict:
        """What has a state of its own."""
        names = (
            "network",
            "average",
            "optimizer",
            "scheduler",
            "batches",
            "validation",
            "snapshots",
        )
        parts = {name: getattr(self, name) for name in names}
        return {name: part for name, part in parts.items() if part is not None}

    def _state(self) -> dict:
        return {
            "step": self.step,
            "processes": self.accelerator.num_processes,
            "precision": self.precision,
            "generator": self.generator.get_state(),
            "sums": self.sums,
            "rows": self.rows,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            **{name: part.state_dict() for name, part in self._parts().items()},
        }

    def _restore(self, state: dict) -> None:
        self.step, self.rows = state["step"], state["rows"]
        self.seconds, self.cpu_seconds = state["seconds"], state["cpu_seconds"]
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.generator.set_state(state["generator"])
        if self.accelerator.is_main_process:
            self.sums.copy_(state["sums"])

    def _device_name(self) -> str:
        device = self.accelerator.device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
