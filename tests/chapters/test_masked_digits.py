"""Masked digits: orders, closed forms, and tasks."""

import math

import pytest
import torch

from chapters.other_processes import masked_digits
from chapters.other_processes.masked_digits import RevealTask, SurpriseTask
from diffot.learning import checkpoints

WEIGHTS = checkpoints.hashes(masked_digits.MODEL)


@pytest.mark.parametrize("order", masked_digits.ORDERS)
@pytest.mark.parametrize("steps", [1, 4, 49])
def test_every_pixel_is_revealed_once(order, steps):
    groups = RevealTask(WEIGHTS, order, steps).groups(torch.Generator().manual_seed(0))
    assert len(groups) == steps
    assert sorted(place for group in groups for place in group) == list(range(784))


def test_pixels_far_apart_are():
    for group in masked_digits.far_apart(16):
        rows, columns = torch.tensor(group) // 28, torch.tensor(group) % 28
        apart = torch.maximum(
            (rows[:, None] - rows).abs(), (columns[:, None] - columns).abs()
        ).fill_diagonal_(99)
        assert apart.min() == 4


def test_independent_pixels_cost_their_cross_entropy():
    train = torch.tensor([[0, 1], [1, 1]])
    found = masked_digits.independent_surprise(torch.tensor([[1, 0]]), train)
    expected = -(math.log(0.5) + math.log(1 / 4)) / 2  # frequencies 2/4 and 3/4 bright
    assert float(found) == pytest.approx(expected)


def test_images_of_two_tones_come_back():
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    toned = masked_digits.two_tones(images)
    assert torch.equal(toned, images.sign())


def test_tasks_refuse_what_they_cannot_measure():
    with pytest.raises(ValueError, match="divisor of 784"):
        RevealTask(WEIGHTS, "random", 5)
    with pytest.raises(ValueError, match="multiple of 20"):
        RevealTask(WEIGHTS, "random", 4, 30)
    with pytest.raises(ValueError, match="at most 784"):
        SurpriseTask(WEIGHTS, 785)
    with pytest.raises(ValueError, match="square of a divisor"):
        RevealTask(WEIGHTS, "far apart", 8).groups(torch.Generator())
