"""The kinds of things that are trained by name: what a recipe of each says, and what it does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from diffot.data.images import LabeledImages, flipped, mirrored
from diffot.denoisers.network import NetworkDenoiser
from diffot.errors import as_number, as_whole_number, require, require_known, require_type
from diffot.laws import toy
from diffot.laws.mixtures import thesis_mixture
from diffot.learning import attributes, autoencoder, networks
from diffot.learning.batches import Draw, Draws, Epochs
from diffot.learning.datasets import TERMS, load_images, require_labels
from diffot.learning.descriptions import called
from diffot.learning.networks import LARGEST_SEED
from diffot.learning.objectives import BestWeights, DenoisingLoss, Examples, Objective
from diffot.learning.precision import PRECISIONS
from diffot.learning.runs import TrainingRun
from diffot.learning.training import TrainConfig, TrainResult, accelerator, train
from diffot.processes.schedules import Schedule
from diffot.samplers.ddim import ddim
from diffot.seeds import generator

SPLITS = ("train", "validation", "test")
PREVIEWS = 16  # images, always of the same latents
PREVIEW_STEPS = 20  # in which they are drawn


class Recipe(ABC):
    """What is trained, on what and how; frozen dataclasses, one for each kind.

    ``storage`` is the type in which weights are stored; they are loaded as float32. ``keys`` are
    those that a card has to have beside those of all cards. ``title`` is what the kind is called.
    """

    title: ClassVar[str] = "model"
    storage: str
    keys: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def description(self) -> dict:
        """The recipe as a card has it: plain numbers, texts, lists and dicts."""

    @abstractmethod
    def examples(self) -> tuple:
        """What is trained on, as :meth:`fit` takes it."""

    @abstractmethod
    def fit(self, *examples: Any, progress: bool, run: TrainingRun | None) -> TrainResult:
        """Train a fresh network on these examples."""

    def train_network(self, progress: bool = True, run: TrainingRun | None = None) -> TrainResult:
        """Train a fresh network on the examples of the recipe."""
        with accelerator().main_process_first():  # so that one prepares the data for all
            examples = self.examples()
        return self.fit(*examples, progress=progress, run=run)

    def details(self, network: nn.Module) -> dict:
        """What a card says of the network that the recipe leaves to the data."""
        return {}

    @abstractmethod
    def build(self, card: dict) -> nn.Module:
        """A network with fresh weights, for a card that holds its details."""

    def results(self, result: TrainResult, stored: nn.Module) -> dict:
        """What a card says of a training beside what all cards say.

        Args:
            stored: the network with its weights as they are stored.
        """
        return {}

    def compared(self, card: dict) -> tuple[dict, dict]:
        """What a card says of the recipe, and what it should say."""
        return card, self.description()

    def loaded(self, network: nn.Module) -> Any:
        """What a trained network is used as."""
        return network


@dataclass(frozen=True)
class DenoiserRecipe(Recipe):
    """A denoiser: data, noise schedule, network and training.

    Args:
        data: the name of the thesis' model for data in one or two dimensions; for images the data
            set, as in :func:`~diffot.learning.datasets.load_images`, and ``mirror`` if half of
            the images drawn are to be mirrored left to right.
        network: as in :func:`~diffot.learning.networks.build`.
        prediction, label_dropout, coupling: see
            :class:`~diffot.learning.objectives.DenoisingLoss`.
        seed: of initial weights and of everything drawn in training.

    Raises:
        TypeError: for values of other types. ValueError: for values out of range.
    """

    data: str | dict
    schedule: Schedule
    network: dict
    training: TrainConfig
    prediction: str = "eps"
    label_dropout: float = 0.0
    seed: int = 0
    storage: str = "float32"
    coupling: str = "independent"

    def __post_init__(self):
        require_type(self.data, (str, dict), "data", "a name, or a dict for images")
        require_type(self.network, dict, "network", "a dict with a class and its arguments")
        require_type(self.training, TrainConfig, "training", "a TrainConfig")
        require_known(self.storage, "storage", ("float32", "float16"))
        loss = self.loss()
        object.__setattr__(self, "label_dropout", loss.label_dropout)
        seed = as_whole_number(self.seed, "seed", least=0, most=LARGEST_SEED)
        object.__setattr__(self, "seed", seed)

    def description(self) -> dict:
        return {
            "data": self.data,
            "schedule": {"name": self.schedule.name, **self.schedule.parameters},
            "network": self.network,
            "training": {
                **asdict(self.training),
                "seed": self.seed,
                "prediction": self.prediction,
                "label_dropout": self.label_dropout,
                "coupling": self.coupling,
            },
            "storage": self.storage,
        }

    def loss(self) -> DenoisingLoss:
        """What is minimized."""
        return DenoisingLoss(self.schedule, self.prediction, self.label_dropout, self.coupling)

    def draw(self) -> Draw:
        """The data as a function ``(n, generator) -> points``; of a conditional model, with
        its labels."""
        if isinstance(self.data, str):
            return toy.s_curve if self.data == "Low2DSCurve" else thesis_mixture(self.data).sample
        images = load_images(self.data)
        mirror = self.data.get("mirror", False)
        labels = self.network.get("labels")
        if not labels:
            return flipped(images.draw) if mirror else images.draw
        require_labels(images, labels)

        def draw_labeled(n: int, generator: torch.Generator) -> Examples:
            x, drawn = images.draw_labeled(n, generator)
            x = mirrored(x, generator) if mirror else x
            return x, {label: drawn[label] for label in labels}

        return draw_labeled

    def examples(self) -> tuple[Draw]:
        return (self.draw(),)

    def fit(
        self, draw: Draw, progress: bool = True, run: TrainingRun | None = None
    ) -> TrainResult:
        return train(
            networks.build(self.network, self.seed),
            Draws(draw),
            self.loss(),
            self.training,
            torch.Generator().manual_seed(self.seed),
            progress=progress,
            run=run,
            preview=None if isinstance(self.data, str) else self._preview(draw),
        )

    def build(self, card: dict) -> nn.Module:
        return networks.build(self.network, seed=0)

    def results(self, result: TrainResult, stored: nn.Module) -> dict:
        levels = [name for name in result.rows[0] if name.startswith("level_")]
        family = None if isinstance(self.data, str) else self.data["set"]
        return {
            **({"terms": TERMS[family]} if family in TERMS else {}),
            "training": {**self.description()["training"], "precision": result.precision},
            "examples": self.training.iterations * self.training.batch_size,
            "level_losses": [
                [None if row[name] is None else round(row[name], 5) for name in levels]
                for row in result.rows
            ],
        }

    def compared(self, card: dict) -> tuple[dict, dict]:
        there, here = {"storage": "float32", **card}, self.description()
        if isinstance(card.get("training"), dict):
            # cards older than a setting were made with its default
            there["training"] = {**_DEFAULTS, **card["training"]}
            # which precision is faster is a matter of the machine
            if there["training"]["precision"] in PRECISIONS:
                here["training"]["precision"] = there["training"]["precision"]
        return there, here

    def loaded(self, network: nn.Module) -> NetworkDenoiser:
        return NetworkDenoiser(network, self.schedule, self.prediction)

    def _preview(self, draw: Draw) -> Callable[[nn.Module], Tensor]:
        """Images that a network draws from latents, always the same."""
        example, _ = Draws(draw).take(1, torch.Generator().manual_seed(0))
        shape = (PREVIEWS, *example.shape[1:])
        z = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        steps = min(PREVIEW_STEPS, self.schedule.longest_path or PREVIEW_STEPS)
        return lambda network: ddim(self.loaded(network), z, steps)


_DEFAULTS = {
    item.name: item.default
    for item in (*fields(TrainConfig), *fields(DenoiserRecipe))
    if item.default is not MISSING and item.name != "storage"
}


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
        objective: Callable[[nn.Module], Objective],
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
        network = networks.seeded(make, self.seed).to(memory_format=torch.channels_last)
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
        for part in SPLITS:
            require_type(getattr(self, part), dict, part, "a dict that describes a data set")
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

    def details(self, network: nn.Module) -> dict:
        sizes = {"channels": network.channels, "size": network.size, "widths": self.widths}
        return {"network": {"classes": network.classes, **sizes}}

    def build(self, card: dict) -> attributes.AttributeProbe:
        return called(attributes.AttributeProbe, card["network"], "network")

    def results(self, result: TrainResult, stored: nn.Module) -> dict:
        losses = result.column("validation_loss")
        table = attributes.evaluate(stored, self.split("test")).table
        return {
            "validation_losses": [round(loss, 5) for loss in losses],
            "best_epoch": losses.index(min(losses)),
            "evaluation": table.round(5).to_dict(orient="index"),
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
        for name, what in (("data", "data set"), ("test", "data set"), ("network", "network")):
            require_type(getattr(self, name), dict, name, f"a dict that describes a {what}")
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

    def details(self, network: nn.Module) -> dict:
        return {"shape": network.shape}

    def build(self, card: dict) -> autoencoder.ConditionalVAE:
        channels, size, _ = card["shape"]
        return autoencoder.ConditionalVAE(self.labels, channels, size, **self.network)

    def results(self, result: TrainResult, stored: nn.Module) -> dict:
        evaluation = autoencoder.evaluate(stored, load_images(self.test))
        return {"evaluation": {key: round(value, 5) for key, value in evaluation.items()}}
