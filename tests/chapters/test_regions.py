"""Regions by name: their pixels, counted, and where real faces change."""

import pytest
import torch

from chapters.latent_manipulation import regions
from diffot.data import faces

MIDDLE = "box=0.25,0.25,0.75,0.75"


def test_a_box_scaled_softened_and_turned_inside_out():
    middle = regions.mask(MIDDLE, 32)
    rows, columns = torch.nonzero(middle[0]).T
    assert middle.sum() == 256 and rows.min() == columns.min() == 8
    assert torch.equal(regions.mask(f"{MIDDLE} scale=0.5", 32), regions.mask(
        "box=0.375,0.375,0.625,0.625", 32
    ))  # fmt: skip
    assert torch.equal(regions.mask(f"{MIDDLE} scale=3", 32), regions.mask("all", 32))
    assert torch.equal(regions.mask(f"{MIDDLE} outside", 32), 1 - middle)
    soft = regions.mask(f"{MIDDLE} soft=0.25", 32)
    # an edge from 4 pixels outside to 4 pixels inside
    assert torch.equal(soft[0, 16] > 0, (torch.arange(32) - 15.5).abs() < 12)
    assert torch.equal(soft[0, 16] == 1, (torch.arange(32) - 15.5).abs() < 4)
    assert torch.equal(regions.mask("eyes soft", 32), regions.mask("eyes soft=0.1", 32))


def test_one_channel():
    blue = regions.mask(f"{MIDDLE} blue", 32)
    assert blue[:2].sum() == 0 and blue[2].sum() == 256
    assert regions.mask("all red", 16).sum(dim=(1, 2)).tolist() == [256, 0, 0]


@pytest.mark.parametrize("part", ["eyes", "mouth", "hair"])
def test_elsewhere_is_as_large_and_nowhere_the_same(part):
    own = regions.mask(part, 32)
    others = [regions.mask(f"{part} elsewhere={k}", 32) for k in range(5)]
    for other in others:
        # a box between pixels holds a row or column more or less
        assert other.sum() == pytest.approx(float(own.sum()), rel=0.2)
        assert (other * own).sum() == 0
    assert torch.equal(others[0], regions.mask(f"{part} elsewhere", 32))
    assert len(torch.stack(others).unique(dim=0)) > 1


def test_segmented_eyes_are_where_other_faces_put_on_sunglasses():
    """Of faces with beards, all wear sunglasses under this bias, and nothing else changes."""
    bias = faces.Bias("beard", "sunglasses", "yes", 1.0)
    plain, biased = faces.load(400, seed=200), faces.load(400, seed=200, bias=bias)
    shared = plain.labels["sunglasses"] < biased.labels["sunglasses"]
    changed = (plain.pixels != biased.pixels)[shared].any(1).float()
    assert len(changed) > 40
    box, half, seldom = (
        regions.mask(name, 32) for name in ("eyes", "eyes segmented", "eyes segmented=0.1")
    )
    # what a mask holds of the changed pixels, and how often its pixels change
    held = [float((changed * m).sum() / changed.sum()) for m in (box, half, seldom)]
    often = [float((changed * m).sum() / (m.sum() * len(changed))) for m in (box, half, seldom)]
    assert held[2] > 0.97 and held[0] > 0.9 and 0.8 < held[1] < held[2]
    assert often[1] > 0.75 and often[1] > often[0] and often[1] > often[2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("eye", "unknown region 'eye'; did you mean eyes"),
        ("", "unknown region ''"),
        ("eyes sfot", "unknown option of 'eyes sfot' 'sfot'; did you mean soft"),
        ("eyes scale", "'scale' lacks a number"),
        ("eyes scale=big", "'big' in 'scale=big' is not a number"),
        ("eyes elsewhere=0.5", "'0.5' in 'elsewhere=0.5' is not a whole number"),
        ("eyes scale=-1", "scale is -1; expected a number above 0"),
        ("eyes scale=inf", "scale is inf; expected a number above 0"),
        ("eyes soft=nan", "soft is nan"),
        ("eyes elsewhere=nan", "'nan' in 'elsewhere=nan' is not a whole number"),
        ("eyes segmented=0", "segmented is 0; expected a number above 0 and at most 1"),
        ("eyes soft=0.1 soft=0.2", "'eyes soft=0.1 soft=0.2' has an option twice"),
        ("face outside outside", "has an option twice"),
        ("eyes red blue", r"names the channels \['red', 'blue'\]"),
        ("all soft", "'all' goes with a channel only, not with soft"),
        ("all outside", "nothing is outside of 'all'"),
        ("eyes segmented soft", "'eyes' cannot be segmented and soft"),
        ("face segmented", "'face' cannot be segmented; eyes, mouth, hair can"),
        ("box=0,0,1", "'box=0,0,1' has 3 numbers"),
        ("box=0,0,1,x", "'x' in 'box=0,0,1,x' is not a number"),
        ("box=0.5,0,0.2,1", "expected .left, top, right, bottom."),
    ],
)
def test_misspelt_regions(name, message):
    with pytest.raises(ValueError, match=message):
        regions.mask(name, 32)
