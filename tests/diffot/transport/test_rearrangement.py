import numpy as np
import pytest
import torch

from diffot.flows.exact import ExactFlow
from diffot.laws import mixtures
from diffot.laws.examples import bent_pair
from diffot.laws.mixtures import GaussianMixture
from diffot.transport import rearrangement
from diffot.transport.assignment import relative_excess_cost, transport_cost
from diffot.transport.rearrangement import rearrange

BENT = bent_pair()


def decoder(law):
    return ExactFlow(law, 1e-10).decode_with_jacobian


def test_fields_keep_the_normal_law():
    """E[w . grad f] = 0 for every f, here for polynomials, by quadrature."""
    line = np.linspace(-8, 8, 161)
    y = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    mass = np.exp(-(y**2).sum(1) / 2)
    mass /= mass.sum()
    fields = rearrangement._fields(y, 5)
    a, b = y.T
    for gradient in ([1 + 0 * a, 0 * a], [2 * a, 0 * a], [b, a], [2 * a * b**3, 3 * a**2 * b**2]):
        change = np.einsum("p,pfi,ip->f", mass, fields, np.array(gradient))
        assert np.abs(change).max() < 1e-10


def test_followed_points_are_still_normal():
    line = np.arange(-5.95, 6, 0.1)
    y = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    mass = np.exp(-(y**2).sum(1) / 2)
    mass /= mass.sum()
    coefficients = 0.3 * np.random.default_rng(0).standard_normal(15)
    moved = rearrangement._follow(y, coefficients, 4)
    assert mass @ ((moved - y) ** 2).sum(1) > 0.1
    for test in (lambda x: x[:, 0], lambda x: x[:, 0] ** 2, lambda x: np.cos(x @ [1.0, 2.0])):
        assert abs(mass @ (test(moved) - test(y))) < 2e-5


@pytest.mark.parametrize(
    "law",
    [
        mixtures.thesis_mixture("Low2DSymMix"),
        mixtures.thesis_mixture("Low2DBimodal"),
        GaussianMixture([1.0], [[3.0, 1.0]], [[[2.0, 0.9], [0.9, 0.6]]]),
    ],
)
def test_nothing_is_found_where_the_flow_is_optimal(law):
    assert abs(rearrange(decoder(law), 6, 2, spacing=0.2).relative_excess) < 1e-6


def test_the_bent_mixture_is_off_by_what_samples_suggest():
    found = rearrange(decoder(BENT), 8, 6, 0.15)
    z = torch.randn(1500, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    x = ExactFlow(BENT).decode(z)
    assert found.cost == pytest.approx(transport_cost(z, x), rel=0.1)
    assert 0.018 < found.relative_excess < 0.025
    assert relative_excess_cost(z, x) < found.relative_excess * 1.2


def test_more_rounds_and_degrees_save_more():
    excess = [
        rearrange(decoder(BENT), d, r, 0.2).relative_excess for d, r in ((4, 1), (4, 4), (8, 4))
    ]
    assert 0 < excess[0] < excess[1] < excess[2]


@pytest.mark.parametrize(
    "arguments", [{"degree": -1}, {"rounds": 0}, {"spacing": 0}, {"spacing": 2}]
)
def test_bad_numbers_are_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        rearrange(decoder(BENT), **arguments)
