"""Bad input to the measures of images, samples and latents."""

import math

import numpy as np
import pytest
import torch
from misuse import Use, check, expect, misuses

from chapters.identical_latents import maps, pairs
from chapters.image_models import measurements
from chapters.image_transport import codes
from chapters.image_transport import measurements as transport
from chapters.latent_manipulation import brightness, edits, readings, shifts, transfers
from chapters.latent_manipulation.readings import Target
from chapters.latent_manipulation.regions import Region, region_means
from diffot import estimates
from diffot.denoisers.network import as_denoiser
from diffot.learning import checkpoints, latent_maps, measured
from diffot.learning.attributes import AttributeProbe
from diffot.measures import agreement, distances, quality
from diffot.measures.linear import explained_variance, linear_share, residuals
from diffot.processes import schedules
from diffot.transport.linear import LinearMap

N, SHAPE = 12, (1, 4, 4)
CLASSES = {"kind": ("no", "yes"), "tone": ("dark", "gray", "light")}


def draws():
    return torch.Generator().manual_seed(0)


X, Y, Z, EDITED = torch.randn(4, N, *SHAPE, generator=draws()).clamp(-1, 1)
SAME = torch.full_like(X, 0.1)
MASK = torch.zeros(1, 4, 4)
MASK[:, 1:3, 1:3] = 1.0
PAIRS = (X.flatten(1) @ Y.flatten(1).T).double()
KINDS = torch.arange(N) % 2
PROBE = AttributeProbe(CLASSES, channels=1, size=4, widths=(8,)).requires_grad_(False)
PREDICTOR = as_denoiser(lambda x, t: x, schedules.linear(10, 1e-3, 0.2))
LINEAR = LinearMap.fit(X)
POINTS = X.flatten(1).numpy()
NUMBERS = X.flatten(1).mean(1)
DISTANCES = np.linspace(0.1, 0.2, N)
DIRECTIONS = quality.random_directions(16, 5, draws())

DIGITS = "Digits28"
HASH = checkpoints.hashes(DIGITS)
MAP = latent_maps.LatentMap(DIGITS, 5)
NETWORK = transport.Network(DIGITS, HASH, 2)
KIND = Target("kind", ("yes",))
TRANSFERS = transfers.Transfers(X, Y, Z)


def jackknife_of_two(statistic, x, y):
    return estimates.jackknife(statistic, x, y)


QUICK = [
    Use(agreement.correlations, {"x": X, "y": Y}),
    Use(agreement.channel_means, {"images": X}),
    Use(agreement.low_pass, {"images": X, "size": 2}),
    Use(agreement.same_class, {"first": KINDS, "second": KINDS}),
    Use(agreement.is_nearest, {"similarities": PAIRS}),
    Use(
        agreement.permutation_test, {"pairs": PAIRS, "generator": draws(), "permutations": 9}
    ),
    Use(agreement.retrieval, {"similarities": PAIRS}),
    Use(
        agreement.attribute_agreement,
        {
            "first": {"kind": KINDS},
            "second": {"kind": KINDS},
            "generator": draws(),
            "permutations": 9,
        },
    ),
    Use(
        agreement.fourier_ring_correlations,
        {"x": X, "y": Y, "generator": draws(), "permutations": 9},
    ),
    Use(agreement.rank_correlations, {"z": Z, "x": X}),
    Use(agreement.rank_similarities, {"z": Z, "x": X}),
    Use(explained_variance, {"x": X, "prediction": Y}),
    Use(linear_share, {"z": Z, "x": X, "y": Y, "linear_x": Z, "linear_y": Z}),
    Use(agreement.assignment_fixed, {"x": X, "z": Z}),
    Use(agreement.shuffled_within, {"classes": KINDS, "generator": draws()}),
    Use(
        jackknife_of_two,
        {"statistic": lambda a, b: a.mean() - b.mean(), "x": POINTS, "y": POINTS},
    ),
    Use(quality.random_directions, {"dim": 3, "count": 5, "generator": draws()}),
    Use(quality.sliced_wasserstein, {"x": X, "y": Y, "directions": DIRECTIONS}),
    Use(quality.feature_distance, {"probe": PROBE, "x": X, "y": Y}),
    Use(quality.frechet_distance, {"x": POINTS, "y": POINTS}),
    Use(quality.gaussian_samples, {"images": X, "n": 3, "generator": draws()}),
    Use(quality.color_statistics, {"images": X}),
    Use(quality.attribute_frequencies, {"probe": PROBE, "images": X}),
    Use(quality.attribute_distances, {"probe": PROBE, "x": X, "y": Y}),
    Use(quality.nearest_distances, {"images": X, "train": Y}),
    Use(quality.nearness, {"distances": DISTANCES, "held_out": DISTANCES}),
    Use(
        quality.quality_table,
        {
            "samples": X,
            "train": Y,
            "held_out": torch.cat([Z, EDITED]),
            "probe": PROBE,
            "generator": draws(),
        },
    ),
    Use(measurements.in_steps, {"denoiser": PREDICTOR, "z": Z, "counts": [2, 3]}),
    Use(distances.distances, {"x": X, "y": Y}),
    Use(distances.differently_read, {"probe": PROBE, "x": X, "y": Y}),
    Use(
        measurements.sample,
        {"denoiser": PREDICTOR, "shape": SHAPE, "n": 2, "steps": 2, "generator": draws()},
    ),
    Use(measured.held_out, {"model": DIGITS, "n": 2}),
    Use(measured.require_weights, {"model": DIGITS, "weights": HASH}),
    Use(
        edits.edit,
        {
            "denoiser": PREDICTOR, "z": Z, "x": X, "mask": MASK, "sigmas": 1.0, "steps": 2,
            "method": "hold", "seed": 0,
        },
    ),
    Use(shifts.shifted, {"x": X, "y": Y, "mask": MASK}),
    Use(brightness.brightness, {"images": X, "mask": MASK}),
    Use(
        brightness.predictions,
        {"training": Y, "linear": LINEAR, "z": Z, "mask": MASK, "sigmas": 1.0},
        named={"training": "images"},
    ),
    Use(readings.readings, {
        "probe": PROBE, "x": X, "y": Y, "target": KIND
    }, allowed={"target": {"None"}}),
    Use(readings.kept, {"probe": PROBE, "x": X, "y": Y, "target": KIND}),
    Use(
        transfers.outcomes,
        {"transfers": TRANSFERS, "probe": PROBE, "target": KIND, "mask": MASK},
    ),
    Use(edits.change, {"x": X, "y": Y, "mask": MASK}),
    Use(region_means, {"images": X, "mask": MASK}),
    Use(
        brightness.quantile_prediction,
        {"values": NUMBERS, "coordinates": NUMBERS, "sigmas": 1.0},
    ),
    Use(brightness.linear_prediction, {"linear": LINEAR, "mask": MASK, "sigmas": 1.0}),
    Use(transfers.color_distances, {"x": X, "y": Y}),
    Use(transfers.color_effect, {"distances": NUMBERS, "success": KINDS.bool()}),
    Use(transfers.color_error, {"success": 0.25, "n": 12}),
    Use(Target, {"label": "kind", "classes": ("yes",)}, allowed={"label": {"text"}}),
    Use(KIND.numbers, {"probe": PROBE}),
    Use(KIND.shown, {"probe": PROBE, "classes": {"kind": KINDS}}),
    Use(KIND.probability, {"probe": PROBE, "images": X}),
    Use(readings.probe_for, {"model": DIGITS}),
    Use(LinearMap, vars(LINEAR)),
    Use(LinearMap.fit, {"images": X}),
    Use(LINEAR.decode, {"z": Z}),
    Use(LINEAR.encode, {"x": X}),
    Use(latent_maps.GaussianMap, {"data_of": DIGITS}, named={"data_of": ""}),
    Use(latent_maps.LatentMap, {
        "model": DIGITS, "steps": 5, "eta": 0.5, "noise_seed": 1, "labels": (), "label_seed": 0
    }),
    Use(latent_maps.latents, {"shape": SHAPE, "n": 2, "seed": 0}),
    Use(
        pairs.compare,
        {"x": X, "y": Y, "probe_x": PROBE, "probe_y": PROBE, "generator": draws()},
        allowed={"probe_x": {"None"}, "probe_y": {"None"}},
    ),
    Use(estimates.share_error, {"share": 0.25, "n": 12}, allowed={"n": {"half"}}),
]  # fmt: skip

TASK = {"weights": HASH, "n": 10, "seed": 0}
SHIFT = {"model": DIGITS, "region": Region(), "train": 50, "steps": 5, **TASK}
PAIR = pairs.PairTask(MAP, MAP, **TASK)
TASKS = [
    Use(
        measurements.QualityTask,
        {"model": DIGITS, "probe": "DigitsProbe28", "train": 50, "steps": 5, **TASK},
    ),
    Use(measurements.StepsTask, {"model": DIGITS, "probe": "DigitsProbe28", **TASK}),
    Use(
        measurements.ConditionTask,
        {
            **TASK,
            "model": "Faces32Conditional",
            "weights": checkpoints.hashes("Faces32Conditional"),
            "probe": "FacesProbe32",
            "steps": 5,
        },
    ),
    Use(
        shifts.ShiftTask,
        {
            **SHIFT, "sigmas": 1.0, "target": KIND, "images": "drawn", "method": "shift",
        },
        allowed={"target": {"None"}},
    ),
    Use(shifts.BrightnessTask, {**SHIFT, "step": 1.0}),
    Use(
        transfers.TransferTask,
        {
            **TASK, "model": DIGITS, "target": KIND, "region": Region(), "donors": "with",
            "steps": 5,
        },
    ),
    Use(pairs.PairTask, {"first": MAP, "second": MAP, **TASK}),
    Use(maps.MapTask, {"latent_map": MAP, **TASK}),
    Use(codes.RankTask, {"latent_map": MAP, **TASK}),
    Use(transport.AsymmetryTask, {"latent_map": NETWORK, "latent": 0, "probes": 2, "seed": 0}),
    Use(
        transport.PathTask,
        {"latent_map": NETWORK, "latent": 0, "probes": 2, "every": 1, "seed": 0},
    ),
    Use(transport.SpectrumTask, {"latent_map": NETWORK, "latent": 0, "seed": 0}),
    Use(transport.Network, {"model": DIGITS, "weights": HASH, "steps": 2}),
    Use(
        transport.Mixture,
        {"model": DIGITS, "images": 9, "dimension": 2, "components": 2, "steps": 2},
        allowed={"images": {"huge"}},
    ),
    Use(
        transport.GaussianTask,
        {"model": DIGITS, "images": 9, "latents": 2, "probes": 2, "seed": 0},
    ),
    Use(
        transport.AutoencoderTask,
        {
            "name": "FacesVAE32", "latents": 2, "seed": 0,
            "weights": checkpoints.hashes("FacesVAE32"),
        },
        named={"name": "autoencoder"},
    ),
    Use(
        codes.AssignmentTask,
        {"images": DIGITS, "codes": MAP, "noise": 0.5, "within": "digit", **TASK},
        named={"images": "model"},
        allowed={"within": {"None"}},
    ),
    Use(
        pairs.AutoencoderTask,
        {
            "first": "FacesVAE32", "second": "FacesVAE32", "labels": "others", "n": 2, "seed": 0,
            "weights": checkpoints.hashes("FacesVAE32"),
        },
        named={"first": "autoencoder", "second": "autoencoder"},
    ),
]  # fmt: skip
MEASURES = [
    measurements.measure_quality, measurements.measure_steps, measurements.measure_condition,
    shifts.measure_shift, shifts.measure_brightness, transfers.transfer,
    transfers.measure_transfer, pairs.measure_pair, pairs.measure_translation,
    pairs.measure_linear, pairs.measure_autoencoders, codes.measure_ranks, maps.measure_copies,
    codes.measure_assignment, transport.measure_asymmetry, transport.measure_symmetrized,
    transport.measure_gaussian, transport.measure_autoencoder, transport.measure_path,
    transport.measure_spectrum,
]  # fmt: skip
SLOW = [
    *(Use(measure, {"task": PAIR}) for measure in MEASURES),
    Use(edits.start, {"latent_map": MAP, "images": "drawn", "n": 2, "seed": 0}),
    Use(latent_maps.decode, {"latent_map": MAP, "n": 2, "seed": 0}),
    Use(
        latent_maps.encode,
        {"latent_map": MAP, "images": DIGITS, "n": 2},
        named={"images": "model"},
    ),
    Use(latent_maps.translate, {"first": MAP, "second": MAP, "n": 2}),
]


@pytest.mark.parametrize(
    "use", [pytest.param(u, id=u.function.__qualname__) for u in [*QUICK, *TASKS]]
)
def test_good_calls_work(use):
    use.function(**use.arguments)


@pytest.mark.parametrize(("use", "argument", "value"), misuses([*QUICK, *TASKS, *SLOW]))
def test_what_is_spoilt_is_named(use, argument, value):
    check(use, argument, value)


ONE, FEW = X[:1], X[:5]
FACES = latent_maps.LatentMap("Faces32A", 5)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        # what would be broadcast
        (lambda: agreement.correlations(X, ONE), "y (1, 1, 4, 4)"),
        (lambda: explained_variance(X, ONE), "prediction (1, 1, 4, 4)"),
        (lambda: residuals(X, Y, ONE), "regressors[1] (1, 1, 4, 4)"),
        (lambda: linear_share(Z, X, ONE, Z, Z), "y (1, 1, 4, 4)"),
        (lambda: linear_share(Z, X, Y, ONE, Z), "linear_x (1, 1, 4, 4)"),
        (lambda: linear_share(Z, X, Y, Z, Z[:, :, :1]), "linear_y (12, 1, 1, 4)"),
        (lambda: agreement.rank_correlations(Z, ONE), "x (1, 1, 4, 4)"),
        (lambda: agreement.assignment_fixed(X, ONE), "z (1, 1, 4, 4)"),
        (lambda: agreement.same_class(KINDS, KINDS[:1]), "second (1,)"),
        (lambda: agreement.same_class(KINDS[:, None], KINDS), "first has shape (12, 1)"),
        (lambda: quality.sliced_wasserstein(X, FEW, DIRECTIONS), "y (5, 1, 4, 4)"),
        (lambda: quality.sliced_wasserstein(X, Y, DIRECTIONS[:4]), "directions has shape"),
        (lambda: quality.sliced_wasserstein(X, Y, 2 * DIRECTIONS), "not of length 1"),
        (lambda: quality.frechet_distance(POINTS, POINTS[:, :1]), "16 features and y 1"),
        (lambda: quality.nearest_distances(X, Y[:, :, :1]), "train (12, 1, 1, 4)"),
        (lambda: quality.quality_table(X, Y[:, :, :1], X, PROBE, draws()), "train (12, 1, 1"),
        (lambda: distances.distances(X, ONE), "y (1, 1, 4, 4)"),
        (lambda: distances.distances(X[:, :, :0], X[:, :, :0]), "expected images"),
        (lambda: distances.differently_read(PROBE, X, ONE), "y (1, 1, 4, 4)"),
        (lambda: transfers.color_distances(X, ONE), "y (1, 1, 4, 4)"),
        (lambda: edits.change(X, ONE, MASK), "y (1, 1, 4, 4)"),
        (
            lambda: edits.edit(PREDICTOR, Z, FEW, MASK, 1.0, 2),
            "x torch.float32 of shape (5, 1, 4, 4)",
        ),
        (lambda: brightness.quantile_prediction(NUMBERS[:, None], NUMBERS, 1.0), "values"),
        (lambda: brightness.quantile_prediction(NUMBERS, X, 1.0), "coordinates"),
        (lambda: transfers.color_effect(NUMBERS, KINDS[:1].bool()), "success (1,)"),
        (lambda: LINEAR.decode(Z.expand(-1, 3, -1, -1)), "z has shape (12, 3, 4, 4)"),
        (lambda: LINEAR.encode(X[:, :, :1]), "x has shape (12, 1, 1, 4)"),
        (lambda: pairs.compare(X, ONE, None, None, draws()), "y (1, 1, 4, 4)"),
        # masks
        *[
            (lambda function=function, mask=mask: function(mask), "mask")
            for function in (
                lambda mask: region_means(X, mask),
                lambda mask: edits.change(X, Y, mask),
                lambda mask: brightness.linear_prediction(LINEAR, mask, 1.0),
            )
            for mask in (2 * MASK, -MASK, 0 * MASK, MASK[0], MASK[None], MASK[:, :1], KINDS > 0)
        ],
        # counts and shares
        (lambda: agreement.permutation_test(PAIRS, draws(), 0), "permutations is 0"),
        (lambda: agreement.low_pass(X, 3), "3 x 3"),
        (lambda: agreement.low_pass(X, 0), "size is 0"),
        (lambda: agreement.retrieval(PAIRS[:, :4]), "similarities has shape (12, 4)"),
        (lambda: agreement.correlations(ONE, ONE), "x has 1 rows"),
        (lambda: linear_share(*[X[:2]] * 5), "z has 2 rows"),
        (lambda: residuals(X), "regressors"),
        (lambda: estimates.jackknife(np.dot, POINTS, POINTS[:9]), "y has 9 rows"),
        (lambda: estimates.jackknife(np.dot, POINTS, np.array("abc")), "y is"),
        (lambda: quality.frechet_distance(POINTS, POINTS[:1]), "y has shape (1, 16)"),
        (lambda: quality.gaussian_samples(ONE, 3, draws()), "images"),
        (lambda: quality.color_statistics(ONE), "images has shape"),
        (lambda: quality.attribute_frequencies(PROBE, X[:0]), "images"),
        (lambda: quality.nearest_distances(X, X[:0]), "train (0,"),
        (lambda: quality.nearness(-DISTANCES, DISTANCES), "distances"),
        (lambda: quality.nearness(DISTANCES, DISTANCES[:3]), "held_out has 3 rows"),
        (lambda: edits.change(FEW, FEW, MASK), "x has 5 rows"),
        (lambda: transfers.color_error(1.0, 12), "success is 1"),
        (lambda: transfers.color_error(-0.1, 12), "success is -0.1"),
        (lambda: transfers.color_error(0.5, 1), "n is 1"),
        (lambda: estimates.share_error(1.2, 10), "share is 1.2"),
        (lambda: estimates.share_error(-0.2, 10), "share is -0.2"),
        (lambda: estimates.share_error(math.nan, 10), "share is nan"),
        (lambda: estimates.share_error(0.5, 0), "n is 0"),
        (lambda: estimates.share(KINDS), "cases holds int64"),
        (lambda: measurements.in_steps(PREDICTOR, Z, [2, 0]), "counts is 0"),
        (lambda: measured.held_out(DIGITS, 0), "n is 0"),
        (lambda: Region("eyes").mask(0), "size is 0"),
        # values that say nothing
        (lambda: explained_variance(SAME, X), "x are the same"),
        (lambda: linear_share(Z, X, SAME, Z, Z), "y are the same"),
        (
            lambda: agreement.fourier_ring_correlations(SAME, X, draws(), 9),
            "x are the same",
        ),
        (lambda: agreement.rank_similarities(Z, SAME), "in x"),
        (lambda: LinearMap.fit(SAME), "images"),
        (lambda: LinearMap.fit(X[:0]), "images"),
        # what does not fit together
        (
            lambda: LinearMap(LINEAR.mean, LINEAR.axes.T, LINEAR.deviations),
            "axes",
        ),
        (
            lambda: LinearMap(LINEAR.mean, LINEAR.axes, -LINEAR.deviations),
            "deviations",
        ),
        (lambda: latent_maps.latents((4, 4), 2, 0), "shape is (4, 4)"),
        (lambda: latent_maps.latents((1, 0, 4), 2, 0), "side of shape is 0"),
        (lambda: latent_maps.latents((1, 4.0, 4), 2, 0), "side of shape is 4.0"),
        (lambda: latent_maps.encode(FACES, DIGITS, 2), "Digits28 of (1, 28, 28)"),
        (lambda: latent_maps.translate(MAP, FACES, 2), "Faces32A of (3, 32, 32)"),
        (lambda: measurements.unfold({"model": DIGITS}), "row"),
        (lambda: measurements.unfold({"a: b": 1.0, "c: d": 2.0}), "row has 2 columns"),
        (lambda: KIND.shown(PROBE, {"tone": KINDS}), "classes 'kind'"),
        (lambda: transfers.color_effect(NUMBERS, KINDS), "success is"),
        (
            lambda: agreement.attribute_agreement({"kind": NUMBERS}, {"kind": KINDS}, draws()),
            "first is",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, says):
    expect(call, says)


def test_numbers_of_other_libraries_are_numbers():
    expected = latent_maps.latents(SHAPE, 3, 2)
    for n, seed in ((np.int64(3), np.int32(2)), (torch.tensor(3), torch.tensor(2))):
        assert torch.equal(latent_maps.latents(SHAPE, n, seed), expected)
