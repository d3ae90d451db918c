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
        (13, 0, 490, HIGH), (490, 0, 987, HIGH)
    ]  # fmt: skip


def test_a_legend_below_all_panels_is_a_part_of_its_own():
    panels = (20, 10, 480, 300), (500, 10, 980, 300)
    found = stacked.parts(picture(*panels, (300, 340, 700, 380)))
    assert found == [(13, 0, 490, 320), (490, 0, 987, 320), (293, 320, 707, HIGH)]


def test_a_legend_that_is_white_where_the_panels_part_is_not_cut():
    panels = (20, 10, 470, 300), (510, 10, 980, 300)
    names = (300, 340, 480, 380), (490, 340, 700, 380)
    assert stacked.parts(picture(*panels, *names))[2:] == [(293, 320, 707, HIGH)]


def test_the_name_of_an_axis_stays_with_its_panel():
    panels = (20, 10, 470, 300), (510, 10, 980, 300)
    axes = (150, 340, 350, 380), (600, 340, 800, 380)
    found = stacked.parts(picture(*panels, *axes))
    assert found == [(13, 0, 490, HIGH), (490, 0, 987, HIGH)]


def test_the_upright_name_of_an_axis_stays_with_its_panel():
    panels = (20, 10, 480, 390), (540, 10, 980, 390)
    found = stacked.parts(picture(*panels, (492, 100, 506, 300)))
    assert [(left, right) for left, _, right, _ in found] == [(13, 486), (486, 987)]


def test_a_legend_beside_a_panel_is_a_part_of_its_own():
    found = stacked.parts(picture((20, 10, 550, 390), (620, 150, 720, 200)))
    assert found == [(13, 0, 585, HIGH), (585, 143, 727, 207)]


def test_a_grid_is_read_row_by_row():
    gray = np.full((700, WIDE), 255, np.uint8)
    for upper in (10, 370):
        for left in (20, 510):
            gray[upper : upper + 310, left : left + 460] = 0
    found = stacked.parts(gray)
    assert [(left < 490, upper < 345) for left, upper, _, _ in found] == [
        (True, True), (False, True), (True, False), (False, False)
    ]  # fmt: skip


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
