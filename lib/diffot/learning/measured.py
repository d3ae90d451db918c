"""What measurements of a named model start from: its weights, checked, and unseen images."""

from __future__ import annotations

from typing import Any

from diffot.data.images import LabeledImages
from diffot.errors import (
    as_whole_number,
    require,
    require_type,
)
from diffot.learning import checkpoints, recipes
from diffot.learning.datasets import DRAWN, load_images

HELD_OUT = 200  # seed of images that no model (0 to 2) and no probe (100 to 102) was trained on


def held_out(model: str, n: int) -> LabeledImages:
    """n images of the kind that a model is trained on, which it was not trained on.

    Drawn images have another seed. Of a set that is no larger than it is, they are those that the
    model's recipe leaves out, in their order: of ``"n"`` images those before and behind the ones
    it takes; of digits, of which there are more, those that follow.

    Raises:
        ValueError: if the model is trained on all images there are, or fewer are left.
    """
    data: Any = getattr(recipes.config(model), "data", None)
    n = as_whole_number(n, "n", least=1)
    require(
        isinstance(data, dict) and "n" in data,
        f"{model} is trained on all of its data, which leaves none to hold out; expected a model "
        "of drawn images, of digits or of a part of some photographs",
    )
    if data["set"] in DRAWN:
        return load_images({**data, "n": n, "seed": HELD_OUT})
    if "seed" not in data:
        return load_images({**data, "n": data["n"] + n}).at(slice(data["n"], None))
    everything = {key: value for key, value in data.items() if key not in ("skip", "take")}
    start = data.get("skip", 0)
    end = start + data.get("take", data["n"] - start)
    left = [*range(start), *range(end, data["n"])]
    require(
        n <= len(left),
        f"n is {n}; expected at most {len(left)}, the images that {model} was not trained on",
    )
    return load_images(everything).at(left[:n])


def require_weights(model: str, weights: str) -> None:
    """Require a known model whose weights have the hash that begins so.

    Raises:
        ValueError: if they are others.
    """
    recipes.config(model)
    require_type(weights, str, "weights", "the first digits of the hash of a model's weights")
    checkpoints.require_hashes(weights, model)


def set_whole_numbers(task: object, **least: int) -> None:
    """Replace fields of a frozen dataclass by Python's own whole numbers, at least as large.

    For its ``__post_init__``: tasks that are equal are then written alike.
    """
    for name, bound in least.items():
        object.__setattr__(task, name, as_whole_number(getattr(task, name), name, least=bound))
