"""Figures of the chapters on four ways to generate. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from bookkit.plots import DATA, EXACT, PALETTE, window

COLORS = {
    "VAE": PALETTE[5],
    "GAN": PALETTE[3],
    "normalizing flow": PALETTE[4],
    "diffusion": PALETTE[9],
}
MARKERS = {"VAE": "o", "GAN": "s", "normalizing flow": "D", "diffusion": "^"}
REACH = 8.0  # of the windows on the plane


def cloud(ax: Axes, points: Tensor, stray: Tensor, size: str = "small") -> None:
    """Points (n, 2); those that are astray, shape (n,) of truth values, in orange."""
    for chosen, color in ((~stray, EXACT), (stray, PALETTE[3])):
        ax.scatter(*points[chosen].T, c=color, s=3, lw=0, rasterized=True)
    window(ax, (-REACH, REACH), (-REACH, REACH), size)
    ax.set(xticks=[-5, 0, 5], yticks=[-5, 0, 5])


def cloud_grid(rows: Sequence[str], columns: Sequence[str]) -> tuple[Figure, np.ndarray]:
    """Small windows with names of rows and columns, for :func:`cloud` and :func:`named_grid`."""
    shape = len(rows), len(columns)
    figure, axes = plt.subplots(
        *shape, figsize=(1.7 * shape[1], 1.75 * shape[0]), sharex=True, sharey=True
    )
    for ax, name in zip(axes[0], columns):
        ax.set_title(name, fontsize="small")
    return figure, axes


def named_grid(axes: np.ndarray, rows: Sequence[str]) -> None:
    """Name the rows of a grid, instead of its axes one by one."""
    for line, name in zip(axes, rows):
        for ax in line:
            ax.set(xlabel="", ylabel="")
        line[0].set_ylabel(name, fontsize="small")


def dots(
    ax: Axes,
    found: Mapping[str, tuple[Sequence[float], float]],
    xlabel: str,
    **axes: object,
) -> None:
    """One line for each name: a pale dot for each of its values, and the mean with half an
    interval to either side. ``axes`` are further properties, such as ``xscale``."""
    for place, (name, (values, half)) in enumerate(found.items()):
        method = name.split(",")[0]
        color = COLORS[method]
        ax.plot(values, [place + 0.25] * len(values), "o", color=color, alpha=0.5, ms=4, mew=0)
        ax.errorbar(np.mean(values), place, xerr=half, color=color, marker=MARKERS[method], ms=6,
                    capsize=3)  # fmt: skip
    ax.set_yticks(range(len(found)), list(found))
    ax.set(xlabel=xlabel, ylim=(len(found) - 0.5, -0.5), **axes)


def shaded(ax: Axes, low: float, high: float) -> None:
    """A gray band across the values, of what samples of the law themselves show."""
    ax.axvspan(low, high, color=DATA, lw=0, zorder=0)


def against_time(
    ax: Axes,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
    ylabel: str,
) -> None:
    """Values over the seconds of sampling for each method, given by seconds, values and half
    intervals; joined for the diffusion, of which they are numbers of steps."""
    for name, (seconds, value, half) in curves.items():
        joined = "-" if name == "diffusion" else ""
        ax.errorbar(seconds, value, yerr=half, color=COLORS[name], marker=MARKERS[name], ms=6,
                    ls=joined, capsize=3, label=name)  # fmt: skip
    ax.set(xscale="log", yscale="log")
    ax.set(xlabel="CPU seconds for 10,000 points", ylabel=ylabel)
    ax.legend(fontsize="small")
