"""Figures of the chapter on methods for optimal transport. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from bookkit.plots import EXACT, PALETTE, PRIOR, data_cloud, plane

COLORS = {
    "exact flow": EXACT,
    "flow matching": PALETTE[0],
    "reflow": PALETTE[9],
    "minibatch": PALETTE[1],
    "entropic": PALETTE[2],
    "semi-discrete": PALETTE[4],
}
MARKERS = {
    "exact flow": "o",
    "flow matching": "s",
    "reflow": "D",
    "minibatch": "^",
    "entropic": "v",
    "semi-discrete": "P",
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


def excess_against_law(ax: Axes, maps: pd.DataFrame, floors: Sequence[float]) -> None:
    """Excess in percent of the maps of each method, on samples (markers) and, where it is known,
    of the map itself (bars), against their distance from the law; gray where two samples of the
    law lie from each other.

    Args:
        maps: one line for each map: ``name``, a key of :data:`COLORS`, ``label`` (empty for
            none), ``law_distance``, ``sampled``, ``lower``, ``upper``.
        floors: distances of two samples.
    """
    ax.axvspan(min(floors), max(floors), color=PRIOR, alpha=0.25, lw=0)
    for name, group in maps.groupby("name", sort=False):
        ax.scatter(group.law_distance, 100 * group.sampled, color=COLORS[name], s=34,
                   marker=MARKERS[name], label=name, zorder=3, clip_on=False)  # fmt: skip
        ax.vlines(group.law_distance, 100 * group.lower, 100 * group.upper,
                  color=COLORS[name], lw=3, alpha=0.5)  # fmt: skip
        ax.scatter(group.law_distance, 50 * (group.lower + group.upper), color=COLORS[name],
                   marker="_", s=30, lw=1.5, clip_on=False)  # fmt: skip
    for _, row in maps[maps.label != ""].iterrows():
        ax.annotate(row.label, (row.law_distance, 100 * row.sampled), (0, 7),
                    textcoords="offset points", fontsize="x-small", ha="center")  # fmt: skip
    ax.set(xlabel="distance W₂ from the law", ylabel="excess (percent)")
    ax.set_ylim(bottom=0)


def entropic_frame(latents: Tensor, images: Tensor, sample: Tensor, title: str) -> Figure:
    """Images of latents (black), over a sample of the law (gray), with lines along rows of the
    grid of latents.

    Args:
        latents: not drawn, but their rows and columns are, shape (m, m, 2). images: of them.
        sample: shape (n, 2).
    """
    figure, ax = plt.subplots(figsize=(4.2, 4.2))
    data_cloud(ax, sample)
    for grid in (images, images.transpose(0, 1)):
        for line in grid:
            ax.plot(*line.T, color=EXACT, lw=0.7)
    near = latents.norm(dim=2) < 1
    ax.scatter(*images[near].T, color=PALETTE[1], s=9, zorder=3)
    ax.set_title(title, loc="left", fontsize="medium")
    plane(ax, reach=2.5)
    return figure
