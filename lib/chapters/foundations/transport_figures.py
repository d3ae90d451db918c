"""Figures of the chapter on optimal transport. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from torch import Tensor

from bookkit.plots import EXACT, PALETTE, PRIOR, window


def moved(ax: Axes, latents: Tensor, points: Tensor, color: str) -> None:
    """Pairs (n,) on two lines, joined: latents above, where they are moved to below."""
    ax.plot(latents, [1.0] * len(latents), "o", color=PRIOR, ms=4)
    ax.plot(points, [0.0] * len(points), "o", color=EXACT, ms=4)
    ends = [[(z, 1.0), (x, 0.0)] for z, x in zip(latents.tolist(), points.tolist())]
    ax.add_collection(LineCollection(ends, colors=color, lw=0.9, zorder=0))
    ax.set(xlim=(-2.8, 2.8), ylim=(-0.1, 1.1), yticks=[0, 1], xlabel="position")
    ax.set_yticklabels(["data", "noise"])


def cells(ax: Axes, polygons: Sequence[Tensor], points: Tensor, reach: float) -> None:
    """Cells of the plane, corners (V, 2) each, with the points (K, 2) that they are sent to."""
    for k, (corners, point) in enumerate(zip(polygons, points.tolist())):
        color = PALETTE[k]
        ax.fill(*corners.T, color=color, alpha=0.25, lw=0)
        ax.fill(*corners.T, fill=False, edgecolor=EXACT, lw=0.8)
        ax.plot(*point, "o", color=color, mec=EXACT, ms=8)
    window(ax, (-reach, reach), (-reach, reach), size="medium")


def ellipses(ax: Axes, circle: Tensor, images: Sequence[tuple[Tensor, str, str]]) -> None:
    """A closed curve (n, 2) of latents, and named images of it, each with a color. A dot marks
    where each begins."""
    for curve, name, color in ((circle, "latents", PRIOR), *images):
        ax.plot(*curve.T, color=color, label=name)
        ax.plot(*curve[0], "o", color=color, ms=6)
    ax.legend(fontsize="small", loc="upper left")
