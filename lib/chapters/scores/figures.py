"""Figures of the chapters on scores. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from bookkit.plots import EXACT, PALETTE

# One color for each loss.
LOSSES = {
    "explicit": EXACT,
    "implicit": PALETTE[0],
    "sliced": PALETTE[1],
    "denoising": PALETTE[2],
}
Line = tuple[Sequence[float], Sequence[float]]


def variances(ax: Axes, exact: Mapping[str, Line], measured: Mapping[str, Line]) -> None:
    """Relative variance of the minimizer of a batch against the noise: formulas as lines,
    measurements as dots, in the color of the loss."""
    for name, (x, y) in exact.items():
        ax.plot(x, y, color=LOSSES[name])
    for (name, (x, y)), marker in zip(measured.items(), "sD^"):
        ax.plot(x, y, ls="", marker=marker, ms=6, color=LOSSES[name], label=name)
    ax.set(xscale="log", yscale="log")
    ax.set(xlabel="noise / standard deviation of the data", ylabel="relative variance × n d")
    ax.legend(title="loss", fontsize="small")


def falling_losses(
    ax: Axes, steps: Sequence[int], losses: Mapping[float, Sequence[float]]
) -> None:
    """Losses along trainings, named by the noise, and the least that each can be, dashed."""
    for (sigma, loss), color, marker in zip(losses.items(), PALETTE, "osD^"):
        ax.plot(steps, loss, color=color, marker=marker, ms=4, label=f"{sigma:g}")
        if sigma:
            least = -(1 / (1 + sigma**2) + 1 / sigma**2) / 2
            ax.axhline(least, color=color, lw=1, ls="--", zorder=0)
    ax.set_yscale("symlog", linthresh=1)
    ax.set(xlabel="step of training", ylabel="mean loss", ylim=(None, -1))
    ax.legend(title="noise", fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))


def shares(
    ax: Axes,
    lines: Mapping[str, Line],
    dots: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
    truth: float,
    xlabel: str,
) -> None:
    """Share of points in one of two modes, over a logarithmic axis: what is computed exactly as
    lines, what is sampled with bars of two standard errors, and the true share, dashed."""
    for name, (x, y) in lines.items():
        ax.plot(x, y, color=EXACT, label=name)
    for (name, (x, y, error)), color, marker in zip(dots.items(), PALETTE, "sD"):
        bars = [2 * e for e in error]
        ax.errorbar(x, y, yerr=bars, ls="", color=color, marker=marker, ms=5, capsize=2,
                    label=name)  # fmt: skip
    ax.axhline(truth, color="0.5", lw=1, ls="--", label="weight of the mode")
    ax.set(xscale="log", ylim=(0, 0.6), xlabel=xlabel, ylabel="share in the mode")
    ax.legend(fontsize="small", loc="lower left")


def plain_ticks(ax: Axes, x: Sequence[float]) -> None:
    """Ticks at these places of a logarithmic axis, written plainly."""
    ax.set_xticks(x, [f"{value:g}" for value in x])
    ax.xaxis.set_minor_locator(NullLocator())
