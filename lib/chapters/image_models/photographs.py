"""What is measured of the models of photographs and their probe."""

from __future__ import annotations

from dataclasses import dataclass

from chapters.image_models.measurements import QualityTask
from diffot.errors import require_type
from diffot.estimates import GROUPS, columns, share
from diffot.learning import checkpoints, measured, recipes, registry
from diffot.learning.latent_maps import LatentMap, decode

PROBE = "CelebProbe32"
LABELS = recipes.config(PROBE).train["labels"]
STEPS = 20  # of DDIM
# Photographs that a model's own are taken from, and images drawn for its quality.
SIZES = {"Celeb32A": (10_000, 300), "Celeb32B": (10_000, 300), "Cats32": (5153, 120)}
FACES, DRAWN = ("Celeb32A", "Celeb32B"), 256


def qualities() -> dict[str, QualityTask]:
    """One for each model; the features are those of the probe of faces."""
    return {
        name: QualityTask(name, checkpoints.hashes(name), PROBE, n, STEPS, photographs)
        for name, (photographs, n) in SIZES.items()
    }


@dataclass(frozen=True)
class ReadingTask:
    """What the probe reads in faces that a model draws.

    Attributes:
        latent_map: the model and its steps. weights: of the model and the probe.
        n: images, at least 10. seed: of the latents.
    """

    latent_map: LatentMap
    weights: str
    n: int
    seed: int = 0

    def __post_init__(self):
        require_type(self.latent_map, LatentMap, "latent_map", "a LatentMap")
        checkpoints.require_hashes(self.weights, self.latent_map.model, PROBE)
        measured.set_whole_numbers(self, n=GROUPS, seed=0)


def measure_reading(task: ReadingTask) -> dict[str, float]:
    """For each label the share of the images in which it is read."""
    require_type(task, ReadingTask, "task", "a ReadingTask")
    images = decode(task.latent_map, task.n, task.seed).clamp(-1, 1)
    read = registry.load(PROBE).classify(images)
    row: dict[str, float] = {}
    for label in LABELS:
        row |= columns(label, share(read[label] == 1))
    return row


def readings() -> dict[str, ReadingTask]:
    """Of the faces of each model of faces."""
    return {
        name: ReadingTask(LatentMap(name, STEPS), checkpoints.hashes(name, PROBE), DRAWN)
        for name in FACES
    }
