"""Rows of measures of one map, on maps whose images are known."""

import pytest
import torch

from chapters.identical_latents import maps
from chapters.identical_latents.maps import AssignmentTask, MapTask
from diffot.learning import datasets, latent_maps, measured, recipes
from diffot.learning.latent_maps import GaussianMap, LatentMap

Z = torch.randn(50, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_ranks_of_an_increasing_map_and_of_an_unrelated_one(generator):
    cubes = Z**3
    cubes[:, 0] = -1
    row = maps.rank_columns(Z, cubes, generator)
    assert row["rank"] == pytest.approx(1) and row["rank_05"] == pytest.approx(1)
    assert row["constant"] == pytest.approx(1 / 3)
    assert row["rank_p_value"] < 0.001 and abs(row["rank_null_mean"]) < 1e-12
    # over 50 latents, a coordinate's correlation spreads by 1/7
    assert row["shifted_95"] == pytest.approx(1.64 / 7, abs=0.03)
    assert abs(row["permuted"]) < 4 / 7 / 2048**0.5  # of 2048 coordinates that vary
    row = maps.rank_columns(Z, Z.roll(1, 1), generator)
    assert abs(row["rank"]) < 4 * row["rank_null_deviation"]
    # the deviation of a mean over 3072 independent coordinates
    assert row["rank_null_deviation"] == pytest.approx(1 / (7 * 3072**0.5), rel=0.1)


def test_ranks_of_a_linear_map_are_those_of_its_latents_and_images():
    digits = GaussianMap("Digits28")
    row = maps.measure_ranks(MapTask(digits, latent_maps.hashes(digits), 20))
    z = latent_maps.latents((1, 28, 28), 20, 0)
    expected = maps.rank_columns(z, latent_maps.decode(digits, 20, 0), torch.Generator())
    assert row["rank"] == expected["rank"] and row["shifted"] == expected["shifted"]


def test_assignment_of_linear_codes_and_of_spoilt_ones():
    digits = GaussianMap("Digits28")

    def row(**options):
        weights = latent_maps.hashes(digits)
        return maps.measure_assignment(
            AssignmentTask("Digits28", digits, weights, 100, **options)
        )

    assert row() == {"fixed": 1.0, "excess": 0.0, "shuffled": 0.0}
    noisy = row(noise=1000.0)
    assert noisy["fixed"] < 0.1 and noisy["excess"] > 0
    shuffled = row(within="digit")
    assert shuffled["shuffled"] > 0.7 and shuffled["fixed"] < 0.5
    with pytest.raises(ValueError, match="unknown within, a label of Digits28 'smile'"):
        row(within="smile")


def test_copies_are_near_and_new_faces_are_not():
    training = datasets.load_images({**recipes.config("Faces32A").data, "n": 300}).images
    others = measured.held_out("Faces32A", 400).images
    for drawn, ratio, share in ((training[:200], 0, 1), (others[200:], 1, 0.01)):
        row = maps.copy_columns(drawn, training, others[:200])
        assert row["ratio"] == pytest.approx(ratio, abs=4 * row["ratio_error"] + 1e-6)
        assert row["share"] == pytest.approx(share, abs=4 * row["share_error"] + 1e-6)


def test_few_latents_have_no_standard_errors():
    digits = LatentMap("Digits28", 5)
    with pytest.raises(ValueError, match="n is 9; expected a whole number of at least 10"):
        MapTask(digits, latent_maps.hashes(digits), 9)
