"""Kinds of things that are trained on all images again and again: what a recipe of each says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import nn

from diffot.data.images import LabeledImages
from diffot.errors import as_number, as_whole_number, require, require_known, require_type
from diffot.learning import attributes, autoencoder, masking, networks
from diffot.learning.batches import Epochs
from diffot.learning.configuration import TrainConfig
from diffot.learning.datasets import load_images, require_labels, terms
from diffot.learning.descriptions import called
from diffot.learning.kinds import Recipe
from diffot.learning.objectives import BestWeights, Objective
from diffot.learning.runs import TrainingRun
from diffot.learning.training import TrainResult, train
from diffot.seeds import generator

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class EpochRecipe(Recipe):
    """What is trained on all images again and again, the learning rate in one cycle.

    Data sets are described as in :func:`~diffot.learning.datasets.load_images`.

    Args:
        learning_rate: of AdamW, at its highest.
        seed: of initial weights, order and all other draws. The same seed on the same machine
            with as many threads gives the same weights.

    Raises:
        TypeError: for values of other types. ValueError: for values out of range.
    """

    purpose: ClassVar[str]  # of the random numbers drawn in training
    epochs: int
    batch_size: int = 64
    learning_rate: float
    seed: int = 0

    def _require_dicts(self, *names: str) -> None:
        """Require that these fields describe something: data sets, or the network."""
        for name in names:
            what = "a network" if name == "network" else "a data set"
            require_type(getattr(self, name), dict, name, f"a dict that describes {what}")

    def _set_checked(self, **checked: Any) -> None:
        """Set these fields and those of every kind, checked."""
        checked |= {
            "epochs": as_whole_number(self.epochs, "epochs", least=1),
            "batch_size": as_whole_number(self.batch_size, "batch_size", least=1),
            "learning_rate": as_number(self.learning_rate, "learning_rate", above=0),
            "seed": as_whole_number(self.seed, "seed", least=0),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def _train(
        self,
        make: Callable[[], nn.Module],
        data: LabeledImages,
        objective: Callable[[Any], Objective],
        **more: Any,
    ) -> TrainResult:
        """Train a network made with fresh weights; what else :func:`train` takes as for that."""
        steps = len(data) // self.batch_size
        require(
            steps >= 1,
            f"data are {len(data)} images; expected at least {self.batch_size} (the batch size)",
        )
        config = TrainConfig(
            self.epochs * steps,
            self.batch_size,
            self.learning_rate,
            decay="one-cycle",
            ema=0.0,
            weight_decay=0.01,
            record_every=steps,
        )
        network: Any = networks.seeded(make, self.seed)
        network = network.to(memory_format=torch.channels_last)
        draws = generator(self.seed, self.purpose)
        result = train(network, Epochs(data), objective(network), config, draws, **more)
        result.network.requires_grad_(False)
        return result


@dataclass(frozen=True, kw_only=True)
class ProbeRecipe(EpochRecipe):
    """A probe, which reads the labels of images.

    Args:
        train, validation, test: data sets.
        widths: see :class:`~diffot.learning.attributes.AttributeProbe`.
    """

    train: dict
    validation: dict
    test: dict
    widths: tuple[int, ...] = (32, 64, 128)
    epochs: int = 10
    learning_rate: float = 8e-3
    purpose: ClassVar[str] = "training a probe"
    title: ClassVar[str] = "probe"
    storage: ClassVar[str] = "float32"
    keys: ClassVar[tuple[str, ...]] = ("network", "evaluation")

    def __post_init__(self):
        self._require_dicts(*SPLITS)
        self._set_checked(widths=networks.as_widths(self.widths, attributes.GROUPS, least=1))

    def description(self) -> dict:
        return {"recipe": asdict(self)}

    def split(self, part: str) -> LabeledImages:
        """The images that a probe is trained, validated or tested on.

        Args:
            part: ``"train"``, ``"validation"`` or ``"test"``; no image is in two of them.

        Raises:
            ValueError: for an unknown part.
        """
        require_known(part, "split", SPLITS)
        return load_images(getattr(self, part))

    def examples(self) -> tuple[LabeledImages, LabeledImages]:
        return self.split("train"), self.split("validation")

    def fit(
        self,
        data: LabeledImages,
        validation: LabeledImages,
        progress: bool = True,
        run: TrainingRun | None = None,
    ) -> TrainResult:
        """Fit a probe to these labeled images by cross entropy, and calibrate it.

        Images are augmented (:func:`~diffot.learning.attributes.augmented`), so that the probe
        also reads generated ones, which are slightly blurred, noisy or displaced. The weights of
        the epoch with the lowest ``validation_loss`` are kept; then the temperatures are fitted
        on the validation images.

        Raises:
            TypeError: for arguments of other types.
            ValueError: if the two sets differ in classes or shape, or are too small.
            FloatingPointError: if the loss stops being finite.
        """
        require_type(data, LabeledImages, "data", "LabeledImages")
        require_type(validation, LabeledImages, "validation", "LabeledImages")
        require(
            data.classes == validation.classes
            and data.pixels.shape[1:] == validation.pixels.shape[1:],
            f"{data} and {validation} differ in shape or classes; expected the same",
        )
        require(len(validation) > 0, "validation holds no images; expected at least 1")
        _, channels, size, _ = data.pixels.shape
        best = BestWeights(partial(attributes.validation_loss, data=validation))
        result = self._train(
            lambda: attributes.AttributeProbe(data.classes, channels, size, self.widths),
            data,
            lambda probe: attributes.ProbeLoss(),
            progress=progress,
            run=run,
            validation=best,
        )
        result.network.load_state_dict(best.weights)
        result.network.calibrate(validation)
        return result

    def details(self, network: attributes.AttributeProbe) -> dict:
        sizes = {"channels": network.channels, "size": network.size, "widths": self.widths}
        return {"network": {"classes": network.classes, **sizes}}

    def build(self, card: dict) -> attributes.AttributeProbe:
        return called(attributes.AttributeProbe, card["network"], "network")

    def results(self, result: TrainResult, stored: attributes.AttributeProbe) -> dict:
        losses = result.column("validation_loss")
        table = attributes.evaluate(stored, self.split("test")).table
        return {
            **terms(self.train),
            "validation_losses": [round(loss, 5) for loss in losses],
            "best_epoch": losses.index(min(losses)),
            "evaluation": {
                label: {key: value for key, value in row.items() if not math.isnan(value)}
                for label, row in table.round(5).to_dict(orient="index").items()
            },
        }


@dataclass(frozen=True, kw_only=True)
class AutoencoderRecipe(EpochRecipe):
    """A conditional variational autoencoder.

    Args:
        data, test: data sets.
        labels: those of theirs that condition it, and their numbers of classes.
        network: further arguments of :class:`~diffot.learning.autoencoder.ConditionalVAE`.
    """

    data: dict
    test: dict
    labels: dict[str, int]
    network: dict = field(default_factory=dict)
    epochs: int = 30
    learning_rate: float = 2e-3
    purpose: ClassVar[str] = "training an autoencoder"
    title: ClassVar[str] = "autoencoder"
    storage: ClassVar[str] = "float16"
    keys: ClassVar[tuple[str, ...]] = ("shape", "evaluation")

    def __post_init__(self):
        self._require_dicts("data", "test", "network")
        self._set_checked(labels=autoencoder.as_class_counts(self.labels))

    def description(self) -> dict:
        return asdict(self)

    def examples(self) -> tuple[LabeledImages]:
        return (load_images(self.data),)

    def fit(
        self, data: LabeledImages, progress: bool = True, run: TrainingRun | None = None
    ) -> TrainResult:
        """Fit an autoencoder to these labeled images by the evidence lower bound; the losses are
        in nats.

        Raises:
            ValueError: if the images lack a label, or there are too few of them.
            FloatingPointError: if the loss stops being finite.
        """
        require_labels(data, self.labels)
        card = {"shape": data.pixels.shape[1:]}
        return self._train(
            lambda: self.build(card),
            data,
            lambda network: autoencoder.EvidenceLoss(self.labels, network.latents),
            progress=progress,
            run=run,
        )

    def details(self, network: autoencoder.ConditionalVAE) -> dict:
        return {"shape": network.shape}

    def build(self, card: dict) -> autoencoder.ConditionalVAE:
        channels, size, _ = card["shape"]
        return autoencoder.ConditionalVAE(self.labels, channels, size, **self.network)

    def results(self, result: TrainResult, stored: autoencoder.ConditionalVAE) -> dict:
        evaluation = autoencoder.evaluate(stored, load_images(self.test))
        return {"evaluation": {key: round(value, 5) for key, value in evaluation.items()}}


@dataclass(frozen=True, kw_only=True)
class MaskedRecipe(EpochRecipe):
    """A network for masked images of two tones.

    Args:
        data, test: data sets; of images :func:`~diffot.learning.masking.tones` are seen.
        network: as in :func:`~diffot.learning.networks.build`.
        shape: of the images, (C, H, W).
    """

    data: dict
    test: dict
    network: dict
    shape: tuple[int, int, int]
    epochs: int = 30
    learning_rate: float = 2e-3
    purpose: ClassVar[str] = "training on masked images"
    title: ClassVar[str] = "masked model"
    storage: ClassVar[str] = "float16"
    keys: ClassVar[tuple[str, ...]] = ("evaluation",)

    def __post_init__(self):
        self._require_dicts("data", "test", "network")
        self._set_checked()

    def description(self) -> dict:
        return asdict(self)

    def examples(self) -> tuple[LabeledImages]:
        return (load_images(self.data),)

    def fit(
        self, data: LabeledImages, progress: bool = True, run: TrainingRun | None = None
    ) -> TrainResult:
        """Fit a network to these images; the losses are in nats for each masked token."""
        return self._train(
            lambda: networks.build(self.network, self.seed),
            data,
            lambda network: masking.MaskingLoss(),
            progress=progress,
            run=run,
        )

    def build(self, card: dict) -> nn.Module:
        return networks.build(self.network, seed=0)

    def results(self, result: TrainResult, stored: nn.Module) -> dict:
        x = masking.tones(load_images(self.test).images)
        found = masking.bound(self.loaded(stored), x, generator(0, "hidden pixels of a test"))
        return {"evaluation": {"bound": round(found.value, 5), "error": round(found.error, 5)}}

    def loaded(self, network: nn.Module) -> masking.MaskedNetwork:
        return masking.MaskedNetwork(network, self.shape)
