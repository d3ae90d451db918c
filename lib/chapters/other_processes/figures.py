"""Figures of the chapters on other processes. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from bookkit.plots import EXACT, PALETTE, PRIOR

# One color for each way of guessing, sampler and law.
GUESSES = {
    "a draw": EXACT,
    "mean, fresh noise": PALETTE[3],
    "mean, half kept": PALETTE[1],
    "mean, same noise": PALETTE[0],
}
SAMPLERS = {"one shot": PRIOR, "naive": PALETTE[3], "improved": PALETTE[0]}
LAWS = {
    "one Gaussian": PALETTE[0],
    "two modes": PALETTE[1],
    "four modes": PALETTE[2],
    "V": EXACT,
}
_MARKERS = "osD^vP"


def against_steps(
    ax: Axes,
    steps: Sequence[int],
    lines: Mapping[str, Sequence[float]],
    colors: Mapping[str, str],
    ylabel: str,
) -> None:
    """Named lines against numbers of steps, which are logarithmic."""
    for (name, values), marker in zip(lines.items(), _MARKERS):
        ax.plot(steps, values, color=colors[name], marker=marker, ms=5, label=name)
    ax.set(xscale="log", xlabel="steps", ylabel=ylabel)
    ax.set_xticks(steps, [f"{count:,}" for count in steps])
    ax.minorticks_off()


def field(
    ax: Axes, lines: Sequence[np.ndarray], heights: np.ndarray, charges: np.ndarray, reach: float
) -> None:
    """Lines of force of charges on a line (dots), places over heights."""
    for places in lines:
        ax.plot(places, heights, color=PALETTE[0], lw=0.9)
    ax.scatter(charges, np.zeros_like(charges), s=28, color=EXACT, zorder=3, clip_on=False)
    ax.set(xlim=(-reach, reach), ylim=(0, heights.max()), xlabel="place x", ylabel="height t")


def against_height(
    ax: Axes, heights: Sequence[float], lines: Mapping[str, Sequence[float]]
) -> None:
    """Errors of the start against heights, both logarithmic."""
    for (name, values), color, marker in zip(lines.items(), (EXACT, PALETTE[3]), _MARKERS):
        ax.plot(heights, values, color=color, marker=marker, ms=5, label=name)
    ax.set(xscale="log", yscale="log", xlabel="height T of the start",
           ylabel="total variation distance")  # fmt: skip
    ax.set_xticks(heights, [f"{height:g}" for height in heights])
    ax.minorticks_off()
    ax.legend(fontsize="small")


def bracketed(
    ax: Axes,
    places: Sequence[float],
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    ticks: Sequence[str],
) -> None:
    """Brackets of the excess in percent, one line per law, as bars from lower to upper bound
    with their middles joined; the horizontal axis is logarithmic."""
    for (name, ends), marker in zip(lines.items(), _MARKERS):
        low, high = (np.asarray(end) for end in ends)
        middle = (low + high) / 2
        ax.errorbar(places, middle, yerr=[middle - low, high - middle], color=LAWS[name],
                    marker=marker, ms=4, capsize=3, lw=1.2, label=name)  # fmt: skip
    ax.set(xscale="log", xlabel=xlabel, ylabel="excess (percent)")
    ax.set_xticks(places, ticks)
    ax.minorticks_off()


def token_losses(
    ax: Axes, single: Mapping[int, np.ndarray], lines: Mapping[str, Sequence[float]]
) -> None:
    """Divergences against the number of tokens in a step: of single random orders (dots), of
    their average, and of named orders."""
    sizes = list(single)
    for size, values in single.items():
        ax.scatter(np.full(len(values), size), values, s=10, color=PRIOR, alpha=0.5, lw=0)
    means = [values.mean() for values in single.values()]
    ax.plot(sizes, means, color=PRIOR, marker="o", ms=5, label="random order")
    for (name, line), color, marker in zip(lines.items(), (PALETTE[3], PALETTE[0]), "sD"):
        ax.plot(sizes, line, color=color, marker=marker, ms=5, label=name)
    ax.set(xscale="log", xlabel="tokens in each step", ylabel="divergence (nats)")
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.minorticks_off()
    ax.legend(fontsize="small")


def surprise(ax: Axes, hidden: np.ndarray, values: np.ndarray, independent: float) -> None:
    """Surprise of a hidden pixel against how many are hidden, and that of independent pixels."""
    ax.plot(hidden, values, color=EXACT, label="network")
    ax.axhline(independent, color=PRIOR, ls="--", label="frequencies alone")
    ax.set(xlabel="hidden pixels", ylabel="surprise of a pixel (nats)", ylim=(0, None))
    ax.legend(fontsize="small")
