"""Figures of the chapter on experiment L.1. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from bookkit.plots import EXACT, KINDS, MODES, PRIOR, plane


def scatter_map(ax: Axes, z: Tensor, x: Tensor, modes: Tensor, reach: float) -> None:
    """Latents z and their images x in one plane, both in the color of the image's mode.

    Args:
        z, x: shape (n, 2). modes: shape (n,).
    """
    colors = [MODES[k] for k in modes.tolist()]
    ax.scatter(*z.T, c=colors, s=2, lw=0, rasterized=True)
    ax.scatter(*x.T, c=colors, s=2, lw=0, rasterized=True)
    plane(ax, reach)


def on_the_way(x: Tensor, modes: Tensor, reach: float) -> Figure:
    """Points on their way to the data, in the color of the mode that each will reach.

    Args:
        x: shape (n, 2). modes: shape (n,).
    """
    figure, ax = plt.subplots(figsize=(4.2, 4.2))
    ax.scatter(*x.T, c=[MODES[k] for k in modes.tolist()], s=6, lw=0)
    plane(ax, reach)
    return figure


def basins(ax: Axes, grid: Tensor, modes: Tensor, cells: Sequence[Tensor], reach: float) -> None:
    """Basins of the modes in the prior as areas, and polygons over them as lines.

    Args:
        grid: coordinates of the square grid of latents, shape (m,).
        modes: the mode that each latent of the grid is sent to, shape (m, m), rows along y.
        cells: corners of each polygon, shape (V, 2).
    """
    ax.pcolormesh(grid, grid, modes, cmap=ListedColormap(MODES), vmin=0, vmax=3, alpha=0.45,
                  rasterized=True, shading="nearest")  # fmt: skip
    for cell in cells:
        ax.fill(*cell.T, fill=False, edgecolor="black", lw=1)
    plane(ax, reach)


def surplus_against_steps(
    ax: Axes, steps: Sequence[int], lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]
) -> None:
    """Surplus of the near mode against the number of steps, with error bars of two standard
    errors; each line is named and given by its values and standard errors."""
    for (name, (value, error)), marker, color in zip(lines.items(), "os", (PRIOR, EXACT)):
        bars = [2 * e for e in error]
        ax.errorbar(steps, value, yerr=bars, marker=marker, color=color, label=name, capsize=3)
    ax.axhline(0, color="0.8", lw=0.8, zorder=0)
    ax.set(xscale="log", xlabel="DDIM steps", ylabel="surplus of the near mode (per 4000)")
    ax.set_xticks(steps, [str(s) for s in steps])
    ax.minorticks_off()
    ax.legend()


def loss_curves(
    ax: Axes, curves: Mapping[str, tuple[Sequence[float], float]], best: float
) -> None:
    """Training losses against CPU time, over the lowest loss that any denoiser can have.

    Args:
        curves: kind of network to (mean losses of stretches of equal length, CPU seconds).
        best: the Bayes-optimal loss.
    """
    for kind, (losses, seconds) in curves.items():
        time = [seconds * (i + 1) / len(losses) for i in range(len(losses))]
        ax.plot(time, losses, color=KINDS[kind], label=kind, lw=1.2)
    ax.axhline(best, color=KINDS["exact"], ls="--", lw=1.2, label="Bayes-optimal")
    ax.set(yscale="log", xlabel="CPU time (s)", ylabel="loss (mean squared error of the noise)")
    ax.set_yticks([0.3, 0.4, 0.5, 0.6, 0.8, 1.0], ["0.3", "0.4", "0.5", "0.6", "0.8", "1"])
    ax.minorticks_off()
    ax.legend()
