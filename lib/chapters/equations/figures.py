"""Figures of the chapter on equations and variances. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bookkit.plots import EXACT, PALETTE, PRIOR
from chapters.equations.chain import VARIANCES

# One color for each variance; other lines in their order.
KINDS = dict(zip(VARIANCES, (PALETTE[0], PALETTE[1], EXACT, PALETTE[4], PALETTE[3], PALETTE[2])))
# Of three lines that may cover each other.
MARKERS: list[dict[str, Any]] = [
    {"marker": "o", "ms": 9, "mfc": "white"},
    {"marker": "s", "ms": 7, "mfc": "white"},
    {"marker": "D", "ms": 4},
]


def divergences(ax: Axes, steps: Sequence[int], lines: Mapping[str, Sequence[float]]) -> None:
    """Divergences against numbers of steps, both logarithmic."""
    for i, (name, values) in enumerate(lines.items()):
        ax.plot(steps, values, color=KINDS.get(name, PALETTE[i]), marker="osD^vP"[i], ms=5,
                label=name)  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="steps", ylabel="divergence (nats)")
    ax.set_xticks(steps, [f"{count:g}" for count in steps])
    ax.minorticks_off()
    ax.legend(fontsize="small")


def bits_of_models(
    ax: Axes, models: Sequence[str], lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]
) -> None:
    """Bits of held-out images, a row for each model; for each line the values and their standard
    errors, as dots with bars of two of these."""
    for shift, (name, (bits, error)), color in zip((-0.12, 0.12), lines.items(), (EXACT, PRIOR)):
        places = np.arange(len(models)) + shift
        ax.errorbar(bits, places, xerr=2 * np.asarray(error), fmt="o", color=color, capsize=3,
                    label=name)  # fmt: skip
    ax.set_yticks(range(len(models)), models)
    ax.set(xlabel="bits for each entry", ylim=(len(models) - 0.5, -0.5), xlim=(0, None))
    ax.grid(axis="x", color="0.9")
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))


def bounds_in_bits(ax: Axes, steps: Sequence[int], lines: Mapping[str, Sequence[float]]) -> None:
    """Bounds of the likelihood against numbers of steps, which are logarithmic."""
    for (name, values), marker in zip(lines.items(), MARKERS):
        ax.plot(steps, values, color=KINDS[name], label=name, **marker)
    _against_steps(ax, steps, "bound (bits for each entry)")


def distances(
    ax: Axes,
    steps: Sequence[int],
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]],
    real: float,
) -> None:
    """Distances with bars of two standard errors, and that of real images."""
    for (name, (value, error)), marker, shift in zip(lines.items(), MARKERS, (0.96, 1, 1.04)):
        places = shift * np.asarray(steps)
        ax.errorbar(places, value, yerr=2 * error, color=KINDS[name], capsize=3, label=name,
                    **marker)  # fmt: skip
    ax.axhline(real, color=PRIOR, ls="--", label="real images")
    ax.set_ylim(0, None)
    _against_steps(ax, steps, "distance in features")


def _against_steps(ax: Axes, steps: Sequence[int], ylabel: str) -> None:
    ax.set(xscale="log", xlabel="steps", ylabel=ylabel)
    ax.set_xticks(steps, [str(count) for count in steps])
    ax.minorticks_off()
    ax.legend(fontsize="small")
