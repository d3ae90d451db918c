"""Figures of the chapter on equations and variances. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bookkit.plots import EXACT, PALETTE
from chapters.equations.chain import VARIANCES

# One color for each variance; other lines in their order.
KINDS = dict(zip(VARIANCES, (PALETTE[0], PALETTE[1], EXACT, PALETTE[4], PALETTE[3], PALETTE[2])))


def divergences(ax: Axes, steps: Sequence[int], lines: Mapping[str, Sequence[float]]) -> None:
    """Divergences against numbers of steps, both logarithmic."""
    for i, (name, values) in enumerate(lines.items()):
        ax.plot(steps, values, color=KINDS.get(name, PALETTE[i]), marker="osD^vP"[i], ms=5,
                label=name)  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="steps", ylabel="divergence (nats)")
    ax.set_xticks(steps, [f"{count:g}" for count in steps])
    ax.minorticks_off()
    ax.legend(fontsize="small")
