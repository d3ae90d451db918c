"""Faces and animals."""

import hashlib
import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression

from diffot.data import animals, faces
from diffot.data.drawing import choose, rasterize, vary_color

ADVICE = (
    "the pictures are not those that models were trained on. If neither this code nor the pinned "
    "versions were changed on purpose, install the pinned ones: another rasterizer draws other "
    "pixels. If they were, look at the pictures, raise RECIPE, put the new hash here, and train "
    "those models again"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A cache for all tests of this file."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(
    "module, expected",
    [(faces, "a602480df7866669"), (animals, "1a5416880b919f56")],
)
def test_pixels_are_those_that_models_were_trained_on(module, expected, folder):
    found = hashlib.sha256(module.load(64, folder=folder).pixels.numpy().tobytes()).hexdigest()
    assert found[:16] == expected, ADVICE


@pytest.mark.parametrize("module, draw", [(faces, faces.face), (animals, animals.animal)])
def test_an_image_depends_on_seed_index_and_size_alone(module, draw, folder):
    data = module.load(500, folder=folder)
    assert len({bytes(image) for image in data.pixels.flatten(1).numpy()}) == 500
    large = module.load(20, size=48, folder=folder)
    for index in (0, 7, 19):
        svg, labels = draw(index, 0)
        assert np.array_equal(rasterize(svg, 32), data.pixels[index])
        assert np.array_equal(rasterize(svg, 48), large.pixels[index])
        for name, label in labels.items():
            assert data.labels[name][index] == large.labels[name][index] == label
    assert draw(7, 1) != draw(7, 0)


@pytest.mark.parametrize("module", [faces, animals])
def test_labels_can_be_read_off_held_out_images(module, folder):
    train, test = module.load(500, folder=folder), module.load(500, seed=1, folder=folder)
    x, y = train.images.flatten(1).numpy(), test.images.flatten(1).numpy()
    for name in train.labels:
        model = LogisticRegression(C=0.01, max_iter=100, tol=1e-2).fit(x, train.labels[name])
        # With 500 images a linear model misses every second goatee.
        accuracy = model.score(y, test.labels[name])
        assert accuracy > (0.85 if name == "beard" else 0.9), name


COUNT = 5000


@pytest.fixture(scope="module")
def unbiased() -> dict[str, np.ndarray]:
    return _labels(None)


def _labels(bias) -> dict[str, np.ndarray]:
    drawn = [faces.attributes(index, seed=5, bias=bias) for index in range(COUNT)]
    return {name: np.array([labels[name] for labels in drawn]) for name in drawn[0]}


def _dependence(labels, one: str, other: str) -> float:
    """P-value of independence."""
    return stats.chi2_contingency(stats.contingency.crosstab(labels[one], labels[other]).count)[1]


def test_faces_without_bias_have_independent_attributes(unbiased):
    assert not (unbiased["glasses"] & unbiased["sunglasses"]).any()
    for name, value, share in [
        ("smile", 1, 1 / 2), ("sunglasses", 1, 1 / 4), ("glasses", 1, 1 / 6), ("beard", 1, 0.2),
        ("skin", 2, 0.3), ("hair_color", 0, 0.24), ("background", 3, 0.25),
    ]:  # fmt: skip
        assert stats.binomtest(int((unbiased[name] == value).sum()), COUNT, share).pvalue > 1e-3
    for one, other in itertools.combinations(unbiased, 2):
        if {one, other} != {"glasses", "sunglasses"}:
            assert _dependence(unbiased, one, other) > 1e-3, (one, other)


@pytest.mark.parametrize(
    "bias, value",
    [
        (faces.Bias("sunglasses", "skin", "dark", 0.9), 2),
        (faces.Bias("smile", "glasses", "yes", 0.6), 1),
        (faces.Bias("beard", "hair_color", "red", 0.0), 3),
    ],
)
def test_a_bias_plants_what_it_says_and_nothing_else(bias, value, unbiased):
    biased = _labels(bias)
    given, attribute = biased[bias.given] == 1, biased[bias.attribute]
    assert np.array_equal(biased[bias.given], unbiased[bias.given])
    planted = int((attribute[given] == value).sum())
    assert stats.binomtest(planted, int(given.sum()), bias.probability).pvalue > 1e-3
    assert _dependence(biased, bias.given, bias.attribute) < 1e-20
    assert not (biased["glasses"] & biased["sunglasses"]).any()
    for name, labels in biased.items():
        assert np.array_equal(labels[~given], unbiased[name][~given])
        if name not in (bias.attribute, "sunglasses"):
            assert np.array_equal(labels, unbiased[name])
    others = attribute[given & (attribute != value)]
    if len(others) > 50:  # the other classes keep their proportions
        usual = np.array(list(faces.ATTRIBUTES[bias.attribute].values()))
        usual[value] = 0
        counts = np.bincount(others, minlength=len(usual))
        kept = usual > 0
        expected = usual[kept] / usual.sum() * counts.sum()
        assert kept.sum() == 1 or stats.chisquare(counts[kept], expected).pvalue > 1e-3


def test_a_bias_changes_pixels_only_where_it_changes_an_attribute(folder):
    bias = faces.Bias("sunglasses", "skin", "dark", 0.9)
    plain, biased = faces.load(500, folder=folder), faces.load(500, bias=bias, folder=folder)
    same_skin = plain.labels["skin"] == biased.labels["skin"]
    same_pixels = (plain.pixels == biased.pixels).flatten(1).all(1)
    assert torch.equal(same_pixels, same_skin)
    assert (biased.labels["sunglasses"][~same_skin] == 1).all()


@pytest.mark.parametrize("attribute", ["sunglasses", "smile", "beard"])
def test_a_region_is_where_faces_with_and_without_differ(attribute):
    """Two biases draw the same face with the one class and the other, if it has ``given``."""
    given = "beard" if attribute == "smile" else "smile"
    seeds = [seed for seed in range(40) if faces.attributes(0, seed)[given]][:4]
    for seed in seeds:
        without, with_it = (
            rasterize(faces.face(0, seed, faces.Bias(given, attribute, "yes", p))[0], 32)
            for p in (0.0, 1.0)
        )
        differ = torch.from_numpy((without != with_it).any(0))
        assert differ.any()
        assert torch.equal(faces.region(attribute, n=1, seed=seed)[0], differ.float())


def test_bad_requests_are_explained(tmp_path):
    with pytest.raises(ValueError, match="n is 0"):
        faces.load(0, folder=tmp_path)
    with pytest.raises(ValueError, match="seed is -1"):
        animals.load(1, seed=-1, folder=tmp_path)
    with pytest.raises(ValueError, match="unknown class of skin 'drak'; did you mean dark"):
        faces.Bias("sunglasses", "skin", "drak", 0.9)
    with pytest.raises(ValueError, match="unknown binary attribute 'hair_color'"):
        faces.Bias("hair_color", "skin", "dark", 0.9)
    with pytest.raises(ValueError, match="exclude each other"):
        faces.Bias("glasses", "sunglasses", "yes", 0.9)
    with pytest.raises(ValueError, match="unknown attribute 'sunglass'; did you mean sunglasses"):
        faces.region("sunglass")
    with pytest.raises(ValueError, match="n is 0"):
        faces.region("smile", n=0)
    with pytest.raises(ValueError, match="probability is 90; expected a number from 0 to 1"):
        faces.Bias("smile", "beard", "yes", 90)


def test_choices_follow_their_probabilities():
    u = (np.arange(1000) + 0.5) / 1000
    assert np.bincount([choose(v, [0.2, 0.5, 0.3]) for v in u]).tolist() == [200, 500, 300]
    assert choose(1 - 1e-17, [0.1] * 10) == 9


def test_varied_colors_stay_near_and_valid():
    rng = np.random.default_rng(0)
    colors = [vary_color("#fe8002", rng, lightness=10, hue=5) for _ in range(500)]
    values = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in colors])
    assert (abs(values - [254, 128, 2]) <= 15).all()
    assert values.max(0)[0] == 255 and values.min(0)[2] == 0
    # 10^2/3 + 5^2/3 + 1/12 is the variance of a channel that is not cut off
    assert values[:, 1].var() == pytest.approx(41.75, rel=0.15)
