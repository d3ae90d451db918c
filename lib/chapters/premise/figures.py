"""Figures of the chapter on the flow and optimal transport. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bookkit.plots import EXACT, PALETTE


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
    lines: Mapping[str, tuple[Sequence[float], Sequence[float], float]],
) -> None:
    """Relative excess of samples against their size, with bars of two standard errors, and the
    sampling-free lower bound of each law (dashed)."""
    for (name, (mean, error, bound)), color in zip(lines.items(), (PALETTE[3], EXACT)):
        bars = [2 * e for e in error]
        ax.errorbar(sizes, mean, yerr=bars, marker="o", color=color, label=name, capsize=3)
        ax.axhline(bound, color=color, ls="--", lw=1, label="lower bound of the map")
    ax.set(xscale="log", xlabel="points in the sample", ylabel="relative excess cost")
    ax.set_ylim(bottom=0)
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ax.minorticks_off()
    ax.legend()
