"""Figures of the chapters on foundations. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from matplotlib_inline.backend_inline import set_matplotlib_formats
from matplotlib_inline.config import InlineBackend
from torch import Tensor

from bookkit.plots import EXACT, MODES, PALETTE, PRIOR, plane

STYLES = [(EXACT, "-"), (PALETTE[9], "-"), (PALETTE[3], "--"), (PALETTE[2], "-."), (PRIOR, ":")]


def use_vectors() -> None:
    """Let a notebook's figures be kept as vector graphics too, which is what the book then shows;
    the same figure gives the same file."""
    plt.rcParams["svg.hashsalt"] = "diffot"
    options: dict[str, Any] = InlineBackend.instance().print_figure_kwargs
    options["metadata"] = {"Date": None}
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


def carried(x: Tensor, quarters: Tensor, tracks: Tensor, line: Tensor, density: Tensor) -> Figure:
    """Points on their way to data in the plane, in the color of the quarter of the plane where
    each began, over their law (gray, darkest where it is greatest), and the tracks of some (lines
    that end in dots).

    Args:
        x: shape (n, 2). quarters: 0 to 3 for each, shape (n,).
        tracks: from the latents to now, shape (times, m, 2).
        line: coordinates of a square grid, shape (k,). density: over it, shape (k, k), rows along
            the first coordinate.
    """
    figure, ax = plt.subplots(figsize=(4.2, 4.2))
    levels = [float(density.max()) * share for share in (0.05, 0.2, 0.4, 0.6, 0.8, 1.01)]
    shades = ["0.93", "0.87", "0.81", "0.75", "0.69"]
    ax.contourf(line, line, density.T, levels=levels, colors=shades, zorder=0)
    ax.scatter(*x.T, c=[MODES[k] for k in quarters.tolist()], s=7, lw=0, zorder=2)
    for track in tracks.transpose(0, 1):
        ax.plot(*track.T, color=EXACT, lw=1, zorder=3)
    ax.scatter(*tracks[-1].T, color=EXACT, s=20, lw=0, zorder=3)
    plane(ax, reach=float(line.max()))
    return figure


def beside_gaussian(ax: Axes, line: Tensor, density: Tensor, gaussian: Tensor, xlabel: str):
    """A density, and dashed the Gaussian with its mean and variance."""
    ax.fill_between(line, density, color=PRIOR, alpha=0.4, lw=0)
    ax.plot(line, density, color=EXACT, label="exact")
    ax.plot(line, gaussian, color=PALETTE[3], ls="--", label="Gaussian")
    ax.set(xlabel=xlabel, yticks=[], ylim=(0, None))
    ax.spines["left"].set_visible(False)
