"""Named models: what they are trained on and how, and their committed weights.

A checkpoint is two files in ``data/checkpoints``: ``NAME.safetensors`` with the weights and
``NAME.json``, the card, with everything needed to rebuild and to judge the model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from diffot import training
from diffot.datasets import toy
from diffot.errors import require, unknown_name
from diffot.files import write_whole
from diffot.mixtures import thesis_mixture
from diffot.networks import MLP
from diffot.paths import CHECKPOINTS
from diffot.predictors import NetworkPredictor
from diffot.schedules import FAMILIES, Schedule, linear, scaled_linear
from diffot.training import TrainConfig, TrainResult

NETWORKS = {"MLP": MLP}


@dataclass(frozen=True)
class ModelConfig:
    """A recipe: data (the name of the thesis' model), noise schedule, network and training."""

    data: str
    schedule: Schedule
    network: dict
    training: TrainConfig


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

# A name without a suffix is the thesis' model: its data, schedule, network, learning rate and
# averaging (tables 4.1-4.4). "Linear" is the same without the activation after the last layer;
# "SiLU" is this project's network and training on the same data and schedule.
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


def config(name: str) -> ModelConfig:
    """The recipe of a model.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """
    require(name in CONFIGS, unknown_name("model", name, CONFIGS))
    return CONFIGS[name]


def draw(name: str) -> Callable:
    """The data of a model, as a function ``(n, generator) -> points``."""
    data = config(name).data
    return toy.s_curve if data == "Low2DSCurve" else thesis_mixture(data).sample


def build(network: dict, seed: int) -> nn.Module:
    """A network with fresh weights from its description, drawn with the given seed."""
    arguments = dict(network)
    family = arguments.pop("class")
    require(family in NETWORKS, unknown_name("network class", family, NETWORKS))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[family](**arguments)


def train(name: str, progress: bool = True) -> TrainResult:
    """Train a model by its recipe. Nothing is written; see :func:`save`."""
    recipe = config(name)
    network = build(recipe.network, recipe.training.seed)
    return training.train(network, recipe.schedule, draw(name), recipe.training, progress)


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
    """
    recipe = config(name)
    check_free(name, folder, overwrite)
    weights = Path(folder) / f"{name}.safetensors"
    blob = safetensors.torch.save(
        {k: v.contiguous() for k, v in result.network.state_dict().items()}
    )
    description = {
        "name": name,
        "data": recipe.data,
        "schedule": {"name": recipe.schedule.name, **recipe.schedule.parameters},
        "network": recipe.network,
        "training": asdict(recipe.training),
        "parameters": sum(p.numel() for p in result.network.parameters()),
        "cpu_seconds": round(result.cpu_seconds, 1),
        "losses": [round(loss, 6) for loss in result.losses],
        "torch": torch.__version__.split("+")[0],
        "sha256": hashlib.sha256(blob).hexdigest(),
    }
    write_whole(weights, blob)
    write_whole(weights.with_suffix(".json"), (json.dumps(description, indent=1) + "\n").encode())
    return weights


def provide(names: Sequence[str], folder: Path = CHECKPOINTS) -> None:
    """Train and save those of the models that have no checkpoint in ``folder``, one by one."""
    for name in names:
        if not (Path(folder) / f"{name}.json").exists():
            save(name, train(name), folder)


def check_free(name: str, folder: Path = CHECKPOINTS, overwrite: bool = False) -> None:
    """Make sure that saving a model will not replace one, before time is spent on training.

    Raises:
        ValueError: for an unknown name.
        FileExistsError: if there is a checkpoint already and ``overwrite`` is not set.
    """
    config(name)
    weights = Path(folder) / f"{name}.safetensors"
    if not overwrite and (weights.exists() or weights.with_suffix(".json").exists()):
        raise FileExistsError(
            f"{weights} exists already; to replace it pass overwrite=True (make train: "
            "OVERWRITE=1; command line: --overwrite), or choose another folder"
        )


def card(name: str, folder: Path = CHECKPOINTS) -> dict:
    """The card of a trained model: recipe, cost, loss curve and hash.

    Raises:
        ValueError: for an unknown name. FileNotFoundError: for a model not trained yet.
    """
    config(name)
    path = Path(folder) / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(
            f"no checkpoint of {name} in {folder}; train it with: make train MODEL={name}"
        )
    return json.loads(path.read_text())


def load(name: str, folder: Path = CHECKPOINTS) -> NetworkPredictor:
    """A trained model as a noise predictor, on the schedule it was trained with.

    Raises:
        ValueError: for an unknown name, or if the weights do not match the hash in the card.
        FileNotFoundError: if the model has not been trained or a file is missing.
    """
    description = card(name, folder)
    path = Path(folder) / f"{name}.safetensors"
    if not path.exists():
        raise FileNotFoundError(
            f"the weights {path} are missing though their card is there; restore the file, or "
            f"train again with: make train MODEL={name} OVERWRITE=1"
        )
    blob = path.read_bytes()
    found = hashlib.sha256(blob).hexdigest()
    require(
        found == description["sha256"],
        f"{path} is damaged or not the file its card describes: SHA-256 {found[:12]}..., "
        f"expected {description['sha256'][:12]}...; restore the file, or train again with: "
        f"make train MODEL={name} OVERWRITE=1",
    )
    network = build(description["network"], seed=0)
    network.load_state_dict(safetensors.torch.load(blob))
    parameters = dict(description["schedule"])
    schedule = FAMILIES[parameters.pop("name")](**parameters)
    return NetworkPredictor(network.eval().requires_grad_(False), schedule)
