"""Figures. Nothing is computed here.

Colors mean the same through the whole book: one per mode (in the order of
:func:`~diffot.mixtures.thesis_mixture`, upper right first), one for the prior, and one per kind
of predictor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

_PALETTE = sns.color_palette("colorblind", 10).as_hex()
MODES = [_PALETTE[i] for i in (0, 1, 2, 4)]
PRIOR = "#8c8c8c"
EXACT = "#1a1a1a"
KINDS = {"exact": EXACT, "thesis": _PALETTE[3], "linear": _PALETTE[5], "SiLU": _PALETTE[9]}


def use_style() -> None:
    """Set the book's figure style for this process. White ground, so that both themes can show
    the figures."""
    sns.set_theme(context="notebook", style="ticks", font_scale=0.95)
    plt.rcParams.update(
        {
            "figure.dpi": 120,
            "savefig.dpi": 120,
            "savefig.facecolor": "white",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
        }
    )


def panels(
    titles: Sequence[str], width: float = 8.5, height: float = 4.2
) -> tuple[Figure, list[Axes]]:
    """A row of panels, each with a short name above it, lettered if there are several."""
    figure, axes = plt.subplots(1, len(titles), figsize=(width, height), squeeze=False)
    for ax, letter, title in zip(axes[0], "abcdefgh", titles):
        label = f"({letter}) {title}" if len(titles) > 1 else title
        ax.set_title(label, loc="left", fontsize="small" if len(titles) > 2 else "medium")
    return figure, list(axes[0])


def plane(ax: Axes, reach: float) -> None:
    """Make axes a square piece of the plane with faint lines through the origin."""
    ax.axhline(0, color="0.8", lw=0.8, zorder=0)
    ax.axvline(0, color="0.8", lw=0.8, zorder=0)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    ax.set(xlabel="first coordinate", ylabel="second coordinate")


def scatter_map(ax: Axes, z: Tensor, x: Tensor, modes: Tensor, reach: float) -> None:
    """Latents z and their images x in one plane, both in the color of the image's mode.

    Args:
        z, x: shape (n, 2). modes: shape (n,).
    """
    colors = [MODES[k] for k in modes.tolist()]
    ax.scatter(*z.T, c=colors, s=2, lw=0, rasterized=True)
    ax.scatter(*x.T, c=colors, s=2, lw=0, rasterized=True)
    plane(ax, reach)


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
    """Training losses against CPU time, over the lowest loss that any predictor can have.

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
