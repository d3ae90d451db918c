"""What models make of which latents, kept on disk.

A map from latents to images is a :class:`LatentMap`, a named model with all that decides
what it draws, or a :class:`GaussianMap`, the optimal map to the Gaussian of a model's training
images. The latents of a seed are the same for all maps, and the first ones are the same however
many there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffot.data import cache
from diffot.data.images import LabeledImages
from diffot.denoisers.denoiser import Denoiser
from diffot.errors import (
    as_number,
    as_shape,
    as_whole_number,
    require,
    require_known,
    require_type,
)
from diffot.learning import checkpoints, datasets, measured, recipes, registry
from diffot.paths import CACHE
from diffot.samplers.ddim import ddim, invert
from diffot.seeds import generator
from diffot.transport.linear import LinearMap

BATCH = 32  # latents that pass through a network at a time, and are kept together
LABELED = 1000  # held-out images, of which some are drawn for their labels
# To be raised with every change, here or in the samplers, that changes an image.
RECIPE = 1


# --- Maps -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GaussianMap:
    """The optimal map from N(0, I) to the Gaussian of a model's training images.

    See :class:`~diffot.transport.linear.LinearMap`.

    Attributes:
        data_of: a name in ``recipes.RECIPES``, of the model whose training images are meant.
    """

    data_of: str

    def __post_init__(self):
        _require_draws_images(self.data_of, "data_of")

    def __str__(self) -> str:
        return f"linear {self.data_of}"

    @property
    def model(self) -> str:
        """The model whose training images are meant."""
        return self.data_of

    def shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of the images."""
        return _shape(self.data_of)

    def identity(self) -> dict:
        """Everything that its images depend on but the latents."""
        return {"recipe": RECIPE, "data": recipes.config(self.data_of).data}


@dataclass(frozen=True)
class LatentMap:
    """DDIM with a model of images, and all that decides what it draws from a latent.

    Attributes:
        model: a name in ``recipes.RECIPES``.
        steps: of DDIM.
        eta: of DDIM, from 0 to 1; stochastic above 0.
        noise_seed: of its fresh noise, which is the same for all models with as many steps.
        labels: for a conditional model, the classes that are asked for, such as
            ``{"smile": "yes"}``; other labels stay free. Kept as pairs in order of the labels.
        label_seed: of a conditional model that is given, for each latent, all labels of a
            held-out image drawn at random; the same seed, 1 or more, draws the same images. 0
            for not.

    Raises:
        ValueError: for an unknown model, label or class, with the known ones, and for numbers out
            of range.
    """

    model: str
    steps: int
    eta: float = 0.0
    noise_seed: int = 0
    labels: tuple[tuple[str, str], ...] = ()
    label_seed: int = 0

    def __post_init__(self):
        _require_draws_images(self.model, "model")
        require_type(self.labels, (dict, tuple), "labels", 'a dict such as {"smile": "yes"}')
        labels = dict(self.labels)
        checked = {
            "steps": as_whole_number(self.steps, "steps", least=1),
            "eta": as_number(self.eta, "eta", at_least=0, at_most=1),
            "noise_seed": as_whole_number(self.noise_seed, "noise_seed", least=0),
            "labels": tuple(sorted(labels.items())),
            "label_seed": as_whole_number(self.label_seed, "label_seed", least=0),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if labels or self.label_seed:
            conditions = self._conditions()
            require(
                len(conditions) > 0,
                f"{self.model} is not conditional; leave out labels and label_seed",
            )
            for label, name in labels.items():
                require_known(label, f"label of {self.model}", conditions)
                require_known(name, f"class of {label}", _first(self.model).classes[label])
        require(
            not (labels and self.label_seed),
            "labels chooses classes and label_seed draws them; leave out one of them",
        )

    def __str__(self) -> str:
        """The model and its options, but for the number of steps."""
        # the texts that random numbers are drawn by
        options = [f"{label}={name}" for label, name in self.labels]
        options += [f"told={self.label_seed}"] if self.label_seed else []
        options += [f"eta={self.eta:g}"] if self.eta else []
        options += [f"noise={self.noise_seed}"] if self.noise_seed else []
        return " ".join([self.model, *options])

    def shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of the images."""
        return _shape(self.model)

    def denoiser(self, batch: int | None = None) -> Denoiser:
        """The model, given its labels; with ``label_seed``, those of a batch of latents."""
        denoiser = registry.load(self.model)
        if self.label_seed:
            batch = as_whole_number(batch, "batch", least=0)
            pool = _labeled(self.model).labels
            draws = generator(self.label_seed, f"images told of {batch}")
            drawn = torch.randint(LABELED, (BATCH,), generator=draws)
            return denoiser.condition({label: pool[label][drawn] for label in self._conditions()})
        if self.labels:
            classes = _first(self.model).classes
            return denoiser.condition(
                {label: classes[label].index(c) for label, c in self.labels}
            )
        return denoiser

    def identity(self) -> dict:
        """Everything that its images depend on but the latents."""
        weights = registry.card(self.model)["sha256"]
        return {"recipe": RECIPE, "weights": weights, **asdict(self), "labels": dict(self.labels)}

    def _conditions(self) -> list[str]:
        return list(recipes.config(self.model).network.get("labels", []))


AnyMap = LatentMap | GaussianMap


def require_map(value: object, name: str) -> None:
    """Require a map from latents to images."""
    require_type(value, (LatentMap, GaussianMap), name, "a LatentMap or a GaussianMap")


def hashes(*maps: AnyMap) -> str:
    """The hashes of the weights behind maps, as tasks name them; see
    :func:`diffot.learning.checkpoints.hashes`. Of a Gaussian map, those of its model."""
    for latent_map in maps:
        require_map(latent_map, "one of the maps")
    return checkpoints.hashes(*(latent_map.model for latent_map in maps))


def require_hashes(weights: str, **maps: AnyMap) -> None:
    """Require these :func:`hashes` of the weights behind maps.

    Raises:
        ValueError: if the weights are others.
    """
    for name, latent_map in maps.items():
        require_map(latent_map, name)
    checkpoints.require_hashes(weights, *(latent_map.model for latent_map in maps.values()))


def _require_draws_images(model: str, name: str) -> None:
    require_type(model, str, name, "the name of a model")
    require(
        isinstance(recipes.config(model).data, dict),
        f"{name} is {model}, which draws points; expected a model of images",
    )


def linear_map(model: str, folder: Path = CACHE) -> LinearMap:
    """The linear map of a model's training images, kept on disk.

    Fitting takes about a minute for 20,000 images of 32 x 32 pixels in color.
    """
    return _linear_map(str(recipes.config(model).data), model, folder)


@lru_cache(maxsize=4)
def _linear_map(data: str, model: str, folder: Path) -> LinearMap:
    images = datasets.load_images(recipes.config(model).data)
    arrays = cache.provide(
        "linear-map",
        {"recipe": RECIPE, "data": data, "pixels": _digest(images.pixels)},
        ["scikit-learn"],
        [model],
        partial(_fit, images.images),
        folder,
    )
    return LinearMap(**{name: torch.from_numpy(values[0]) for name, values in arrays.items()})


def _fit(images: Tensor, _: object) -> cache.Arrays:
    return {name: values.numpy()[None] for name, values in vars(LinearMap.fit(images)).items()}


def _shape(model: str) -> tuple[int, ...]:
    return datasets.image_shape(recipes.config(model).data)


@lru_cache
def _first(model: str) -> LabeledImages:
    """One image of the data that a model is trained on, for its classes."""
    return datasets.first_image(recipes.config(model).data)


@lru_cache(maxsize=1)
def _labeled(model: str) -> LabeledImages:
    """Held-out images, the labels of some of which a model is given."""
    return measured.held_out(model, LABELED)


# --- Latents and images -----------------------------------------------------------------------


def latents(shape: tuple[int, ...], n: int, seed: int) -> Tensor:
    """The first n latents of a seed, for images of this shape (C, H, W)."""
    shape, n = as_shape(shape, "shape"), as_whole_number(n, "n", least=1)
    seed = as_whole_number(seed, "seed", least=0)
    batches = range(_whole_batches(n) // BATCH)
    return torch.cat([_latents(shape, seed, batch) for batch in batches])[:n]


def draw(denoiser: Denoiser, z: Tensor, steps: int) -> Tensor:
    """The images of latents z, shape (n, C, H, W), under DDIM, in batches as they are kept in."""
    with torch.no_grad():
        return torch.cat([ddim(denoiser, part, steps) for part in z.split(BATCH)])


def decode(latent_map: AnyMap, n: int, seed: int, folder: Path = CACHE) -> Tensor:
    """The images of the first n latents of a seed under a map, kept on disk.

    Returns:
        Shape (n, C, H, W), not clamped to [-1, 1].
    """
    require_map(latent_map, "latent_map")
    n, seed = as_whole_number(n, "n", least=1), as_whole_number(seed, "seed", least=0)
    shape, model = latent_map.shape(), latent_map.model
    if isinstance(latent_map, GaussianMap):
        return linear_map(model, folder).decode(latents(shape, n, seed))
    parameters = {**latent_map.identity(), "latents": seed}
    make = partial(_decode, latent_map, shape, seed)
    return _kept(f"images-{model}", parameters, _whole_batches(n), make, folder)[:n]


def encode(latent_map: AnyMap, images: str, n: int, folder: Path = CACHE) -> Tensor:
    """The codes, under a map, of the first n held-out images of the kind that a model draws.

    The probability flow upwards; see :func:`diffot.samplers.ddim.invert`. Kept on disk.

    Args:
        images: a model, of images of the same shape as the map's; see
            :func:`diffot.learning.measured.held_out`.

    Returns:
        Shape (n, C, H, W).

    Raises:
        ValueError: for a stochastic map, or one whose labels are drawn for each latent.
    """
    require_map(latent_map, "latent_map")
    n = as_whole_number(n, "n", least=1)
    _require_draws_images(images, "images")
    _require_own_codes(latent_map)
    _require_same_images(latent_map, GaussianMap(images))
    x, model = measured.held_out(images, n).images, latent_map.model
    if isinstance(latent_map, GaussianMap):
        return linear_map(model, folder).encode(x)
    parameters = {**latent_map.identity(), **_held_out_identity(images)}
    return _kept(f"codes-{model}", parameters, n, partial(_encode, latent_map, x), folder)


def translate(first: AnyMap, second: AnyMap, n: int, folder: Path = CACHE) -> Tensor:
    """Held-out images of the first map's kind, encoded by it and decoded by the second.

    The image-to-image translation of Khrulkov et al. (2023) and Su et al. (2023); with the same
    map twice, the round trip. Kept on disk.

    Returns:
        Shape (n, C, H, W), not clamped to [-1, 1].

    Raises:
        ValueError: for stochastic maps, or those whose labels are drawn for each latent.
    """
    for name, latent_map in (("first", first), ("second", second)):
        require_map(latent_map, name)
    n = as_whole_number(n, "n", least=1)
    _require_own_codes(second)
    _require_same_images(first, second)
    codes = encode(first, first.model, n, folder)
    if isinstance(second, GaussianMap):
        return linear_map(second.model, folder).decode(codes)
    parameters = {
        **second.identity(),
        "codes": first.identity(),
        **_held_out_identity(first.model),
    }
    make = partial(_translate, second, codes)
    return _kept(f"translations-{second.model}", parameters, n, make, folder)


def _require_own_codes(latent_map: AnyMap) -> None:
    if isinstance(latent_map, GaussianMap):
        return
    require(
        latent_map.eta == 0,
        f"{latent_map} is stochastic, so that images have no code; leave out eta",
    )
    require(
        not latent_map.label_seed,
        f"{latent_map} draws labels by the latent, and an image has none; leave out label_seed",
    )


def _require_same_images(first: AnyMap, second: AnyMap) -> None:
    require(
        first.shape() == second.shape(),
        f"{first} draws images of shape {first.shape()}, {second} of {second.shape()}; expected "
        "the same shape",
    )


def _latents(shape: tuple[int, ...], seed: int, batch: int) -> Tensor:
    return torch.randn(BATCH, *shape, generator=generator(seed, f"latents {batch}"))


def _whole_batches(n: int) -> int:
    """The least multiple of ``BATCH`` that is at least n."""
    return BATCH * -(-n // BATCH)


def _held_out_identity(model: str) -> dict:
    """What the held-out images for a model depend on."""
    pixels = measured.held_out(model, BATCH).pixels
    return {"images": recipes.config(model).data, "pixels": _digest(pixels)}


def _kept(
    name: str, parameters: dict, n: int, make: Callable[[range], cache.Arrays], folder: Path
) -> Tensor:
    """The n points that ``make`` makes, a batch at a time, given their indices."""
    arrays = cache.provide(name, parameters, ["torch"], range(n), make, folder, BATCH)
    return torch.from_numpy(arrays["points"])


def _decode(
    latent_map: LatentMap, shape: tuple[int, ...], seed: int, indices: range
) -> cache.Arrays:
    batch = indices[0] // BATCH
    # the noise belongs to a whole batch
    noise = generator(latent_map.noise_seed, f"noise {batch}")
    z = _latents(shape, seed, batch)
    with torch.no_grad():
        x = ddim(latent_map.denoiser(batch), z, latent_map.steps, latent_map.eta, noise)
    return {"points": x.numpy()}


def _translate(second: LatentMap, codes: Tensor, indices: range) -> cache.Arrays:
    return {"points": draw(second.denoiser(), codes[indices], second.steps).numpy()}


def _encode(latent_map: LatentMap, images: Tensor, indices: range) -> cache.Arrays:
    with torch.no_grad():
        z = invert(latent_map.denoiser(), images[indices], latent_map.steps)
    return {"points": z.numpy()}


def _digest(values: Tensor) -> str:
    return hashlib.sha256(np.ascontiguousarray(values.numpy()).tobytes()).hexdigest()
