"""What one map from latents to images does, measured: each function gives one row.

A ``measure`` function takes a task, whose fields are the key of its row, and hands images and
latents to a function of these. In the columns, ``NAME`` is the value of a measure,
``NAME_error`` its standard error, and ``NAME_null_mean``, ``NAME_null_deviation`` and
``NAME_p_value`` compare it with random pairings
(:class:`~diffot.measures.agreement.PermutationTest`).

A task names the ``weights`` behind its maps, as :func:`diffot.learning.latent_maps.hashes` gives
them, and others are refused: a table is about the weights that its tasks name.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffot.errors import require_type
from diffot.estimates import GROUPS, columns
from diffot.learning import datasets, measured, recipes
from diffot.learning.latent_maps import AnyMap, decode, require_hashes
from diffot.measures import quality


@dataclass(frozen=True)
class MapTask:
    """One map that is looked at.

    Attributes:
        latent_map: the map.
        weights: behind it; see the module's description.
        n: number of latents, at least 10.
        seed: of latents and permutations.
    """

    latent_map: AnyMap
    weights: str
    n: int
    seed: int = 0

    def __post_init__(self):
        require_hashes(self.weights, latent_map=self.latent_map)
        measured.set_whole_numbers(self, n=GROUPS, seed=0)


def measure_copies(task: MapTask) -> dict[str, float]:
    """How near a map's images are to the images that its model was trained on.

    Returns:
        One row: ``ratio`` and ``share`` of :class:`~diffot.measures.quality.Nearness`, against n
        held-out images, with their errors.
    """
    require_type(task, MapTask, "task", "a MapTask")
    model = task.latent_map.model
    return copy_columns(
        decode(task.latent_map, task.n, task.seed).clamp(-1, 1),
        datasets.load_images(recipes.config(model).data).images,
        measured.held_out(model, task.n).images,
    )


def copy_columns(images: Tensor, training: Tensor, held_out: Tensor) -> dict[str, float]:
    """The row of :func:`measure_copies`, of images, shape (n, C, H, W) each."""
    near = quality.nearness(
        quality.nearest_distances(images, training),
        quality.nearest_distances(held_out, training),
    )
    return columns("ratio", near.ratio) | columns("share", near.share)
