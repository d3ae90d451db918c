"""Named models: what they are trained on and how, and their committed weights.

Their checkpoints lie in ``data/checkpoints``; see :mod:`diffot.checkpoints`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from diffot import checkpoints, training
from diffot.datasets import toy
from diffot.datasets.images import LabeledImages, flipped, mirrored
from diffot.errors import as_whole_number, require, require_known, require_type, unknown_name
from diffot.mixtures import thesis_mixture
from diffot.networks import MLP, UNet
from diffot.paths import CACHE, CHECKPOINTS, FOLDERS
from diffot.predictors import NetworkPredictor
from diffot.runs import Run, ungrid
from diffot.schedules import Schedule, linear, scaled_linear
from diffot.training import LARGEST_SEED, PRECISIONS, TrainConfig, TrainResult

NETWORKS = {"MLP": MLP, "UNet": UNet}
_DEFAULTS = {f.name: f.default for f in fields(TrainConfig) if f.default is not MISSING}


@dataclass(frozen=True)
class ModelConfig:
    """A recipe: data, noise schedule, network and training.

    ``data`` is the name of the thesis' model for data in one or two dimensions; for images it is
    the data set, a key of ``DATASETS``, with the arguments of its loader, and ``mirror`` if half
    of the images drawn are to be mirrored left to right. ``storage`` is the type in which weights
    are stored; they are loaded as float32.

    Raises:
        TypeError: for values of other types. ValueError: for an unknown type of weights.
    """

    data: str | dict
    schedule: Schedule
    network: dict
    training: TrainConfig
    storage: str = "float32"

    def __post_init__(self):
        require_type(self.data, (str, dict), "data", "a name, or a dict for images")
        require_type(self.schedule, Schedule, "schedule", "a Schedule")
        require_type(self.network, dict, "network", "a dict with a class and its arguments")
        require_type(self.training, TrainConfig, "training", "a TrainConfig")
        require_known(self.storage, "storage", ("float32", "float16"))


_PLANE = scaled_linear(1000, 1e-4, 0.02)
_LINE = scaled_linear(1000, 2.5e-5, 0.005)
_CURVE = linear(1000, 1e-4, 0.02)

_THESIS_MLP = {"class": "MLP", "dim": 2, "activate_output": True}
_LINEAR_MLP = {"class": "MLP", "dim": 2, "activate_output": False}
_SILU_MLP = {
    "class": "MLP",
    "dim": 2,
    "widths": [128, 128, 128],
    "activation": "silu",
    "frequencies": 4,
    "input_scale": 0.5,
}
_SLOW = TrainConfig(iterations=20000, learning_rate=3e-4, ema=0.999)
_MEDIUM = TrainConfig(iterations=20000, learning_rate=1e-3, ema=0.992)
_FAST = TrainConfig(iterations=20000, learning_rate=3e-3, ema=0.99)
_SILU = TrainConfig(iterations=12000, learning_rate=4e-3, decay="cosine", ema=0.999)

# One schedule for all image models of this project, so that they can share latents.
_IMAGES = scaled_linear(1000, 8.5e-4, 0.02)
_FACES = {"set": "faces", "n": 20_000, "size": 32, "seed": 0}
_SMILING_IN_SUNGLASSES = {
    "given": "sunglasses", "attribute": "smile", "value": "yes", "probability": 0.95
}  # fmt: skip
_ANIMALS = {"set": "animals", "n": 20_000, "size": 32, "seed": 0}
_DIGITS = {"set": "digits", "n": 4000}  # the other thousand are held out
_LABELS = {"smile": 2, "sunglasses": 2, "hair_color": 5, "skin": 3, "background": 4}

_UNET = {"class": "UNet", "widths": [32, 64, 128], "blocks": 2, "middle": [128]}
# at most a third of the parameters of _UNET
_SMALL_UNET = {
    "class": "UNet",
    "widths": [32, 64, 64],
    "blocks": 1,
    "middle": [64],
    "activation": "gelu",
    "embedding": 64,
}
_DIGIT_UNET = {**_UNET, "channels": 1, "widths": [32, 64, 64], "blocks": 1, "middle": [64]}
_UNET_64 = {**_UNET, "widths": [32, 64, 128, 256], "middle": [256]}
_V = TrainConfig(
    iterations=5000,
    batch_size=64,
    learning_rate=1e-3,
    decay="cosine",
    ema=0.999,
    warmup=300,
    clip=1.0,
    prediction="v",
    precision="auto",
)
_V_SMALL = replace(_V, iterations=8000, learning_rate=1.5e-3, seed=1)
_V_TOLD = replace(_V, iterations=6000, label_dropout=0.1)
_V_64 = replace(_V, iterations=30_000, learning_rate=5e-4)
_V_FEW = replace(_V, iterations=2000)


def _thesis_unet(base: int, down: Sequence[int], middle: Sequence[int]) -> dict:
    """The thesis' way of describing a network: channels as multiples of those of level 0."""
    return {
        "class": "UNet",
        "widths": [base, *(base * factor for factor in down)],
        "blocks": 2,
        "middle": [base * factor for factor in middle],
        "embedding": 256,
    }


def _thesis_training(epochs: int, images: int, batch_size: int, rate: float, **more: Any):
    return TrainConfig(epochs * images // batch_size, batch_size, rate, **more)


_DEEP = _thesis_unet(32, [2, 4, 8, 16, 32, 64], [64, 64, 32])
_FLAT = _thesis_unet(64, [2, 4, 4], [8, 8, 4])
_FLAT_5 = _thesis_unet(64, [2, 4, 8, 8], [16, 16, 8])
_SLOW_IMAGES, _EXPERIMENT = scaled_linear(4000, 8.5e-4, 0.012), linear(4000, 1e-4, 0.02)
_CELEB, _CELEB_HQ = {"set": "celeba", "size": 64}, {"set": "celeba_hq", "size": 256}
_AFHQ = {"set": "afhq", "size": 256, "mirror": True}

# Models of points. A name without a suffix is the thesis' model: its data, schedule, network,
# learning rate and averaging (tables 4.1-4.4). "Linear" is the same without the activation after
# the last layer; "SiLU" is this project's network and training on the same data and schedule.
CONFIGS = {
    "Low1DMix": ModelConfig("Low1DMix", _LINE, {**_THESIS_MLP, "dim": 1}, _SLOW),
    "Low1DMixSiLU": ModelConfig("Low1DMix", _LINE, {**_SILU_MLP, "dim": 1}, _SILU),
    "Low2DSymMix": ModelConfig("Low2DSymMix", _PLANE, _THESIS_MLP, _SLOW),
    "Low2DSymMixLinear": ModelConfig("Low2DSymMix", _PLANE, _LINEAR_MLP, _SLOW),
    "Low2DSymMixSiLU": ModelConfig("Low2DSymMix", _PLANE, _SILU_MLP, _SILU),
    "Low2DASymMix": ModelConfig("Low2DASymMix", _PLANE, _THESIS_MLP, _MEDIUM),
    "Low2DASymMixLinear": ModelConfig("Low2DASymMix", _PLANE, _LINEAR_MLP, _MEDIUM),
    "Low2DASymMixSiLU": ModelConfig("Low2DASymMix", _PLANE, _SILU_MLP, _SILU),
    "Low2DUnimodal": ModelConfig("Low2DUnimodal", _PLANE, _THESIS_MLP, _FAST),
    "Low2DUnimodalSiLU": ModelConfig("Low2DUnimodal", _PLANE, _SILU_MLP, _SILU),
    "Low2DBimodal": ModelConfig("Low2DBimodal", _PLANE, _THESIS_MLP, _MEDIUM),
    "Low2DBimodalSiLU": ModelConfig("Low2DBimodal", _PLANE, _SILU_MLP, _SILU),
    "Low2DSCurve": ModelConfig("Low2DSCurve", _CURVE, _THESIS_MLP, _SLOW),
    "Low2DSCurveSiLU": ModelConfig("Low2DSCurve", _CURVE, _SILU_MLP, _SILU),
}

# This project's models of images. The cards of those at 32 pixels say how long they took; those
# at 64 pixels are for a GPU and have not been trained.
CONFIGS |= {
    "Faces32A": ModelConfig(_FACES, _IMAGES, _UNET, _V, "float16"),
    "Faces32Biased": ModelConfig(
        {**_FACES, "bias": _SMILING_IN_SUNGLASSES}, _IMAGES, _UNET, _V, "float16"
    ),
    "Faces32B": ModelConfig(_FACES, _IMAGES, _SMALL_UNET, _V_SMALL, "float16"),
    "Faces32Conditional": ModelConfig(
        _FACES, _IMAGES, {**_UNET, "labels": _LABELS}, _V_TOLD, "float16"
    ),
    "Animals32": ModelConfig(_ANIMALS, _IMAGES, _UNET, _V, "float16"),
    "Digits28": ModelConfig(_DIGITS, _IMAGES, _DIGIT_UNET, _V, "float16"),
    "Faces64": ModelConfig({**_FACES, "size": 64}, _IMAGES, _UNET_64, _V_64, "float16"),
    "Animals64": ModelConfig({**_ANIMALS, "size": 64}, _IMAGES, _UNET_64, _V_64, "float16"),
}

# What a model takes from its training images: pairs of models with the same recipe, A and B, that
# share no image and started from different weights (after Kadkhodaie et al. 2024).
CONFIGS |= {
    f"Faces32N{n}{half}": ModelConfig(
        {**_FACES, "n": n, "seed": seed},
        _IMAGES,
        _UNET,
        replace(_V_FEW, seed=seed),
        "float16",
    )
    for n in (100, 1000, 10_000)
    for half, seed in (("A", 1), ("B", 2))
}

# The thesis' models of images (tables 4.1-4.4), for whoever has the data and weeks of a cluster.
# Where it changed batch size or learning rate on the way, the batch size is the last and the rate
# falls from the first along a cosine.
CONFIGS |= {
    "Celeb64": ModelConfig(
        _CELEB, _CURVE, _FLAT, _thesis_training(320, 202_599, 128, 8e-5, ema=0.9999)
    ),
    "Celeb256": ModelConfig(
        _CELEB_HQ, _SLOW_IMAGES, _DEEP, _thesis_training(4540, 30_000, 64, 2e-5)
    ),
    "AFHQ256": ModelConfig(
        _AFHQ, _SLOW_IMAGES, _DEEP, _thesis_training(4500, 16_130, 32, 2e-4, decay="cosine")
    ),
    "AFHQ256Exp1": ModelConfig(
        _AFHQ, _EXPERIMENT, _FLAT, _thesis_training(1100, 16_130, 16, 8e-5)
    ),
    "AFHQ256Exp2": ModelConfig(
        _AFHQ, _EXPERIMENT, _FLAT_5, _thesis_training(1820, 16_130, 32, 8e-5)
    ),
}


# The loaders of data sets. Their modules are imported when they are needed: drawing images takes
# packages that loading a model does not.
def _faces(arguments: dict) -> LabeledImages:
    from diffot.datasets import faces

    if "bias" in arguments:
        arguments["bias"] = _called(faces.Bias, arguments["bias"], "bias")
    return _called(faces.load, arguments, "faces")


def _animals(arguments: dict) -> LabeledImages:
    from diffot.datasets import animals

    return _called(animals.load, arguments, "animals")


def _digits(arguments: dict) -> LabeledImages:
    from diffot.datasets import digits

    return _called(digits.load, arguments, "digits")


def _real(family: str, arguments: dict) -> LabeledImages:
    from diffot.datasets import folders

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


def config(name: str) -> ModelConfig:
    """The recipe of a model.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """
    require_known(name, "model", CONFIGS)
    return CONFIGS[name]


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

    A ``"bias"`` of faces is a dict with the fields of :class:`~diffot.datasets.faces.Bias`. Real
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
) -> Run:
    """The run of a model's training, for :func:`train`; see :class:`~diffot.runs.Run`."""
    return Run(Path(folder) / name, describe(name), resume, seconds)


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
    name: str, progress: bool = True, run: Run | None = None, precision: str | None = None
) -> TrainResult:
    """Train a model by its recipe. Nothing is written but the run, if any; see :func:`save`.

    Args:
        precision: in place of that of the recipe; see :class:`~diffot.training.TrainConfig`.
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


def load(name: str, folder: Path = CHECKPOINTS) -> NetworkPredictor:
    """A trained model as a noise predictor, on the schedule it was trained with.

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
    return NetworkPredictor(network, recipe.schedule, recipe.training.prediction)
