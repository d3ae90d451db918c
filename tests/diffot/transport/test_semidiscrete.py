import math

import ot
import pytest
import torch

from diffot.laws import mixtures
from diffot.transport.laguerre_cells import edges_of
from diffot.transport.semidiscrete import (
    LaguerreDiagram,
    approximate_diagram,
    optimal_diagram,
)


def cloud(n, seed):
    return torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def random_points(seed):
    generator = torch.Generator().manual_seed(seed)
    k = int(torch.randint(2, 9, (1,), generator=generator))
    points = 3 * torch.randn(k, 2, dtype=torch.float64, generator=generator) + 4
    masses = torch.rand(k, dtype=torch.float64, generator=generator) + 0.1
    return points, masses / masses.sum()


def equal(n):
    return torch.full((n,), 1 / n, dtype=torch.float64)


LINE = torch.tensor([-2.0, -0.3, 0.1, 0.5, 3.0, 3.1], dtype=torch.float64)
ANGLES = torch.arange(6, dtype=torch.float64) * torch.pi / 3
RING = torch.stack([ANGLES.cos(), ANGLES.sin()], 1)
DEGENERATE = {
    "product grid": torch.cartesian_prod(LINE[:3], LINE[2:]),
    "points on a line": torch.stack([LINE, 0.7 * LINE], 1),
    "regular hexagon": RING,
    "hexagon with its center": torch.cat([RING, torch.zeros(1, 2, dtype=torch.float64)]),
}


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


@pytest.mark.parametrize("name", DEGENERATE)
def test_masses_where_many_cells_meet_in_a_point_or_none_do(name):
    points = DEGENERATE[name]
    masses = torch.linspace(1, 2, len(points), dtype=torch.float64)
    for target in (equal(len(points)), masses / masses.sum()):
        diagram = optimal_diagram(points, target)
        assert (diagram.masses() - target).abs().max() < 1e-12
        shares = diagram.cells(cloud(100_000, 3)).bincount(minlength=len(points)) / 100_000
        assert ((shares - target).abs() < 4.5 * (target / 100_000).sqrt()).all()


@pytest.mark.parametrize("seed", range(3))
def test_masses_with_empty_cells_are_shares_of_draws(seed):
    """Many of these cells are empty, and the hull of the lifted points knows which."""
    weights = 4 * cloud(60, seed)[:, 0]
    diagram = LaguerreDiagram(cloud(60, seed + 10), weights)
    masses, n = diagram.masses(), 200_000
    shares = diagram.cells(cloud(n, 5)).bincount(minlength=60) / n
    assert (masses == 0).sum() > 5
    assert float(masses.sum()) == pytest.approx(1, abs=1e-12)
    error = (masses.clamp(min=0) / n).sqrt()
    assert ((shares - masses).abs() <= 4.5 * error + 1e-14).all()


def test_three_hundred_cells_hold_their_masses_to_rounding():
    diagram = optimal_diagram(cloud(300, 1), equal(300))
    assert (diagram.masses() - 1 / 300).abs().max() < 1e-12


def test_slopes_are_the_derivatives_of_the_masses():
    """Central differences approach them at second order."""
    points, weights = cloud(12, 2), 0.2 * cloud(12, 3)[:, 0]
    slopes = edges_of(points.numpy(), weights.numpy()).slopes(points.numpy()).toarray()
    errors = []
    for h in (1e-2, 1e-3):
        changes = [
            LaguerreDiagram(points, weights + step).masses()
            - LaguerreDiagram(points, weights - step).masses()
            for step in h * torch.eye(12, dtype=torch.float64)
        ]
        errors.append(abs(slopes - torch.stack(changes, 1).numpy() / (2 * h)).max())
    assert errors[1] < 1e-5
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.05)


def test_moments_and_cost_of_two_half_planes():
    """E z over x > c is phi(c), and E|x| over N(0, 1) the root of 2 / pi."""
    points = torch.tensor([[1.5, 0.0], [-1.5, 0.0]], dtype=torch.float64)
    c = 0.4
    moments = LaguerreDiagram(points, torch.tensor([-6 * c, 0.0]).double()).moments()
    density = math.exp(-(c**2) / 2) / math.sqrt(2 * math.pi)
    assert torch.allclose(moments[:, 0], torch.tensor([density, -density]).double(), atol=1e-14)
    assert moments[:, 1].abs().max() < 1e-14
    exact = 2 + 1.5**2 - 3 * math.sqrt(2 / math.pi)
    assert optimal_diagram(points, equal(2)).cost() == pytest.approx(exact, abs=1e-12)


def test_the_cost_is_the_dual_value_and_that_of_draws():
    points, masses = random_points(2)
    diagram, z = optimal_diagram(points, masses), cloud(400_000, 11)
    heights = torch.cdist(z, points).square() - diagram.weights
    dual = heights.min(1).values + masses @ diagram.weights
    squares = (z - diagram.decode(z)).square().sum(1)
    for values in (dual, squares):
        error = float(values.std()) / 400_000**0.5
        assert abs(float(values.mean()) - diagram.cost()) < 4 * error


def test_the_surplus_is_what_another_choice_costs_more():
    """Weights included, wherever the origin is."""
    points, masses = random_points(4)
    z, diagram = cloud(500, 2), optimal_diagram(points, masses)
    chosen = torch.randint(len(points), (500,), generator=torch.Generator().manual_seed(1))
    heights = torch.cdist(z, points).square() - diagram.weights
    expected = heights.gather(1, chosen[:, None])[:, 0] - heights.min(1).values
    assert torch.allclose(diagram.surplus(z, chosen), expected)
    assert (diagram.surplus(z, diagram.cells(z)) == 0).all()
    moved = LaguerreDiagram(points + 100, diagram.weights)
    assert torch.allclose(moved.surplus(z + 100, chosen), expected)


def test_the_mean_surplus_is_the_excess_of_another_map():
    """Of a map with the same masses; here the points are shifted around a ring, by which every
    latent's point is turned by 60 degrees."""
    diagram, z = optimal_diagram(RING, equal(6)), cloud(200_000, 4)
    turned = (diagram.cells(z) + 1) % 6
    surplus = diagram.surplus(z, turned)
    excess = (z - RING[turned]).square().sum(1) - (z - diagram.decode(z)).square().sum(1)
    difference = surplus - excess
    error = float(difference.std()) / 200_000**0.5
    assert abs(float(difference.mean())) < 4 * error + 1e-12
    assert float(surplus.mean()) == pytest.approx(float(excess.mean()), abs=4 * error + 1e-9)


def test_approximate_weights_are_near_the_optimal_ones():
    points, masses = random_points(7)
    draws = torch.Generator().manual_seed(0)
    near = approximate_diagram(points, masses, draws, steps=3000)
    best, z = optimal_diagram(points, masses), cloud(20_000, 6)
    assert (near.cells(z) == best.cells(z)).double().mean() > 0.97
    assert (near.masses() - masses).abs().max() < 0.02


@pytest.mark.parametrize("unit", [1e-3, 1.0, 100.0])
def test_approximate_cells_in_space_are_those_of_symmetry(unit):
    """Of plus and minus three axes in space: the largest coordinate decides, whatever unit and
    origin the points have."""
    axes = torch.eye(3, dtype=torch.float64)
    points = unit * (torch.cat([axes, -axes]) + 3)
    draws = torch.Generator().manual_seed(1)
    diagram = approximate_diagram(points, equal(6), draws, steps=3000)
    z = torch.randn(20_000, 3, dtype=torch.float64, generator=draws)
    largest = z.abs().argmax(1)
    expected = largest + 3 * (z.gather(1, largest[:, None])[:, 0] < 0)
    assert (diagram.cells(z) == expected).double().mean() > 0.97
    assert diagram.jacobian(z[:4]).shape == (4, 3, 3)


def test_cells_in_space_have_no_polygons():
    diagram = LaguerreDiagram(torch.eye(3), torch.zeros(3))
    for call in (lambda: diagram.polygon(0), diagram.masses, diagram.moments, diagram.cost):
        with pytest.raises(ValueError, match=r"points has shape \(3, 3\); expected \(K, 2\)"):
            call()


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


def test_a_point_that_others_surround_too_closely_is_named_as_the_reason():
    far = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    crowd = torch.cat([1e-9 * RING, torch.zeros(1, 2, dtype=torch.float64), far])
    with pytest.raises(RuntimeError, match="merge points that nearly coincide"):
        optimal_diagram(crowd, equal(8))
