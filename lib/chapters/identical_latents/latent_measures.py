"""What maps from latents to images have in common, measured: each function gives one row.

Maps are named as in :mod:`diffot.learning.latent_maps`. In the columns, ``NAME`` is the value of
a measure, ``NAME_error`` its standard error, and ``NAME_null_mean``, ``NAME_null_deviation`` and
``NAME_p_value`` compare it with random pairings
(:class:`~diffot.measures.agreement.PermutationTest`).

A function is told the ``weights`` behind its maps, as :func:`weights` gives them, and refuses
others: a table is about the weights that its tasks name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import NoneType

import numpy as np
import torch
from torch import Tensor

from diffot import estimates
from diffot.errors import (
    as_number,
    require,
    require_generator,
    require_images,
    require_known,
    require_same_shape,
    require_type,
)
from diffot.estimates import Estimate, jackknife
from diffot.learning import checkpoints, datasets, measured, recipes, registry
from diffot.learning.attributes import AttributeProbe
from diffot.learning.kinds import AutoencoderRecipe
from diffot.learning.latent_maps import decode, encode, latents, parse, translate
from diffot.measures import agreement, distances, quality
from diffot.measures.agreement import PermutationTest
from diffot.measures.linear import explained_variance, linear_share, residuals
from diffot.seeds import generator


def measure_pair(
    first: str, second: str, weights: str, n: int, steps: int, seed: int
) -> dict[str, float]:
    """How much the images of the same latents under two maps have in common.

    Args:
        first, second: maps, of images of the same shape. Of two models of different images, the
            probes read what both have: the background.
        weights: of both; see above.
        n: number of latents, at least 2.
        steps: of DDIM, unless a map's name says otherwise.
        seed: of the latents and of the permutations.

    Returns:
        The row of :func:`compare`.
    """
    n, steps, seed = measured.checked(n, steps, seed, 2)
    _require_weights(weights, first=first, second=second)
    return compare(
        decode(first, n, steps, seed),
        decode(second, n, steps, seed),
        probe_of(first),
        probe_of(second),
        generator(seed, f"permutations, {first} and {second}"),
    )


def measure_translation(
    first: str, second: str, weights: str, n: int, steps: int, seed: int
) -> dict[str, float]:
    """How much n held-out images of the first map's kind have in common with what the second map
    makes of their codes.

    Args:
        first, second: maps; the same twice for the round trip.
        weights: of both; see above.
        seed: of the permutations.

    Returns:
        The row of :func:`compare`, of an image and its translation, and ``distance``, their root
        mean square difference, in the mean.
    """
    n, steps, seed = measured.checked(n, steps, seed, 2)
    _require_weights(weights, first=first, second=second)
    x = measured.held_out(parse(first, steps).model, n).images
    y = translate(first, second, n, steps)
    row = compare(
        x,
        y,
        probe_of(first),
        probe_of(second),
        generator(seed, f"permutations, {first} translated by {second}"),
    )
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
    row = {}
    views = {
        "pixels": lambda images: images,
        "colors": agreement.channel_means,
        "low_pass": agreement.low_pass,
    }
    for name, view in views.items():
        pairs = agreement.correlations(view(x), view(y))
        row |= _test_columns(name, agreement.permutation_test(pairs, generator))
        found = agreement.retrieval(pairs)
        test = agreement.permutation_test(agreement.is_nearest(pairs), generator)
        row |= _test_columns(f"{name}_retrieval", test)
        row |= {f"{name}_retrieval_low": found.low, f"{name}_retrieval_high": found.high}
    for band in agreement.fourier_ring_correlations(x, y, generator).to_dict("records"):
        row |= _columns(f"band_{band.pop('low'):.0f}", band)
    if probe_x and probe_y:
        read = _read_by_both(probe_x, probe_y, x.clamp(-1, 1), y.clamp(-1, 1))
        if read[0]:
            table = agreement.attribute_agreement(*read, generator)
            for label, values in table.iterrows():
                row |= _columns(f"attribute_{label}", values)
    return row


def measure_linear(
    first: str, second: str, weights: str, n: int, steps: int, seed: int
) -> dict[str, float]:
    """How much of two maps, and of what they have in common, is linear.

    Args:
        first, second, weights, n, steps, seed: as in :func:`measure_pair`, n >= 3.

    Returns:
        One row. ``first_fit`` and ``second_fit``: the share of the variance of each map's images
        that its linear map explains; ``first_linear`` and ``second_linear``: the share that the
        best linear map of its latents would (:func:`~diffot.measures.linear.linear_share`);
        ``both_linear``: the share of their covariance that the best linear maps carry.
        ``fits``: the mean correlation of the two linear maps' images; ``rest``: that of the
        residuals after both of them, a partial correlation.

    Raises:
        ValueError: for a linear map, of which no residual is left.
    """
    n, steps, seed = measured.checked(n, steps, seed, 3)
    _require_weights(weights, first=first, second=second)
    names = {"first": first, "second": second}
    for name in names.values():
        require(not parse(name, steps).linear, f"{name} is linear; expected a model's own map")
    z = latents(parse(first, steps).shape(), n, seed)
    draws = generator(seed, f"permutations, linear parts of {first} and {second}")
    images = {key: decode(name, n, steps, seed) for key, name in names.items()}
    fits = {
        key: decode(f"linear {parse(name, steps).model}", n, steps, seed)
        for key, name in names.items()
    }
    row = {}
    for key, x in images.items():
        fit = fits[key]
        row |= _estimate_columns(f"{key}_fit", explained_variance(x, fit))
        share = linear_share(z, x, x, fit, fit)
        row |= _estimate_columns(f"{key}_linear", share)
    share = linear_share(z, *images.values(), *fits.values())
    row |= _estimate_columns("both_linear", share)
    rests = [residuals(x, *fits.values()) for x in images.values()]
    for name, pair in {"fits": fits.values(), "rest": rests}.items():
        test = agreement.permutation_test(agreement.correlations(*pair), draws)
        row |= _test_columns(name, test)
    return row


def measure_ranks(name: str, weights: str, n: int, steps: int, seed: int) -> dict[str, float]:
    """Is each image coordinate an increasing function of its latent's? (Thesis, conjecture 1.)

    Args:
        name: a map; others are as in :func:`measure_pair`, n >= 10.

    Returns:
        One row: ``rank``, the mean over coordinates of Spearman's correlation over latents, with
        its error and against random pairings; ``rank_05``, ``rank_50`` and ``rank_95``, its
        quantiles over coordinates; ``shifted``, ``shifted_05`` and so on, where each latent is
        paired with the image of the next; and ``permuted`` and so on, where each coordinate of
        the latents is paired with another one of the images, drawn at random. Coordinates that
        are constant in the images are left out, and their share is ``constant``.
    """
    n, steps, seed = measured.checked(n, steps, seed, estimates.GROUPS)
    _require_weights(weights, name=name)
    z = latents(parse(name, steps).shape(), n, seed)
    x = decode(name, n, steps, seed)

    def varying(a: Tensor, b: Tensor) -> Tensor:
        ranks = agreement.rank_correlations(a, b)
        return ranks[~ranks.isnan()]

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(varying(torch.from_numpy(a), torch.from_numpy(b)).mean())

    draws = generator(seed, f"permutations, ranks of {name}")
    test = agreement.permutation_test(agreement.rank_similarities(z, x), draws)
    row = {
        **_test_columns("rank", test),
        **_estimate_columns("rank", jackknife(mean, z.numpy(), x.numpy())),
        "constant": 1 - varying(z, x).numel() / z[0].numel(),
    }
    others = torch.randperm(z[0].numel(), generator=draws)
    elsewhere = x.flatten(1)[:, others].reshape(x.shape)
    for key, images in {"rank": x, "shifted": x.roll(1, 0), "permuted": elsewhere}.items():
        ranks = varying(z, images)
        row.setdefault(key, float(ranks.mean()))
        quantiles = ranks.quantile(torch.tensor([0.05, 0.5, 0.95]).double())
        row |= {f"{key}_{q}": float(v) for q, v in zip(("05", "50", "95"), quantiles)}
    return row


def measure_assignment(
    images: str,
    codes: str,
    weights: str,
    n: int,
    steps: int,
    noise: float,
    within: str,
    seed: int,
) -> dict[str, float]:
    """Does optimal assignment leave held-out images with their codes?

    Args:
        images: a model; the images are the first n held out of its kind.
        codes: the map that encodes them.
        weights: of that map; see above.
        noise: standard deviation of noise added to the codes; a code's own is about 1.
        within: a label, to shuffle the codes among images of the same class; "" for not.
        seed: of noise and shuffling.

    Returns:
        One row: ``fixed`` and ``excess`` (:class:`~diffot.measures.agreement.Assignment`), and
        ``shuffled``, the share of codes that the shuffling moved.
    """
    n, steps, seed = measured.checked(n, steps, seed, 2)
    noise = as_number(noise, "noise", at_least=0)
    _require_weights(weights, codes=codes)
    held_out = measured.held_out(images, n)
    require_known(within, f"within, a label of {images}", ["", *held_out.labels])
    z = encode(codes, images, n, steps)
    draws = generator(seed, f"codes of {images} by {codes}")
    order = torch.arange(n)
    if within:
        order = agreement.shuffled_within(held_out.labels[within], draws)
    z = z[order] + noise * torch.randn(z.shape, generator=draws)
    found = agreement.assignment_fixed(held_out.images, z)
    moved = float((order != torch.arange(n)).double().mean())
    return {"fixed": found.fixed, "excess": found.excess, "shuffled": moved}


def measure_copies(name: str, weights: str, n: int, steps: int, seed: int) -> dict[str, float]:
    """How near a map's images are to the images that its model was trained on.

    Args:
        name: a map; others are as in :func:`measure_pair`, n >= 10.

    Returns:
        One row: ``ratio`` and ``share`` of :class:`~diffot.measures.quality.Nearness`, against n
        held-out images, with their errors.
    """
    n, steps, seed = measured.checked(n, steps, seed, estimates.GROUPS)
    _require_weights(weights, name=name)
    model = parse(name, steps).model
    known = datasets.load_images(recipes.config(model).data).images
    drawn = decode(name, n, steps, seed).clamp(-1, 1)
    others = measured.held_out(model, n).images
    near = quality.nearness(
        quality.nearest_distances(drawn, known), quality.nearest_distances(others, known)
    )
    return _estimate_columns("ratio", near.ratio) | _estimate_columns("share", near.share)


def measure_autoencoders(
    first: str, second: str, weights: str, told: str, n: int, seed: int
) -> dict[str, float]:
    """How much the images of the same latents under two conditional autoencoders have in common.

    A control: nothing in the training of an autoencoder asks for optimal transport.

    Args:
        first, second: names in ``recipes.RECIPES``; the same one twice for one network.
        weights: of both, as :func:`diffot.learning.checkpoints.hashes` gives them.
        told: ``"the same"`` if both are told the labels of the same n held-out images,
            ``"others"`` if the second is told those of the next n, which differ at random.
        seed: of the latents and of the permutations.

    Returns:
        The row of :func:`compare`.
    """
    n, _, seed = measured.checked(n, 1, seed, 2)
    require_known(told, "told", ("the same", "others"))
    for name, value in (("first", first), ("second", second), ("weights", weights)):
        require_type(value, str, name, "a text, of an autoencoder or its weights")
    for name in (first, second):
        recipes.config(name, AutoencoderRecipe)
    checkpoints.require_hashes(weights, first, second)
    networks = [registry.load(name) for name in (first, second)]
    held_out = datasets.load_images({**recipes.config(first).test, "n": 2 * n})
    parts = (slice(0, n), slice(0, n) if told == "the same" else slice(n, 2 * n))
    draws = generator(seed, f"autoencoders {first} and {second}, {told}")
    z = torch.randn(n, networks[0].latents, generator=draws)
    with torch.no_grad():
        x, y = (
            network.decode(z, {label: held_out.labels[label][part] for label in network.labels})
            for network, part in zip(networks, parts)
        )
    probe = registry.load("FacesProbe32")
    return compare(x, y, probe, probe, draws)


def weights(*names: str) -> str:
    """The hashes of the weights behind maps, as tasks name them; see
    :func:`diffot.learning.checkpoints.hashes`. Of a linear map, those of its model."""
    return checkpoints.hashes(*_models(names))


def _require_weights(weights: str, **maps: str) -> None:
    require_type(weights, str, "weights", "hashes, as of latent_measures.weights")
    for argument, name in maps.items():
        require_type(name, str, argument, "the name of a map, such as of a model")
    checkpoints.require_hashes(weights, *_models(maps.values()))


def _models(names: Iterable[str]) -> list[str]:
    return [parse(name, 1).model for name in names]


def probe_of(name: str) -> AttributeProbe | None:
    """The probe for what a map draws, if there is one."""
    return registry.probe_for(parse(name, 1).model)


def _read_by_both(
    probe_x: AttributeProbe, probe_y: AttributeProbe, x: Tensor, y: Tensor
) -> list[dict[str, Tensor]]:
    classes_x, classes_y = probe_x.classes, probe_y.classes
    both = [label for label in classes_x if classes_x[label] == classes_y.get(label)]
    read = probe_x.classify(x), probe_y.classify(y)
    return [{label: labels[label] for label in both} for labels in read]


def _columns(name: str, values: Mapping[str, float]) -> dict[str, float]:
    """A column called ``name`` for the value and ``name_KEY`` for all else."""
    return {
        name if key == "value" else f"{name}_{key}": float(number)
        for key, number in values.items()
    }


def _test_columns(name: str, test: PermutationTest) -> dict[str, float]:
    return _columns(name, vars(test))


def _estimate_columns(name: str, estimate: Estimate) -> dict[str, float]:
    return _columns(name, vars(estimate))
