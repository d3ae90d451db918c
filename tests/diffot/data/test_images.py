import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression

from diffot.data import digits
from diffot.data.images import LabeledImages, flipped


@pytest.fixture
def numbered() -> LabeledImages:
    """Image i has the value 10 i everywhere but in its left column, and its number as label."""
    pixels = torch.arange(0, 250, 10, dtype=torch.uint8).reshape(-1, 1, 1, 1).repeat(1, 3, 4, 4)
    pixels[..., 0] = 255
    classes = {"number": tuple(map(str, range(25))), "odd": ("no", "yes")}
    return LabeledImages(
        pixels, {"number": torch.arange(25), "odd": torch.arange(25) % 2}, classes
    )


def test_values_are_in_the_unit_range(numbered):
    assert numbered.images[0, 0, 0].tolist() == [1, -1, -1, -1]
    steps = numbered.images[:, 0, 0, 1].diff()
    assert torch.allclose(steps, torch.full((24,), 20 / 255), atol=1e-6)


@pytest.mark.parametrize(
    "places", [[3, 1, 1], slice(5, 9), torch.arange(25) % 7 == 0, torch.tensor([24])]
)
def test_a_subset_keeps_images_and_labels_together(numbered, places):
    subset = numbered.at(places)
    assert (subset.pixels[:, 0, 0, 1] == 10 * subset.labels["number"]).all()
    assert torch.equal(subset.labels["number"], torch.arange(25)[places])
    assert len(subset) == len(subset.labels["odd"])


def test_draws_are_uniform_and_carry_their_labels(numbered, generator):
    drawn, labels = numbered.draw_labeled(5000, generator)
    assert torch.equal(drawn, numbered.images[labels["number"]])
    assert torch.equal(labels["number"] % 2, labels["odd"])
    assert stats.chisquare(labels["number"].bincount(minlength=25)).pvalue > 1e-3
    again = numbered.draw(7, torch.Generator().manual_seed(5))
    assert torch.equal(again, numbered.draw(7, torch.Generator().manual_seed(5)))


def test_half_of_the_draws_are_mirrored(numbered, generator):
    drawn = flipped(numbered.draw)(4000, generator)
    left, right = drawn[..., 0] == 1, drawn[..., -1] == 1
    assert torch.equal(left[:, 0, 0], ~right[:, 0, 0])
    assert (left.all((1, 2)) | right.all((1, 2))).all()
    assert stats.binomtest(int(right[:, 0, 0].sum()), 4000).pvalue > 1e-3


@pytest.mark.parametrize(
    "places, meant",
    [
        ([], []),
        (torch.tensor([2, 0], dtype=torch.uint8), [2, 0]),  # for torch a mask, unless told
        (np.array([-1, 3]), [24, 3]),
        (slice(3, 0, -1), [3, 2, 1]),
        (range(2), [0, 1]),
    ],
)
def test_places_are_meant_as_in_python(numbered, places, meant):
    assert numbered.at(places).labels["number"].tolist() == meant


def test_digits_are_what_their_labels_say():
    data = digits.load()
    x = data.images.flatten(1).numpy()
    model = LogisticRegression(C=0.01, max_iter=200).fit(x[:1500], data.labels["digit"][:1500])
    assert model.score(x[1500:], data.labels["digit"][1500:]) > 0.88


def test_digits_are_balanced_in_every_prefix_and_only_change_places():
    data, other = digits.load(), digits.load(seed=1)
    for n in (10, 1230, 5000):
        assert set(data.labels["digit"][:n].bincount().tolist()) == {n // 10}
    assert torch.equal(digits.load(123).pixels, data.pixels[:123])
    contents = [sorted(map(bytes, d.pixels.flatten(1).numpy())) for d in (data, other)]
    assert contents[0] == contents[1] and not torch.equal(data.pixels, other.pixels)
    with pytest.raises(ValueError, match="from 1 to 5000"):
        digits.load(5001)
