"""What measurements of a named model start from: its weights, checked, and unseen images."""

from __future__ import annotations

from diffot.data.images import LabeledImages
from diffot.denoisers.denoiser import Denoiser
from diffot.errors import as_whole_number, require, require_type
from diffot.learning import checkpoints, recipes, registry
from diffot.learning.datasets import load_images
from diffot.learning.kinds import DenoiserRecipe

HELD_OUT = 200  # seed of images that no model (0 to 2) and no probe (100 to 102) was trained on
BATCH = 50  # latents that pass through a network at a time


def held_out(model: str, n: int) -> LabeledImages:
    """n images of the kind that a model is trained on, which it was not trained on.

    Drawn images have another seed. Of a set that is no larger than it is, they are those that
    follow the model's.

    Raises:
        ValueError: if the model is trained on all images there are.
    """
    data, n = recipes.config(model, DenoiserRecipe).data, as_whole_number(n, "n", least=1)
    require(
        isinstance(data, dict) and "n" in data,
        f"{model} is trained on all of its data, which leaves none to hold out; expected a model "
        "of drawn images or of digits",
    )
    if "seed" in data:
        return load_images({**data, "n": n, "seed": HELD_OUT})
    return load_images({**data, "n": data["n"] + n}).at(slice(data["n"], None))


def load(model: str, weights: str) -> Denoiser:
    """A model, if its weights have the hash that begins so.

    Raises:
        ValueError: if they are others.
    """
    recipes.config(model, DenoiserRecipe)
    require_type(weights, str, "weights", "the first digits of the hash of a model's weights")
    checkpoints.require_hashes(weights, model)
    return registry.load(model)


def checked(n: int, steps: int, seed: int, least: int) -> tuple[int, int, int]:
    """Number of images, at least ``least``; number of steps; and seed, as Python's own."""
    return (
        as_whole_number(n, "n", least=least),
        as_whole_number(steps, "steps", least=1),
        as_whole_number(seed, "seed", least=0),
    )
