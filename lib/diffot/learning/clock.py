"""How long a training has taken, and how long it will take."""

from __future__ import annotations

import time

import torch


def wait_for(device: torch.device) -> None:
    """Let the device finish what it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def time_text(seconds: float) -> str:
    """A time as readers see it, in seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class Clock:
    """Time on the clock and of the processor, on top of what earlier parts of a run took."""

    def __init__(self, seconds: float, cpu_seconds: float):
        self._start = time.perf_counter() - seconds
        self._cpu_start = time.process_time() - cpu_seconds

    def seconds(self) -> float:
        """On the clock."""
        return time.perf_counter() - self._start

    def cpu_seconds(self) -> float:
        """Of the processor, in all threads."""
        return time.process_time() - self._cpu_start
