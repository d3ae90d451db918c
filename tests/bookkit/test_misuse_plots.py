"""Figures of nothing, or of what is no image, are refused."""

import matplotlib.pyplot as plt
import pytest
import torch
from misuse import Case, Use, check, expect, misuses

from bookkit import plots
from chapters.image_models import figures

IMAGES = torch.zeros(2, 3, 4, 4)
USES = [
    Use(plots.panel_grid, {"titles": ["one", "two"], "columns": 2}),
    Use(figures.captioned_images, {"images": IMAGES, "captions": ["one", "two"], "columns": 2}),
]
CASES = [
    Case(lambda: plots.panels("one"), "titles"),
    Case(lambda: plots.panels([]), "titles"),
    Case(lambda: plots.panels(["one", 2]), "titles"),
    Case(lambda: plots.panels(["one"] * 9), "titles"),
    Case(lambda: figures.stacked(None, 5, 1), "titles"),
    Case(lambda: figures.captioned_images(IMAGES, ["one"], 2), "captions"),
    Case(lambda: plots.image_rows(plt.gca(), {"A": IMAGES[0]}), "row 'A'"),
    Case(lambda: plots.image_rows(plt.gca(), {"A": IMAGES / 0}), "row 'A'"),
]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.mark.parametrize(("use", "argument", "value"), misuses(USES))
def test_misuse(use, argument, value):
    check(use, argument, value)


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_cases(case):
    expect(case.call, case.says)


@pytest.mark.parametrize("use", USES, ids=[use.function.__name__ for use in USES])
def test_good_uses_work(use):
    use.function(**use.arguments)
