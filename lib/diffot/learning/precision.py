"""Batches as they are drawn, and the precision in which a machine is fast."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from diffot.errors import (
    as_classes,
    as_whole_number,
    require,
    require_batch,
    require_type,
)
from diffot.learning.clock import wait_for

Labels = Mapping[str, Tensor]
Draw = Callable[[int, torch.Generator], Tensor | tuple[Tensor, Labels]]
PRECISIONS = ("float32", "bfloat16")


def faster_precision(network: nn.Module, draw: Draw, most: int = 64) -> tuple[str, float]:
    """The precision in which a network trains faster where it is, from timing a few steps.

    Not every processor multiplies in bfloat16: one that does not takes ten times as long as in
    float32. Names of instruction sets would tell for some of them; a clock tells for all.

    Args:
        network: on its device; not changed.
        draw: as in :func:`~diffot.learning.training.train`.
        most: examples in a step. Fewer are taken where a step with them is long enough to time.

    Returns:
        ``"bfloat16"`` if it saves at least a tenth of the time, else ``"float32"``; and the time
        of a step in bfloat16 divided by that in float32.
    """
    require_type(network, nn.Module, "network", "a torch.nn.Module")
    require_type(draw, Callable, "draw", "a function (n, generator) -> points")
    most = as_whole_number(most, "most", least=1)
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(0)
    x, labels = checked_draw(draw(most, generator), most)
    share = torch.rand(most, generator=generator)
    network = copy.deepcopy(network).train()

    def seconds(rows: int, precision: str) -> float:
        inputs = [x[:rows].to(device), share[:rows].to(device)]
        if labels:
            inputs.append({name: value[:rows].to(device) for name, value in labels.items()})
        wait_for(device)
        start = time.perf_counter()
        answer(network, inputs, precision).square().mean().backward()
        wait_for(device)
        return time.perf_counter() - start

    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        rows = min(2, most)
        seconds(rows, "float32")  # the first steps in each precision also set things up
        while rows < most and seconds(rows, "float32") < 0.05:
            rows = min(2 * rows, most)
        for precision in PRECISIONS:
            seconds(rows, precision)
        # in turn, so that a change in the machine's speed falls on both
        times = [[seconds(rows, precision) for precision in PRECISIONS] for _ in range(2)]
    full, half = (min(column) for column in zip(*times))
    return "bfloat16" if half < 0.9 * full else "float32", half / full


def checked_draw(
    drawn: Tensor | tuple[Tensor, Labels], n: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """What a :data:`Draw` returned: n points as float32, and their labels as int64."""
    x, labels = drawn if isinstance(drawn, tuple) and len(drawn) == 2 else (drawn, {})
    require_batch(x, "the training data", "(n, *d), or a pair of it and labels")
    require_type(labels, Mapping, "the labels", "a dict of tensors of shape (n,)")
    labels = {name: as_classes(value, f"label {name!r}") for name, value in labels.items()}
    require(len(x) == n, f"draw was asked for {n} points; the training data has {len(x)}")
    for name, value in labels.items():
        require(len(value) == n, f"label {name!r} has {len(value)} values for {n} points")
    return x.float(), labels


def answer(network: nn.Module, inputs: list, precision: str) -> Tensor:
    """The network's answer, its products taken in this precision, as float32."""
    half = precision == "bfloat16"
    with torch.autocast(inputs[0].device.type, torch.bfloat16, enabled=half):
        return network(*inputs).float()
