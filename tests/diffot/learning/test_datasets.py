"""Data sets as recipes describe them: which of the images are taken."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffot.learning import datasets


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
def test_more_images_than_there_are(cats):
    with pytest.raises(ValueError, match="has 30 images; 31 are asked for"):
        cats(n=31)
