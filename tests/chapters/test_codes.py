"""Rows on codes and images, on maps whose images are known."""

import pytest
import torch

from chapters.image_transport import codes
from chapters.image_transport.codes import AssignmentTask, RankTask
from diffot.learning import latent_maps
from diffot.learning.latent_maps import GaussianMap

Z = torch.randn(50, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_ranks_of_an_increasing_map_and_of_an_unrelated_one(generator):
    cubes = Z**3
    cubes[:, 0] = -1
    row = codes.rank_columns(Z, cubes, generator)
    assert row["rank"] == pytest.approx(1) and row["rank_05"] == pytest.approx(1)
    assert row["constant"] == pytest.approx(1 / 3)
    assert row["rank_p_value"] < 0.001 and abs(row["rank_null_mean"]) < 1e-12
    # over 50 latents, a coordinate's correlation spreads by 1/7
    assert row["shifted_95"] == pytest.approx(1.64 / 7, abs=0.03)
    assert abs(row["permuted"]) < 4 / 7 / 2048**0.5  # of 2048 coordinates that vary
    row = codes.rank_columns(Z, Z.roll(1, 1), generator)
    assert abs(row["rank"]) < 4 * row["rank_null_deviation"]
    # the deviation of a mean over 3072 independent coordinates
    assert row["rank_null_deviation"] == pytest.approx(1 / (7 * 3072**0.5), rel=0.1)


def test_ranks_of_a_linear_map_are_those_of_its_latents_and_images():
    digits = GaussianMap("Digits28")
    row = codes.measure_ranks(RankTask(digits, latent_maps.hashes(digits), 20))
    z = latent_maps.latents((1, 28, 28), 20, 0)
    expected = codes.rank_columns(z, latent_maps.decode(digits, 20, 0), torch.Generator())
    assert row["rank"] == expected["rank"] and row["shifted"] == expected["shifted"]


def test_assignment_of_linear_codes_and_of_spoilt_ones():
    digits = GaussianMap("Digits28")

    def row(**options):
        weights = latent_maps.hashes(digits)
        return codes.measure_assignment(
            AssignmentTask("Digits28", digits, weights, 100, **options)
        )

    assert row() == {"fixed": 1.0, "excess": 0.0, "shuffled": 0.0}
    noisy = row(noise=1000.0)
    assert noisy["fixed"] < 0.1 and noisy["excess"] > 0
    shuffled = row(within="digit")
    assert shuffled["shuffled"] > 0.7 and shuffled["fixed"] < 0.5
    with pytest.raises(ValueError, match="unknown within, a label of Digits28 'smile'"):
        row(within="smile")
