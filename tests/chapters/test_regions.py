"""Regions: their pixels, counted, and where real faces change."""

import pytest
import torch
from misuse import Use, check, misuses

from chapters.latent_manipulation.regions import Region
from diffot.data import faces

MIDDLE = (0.25, 0.25, 0.75, 0.75)


def mask(part, size=32, **options):
    return Region(part, **options).mask(size)


def test_a_box_scaled_softened_and_turned_inside_out():
    middle = mask(MIDDLE)
    rows, columns = torch.nonzero(middle[0]).T
    assert middle.sum() == 256 and rows.min() == columns.min() == 8
    assert torch.equal(mask(MIDDLE, scale=0.5), mask((0.375, 0.375, 0.625, 0.625)))
    assert torch.equal(mask(MIDDLE, scale=3), mask("all"))
    assert torch.equal(mask(MIDDLE, outside=True), 1 - middle)
    soft = mask(MIDDLE, soft=0.25)
    # an edge from 4 pixels outside to 4 pixels inside
    assert torch.equal(soft[0, 16] > 0, (torch.arange(32) - 15.5).abs() < 12)
    assert torch.equal(soft[0, 16] == 1, (torch.arange(32) - 15.5).abs() < 4)


def test_one_channel():
    blue = mask(MIDDLE, channel="blue")
    assert blue[:2].sum() == 0 and blue[2].sum() == 256
    assert mask("all", 16, channel="red").sum(dim=(1, 2)).tolist() == [256, 0, 0]


@pytest.mark.parametrize("part", ["eyes", "mouth", "hair"])
def test_elsewhere_is_as_large_and_nowhere_the_same(part):
    own = mask(part)
    others = [mask(part, elsewhere=k) for k in range(5)]
    for other in others:
        # a box between pixels holds a row or column more or less
        assert other.sum() == pytest.approx(float(own.sum()), rel=0.2)
        assert (other * own).sum() == 0
    assert torch.equal(others[0], mask(part, elsewhere=0))
    assert len(torch.stack(others).unique(dim=0)) > 1


def test_segmented_eyes_are_where_other_faces_put_on_sunglasses():
    """Of faces with beards, all wear sunglasses under this bias, and nothing else changes."""
    bias = faces.Bias("beard", "sunglasses", "yes", 1.0)
    plain, biased = faces.load(400, seed=200), faces.load(400, seed=200, bias=bias)
    shared = plain.labels["sunglasses"] < biased.labels["sunglasses"]
    changed = (plain.pixels != biased.pixels)[shared].any(1).float()
    assert len(changed) > 40
    box, half, seldom = mask("eyes"), mask("eyes", segmented=0.5), mask("eyes", segmented=0.1)
    # what a mask holds of the changed pixels, and how often its pixels change
    held = [float((changed * m).sum() / changed.sum()) for m in (box, half, seldom)]
    often = [float((changed * m).sum() / (m.sum() * len(changed))) for m in (box, half, seldom)]
    assert held[2] > 0.97 and held[0] > 0.9 and 0.8 < held[1] < held[2]
    assert often[1] > 0.75 and often[1] > often[0] and often[1] > often[2]


def test_regions_that_are_equal_are_one_key():
    assert Region("eyes", scale=1) == Region("eyes", scale=1.0)
    assert hash(Region("eyes", elsewhere=0)) == hash(Region("eyes", elsewhere=0))
    assert type(Region("eyes", scale=2).scale) is float
    assert Region("eyes") != Region("eyes", elsewhere=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"part": "eye"}, "unknown part, or a box, 'eye'; did you mean eyes"),
        ({"part": ""}, "unknown part, or a box, ''"),
        ({"part": "eyes", "scale": -1}, "scale is -1; expected a number above 0"),
        ({"part": "eyes", "segmented": 0}, "segmented is 0; expected a number above 0 and at mo"),
        ({"part": "eyes", "segmented": 1.5}, "segmented is 1.5"),
        ({"part": "eyes", "elsewhere": 0.5}, "elsewhere is 0.5"),
        ({"part": "eyes", "channel": "cyan"}, "unknown channel 'cyan'"),
        ({"part": "all", "soft": 0.1}, r"'all' goes with channel only, not with \['soft'\]"),
        ({"part": "all", "outside": True}, r"'all' goes with channel only, .*outside"),
        ({"part": "eyes", "segmented": 0.5, "soft": 0.1}, r"segmented does not go with \['soft'"),
        ({"part": "face", "segmented": 0.5}, "'face' cannot be segmented; eyes, mouth, hair can"),
        ({"part": (0, 0, 1)}, "part has 3 numbers"),
        ({"part": (0.5, 0.0, 0.2, 1.0)}, "part is .*expected .left, top, right, bottom."),
    ],
)
def test_regions_that_cannot_be(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Region(**arguments)


def test_regions_that_hold_no_pixel():
    with pytest.raises(ValueError, match=r"part=\(0.0, 0.0, 1.0, 1.0\).*holds no pixel"):
        Region((0.0, 0.0, 1.0, 1.0), outside=True).mask(8)


USES = [
    Use(Region, {
        "part": "eyes", "scale": 1.5, "elsewhere": 1, "soft": 0.1, "outside": True,
        "channel": "red",
    }, allowed={"elsewhere": {"None"}, "channel": {"None"}}),
    Use(Region, {"part": "eyes", "segmented": 0.5}, allowed={"segmented": {"None"}}),
    Use(Region("eyes").mask, {"size": 8}),
]  # fmt: skip


@pytest.mark.parametrize(("use", "argument", "value"), misuses(USES))
def test_misuse(use, argument, value):
    check(use, argument, value)
