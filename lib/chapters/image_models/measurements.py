"""What trained models of images draw, measured: each function gives one row of a table.

Samples are drawn with DDIM from N(0, I). They are clamped to [-1, 1] for all but the distances
between numbers of steps.

A function is told the first digits of the hash of the model's ``weights``, as its card has them,
and refuses other weights: a table is about the weights that its tasks name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas
import torch
from torch import Tensor

from diffot import estimates
from diffot.denoisers.denoiser import Denoiser
from diffot.errors import (
    as_shape,
    as_whole_number,
    require,
    require_batch,
    require_generator,
    require_type,
)
from diffot.learning import datasets, recipes, registry
from diffot.learning.kinds import ProbeRecipe
from diffot.learning.measured import BATCH, checked, held_out, load
from diffot.measures import quality
from diffot.measures.distances import differently_read, distances
from diffot.samplers.ddim import ddim
from diffot.seeds import generator

COUNTS = (10, 20, 50, 100, 200, 500)  # of DDIM steps, each compared with T steps


def measure_quality(
    model: str, weights: str, probe: str, n: int, steps: int, train: int, seed: int
) -> dict[str, float]:
    """The quality of n samples of a model, beside real images and a Gaussian.

    Args:
        model: a name in ``recipes.RECIPES``, of a model of images.
        weights: see above.
        probe: a name in ``recipes.RECIPES``, of a probe for such images.
        n: number of samples, and of the held-out images that they are compared with; at least
            10.
        steps: of DDIM.
        train: how many of the training images, from the first, are searched for the nearest ones
            and have the Gaussian fitted to them.
        seed: of everything drawn.

    Returns:
        One row; :func:`unfold` makes the table of :func:`diffot.measures.quality.quality_table`
        of it.
    """
    n, steps, seed = checked(n, steps, seed, estimates.GROUPS)
    train = as_whole_number(train, "train", least=2)
    reader = registry.load(probe, kind=ProbeRecipe)
    known = datasets.load_images({**recipes.config(model).data, "n": train}).images
    samples = sample(
        load(model, weights), known.shape[1:], n, steps, generator(seed, f"{model}, samples")
    )
    table = quality.quality_table(
        samples,
        known,
        held_out(model, 2 * n).images,
        reader,
        generator(seed, f"{model}, measures"),
    ).drop(columns="n")
    return {
        f"{images}: {measure}": float(value)
        for images, row in table.iterrows()
        for measure, value in row.items()
    }


def unfold(row: Mapping[str, object]) -> pandas.DataFrame:
    """The table in a row of :func:`measure_quality`: a line for each kind of images."""
    require_type(row, Mapping, "row", "a dict, as of measure_quality")
    cells = {tuple(key.split(": ")): value for key, value in row.items() if ": " in key}
    kinds = list(dict.fromkeys(images for images, _ in cells))
    measures = list(dict.fromkeys(measure for _, measure in cells))
    require(
        0 < len(cells) == len(kinds) * len(measures),
        f"row has {len(cells)} columns of the form 'IMAGES: MEASURE', for {len(kinds)} kinds of "
        f"images and {len(measures)} measures; expected a row of measure_quality",
    )
    return pandas.DataFrame(
        [[cells[images, measure] for measure in measures] for images in kinds], kinds, measures
    )


def measure_steps(model: str, weights: str, probe: str, n: int, seed: int) -> dict[str, float]:
    r"""How far few steps lead from where T steps lead, over n latents.

    Args:
        model: a name in ``recipes.RECIPES``, of a model of images.
        weights: see above.
        probe: a name in ``recipes.RECIPES``, of a probe for such images.
        n: number of latents, at least 2.
        seed: of the latents.

    Returns:
        One row. For each number of steps N in ``COUNTS``: ``distance_N``, the mean of
        :func:`distances`, its standard error ``distance_N_error``, and ``distance_N_most``, the
        largest; and ``changed_N``, the share of the images of which the probe reads any label
        otherwise. And ``apart``, the mean distance between the images of one latent and of the
        next.
    """
    n, _, seed = checked(n, 1, seed, 2)
    reader = registry.load(probe, kind=ProbeRecipe)
    shape = datasets.load_images({**recipes.config(model).data, "n": 1}).pixels.shape[1:]
    z = torch.randn(n, *shape, generator=generator(seed, f"{model}, latents"))
    *few, finest = in_steps(load(model, weights), z, COUNTS)
    from_finest = {count: distances(x, finest).double() for count, x in zip(COUNTS, few)}
    row = {}
    for count, images in zip(COUNTS, few):
        row[f"distance_{count}"] = float(from_finest[count].mean())
        row[f"distance_{count}_error"] = float(from_finest[count].std() / n**0.5)
        row[f"distance_{count}_most"] = float(from_finest[count].max())
        row[f"changed_{count}"] = float(differently_read(reader, images, finest).float().mean())
    return {**row, "apart": float(distances(finest, finest.roll(1, 0)).mean())}


def measure_told(
    model: str, weights: str, probe: str, n: int, steps: int, seed: int
) -> dict[str, float]:
    r"""How often a conditional model draws what it is told.

    It is told the labels of n held-out images, all that it knows at once.

    Args:
        model: a name in ``recipes.RECIPES``, of a conditional model of images.
        weights: see above.
        probe: a name in ``recipes.RECIPES``, of a probe for such images.
        n: number of images.
        steps: of DDIM.
        seed: of the latents.

    Returns:
        One row. For each label ``told_NAME``, the share of the images in which the probe reads
        the class that the model was told, and ``chance_NAME``, what this would be if it had not
        listened, :math:`\sum_k p_k q_k` with the frequencies of told and of read classes.
    """
    n, steps, seed = checked(n, steps, seed, 1)
    reader = registry.load(probe, kind=ProbeRecipe)
    denoiser, known = load(model, weights), recipes.config(model).network.get("labels")
    require(known is not None, f"{model} is told no labels; expected a conditional model")
    others = held_out(model, n)
    told = {label: others.labels[label] for label in known}
    z = torch.randn(n, *others.pixels.shape[1:], generator=generator(seed, f"{model}, told"))
    with torch.no_grad():
        images = [
            ddim(
                denoiser.condition({label: classes[part] for label, classes in told.items()}),
                z[part],
                steps,
            )
            for part in torch.arange(n).split(BATCH)
        ]
    read = reader.classify(torch.cat(images).clamp(-1, 1))
    row = {}
    for label, classes in told.items():
        row[f"told_{label}"] = float((read[label] == classes).double().mean())
        kinds = max(int(classes.max()), int(read[label].max())) + 1
        p, q = (c.bincount(minlength=kinds).double() / n for c in (classes, read[label]))
        row[f"chance_{label}"] = float(p @ q)
    return row


def in_steps(denoiser: Denoiser, z: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """The images of latents z, shape (B, *d), under each number of DDIM steps, and under T."""
    _require_denoiser(denoiser)
    require_batch(z, "z")
    require_type(counts, (tuple, list), "counts", "a list of numbers of steps")
    counts = [as_whole_number(count, "a number in counts", least=1) for count in counts]
    with torch.no_grad():
        return [ddim(denoiser, z, n) for n in (*counts, denoiser.schedule.T)]


def sample(
    denoiser: Denoiser,
    shape: Sequence[int],
    n: int,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """n images of the given shape (C, H, W) from fresh latents, clamped to [-1, 1]."""
    _require_denoiser(denoiser)
    shape, n = as_shape(shape, "shape"), as_whole_number(n, "n", least=1)
    steps = as_whole_number(steps, "steps", least=1)
    require_generator(generator)
    z = torch.randn(n, *shape, generator=generator)
    with torch.no_grad():
        images = [ddim(denoiser, part, steps) for part in z.split(BATCH)]
    return torch.cat(images).clamp(-1, 1)


def _require_denoiser(denoiser: Denoiser) -> None:
    require_type(denoiser, Denoiser, "denoiser", "a Denoiser; as_denoiser makes one")
