"""What two maps from latents to images have in common, measured: each function gives one row.

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
from types import NoneType

import torch
from torch import Tensor

from diffot.errors import (
    require,
    require_generator,
    require_images,
    require_known,
    require_same_shape,
    require_type,
)
from diffot.estimates import columns
from diffot.learning import checkpoints, datasets, measured, recipes, registry
from diffot.learning.attributes import AttributeProbe
from diffot.learning.epoch_kinds import AutoencoderRecipe
from diffot.learning.latent_maps import (
    AnyMap,
    GaussianMap,
    LatentMap,
    decode,
    latents,
    require_hashes,
    require_map,
    translate,
)
from diffot.measures import agreement, distances
from diffot.measures.linear import explained_variance, linear_share, residuals
from diffot.seeds import generator

LABELS = ("the same", "others")  # what two autoencoders are given


@dataclass(frozen=True)
class PairTask:
    """Two maps that are compared.

    Attributes:
        first, second: maps to images of the same shape. Of two models of different images, the
            probes read what both have: the background.
        weights: of both; see the module's description.
        n: number of latents or images, at least 2.
        seed: of latents and permutations.
    """

    first: AnyMap
    second: AnyMap
    weights: str
    n: int
    seed: int = 0

    def __post_init__(self):
        require_hashes(self.weights, first=self.first, second=self.second)
        measured.set_whole_numbers(self, n=2, seed=0)

    def draws(self, purpose: str) -> torch.Generator:
        """A generator for permutations, by what they are for, with the maps' names in it."""
        second = str(self.second)
        steps = [getattr(m, "steps", None) for m in (self.first, self.second)]
        if None not in steps and steps[0] != steps[1]:
            second += f" steps={steps[1]}"
        return generator(self.seed, f"permutations, {purpose.format(self.first, second)}")


def measure_pair(task: PairTask) -> dict[str, float]:
    """How much the images of the same latents under two maps have in common: :func:`compare`."""
    require_type(task, PairTask, "task", "a PairTask")
    x, y = (decode(latent_map, task.n, task.seed) for latent_map in (task.first, task.second))
    probes = probe_of(task.first), probe_of(task.second)
    return compare(x, y, *probes, task.draws("{} and {}"))


def measure_translation(task: PairTask) -> dict[str, float]:
    """How much n held-out images of the first map's kind have in common with what the second map
    makes of their codes.

    With the same map twice, of the round trip.

    Returns:
        The row of :func:`compare`, of an image and its translation, and ``distance``, their root
        mean square difference, in the mean.
    """
    require_type(task, PairTask, "task", "a PairTask")
    x = measured.held_out(task.first.model, task.n).images
    y = translate(task.first, task.second, task.n)
    readers = probe_of(task.first), probe_of(task.second)
    row = compare(x, y, *readers, task.draws("{} translated by {}"))
    return {**row, "distance": float(distances.distances(x, y).mean())}


def compare(
    x: Tensor,
    y: Tensor,
    probe_x: AttributeProbe | None,
    probe_y: AttributeProbe | None,
    generator: torch.Generator,
) -> dict[str, float]:
    """What the images of the same latents have in common.

    Args:
        x, y: shape (n, C, H, W), image i of either from latent i.
        probe_x, probe_y: to read their attributes, if there are any to read. Images are clamped
            to [-1, 1] for that.

    Returns:
        One row. ``pixels``, ``colors`` (means of the channels) and ``low_pass`` (4 x 4 blocks)
        are mean correlations about the mean images; for each, ``NAME_retrieval`` is the share of
        latents whose image in x has the image in y as its most similar, with its interval from
        ``NAME_retrieval_low`` to ``NAME_retrieval_high``, and is compared with random pairings
        too. ``band_K`` is the correlation in the octave of spatial frequencies from K cycles per
        image, with the shares ``band_K_power_x`` and ``_y`` of the sets' variances.
        ``attribute_LABEL`` is the share of latents with the same class in both images, and
        ``attribute_LABEL_kappa`` Cohen's kappa, with its ``_error``; for labels that both probes
        read and whose classes are the same.
    """
    require_images(x, "x")
    require_images(y, "y")
    require_same_shape(x, y, ("x", "y"))
    for probe, name in ((probe_x, "probe_x"), (probe_y, "probe_y")):
        require_type(probe, (AttributeProbe, NoneType), name, "an AttributeProbe, or None")
    require_generator(generator)
    row: dict[str, float] = {}
    views = {
        "pixels": lambda images: images,
        "colors": agreement.channel_means,
        "low_pass": agreement.low_pass,
    }
    for name, view in views.items():
        pairs = agreement.correlations(view(x), view(y))
        row |= columns(name, agreement.permutation_test(pairs, generator))
        test = agreement.permutation_test(agreement.is_nearest(pairs), generator)
        row |= columns(f"{name}_retrieval", agreement.retrieval(pairs))
        row |= columns(f"{name}_retrieval", test)
    for band in agreement.fourier_ring_correlations(x, y, generator).to_dict("records"):
        row |= _table_columns(f"band_{band.pop('low'):.0f}", band)
    if probe_x and probe_y:
        classes_x, classes_y = _read_by_both(probe_x, probe_y, x.clamp(-1, 1), y.clamp(-1, 1))
        if classes_x:
            table = agreement.attribute_agreement(classes_x, classes_y, generator)
            for label, values in table.iterrows():
                row |= _table_columns(f"attribute_{label}", values)
    return row


def _read_by_both(
    probe_x: AttributeProbe, probe_y: AttributeProbe, x: Tensor, y: Tensor
) -> list[dict[str, Tensor]]:
    """The classes in both sets of images, of the labels that both probes have."""
    classes_x, classes_y = probe_x.classes, probe_y.classes
    both = [label for label in classes_x if classes_x[label] == classes_y.get(label)]
    classes = probe_x.classify(x), probe_y.classify(y)
    return [{label: labels[label] for label in both} for labels in classes]


def _table_columns(name: str, values: dict) -> dict[str, float]:
    """A line of a table of :mod:`~diffot.measures.agreement` as columns called after a name."""
    return {
        name if key == "value" else f"{name}_{key}": float(number)
        for key, number in values.items()
    }


def probe_of(latent_map: AnyMap) -> AttributeProbe | None:
    """The probe for what a map draws, if there is one."""
    require_map(latent_map, "latent_map")
    return registry.probe_for(latent_map.model)


# --- What is linear ---------------------------------------------------------------------------


def measure_linear(task: PairTask) -> dict[str, float]:
    """How much of two maps, and of what they have in common, is linear: :func:`linear_parts`.

    Raises:
        ValueError: for a Gaussian map, of which no residual is left.
    """
    require_type(task, PairTask, "task", "a PairTask")
    maps = (task.first, task.second)
    for latent_map in maps:
        require(
            isinstance(latent_map, LatentMap),
            f"{latent_map} is linear; expected a model's own map",
        )
    (x, y), (fit_x, fit_y) = (
        [decode(latent_map, task.n, task.seed) for latent_map in those]
        for those in (maps, [GaussianMap(latent_map.model) for latent_map in maps])
    )
    z = latents(task.first.shape(), task.n, task.seed)
    return linear_parts(z, (x, y), (fit_x, fit_y), task.draws("linear parts of {} and {}"))


def linear_parts(
    z: Tensor,
    images: tuple[Tensor, Tensor],
    fits: tuple[Tensor, Tensor],
    generator: torch.Generator,
) -> dict[str, float]:
    """How much of two maps, and of what they have in common, is linear.

    Args:
        z: latents, shape (n, C, H, W), n >= 3.
        images: under both maps. fits: under a linear map near each.

    Returns:
        One row. ``first_fit`` and ``second_fit``: the share of the variance of each map's images
        that its linear map explains; ``first_linear`` and ``second_linear``: the share that the
        best linear map of its latents would (:func:`~diffot.measures.linear.linear_share`);
        ``both_linear``: the share of their covariance that the best linear maps carry.
        ``fits``: the mean correlation of the two linear maps' images; ``rest``: that of the
        residuals after both of them, a partial correlation.
    """
    row: dict[str, float] = {}
    for name, x, fit in zip(("first", "second"), images, fits):
        row |= columns(f"{name}_fit", explained_variance(x, fit))
        row |= columns(f"{name}_linear", linear_share(z, x, x, fit, fit))
    row |= columns("both_linear", linear_share(z, *images, *fits))
    rests = [residuals(x, *fits) for x in images]
    for name, pair in {"fits": fits, "rest": rests}.items():
        test = agreement.permutation_test(agreement.correlations(*pair), generator)
        row |= columns(name, test)
    return row


# --- Autoencoders -----------------------------------------------------------------------------


@dataclass(frozen=True)
class AutoencoderTask:
    """Two conditional autoencoders that are compared.

    Attributes:
        first, second: names in ``recipes.RECIPES``; the same one twice for one network.
        weights: of both, as :func:`diffot.learning.checkpoints.hashes` gives them.
        labels: ``"the same"`` if both are given the labels of the same n held-out images,
            ``"others"`` if the second is given those of the next n, which differ at random.
        n: number of latents, at least 2.
        seed: of the latents and of the permutations.
    """

    first: str
    second: str
    weights: str
    labels: str
    n: int
    seed: int = 0

    def __post_init__(self):
        for name in ("first", "second"):
            require_type(getattr(self, name), str, name, "a text, the name of an autoencoder")
            recipes.config(getattr(self, name), AutoencoderRecipe)
        require_known(self.labels, "labels", LABELS)
        checkpoints.require_hashes(self.weights, self.first, self.second)
        measured.set_whole_numbers(self, n=2, seed=0)


def measure_autoencoders(task: AutoencoderTask) -> dict[str, float]:
    """How much the images of the same latents under two conditional autoencoders have in common.

    A control: nothing in the training of an autoencoder asks for optimal transport.

    Returns:
        The row of :func:`compare`.
    """
    require_type(task, AutoencoderTask, "task", "an AutoencoderTask")
    networks = [registry.load(name) for name in (task.first, task.second)]
    n, same = task.n, task.labels == "the same"
    held_out = datasets.load_images({**recipes.config(task.first).test, "n": 2 * n})
    parts = (slice(0, n), slice(0, n) if same else slice(n, 2 * n))
    draws = generator(task.seed, f"autoencoders {task.first} and {task.second}, {task.labels}")
    z = torch.randn(n, networks[0].latents, generator=draws)
    with torch.no_grad():
        x, y = (
            network.decode(z, {label: held_out.labels[label][part] for label in network.labels})
            for network, part in zip(networks, parts)
        )
    probe = registry.load("FacesProbe32")
    return compare(x, y, probe, probe, draws)
