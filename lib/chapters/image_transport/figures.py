"""Figures of the chapter on image models and optimal transport. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from bookkit.plots import DATA, EXACT, PRIOR, with_bars


def rows_of_dots(
    ax: Axes, rows: Mapping[str, Sequence[float]], controls: Sequence[str], xlabel: str
) -> None:
    """One row for each map: a pale dot for each latent, the mean with a bar of two standard
    errors over latents; gray for the maps whose answer is known.

    Args:
        rows: name to values, one for each latent; of a single value, no bar.
        controls: names of those whose answer is known.
    """
    for place, (name, row) in enumerate(rows.items()):
        values = np.asarray(row, dtype=float)
        color = PRIOR if name in controls else EXACT
        spread = np.linspace(-0.25, 0.25, len(values)) if len(values) > 1 else [0]
        ax.scatter(values, place + np.asarray(spread), color=DATA, s=8, lw=0)
        error = 2 * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0
        ax.errorbar(values.mean(), place, xerr=error, fmt="o", ms=5, color=color, capsize=3)
    ax.set_yticks(range(len(rows)), list(rows), fontsize="small")
    ax.set(xlabel=xlabel, ylim=(len(rows) - 0.4, -0.6))
    ax.grid(axis="x", color="0.9")


def along_path(
    ax: Axes,
    curves: Mapping[str, tuple[Sequence, Sequence, Sequence, Sequence]],
    controls: Sequence[str],
) -> None:
    """Asymmetry over the number of steps, each curve a tuple of steps, value, low and high;
    gray and dashed for the maps whose answer is known."""
    with_bars(ax, {name: curve for name, curve in curves.items() if name not in controls})
    for name in controls:
        k, value, low, high = (np.asarray(column, dtype=float) for column in curves[name])
        bars = [value - low, high - value]
        ax.errorbar(k, value, yerr=bars, color=PRIOR, ls="--", marker="x", capsize=2,
                    label=name)  # fmt: skip
    ax.set(xlabel="steps k, from noise to image", ylabel="asymmetry")
    ax.set_ylim(bottom=0)
