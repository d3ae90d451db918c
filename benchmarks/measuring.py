"""Rows of the benchmarks, and times taken in turn."""

from __future__ import annotations

import ctypes
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

from diffot.learning.clock import wait_for

# For GNU's C library, to keep memory that is freed: how many bytes it keeps, and up to which size
# it keeps a block at all. If only the first is set, the second stays at 128 KiB.
MEMORY_KEPT = {"MALLOC_TRIM_THRESHOLD_": 2**30, "MALLOC_MMAP_THRESHOLD_": 2**25}
TIE = "The target lies between the quartiles: this run does not tell."


def row(
    name: str,
    ours: Sequence[float],
    peer: Sequence[float],
    *,
    unit: str,
    against: str,
    target: float | None = None,
    why: str = "",
) -> dict:
    """A comparison of two costs, each measured several times, the i-th of both together.

    Args:
        target: the greatest ratio, ours to the peer's, that is aimed at; if there is none, the
            row says how things are.
        why: what is known about the reason, kept if the target is missed and the quartiles do
            not enclose it.
    """
    ratios = [a / b for a, b in zip(ours, peer)]
    ratio = statistics.median(ratios)
    low, high = quartiles(ratios)
    met = None if target is None else ratio <= target
    if met is False and low <= target:
        why = TIE
    return {
        "name": name,
        "against": against,
        "unit": unit,
        "ours": rounded(statistics.median(ours)),
        "peer": rounded(statistics.median(peer)),
        "ratio": rounded(ratio),
        "quartiles": [rounded(low), rounded(high)],
        "target": target,
        "met": met,
        "why": why if met is False else "",
    }


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def rows(
    name: str, ours: Sequence[float], peers: Mapping[str, Sequence[float]], **more: Any
) -> list[dict]:
    """A :func:`row` against each of several."""
    return [row(name, ours, theirs, against=peer, **more) for peer, theirs in peers.items()]


def rounded(value: float) -> float:
    return float(f"{value:.6g}")


def in_turn(functions: Mapping[Any, Callable[[], object]], rounds: int) -> dict[Any, list[float]]:
    """Seconds of each function, called in turn after one call that is not counted, so that a
    change in the speed of the machine falls on all."""
    for function in functions.values():
        function()
    times: dict[Any, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return times


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    wait_for(device())
    return time.perf_counter() - start


def fitted_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The slope of log cost over log size, by least squares."""
    x = torch.tensor([sizes, costs], dtype=torch.float64).log()
    x = x - x.mean(1, keepdim=True)
    return float((x[0] * x[1]).sum() / x[0].square().sum())


def machine() -> dict:
    """What the benchmarks run on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_GB": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def processor() -> str:
    cards = Path("/proc/cpuinfo")
    for line in cards.read_text().splitlines() if cards.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def keep_memory() -> None:
    """Keep memory that is freed, where the C library is GNU's, for this process.

    By default large blocks go back to the system, or do not, depending on the small ones above
    them. Then the same network call takes two to five percent longer in one loop than in another.
    """
    options = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    if platform.libc_ver()[0] == "glibc":
        for option, value in zip(options, MEMORY_KEPT.values()):
            ctypes.CDLL(None).mallopt(option, value)


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def show(title: str, rows: Sequence[dict]) -> None:
    """Print a table of rows."""
    print(f"\n{title}")
    width = max(len(r["name"]) for r in rows)
    for r in rows:
        low, high = r["quartiles"]
        told = {True: "met", False: "MISSED", None: ""}[r["met"]]
        target = "" if r["target"] is None else f"at most {r['target']:g}"
        print(
            f"  {r['name']:{width}}  {r['ours']:9.4g} {r['peer']:9.4g} {r['unit']:12} "
            f"{r['ratio']:7.3f} ({low:.3f}, {high:.3f})  {target:14} {told:7} {r['against']}"
        )
