"""Figures of the chapters on methods for optimal transport. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from bookkit.plots import EXACT, MAPS, PALETTE, PRIOR, data_cloud, plane

COLORS = {
    "exact flow": EXACT,
    "flow matching": PALETTE[0],
    "reflow": PALETTE[9],
    "minibatch": PALETTE[1],
    "entropic": PALETTE[2],
    "semi-discrete": PALETTE[4],
    "bridge": PALETTE[3],
    "convex network": PALETTE[8],
}
# Percent of excess, above which an axis is logarithmic, if anything is far above, or if most
# methods are far below the largest.
LINEAR, LINEAR_SMALL = 10, 0.01
MARKERS = {
    "exact flow": "o",
    "flow matching": "s",
    "reflow": "D",
    "minibatch": "^",
    "entropic": "v",
    "semi-discrete": "P",
    "bridge": "*",
    "convex network": "X",
}


def by_round(
    ax: Axes,
    lines: Mapping[str, Sequence[float]],
    label: str,
    styles: Sequence[str] = ("-",),
) -> None:
    """Named lines over rounds 0, 1, ..., logarithmic; styles take turns, and a color is kept for
    all of them."""
    for i, (name, values) in enumerate(lines.items()):
        color, style = PALETTE[(0, 1, 2, 4, 9)[i // len(styles)]], styles[i % len(styles)]
        ax.plot(range(len(values)), values, style, color=color, marker="o", ms=4, label=name)
    ax.set(yscale="log", xlabel="rounds", ylabel=label)
    ax.set_xticks(range(max(len(values) for values in lines.values())))


def excess_against_law(ax: Axes, dots: pd.DataFrame, floor: tuple[float, float]) -> None:
    """Excess in percent against distance from the law beyond that of the exact flow: a marker
    for the mean of each method on samples, thin lines for standard errors, and thick ones, where
    it is known, for the excess of the map itself.

    Args:
        dots: one line for each: ``name``, a key of :data:`COLORS`, ``label`` (empty for none),
            and ``gap``, ``sampled``, ``lower``, ``upper``, the first two with ``_error``.
        floor: what a sample of the law has in the place of the gap, mean and standard error.
    """
    ax.axvspan(floor[0] - floor[1], floor[0] + floor[1], color=PRIOR, alpha=0.25, lw=0)
    for name, group in dots.groupby("name", sort=False):
        errors = group[["gap_error", "sampled_error"]].fillna(0)
        ax.errorbar(group.gap, 100 * group.sampled, 100 * errors.sampled_error, errors.gap_error,
                    fmt="none", ecolor=COLORS[name], elinewidth=1)  # fmt: skip
        ax.scatter(group.gap, 100 * group.sampled, color=COLORS[name], s=40,
                   marker=MARKERS[name], label=name, zorder=3, clip_on=False)  # fmt: skip
        ax.vlines(group.gap, 100 * group.lower, 100 * group.upper,
                  color=COLORS[name], lw=4, alpha=0.5)  # fmt: skip
        ax.scatter(group.gap, 50 * (group.lower + group.upper), color=COLORS[name],
                   marker="_", s=50, lw=1.5)  # fmt: skip
    for _, dot in dots[dots.label != ""].iterrows():
        ax.annotate(dot.label, (dot.gap, 100 * dot.sampled), (5, -2),
                    textcoords="offset points", fontsize="small")  # fmt: skip
    ax.set(xlabel="W₂ from the law, beyond the exact flow", ylabel="excess (percent)")
    largest = 100 * dots[["sampled", "upper"]].max(axis=None)
    if largest > 2 * LINEAR:
        _stretch_small(ax, LINEAR, 2, [0, 2, 4, 6, 8, 10, 100])
    elif 100 * dots.sampled.quantile(0.75) < largest / 10:
        _stretch_small(ax, LINEAR_SMALL, 0.7, [0, 0.01, 0.1, 0.5])
    else:
        ax.set_ylim(-0.04 * largest, 1.1 * largest)
    left, right = ax.get_xlim()
    ax.set_xlim(left, right + 0.15 * (right - left))  # room for the labels


def _stretch_small(ax: Axes, small: float, share: float, ticks: Sequence[float]) -> None:
    """Make the vertical axis linear up to ``small``, on so many decades' length, and logarithmic
    beyond."""
    ax.set_yscale("symlog", linthresh=small, linscale=share)
    top = ax.get_ylim()[1]
    shown = [tick for tick in ticks if tick < top]
    ax.set_yticks(shown, [f"{tick:g}" for tick in shown])
    ax.set_ylim(-0.1 * small, top)


def entropic_frame(
    latents: Tensor, images: Tensor, sample: Tensor, title: str, color: str = MAPS["flow"]
) -> Figure:
    """Images of a grid of latents as a net, over a sample of the law (gray); those of latents
    within one of the origin are dots.

    Args:
        latents: not drawn, but their rows and columns are, shape (m, m, 2). images: of them.
        sample: shape (n, 2). color: of the net.
    """
    figure, ax = plt.subplots(figsize=(4.2, 4.2))
    data_cloud(ax, sample)
    for grid in (images, images.transpose(0, 1)):
        for line in grid:
            ax.plot(*line.T, color=color, lw=0.7)
    near = latents.norm(dim=2) < 1
    ax.scatter(*images[near].T, color=PALETTE[1], s=9, zorder=3)
    ax.set_title(title, loc="left", fontsize="medium")
    plane(ax, reach=3)
    return figure
