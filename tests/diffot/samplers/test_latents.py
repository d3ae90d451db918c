import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy import stats

from diffot.data import faces
from diffot.samplers import latents


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_a_box_is_the_slice_that_the_thesis_cut_out():
    for name, (x_1, y_1, x_2, y_2) in {
        "mouth": (95, 178, 160, 205), "eyes": (65, 105, 190, 140), "face": (70, 50, 186, 256),
    }.items():  # fmt: skip
        slices = torch.zeros(1, 256, 256)
        slices[:, y_1:y_2, x_1:x_2] = 1
        assert torch.equal(latents.box_mask(latents.THESIS_BOXES[name], 256), slices)


def test_soft_edges_keep_the_area_and_the_place():
    box = (0.2, 0.3, 0.6, 0.8)
    mask = latents.box_mask(box, 400, soft=0.1)[0].double()
    assert float(mask.mean()) == pytest.approx(0.4 * 0.5, rel=1e-3)
    places = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    assert float((mask.sum(0) * places).sum() / mask.sum()) == pytest.approx(0.4, abs=1e-4)
    assert float((mask.sum(1) * places).sum() / mask.sum()) == pytest.approx(0.55, abs=1e-4)
    row = mask[220]  # at 0.55, far from the upper and lower edge
    assert (row[:60] == 0).all() and (row[100:220] == 1).all() and (row[260:] == 0).all()
    assert (row[60:100].diff() > 0).all() and (row[220:260].diff() < 0).all()


def test_edges_on_the_border_of_the_image_stay_sharp():
    mask = latents.box_mask((0, 0, 1, 0.5), 64, soft=0.2)[0]
    assert (mask[:10] == 1).all() and 0 < mask[31, 0] < 1
    assert (mask == mask[:, :1]).all()


def test_masks_of_channels_add_up_to_that_of_all():
    mask = latents.box_mask(latents.FACE_BOXES["eyes"], 32, soft=0.1)
    parts = [latents.channel_mask(mask, channel) for channel in range(3)]
    assert torch.equal(sum(parts), mask.expand(3, 32, 32))
    assert all((part[k] == mask[0]).all() for k, part in enumerate(parts))


# --- Boxes of the drawn faces -----------------------------------------------------------------


@cache
def _changes(attribute):
    """On other faces than those that the boxes were derived from."""
    return faces.region(attribute, n=150, seed=7)[0].double().numpy()


def _symmetric_boxes(share):
    """All boxes of whole pixels about the middle: corners, area, and the share of the changes."""
    size = len(share)
    sums = np.zeros((size + 1, size + 1))
    sums[1:, 1:] = share.cumsum(0).cumsum(1)
    corners = np.array(
        [
            (left, top, size - left, bottom)
            for left in range(size // 2)
            for top in range(size)
            for bottom in range(top + 1, size + 1)
        ]
    )
    left, top, right, bottom = corners.T
    held = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return corners, (right - left) * (bottom - top), held / sums[-1, -1]


@pytest.mark.parametrize(
    "name, attribute, least",
    [("eyes", "sunglasses", 0.95), ("mouth", "smile", 0.95), ("hair", "hair_color", 0.5)],
)
def test_boxes_of_faces_are_the_smallest_that_hold_the_changes(name, attribute, least):
    """Up to a twentieth of the area, for other faces move an edge of the smallest at times."""
    share = _changes(attribute)
    corners, areas, held = _symmetric_boxes(share)
    ours = (corners == np.array(latents.FACE_BOXES[name]) * 32).all(1)
    assert ours.sum() == 1
    assert held[ours] >= least
    assert areas[ours] <= 1.05 * areas[held >= least].min()
    # and little else: within the box most pixels change in most faces
    left, top, right, bottom = corners[ours][0]
    assert np.mean(share[top:bottom, left:right]) > 0.6
    outside = share.sum() - share[top:bottom, left:right].sum()
    assert outside / (32 * 32 - areas[ours]) < 0.25


def test_hair_lies_outside_of_the_face():
    share = _changes("hair_color")
    corners, areas, held = _symmetric_boxes(share)
    ours = (corners == np.array(latents.FACE_BOXES["face"]) * 32).all(1)
    assert held[ours] < 0.055  # beards have the color of the hair, and their number varies
    assert areas[ours] >= 0.94 * areas[held <= 0.05].max()


# --- Elsewhere --------------------------------------------------------------------------------


def _overlap(one, other):
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0) * max(down, 0)


EYES, MOUTH = latents.FACE_BOXES["eyes"], latents.FACE_BOXES["mouth"]
SMALL, PILLAR = (0.375, 0.5, 0.5625, 0.625), (0.125, 0.0625, 0.25, 0.9375)


@pytest.mark.parametrize(
    "box, avoid",
    [(EYES, []), (MOUTH, []), (MOUTH, [EYES]), (SMALL, [PILLAR])],
    ids=["eyes", "mouth", "mouth, not eyes", "small"],
)
def test_elsewhere_is_uniform_over_the_free_places(box, avoid, generator):
    """As drawing places at random until one is free, which is slow where few are."""
    found = np.array([latents.elsewhere(box, generator, avoid) for _ in range(1500)])
    width, height = box[2] - box[0], box[3] - box[1]
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, 1 - width, 30_000), rng.uniform(0, 1 - height, 30_000)
    tried = np.stack([x, y, x + width, y + height], 1)
    free = np.array([all(_overlap(t, b) == 0 for b in [box, *avoid]) for t in tried])
    expected = tried[free]
    for across, down in [(1, 0), (0, 1), (1, 1), (1, -1)]:
        places = [across * p[:, 0] + down * p[:, 1] for p in (found, expected)]
        assert stats.ks_2samp(*places).pvalue > 1e-3
    assert max(_overlap(f, b) for f in found for b in [box, *avoid]) < 1e-12
    pixels = {int(latents.box_mask(tuple(f), 32).sum()) for f in found[:300]}
    assert pixels == {int(latents.box_mask(box, 32).sum())}


def test_elsewhere_says_when_there_is_no_free_place(generator):
    box = (0.2, 0.2, 0.8, 0.8)
    with pytest.raises(ValueError, match="take a smaller box"):
        latents.elsewhere(box, generator)
    low = (0.0, 0.0, 1.0, 0.4)
    assert latents.elsewhere(low, generator)[1] >= 0.4
    with pytest.raises(ValueError, match=r"and \[\(0.4, 0.6, 0.6, 0.8\)\]; take a smaller box"):
        latents.elsewhere(low, generator, [(0.4, 0.6, 0.6, 0.8)])


# --- Shifts and transfers ---------------------------------------------------------------------


def test_the_shift_of_the_thesis_in_standard_deviations():
    """0.02 over 256 x 256 values in three channels, and over one channel."""
    z = normal(2, 3, 256, 256)
    mask = torch.ones(1, 256, 256)
    whole = latents.coordinate(z + 0.02, mask) - latents.coordinate(z, mask)
    assert whole.tolist() == pytest.approx([8.868, 8.868], abs=1e-3)
    assert latents.in_sigmas(0.02, 3 * 256 * 256) == pytest.approx(8.868, abs=1e-3)
    red = latents.channel_mask(mask, 0)
    assert latents.in_sigmas(0.02, 256 * 256) == pytest.approx(5.12)
    shifted = latents.shift(z, red, 5.12)
    assert (shifted[:, 0] - z[:, 0] - 0.02).abs().max() < 1e-12
    assert torch.equal(shifted[:, 1:], z[:, 1:])
    assert latents.per_value(5.12, 256 * 256) == pytest.approx(0.02)


MASKS = {
    "box": latents.box_mask((0.2, 0.3, 0.7, 0.6), 16),
    "soft": latents.box_mask((0.2, 0.3, 0.7, 0.8), 16, soft=0.3),
    "one channel": latents.channel_mask(latents.box_mask((0.2, 0.3, 0.7, 0.6), 16), 1),
    "of each channel another": torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1)),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_coordinate_is_standard_normal_and_a_shift_moves_nothing_else(name):
    z, mask = normal(4000, 3, 16, 16, dtype=torch.float32), MASKS[name]
    c = latents.coordinate(z, mask)
    assert stats.kstest(c.numpy(), "norm").pvalue > 1e-3
    sigmas = torch.linspace(-4, 4, len(z))
    moved = latents.shift(z, mask, sigmas)
    assert (latents.coordinate(moved, mask) - c - sigmas).abs().max() < 1e-4
    # Pythagoras: a move by s in a direction of coordinate c changes the square norm by this
    more = (moved.double() ** 2 - z.double() ** 2).flatten(1).sum(1)
    assert (more - (2 * c * sigmas + sigmas**2)).abs().max() < 1e-3
    unmasked = (mask == 0).expand(3, 16, 16)
    assert torch.equal(moved[:, unmasked], z[:, unmasked])


def test_the_coordinate_of_a_box_is_its_standardized_mean():
    z = normal(20, 3, 16, 16)
    inside = z[:, :, 4:8, 2:12]  # 0.25 to 0.5 down, 0.125 to 0.75 across
    expected = inside.mean((1, 2, 3)) * math.sqrt(3 * 4 * 10)
    found = latents.coordinate(z, latents.box_mask((0.125, 0.25, 0.75, 0.5), 16))
    assert (found - expected).abs().max() < 1e-12


@pytest.mark.parametrize("name", MASKS)
def test_a_transfer_has_the_law_of_latents(name):
    n = 4000
    recipient, donor = normal(n, 3, 16, 16, seed=2), normal(n, 3, 16, 16, seed=3)
    x = latents.transfer(recipient, donor, MASKS[name]).flatten(1)
    # standardized, the 768 variances over n latents and the means are about N(0, 1)
    for statistic in (x.mean(0) * n**0.5, (x.var(0) - 1) * (n / 2) ** 0.5):
        assert statistic.abs().max() < 5
        assert statistic.std() == pytest.approx(1, abs=0.12)
    m = MASKS[name].expand(3, 16, 16).flatten().double()
    with_donor = (x * donor.flatten(1)).mean(0)
    assert (with_donor**2 - m).abs().mean() < 0.03  # their correlation is the root of the mask


def test_a_transfer_by_a_box_replaces_its_values():
    recipient, donor = normal(4, 3, 16, 16, seed=2), normal(4, 3, 16, 16, seed=3)
    expected = recipient.clone()
    expected[:, :, 8:12, 4:8] = donor[:, :, 8:12, 4:8]
    mask = latents.box_mask((0.25, 0.5, 0.5, 0.75), 16)
    assert torch.equal(latents.transfer(recipient, donor, mask), expected)


def test_the_type_of_the_latents_is_kept():
    for dtype in (torch.float32, torch.float64):
        z = normal(2, 3, 16, 16, dtype=dtype)
        for mask in (MASKS["soft"], MASKS["soft"].double()):
            assert latents.shift(z, mask, 1).dtype == dtype
            assert latents.transfer(z, z, mask).dtype == dtype
            assert latents.coordinate(z, mask).dtype == dtype


Z, BOX = normal(2, 3, 16, 16), MASKS["box"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: latents.box_mask((0.5, 0.2, 0.4, 0.6), 16), "0 <= left < right <= 1"),
        (lambda: latents.box_mask((5, 12, 27, 22), 32), "relative to the image"),
        (lambda: latents.box_mask((0.1, 0.2, 0.4), 16), "has 3 numbers"),
        (lambda: latents.box_mask((0.1, float("nan"), 0.4, 0.5), 16), "a side of box is nan"),
        (lambda: latents.box_mask((0.1, 0.2, 0.4, 0.6), 0), "size is 0"),
        (lambda: latents.box_mask((0.1, 0.1, 0.11, 0.11), 8), "take a larger box"),
        (
            lambda: latents.box_mask((0.1, 0.2, 0.4, 0.6), 16, 0.5),
            "soft is 0.5; expected a number",
        ),
        (lambda: latents.box_mask((0.1, 0.2, 0.4, 0.6), 16, -0.1), "soft is -0.1"),
        (
            lambda: latents.channel_mask(BOX, 3),
            "channel is 3; expected a whole number",
        ),
        (lambda: latents.channel_mask(MASKS["one channel"], 1), r"expected \(1, H, W\)"),
        (lambda: latents.in_sigmas(0.02, 0), "m is 0"),
        (lambda: latents.shift(Z, BOX[:, :8], 1), r"expected \(1, 16, 16\) or \(3, 16, 16\)"),
        (
            lambda: latents.shift(Z, BOX > 0.5, 1),
            r"torch.bool .*; expected a floating",
        ),
        (lambda: latents.shift(Z, 2 * BOX, 1), "values from 0 to 2; expected 0 to 1"),
        (lambda: latents.shift(Z, 0 * BOX, 1), "0 everywhere"),
        (lambda: latents.shift(Z, BOX * float("nan"), 1), "mask holds 256 values that are NaN"),
        (lambda: latents.shift(Z, BOX, torch.ones(3)), r"shape \(3,\) for 2 latents"),
        (lambda: latents.shift(Z, BOX, math.inf), "sigmas holds 1 values that are NaN or inf"),
        (lambda: latents.shift(Z[0, 0, 0], BOX, 1), r"z\[None\]"),
        (lambda: latents.coordinate(Z * math.nan, BOX), "z holds 1536 values"),
        (lambda: latents.transfer(Z, Z[:1], BOX), r"donor torch.float64 of shape \(1, 3"),
        (lambda: latents.transfer(Z, Z.float(), BOX), "donor torch.float32"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
