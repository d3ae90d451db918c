"""Transfers of images in the place of latents, whose outcome is known."""

import math

import numpy as np
import pytest
import torch

from chapters.latent_manipulation import transfers
from chapters.latent_manipulation.readings import Target
from chapters.latent_manipulation.regions import Region
from chapters.latent_manipulation.transfers import Transfers, find_pairs, outcomes
from diffot.data import faces
from diffot.learning import checkpoints, registry
from diffot.samplers import latents

PROBE = registry.load("FacesProbe32")
SUNGLASSES = Target("sunglasses", ("yes",))
LIGHT_HAIR = Target("hair_color", ("blond", "gray"))


def first_faces(n):
    return faces.load(n, seed=200).images


def transplanted(target, region, donors="with", n=60):
    """Images with a region of others, as if they were their own latents, and the row of these."""
    images, receiving, giving = find_pairs(first_faces, PROBE, target, n, donors)
    recipients, donated, mask = images[receiving], images[giving], region.mask(32)
    results = latents.transfer(recipients, donated, mask)
    pairs = Transfers(recipients, donated, results)
    return pairs, outcomes(pairs, PROBE, target, mask)


@pytest.mark.parametrize("target", [SUNGLASSES, LIGHT_HAIR])
def test_everything_is_transferred_with_the_whole_image(target):
    pairs, row = transplanted(target, Region("all"))
    assert row["success"] == 1 and math.isnan(row["color_auc"])
    control, row = transplanted(target, Region("all"), "without")
    assert row["success"] == 0
    assert torch.equal(control.recipients, pairs.recipients)
    # recipients and donors are independent in all else: skins agree by chance
    chance = 0.4**2 + 0.3**2 + 0.3**2
    error = (chance * (1 - chance) / 60) ** 0.5
    assert row["kept_skin"] == pytest.approx(chance, abs=4 * error)
    assert row["distance"] > 0.1


def test_sunglasses_come_with_the_eyes_and_not_with_other_places():
    pairs, row = transplanted(SUNGLASSES, Region("eyes"))
    assert row["success"] > 0.9 and row["kept_smile"] > 0.9
    assert row["outside"] == 0 and row["inside"] > 0.3
    probable = SUNGLASSES.probability(PROBE, pairs.results) > 0.5
    assert row["success"] == float(probable.double().mean())
    for region, donors in [(Region("eyes", elsewhere=0), "with"), (Region("eyes"), "without")]:
        assert transplanted(SUNGLASSES, region, donors)[1]["success"] < 0.1
    # the pairs are those that the labels say, but for what the probe misreads
    wearing = faces.load(600, seed=200).labels["sunglasses"].bool()
    pool = first_faces(600)
    same = [(pairs.recipients == pool[~wearing][:60]), (pairs.donors == pool[wearing][:60])]
    assert all(equal.all((1, 2, 3))[:5].all() for equal in same)


def test_a_target_too_rare():
    pool = faces.load(400, seed=200)
    without = pool.at(pool.labels["sunglasses"] == 0).images
    with pytest.raises(ValueError, match=r"of the first 200 images, \d+ show the target"):
        find_pairs(lambda count: without[:count], PROBE, SUNGLASSES, 50, "with", largest_pool=4)
    with pytest.raises(ValueError, match="unknown donors 'whith'; did you mean with"):
        find_pairs(first_faces, PROBE, SUNGLASSES, 10, "whith")


def test_a_transfer_replaces_the_latents_of_the_region():
    task = transfers.TransferTask(
        "Digits28",
        checkpoints.hashes("Digits28"),
        Target("digit", ("8",)),
        Region("all"),
        "with",
        n=10,
        steps=2,
    )
    pairs = transfers.transfer(task)
    assert torch.allclose(pairs.results, pairs.donors, atol=1e-4)
    row = transfers.measure_transfer(task)
    assert row["success"] == 1 and row.keys().isdisjoint(vars(task))


def test_whether_near_colors_explain_success():
    """Of the 10 ways to choose 2 of 5, one is as extreme on either side."""
    distances = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    success = torch.tensor([True, True, False, False, False])
    assert transfers.color_effect(distances, success) == pytest.approx((1.0, 0.2))
    assert transfers.color_effect(distances, ~success) == pytest.approx((0.0, 0.2))
    assert transfers.color_effect(distances, success[[0, 2, 3, 4, 1]])[0] == 0.5


def test_color_distances():
    x = torch.zeros(2, 3, 4, 4)
    y = x + torch.tensor([0.3, 0.0, 0.4])[:, None, None]
    y[1, :, :2] += 1  # other pixels, the same means
    y[1, :, 2:] -= 1
    expected = (0.25 / 3) ** 0.5
    assert transfers.color_distances(x, y).tolist() == pytest.approx([expected] * 2)


def test_color_error_is_the_deviation_over_random_orders(generator):
    distances = torch.rand(60, generator=generator)
    success = torch.arange(60) < 45
    effects = [
        transfers.color_effect(distances[torch.randperm(60, generator=generator)], success)[0]
        for _ in range(400)
    ]
    # over 400 orders a deviation is off by 1 / sqrt(800) of itself
    assert np.std(effects) == pytest.approx(transfers.color_error(45 / 60, 60), rel=0.14)
