import ot
import pytest
import torch

from diffot.laws import mixtures
from diffot.transport.semidiscrete import LaguerreDiagram, optimal_diagram


def cloud(n, seed):
    return torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def random_points(seed):
    generator = torch.Generator().manual_seed(seed)
    k = int(torch.randint(2, 9, (1,), generator=generator))
    points = 3 * torch.randn(k, 2, dtype=torch.float64, generator=generator) + 4
    masses = torch.rand(k, dtype=torch.float64, generator=generator) + 0.1
    return points, masses / masses.sum()


@pytest.mark.parametrize("seed", range(12))
def test_cells_hold_their_masses(seed):
    """Masses prescribed to the solver are those of independent draws."""
    points, masses = random_points(seed)
    diagram = optimal_diagram(points, masses)
    n = 200_000
    counts = diagram.cells(cloud(n, 99)).bincount(minlength=len(points))
    error = (masses * (1 - masses) / n).sqrt()
    assert ((counts / n - masses).abs() < 4.5 * error).all()


def test_masses_agree_with_the_normal_distribution_function():
    points = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    for w in (0.0, 1e-6, 0.3, 2.0, -5.0):  # the border is the line x = -w / 4
        masses = LaguerreDiagram(points, torch.tensor([w, 0.0], dtype=torch.float64)).masses()
        right = float(torch.special.ndtr(torch.tensor(w, dtype=torch.float64) / 4))
        assert masses.tolist() == pytest.approx([right, 1 - right], abs=1e-13)


def test_masses_of_oblique_cells_agree_with_quadrature():
    points, _ = random_points(3)
    diagram = optimal_diagram(
        points, torch.full((len(points),), 1 / len(points), dtype=torch.float64)
    )
    line = torch.linspace(-8, 8, 2001, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    density = torch.exp(-(grid**2).sum(1) / 2)
    cells = diagram.cells(grid)
    for k, mass in enumerate(diagram.masses()):
        assert float(mass) == pytest.approx(
            float(density[cells == k].sum() / density.sum()), abs=1e-4
        )


def test_semidiscrete_cost_is_that_of_large_assignments():
    """Duality: the cells' cost is a lower bound that paired samples approach from above."""
    law = mixtures.thesis_mixture("Low2DASymMix")
    diagram = optimal_diagram(law.means, law.weights)
    z = cloud(200_000, 7)
    images = diagram.decode(z)
    squares = ((z - images) ** 2).sum(1)
    x, repeated = cloud(2000, 8), law.means.repeat(500, 1)
    discrete = ot.emd2([], [], ot.dist(x.numpy(), repeated.numpy()))
    error = squares.std() * (1 / 200_000 + 1 / 2000) ** 0.5
    assert abs(float(squares.mean()) - discrete) < 4 * float(error)


def test_polygons_are_the_cells():
    points, masses = random_points(5)
    diagram = optimal_diagram(points, masses)
    for k in range(len(points)):
        corners = diagram.polygon(k)
        inside = corners.mean(0, keepdim=True) + 1e-9 * cloud(1, k)
        assert int(diagram.cells(inside)) == k
        for corner in corners[corners.abs().amax(1) < 900]:
            heights = ((corner - points) ** 2).sum(1) - diagram.weights
            assert heights[k] - heights.min() < 1e-8  # on the border
            assert (heights - heights.min() < 1e-8).sum() >= 3  # where three cells meet


def test_the_map_is_the_nearest_point_in_weighted_distance_and_constant_in_a_cell():
    points, masses = random_points(4)
    diagram, z = optimal_diagram(points, masses), cloud(1000, 2)
    heights = torch.cdist(z, points).square() - diagram.weights
    assert torch.equal(diagram.decode(z), points[heights.argmin(1)])
    inside = heights.topk(2, largest=False).values.diff()[:, 0] > 1e-3
    step = torch.tensor([1e-6, 0.0], dtype=torch.float64)
    differences = (diagram.decode(z + step) - diagram.decode(z - step)) / 2e-6
    assert torch.equal(diagram.jacobian(z)[inside][:, :, 0], differences[inside])


def test_an_empty_cell_has_no_corners_and_no_mass():
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    weights = torch.tensor([-50.0, 0.0, 0.0], dtype=torch.float64)
    diagram = LaguerreDiagram(points, weights)
    assert len(diagram.polygon(0)) == 0
    assert diagram.masses().tolist() == pytest.approx([0, 0.5, 0.5])


@pytest.mark.parametrize(
    ("points", "masses", "message"),
    [
        ([[0.0, 0.0], [1.0, 0.0]], [0.5, 0.6], "masses .*sum to 1"),
        ([[0.0, 0.0], [1.0, 0.0]], [1.0], "expected one for each"),
        ([[0.0, 0.0], [0.0, 0.0]], [0.5, 0.5], "coincide"),
        ([[0.0, 0.0, 0.0]], [1.0], r"expected \(B, 2\)"),
    ],
)
def test_bad_targets_are_refused(points, masses, message):
    with pytest.raises(ValueError, match=message):
        optimal_diagram(torch.tensor(points), torch.tensor(masses))


@pytest.mark.parametrize(
    ("unit", "offset"),
    [(1e-12, 0.0), (1e-12, 1e5), (1e-6, 1e3), (1.0, 11.0), (1.0, 1e5), (1e3, 100.0), (1e6, 0.0)],
)
def test_cells_have_neither_unit_nor_origin(unit, offset):
    points, masses = random_points(6)
    z = cloud(5000, 1)
    expected = optimal_diagram(points, masses).cells(z)
    moved = unit * (points + offset)
    diagram = optimal_diagram(moved, masses)
    assert (diagram.masses() - masses).abs().max() < 1e-9
    assert torch.equal(diagram.cells(z), expected)


def test_far_from_the_origin_the_tolerance_is_not_reached():
    points, masses = random_points(6)
    for far in (points + 1e9, 1e12 * points):
        with pytest.raises(RuntimeError, match="closer to the origin"):
            optimal_diagram(far, masses)
