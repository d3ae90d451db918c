"""Figures of the chapters on experiment H.1. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from bookkit.plots import EXACT, PRIOR


def dots_and_chance(
    ax: Axes, rows: Mapping[str, tuple[float, float, float, float]], xlabel: str
) -> None:
    """One row for each comparison: a dot with a bar of two standard errors, and in gray the same
    for random pairings; name to (value, error, mean by chance, deviation by chance)."""
    places = range(len(rows))
    value, error, chance, deviation = np.array(list(rows.values())).T
    ax.errorbar(
        chance, places, xerr=2 * deviation, fmt="|", color=PRIOR, capsize=3, label="random pairs"
    )
    ax.errorbar(
        value, places, xerr=2 * error, fmt="o", color=EXACT, capsize=3, label="the same latent"
    )
    ax.set_yticks(places, list(rows), fontsize="small")
    ax.set(xlabel=xlabel, ylim=(len(rows) - 0.4, -0.6))
    ax.grid(axis="x", color="0.9")
    ax.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)
