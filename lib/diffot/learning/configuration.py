"""How a network is trained: steps, examples, learning rate, precision."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from diffot.errors import as_number, as_whole_number, require, require_known
from diffot.learning.precision import PRECISIONS

DECAYS = ("constant", "cosine", "one-cycle")


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained.

    Args:
        iterations: number of optimizer steps.
        batch_size: examples in each step, over all processes together.
        learning_rate: of AdamW, at its highest.
        decay: of the learning rate: ``"constant"``; ``"cosine"``, to zero at the end; or
            ``"one-cycle"``, in which it rises and falls and the momentum does the opposite
            (Smith & Topin 2018; :class:`torch.optim.lr_scheduler.OneCycleLR`).
        ema: factor of the exponential moving average of the weights, in [0, 1); the average is
            what is kept. In its first steps the average forgets faster, by (1+i)/(10+i).
        warmup: steps in which the learning rate rises from zero in a line.
        clip: largest norm of the gradient; longer ones are shortened to it.
        precision: ``"float32"``, or ``"bfloat16"`` for the products in the network (the weights
            stay in float32), or ``"auto"`` for the faster of the two on the machine at hand.
        weight_decay: of AdamW; with 0 it is Adam.
        record_every: steps whose losses are recorded together; by default at most 200 records.

    Raises:
        TypeError: for values of other types. ValueError: for values out of range.
    """

    iterations: int
    batch_size: int = 1024
    learning_rate: float = 1e-3
    decay: str = "constant"
    ema: float = 0.999
    warmup: int = 0
    clip: float | None = None
    precision: str = "float32"
    weight_decay: float = 0.0
    record_every: int | None = None

    def __post_init__(self):
        require_known(self.decay, "decay", DECAYS)
        require_known(self.precision, "precision", (*PRECISIONS, "auto"))
        checked = {
            "iterations": as_whole_number(self.iterations, "iterations", least=1),
            "batch_size": as_whole_number(self.batch_size, "batch_size", least=1),
            "learning_rate": as_number(self.learning_rate, "learning_rate", above=0),
            "ema": as_number(self.ema, "ema", at_least=0, below=1),
            "warmup": as_whole_number(self.warmup, "warmup", least=0),
            "weight_decay": as_number(self.weight_decay, "weight_decay", at_least=0),
        }
        if self.clip is not None:
            checked["clip"] = as_number(self.clip, "clip", above=0)
        if self.record_every is not None:
            checked["record_every"] = as_whole_number(self.record_every, "record_every", least=1)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        require(
            self.decay != "one-cycle" or self.warmup == 0,
            f"warmup is {self.warmup}; expected 0, for a one-cycle learning rate rises by itself",
        )

    def scheduler(self, optimizer: torch.optim.Optimizer) -> LRScheduler:
        """The learning rate of step i = 0, 1, ..., for an optimizer with the highest one."""
        if self.decay == "one-cycle":
            return OneCycleLR(optimizer, self.learning_rate, self.iterations)
        return LambdaLR(optimizer, self._factor)

    def _factor(self, i: int) -> float:
        factor = min(1.0, (i + 1) / self.warmup) if self.warmup else 1.0
        if self.decay == "cosine":
            factor *= 0.5 * (1 + math.cos(math.pi * i / self.iterations))
        return factor
