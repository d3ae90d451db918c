"""Figures of the chapter on random densities. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from torch import Tensor

from bookkit.plots import PALETTE

FAMILIES = {"compact": PALETTE[9], "separated": PALETTE[3]}


def density(ax: Axes, x: Tensor, y: Tensor, values: Tensor) -> None:
    """A density over a rectangle, dark where it is high.

    Args:
        x, y: coordinates, shapes (m,) and (n,). values: shape (m, n).
    """
    ax.pcolormesh(x, y, values.T, cmap="Greys", shading="nearest", rasterized=True)
    ax.set(aspect="equal", xticks=[-4, 0, 4], yticks=[-4, 0, 4])
    ax.tick_params(labelsize="small")


def cost_against_optimal(ax: Axes, costs: Mapping[str, tuple[Sequence, Sequence]]) -> None:
    """Cost of maps against that of the optimal assignment; family to (optimal, paired)."""
    for name, (optimal, paired) in costs.items():
        ax.scatter(optimal, paired, s=14, color=FAMILIES[name], alpha=0.7, lw=0, label=name)
    ax.axline((1, 1), slope=1, color="0.7", lw=0.8, zorder=0)
    ax.set(xscale="log", yscale="log", aspect="equal")
    ax.set(xlabel="optimal cost (mean squared distance)", ylabel="cost of the encoder")
    ax.legend(loc="upper left")


def error_histogram(ax: Axes, errors: Mapping[str, Sequence[float]], lowest: int = -8) -> None:
    """How many relative errors fall in each decade; exact zeros have a bar of their own, to the
    left. Families stand side by side, numbers on top of the bars."""
    decades = list(range(lowest, -1))
    for i, (name, values) in enumerate(errors.items()):
        counts = [sum(v == 0 for v in values)]
        counts += [sum(10.0**k < v <= 10.0 ** (k + 1) for v in values) for k in decades]
        places = [k + 0.5 + 0.4 * (i - 0.5) for k in (lowest - 2, *decades)]
        bars = ax.bar(places, counts, width=0.38, color=FAMILIES[name], label=name)
        ax.bar_label(bars, [str(c) if c else "" for c in counts], fontsize="small")
    names = ["0", *[rf"$10^{{{k}}}$" for k in (*decades, -1)]]
    ax.set_xticks([lowest - 1.5, *decades, -1], names, fontsize="small")
    ax.axvline(lowest - 0.5, color="0.8", lw=0.8)
    ax.set(xlabel="relative error on 2500 points", ylabel="densities")
    ax.legend()


def share_against_sample(
    ax: Axes,
    sizes: Sequence[int],
    lines: Mapping[str, tuple[Sequence[float], Sequence[float], float]],
) -> None:
    """Share of samples with some excess against the number of points, with bars of two standard
    errors, and the share of laws with a certificate, dashed; family to (shares, standard errors,
    certified)."""
    for name, (shares, errors, certified) in lines.items():
        bars = [2 * e for e in errors]
        ax.errorbar(sizes, shares, bars, color=FAMILIES[name], marker="o", capsize=3, label=name)
        ax.axhline(certified, color=FAMILIES[name], ls="--", lw=1.2)
    ax.annotate("with a certificate", (sizes[0], 0.93))
    ax.set(xscale="log", ylim=(-0.03, 1.06), xlabel="points in the sample")
    ax.set_ylabel("share of samples with an excess")
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ax.minorticks_off()
    ax.legend(fontsize="small", loc="center left")
