"""Everything that is trained by name: denoisers, probes, autoencoders, models of masked pixels.

Recipes are in :mod:`diffot.learning.recipes`, checkpoints in ``data/checkpoints``; see
:mod:`diffot.learning.checkpoints`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from diffot.errors import require, require_type
from diffot.learning import checkpoints
from diffot.learning.attributes import AttributeProbe, Evaluation
from diffot.learning.epoch_kinds import ProbeRecipe
from diffot.learning.kinds import DenoiserRecipe, Recipe
from diffot.learning.recipes import RECIPES, config
from diffot.learning.runs import TrainingRun, ungrid
from diffot.learning.training import TrainResult
from diffot.paths import CACHE, CHECKPOINTS


def load(name: str, folder: Path = CHECKPOINTS, kind: type[Recipe] = Recipe) -> Any:
    """What was trained under this name, by its kind: a ``NetworkDenoiser`` on the schedule that
    it was trained with, an ``AttributeProbe``, a ``ConditionalVAE``, or a ``MaskedNetwork``;
    weights in float32.

    Args:
        kind: for one kind only, the class of its recipes.

    Raises:
        ValueError: for an unknown name, if the card is of another recipe, or if the weights do
            not match the hash in the card.
        FileNotFoundError: if it has not been trained or a file is missing.
    """
    recipe, description = config(name, kind), card(name, folder)
    network: Any = recipe.build(description)
    checkpoints.load_into(network, name, folder)
    # convolutions in float32 are a third faster on channels that lie side by side
    network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return recipe.loaded(network)


def card(name: str, folder: Path = CHECKPOINTS) -> dict:
    """The card of what was trained: recipe, cost, losses and hash.

    Raises:
        ValueError: for an unknown name, or a card that cannot be read or is of another recipe.
        FileNotFoundError: if it has not been trained yet.
    """
    recipe: Recipe = config(name)
    description = checkpoints.card(name, folder, recipe.keys)
    checkpoints.require_recipe(name, *recipe.compared(description), folder)
    return description


def train(
    name: str, progress: bool = True, run: TrainingRun | None = None, precision: str | None = None
) -> TrainResult:
    """Train by the recipe; cards say how long it took. Nothing is written but the run, if any.

    Args:
        precision: of a denoiser, in place of that of the recipe; see
            :class:`~diffot.learning.configuration.TrainConfig`.

    Raises:
        ValueError: for an unknown name, or a precision for anything but a denoiser.
    """
    recipe = config(name)
    require_precision(name, precision)
    if precision is not None:
        recipe = replace(recipe, training=replace(recipe.training, precision=precision))
    return recipe.train_network(progress, run)


def require_precision(name: str, precision: str | None) -> None:
    """Make sure that a precision is asked for a denoiser only.

    Raises:
        ValueError: otherwise.
    """
    require(
        precision is None or isinstance(config(name), DenoiserRecipe),
        f"--precision is for diffusion models, and {name} is none; leave it out",
    )


def save(
    name: str, result: TrainResult, folder: Path = CHECKPOINTS, overwrite: bool = False
) -> Path:
    """Write weights and card, with an evaluation of the weights as they are stored; each file
    appears whole or not at all.

    Returns:
        The path of the weights.

    Raises:
        FileExistsError: if there is a checkpoint already and ``overwrite`` is not set.
        ValueError: if the network is not that of the recipe, or holds NaN.
    """
    check_free(name, folder, overwrite)
    require_type(result, TrainResult, "result", "a TrainResult")
    recipe, network = config(name), result.network
    weights = {
        key: value.to(getattr(torch, recipe.storage)) if value.is_floating_point() else value
        for key, value in network.state_dict().items()
    }
    details = recipe.details(network)
    stored = recipe.build(details).eval().requires_grad_(False)
    checkpoints.require_weights(stored, weights, f"result.network, to be saved as {name},")
    stored.load_state_dict(weights)
    description = {
        **recipe.description(),
        **details,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "cpu_seconds": round(result.cpu_seconds, 1),
        "seconds": round(result.seconds, 1),
        "device": result.device,
        "processes": result.processes,
        "losses": [round(loss, 6) for loss in result.column("loss")],
        **recipe.results(result, stored),
    }
    return checkpoints.save(name, weights, description, folder, overwrite)


def provide(names: Sequence[str], folder: Path = CHECKPOINTS) -> None:
    """Train and save, one by one, what has no checkpoint in ``folder``."""
    require_type(names, (list, tuple), "names", "a list of names")
    for name in names:
        if not checkpoints.card_path(name, folder).exists():
            save(name, train(name), folder)


def check_free(name: str, folder: Path = CHECKPOINTS, overwrite: bool = False) -> None:
    """Make sure that saving will not replace a checkpoint, before time is spent on training.

    Raises:
        ValueError: for an unknown name.
        FileExistsError: if there is a checkpoint already and ``overwrite`` is not set.
    """
    config(name)
    checkpoints.check_free(name, folder, overwrite)


def open_run(
    name: str, resume: bool = False, seconds: float = 120.0, folder: Path = CACHE / "runs"
) -> TrainingRun:
    """The run of a training, for :func:`train`."""
    return TrainingRun(Path(folder) / name, config(name).description(), resume, seconds)


def training_samples(name: str, folder: Path = CHECKPOINTS) -> dict[int, Tensor]:
    """What a denoiser of images drew from the same 16 latents along its training.

    Returns:
        For each number of training steps, in order, images of shape (16, C, s, s) in [-1, 1].

    Raises:
        FileNotFoundError: if there are none.
    """
    config(name, DenoiserRecipe)
    samples = Path(folder) / f"{name}.samples"
    paths = sorted(samples.glob("step_[0-9]*.png"))
    if not paths:
        raise FileNotFoundError(
            f"no samples of {name} in {samples}; they are kept there when it is trained: "
            f"make train MODEL={name}"
        )
    return {int(path.stem.removeprefix("step_")): ungrid(Image.open(path)) for path in paths}


def probe_for(name: str, folder: Path = CHECKPOINTS) -> AttributeProbe | None:
    """The trained probe for images such as a denoiser draws, if there is one."""
    data = config(name, DenoiserRecipe).data
    if isinstance(data, str):
        return None
    probes = [
        probe
        for probe, recipe in RECIPES.items()
        if isinstance(recipe, ProbeRecipe)
        and all(recipe.train.get(key) == data.get(key) for key in ("set", "size"))
    ]
    return load(probes[0], folder) if probes else None


def evaluation(name: str, folder: Path = CHECKPOINTS) -> Evaluation:
    """How well a trained probe read its test images, from its card."""
    config(name, ProbeRecipe)
    return Evaluation.of_rows(card(name, folder)["evaluation"])
