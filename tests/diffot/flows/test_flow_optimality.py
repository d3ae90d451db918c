"""The flow against the measures of optimality: where it must pass, and where it must not."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffot.flows.exact import ExactFlow
from diffot.laws.examples import bent_pair
from diffot.laws.mixtures import GaussianMixture
from diffot.transport.assignment import relative_excess_cost
from diffot.transport.certificates import cycle_certificate, find_certificate, jacobian_asymmetry

seeds = st.integers(0, 10_000)
few = settings(max_examples=12, deadline=None)


def certificate(law, latent, jacobian, radius=0.05, points=None):
    return cycle_certificate(
        ExactFlow(law, 1e-9).decode,
        latent,
        jacobian,
        radius,
        points,
        refined=ExactFlow(law).decode,
    )


def find(law, latents):
    return find_certificate(
        ExactFlow(law, 1e-10).decode,
        ExactFlow(law).decode,
        latents,
        ExactFlow(law, 1e-10).jacobian(latents),
    )


def turned(jacobian):
    """A Jacobian that wrongly claims some asymmetry, so that a short cycle is tried."""
    return jacobian + torch.tensor([[0.0, 0.3], [-0.3, 0.0]], dtype=torch.float64)


@few
@given(seeds)
def test_no_certificate_for_single_gaussians(seed):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(2, 2, dtype=torch.float64, generator=generator)
    covariance = root @ root.mT + 0.05 * torch.eye(2, dtype=torch.float64)
    law = GaussianMixture([1.0], torch.randn(1, 2, generator=generator), covariance[None])
    z = torch.randn(1, 2, dtype=torch.float64, generator=generator)
    assert not certificate(law, z[0], ExactFlow(law).jacobian(z)[0], points=200).accepted
    assert not certificate(law, z[0], turned(ExactFlow(law).jacobian(z)[0])).accepted


@few
@given(seeds)
def test_no_certificate_for_product_laws(seed):
    """The product of a mixture of two in each coordinate, a mixture of four in the plane."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(*shape, dtype=torch.float64, generator=generator)

    centers, spreads, weights = 4 * uniform(2, 2) - 2, 0.2 + uniform(2, 2), 0.2 + uniform(2, 2)
    weights = weights / weights.sum(1, keepdim=True)
    pairs = [(i, j) for i in range(2) for j in range(2)]
    law = GaussianMixture(
        torch.stack([weights[0, i] * weights[1, j] for i, j in pairs]),
        torch.stack([torch.stack([centers[0, i], centers[1, j]]) for i, j in pairs]),
        torch.stack([torch.diag(torch.stack([spreads[0, i], spreads[1, j]])) for i, j in pairs]),
    )
    z = torch.randn(2, 2, dtype=torch.float64, generator=generator)
    jacobians = ExactFlow(law).jacobian(z)
    assert jacobian_asymmetry(jacobians).max() < 1e-8
    for latent, jacobian in zip(z, jacobians):
        assert not certificate(law, latent, jacobian, points=100).accepted
        assert not certificate(law, latent, turned(jacobian)).accepted
    cloud = torch.randn(150, 2, dtype=torch.float64, generator=generator)
    assert relative_excess_cost(cloud, ExactFlow(law).decode(cloud)) < 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_a_certificate_and_an_excess_for_two_bent_gaussians(seed):
    law = bent_pair()
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(20, 2, dtype=torch.float64, generator=generator)
    assert find(law, latents).accepted
    z = torch.randn(800, 2, dtype=torch.float64, generator=generator)
    assert relative_excess_cost(z, ExactFlow(law).decode(z)) > 0.005


def test_a_certificate_for_a_mixture_that_is_nearly_gaussian():
    """Its asymmetry is at most 3e-4, which takes a cycle of tens of thousands of points."""
    law = GaussianMixture(
        [0.6, 0.4],
        [[0.2, 0.1], [-0.1, -0.2]],
        [[[1.0, 0.0], [0.0, 1.0]], [[0.8, 0.0], [0.0, 0.7]]],
    )
    latents = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = find(law, latents)
    assert found.accepted and len(found.points) > 20_000
