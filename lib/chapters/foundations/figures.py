"""Figures of the chapters on foundations. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from matplotlib_inline.backend_inline import set_matplotlib_formats
from matplotlib_inline.config import InlineBackend
from torch import Tensor

from bookkit.plots import EXACT, PALETTE, PRIOR

STYLES = [(EXACT, "-"), (PALETTE[9], "-"), (PALETTE[3], "--"), (PALETTE[2], "-."), (PRIOR, ":")]


def use_vectors() -> None:
    """Let a notebook's figures be kept as vector graphics too, which is what the book then shows;
    the same figure gives the same file."""
    plt.rcParams["svg.hashsalt"] = "diffot"
    InlineBackend.instance().print_figure_kwargs["metadata"] = {"Date": None}
    set_matplotlib_formats("png", "svg")


def curves(
    ax: Axes,
    x: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    marker: str = "",
    **axes: object,
) -> None:
    """Named lines over common places, five at most, in the colors and dashes of the chapter.
    ``axes`` are further properties of the axes, such as their limits. A logarithmic axis has its
    ticks at the places."""
    for (name, values), (color, dash) in zip(lines.items(), STYLES):
        ax.plot(x, values, color=color, ls=dash, marker=marker, ms=4, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel, **axes)
    if ax.get_xscale() == "log":
        ax.set_xticks(x, [f"{place:g}" for place in x])
        ax.xaxis.set_minor_locator(NullLocator())
    if len(lines) > 1:
        ax.legend(fontsize="small")


def densities_over_time(
    ax: Axes, times: Tensor, line: Tensor, densities: Tensor, backwards: bool = False
) -> None:
    """The density of x_t, shape (times, points), as shades of gray over time, darkest where it is
    greatest at that time."""
    shade = densities / densities.amax(1, keepdim=True)
    ax.pcolormesh(
        times, line, shade.T, cmap="Greys", vmin=0, vmax=1.6, shading="gouraud", rasterized=True
    )
    ends = (float(times.max()), 0) if backwards else (0, float(times.max()))
    ax.set(xlim=ends, ylim=(float(line.min()), float(line.max())))
    ax.set(xlabel="time $t$", ylabel="$x_t$")


def paths_over_time(ax: Axes, times: Sequence[float], paths: Tensor, color: str, **line) -> None:
    """Paths, shape (times, n), as thin lines over time."""
    ax.plot(times, paths, color=color, lw=0.9, **line)


def beside_gaussian(ax: Axes, line: Tensor, density: Tensor, gaussian: Tensor, xlabel: str):
    """A density, and dashed the Gaussian with its mean and variance."""
    ax.fill_between(line, density, color=PRIOR, alpha=0.4, lw=0)
    ax.plot(line, density, color=EXACT, label="exact")
    ax.plot(line, gaussian, color=PALETTE[3], ls="--", label="Gaussian")
    ax.set(xlabel=xlabel, yticks=[], ylim=(0, None))
    ax.spines["left"].set_visible(False)
