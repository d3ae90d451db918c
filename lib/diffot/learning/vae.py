"""Conditional variational autoencoders: what diffusion models are compared with.

The same latent under different labels: an autoencoder has one prior and one decoder for all
labels too, but its loss ties its map to no diffusion process. What its images have in common, a
diffusion model's may have in common for no deeper reason (Khrulkov & Oseledets 2022, section 3.5,
compare with a conditional GAN).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from tqdm.auto import tqdm

from diffot.data.images import LabeledImages
from diffot.errors import (
    as_whole_number,
    require,
    require_known,
    require_type,
    unknown_name,
)
from diffot.learning import checkpoints, recipes, zoo
from diffot.learning.attributes import as_fit_settings
from diffot.learning.autoencoder import ConditionalVAE, as_told, evidence_bound
from diffot.paths import CHECKPOINTS
from diffot.seeds import generator

BATCH = 250  # images at a time where nothing is learned


@dataclass(frozen=True)
class VAEConfig:
    """A recipe.

    ``data`` and ``test`` are data sets as in :func:`diffot.learning.zoo.load_images`, ``labels``
    those of theirs that the network is told; ``network`` holds further arguments of
    :class:`ConditionalVAE`. The learning rate is AdamW's at its highest; it rises and falls in
    one cycle.

    Raises:
        TypeError: for values of other types. ValueError: for values out of range.
    """

    data: dict
    test: dict
    labels: dict[str, int]
    network: dict = field(default_factory=dict)
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self):
        for name, what in (("data", "data set"), ("test", "data set"), ("network", "network")):
            require_type(getattr(self, name), dict, name, f"a dict that describes a {what}")
        checked = as_fit_settings(self.epochs, self.batch_size, self.learning_rate, self.seed)
        for name, value in {"labels": as_told(self.labels), **checked}.items():
            object.__setattr__(self, name, value)


_TOLD = recipes.config("Faces32Conditional")
CONFIGS = {
    "FacesVAE32": VAEConfig(
        data=_TOLD.data,
        test={**_TOLD.data, "n": 500, "seed": 200},
        labels=_TOLD.network["labels"],
    ),
}
CONFIGS["FacesVAE32B"] = replace(CONFIGS["FacesVAE32"], seed=1)  # a second training


@dataclass(frozen=True)
class VAEResult:
    """What training leaves behind: the network, the mean negative bound of each epoch in nats,
    and times in seconds; ``cpu_seconds`` counts all threads."""

    network: ConditionalVAE
    losses: list[float]
    seconds: float
    cpu_seconds: float


def config(name: str) -> VAEConfig:
    """The recipe of an autoencoder.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """
    require_known(name, "autoencoder", CONFIGS)
    return CONFIGS[name]


def fit(data: LabeledImages, recipe: VAEConfig, progress: bool = True) -> VAEResult:
    """Fit an autoencoder to labeled images by the evidence lower bound.

    Args:
        data: at least one full batch, with the labels of the recipe.
        recipe: all but its data sets. The same seed on the same machine with as many threads
            gives the same weights.

    Raises:
        ValueError: if the images lack a label, or there are too few of them.
        FloatingPointError: if the loss stops being finite.
    """
    require_type(recipe, VAEConfig, "recipe", "a VAEConfig")
    _check_labels(data, recipe)
    require(
        len(data) >= recipe.batch_size,
        f"data are {len(data)} images; expected at least {recipe.batch_size} (the batch size)",
    )
    start, cpu_start = time.perf_counter(), time.process_time()
    channels, size, _ = data.pixels.shape[1:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = ConditionalVAE(recipe.labels, channels, size, **recipe.network)
    network.to(memory_format=torch.channels_last)
    steps = len(data) // recipe.batch_size
    optimizer = torch.optim.AdamW(network.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, recipe.epochs * steps
    )
    draws = generator(recipe.seed, "training an autoencoder")
    losses = []
    with tqdm(
        total=recipe.epochs * steps * recipe.batch_size,
        desc="autoencoder",
        unit=" images",
        disable=not progress,
    ) as bar:
        for _ in range(recipe.epochs):
            total = 0.0
            order = torch.randperm(len(data), generator=draws)
            for batch in order.split(recipe.batch_size)[:steps]:
                drawn = data.at(batch)
                labels = {name: drawn.labels[name] for name in recipe.labels}
                loss = -evidence_bound(network, drawn.images, labels, draws).elbo.mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rate.step()
                total += float(loss.detach())
                bar.update(recipe.batch_size)
            losses.append(total / steps)
            bar.set_postfix(loss=f"{losses[-1]:.0f}")
            if not math.isfinite(losses[-1]):
                raise FloatingPointError(
                    f"the loss is no longer finite after {len(losses)} epochs; lower the "
                    f"learning rate (now {recipe.learning_rate})"
                )
    return VAEResult(
        network.eval().requires_grad_(False),
        losses,
        time.perf_counter() - start,
        time.process_time() - cpu_start,
    )


def train(name: str, progress: bool = True) -> VAEResult:
    """Train an autoencoder by its recipe; the cards say how long it took. Nothing is written."""
    recipe = config(name)
    return fit(zoo.load_images(recipe.data), recipe, progress)


def evaluate(network: ConditionalVAE, data: LabeledImages, seed: int = 0) -> dict[str, float]:
    """How well an autoencoder describes images, as means over them.

    Returns:
        ``negative_elbo`` and its part ``divergence``, in nats; ``rmse``, the root mean square
        difference of images and the decoded means of their codes; ``rmse_other_latent``, the
        same for codes of other images with the labels of this one; and ``rmse_labels_only``, for
        the latent 0. Pixels lie in [-1, 1].

    Raises:
        ValueError: if there are no images, or they lack a label.
    """
    require_type(network, ConditionalVAE, "network", "a ConditionalVAE")
    _check_labels(data, network)
    seed = as_whole_number(seed, "seed", least=0)
    require(len(data) > 0, "data holds no images to evaluate on")
    draws = generator(seed, "evaluating an autoencoder")
    bounds, divergences, errors = [], [], []
    with torch.no_grad():
        for part in torch.arange(len(data)).split(BATCH):
            drawn = data.at(part)
            x, labels = drawn.images, {name: drawn.labels[name] for name in network.labels}
            bound = evidence_bound(network, x, labels, draws)
            bounds.append(bound.elbo)
            divergences.append(bound.divergence)
            code, _ = network.encode(x, labels)
            latents = (code, code.roll(1, 0), torch.zeros_like(code))
            decoded = torch.stack([network.decode(z, labels) for z in latents])
            errors.append((decoded - x).square().flatten(2).mean(2))
    rmse = torch.cat(errors, 1).mean(1).sqrt().tolist()
    return {
        "negative_elbo": -float(torch.cat(bounds).mean()),
        "divergence": float(torch.cat(divergences).mean()),
        "rmse": rmse[0],
        "rmse_other_latent": rmse[1],
        "rmse_labels_only": rmse[2],
    }


def save(
    name: str, result: VAEResult, folder: Path = CHECKPOINTS, overwrite: bool = False
) -> Path:
    """Evaluate an autoencoder on its test images as it is stored, in half precision, and write
    its weights and card.

    Returns:
        The path of the weights.

    Raises:
        FileExistsError: if there is a checkpoint already and ``overwrite`` is not set.
    """
    recipe = config(name)
    checkpoints.check_free(name, folder, overwrite)
    require_type(result, VAEResult, "result", "a VAEResult")
    weights = {key: value.half() for key, value in result.network.state_dict().items()}
    stored = _build(recipe, result.network.shape)
    checkpoints.require_weights(stored, weights, f"result.network, to be saved as {name},")
    stored.load_state_dict(weights)
    evaluation = evaluate(stored, zoo.load_images(recipe.test))
    description = {
        **asdict(recipe),
        "shape": result.network.shape,
        "parameters": sum(p.numel() for p in result.network.parameters()),
        "seconds": round(result.seconds, 1),
        "cpu_seconds": round(result.cpu_seconds, 1),
        "losses": [round(loss, 2) for loss in result.losses],
        "evaluation": {key: round(value, 5) for key, value in evaluation.items()},
    }
    return checkpoints.save(name, weights, description, folder, overwrite)


def card(name: str, folder: Path = CHECKPOINTS) -> dict:
    """The card of a trained autoencoder: recipe, cost, losses, evaluation and hash.

    Raises:
        ValueError: for an unknown name, or a card that cannot be read or is of another recipe.
        FileNotFoundError: for one not trained yet.
    """
    recipe = asdict(config(name))
    found = checkpoints.card(name, folder)
    checkpoints.require_recipe(name, found, recipe, folder)
    shape = found.get("shape")
    require(
        isinstance(shape, list) and len(shape) == 3 and isinstance(found.get("evaluation"), dict),
        f"{checkpoints.card_path(name, folder)} lacks the shape of images, or the evaluation; "
        f"train again with: make train MODEL={name} OVERWRITE=1",
    )
    return found


def load(name: str, folder: Path = CHECKPOINTS) -> ConditionalVAE:
    """A trained autoencoder, its weights as float32.

    Raises:
        ValueError: for an unknown name, or if the weights do not match the hash in the card.
        FileNotFoundError: if it has not been trained or a file is missing.
    """
    network = _build(config(name), card(name, folder)["shape"])
    checkpoints.load_into(network, name, folder)
    return network


def _build(recipe: VAEConfig, shape: Sequence[int]) -> ConditionalVAE:
    channels, size, _ = shape
    built = ConditionalVAE(recipe.labels, channels, size, **recipe.network)
    return built.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _check_labels(data: LabeledImages, told: VAEConfig | ConditionalVAE) -> None:
    require_type(data, LabeledImages, "data", "LabeledImages")
    for label, classes in told.labels.items():
        require(label in data.classes, unknown_name("label", label, data.classes))
        require(
            len(data.classes[label]) == classes,
            f"one of {classes} classes of {label} is to be told, and the images have "
            f"{', '.join(data.classes[label])}; correct the recipe",
        )
