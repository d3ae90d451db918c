"""Figures of the chapters on guidance. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from torch import Tensor

from bookkit.plots import EXACT, MODES, PALETTE, PRIOR, plane, window

STRANDED = "#4d4d4d"
# One color for each law that is compared.
LAWS = {"guided flow": EXACT, "tilted law": PALETTE[3], "DDPM": PALETTE[9], "guided": EXACT}
# One for each condition.
CASES = {"near mode of L.1b": EXACT, "one of four": PALETTE[9], "two of four": PALETTE[3]}


def destinations(ax: Axes, line: Tensor, destination: Tensor) -> None:
    """A square grid of latents, colored by the mode that each goes to; -1 is none.

    Args:
        line: coordinates of the grid, shape (m,). destination: shape (m, m), rows along y.
    """
    colors = ListedColormap([STRANDED, *MODES])
    ax.pcolormesh(line, line, destination, cmap=colors, vmin=-1.5, vmax=3.5,
                  alpha=0.6, rasterized=True, shading="nearest")  # fmt: skip
    plane(ax, float(line.max()))


def arrivals(
    ax: Axes,
    points: Tensor,
    destination: Tensor,
    centers: Tensor,
    x: tuple[float, float],
    y: tuple[float, float],
) -> None:
    """Guided points, shape (n, 2), in the color of their mode, and the centers of the modes."""
    colors = [STRANDED, *MODES]
    ax.scatter(*points.T, c=[colors[k + 1] for k in destination.tolist()], s=3, lw=0)
    ax.scatter(*centers.T, marker="+", color=EXACT, s=60, lw=1.2, zorder=3)
    window(ax, x, y)


def against_weight(
    ax: Axes,
    lines: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
    ylabel: str,
) -> None:
    """Named lines against the weight of guidance, each given by weights, values and standard
    errors; bars of two standard errors. One axis unit for each doubling above 1."""
    for (name, (x, value, error)), marker in zip(lines.items(), "osD^vP"):
        color = LAWS.get(name) or CASES.get(name) or PALETTE[list(lines).index(name)]
        bars = [2 * e for e in error]
        ax.errorbar(x, value, yerr=bars, color=color, marker=marker, ms=4, capsize=2, label=name)
    weights(ax)
    ax.set_ylabel(ylabel)
    ax.legend(fontsize="small")


def level(ax: Axes, value: float, error: float, label: str) -> None:
    """What does not depend on the weight, as a band of two standard errors to both sides."""
    ax.axhspan(value - 2 * error, value + 2 * error, color=PRIOR, alpha=0.25, lw=0, label=label)


def weights(ax: Axes) -> None:
    """The axis of weights from 0 to 8: linear up to 1, one unit for each doubling above."""
    ax.set_xscale("symlog", base=2, linthresh=1, linscale=1)
    ticks = [0, 0.25, 0.5, 1, 2, 4, 8]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.axvline(1, color="0.8", lw=0.8, zorder=0)
    ax.set_xlabel("weight of guidance")


def share_of_two(ax: Axes, weight: Sequence[float], share: Sequence[float]) -> None:
    """The share of latents that end at the class of two distant modes, which jumps at 1/2."""
    ax.plot(weight, share, color=EXACT)
    ax.plot([0.5, 1], [1, 1], color=EXACT)
    ax.plot([0.5, 0.5], [share[-1], 1], color=EXACT, ls=":", lw=1)
    ax.set(xlabel="weight of guidance", ylabel="share at the class", ylim=(0.45, 1.03))


def bracketed(
    ax: Axes,
    brackets: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
    ylabel: str,
    least: float,
) -> None:
    """Brackets against the weight, each given by weights, lower and upper ends; those that reach
    below ``least`` are drawn down to it."""
    for (name, (x, low, high)), shift in zip(brackets.items(), (-0.05, 0, 0.05)):
        places = [w + shift * max(w, 1) for w in x]
        low, high = ([max(value, least) for value in end] for end in (low, high))
        ax.vlines(places, low, high, color=CASES[name], lw=5, alpha=0.5)
        ax.scatter(2 * places, [*low, *high], color=CASES[name], marker="_", s=60)
    weights(ax)
    ax.set(yscale="log", ylabel=ylabel, ylim=(least, None), xlim=(-0.1, 9.5))


def lines_of_excess(
    ax: Axes, weight: Sequence[float], excess: Sequence[float], asymmetry: Sequence[float]
) -> None:
    """Excess and asymmetry of a linear guided map against the weight."""
    ax.plot(weight, excess, color=EXACT, marker="o", ms=4, label="relative excess cost")
    style: dict[str, Any] = {"color": PRIOR, "ls": "--", "marker": "s", "ms": 4}
    ax.plot(weight, asymmetry, label="asymmetry of the matrix", **style)
    weights(ax)
    ax.legend(fontsize="small")
