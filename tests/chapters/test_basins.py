import math

import pytest
import torch
from scipy.integrate import solve_ivp

from chapters.memorization import basins
from diffot.transport.semidiscrete import optimal_diagram


def cloud(n, d, seed):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, dtype=torch.float64, generator=draws)


def test_the_flow_is_that_of_its_equation():
    """dz / dr = softmax(r z.x - r^2 |x|^2 / 2) x, by another solver in other variables."""
    points, z = cloud(6, 3, 1), cloud(60, 3, 2)
    squares = points.square().sum(1)

    def rate(r, flat):
        state = torch.from_numpy(flat).reshape(z.shape)
        weights = torch.softmax(r * state @ points.T - r**2 * squares / 2, 1)
        return (weights @ points).flatten().numpy()

    end = 30 / float(torch.pdist(points).min())
    solution = solve_ivp(rate, (0, end), z.flatten().numpy(), "LSODA", rtol=1e-9, atol=1e-9)
    last = torch.from_numpy(solution.y[:, -1]).reshape(z.shape) / end
    expected = torch.cdist(last, points).argmin(1)
    assert torch.equal(basins.flow_cells(points, z, 1e-8), expected)


def test_basins_of_points_on_a_line_are_stripes_of_equal_mass():
    """In one dimension any monotone map is the optimal one, so that quantiles decide."""
    place = torch.tensor([-1.0, -0.2, 0.1, 2.5, 2.9], dtype=torch.float64)
    direction = torch.tensor([0.6, 0.8], dtype=torch.float64)
    z = cloud(4000, 2, 3)
    expected = (5 * torch.special.ndtr(z @ direction)).long()
    assert torch.equal(basins.flow_cells(place[:, None] * direction, z), expected)


@pytest.mark.parametrize("d", [2, 4])
def test_basins_have_equal_mass(d):
    counts = basins.flow_cells(cloud(8, d, 4), cloud(8000, d, 5)).bincount(minlength=8)
    assert ((counts / 8000 - 1 / 8).abs() < 4.5 * math.sqrt(7 / 64 / 8000)).all()


def test_only_directions_in_which_points_differ_count():
    """In six dimensions, four points have a span of three, and the same basins there."""
    points, z = cloud(4, 6, 6) + 2, cloud(500, 6, 7)
    span = basins.span_of(points)
    assert span.points.shape == (4, 3)
    assert torch.allclose(torch.pdist(span.points), torch.pdist(points))
    inside = basins.flow_cells(span.points, z @ span.basis)
    assert torch.equal(inside, basins.flow_cells(points, z))
    # the rest of z and of the points: three dimensions of noise, and the common offset
    offset = points.square().sum(1) - span.points.square().sum(1)
    assert torch.allclose(3 + offset, torch.full((4,), span.cost, dtype=torch.float64))


def test_a_product_grid_is_transported_optimally():
    line = torch.tensor([-1.0, 0.2, 0.7], dtype=torch.float64)
    points = torch.cartesian_prod(line, 2 * line + 1)
    row = basins.compare(points, 2000, torch.Generator().manual_seed(0))
    assert row["agreement"] == 1
    assert row["excess"] == 0
    assert abs(row["uneven"]) < 5


def test_three_points_in_general_position_are_not():
    points = cloud(3, 2, 8)
    row = basins.compare(points, 4000, torch.Generator().manual_seed(0))
    assert row["agreement"] < 1 - 4 * row["agreement_error"]
    assert row["excess"] > 4 * row["excess_error"] > 0


def test_the_excess_is_the_difference_of_costs():
    """The estimate that is nowhere negative against the plain difference of mean squared
    distances, whose error is larger."""
    points, z = cloud(5, 2, 9), cloud(10_000, 2, 10)
    diagram = optimal_diagram(points, torch.full((5,), 0.2, dtype=torch.float64))
    chosen = basins.flow_cells(points, z)
    plain = (z - points[chosen]).square().sum(1) - (z - diagram.decode(z)).square().sum(1)
    row = basins.compare(points, 8000, torch.Generator().manual_seed(1))
    error = float(plain.std()) / 100 / row["cost"] + row["excess_error"]
    assert abs(float(plain.mean()) / row["cost"] - row["excess"]) < 4 * error
    saved = 2 + float(points.square().sum(1).mean()) - row["cost"]
    assert row["lost"] * saved == pytest.approx(row["excess"] * row["cost"])


def test_three_points_in_space_lie_in_a_plane(monkeypatch):
    """Their optimal cells are exact there; the approximate ones nearly agree."""
    monkeypatch.setattr(basins, "STEPS", 2000)
    flat = cloud(3, 2, 11)
    turned = torch.linalg.qr(cloud(4, 4, 12))[0][:, :2]
    points = flat @ turned.T
    exact = basins.compare(points, 2000, torch.Generator().manual_seed(2))
    assert (exact["refit"], exact["overshoot"]) == (1, 0)
    plane = basins.compare(flat, 2000, torch.Generator().manual_seed(3))
    assert exact["cost"] == pytest.approx(plane["cost"] + 2, abs=1e-9)
    assert exact["agreement"] == pytest.approx(plane["agreement"], abs=0.03)
    best = basins.optimal(torch.cat([flat, 0 * flat[:, :1]], 1), torch.Generator().manual_seed(4))
    assert best.cost == pytest.approx(plane["cost"] + 1, rel=0.03)


def test_a_task_says_all_that_its_row_depends_on():
    task = basins.PointsTask("Low2DASymMix", 2, 5, 1, 300)
    points, draws = task.draw()
    assert basins.measure_points(task) == basins.compare(points, 300, draws)
    other, _ = basins.PointsTask("Low2DASymMix", 2, 5, 2, 300).draw()
    assert not torch.equal(points, other)


def test_faces_are_the_next_of_the_training_set():
    first, _ = basins.FacesTask(2, 0, 9).draw()
    second, _ = basins.FacesTask(2, 1, 9).draw()
    four, _ = basins.FacesTask(4, 0, 9).draw()
    assert torch.equal(torch.cat([first, second]), four)
