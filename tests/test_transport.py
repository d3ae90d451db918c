import pytest
import torch
from scipy import optimize

from diffot import transport


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


def test_excess_is_zero_for_gradients_of_convex_functions_and_not_for_a_swap():
    x = cloud(150, 5)
    y = x + 0.5 * torch.tanh(x) + torch.tensor([3.0, 0.0])
    assert transport.relative_excess_cost(x, y) == 0
    y[[0, 1]] = y[[1, 0]]
    gain = float(((x[0] - x[1]) * (y[1] - y[0])).sum() * 2 / 150)
    optimal = transport.transport_cost(x, y) - gain
    assert transport.relative_excess_cost(x, y) == pytest.approx(gain / optimal, rel=1e-9)


def test_bad_clouds_are_refused():
    with pytest.raises(ValueError, match="same number of points"):
        transport.transport_cost(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="NaN"):
        transport.optimal_assignment(torch.zeros(2, 2), torch.full((2, 2), float("nan")))
    with pytest.raises(ValueError, match="floating-point"):
        transport.transport_cost(torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, 2))
