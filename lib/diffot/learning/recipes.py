"""Recipes of everything that is trained by name: what on, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar, overload

from diffot.errors import require_known
from diffot.learning.configuration import TrainConfig
from diffot.learning.epoch_kinds import AutoencoderRecipe, MaskedRecipe, ProbeRecipe
from diffot.learning.kinds import DenoiserRecipe, Recipe
from diffot.processes.schedules import Rectified, VarianceExploding, linear, scaled_linear

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
    precision="auto",
)
_V_SMALL = replace(_V, iterations=8000, learning_rate=1.5e-3)
_V_LABELED = replace(_V, iterations=6000)
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
RECIPES: dict[str, Recipe] = {
    "Low1DMix": DenoiserRecipe("Low1DMix", _LINE, {**_THESIS_MLP, "dim": 1}, _SLOW),
    "Low1DMixSiLU": DenoiserRecipe("Low1DMix", _LINE, {**_SILU_MLP, "dim": 1}, _SILU),
    "Low2DSymMix": DenoiserRecipe("Low2DSymMix", _PLANE, _THESIS_MLP, _SLOW),
    "Low2DSymMixLinear": DenoiserRecipe("Low2DSymMix", _PLANE, _LINEAR_MLP, _SLOW),
    "Low2DSymMixSiLU": DenoiserRecipe("Low2DSymMix", _PLANE, _SILU_MLP, _SILU),
    "Low2DASymMix": DenoiserRecipe("Low2DASymMix", _PLANE, _THESIS_MLP, _MEDIUM),
    "Low2DASymMixLinear": DenoiserRecipe("Low2DASymMix", _PLANE, _LINEAR_MLP, _MEDIUM),
    "Low2DASymMixSiLU": DenoiserRecipe("Low2DASymMix", _PLANE, _SILU_MLP, _SILU),
    "Low2DUnimodal": DenoiserRecipe("Low2DUnimodal", _PLANE, _THESIS_MLP, _FAST),
    "Low2DUnimodalSiLU": DenoiserRecipe("Low2DUnimodal", _PLANE, _SILU_MLP, _SILU),
    "Low2DBimodal": DenoiserRecipe("Low2DBimodal", _PLANE, _THESIS_MLP, _MEDIUM),
    "Low2DBimodalSiLU": DenoiserRecipe("Low2DBimodal", _PLANE, _SILU_MLP, _SILU),
    "Low2DSCurve": DenoiserRecipe("Low2DSCurve", _CURVE, _THESIS_MLP, _SLOW),
    "Low2DSCurveSiLU": DenoiserRecipe("Low2DSCurve", _CURVE, _SILU_MLP, _SILU),
}


def _ours(data: dict, network: dict, training: TrainConfig, **more: Any) -> DenoiserRecipe:
    return DenoiserRecipe(
        data, _IMAGES, network, training, prediction="v", storage="float16", **more
    )


# This project's models of images. The cards of those at 32 pixels say how long they took; those
# at 64 pixels are for a GPU and have not been trained.
RECIPES |= {
    "Faces32A": _ours(_FACES, _UNET, _V),
    "Faces32Biased": _ours({**_FACES, "bias": _SMILING_IN_SUNGLASSES}, _UNET, _V),
    "Faces32B": _ours(_FACES, _SMALL_UNET, _V_SMALL, seed=1),
    "Faces32Conditional": _ours(
        _FACES, {**_UNET, "labels": _LABELS}, _V_LABELED, label_dropout=0.1
    ),
    "Animals32": _ours(_ANIMALS, _UNET, _V),
    "Digits28": _ours(_DIGITS, _DIGIT_UNET, _V),
    "Faces64": _ours({**_FACES, "size": 64}, _UNET_64, _V_64),
    "Animals64": _ours({**_ANIMALS, "size": 64}, _UNET_64, _V_64),
}

# Photographs at 32 pixels: the first 10,000 aligned faces of CelebA and 5,153 cats of AFHQ, of
# which a thousand and 253 are held out. In larger batches, for a GPU, but for those on halves of
# the faces; the cards say how long.
_PHOTOS = {"set": "celeba", "n": 10_000, "size": 32, "seed": 0}
_CATS = {"set": "afhq", "n": 5153, "size": 32, "seed": 0, "skip": 253, "mirror": True}
_READ = ("Smiling", "Male", "Blond_Hair", "Bangs", "Eyeglasses")
_WIDE_UNET = {**_UNET, "widths": [48, 96, 160], "middle": [160]}
_FLAT_UNET = {
    **_UNET, "widths": [64, 128, 160], "blocks": 1, "middle": [160], "activation": "gelu"
}  # fmt: skip
_V_LARGE = replace(_V, iterations=1500, batch_size=256)
_V_HALVES = replace(_V, iterations=4000)  # on a processor
RECIPES |= {
    "Celeb32A": _ours({**_PHOTOS, "skip": 1000}, _WIDE_UNET, _V_LARGE),
    "Celeb32B": _ours(
        {**_PHOTOS, "skip": 1000}, _FLAT_UNET, replace(_V_LARGE, iterations=2500), seed=1
    ),
    "Celeb32N5000A": _ours({**_PHOTOS, "take": 5000}, _UNET, _V_HALVES, seed=2),
    "Celeb32N5000B": _ours(
        {**_PHOTOS, "skip": 5000}, _UNET, replace(_V_HALVES, iterations=2000), seed=3
    ),
    "Cats32": _ours(_CATS, _WIDE_UNET, replace(_V_LARGE, iterations=1900)),
}

# A noise conditional score network of digits, with the noise, number of iterations and learning
# rate of a report (Gratias-Quiquandon et al.), which does not say its batch size.
RECIPES["NCSN28"] = DenoiserRecipe(
    _DIGITS,
    VarianceExploding(1.0, 0.01),
    _DIGIT_UNET,
    TrainConfig(10_000, 16, 2e-5, ema=0.0, precision="auto"),
    storage="float16",
)

# Flow matching on drawn faces, with noise independent of the data (Lipman et al. 2023), or
# dealt out within each batch so that it lies close (Pooladian et al. 2023; Tong et al. 2024).
RECIPES |= {
    name: DenoiserRecipe(
        _FACES,
        Rectified(),
        _UNET,
        _V_LARGE,
        prediction="flow",
        storage="float16",
        coupling=coupling,
    )
    for name, coupling in (("Faces32Flow", "independent"), ("Faces32FlowOT", "optimal"))
}

# What a model takes from its training images: pairs of models with the same recipe, A and B, that
# share no image and started from different weights (after Kadkhodaie et al. 2024).
RECIPES |= {
    f"Faces32N{n}{half}": _ours({**_FACES, "n": n, "seed": seed}, _UNET, _V_FEW, seed=seed)
    for n in (100, 1000, 10_000)
    for half, seed in (("A", 1), ("B", 2))
}

# The thesis' models of images (tables 4.1-4.4), for whoever has the data and weeks of a cluster.
# Where it changed batch size or learning rate on the way, the batch size is the last and the rate
# falls from the first along a cosine.
RECIPES |= {
    "Celeb64": DenoiserRecipe(
        _CELEB, _CURVE, _FLAT, _thesis_training(320, 202_599, 128, 8e-5, ema=0.9999)
    ),
    "Celeb256": DenoiserRecipe(
        _CELEB_HQ, _SLOW_IMAGES, _DEEP, _thesis_training(4540, 30_000, 64, 2e-5)
    ),
    "AFHQ256": DenoiserRecipe(
        _AFHQ, _SLOW_IMAGES, _DEEP, _thesis_training(4500, 16_130, 32, 2e-4, decay="cosine")
    ),
    "AFHQ256Exp1": DenoiserRecipe(
        _AFHQ, _EXPERIMENT, _FLAT, _thesis_training(1100, 16_130, 16, 8e-5)
    ),
    "AFHQ256Exp2": DenoiserRecipe(
        _AFHQ, _EXPERIMENT, _FLAT_5, _thesis_training(1820, 16_130, 32, 8e-5)
    ),
}


def _probe(family: str, size: int, **more: Any) -> ProbeRecipe:
    """A probe of drawn images, whose splits have a seed each; no generative model has it."""
    data = {"set": family, "size": size}
    return ProbeRecipe(
        train={**data, "n": 6000, "seed": 100},
        validation={**data, "n": 1500, "seed": 101},
        test={**data, "n": 2000, "seed": 102},
        **more,
    )


RECIPES |= {
    "FacesProbe32": _probe("faces", 32),
    "FacesProbe64": _probe("faces", 64, widths=(16, 32, 64, 128)),
    "AnimalsProbe32": _probe("animals", 32),
    "AnimalsProbe64": _probe("animals", 64, widths=(16, 32, 64, 128)),
    # there are only 5000 digits: consecutive stretches
    "DigitsProbe28": ProbeRecipe(
        train={"set": "digits", "n": 3500},
        validation={"set": "digits", "n": 4000, "skip": 3500},
        test={"set": "digits", "n": 5000, "skip": 4000},
        epochs=12,
    ),
    # of faces in photographs; the test images are those that no model was trained on
    "CelebProbe32": ProbeRecipe(
        train={**_PHOTOS, "labels": _READ, "skip": 2000},
        validation={**_PHOTOS, "labels": _READ, "skip": 1000, "take": 1000},
        test={**_PHOTOS, "labels": _READ, "take": 1000},
        epochs=25,
        learning_rate=4e-3,
    ),
}

_AUTOENCODER = AutoencoderRecipe(
    data=_FACES, test={**_FACES, "n": 500, "seed": 200}, labels=_LABELS
)
RECIPES |= {
    "FacesVAE32": _AUTOENCODER,
    "FacesVAE32B": replace(_AUTOENCODER, seed=1),
    "FacesVAE32Free": replace(_AUTOENCODER, labels={}),
}

# Dark and bright pixels of digits, hidden at random; the same network as that of Digits28.
RECIPES["Masked28"] = MaskedRecipe(
    data=_DIGITS,
    test={"set": "digits", "n": 5000, "skip": 4000},
    network=_DIGIT_UNET,
    shape=(1, 28, 28),
)


R = TypeVar("R", bound=Recipe)


@overload
def config(name: str) -> Any: ...
@overload
def config(name: str, kind: type[R]) -> R: ...
def config(name: str, kind: type[Recipe] = Recipe) -> Recipe:
    """The recipe of this name.

    Args:
        kind: for a recipe of one kind, its class.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """
    names = [each for each, recipe in RECIPES.items() if isinstance(recipe, kind)]
    require_known(name, kind.title, names)
    return RECIPES[name]
