"""Rows of measures, on maps whose agreement is known."""

import math

import pytest
import torch

from chapters.identical_latents import latent_measures
from chapters.identical_latents.latent_measures import weights
from diffot.learning import checkpoints, datasets, measured, recipes, registry
from diffot.measures import distances

SHAPE = (3, 32, 32)


@pytest.fixture
def faces():
    return measured.held_out("Faces32A", 60)


@pytest.fixture
def face_maps(monkeypatch):
    """Puts functions of (latents, image of the linear map) in the place of named maps, the
    linear map being a multiple of the latents."""

    def put(maps):
        def decode(name, n, steps, seed):
            z = latent_measures.latents(SHAPE, n, seed)
            linear = 0.5 * z + 0.1
            return linear if name.startswith("linear ") else maps[name](z, linear)

        monkeypatch.setattr(latent_measures, "decode", decode)

    return put


def test_the_same_images_agree_in_everything(faces):
    probe = registry.load("FacesProbe32")
    row = latent_measures.compare(
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
    row = latent_measures.compare(
        faces.images[:30], faces.images[30:], probe, probe, torch.Generator().manual_seed(0)
    )
    names = [key.removesuffix("_null_mean") for key in row if key.endswith("_null_mean")]
    assert len(names) == 3 + 3 + 6 + 7
    for name in names:
        apart = abs(row[name] - row[f"{name}_null_mean"])
        assert apart <= 4 * row[f"{name}_null_deviation"], name


def test_faces_and_animals_share_the_background_alone(faces):
    animals = measured.held_out("Animals32", 60)
    row = latent_measures.compare(
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


def test_linear_parts_of_maps_of_known_parts(face_maps):
    """Of l + 0.2 (z² - 1) / sqrt 2 with l = z / 2, the share .25 / (.25 + .04) is linear; two
    such maps whose other parts are unrelated agree in the linear part alone."""

    def square(z, linear):
        return linear + 0.2 * (z**2 - 1) / 2**0.5

    def other_square(z, linear):
        return linear + 0.2 * ((z**2 - 1) / 2**0.5).roll(1, -1)

    pair = weights("Faces32A", "Faces32B")
    face_maps({"Faces32A": square, "Faces32B": other_square})
    row = latent_measures.measure_linear("Faces32A", "Faces32B", pair, 150, 5, 0)
    share = 0.25 / 0.29
    for key, expected in [
        ("first_fit", share), ("second_fit", share), ("first_linear", share),
        ("second_linear", share), ("both_linear", 1),
    ]:  # fmt: skip
        assert abs(row[key] - expected) < 5 * row[f"{key}_error"], key
        assert row[f"{key}_error"] < 0.05, key
    assert row["fits"] == pytest.approx(1)
    assert abs(row["rest"]) < 4 * row["rest_error"]
    face_maps({"Faces32A": square, "Faces32B": square})
    row = latent_measures.measure_linear("Faces32A", "Faces32B", pair, 50, 5, 0)
    assert row["rest"] == pytest.approx(1) and row["rest_p_value"] < 0.001
    with pytest.raises(ValueError, match="linear Faces32A is linear"):
        latent_measures.measure_linear(
            "linear Faces32A",
            "Faces32B",
            weights("linear Faces32A", "Faces32B"),
            50,
            5,
            0,
        )


def test_ranks_of_an_increasing_map_and_of_an_unrelated_one(face_maps):
    def cubes(z, linear):
        x = z**3
        x[:, 0] = -1
        return x

    face_maps({"Faces32A": cubes, "Faces32B": lambda z, linear: z.roll(1, 1)})
    row = latent_measures.measure_ranks("Faces32A", weights("Faces32A"), 50, 5, 0)
    assert row["rank"] == pytest.approx(1) and row["rank_05"] == pytest.approx(1)
    assert row["constant"] == pytest.approx(1 / 3)
    assert row["rank_p_value"] < 0.001 and abs(row["rank_null_mean"]) < 1e-12
    # over 50 latents, a coordinate's correlation spreads by 1/7
    assert row["shifted_95"] == pytest.approx(1.64 / 7, abs=0.03)
    assert abs(row["permuted"]) < 4 / 7 / 2048**0.5  # of 2048 coordinates that vary
    row = latent_measures.measure_ranks("Faces32B", weights("Faces32B"), 50, 5, 0)
    assert abs(row["rank"]) < 4 * row["rank_null_deviation"]
    # the deviation of a mean over 3072 independent coordinates
    assert row["rank_null_deviation"] == pytest.approx(1 / (7 * 3072**0.5), rel=0.1)


def test_assignment_of_linear_codes_and_of_spoilt_ones():
    def row(noise=0.0, within=""):
        return latent_measures.measure_assignment(
            "Digits28",
            "linear Digits28",
            weights("Digits28"),
            n=100,
            steps=5,
            noise=noise,
            within=within,
            seed=0,
        )

    assert row() == {"fixed": 1.0, "excess": 0.0, "shuffled": 0.0}
    noisy = row(noise=1000.0)
    assert noisy["fixed"] < 0.1 and noisy["excess"] > 0
    shuffled = row(within="digit")
    assert shuffled["shuffled"] > 0.7 and shuffled["fixed"] < 0.5
    with pytest.raises(ValueError, match="unknown within, a label of Digits28 'smile'"):
        row(within="smile")


def test_a_round_trip_of_digits(tmp_path, monkeypatch):
    """Through the same model and back, digits stay much the same; of other codes they do not."""
    maps = latent_measures.translate
    monkeypatch.setattr(
        latent_measures,
        "translate",
        lambda first, second, n, steps: maps(first, second, n, steps, tmp_path),
    )
    row = latent_measures.measure_translation(
        "Digits28", "Digits28", weights("Digits28"), 20, 10, 0
    )
    assert row["pixels_retrieval"] == 1
    x = measured.held_out("Digits28", 20).images
    apart = distances.distances(x, x.roll(1, 0)).mean()
    assert row["distance"] < apart / 2
    assert "digit" in datasets.load_images({"set": "digits", "n": 1}).classes
    assert row["attribute_digit"] > 0.8


def test_copies_are_near_and_new_faces_are_not(monkeypatch):
    known = datasets.load_images({**recipes.config("Faces32A").data, "n": 300})
    others = measured.held_out("Faces32A", 400).images
    monkeypatch.setattr(latent_measures.datasets, "load_images", lambda data: known)
    for drawn, ratio, share in ((known.images, 0, 1), (others[200:], 1, 0.01)):
        monkeypatch.setattr(
            latent_measures, "decode", lambda name, n, steps, seed, drawn=drawn: drawn[:n]
        )
        row = latent_measures.measure_copies("Faces32A", weights("Faces32A"), 200, 5, seed=0)
        assert row["ratio"] == pytest.approx(ratio, abs=4 * row["ratio_error"] + 1e-6)
        assert row["share"] == pytest.approx(share, abs=4 * row["share_error"] + 1e-6)


def test_an_autoencoder_agrees_with_itself_and_does_what_it_is_told():
    n, hashes = 60, checkpoints.hashes("FacesVAE32")
    same = latent_measures.measure_autoencoders(
        "FacesVAE32", "FacesVAE32", hashes, "the same", n, seed=0
    )
    assert same["pixels"] == pytest.approx(1) and same["attribute_smile"] == 1
    others = latent_measures.measure_autoencoders(
        "FacesVAE32", "FacesVAE32", hashes, "others", n, seed=0
    )
    labels = recipes.RECIPES["FacesVAE32"].test | {"n": 2 * n}
    background = datasets.load_images(labels).labels["background"]
    equal = float((background[:n] == background[n:]).double().mean())
    assert others["attribute_background"] == pytest.approx(equal, abs=0.1)
    with pytest.raises(ValueError, match="told"):
        latent_measures.measure_autoencoders("FacesVAE32", "FacesVAE32", hashes, "all", n, seed=0)


def test_rows_are_about_the_weights_that_are_named():
    names = ("linear Faces32A", "Faces32B", "Faces32A steps=20")
    first, second = latent_measures.weights(*names).split("+")
    assert registry.card("Faces32A")["sha256"].startswith(first)
    assert registry.card("Faces32B")["sha256"].startswith(second)
    with pytest.raises(ValueError, match=r"Faces32A, Faces32B have the hash .* anew"):
        latent_measures.measure_pair("Faces32A", "Faces32B", f"{second}+{first}", 4, 5, 0)
