"""Data sets as recipes describe them: which of the images are taken."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from diffot.learning import datasets, measured, recipes


def pixels(**more):
    return datasets.load_images({"set": "digits", "n": 60, **more}).pixels


def test_parts_of_a_data_set_are_those_of_the_whole():
    whole = pixels()
    assert torch.equal(pixels(skip=20), whole[20:])
    assert torch.equal(pixels(take=20), whole[:20])
    assert torch.equal(pixels(skip=20, take=30), whole[20:50])


@pytest.mark.parametrize("part", [{"skip": 60}, {"take": 61}, {"skip": 50, "take": 11}])
def test_a_part_beyond_the_data_set_is_refused(part):
    with pytest.raises(ValueError, match="expected images among the 60 of digits"):
        pixels(**part)


@pytest.fixture
def cats(tmp_path, monkeypatch):
    """Thirty pictures of one shade each, in the order of their names."""
    folder = tmp_path / "folders" / "afhq" / "train" / "cat"
    folder.mkdir(parents=True)
    for i in range(30):
        Image.fromarray(np.full((8, 8, 3), 8 * i, np.uint8)).save(folder / f"{i:02}.png")
    monkeypatch.setattr(datasets, "FOLDERS", tmp_path / "folders")

    def shades(**more):
        data = {"set": "afhq", "size": 8, "folder": tmp_path / "cache", **more}
        return (datasets.load_images(data).pixels[:, 0, 0, 0] // 8).tolist()

    return shades


@pytest.mark.filterwarnings("ignore:.*has no images of dog")
def test_the_first_images_by_name_and_these_in_random_order(cats):
    assert cats() == list(range(30))
    assert cats(n=10) == list(range(10))
    mixed = cats(n=20, seed=0)
    assert sorted(mixed) == list(range(20)) and mixed != sorted(mixed)
    assert mixed != cats(n=20, seed=1)
    halves = cats(n=20, seed=0, take=10), cats(n=20, seed=0, skip=10)
    assert halves[0] + halves[1] == mixed


@pytest.mark.filterwarnings("ignore:.*has no images of dog")
@pytest.mark.parametrize(
    ("part", "left"),
    [
        ({"skip": 6}, range(6)),
        ({"take": 12}, range(12, 20)),
        ({"skip": 4, "take": 10}, [*range(4), *range(14, 20)]),
    ],
)
def test_what_a_model_of_photographs_leaves_out_is_held_out(
    cats, monkeypatch, tmp_path, part, left
):
    """Of the twenty images in random order, those that the recipe neither skips to nor takes."""
    order = cats(n=20, seed=0)
    data = {"set": "afhq", "size": 8, "n": 20, "seed": 0, **part}
    data["folder"] = str(tmp_path / "cache")
    monkeypatch.setitem(recipes.RECIPES, "Kittens", replace(recipes.config("Cats32"), data=data))
    found = measured.held_out("Kittens", len(left)).pixels[:, 0, 0, 0] // 8
    assert found.tolist() == [order[i] for i in left]
    with pytest.raises(
        ValueError, match=f"expected at most {len(left)}, the images that Kittens"
    ):
        measured.held_out("Kittens", len(left) + 1)


def test_labels_can_be_chosen():
    data = {"set": "faces", "n": 3, "size": 8, "seed": 0}
    whole, part = (datasets.load_images({**data, **m}) for m in ({}, {"labels": ["skin"]}))
    assert list(part.classes) == ["skin"] and len(whole.classes) > 1
    assert torch.equal(part.labels["skin"], whole.labels["skin"])
    with pytest.raises(ValueError, match="did you mean skin"):
        datasets.load_images({**data, "labels": ["skim"]})
    with pytest.raises(TypeError, match="labels"):
        datasets.load_images({**data, "labels": "skin"})


@pytest.mark.filterwarnings("ignore:.*has no images of dog")
def test_more_images_than_there_are(cats):
    with pytest.raises(ValueError, match="has 30 images; 31 are asked for"):
        cats(n=31)


def test_shapes_are_known_without_photographs(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "FOLDERS", tmp_path)
    assert datasets.image_shape(recipes.config("Celeb32A").data) == (3, 32, 32)
    assert datasets.image_shape(recipes.config("Celeb256").data) == (3, 256, 256)
    with pytest.raises(FileNotFoundError):
        datasets.first_image(recipes.config("Celeb32A").data)


def test_one_image_is_enough_whatever_a_recipe_leaves_out():
    data = {"set": "digits", "n": 60, "skip": 50}
    assert len(datasets.first_image(data)) == 1
    assert datasets.image_shape(data) == (1, 28, 28)
