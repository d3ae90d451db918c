"""Figures of the chapter on latent diffusion. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bookkit.plots import PALETTE, PRIOR

# How each way is called in figures and tables.
NAMES = {
    "real": "other real faces",
    "restored": "encoded and decoded",
    "prior": "codes from N(0, I)",
    "Gaussian": "codes from a Gaussian",
    "diffusion": "codes by diffusion",
    "pixels": "pixels by diffusion",
}


def feature_distances(ax: Axes, rows: pd.DataFrame) -> None:
    """Distances from real and from restored faces, with bars of two standard errors.

    Args:
        rows: the rows of :func:`~chapters.latent_diffusion.measurements.measure_way`, indexed by
            way.
    """
    places = np.arange(len(rows))[::-1]
    for shift, column, color, marker in (
        (0.12, "real", PALETTE[0], "o"),
        (-0.12, "restored", PALETTE[1], "s"),
    ):
        ax.errorbar(
            rows[column], places + shift, xerr=2 * rows[f"{column}_error"], fmt=marker,
            color=color, ms=5, capsize=3, ls="none", label=f"from {column} faces",
        )  # fmt: skip
    ax.set_yticks(places, [NAMES[way] for way in rows.index])
    ax.set(xlabel="distance in features", xlim=(0, None))
    ax.legend(fontsize="small", loc="lower right")


def encoders(
    ax: Axes,
    factors: Sequence[float],
    bounds: Sequence[float],
    losses: Sequence[float],
    entropy: float,
) -> None:
    """The bound and the loss alone against the standard deviation of the encoded data."""
    ax.plot(factors, bounds, color=PALETTE[0], label="bound")
    ax.plot(factors, losses, color=PALETTE[1], ls="-.", label="$-\\log q(x_0 | x_t)$ alone")
    ax.axhline(entropy, color=PRIOR, ls="--", label="entropy of the data")
    ax.set(xscale="log", xlabel="standard deviation of encoded data", ylabel="nats")
    ax.set_ylim(min(losses), entropy + 2)
    ax.legend(fontsize="small")
