"""Figures of the chapters on probability. Only the image of a grid is computed here."""

from __future__ import annotations

from collections.abc import Callable

import torch
from matplotlib.axes import Axes
from torch import Tensor

from bookkit.plots import DATA, EXACT, PRIOR


def guesses(
    ax: Axes, pairs: tuple[Tensor, Tensor], noisy: Tensor, centers: Tensor, spreads: Tensor
) -> None:
    """Pairs of noisy and clean numbers, each of shape (n,), and over the places ``noisy`` the
    conditional mean of the clean one with one conditional standard deviation to both sides."""
    ax.scatter(*pairs, c=PRIOR, s=3, lw=0, alpha=0.6, rasterized=True)
    ax.fill_between(noisy, centers - spreads, centers + spreads, color=EXACT, alpha=0.15, lw=0)
    ax.plot(noisy, centers, color=EXACT)
    ax.set(xlabel="noisy number $y$", ylabel="clean number $x$")


def histogram(ax: Axes, draws: Tensor, edges: Tensor, line: Tensor, density: Tensor) -> None:
    """Share of draws per length in boxes with these edges, and a density over places."""
    weights = torch.full_like(draws, 1 / len(draws) / float(edges.diff()[0]))
    # arrays of edges serve too, and tensors
    ax.hist(draws, edges, weights=weights, color=DATA, histtype="stepfilled")  # type: ignore[arg-type]
    ax.plot(line, density, color=EXACT, lw=1)
    ax.set(xlabel="$y$", ylabel="density", xlim=(0, float(line.max())), ylim=(0, None))


def moved_grid(ax: Axes, move: Callable[[Tensor], Tensor], reach: float) -> None:
    """Where a map of the plane takes the lines of a square grid from -reach to reach."""
    along = torch.linspace(-reach, reach, 61, dtype=torch.float64)
    for place in torch.linspace(-reach, reach, 9, dtype=torch.float64):
        across = torch.full_like(along, place)
        for line in ((along, across), (across, along)):
            ax.plot(*move(torch.stack(line, -1)).T, color=EXACT, lw=0.5, alpha=0.5)
