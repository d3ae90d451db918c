"""Figures of the chapter on samplers. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from bookkit.plots import EXACT, PALETTE


def errors_against_evaluations(
    ax: Axes, evaluations: Sequence[int], lines: Mapping[str, Sequence[float]]
) -> None:
    """Errors of samplers against the number of network evaluations, both logarithmic."""
    styles = zip((EXACT, PALETTE[9], PALETTE[3], PALETTE[2], PALETTE[4], PALETTE[5]), "osDvP^")
    for (name, errors), (color, marker) in zip(lines.items(), styles):
        ax.plot(evaluations, errors, color=color, marker=marker, label=name)
    ax.set(xscale="log", yscale="log")
    ax.set(xlabel="evaluations of the denoiser", ylabel="median error")
    ax.set_xticks(evaluations, [str(n) for n in evaluations])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.legend()
