"""Figures of the chapter on the flow and optimal transport. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from bookkit.plots import EXACT, MAPS, PALETTE, data_cloud, window


def excess_against_angle(
    ax: Axes, angles: Sequence[float], lines: Mapping[str, Sequence[float]]
) -> None:
    """Relative excess of a composed map against the angle between two Gaussians' axes."""
    for (name, values), color in zip(lines.items(), (PALETTE[9], PALETTE[5], EXACT)):
        ax.plot(angles, values, color=color, label=name)
    ax.set(xlabel="angle between the long axes (degrees)", ylabel="relative excess cost")
    ax.legend(title="ratio of the axes")


def excess_against_sample(
    ax: Axes,
    sizes: Sequence[int],
    mean: Sequence[float],
    error: Sequence[float],
    bracket: tuple[float, float],
) -> None:
    """Relative excess of samples against their size, with bars of two standard errors, and the
    bracket of the excess of the map (band)."""
    bars = [2 * e for e in error]
    style = {"marker": "o", "color": PALETTE[3], "capsize": 3}
    ax.errorbar(sizes, mean, yerr=bars, label="assigned sample", **style)
    ax.axhspan(*bracket, color=EXACT, alpha=0.35, lw=0, label="the map itself")
    ax.set(xscale="log", xlabel="points in the sample", ylabel="relative excess cost")
    ax.set_ylim(bottom=0)
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ax.minorticks_off()
    ax.legend()


def displacement(ax: Axes, latents: Tensor, change: Tensor) -> None:
    """Arrows at latents (P, 2), twice as long as the change there."""
    arrows: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 0.5, "width": 0.004}
    ax.quiver(*latents.T, *change.T, color=MAPS["optimal"], **arrows)
    ax.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")


def from_flow_to_optimal(ax: Axes, flow: Tensor, optimal: Tensor) -> None:
    """Arrows from images under the flow (dots) to images under the optimal map, (P, 2) each."""
    ax.scatter(*flow.T, s=8, color=MAPS["flow"], zorder=3, label="flow")
    arrows: dict[str, Any] = {
        "angles": "xy",
        "scale_units": "xy",
        "scale": 1,
        "width": 0.005,
        "zorder": 4,
    }
    ax.quiver(*flow.T, *(optimal - flow).T, color=MAPS["optimal"], label="to optimal", **arrows)
    ax.legend(loc="upper left", fontsize="small")


def bracket_against_angle(
    ax: Axes, angles: Sequence[float], lower: Sequence[float], upper: Sequence[float]
) -> None:
    """Bracket of the excess in percent (band) against an angle in degrees."""
    ax.fill_between(angles, lower, upper, color=EXACT, alpha=0.35, lw=0)
    ax.plot(angles, lower, color=EXACT, lw=1)
    ax.plot(angles, upper, color=EXACT, lw=1)
    ax.set(xlabel="angle (degrees)", ylabel="excess (percent)", ylim=(0, None))


def opening(
    sample: Tensor,
    axes: Tensor,
    angles: Sequence[float],
    lower: Sequence[float],
    upper: Sequence[float],
    at: int,
) -> Figure:
    """A mirrored pair above the brackets of its family, with a dot at its own.

    Args:
        sample: of the law, shape (n, 2). axes: ends of the long axes of its Gaussians, shape
            (2, 2, 2): Gaussian, end, coordinate.
        angles: in degrees. lower, upper: brackets of the excess in percent. at: place of this
            law's angle among them.
    """
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(4.2, 5.4), gridspec_kw={"height_ratios": [1.7, 1]}
    )
    data_cloud(above, sample, "0.6")
    above.plot(*axes.mean(1).T, color=EXACT, lw=1, ls="--")
    for axis in axes:
        above.plot(*axis.T, color=PALETTE[3], lw=2)
    window(above, (-3.9, 3.9), (-3.1, 3.1), size="medium")
    bracket_against_angle(below, angles, lower, upper)
    below.axvline(angles[at], color=PALETTE[3], lw=1, ls="--")
    middle = (lower[at] + upper[at]) / 2
    below.plot(angles[at], middle, "o", color=PALETTE[3], ms=7, clip_on=False, zorder=3)
    below.set_title(f"{lower[at]:.2f} to {upper[at]:.2f} percent", loc="left", fontsize="medium")
    below.set(xticks=range(0, 91, 15), xlim=(-4, 94))
    return figure
