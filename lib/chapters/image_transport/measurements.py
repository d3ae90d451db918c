"""How far maps to images are from optimal, by their Jacobians: each function gives one row.

A task names the ``weights`` behind its map, as :func:`diffot.learning.checkpoints.hashes` gives
them, and others are refused. Networks are evaluated on a graphics card where there is one, in
full float32; latents and probes do not depend on the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from chapters.image_transport.controls import favorable_embedding, fitted_denoiser
from diffot.denoisers.denoiser import Denoiser
from diffot.denoisers.network import NetworkDenoiser
from diffot.errors import as_whole_number, require_type
from diffot.estimates import columns, mean
from diffot.flows.jacobian import (
    Composition,
    FunctionJacobian,
    Jacobian,
    SymmetricPart,
    step_jacobians,
)
from diffot.flows.maps import Map
from diffot.learning import checkpoints, datasets, latent_maps, measured, recipes, registry
from diffot.learning.epoch_kinds import AutoencoderRecipe
from diffot.learning.kinds import DenoiserRecipe
from diffot.learning.maps import AutoencoderMap
from diffot.samplers.ddim import ddim_steps
from diffot.seeds import generator
from diffot.transport.certificates import jacobian_asymmetry
from diffot.transport.linear import LinearMap
from diffot.transport.symmetry import (
    random_signs,
    skew_and_whole,
    skew_and_whole_of,
    squared_asymmetry,
    symmetric_spectrum,
)

# --- Maps -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """DDIM with a trained model of images.

    Attributes:
        model: a name in ``recipes.RECIPES``.
        weights: the beginning of the hash of its weights.
        steps: of DDIM.
    """

    model: str
    weights: str
    steps: int

    def __post_init__(self):
        measured.require_weights(self.model, self.weights)
        measured.set_whole_numbers(self, steps=1)

    def denoiser(self, device: torch.device) -> Denoiser:
        """The model there, laid out for derivatives."""
        return differentiable(registry.load(self.model), device)

    def shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of the images."""
        return latent_maps.LatentMap(self.model, self.steps).shape()


@dataclass(frozen=True)
class Mixture:
    """DDIM with the exact denoiser of a Gaussian mixture, fitted to images.

    Attributes:
        model: a name in ``recipes.RECIPES``, whose training images and schedule are meant.
        images, dimension, components: see
            :func:`~chapters.image_transport.controls.fitted_denoiser`.
        steps: of DDIM.
    """

    model: str
    images: int
    dimension: int
    components: int
    steps: int

    def __post_init__(self):
        recipes.config(self.model, DenoiserRecipe)
        measured.set_whole_numbers(self, images=2, dimension=1, components=1, steps=1)

    def denoiser(self, device: torch.device) -> Denoiser:
        """The denoiser, which computes on the CPU."""
        return fitted_denoiser(self.model, self.images, self.dimension, self.components)

    def shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of the images."""
        return latent_maps.GaussianMap(self.model).shape()


AnyMap = Network | Mixture


def differentiable(denoiser: NetworkDenoiser, device: torch.device) -> NetworkDenoiser:
    """A network's denoiser on a device, with contiguous weights, as derivatives need them."""
    network: Any = denoiser.network
    network.to(device, memory_format=torch.contiguous_format)
    return denoiser


def path_jacobians(denoiser: Denoiser, steps: int, z: Tensor) -> list[FunctionJacobian]:
    """The Jacobian of each step of DDIM, along the path from latents z, shape (B, *d)."""
    first, *others = ddim_steps(denoiser, steps)
    scale = denoiser.schedule.prior_scale
    return step_jacobians([lambda latent: first(scale * latent), *others], z)


def _device() -> torch.device:
    """The graphics card, or the CPU where there is none."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


@contextmanager
def _full_precision() -> Iterator[None]:
    """No shortened numbers in convolutions on graphics cards."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def _path(task: AsymmetryTask | PathTask | SpectrumTask) -> tuple[list[FunctionJacobian], Tensor]:
    """The Jacobians of the steps of a task's map, and its latent, shape (1, C, H, W)."""
    device, latent_map = _device(), task.latent_map
    z = latent_maps.latents(latent_map.shape(), task.latent + 1, task.seed)[-1:].to(device)
    return path_jacobians(latent_map.denoiser(device), latent_map.steps, z), z


# --- The whole map ----------------------------------------------------------------------------


@dataclass(frozen=True)
class AsymmetryTask:
    """The asymmetry of a map's Jacobian at one latent.

    Attributes:
        latent_map: the map.
        latent: which latent of the seed.
        probes: number of random vectors, at least 2.
        seed: of latents and vectors.
    """

    latent_map: AnyMap
    latent: int
    probes: int
    seed: int = 0

    def __post_init__(self):
        require_type(self.latent_map, AnyMap, "latent_map", "a Network or a Mixture")
        measured.set_whole_numbers(self, latent=0, probes=2, seed=0)

    def draws(self) -> torch.Generator:
        """For the random vectors, the same for all maps."""
        return generator(self.seed, f"vectors at latent {self.latent}")


def measure_asymmetry(task: AsymmetryTask) -> dict[str, float]:
    """How asymmetric is a map's Jacobian? :func:`asymmetry_columns`."""
    require_type(task, AsymmetryTask, "task", "an AsymmetryTask")
    with _full_precision():
        factors, z = _path(task)
        return asymmetry_columns(factors, random_signs(task.probes, z, task.draws()))


def measure_symmetrized(task: AsymmetryTask) -> dict[str, float]:
    """How asymmetric would it be if each step's Jacobian were replaced by its symmetric part?

    Not at all if these commuted; :func:`asymmetry_columns`. The vectors are those of
    :func:`measure_asymmetry`.
    """
    require_type(task, AsymmetryTask, "task", "an AsymmetryTask")
    with _full_precision():
        factors, z = _path(task)
        parts = [SymmetricPart(factor) for factor in factors]
        return asymmetry_columns(parts, random_signs(task.probes, z, task.draws()))


def asymmetry_columns(factors: Sequence[Jacobian], v: Tensor) -> dict[str, float]:
    """Asymmetry of a composition.

    Args:
        factors: the Jacobians of its steps, at one point (1, *d).
        v: random vectors, shape (n, 1, *d).

    Returns:
        One row: ``whole``, the squared norm of the Jacobian, and ``squared``, its squared
        asymmetry, each with its ``_error`` over vectors.
    """
    skew, whole = (x[:, 0] for x in skew_and_whole(Composition(factors), v))
    return columns("whole", mean(whole)) | columns("squared", squared_asymmetry(skew, whole))


@dataclass(frozen=True)
class GaussianTask:
    """The optimal map to the Gaussian of images, through the same estimator.

    Attributes:
        model: whose training images are meant.
        images: how many of them.
        latents: number of latents. probes: of random vectors at each.
        seed: of both.
    """

    model: str
    images: int
    latents: int
    probes: int
    seed: int = 0

    def __post_init__(self):
        recipes.config(self.model, DenoiserRecipe)
        measured.set_whole_numbers(self, images=2, latents=1, probes=2, seed=0)


def measure_gaussian(task: GaussianTask) -> dict[str, float]:
    """The squared asymmetry that the estimator gives for a symmetric Jacobian: rounding."""
    require_type(task, GaussianTask, "task", "a GaussianTask")
    data = datasets.load_images({**recipes.config(task.model).data, "n": task.images})
    linear = LinearMap.fit(data.images)
    z = latent_maps.latents(tuple(linear.mean.shape), task.latents, task.seed)
    v = random_signs(task.probes, z, generator(task.seed, "vectors, Gaussian map"))
    skew, whole = skew_and_whole(FunctionJacobian(linear.decode, z), v)
    return {"squared": float(skew.sum() / whole.sum())}


@dataclass(frozen=True)
class AutoencoderTask:
    """The decoder of an autoencoder, its latents laid into image space as favorably as can be.

    Attributes:
        name: of the autoencoder, told the first class of each label.
        weights: the beginning of the hash of its weights.
        latents: number of latents; the embedding is chosen with as many others.
        seed: of latents.
    """

    name: str
    weights: str
    latents: int
    seed: int = 0

    def __post_init__(self):
        recipes.config(self.name, AutoencoderRecipe)
        checkpoints.require_hashes(self.weights, self.name)
        measured.set_whole_numbers(self, latents=2, seed=0)


def measure_autoencoder(task: AutoencoderTask) -> dict[str, float]:
    """How asymmetric is a decoder's Jacobian? :func:`decoder_columns`."""
    require_type(task, AutoencoderTask, "task", "an AutoencoderTask")
    network = registry.load(task.name).to(memory_format=torch.contiguous_format)
    decoder = AutoencoderMap(network, dict.fromkeys(network.labels, 0))
    draws = generator(task.seed, f"latents of {task.name}")
    z = torch.randn(2 * task.latents, network.latents, generator=draws)
    jacobians = torch.cat([decoder_jacobian(decoder, part) for part in z.split(8)])
    return decoder_columns(*jacobians.split(task.latents))


def decoder_jacobian(decoder: Map, z: Tensor) -> Tensor:
    """The whole Jacobian at latents of shape (B, k), by k products; shape (B, d, k)."""
    basis = torch.eye(z.shape[1]).to(z)[:, None].expand(-1, *z.shape)
    return FunctionJacobian(decoder.decode, z).product(basis).flatten(2).permute(1, 2, 0)


def decoder_columns(others: Tensor, jacobians: Tensor) -> dict[str, float]:
    """Asymmetry of a decoder in image space.

    Args:
        others: Jacobians from which the embedding Q is chosen
            (:func:`~chapters.image_transport.controls.favorable_embedding`), shape (n, d, k).
        jacobians: D at the latents that are looked at, shape (n, d, k).

    Returns:
        One row: ``asymmetry`` of :math:`Q^T D`, and ``lowest``, the least eigenvalue of its
        symmetric part by the greatest; their means over latents, with errors.
    """
    square = favorable_embedding(others.double()).mT @ jacobians.double()
    spectrum = torch.linalg.eigvalsh((square + square.mT) / 2)
    return {
        **columns("asymmetry", mean(jacobian_asymmetry(square))),
        **columns("lowest", mean(spectrum[:, 0] / spectrum[:, -1])),
    }


# --- Along the path ---------------------------------------------------------------------------


@dataclass(frozen=True)
class PathTask:
    """The asymmetry along the path of a map from one latent.

    Attributes:
        latent_map: the map.
        latent: which latent of the seed.
        probes: number of random vectors, at least 2.
        every: number of steps between two looks; divides the number of steps.
        seed: of latents and vectors.
    """

    latent_map: AnyMap
    latent: int
    probes: int
    every: int
    seed: int = 0

    def __post_init__(self):
        require_type(self.latent_map, AnyMap, "latent_map", "a Network or a Mixture")
        measured.set_whole_numbers(self, latent=0, probes=2, every=1, seed=0)


def measure_path(task: PathTask) -> dict[str, float]:
    """Where on the path does asymmetry arise? :func:`path_columns`."""
    require_type(task, PathTask, "task", "a PathTask")
    with _full_precision():
        factors, z = _path(task)
        draws = generator(task.seed, f"vectors along the path of latent {task.latent}")
        v = random_signs(task.probes, z, draws)
        denoiser = task.latent_map.denoiser(z.device)
        denoisers = denoiser_jacobians(denoiser, task.latent_map.steps, factors)
        return path_columns(factors, denoisers, v, task.every)


def denoiser_jacobians(
    denoiser: Denoiser, steps: int, factors: Sequence[FunctionJacobian]
) -> list[FunctionJacobian]:
    """The Jacobian of the denoiser in each step of a path, whose steps have these Jacobians."""
    first, *others = (factor.points for factor in factors)
    points = [denoiser.schedule.prior_scale * first, *others]
    times = denoiser.schedule.timesteps(steps).tolist()
    return [FunctionJacobian(partial(denoiser.denoise, t=t), x) for t, x in zip(times, points)]


def path_columns(
    factors: Sequence[Jacobian], denoisers: Sequence[Jacobian], v: Tensor, every: int
) -> dict[str, float]:
    """Squared asymmetries along a path, after every so many steps.

    Args:
        factors: the Jacobians of the steps, at one point each.
        denoisers: of the denoiser, at the same points.
        v: random vectors, shape (n, 1, *d).

    Returns:
        One row, for k = ``every``, twice that, ...: ``map_K``, of the Jacobian of the first k
        steps together; ``step_K``, of the k-th step alone; ``denoiser_K``, of the denoiser asked
        in it; each with its ``_error``. Of an exact denoiser, the last two are zero.
    """
    every = as_whole_number(every, "every", least=1)
    row: dict[str, float] = {}
    forward = v
    for k, factor in enumerate(factors, start=1):
        forward = factor.product(forward)  # of the first k steps
        if k % every:
            continue
        backward = Composition(factors[:k]).transposed_product(v)
        for name, sums in (
            (f"map_{k}", skew_and_whole_of(forward, backward)),
            (f"step_{k}", skew_and_whole(factor, v)),
            (f"denoiser_{k}", skew_and_whole(denoisers[k - 1], v)),
        ):
            row |= columns(name, squared_asymmetry(*(x[:, 0] for x in sums)))
    return row


# --- The spectrum -----------------------------------------------------------------------------


@dataclass(frozen=True)
class SpectrumTask:
    """The ends of the spectrum of the symmetric part of a map's Jacobian.

    Attributes:
        latent_map: the map.
        latent: which latent of the seed.
        seed: of latents and of the vector to start from.
    """

    latent_map: AnyMap
    latent: int
    seed: int = 0

    def __post_init__(self):
        require_type(self.latent_map, AnyMap, "latent_map", "a Network or a Mixture")
        measured.set_whole_numbers(self, latent=0, seed=0)


def measure_spectrum(task: SpectrumTask) -> dict[str, float]:
    """The fields of :class:`~diffot.transport.symmetry.Spectrum`."""
    require_type(task, SpectrumTask, "task", "a SpectrumTask")
    with _full_precision():
        factors, z = _path(task)
        draws = generator(task.seed, f"Lanczos at latent {task.latent}")
        return dict(vars(symmetric_spectrum(Composition(factors), z, draws)))
