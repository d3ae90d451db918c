"""Figures of the chapter on transport during training. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from torch import Tensor

from bookkit.plots import EXACT, MODES, PALETTE, PRIOR, plane

DECAYS = {"constant": PALETTE[3], "cosine": PALETTE[9]}
LADDER = [PALETTE[9], PALETTE[2], PALETTE[1], PALETTE[4]]


def quadrants(ax: Axes, z: Tensor, x: Tensor, reach: float) -> None:
    """Points x, each in the color of the quadrant of its latent z, both of shape (n, 2)."""
    index = np.where(z[:, 1] > 0, np.where(z[:, 0] > 0, 0, 1), np.where(z[:, 0] > 0, 3, 2))
    ax.scatter(*x.T, c=np.array(MODES)[index], s=5, lw=0, rasterized=True)
    plane(ax, reach)


def along(ax: Axes, steps: Sequence[int], ylabel: str, yscale: str = "linear") -> None:
    """An axis of steps of training, from 0 on, linear up to 30 and then logarithmic."""
    ax.set_xscale("symlog", linthresh=30, linscale=0.5)
    ax.set_xlim(-2, 1.15 * max(steps))
    ticks = [step for step in steps if step in (0, 30, 100, 400, 2000)]
    ax.set_xticks(ticks, [f"{step:,}" for step in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set(xlabel="steps of training", ylabel=ylabel, yscale=yscale)


def seeds(
    ax: Axes,
    steps: Sequence[int],
    runs: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> None:
    """Curves of several trainings at each decay of the rate: thin ones for single trainings, of
    shape (seeds, steps); their mean, and a band with the ends (2, steps) of its interval."""
    for decay, (values, mean, ends) in runs.items():
        color = DECAYS[decay]
        ax.plot(steps, values.T, color=color, lw=0.6, alpha=0.5)
        ax.plot(steps, mean, color=color, lw=2, marker="o", ms=4, label=decay)
        ax.fill_between(steps, *ends, color=color, alpha=0.15, lw=0)


def level(ax: Axes, value: float) -> None:
    """The value of the exact denoiser, dashed."""
    ax.axhline(value, color=EXACT, ls="--", lw=1.2, label="exact denoiser")


def floor(ax: Axes, values: Sequence[float]) -> None:
    """A band from the least to the largest distance of two samples of the law."""
    ax.axhspan(min(values), max(values), color=PRIOR, alpha=0.3, lw=0, label="two samples")


def ladder(ax: Axes, steps: Sequence[int], lines: Mapping[str, np.ndarray]) -> None:
    """Distances and bounds along training, shape (seeds, steps) each, from below to above: the
    geometric mean over the trainings, and the range of them as a band."""
    for (name, values), color, marker in zip(lines.items(), LADDER, "osD^"):
        middle = np.exp(np.log(values).mean(0))
        ax.plot(steps, middle, color=color, marker=marker, ms=4, label=name)
        ax.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.15, lw=0)


def tightness(
    ax: Axes, widths: Sequence[float], lines: Mapping[str, tuple[Sequence[float], str, str]]
) -> None:
    """W2 over its bound against the width of a model; each line with its color and style."""
    for name, (ratios, color, style) in lines.items():
        ax.plot(widths, ratios, color=color, ls=style, label=name)
    ax.axhline(1, color="0.8", lw=0.8, zorder=0)
    ax.set(xscale="log", xlabel="standard deviation of the model (data: 1)", ylim=(0, 1.05))
    ax.set_xticks([0.25, 0.5, 1, 2, 4], ["¼", "½", "1", "2", "4"])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_ylabel("W₂ over its bound")
    ax.legend(fontsize="small", loc="lower center")
