"""Recipes of the named models: what they are trained on and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from diffot.errors import require_known, require_type
from diffot.learning.training import TrainConfig
from diffot.processes.schedules import Schedule, linear, scaled_linear


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


def config(name: str) -> ModelConfig:
    """The recipe of a model.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """
    require_known(name, "model", CONFIGS)
    return CONFIGS[name]
