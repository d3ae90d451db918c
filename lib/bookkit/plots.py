"""The book's style, and figures that several chapters share. Nothing is computed here.

Colors mean the same through the whole book: one per mode (in the order of
:func:`~diffot.laws.mixtures.thesis_mixture`, upper right first), one for the prior, and one per
kind of denoiser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike
from torch import Tensor

from diffot.errors import as_whole_number, require_images, require_type

PALETTE = sns.color_palette("colorblind", 10).as_hex()
MODES = [PALETTE[i] for i in (0, 1, 2, 4)]
PRIOR = "#8c8c8c"
EXACT = "#1a1a1a"
KINDS = {"exact": EXACT, "thesis": PALETTE[3], "linear": "#7a4d9f", "SiLU": PALETTE[9]}

# One color per map where several maps of the same latents are compared.
MAPS = {"flow": EXACT, "CDF": "#c51b7d", "CDF, y first": "#f18fc4", "optimal": "#00806e"}
DATA = "#cfcfcf"
IMAGE_MODELS = {
    "Faces32A": EXACT,
    "Faces32B": PALETTE[9],
    "Faces32Conditional": PALETTE[0],
    "Animals32": PALETTE[3],
    "Digits28": PALETTE[7],
}
NAMED = {
    "red": PALETTE[3],
    "green": PALETTE[2],
    "blue": PALETTE[0],
    "quantile map": "0.4",
    "Gaussian map": PALETTE[1],
}
_OTHERS = [EXACT, PALETTE[9], PALETTE[1], PALETTE[2], PALETTE[4], PALETTE[3]]


def use_style() -> None:
    """Set the book's figure style for this process. White ground, so that both themes can show
    the figures."""
    sns.set_theme(context="notebook", style="ticks", font_scale=0.95)
    plt.rcParams.update(
        {
            "figure.dpi": 120,
            "savefig.dpi": 120,
            "savefig.facecolor": "white",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
        }
    )


def panels(
    titles: Sequence[str], width: float = 8.5, height: float = 4.2
) -> tuple[Figure, list[Axes]]:
    """A row of panels, each with a short name above it, lettered if there are several; eight at
    most."""
    require_titles(titles, most=8)
    figure, axes = plt.subplots(1, len(titles), figsize=(width, height), squeeze=False)
    for ax, letter, title in zip(axes[0], "abcdefgh", titles):
        label = f"({letter}) {title}" if len(titles) > 1 else title
        ax.set_title(label, loc="left", fontsize="small" if len(titles) > 2 else "medium")
    return figure, list(axes[0])


def plane(ax: Axes, reach: float) -> None:
    """Make axes a square piece of the plane with faint lines through the origin."""
    window(ax, (-reach, reach), (-reach, reach), size="medium")


def flow_lines(ax: Axes, paths: Tensor, reach: float) -> None:
    """Curves from latents (gray dots) to data (black dots), with the straight lines between.

    Args:
        paths: shape (steps + 1, n, 2), latents first.
    """
    for path in paths.transpose(0, 1):
        ax.plot(*path.T, color=PALETTE[9], lw=1.5)
        ax.plot(*path[[0, -1]].T, color="0.6", lw=0.8, ls="--")
    ax.scatter(*paths[0].T, color=PRIOR, s=18, zorder=3, label="latent")
    ax.scatter(*paths[-1].T, color=EXACT, s=18, zorder=3, label="data")
    plane(ax, reach)
    ax.legend(loc="upper left")


def excess_against_asymmetry(
    ax: Axes,
    asymmetry: Sequence[float],
    excess: Sequence[float],
    floor: float,
    bounds: Sequence[float] = (),
    average: str = "median",
) -> None:
    """Sampled excess of many laws against their asymmetry, both logarithmic; what lies below
    ``floor`` (zero to rounding) is drawn on it with open markers. ``bounds`` are the excesses of
    the maps themselves, from below; ``average`` says which one the asymmetry is."""
    if len(bounds):
        ax.scatter(asymmetry, bounds, marker="_", color=PALETTE[0], s=30, lw=1.2,
                   label="the map itself, at least")  # fmt: skip
    seen = [e > floor for e in excess]
    for wanted, face in ((True, EXACT), (False, "white")):
        pairs = [(a, max(e, floor)) for a, e, s in zip(asymmetry, excess, seen) if s == wanted]
        if pairs:
            label = "excess found" if wanted else "no excess found"
            ax.scatter(*zip(*pairs), facecolor=face, edgecolor=EXACT, s=30, label=label)
    ax.axhline(floor, color="0.8", lw=0.8, zorder=0)
    ax.set(xscale="log", yscale="log")
    ax.set(xlabel=f"{average} asymmetry of the Jacobian", ylabel="relative excess")
    low, high = min(asymmetry), max(asymmetry)
    ticks = [m * 10.0**k for k in range(-5, 1) for m in (1, 2, 5)]
    ticks = [t for t in ticks if low / 1.1 <= t <= 1.1 * high]
    if len(ticks) > 6:
        ticks = [10.0**k for k in range(-5, 1) if low / 1.1 <= 10.0**k <= 1.1 * high]
    ax.set_xticks(ticks, [f"{t:.10g}" for t in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.legend(loc="upper left", fontsize="small")


def panel_grid(
    titles: Sequence[str], columns: int, width: float = 8.5, height: float = 6.0
) -> tuple[Figure, list[Axes]]:
    """Panels in several rows, lettered row by row, each with a short name above it; eight at
    most."""
    require_titles(titles, most=8)
    columns = as_whole_number(columns, "columns", least=1)
    rows = -(-len(titles) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False)
    for ax, letter, title in zip(axes.flat, "abcdefgh", titles):
        ax.set_title(f"({letter}) {title}", loc="left", fontsize="small")
    for ax in axes.flat[len(titles) :]:
        ax.axis("off")
    return figure, list(axes.flat)


def window(ax: Axes, x: tuple[float, float], y: tuple[float, float], size: str = "small") -> None:
    """Make axes a rectangle of the plane, with equal units and faint lines through the origin."""
    ax.axhline(0, color="0.8", lw=0.8, zorder=0)
    ax.axvline(0, color="0.8", lw=0.8, zorder=0)
    ax.set(xlim=x, ylim=y, aspect="equal")
    ax.set_xlabel("first coordinate", fontsize=size)
    ax.set_ylabel("second coordinate", fontsize=size)
    ax.tick_params(labelsize=size)


def data_cloud(ax: Axes, points: Tensor, color: str = DATA) -> None:
    """Points of shape (n, 2), as a pale background unless another color is given."""
    ax.scatter(*points.T, c=color, s=2, lw=0, rasterized=True, zorder=0)


def require_titles(titles: Sequence[str], most: int | None = None) -> None:
    """Require at least one title, a text each, and not more than there are letters for."""
    require_type(titles, (list, tuple), "titles", "a list of texts, one for each panel")
    for title in titles:
        require_type(title, str, "one of the titles", "a text")
    as_whole_number(len(titles), "the number of titles", least=1, most=most)


def image_rows(ax: Axes, rows: Mapping[str, Tensor], above: Sequence[str] = ()) -> None:
    """Named rows of images, as many in each, with words above the columns.

    Args:
        rows: images of shape (n, C, s, s), values in [-1, 1] (clipped), C = 1 or 3, s the same in
            all rows.
    """
    for name, images in rows.items():
        require_images(images, f"row {name!r}")
    columns = len(next(iter(rows.values())))
    tiles = [mosaic(images, columns) for images in rows.values()]
    picture(ax, np.concatenate([np.broadcast_to(t, (*t.shape[:2], 3)) for t in tiles]))
    height, width = tiles[0].shape[:2]
    ax.set_yticks((np.arange(len(rows)) + 0.5) * height, _with_minus(rows), fontsize="small")
    places = (np.arange(len(above)) + 0.5) * width / columns
    ax.set_xticks(places, _with_minus(above), fontsize="small")
    ax.tick_params(length=0, labeltop=True, labelbottom=False)


def _with_minus(names: Iterable[str]) -> list[str]:
    """Names with minus signs in the place of hyphens before numbers."""
    return [re.sub(r"(?<!\w)-(?=\d)", "−", name) for name in names]


def picture(ax: Axes, image: np.ndarray) -> None:
    """An image of 8 bits, pixel by pixel and without axes."""
    ax.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    sns.despine(ax=ax, left=True, bottom=True)


def error_lines(
    ax: Axes,
    x: Sequence[float],
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
    yscale: str = "linear",
    ticks: Sequence[str] = (),
) -> None:
    """Lines over a logarithmic axis, each named and given by its values and standard errors; bars
    of two standard errors. Models have their colors. ``ticks`` are names for the places x."""
    curves = {}
    for name, line in lines.items():
        value, error = (np.asarray(column, dtype=float) for column in line)
        curves[name] = (x, value, value - 2 * error, value + 2 * error)
    with_bars(ax, curves)
    ax.set(xscale="log", yscale=yscale, xlabel=xlabel, ylabel=ylabel)
    ax.set_xticks(x, ticks or [f"{value:,g}" for value in x])
    ax.xaxis.set_minor_locator(NullLocator())
    if len(lines) > 1:
        ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))


def with_bars(ax: Axes, curves: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]]):
    """Curves with intervals, each a tuple of x, value, low and high; models and channels have
    their colors."""
    others = iter(_OTHERS)
    for (name, curve), marker in zip(curves.items(), "osD^vP"):
        x, value, low, high = (np.asarray(column, dtype=float) for column in curve)
        bars = np.maximum([value - low, high - value], 0)
        color = IMAGE_MODELS.get(name) or NAMED.get(name) or next(others)
        ax.errorbar(x, value, yerr=bars, color=color, marker=marker, ms=5, capsize=2, label=name)


def mosaic(images: Tensor, columns: int) -> np.ndarray:
    """Images side by side with a white line around each, uint8 of shape (height, width, C)."""
    pixels = ((images.detach().float().clamp(-1, 1) + 1) * 127.5).round().byte().numpy()
    framed = np.pad(pixels, ((0, -len(pixels) % columns), (0, 0), (1, 1), (1, 1)),
                    constant_values=255)  # fmt: skip
    _, channels, height, width = framed.shape
    tiles = framed.reshape(-1, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    return tiles.reshape(-1, columns * width, channels)
