import pytest
import torch
from scipy import optimize

from diffot.laws import toy
from diffot.transport.assignment import optimal_assignment, relative_excess_cost, transport_cost
from diffot.transport.gaussian import affine_fit
from diffot.transport.triangular import empirical_cdf_map, knothe_rosenblatt_map


def cloud(n, seed, d=2):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_costs_of_a_known_pairing():
    x, y = torch.zeros(2, 2), torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert transport_cost(x, y) == 13.0
    assert transport_cost(x, y, order=1) == 3.0


@pytest.mark.parametrize("order", [1, 2, 3])
def test_assignment_agrees_with_scipy(order):
    x, y = cloud(60, 1), cloud(60, 2)
    costs = torch.cdist(x, y).numpy() ** order
    rows, columns = optimize.linear_sum_assignment(costs)
    found = optimal_assignment(x, y, order)
    assert sorted(found.tolist()) == list(range(60))
    assert transport_cost(x, y[found], order) == pytest.approx(
        costs[rows, columns].mean(), rel=1e-12
    )


def test_assignment_in_one_dimension_keeps_the_order():
    x, y = cloud(200, 3, d=1), cloud(200, 4, d=1) ** 3
    assert torch.equal(y[optimal_assignment(x, y)][x[:, 0].argsort()], y.sort(0).values)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("d", [1, 2, 7])
@pytest.mark.parametrize("noise", [0.0, 0.3, None], ids=["optimal", "near", "unrelated"])
def test_a_guess_changes_the_way_and_not_the_assignment(noise, d, order):
    """From a bent map with noise, and from clouds that have nothing to do with each other."""
    x = cloud(300, 7, d)
    y = x + torch.tanh(x) if noise is not None else cloud(300, 8, d) ** 3
    if noise:
        y = y + noise * cloud(300, 9, d)
    costs = torch.cdist(x, y).numpy() ** order
    _, expected = optimize.linear_sum_assignment(costs)
    guessed = optimal_assignment(x, y, order, guess=torch.arange(300))
    assert sorted(guessed.tolist()) == list(range(300))
    least = costs[range(300), expected].mean()
    assert costs[range(300), guessed].mean() == pytest.approx(least, rel=1e-9)
    if d > 1:  # else others cost the same, or the same up to 1e-10 of the largest cost
        assert torch.equal(guessed, torch.from_numpy(expected))
        assert torch.equal(guessed, optimal_assignment(x, y, order))


def test_a_guess_that_is_far_off_is_corrected():
    x = cloud(400, 10)
    y = 2 * x + 0.1 * cloud(400, 11)
    shuffled = torch.randperm(400, generator=torch.Generator().manual_seed(12))
    guess = shuffled.argsort()  # pairs x with its image
    for start in (guess, guess.flip(0), torch.arange(400)):
        found = optimal_assignment(x, y[shuffled], guess=start)
        assert torch.equal(found, optimal_assignment(x, y[shuffled]))
    assert float((found == guess).double().mean()) > 0.5


def test_a_guess_for_few_or_repeated_points():
    """Fewer points than neighbors are tried, and pairs that cost the same."""
    for n in (1, 2, 5):
        x, y = cloud(n, 13), cloud(n, 14)
        found = optimal_assignment(x, y, guess=torch.arange(n))
        assert torch.equal(found, optimal_assignment(x, y))
    lattice = torch.cartesian_prod(*[torch.arange(9.0)] * 2)
    x, y = torch.cat([lattice, lattice]), torch.cat([lattice.flip(0) + 1, lattice])
    found = optimal_assignment(x, y, guess=torch.arange(len(x)))
    assert len(found.unique()) == len(x)
    _, expected = optimize.linear_sum_assignment(torch.cdist(x, y).square())
    assert transport_cost(x, y[found]) == pytest.approx(transport_cost(x, y[expected]), rel=1e-12)


@pytest.mark.parametrize("guess", [[0, 1, 1], [0, 1], [0, 1, 3], [-1, 0, 1]])
def test_a_guess_that_is_no_permutation_is_refused(guess):
    x = cloud(3, 15)
    with pytest.raises(ValueError, match="guess is not a permutation of the 3 indices"):
        optimal_assignment(x, x, guess=torch.tensor(guess))
    for given in (guess, torch.tensor(guess) + 0.5):
        with pytest.raises(TypeError, match=r"guess is .*; expected a tensor of whole numbers"):
            optimal_assignment(x, x, guess=given)


# --- Units, origins and ties --------------------------------------------------------------------


@pytest.mark.parametrize("guess", [None, torch.arange(64)], ids=["plain", "guess"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("unit", [1e-200, 1e-12, 1e-8, 1e-6, 1e-3, 1.0, 1e3, 1e6, 1e12, 1e200])
def test_an_assignment_has_no_unit_of_length(unit, order, guess):
    x, y = cloud(64, 16), cloud(64, 17) ** 3
    costs = torch.cdist(x, y).numpy() ** order
    found = optimal_assignment(unit * x, unit * y, order, guess)
    assert sorted(found.tolist()) == list(range(64))
    least = costs[optimize.linear_sum_assignment(costs)].mean()
    assert costs[range(64), found].mean() == pytest.approx(least, rel=1e-12)


def test_for_squared_distance_the_two_clouds_may_have_units_of_their_own():
    x, y = cloud(64, 16), cloud(64, 17)
    expected = optimal_assignment(x, y)
    for unit in (1e-12, 1e12):
        for guess in (None, torch.arange(64)):
            assert torch.equal(optimal_assignment(x, unit * y, guess=guess), expected)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("unit", [1e-100, 1e-12, 1e12, 1e100])
def test_costs_follow_the_unit_of_length(unit, order):
    x, y = cloud(20, 18), cloud(20, 19)
    expected = transport_cost(x, y, order) * unit**order
    found = transport_cost(unit * x, unit * y, order)
    assert found == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.parametrize("unit", [1e-200, 1e-12, 1e-8, 1e-3, 1e3, 1e8, 1e12, 1e200])
def test_an_excess_has_no_unit_of_length(unit):
    x, y = cloud(64, 20), cloud(64, 21)
    expected = relative_excess_cost(x, y)
    found = relative_excess_cost(unit * x, unit * y)
    assert found == pytest.approx(expected, rel=1e-12, abs=0)
    assert relative_excess_cost(unit * x, 2 * unit * x) == 0


@pytest.mark.parametrize("guess", [None, torch.arange(64)], ids=["plain", "guess"])
@pytest.mark.parametrize("offset", [1e3, 1e6, 1e7, 1e8])
def test_assignments_and_excess_have_no_origin(offset, guess):
    """The coordinates are multiples of 2^-20, so that the shifts do not round them."""
    x, y = (torch.round(cloud(64, seed) * 2**20) / 2**20 for seed in (22, 23))
    shifted = x + offset, y + offset
    for order in (1, 2, 3):
        found = optimal_assignment(*shifted, order, guess)
        assert torch.equal(found, optimal_assignment(x, y, order))
    expected = relative_excess_cost(x, y)
    assert expected > 1
    assert relative_excess_cost(*shifted) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("repeats", [33, 40, 200])
def test_any_number_of_equal_pairs(repeats):
    shift = torch.tensor([3.0, -0.1])
    for x in (torch.ones(repeats, 2), torch.cat([torch.ones(repeats, 2), cloud(30, 24)])):
        assert relative_excess_cost(x, x + shift) == 0
        assert relative_excess_cost(x, 2 * x) == 0
        for guess in (None, torch.arange(len(x)), torch.arange(len(x)).flip(0)):
            found = optimal_assignment(x, x.flip(0), guess=guess)
            assert sorted(found.tolist()) == list(range(len(x)))
            assert torch.equal(x.flip(0)[found], x)


def test_excess_is_zero_for_gradients_of_convex_functions_and_not_for_a_swap():
    x = cloud(150, 5)
    y = x + 0.5 * torch.tanh(x) + torch.tensor([3.0, 0.0])
    assert relative_excess_cost(x, y) == 0
    y[[0, 1]] = y[[1, 0]]
    gain = float(((x[0] - x[1]) * (y[1] - y[0])).sum() * 2 / 150)
    optimal = transport_cost(x, y) - gain
    assert relative_excess_cost(x, y) == pytest.approx(gain / optimal, rel=1e-9)


def test_excess_of_no_transport_at_all():
    x = cloud(20, 6)
    assert relative_excess_cost(x, x) == 0
    with pytest.raises(ValueError, match="optimal cost is 0"):
        relative_excess_cost(x, x[torch.randperm(20, generator=torch.Generator().manual_seed(1))])


def test_bad_clouds_are_refused():
    with pytest.raises(ValueError, match="row i of one belonging to row i of the other"):
        transport_cost(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="NaN"):
        optimal_assignment(torch.zeros(2, 2), torch.full((2, 2), float("nan")))
    with pytest.raises(TypeError, match="floating-point"):
        transport_cost(torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, 2))


# --- The thesis' sampled "CDF" map, and affine fits ---------------------------------------------


def test_the_sampled_cdf_map_indexes_sorted_points():
    """By hand: the median of the first coordinates is 1; of the two points near it, at level
    0.5 the upper one is taken."""
    points = torch.tensor([[1.0, 5.0], [0.0, 9.0], [1.05, 3.0], [3.0, 7.0]])
    found = empirical_cdf_map(points, tolerance=0.1)(torch.tensor([[-0.1, 0.1]]))
    assert found.tolist() == [[1.0, 5.0]]
    turned = empirical_cdf_map(points.flip(1), 0.1, order=(1, 0))
    assert turned(torch.tensor([[0.1, -0.1]])).tolist() == [[5.0, 1.0]]


def test_the_sampled_cdf_map_approaches_the_exact_one(generator):
    law = toy.s_curve_mixture(100)
    z = torch.randn(300, 2, dtype=torch.float64, generator=generator)
    for order in ((0, 1), (1, 0)):
        exact = knothe_rosenblatt_map(law, order)(z)
        errors = [
            (empirical_cdf_map(law.sample(n, generator), delta, order)(z) - exact)
            .norm(dim=1)
            .median()
            for n, delta in ((500, 0.1), (100_000, 0.02))
        ]
        assert errors[1] < 0.02 < errors[0]


def test_a_latent_far_out_finds_a_point():
    points = torch.tensor([[0.0, 0.0], [10.0, 1.0]])
    far = torch.tensor([[40.0, -40.0], [-40.0, 40.0]])
    assert empirical_cdf_map(points, 1e-6)(far).tolist() == [[10.0, 1.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3, 2), 0.0), "tolerance is 0; expected a number above 0"),
        ((torch.zeros(3, 2), 0.1, (0, 0)), "once"),
    ],
)
def test_bad_arguments_of_the_sampled_cdf_map(arguments, message):
    with pytest.raises(ValueError, match=message):
        empirical_cdf_map(*arguments)


def test_affine_fit_finds_an_affine_map_and_what_is_left(generator):
    x = torch.randn(4000, 2, dtype=torch.float64, generator=generator)
    matrix = torch.tensor([[2.0, 1.0], [0.0, 3.0]], dtype=torch.float64)
    shift = torch.tensor([5.0, -1.0], dtype=torch.float64)
    fit, residual = affine_fit(x, x @ matrix.T + shift)
    torch.testing.assert_close(fit.matrix, matrix)
    torch.testing.assert_close(fit.offset, shift)
    assert residual < 1e-12
    # z^2 is orthogonal to 1 and z; its residual is its standard deviation, sqrt 2
    curved = torch.stack([x[:, 0] ** 2, x[:, 1]], 1)
    assert abs(affine_fit(x, curved)[1] - 2**0.5) < 0.2


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_affine_fit_has_no_unit_and_no_origin(unit, offset):
    x = torch.round(cloud(50, 25) * 2**20) / 2**20
    matrix = torch.tensor([[2.0, 1.0], [0.0, 3.0]], dtype=torch.float64)
    fit, residual = affine_fit(unit * (x + offset), x @ matrix.T)
    torch.testing.assert_close(unit * fit.matrix, matrix, rtol=0, atol=1e-6 if offset else 1e-12)
    assert residual < (1e-6 if offset else 1e-12)


def test_affine_fit_needs_enough_points():
    with pytest.raises(ValueError, match="at least 3"):
        affine_fit(torch.eye(2), torch.eye(2))
