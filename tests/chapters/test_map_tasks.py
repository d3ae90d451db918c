"""Rows of measures of one map, on maps whose images are known."""

import pytest

from chapters.identical_latents import maps
from chapters.identical_latents.maps import MapTask
from diffot.learning import datasets, latent_maps, measured, recipes
from diffot.learning.latent_maps import LatentMap


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
