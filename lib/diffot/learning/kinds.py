"""The kinds of things that are trained by name: what a recipe of each says, and what it does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from diffot.data.images import flipped, mirrored
from diffot.denoisers.network import NetworkDenoiser
from diffot.errors import as_whole_number, require_known, require_type
from diffot.laws import toy
from diffot.laws.mixtures import thesis_mixture
from diffot.learning import networks
from diffot.learning.batches import Draw, Draws
from diffot.learning.configuration import TrainConfig
from diffot.learning.datasets import load_images, require_labels, terms
from diffot.learning.networks import LARGEST_SEED
from diffot.learning.objectives import DenoisingLoss, Examples
from diffot.learning.precision import PRECISIONS
from diffot.learning.runs import TrainingRun
from diffot.learning.training import TrainResult, accelerator, train
from diffot.processes.schedules import Schedule
from diffot.samplers.ddim import ddim

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
    def fit(self, *examples: Any, **settings: Any) -> TrainResult:
        """Train a fresh network on these examples; ``progress`` and ``run`` as for ``train``."""

    def train_network(self, progress: bool = True, run: TrainingRun | None = None) -> TrainResult:
        """Train a fresh network on the examples of the recipe."""
        with accelerator().main_process_first():  # so that one prepares the data for all
            examples = self.examples()
        return self.fit(*examples, progress=progress, run=run)

    def details(self, network: Any) -> dict:
        """What a card says of the network that the recipe leaves to the data."""
        return {}

    @abstractmethod
    def build(self, card: dict) -> nn.Module:
        """A network with fresh weights, for a card that holds its details."""

    def results(self, result: TrainResult, stored: Any) -> dict:
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
        return {
            **terms(self.data),
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
