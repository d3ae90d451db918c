"""Products with Jacobians, against Jacobians that are written out."""

from itertools import product

import pytest
import torch

from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.network import NetworkDenoiser
from diffot.flows.jacobian import (
    Composition,
    FunctionJacobian,
    SymmetricPart,
    step_jacobians,
)
from diffot.flows.maps import differentiated
from diffot.flows.sampled import SampledMap
from diffot.learning.networks import UNet, seeded
from diffot.processes import schedules
from diffot.samplers.ddim import ddim, ddim_steps

KINDS = [
    schedules.scaled_linear(1000, 1e-4, 0.02),
    schedules.VarianceExploding(50.0, 0.01),
    schedules.Rectified(),
]
Z = torch.randn(7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
V = torch.randn(3, 7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def chain(denoiser, steps, z):
    """The Jacobians of DDIM's steps from latents on."""
    first, *others = ddim_steps(denoiser, steps)
    scale = denoiser.schedule.prior_scale
    return step_jacobians([lambda x: first(scale * x), *others], z)


@pytest.mark.parametrize("schedule", KINDS, ids=lambda s: s.name)
def test_steps_one_after_the_other_are_ddim(schedule, oblique):
    exact = ExactDenoiser(oblique, schedule)
    x = 30 * Z
    for step in ddim_steps(exact, 12):
        x = step(x)
    assert (x == ddim(exact, 30 * Z, 12)).all()


@pytest.mark.parametrize("schedule", KINDS, ids=lambda s: s.name)
def test_products_are_those_with_the_jacobian_of_the_sampler(schedule, oblique):
    """Forward and reverse mode, step by step, against reverse mode through the whole sampler."""
    exact = ExactDenoiser(oblique, schedule)
    factors = chain(exact, 15, Z)
    whole = SampledMap(exact, 15).jacobian(Z)
    expected = torch.einsum("bij,nbj->nbi", whole, V)
    transposed = torch.einsum("bji,nbj->nbi", whole, V)
    jacobian = Composition(factors)
    assert (jacobian.product(V) - expected).abs().max() < 1e-12 * whole.abs().max()
    assert (jacobian.transposed_product(V) - transposed).abs().max() < 1e-12 * whole.abs().max()
    part = SymmetricPart(jacobian)
    for products in (part.product(V), part.transposed_product(V)):
        assert (products - (expected + transposed) / 2).abs().max() < 1e-11


def test_products_with_the_jacobian_of_a_u_net():
    """Of both shapes of images, with every activation, against the double backward pass."""
    for channels, activation in product((1, 3), ("silu", "gelu")):
        network = seeded(lambda: UNet(channels, (8, 16), 1, (16,), activation), 3).double()  # noqa: B023
        torch.nn.init.normal_(network.last.weight, std=0.1)
        denoiser = NetworkDenoiser(network, KINDS[0], "v")
        z = torch.randn(1, channels, 8, 8, dtype=torch.float64)
        whole = differentiated(lambda x: ddim(denoiser, x, 4), z)[1][0]  # noqa: B023
        v = torch.randn(2, *z.shape, dtype=torch.float64)
        jacobian = Composition(chain(denoiser, 4, z))
        assert torch.allclose(jacobian.product(v).flatten(1), v.flatten(1) @ whole.T)
        assert torch.allclose(jacobian.transposed_product(v).flatten(1), v.flatten(1) @ whole)


def test_a_map_between_spaces_has_products_of_two_shapes():
    matrix = torch.randn(3, 2, dtype=torch.float64)
    jacobian = FunctionJacobian(lambda x: x @ matrix.T, Z)
    assert torch.allclose(jacobian.product(V), V @ matrix.T)
    u = torch.randn(4, 7, 3, dtype=torch.float64)
    assert torch.allclose(jacobian.transposed_product(u), u @ matrix)
