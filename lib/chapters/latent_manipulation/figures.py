"""Figures of the chapter on experiment H.2. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from bookkit.plots import NAMED, with_bars


def responses(
    ax: Axes,
    curves: Mapping[str, tuple[Sequence, Sequence, Sequence, Sequence]],
    xlabel: str,
    ylabel: str,
    predictions: Mapping[str, tuple[Sequence, Sequence]] | None = None,
) -> None:
    """Measured values over what was set, with their intervals, and predictions, dashed.

    Args:
        curves: of each name, where it was measured, its values, and the lower and upper ends of
            their intervals.
        predictions: of ``"quantile map"`` or ``"Gaussian map"``, where and what.
    """
    with_bars(ax, curves)
    for name, (x, value) in (predictions or {}).items():
        ax.plot(x, value, "--", color=NAMED[name], label=name)
    ax.axvline(0, color="0.85", zorder=0)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    names = len(curves) + len(predictions or {})
    if names > 4:
        ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    elif names > 1:
        ax.legend(fontsize="small")


def with_errors(table: pd.DataFrame, name: str) -> tuple[Sequence, ...]:
    """A column over the index for :func:`responses`, with two of its standard errors."""
    value, error = table[name], table[f"{name}_error"]
    return table.index, value, value - 2 * error, value + 2 * error


def with_interval(table: pd.DataFrame, name: str) -> tuple[Sequence, ...]:
    """The same with the interval from ``NAME_low`` to ``NAME_high``."""
    return table.index, table[name], table[f"{name}_low"], table[f"{name}_high"]
