"""Figures whose panels are parted for a phone."""

import importlib.util

import numpy as np
import pytest

from diffot.paths import ROOT

SPEC = importlib.util.spec_from_file_location("stacked", ROOT / "book" / "_ext" / "stacked.py")
stacked = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(stacked)

WIDE, HIGH = 1000, 400


def picture(*boxes):
    """White, but for black boxes: left, upper, right, lower."""
    gray = np.full((HIGH, WIDE), 255, np.uint8)
    for left, upper, right, lower in boxes:
        gray[upper:lower, left:right] = 0
    return gray


def test_panels_are_parted_in_the_middle_of_the_white_between_them():
    assert stacked.parts(picture((20, 10, 480, 390), (500, 10, 980, 390))) == [
        (0, 0, 490, HIGH), (490, 0, WIDE, HIGH)
    ]  # fmt: skip


def test_a_legend_below_all_panels_is_a_part_of_its_own():
    panels = (20, 10, 480, 300), (500, 10, 980, 300)
    found = stacked.parts(picture(*panels, (300, 340, 700, 380)))
    assert found == [(13, 0, 490, 320), (490, 0, 987, 320), (293, 320, 707, HIGH)]


@pytest.mark.parametrize(
    "gray",
    [
        picture((20, 10, 980, 390)),  # one panel
        picture((20, 10, 490, 390), (495, 10, 980, 390)),  # hardly any white between them
        picture((20, 10, 100, 390), (110, 10, 980, 390)),  # names beside a wide panel
    ],
)
def test_what_has_no_gap_stays_whole(gray):
    assert stacked.parts(gray) == []


def test_nothing_is_lost():
    gray = picture((20, 10, 480, 300), (500, 10, 980, 300), (300, 340, 700, 380))
    inked = sum((gray[b:d, a:c] < 255).sum() for a, b, c, d in stacked.parts(gray))
    assert inked == (gray < 255).sum()
