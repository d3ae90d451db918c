"""Named models: what they are trained on and how, and their committed weights.

Their checkpoints lie in ``data/checkpoints``; see :mod:`diffot.learning.checkpoints`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from diffot.data.images import LabeledImages, flipped, mirrored
from diffot.denoisers.network import NetworkDenoiser
from diffot.errors import as_whole_number, require, require_known, require_type, unknown_name
from diffot.laws import toy
from diffot.laws.mixtures import thesis_mixture
from diffot.learning import checkpoints, training
from diffot.learning.networks import MLP, UNet
from diffot.learning.precision import PRECISIONS
from diffot.learning.recipes import config
from diffot.learning.runs import TrainingRun, ungrid
from diffot.learning.training import LARGEST_SEED, TrainConfig, TrainResult
from diffot.paths import CACHE, CHECKPOINTS, FOLDERS

NETWORKS = {"MLP": MLP, "UNet": UNet}
_DEFAULTS = {f.name: f.default for f in fields(TrainConfig) if f.default is not MISSING}


# The loaders of data sets. Their modules are imported when they are needed: drawing images takes
# packages that loading a model does not.
def _faces(arguments: dict) -> LabeledImages:
    from diffot.data import faces

    if "bias" in arguments:
        arguments["bias"] = _called(faces.Bias, arguments["bias"], "bias")
    return _called(faces.load, arguments, "faces")


def _animals(arguments: dict) -> LabeledImages:
    from diffot.data import animals

    return _called(animals.load, arguments, "animals")


def _digits(arguments: dict) -> LabeledImages:
    from diffot.data import digits

    return _called(digits.load, arguments, "digits")


def _real(family: str, arguments: dict) -> LabeledImages:
    from diffot.data import folders

    loaders = {"celeba": folders.celeba, "celeba_hq": folders.celeba_hq, "afhq": folders.afhq}
    return _called(loaders[family], {**arguments, "root": FOLDERS / family}, family)


DATASETS = {
    "faces": _faces,
    "animals": _animals,
    "digits": _digits,
    "celeba": partial(_real, "celeba"),
    "celeba_hq": partial(_real, "celeba_hq"),
    "afhq": partial(_real, "afhq"),
}


def _called(function: Callable, arguments: Mapping, what: str) -> Any:
    """``function(**arguments)``; arguments that it does not take, or lacks, are named."""
    require_type(arguments, Mapping, what, "a dict of arguments")
    parameters = inspect.signature(function).parameters
    for name in arguments:
        require(name in parameters, unknown_name(f"argument of {what}", name, parameters))
    lacking = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in arguments
    ]
    require(not lacking, f"{what} lacks {', '.join(lacking)}")
    return function(**arguments)


def draw(name: str) -> Callable:
    """The data of a model, as a function ``(n, generator) -> points``.

    For a conditional model it returns pairs of images and the labels that the model is told.
    """
    recipe = config(name)
    if isinstance(recipe.data, str):
        return toy.s_curve if recipe.data == "Low2DSCurve" else thesis_mixture(recipe.data).sample
    images = dataset(name)
    mirror = recipe.data.get("mirror", False)
    told = recipe.network.get("labels")
    if not told:
        return flipped(images.draw) if mirror else images.draw
    for label, classes in told.items():
        require(label in images.classes, unknown_name("label", label, images.classes))
        require(
            len(images.classes[label]) == classes,
            f"{name} is to be told one of {classes} classes of {label}, and its data have "
            f"{', '.join(images.classes[label])}; correct the recipe",
        )

    def draw_told(n: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        x, labels = images.draw_labeled(n, generator)
        x = mirrored(x, generator) if mirror else x
        return x, {label: labels[label] for label in told}

    return draw_told


def dataset(name: str) -> LabeledImages:
    """The images that a model is trained on, with their labels; see :func:`load_images`.

    Raises:
        ValueError: if its data are not images.
    """
    data = config(name).data
    require(isinstance(data, dict), f"the data of {name} are points, not images; see zoo.draw")
    return load_images(data)


def load_images(data: dict) -> LabeledImages:
    """The images that a recipe describes, as in ``{"set": "faces", "n": 500, "seed": 1}``.

    A ``"bias"`` of faces is a dict with the fields of :class:`~diffot.data.faces.Bias`. Real
    images are looked for in ``data/folders``, under the name of the data set.

    Raises:
        ValueError: for an unknown data set or argument.
        FileNotFoundError: if real images are not there, saying what is expected.
    """
    arguments, family = _split(data, "data", "set")
    arguments.pop("mirror", None)  # concerns drawing from the images
    require_known(family, "data set", DATASETS)
    return DATASETS[family](arguments)


def build(network: dict, seed: int) -> nn.Module:
    """A network with fresh weights from its description, drawn with the given seed.

    Args:
        network: the arguments of a class and, as ``"class"``, its name in ``NETWORKS``.

    Raises:
        ValueError: for an unknown class or argument.
    """
    arguments, family = _split(network, "network", "class")
    require_known(family, "network class", NETWORKS)
    seed = as_whole_number(seed, "seed", least=0, most=LARGEST_SEED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _called(NETWORKS[family], arguments, family)


def _split(description: dict, what: str, key: str) -> tuple[dict, str]:
    """A description without its key of this name, and what stands there."""
    require_type(description, Mapping, what, f"a dict with the key {key!r}")
    require(key in description, f"{what} is {description!r}; expected the key {key!r} in it")
    arguments = dict(description)
    return arguments, arguments.pop(key)


def open_run(
    name: str, resume: bool = False, seconds: float = 120.0, folder: Path = CACHE / "runs"
) -> TrainingRun:
    """The run of a model's training, for :func:`train`."""
    return TrainingRun(Path(folder) / name, describe(name), resume, seconds)


def describe(name: str) -> dict:
    """The recipe of a model as plain numbers, texts, lists and dicts."""
    recipe = config(name)
    return {
        "data": recipe.data,
        "schedule": {"name": recipe.schedule.name, **recipe.schedule.parameters},
        "network": recipe.network,
        "training": asdict(recipe.training),
        "storage": recipe.storage,
    }


def train(
    name: str, progress: bool = True, run: TrainingRun | None = None, precision: str | None = None
) -> TrainResult:
    """Train a model by its recipe. Nothing is written but the run, if any; see :func:`save`.

    Args:
        precision: in place of that of the recipe; see
            :class:`~diffot.learning.training.TrainConfig`.
    """
    recipe = config(name)
    settings = recipe.training
    if precision is not None:
        settings = replace(settings, precision=precision)
    network = build(recipe.network, settings.seed)
    with training.accelerator().main_process_first():  # so that one prepares the data for all
        points = draw(name)
    return training.train(network, recipe.schedule, points, settings, progress, run)


def save(
    name: str, result: TrainResult, folder: Path = CHECKPOINTS, overwrite: bool = False
) -> Path:
    """Write the weights and the card of a model; each file appears whole or not at all.

    Args:
        name: a name in ``CONFIGS``.
        overwrite: replace an existing checkpoint.

    Returns:
        The path of the weights.

    Raises:
        FileExistsError: if there is one already and ``overwrite`` is not set.
        ValueError: if the network is not that of the recipe, or holds NaN.
    """
    recipe = config(name)
    require_type(result, TrainResult, "result", "a TrainResult")
    stored = getattr(torch, recipe.storage)
    weights = {
        key: value.to(stored) if value.is_floating_point() else value
        for key, value in result.network.state_dict().items()
    }
    with torch.device("meta"):
        network = build(recipe.network, seed=0)
    checkpoints.require_weights(network, weights, f"result.network, to be saved as {name},")
    described = describe(name)
    described["training"]["precision"] = result.precision
    description = {
        **described,
        "parameters": sum(p.numel() for p in result.network.parameters()),
        "cpu_seconds": round(result.cpu_seconds, 1),
        "seconds": round(result.seconds, 1),
        "device": result.device,
        "processes": result.processes,
        "examples": recipe.training.iterations * recipe.training.batch_size,
        "losses": [round(loss, 6) for loss in result.losses],
        "level_losses": [
            [None if loss is None else round(loss, 5) for loss in row]
            for row in result.level_losses
        ],
    }
    return checkpoints.save(name, weights, description, folder, overwrite)


def provide(names: Sequence[str], folder: Path = CHECKPOINTS) -> None:
    """Train and save those of the models that have no checkpoint in ``folder``, one by one."""
    require_type(names, (list, tuple), "names", "a list of names")
    for name in names:
        if not checkpoints.card_path(name, folder).exists():
            save(name, train(name), folder)


def check_free(name: str, folder: Path = CHECKPOINTS, overwrite: bool = False) -> None:
    """Make sure that saving a model will not replace one, before time is spent on training.

    Raises:
        ValueError: for an unknown name.
        FileExistsError: if there is a checkpoint already and ``overwrite`` is not set.
    """
    config(name)
    checkpoints.check_free(name, folder, overwrite)


def card(name: str, folder: Path = CHECKPOINTS) -> dict:
    """The card of a trained model: recipe, cost, loss curve and hash.

    Raises:
        ValueError: for an unknown name, or a card that cannot be read or is of another recipe.
        FileNotFoundError: for a model not trained yet.
    """
    recipe = describe(name)
    found = checkpoints.card(name, folder)
    said = {"storage": "float32", **found}
    if isinstance(found.get("training"), dict):
        # cards older than a setting were made with its default
        said["training"] = {**_DEFAULTS, **found["training"]}
        # which precision is faster is a matter of the machine
        if said["training"]["precision"] in PRECISIONS:
            recipe["training"]["precision"] = said["training"]["precision"]
    checkpoints.require_recipe(name, said, recipe, folder)
    return found


def training_samples(name: str, folder: Path = CHECKPOINTS) -> dict[int, Tensor]:
    """What a model of images drew from the same 16 latents along its training.

    Returns:
        For each number of training steps, in order, images of shape (16, C, s, s) in [-1, 1].

    Raises:
        FileNotFoundError: if there are none.
    """
    config(name)
    place = Path(folder) / f"{name}.samples"
    paths = sorted(place.glob("step_[0-9]*.png"))
    if not paths:
        raise FileNotFoundError(
            f"no samples of {name} in {place}; they are kept there when it is trained: "
            f"make train MODEL={name}"
        )
    return {int(path.stem.removeprefix("step_")): ungrid(Image.open(path)) for path in paths}


def load(name: str, folder: Path = CHECKPOINTS) -> NetworkDenoiser:
    """A trained model as a denoiser, on the schedule it was trained with.

    Raises:
        ValueError: for an unknown name, if the card is of another recipe, or if the weights do
            not match the hash in the card.
        FileNotFoundError: if the model has not been trained or a file is missing.
    """
    recipe = config(name)
    card(name, folder)
    network = build(recipe.network, seed=0)
    checkpoints.load_into(network, name, folder)
    # convolutions in float32 are a third faster on channels that lie side by side
    network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return NetworkDenoiser(network, recipe.schedule, recipe.training.prediction)
