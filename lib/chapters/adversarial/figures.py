"""Figures of the chapter on adversarial training. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from numpy.typing import NDArray

from bookkit.plots import EXACT, PALETTE, PRIOR

OBJECTIVES = {
    "h(D) = D": EXACT,
    "non-saturating": PALETTE[0],
    "minimax": PALETTE[3],
}
LOSSES = {"follow the points": PALETTE[0], "raise the discriminator": PALETTE[3]}
_TIMES = ["#a6a6c8", "#74a9cf", "#2b8cbe", "#045a8d"]  # from early to late


def falling(ax: Axes, times: NDArray, exact: NDArray, bound: NDArray) -> None:
    """A divergence against time, and its bound; logarithmic."""
    ax.plot(times, bound, color=PRIOR, ls="--", label="bound")
    ax.plot(times, exact, color=EXACT, label="generator")
    ax.set(yscale="log", xlabel="time of training", ylabel="divergence (nats)")
    ax.legend(fontsize="small")


def against_turn(ax: Axes, angles: NDArray, curve: NDArray, found: Mapping[float, float]) -> None:
    """Excess of the map at the end against the turn of the start: closed form, and trainings."""
    ax.plot(angles, 100 * curve, color=PRIOR, label="closed form")
    ax.plot(list(found), [100 * value for value in found.values()], "o", color=EXACT, ms=5,
            label="after training")  # fmt: skip
    ax.set(xlabel="turn of the start (degrees)", ylabel="excess (percent)")
    ax.set_xticks([0, 45, 90, 135, 180])
    ax.legend(fontsize="small")


def divergences(ax: Axes, times: NDArray, lines: Mapping[str, NDArray]) -> None:
    """Divergences against time for several objectives; logarithmic."""
    for (name, values), style in zip(lines.items(), ("-", "--", "-.")):
        ax.plot(times, values, color=OBJECTIVES[name], ls=style, label=name)
    ax.set(yscale="log", xlabel="time of training", ylabel="divergence (nats)", ylim=(1e-4, 10))
    ax.legend(fontsize="small")


def relaxing(
    ax: Axes, places: NDArray, target: NDArray, densities: Mapping[str, NDArray]
) -> None:
    """Densities on the way to a target, which is shaded."""
    ax.fill_between(places, target, color="#e5e5e5", lw=0, label="data")
    for (name, values), color in zip(densities.items(), _TIMES):
        ax.plot(places, values, color=color, lw=1.8, label=name)
    ax.set(xlabel="place x", ylabel="density")
    ax.legend(fontsize="small")


def shares(ax: Axes, times: NDArray, share: NDArray, right: float) -> None:
    """The share of one mode against time, which is logarithmic, and the right one."""
    ax.plot(times, share, color=EXACT, label="generator")
    ax.axhline(right, color=PRIOR, ls="--", label="data")
    ax.set(xscale="log", xlabel="time of training", ylabel="share of the left mode")
    ax.legend(fontsize="small")


def trainings(ax: Axes, steps: Sequence[int], values: NDArray, loss: str) -> None:
    """Values of several trainings (rows) against numbers of steps, which are logarithmic."""
    label: str | None = loss
    for row in values:
        ax.plot(steps, row, color=LOSSES[loss], lw=1.2, marker="o", ms=3, label=label)
        label = None
    ax.set(xscale="log", xlabel="steps of the generator")
    ax.set_xticks(steps, [str(step) for step in steps])
    ax.minorticks_off()
