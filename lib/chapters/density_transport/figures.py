"""Figures of the chapter on experiment L.2. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from matplotlib.axes import Axes
from torch import Tensor

from bookkit.plots import EXACT, MAPS, MODES, PRIOR


def latents_and_images(
    ax: Axes,
    z: Tensor,
    x: Tensor,
    modes: Tensor | None = None,
    paths: Tensor | None = None,
) -> None:
    """Latents in the color of the prior, and their images in the colors of their modes.

    Args:
        z, x: shape (n, 2). modes: shape (n,); by default all in the color of the first.
        paths: ways of some latents, shape (points on the way, number of ways, 2).
    """
    colors = [MODES[k] for k in modes.tolist()] if modes is not None else MODES[0]
    ax.scatter(*z.T, c=PRIOR, s=2, lw=0, rasterized=True)
    ax.scatter(*x.T, c=colors, s=2, lw=0, rasterized=True)
    if paths is not None:
        for way in paths.unbind(1):
            ax.plot(*way.T, color=MAPS["flow"], lw=0.8, marker=".", ms=2.5)


def outline(ax: Axes, points: Tensor, color: str = EXACT) -> None:
    """A curve through points of shape (n, 2)."""
    ax.plot(*points.T, color=color, lw=1.3)


def ordered_points(ax: Axes, points: Tensor, ranks: Tensor) -> None:
    """Points of shape (n, 2), colored by rank from dark (lowest) to light."""
    ax.scatter(*points.T, c=ranks, cmap="viridis", s=3, lw=0, rasterized=True)


def named_points(
    ax: Axes,
    points: Mapping[str, tuple[Tensor, str, str]],
    loc: Literal["lower right", "upper right"] = "lower right",
) -> None:
    """Single points with a legend: name to (point of shape (2,), color, marker)."""
    for name, (point, color, marker) in points.items():
        size = 12 if marker == "*" else 8
        ax.plot(*point, marker, color=color, ms=size, mec="white", mew=0.7, label=name, ls="none")
    ax.legend(fontsize="small", loc=loc, handletextpad=0.1, borderpad=0.1)


def guides(ax: Axes, x: Sequence[float] = (), y: Sequence[float] = ()) -> None:
    """Dashed lines at first coordinates x and at second coordinates y."""
    for value in x:
        ax.axvline(value, color=EXACT, ls="--", lw=0.9)
    for value in y:
        ax.axhline(value, color=EXACT, ls="--", lw=0.9)


def coordinate_lines(ax: Axes, vertical: Sequence[Tensor], horizontal: Sequence[Tensor]) -> None:
    """Images of vertical (orange) and of horizontal (blue) lines, each of shape (n, 2), as dots
    no matter how far apart, since a map may tear a line."""
    for lines, color in ((horizontal, MODES[0]), (vertical, MODES[1])):
        for points in lines:
            ax.scatter(*points.T, c=color, s=1.5, lw=0, rasterized=True)


def arrows(ax: Axes, start: Tensor, end: Tensor, names: tuple[str, str]) -> None:
    """Images of the same latents under two maps, both (n, 2), joined; named as in ``MAPS``."""
    ax.plot(
        *[[s, e] for s, e in zip(start.unbind(1), end.unbind(1))], color="0.35", lw=0.9, zorder=1
    )
    for points, name, marker in ((start, names[0], "X"), (end, names[1], "*")):
        size = 36 if marker == "X" else 60
        ax.scatter(
            *points.T, c=MAPS[name], marker=marker, s=size, ec="white", lw=0.6, label=name,
            zorder=2,
        )  # fmt: skip
    ax.legend(fontsize="small", loc="lower right", handletextpad=0.1)


def distance_against_points(
    ax: Axes,
    sizes: Sequence[int],
    values: Sequence[float],
    errors: Sequence[float],
    levels: Mapping[str, tuple[float, str]],
) -> None:
    """Distance of the flow from the optimal pairing against the number of points paired, with
    bars of two standard errors, and other distances as levels: name to (value, color)."""
    ax.errorbar(
        sizes, values, yerr=[2 * e for e in errors], color=MAPS["optimal"], marker="o", capsize=3,
        label="optimal pairing of n points",
    )  # fmt: skip
    for (name, (value, color)), style in zip(levels.items(), ("--", ":", "-", "-")):
        ax.axhline(value, color=color, ls=style, lw=1.3, label=name)
    ax.set(xscale="log", yscale="log", xlabel="points n", ylabel="mean distance to the flow")
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ticks = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
