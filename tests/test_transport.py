import pytest
import torch
from scipy import optimize

from diffot import transport
from diffot.datasets import toy


def cloud(n, seed, d=2):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_costs_of_a_known_pairing():
    x, y = torch.zeros(2, 2), torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert transport.transport_cost(x, y) == 13.0
    assert transport.transport_cost(x, y, order=1) == 3.0


@pytest.mark.parametrize("order", [1, 2, 3])
def test_assignment_agrees_with_scipy(order):
    x, y = cloud(60, 1), cloud(60, 2)
    costs = torch.cdist(x, y).numpy() ** order
    rows, columns = optimize.linear_sum_assignment(costs)
    found = transport.optimal_assignment(x, y, order)
    assert sorted(found.tolist()) == list(range(60))
    assert transport.transport_cost(x, y[found], order) == pytest.approx(
        costs[rows, columns].mean(), rel=1e-12
    )


def test_assignment_in_one_dimension_keeps_the_order():
    x, y = cloud(200, 3, d=1), cloud(200, 4, d=1) ** 3
    assert torch.equal(y[transport.optimal_assignment(x, y)][x[:, 0].argsort()], y.sort(0).values)


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
    guessed = transport.optimal_assignment(x, y, order, guess=torch.arange(300))
    assert sorted(guessed.tolist()) == list(range(300))
    least = costs[range(300), expected].mean()
    assert costs[range(300), guessed].mean() == pytest.approx(least, rel=1e-9)
    if d > 1:  # else others cost the same, or the same up to 1e-10 of the largest cost
        assert torch.equal(guessed, torch.from_numpy(expected))
        assert torch.equal(guessed, transport.optimal_assignment(x, y, order))


def test_a_guess_that_is_far_off_is_corrected():
    x = cloud(400, 10)
    y = 2 * x + 0.1 * cloud(400, 11)
    shuffled = torch.randperm(400, generator=torch.Generator().manual_seed(12))
    guess = shuffled.argsort()  # pairs x with its image
    for start in (guess, guess.flip(0), torch.arange(400)):
        found = transport.optimal_assignment(x, y[shuffled], guess=start)
        assert torch.equal(found, transport.optimal_assignment(x, y[shuffled]))
    assert float((found == guess).double().mean()) > 0.5


def test_a_guess_for_few_or_repeated_points():
    """Fewer points than neighbors are tried, and pairs that cost the same."""
    for n in (1, 2, 5):
        x, y = cloud(n, 13), cloud(n, 14)
        found = transport.optimal_assignment(x, y, guess=torch.arange(n))
        assert torch.equal(found, transport.optimal_assignment(x, y))
    lattice = torch.cartesian_prod(*[torch.arange(9.0)] * 2)
    x, y = torch.cat([lattice, lattice]), torch.cat([lattice.flip(0) + 1, lattice])
    found = transport.optimal_assignment(x, y, guess=torch.arange(len(x)))
    assert len(found.unique()) == len(x)
    _, expected = optimize.linear_sum_assignment(torch.cdist(x, y).square())
    assert transport.transport_cost(x, y[found]) == pytest.approx(
        transport.transport_cost(x, y[expected]), rel=1e-12
    )


@pytest.mark.parametrize("guess", [[0, 1, 1], [0, 1], [0, 1, 3], [-1, 0, 1], [0.0, 1.0, 2.5]])
def test_a_guess_that_is_no_permutation_is_refused(guess):
    x = cloud(3, 15)
    for given in (guess, torch.tensor(guess)):
        with pytest.raises(ValueError, match="guess is not a permutation of the 3 indices"):
            transport.optimal_assignment(x, x, guess=given)


def test_excess_is_zero_for_gradients_of_convex_functions_and_not_for_a_swap():
    x = cloud(150, 5)
    y = x + 0.5 * torch.tanh(x) + torch.tensor([3.0, 0.0])
    assert transport.relative_excess_cost(x, y) == 0
    y[[0, 1]] = y[[1, 0]]
    gain = float(((x[0] - x[1]) * (y[1] - y[0])).sum() * 2 / 150)
    optimal = transport.transport_cost(x, y) - gain
    assert transport.relative_excess_cost(x, y) == pytest.approx(gain / optimal, rel=1e-9)


def test_excess_of_no_transport_at_all():
    x = cloud(20, 6)
    assert transport.relative_excess_cost(x, x) == 0
    with pytest.raises(ValueError, match="optimal cost is 0"):
        transport.relative_excess_cost(
            x, x[torch.randperm(20, generator=torch.Generator().manual_seed(1))]
        )


def test_bad_clouds_are_refused():
    with pytest.raises(ValueError, match="same number of points"):
        transport.transport_cost(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="NaN"):
        transport.optimal_assignment(torch.zeros(2, 2), torch.full((2, 2), float("nan")))
    with pytest.raises(ValueError, match="floating-point"):
        transport.transport_cost(torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, 2))


# --- The thesis' sampled "CDF" map, and affine fits ---------------------------------------------


def test_the_sampled_cdf_map_indexes_sorted_points():
    """By hand: the median of the first coordinates is 1; of the two points near it, at level
    0.5 the upper one is taken."""
    points = torch.tensor([[1.0, 5.0], [0.0, 9.0], [1.05, 3.0], [3.0, 7.0]])
    found = transport.empirical_cdf_map(points, tolerance=0.1)(torch.tensor([[-0.1, 0.1]]))
    assert found.tolist() == [[1.0, 5.0]]
    turned = transport.empirical_cdf_map(points.flip(1), 0.1, order=(1, 0))
    assert turned(torch.tensor([[0.1, -0.1]])).tolist() == [[5.0, 1.0]]


def test_the_sampled_cdf_map_approaches_the_exact_one(generator):
    law = toy.s_curve_mixture(100)
    z = torch.randn(300, 2, dtype=torch.float64, generator=generator)
    for order in ((0, 1), (1, 0)):
        exact = transport.knothe_rosenblatt_map(law, order)(z)
        errors = [
            (transport.empirical_cdf_map(law.sample(n, generator), delta, order)(z) - exact)
            .norm(dim=1)
            .median()
            for n, delta in ((500, 0.1), (100_000, 0.02))
        ]
        assert errors[1] < 0.02 < errors[0]


def test_a_latent_far_out_finds_a_point():
    points = torch.tensor([[0.0, 0.0], [10.0, 1.0]])
    far = torch.tensor([[40.0, -40.0], [-40.0, 40.0]])
    assert transport.empirical_cdf_map(points, 1e-6)(far).tolist() == [[10.0, 1.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((torch.zeros(3, 2), 0.0), "positive"), ((torch.zeros(3, 2), 0.1, (0, 0)), "once")],
)
def test_bad_arguments_of_the_sampled_cdf_map(arguments, message):
    with pytest.raises(ValueError, match=message):
        transport.empirical_cdf_map(*arguments)


def test_affine_fit_finds_an_affine_map_and_what_is_left(generator):
    x = torch.randn(4000, 2, dtype=torch.float64, generator=generator)
    matrix = torch.tensor([[2.0, 1.0], [0.0, 3.0]], dtype=torch.float64)
    shift = torch.tensor([5.0, -1.0], dtype=torch.float64)
    found, offset, residual = transport.affine_fit(x, x @ matrix.T + shift)
    torch.testing.assert_close(found, matrix)
    torch.testing.assert_close(offset, shift)
    assert residual < 1e-12
    # z^2 is orthogonal to 1 and z; its residual is its standard deviation, sqrt 2
    curved = torch.stack([x[:, 0] ** 2, x[:, 1]], 1)
    assert abs(transport.affine_fit(x, curved)[2] - 2**0.5) < 0.2


def test_affine_fit_needs_enough_points():
    with pytest.raises(ValueError, match="at least 3"):
        transport.affine_fit(torch.eye(2), torch.eye(2))
