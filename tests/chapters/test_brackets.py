"""Laws whose flows are far from optimal, and what a search of them does."""

import math

import pytest
import torch

from chapters.premise import brackets
from chapters.premise.brackets import Arrangement, BracketTask, SearchTask


def turned(points, degrees):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return points @ torch.tensor([[c, s], [-s, c]], dtype=torch.float64)


@pytest.fixture
def points():
    return torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("family", "degrees"), [("wheel of two", 180), ("wheel of three", 120)])
def test_wheels_are_turned_into_themselves_but_are_no_mirror_images(family, degrees, points):
    law = Arrangement(family, 30, 1.2, 0.8, 0.3).law()
    density = law.log_prob(points)
    assert torch.allclose(law.log_prob(turned(points, degrees)), density)
    assert (law.log_prob(points * torch.tensor([1.0, -1.0])) - density).abs().max() > 0.1


def test_pairs_are_mirror_images_of_themselves(points):
    law = Arrangement("mirrored pair", 30, 1.2, 0.8, 0.3).law()
    mirrored = points * torch.tensor([-1.0, 1.0])
    assert torch.allclose(law.log_prob(mirrored), law.log_prob(points))
    assert (law.log_prob(-points) - law.log_prob(points)).abs().max() > 0.1


def test_axes_and_centers_are_where_they_are_said_to_be():
    law = Arrangement("wheel of three", 25, 1.5, 0.8, 0.3).law()
    assert torch.allclose(law.means.norm(dim=1), torch.full((3,), 1.5).double())
    assert torch.allclose(law.means[0], torch.tensor([1.5, 0.0]).double())
    spread, axes = torch.linalg.eigh(law.covariances[0])
    assert spread.sqrt().tolist() == pytest.approx([0.3, 0.8])
    assert abs(float(axes[1, 1] / axes[0, 1])) == pytest.approx(math.tan(math.radians(25)))


def test_round_gaussians_on_a_line_have_an_optimal_flow():
    """A mixture along a line is a product law, so that its flow is optimal."""
    row = brackets.measure_bracket(
        BracketTask(Arrangement("mirrored pair", 0, 1, 0.5, 0.5), 0.3, 16)
    )
    assert 0 <= row["lower"] < 1e-6 and 0 <= row["upper"] < 1e-4


def test_a_search_does_not_end_below_its_start(monkeypatch):
    """With an excess in closed form in place of the bracket."""

    class Known:
        def __init__(self, value):
            self.lower = self.upper = type("Bound", (), {"value": value})

    def bounds(task):
        law = task.law
        return Known(-((law.angle - 20) ** 2) / 100 - (law.radius - 2) ** 2 - (law.long - 1) ** 2)

    monkeypatch.setattr(BracketTask, "bounds", bounds)
    found = brackets.measure_search(SearchTask("wheel of two", 200))
    assert found["angle"] == pytest.approx(20, abs=1)
    assert found["radius"] == pytest.approx(2, abs=0.1)
    assert found["long"] == pytest.approx(1, abs=0.1)


def test_bad_tasks_are_refused():
    with pytest.raises(ValueError, match="did you mean"):
        Arrangement("wheel of tow", 30, 1, 1, 1)
    with pytest.raises(ValueError, match="short is 0"):
        Arrangement("wheel of two", 30, 1, 1, 0)
    with pytest.raises(ValueError, match="law"):
        BracketTask("W", 0.3, 16)
    with pytest.raises(TypeError, match="law"):
        BracketTask(3, 0.3, 16)
    with pytest.raises(ValueError, match="evaluations is 3"):
        SearchTask("wheel of two", 3)
