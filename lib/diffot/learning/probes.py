"""Named probes: what they are trained and tested on, and their committed weights.

For :mod:`diffot.learning.attributes` this is what :mod:`diffot.learning.zoo` is for noise
denoisers. The drawn images of a probe have seeds of their own: no generative model was trained
on them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas
import torch

from diffot.data.images import LabeledImages
from diffot.errors import as_whole_number, require, require_known, require_type
from diffot.learning import checkpoints, recipes, zoo
from diffot.learning.attributes import (
    AttributeProbe,
    Evaluation,
    ProbeResult,
    as_fit_settings,
    as_widths,
    evaluate,
    train_probe,
)
from diffot.paths import CHECKPOINTS

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class ProbeConfig:
    """A recipe.

    Each split is a data set as in :func:`diffot.learning.zoo.load_images`, with ``skip`` for the
    number of images at its beginning that are left to other splits. The rest are arguments of
    :func:`~diffot.learning.attributes.train_probe`.

    Raises:
        TypeError: for values of other types. ValueError: for values out of range.
    """

    train: dict
    validation: dict
    test: dict
    widths: tuple[int, ...] = (32, 64, 128)
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 8e-3
    seed: int = 0

    def __post_init__(self):
        for part in SPLITS:
            require_type(getattr(self, part), dict, part, "a dict that describes a data set")
        checked = as_fit_settings(self.epochs, self.batch_size, self.learning_rate, self.seed)
        for name, value in {"widths": as_widths(self.widths), **checked}.items():
            object.__setattr__(self, name, value)


def _drawn(family: str, size: int, **more: Any) -> ProbeConfig:
    """The recipe for drawn images, whose splits have a seed each."""
    data = {"set": family, "size": size}
    return ProbeConfig(
        train={**data, "n": 6000, "seed": 100},
        validation={**data, "n": 1500, "seed": 101},
        test={**data, "n": 2000, "seed": 102},
        **more,
    )


CONFIGS = {
    "FacesProbe32": _drawn("faces", 32),
    "FacesProbe64": _drawn("faces", 64, widths=(16, 32, 64, 128)),
    "AnimalsProbe32": _drawn("animals", 32),
    "AnimalsProbe64": _drawn("animals", 64, widths=(16, 32, 64, 128)),
    # there are only 5000 digits: consecutive stretches
    "DigitsProbe28": ProbeConfig(
        train={"set": "digits", "n": 3500},
        validation={"set": "digits", "n": 4000, "skip": 3500},
        test={"set": "digits", "n": 5000, "skip": 4000},
        epochs=12,
    ),
}


def config(name: str) -> ProbeConfig:
    """The recipe of a probe.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """
    require_known(name, "probe", CONFIGS)
    return CONFIGS[name]


def split(name: str, part: str) -> LabeledImages:
    """The images that a probe is trained, validated or tested on.

    Args:
        part: ``"train"``, ``"validation"`` or ``"test"``; no image is in two of them.

    Raises:
        ValueError: for an unknown name or part.
    """
    require_known(part, "split", SPLITS)
    data = dict(getattr(config(name), part))
    skip = as_whole_number(data.pop("skip", 0), "skip", least=0)
    return zoo.load_images(data).at(slice(skip, None))


def train(name: str, progress: bool = True) -> ProbeResult:
    """Train a probe by its recipe; the cards say how long it took. Nothing is written."""
    recipe = config(name)
    return train_probe(
        split(name, "train"),
        split(name, "validation"),
        recipe.widths,
        recipe.epochs,
        recipe.batch_size,
        recipe.learning_rate,
        recipe.seed,
        progress,
    )


def save(
    name: str, result: ProbeResult, folder: Path = CHECKPOINTS, overwrite: bool = False
) -> Path:
    """Evaluate a probe on its test images and write its weights and card.

    Returns:
        The path of the weights.

    Raises:
        FileExistsError: if there is a checkpoint already and ``overwrite`` is not set.
    """
    check_free(name, folder, overwrite)
    require_type(result, ProbeResult, "result", "a ProbeResult")
    probe = result.probe
    with torch.device("meta"):
        network = AttributeProbe(probe.classes, probe.channels, probe.size, config(name).widths)
    checkpoints.require_weights(
        network, probe.state_dict(), f"result.probe, to be saved as {name},"
    )
    table = evaluate(probe, split(name, "test")).table
    description = {
        "recipe": asdict(config(name)),
        "network": {
            "classes": probe.classes,
            "channels": probe.channels,
            "size": probe.size,
            "widths": config(name).widths,
        },
        "parameters": sum(p.numel() for p in probe.parameters()),
        "seconds": round(result.seconds, 1),
        "cpu_seconds": round(result.cpu_seconds, 1),
        "losses": [round(loss, 5) for loss in result.losses],
        "validation_losses": [round(loss, 5) for loss in result.validation_losses],
        "best_epoch": result.best_epoch,
        "evaluation": table.round(5).to_dict(orient="index"),
    }
    return checkpoints.save(name, probe.state_dict(), description, folder, overwrite)


def check_free(name: str, folder: Path = CHECKPOINTS, overwrite: bool = False) -> None:
    """Make sure that saving a probe will not replace one, before time is spent on training.

    Raises:
        ValueError: for an unknown name.
        FileExistsError: if there is a checkpoint already and ``overwrite`` is not set.
    """
    config(name)
    checkpoints.check_free(name, folder, overwrite)


def card(name: str, folder: Path = CHECKPOINTS) -> dict:
    """The card of a trained probe: recipe, cost, losses, evaluation and hash.

    Raises:
        ValueError: for an unknown name, or a card that cannot be read or is of another recipe.
        FileNotFoundError: for a probe not trained yet.
    """
    recipe = asdict(config(name))
    found = checkpoints.card(name, folder)
    checkpoints.require_recipe(name, found, {"recipe": recipe}, folder)
    network = found.get("network")
    require(
        isinstance(network, dict)
        and network.keys() == {"classes", "channels", "size", "widths"}
        and isinstance(network["classes"], dict)
        and isinstance(found.get("evaluation"), dict)
        and network["classes"].keys() == found["evaluation"].keys(),
        f"{checkpoints.card_path(name, folder)} does not describe a probe and how well it reads "
        f"each label; train again with: make train MODEL={name} OVERWRITE=1",
    )
    checkpoints.require_recipe(name, network, {"widths": recipe["widths"]}, folder)
    return found


def load(name: str, folder: Path = CHECKPOINTS) -> AttributeProbe:
    """A trained probe.

    Raises:
        ValueError: for an unknown name, or if the weights do not match the hash in the card.
        FileNotFoundError: if the probe has not been trained or a file is missing.
    """
    description = card(name, folder)
    probe = AttributeProbe(**description["network"])
    checkpoints.load_into(probe, name, folder)
    return probe.requires_grad_(False).to(memory_format=torch.channels_last)


def for_model(model: str, folder: Path = CHECKPOINTS) -> AttributeProbe | None:
    """The trained probe for images of the kind that a model draws, if there is one.

    Args:
        model: a name in ``zoo.CONFIGS``, of a model of images.
    """
    images = zoo.load_images({**recipes.config(model).data, "n": 1})
    name = f"{recipes.config(model).data['set'].capitalize()}Probe{images.pixels.shape[-1]}"
    return load(name, folder) if name in CONFIGS else None


def evaluation(name: str, folder: Path = CHECKPOINTS) -> Evaluation:
    """How well a trained probe read its test images, from its card."""
    rows = card(name, folder)["evaluation"]
    return Evaluation(pandas.DataFrame.from_dict(rows, orient="index").rename_axis("label"))
