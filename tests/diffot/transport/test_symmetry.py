"""Estimates of asymmetry from products, against matrices and flows that are known."""

from itertools import product

import numpy as np
import pytest
import torch

from diffot.denoisers.exact import ExactDenoiser
from diffot.flows.exact import ExactFlow
from diffot.flows.jacobian import Composition, FunctionJacobian, SymmetricPart, step_jacobians
from diffot.laws.mixtures import GaussianMixture
from diffot.processes.schedules import Rectified
from diffot.samplers.ddim import ddim_steps
from diffot.transport.certificates import jacobian_asymmetry
from diffot.transport.symmetry import (
    random_signs,
    skew_and_whole,
    squared_asymmetry,
    symmetric_spectrum,
)


def linear(matrix, points=1):
    """The Jacobian of z -> M z."""
    zeros = torch.zeros(points, len(matrix), dtype=torch.float64)
    return FunctionJacobian(lambda x: x @ matrix.T, zeros), zeros


def random_matrix(size, skew, seed=0):
    """Symmetric and antisymmetric normal matrices together."""
    draws = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, size, size, dtype=torch.float64, generator=draws)
    return (a + a.T) + skew * (b - b.T)


@pytest.mark.parametrize("skew", [0.01, 0.3, 3.0])
def test_the_estimate_is_right_within_its_error(skew, generator):
    """Of 200 estimates, from 20 vectors each: the mean, and their spread against their errors."""
    matrix = random_matrix(40, skew)
    jacobian, like = linear(matrix)
    true = float(jacobian_asymmetry(matrix[None])) ** 2
    found = [
        squared_asymmetry(
            *(x[:, 0] for x in skew_and_whole(jacobian, random_signs(20, like, generator)))
        )
        for _ in range(200)
    ]
    values = np.array([estimate.value for estimate in found])
    spread = values.std()
    # a ratio of means of 20 is biased by about a twentieth of its squared relative spread
    assert abs(values.mean() - true) < 4 * spread / 200**0.5 + spread**2 / true
    errors = np.array([estimate.error for estimate in found])
    assert np.sqrt((errors**2).mean()) == pytest.approx(spread, rel=0.25)


def test_scaling_and_turning_the_space_do_not_change_it(generator):
    matrix, turn = random_matrix(3, 0.5), torch.linalg.qr(random_matrix(3, 1.0, 5))[0]
    signs = torch.tensor(list(product([-1.0, 1.0], repeat=3)), dtype=torch.float64)[:, None]
    values = []
    for changed in (matrix, 1e6 * matrix, turn @ matrix @ turn.T):
        skew, whole = skew_and_whole(linear(changed)[0], signs)
        values.append(squared_asymmetry(skew[:, 0], whole[:, 0]).value)
    # all vectors of signs together give the traces exactly
    assert values == pytest.approx([float(jacobian_asymmetry(matrix[None])) ** 2] * 3, rel=1e-12)


def sampled(law, schedule, z, steps):
    """Jacobians of DDIM's steps with the exact denoiser of a law."""
    return step_jacobians(ddim_steps(ExactDenoiser(law, schedule), steps), z)


def test_the_map_to_a_gaussian_is_symmetric_to_rounding(schedule, generator):
    root = random_matrix(6, 0.7)
    law = GaussianMixture(torch.ones(1), torch.ones(1, 6), (root @ root.T)[None])
    z = torch.randn(4, 6, dtype=torch.float64, generator=generator)
    v = random_signs(5, z, generator)
    skew, whole = skew_and_whole(Composition(sampled(law, schedule, z, 30)), v)
    assert (skew < 1e-24 * whole).all()


def test_the_asymmetry_of_a_mixture_is_that_of_its_flow(oblique):
    """DDIM with many steps, by products, against the variational equation of the exact flow; on
    a schedule that ends in pure noise, as the flow does."""
    z = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    flow = ExactFlow(oblique).decode_with_jacobian(z)[1]
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)  # exact in the plane
    v = signs[:, None].expand(2, 20, 2)

    def asymmetry(factors):
        skew, whole = skew_and_whole(Composition(factors), v)
        return (skew.mean(0) / whole.mean(0)).sqrt()

    coarse, fine = (sampled(oblique, Rectified(), z, n) for n in (50, 200))
    exact = jacobian_asymmetry(flow)
    errors = [(asymmetry(factors) - exact).abs() for factors in (coarse, fine)]
    assert errors[1].mean() < 0.005 < 0.05 < exact.mean()
    assert errors[1].mean() < 0.5 * errors[0].mean()
    # each step of an exact denoiser is symmetric, so that all asymmetry is of their order
    for factor in fine[::40]:
        skew, whole = skew_and_whole(factor, v)
        assert (skew < 1e-24 * whole).all()
    parts = [SymmetricPart(factor) for factor in fine]
    assert torch.allclose(asymmetry(parts), asymmetry(fine))


def test_the_ends_of_the_spectrum_are_those_of_the_symmetric_part(generator):
    matrix = random_matrix(60, 2.0)
    jacobian, point = linear(matrix)
    found = symmetric_spectrum(jacobian, point, generator, 1e-10)
    spectrum = torch.linalg.eigvalsh((matrix + matrix.T) / 2)
    assert found.lowest == pytest.approx(float(spectrum[0]), rel=1e-9)
    assert found.highest == pytest.approx(float(spectrum[-1]), rel=1e-9)
    assert max(found.lowest_residual, found.highest_residual) < 1e-6
    # stopped early, it errs to the safe side, and by no more than the residual
    early = symmetric_spectrum(jacobian, point, generator, 0.1)
    assert spectrum[0] <= early.lowest <= spectrum[0] + early.lowest_residual
    assert early.products < found.products
