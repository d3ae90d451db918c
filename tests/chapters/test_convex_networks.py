"""Gradients of convex networks, and what their training arrives at."""

import pytest
import torch

from chapters.transport_methods.convex import (
    ConvexConfig,
    ConvexNetwork,
    GradientMap,
    conjugate_points,
    convex_map,
)
from diffot.laws.mixtures import GaussianMixture
from diffot.transport.assignment import optimal_assignment, transport_cost

COVARIANCE = torch.tensor([[2.0, 0.8], [0.8, 0.6]], dtype=torch.float64)
DRAWS = torch.Generator()
LAW = GaussianMixture([1.0], [[0.5, -1.0]], COVARIANCE[None])


def test_the_gradient_of_a_network_is_that_of_its_values(generator):
    """By differences of the values, which know nothing of autograd."""
    found = GradientMap(ConvexNetwork(3, 8, 3, seed=1))
    z, h = torch.randn(20, 3, dtype=torch.float64, generator=generator), 1e-5
    steps = h * torch.eye(3, dtype=torch.float64)
    values = [(found.network(z + e) - found.network(z - e)) / (2 * h) for e in steps]
    assert torch.allclose(found.decode(z), torch.stack(values, 1), atol=1e-8)


def test_any_network_gives_an_optimal_map(generator):
    """No other pairing of latents and points is cheaper, whatever the weights."""
    found = GradientMap(ConvexNetwork(2, 16, 2, seed=2))
    z = 2 * torch.randn(300, 2, dtype=torch.float64, generator=generator)
    x = found.decode(z)
    assert transport_cost(z, x) == pytest.approx(
        transport_cost(z, x[optimal_assignment(z, x)]), rel=1e-12
    )
    jacobian = found.jacobian(z)
    assert torch.allclose(jacobian, jacobian.mT, atol=1e-12)
    assert float(torch.linalg.eigvalsh(jacobian).min()) > 0


def test_newton_finds_the_inverse_of_the_map(generator):
    found = GradientMap(ConvexNetwork(2, 16, 2, seed=2))
    z = 3 * torch.randn(200, 2, dtype=torch.float64, generator=generator)
    assert torch.allclose(found.encode(found.decode(z)), z, atol=1e-9)


def test_the_conjugate_is_a_maximum(generator):
    """No other latent does better, from wherever the search begins."""
    network = ConvexNetwork(2, 16, 2, seed=3).double().requires_grad_(False)
    x, start, others = torch.randn(3, 50, 2, dtype=torch.float64, generator=generator)
    z = conjugate_points(network, x, 5 * start, 40)
    best = (x * z).sum(1) - network(z)
    for size in (1e-3, 0.1, 3.0):
        near = z + size * others
        assert bool(((x * near).sum(1) - network(near) < best).all())


def test_training_finds_the_map_of_a_gaussian(generator):
    """The closed form is z -> m + C^(1/2) z."""
    draws = torch.Generator().manual_seed(3)
    config = ConvexConfig(300, batch=128, average=0.97)
    found = convex_map(LAW.sample(4000, draws), config, draws)
    z = torch.randn(500, 2, dtype=torch.float64, generator=generator)
    exact = z @ _root(COVARIANCE).T + LAW.means[0]
    assert transport_cost(found.decode(z), exact) < 0.01 * float(COVARIANCE.trace())


def _root(covariance):
    values, axes = torch.linalg.eigh(covariance)
    return (axes * values.sqrt()) @ axes.T


@pytest.mark.parametrize(
    "bad, error, said",
    [
        (lambda: ConvexNetwork(0), ValueError, "dim"),
        (lambda: ConvexNetwork(2, width=1.5), TypeError, "width"),
        (lambda: ConvexNetwork(2, layers=0), ValueError, "layers"),
        (lambda: ConvexNetwork(2)(torch.zeros(3, 4)), ValueError, "x has shape"),
        (lambda: GradientMap(torch.nn.Linear(2, 1)), TypeError, "network"),
        (lambda: GradientMap(ConvexNetwork(2)).decode(torch.zeros(3, 1)), ValueError, "z has"),
        (lambda: ConvexConfig(0), ValueError, "iterations"),
        (lambda: ConvexConfig(1, batch=0), ValueError, "batch"),
        (lambda: ConvexConfig(1, rate=0.0), ValueError, "rate"),
        (lambda: ConvexConfig(1, average=1.0), ValueError, "average"),
        (lambda: convex_map(LAW, ConvexConfig(1), torch.Generator()), TypeError, "points"),
        (lambda: convex_map(torch.zeros(0, 2), ConvexConfig(1), DRAWS), ValueError, "points"),
        (lambda: convex_map(torch.zeros(5), ConvexConfig(1), DRAWS), ValueError, "points"),
        (lambda: convex_map(torch.zeros(5, 2), 5, DRAWS), TypeError, "config"),
        (lambda: convex_map(torch.zeros(5, 2), ConvexConfig(1), 0), TypeError, "draws"),
        (
            lambda: conjugate_points(ConvexNetwork(2), torch.zeros(5, 2), torch.zeros(4, 2), 1),
            ValueError,
            "x has shape .* and start",
        ),
    ],
)
def test_bad_calls_name_the_argument(bad, error, said):
    with pytest.raises(error, match=said):
        bad()
