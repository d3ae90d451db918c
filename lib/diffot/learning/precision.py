"""The precision in which a machine is fast."""

from __future__ import annotations

import copy
import time

import torch
from accelerate.utils import send_to_device, slice_tensors
from torch import Tensor, nn

from diffot.errors import as_whole_number, require_type
from diffot.learning.clock import wait_for
from diffot.learning.objectives import Inputs, Objective

PRECISIONS = ("float32", "bfloat16")


class Losses(nn.Module):
    """An objective and its network as one module, whose products are taken in a precision.

    Weights, losses and what they are computed from stay in float32.
    """

    def __init__(self, network: nn.Module, objective: Objective, precision: str):
        super().__init__()
        self.network, self.objective, self.precision = network, objective, precision

    def forward(self, inputs: Inputs) -> Tensor:
        device = next(self.network.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            return self.objective(self.network, inputs)


def faster_precision(
    network: nn.Module, objective: Objective, inputs: Inputs, n: int
) -> tuple[str, float]:
    """The precision in which a network trains faster where it is, from timing a few steps.

    Not every processor multiplies in bfloat16: one that does not takes ten times as long as in
    float32. Names of instruction sets would tell for some of them; a clock tells for all.

    Args:
        network: on its device; not changed.
        inputs: n prepared examples. Fewer are taken where a step with them is long enough to
            time.

    Returns:
        ``"bfloat16"`` if it saves at least a tenth of the time, else ``"float32"``; and the time
        of a step in bfloat16 divided by that in float32.
    """
    require_type(network, nn.Module, "network", "a torch.nn.Module")
    require_type(objective, Objective, "objective", "an Objective")
    n = as_whole_number(n, "n", least=1)
    device = next(network.parameters()).device
    network = copy.deepcopy(network).train()

    def seconds(rows: int, precision: str) -> float:
        part = send_to_device(slice_tensors(inputs, slice(0, rows)), device)
        wait_for(device)
        start = time.perf_counter()
        Losses(network, objective, precision)(part).mean().backward()
        wait_for(device)
        return time.perf_counter() - start

    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        rows = min(2, n)
        seconds(rows, "float32")  # the first steps in each precision also set things up
        while rows < n and seconds(rows, "float32") < 0.05:
            rows = min(2 * rows, n)
        for precision in PRECISIONS:
            seconds(rows, precision)
        # in turn, so that a change in the machine's speed falls on both
        times = [[seconds(rows, precision) for precision in PRECISIONS] for _ in range(2)]
    full, half = (min(column) for column in zip(*times))
    return "bfloat16" if half < 0.9 * full else "float32", half / full
