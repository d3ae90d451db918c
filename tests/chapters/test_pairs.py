"""Rows of measures of two maps, on maps whose agreement is known."""

import math

import pytest
import torch

from chapters.identical_latents import pairs
from chapters.identical_latents.pairs import AutoencoderTask, PairTask
from diffot.learning import checkpoints, datasets, latent_maps, measured, recipes, registry
from diffot.learning.latent_maps import GaussianMap, LatentMap
from diffot.measures import distances

Z = torch.randn(150, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def faces():
    return measured.held_out("Faces32A", 60)


def pair(first, second, n, seed=0):
    return PairTask(first, second, latent_maps.hashes(first, second), n, seed)


def test_the_same_images_agree_in_everything(faces):
    probe = registry.load("FacesProbe32")
    row = pairs.compare(
        faces.images, faces.images, probe, probe, torch.Generator().manual_seed(0)
    )
    for key in ["pixels", "colors", "low_pass", "pixels_retrieval", "attribute_hair_color"]:
        assert row[key] == pytest.approx(1), key
        assert row[f"{key}_p_value"] < 0.001, key
    bands = [key for key in row if key.startswith("band_") and key.count("_") == 1]
    assert bands == [f"band_{k}" for k in (0, 1, 2, 4, 8, 16)]
    assert all(row[band] == pytest.approx(1) for band in bands)
    assert row["attribute_smile_kappa"] == pytest.approx(1)
    assert all(isinstance(value, float) and math.isfinite(value) for value in row.values())


def test_other_images_agree_in_nothing(faces):
    probe = registry.load("FacesProbe32")
    row = pairs.compare(
        faces.images[:30], faces.images[30:], probe, probe, torch.Generator().manual_seed(0)
    )
    names = [key.removesuffix("_null_mean") for key in row if key.endswith("_null_mean")]
    assert len(names) == 3 + 3 + 6 + 7
    for name in names:
        apart = abs(row[name] - row[f"{name}_null_mean"])
        assert apart <= 4 * row[f"{name}_null_deviation"], name


def test_faces_and_animals_share_the_background_alone(faces):
    animals = measured.held_out("Animals32", 60)
    row = pairs.compare(
        faces.images,
        animals.images,
        registry.load("FacesProbe32"),
        registry.load("AnimalsProbe32"),
        torch.Generator().manual_seed(0),
    )
    read = {key.split("_")[1] for key in row if key.startswith("attribute_")}
    assert read == {"background"}
    same = faces.labels["background"] == animals.labels["background"]
    assert row["attribute_background"] == pytest.approx(float(same.double().mean()), abs=0.05)


def test_linear_parts_of_maps_of_known_parts():
    """Of l + 0.2 (z² - 1) / sqrt 2 with l = z / 2, the share .25 / (.25 + .04) is linear; two
    such maps whose other parts are unrelated agree in the linear part alone."""
    linear = 0.5 * Z + 0.1
    bent = 0.2 * (Z**2 - 1) / 2**0.5
    square, other_square = linear + bent, linear + bent.roll(1, -1)
    draws = torch.Generator().manual_seed(0)
    row = pairs.linear_parts(Z, (square, other_square), (linear, linear), draws)
    share = 0.25 / 0.29
    for key, expected in [
        ("first_fit", share), ("second_fit", share), ("first_linear", share),
        ("second_linear", share), ("both_linear", 1),
    ]:  # fmt: skip
        assert abs(row[key] - expected) < 5 * row[f"{key}_error"], key
        assert row[f"{key}_error"] < 0.05, key
    assert row["fits"] == pytest.approx(1)
    assert abs(row["rest"]) < 4 * row["rest_error"]
    few, same = Z[:50], (square[:50], square[:50])
    row = pairs.linear_parts(few, same, (linear[:50], linear[:50]), draws)
    assert row["rest"] == pytest.approx(1) and row["rest_p_value"] < 0.001


def test_what_is_linear_has_no_other_part():
    with pytest.raises(ValueError, match="linear Faces32A is linear"):
        pairs.measure_linear(pair(GaussianMap("Faces32A"), LatentMap("Faces32B", 5), 50))


def test_a_round_trip_of_digits():
    """Through the same model and back, digits stay much the same; of other codes they do not."""
    digits = LatentMap("Digits28", 10)
    row = pairs.measure_translation(pair(digits, digits, 20))
    assert row["pixels_retrieval"] == 1
    x = measured.held_out("Digits28", 20).images
    apart = distances.distances(x, x.roll(1, 0)).mean()
    assert row["distance"] < apart / 2
    assert "digit" in datasets.load_images({"set": "digits", "n": 1}).classes
    assert row["attribute_digit"] > 0.8


def test_an_autoencoder_agrees_with_itself_and_heeds_its_labels():
    n, hashes = 60, checkpoints.hashes("FacesVAE32")
    same = pairs.measure_autoencoders(
        AutoencoderTask("FacesVAE32", "FacesVAE32", hashes, "the same", n)
    )
    assert same["pixels"] == pytest.approx(1) and same["attribute_smile"] == 1
    others = pairs.measure_autoencoders(
        AutoencoderTask("FacesVAE32", "FacesVAE32", hashes, "others", n)
    )
    held_out = recipes.RECIPES["FacesVAE32"].test | {"n": 2 * n}
    background = datasets.load_images(held_out).labels["background"]
    equal = float((background[:n] == background[n:]).double().mean())
    assert others["attribute_background"] == pytest.approx(equal, abs=0.1)
    with pytest.raises(ValueError, match="unknown labels 'all'"):
        AutoencoderTask("FacesVAE32", "FacesVAE32", hashes, "all", n)


def test_rows_are_about_the_weights_that_are_named():
    maps = (LatentMap("Faces32A", 5), LatentMap("Faces32B", 5))
    swapped = latent_maps.hashes(*reversed(maps))
    with pytest.raises(ValueError, match=r"Faces32A, Faces32B have the hash .* anew"):
        PairTask(*maps, swapped, 4)


def test_pairs_that_differ_in_steps_alone_have_draws_of_their_own():
    maps = [LatentMap("Digits28", steps) for steps in (5, 6, 7)]
    first, again, other, swapped = (
        pair(maps[a], maps[b], 4).draws("{} and {}").initial_seed()
        for a, b in ((0, 1), (0, 1), (0, 2), (1, 0))
    )
    assert first == again and len({first, other, swapped}) == 3
