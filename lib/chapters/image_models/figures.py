"""Figures of the chapter on models of images. Nothing is computed here."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from bookkit.plots import mosaic, picture, require_titles
from diffot.errors import as_whole_number, require, require_images, require_type


def stacked(titles: Sequence[str], width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Panels one below the other, each of this height, with a name above it."""
    require_titles(titles)
    figure, axes = plt.subplots(len(titles), figsize=(width, height * len(titles)), squeeze=False)
    for ax, title in zip(axes.flat, titles):
        ax.set_title(title, loc="left", fontsize="medium")
    return figure, list(axes.flat)


def label_words(
    classes: Mapping[str, Sequence[str]], labels: Mapping[str, Tensor], width: int = 18
) -> list[str]:
    """The labels of each image as a caption, such as "hair: red, smile"; those with the classes
    no and yes are named where they are there.

    Args:
        classes: names of the classes of each label. labels: classes of n images, shape (n,).
    """

    captions = []
    for values in zip(*([classes[label][k] for k in each] for label, each in labels.items())):
        words = []
        for label, value in zip(labels, values):
            if value == "yes":
                words.append(label)
            elif value != "no":  # with a space that no line ends with
                words.append(f"{label.removesuffix('_color')}:\u00a0{value}")
        captions.append(textwrap.fill(", ".join(words), width))
    return captions


def captioned_images(
    images: Tensor, captions: Sequence[str], columns: int, width: float = 8.5
) -> Figure:
    """Images in rows, each with a few words below it.

    Args:
        images: shape (n, C, s, s), values in [-1, 1] (clipped), C = 1 or 3.
    """
    require_images(images)
    require_type(captions, (list, tuple), "captions", "a list of texts, one for each image")
    require(
        len(captions) == len(images) > 0,
        f"there are {len(images)} images and {len(captions)} captions; expected one each",
    )
    columns = as_whole_number(columns, "columns", least=1)
    rows = -(-len(images) // columns)
    lines = 1 + max(caption.count("\n") for caption in captions)
    height = rows * (0.95 * width / columns + 0.15 * lines)
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False)
    for ax in axes.flat[len(images) :]:
        ax.axis("off")
    for ax, image, caption in zip(axes.flat, images, captions):
        picture(ax, mosaic(image[None], 1))
        ax.set_xlabel(caption, fontsize="small", labelpad=1)
    return figure


def level_losses(
    ax: Axes, step: Sequence[float], losses: Sequence[Sequence[float]], names: Sequence[str]
) -> None:
    """Training losses, one line for each noise level, light where there is much noise.

    Args:
        losses: one row for each entry of ``step``, one column for each level, least noise first.
    """
    for line, name, color in zip(zip(*losses), names, sns.color_palette("viridis", len(names))):
        ax.plot(step, line, color=color, lw=1, label=name)
    # the same axis for all models, so that panels can be compared
    ax.set(yscale="log", ylim=(0.015, 1.2), xlabel="training step", ylabel="loss (squared error)")
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))


def legend_of(ax: Axes, other: Axes, title: str) -> None:
    """Use these axes for the legend of others that share their lines."""
    ax.axis("off")
    ax.set_title("", loc="left")
    handles, labels = other.get_legend_handles_labels()
    ax.legend(handles, labels, title=title, loc="center", ncols=2, fontsize="small")
