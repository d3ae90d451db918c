"""Student's kernels against scipy, Poisson flow's prior and the law of the scale."""

import numpy as np
import pytest
import torch
from scipy import stats

from diffot.processes.kernels import StudentKernel


def _normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("dof", [1.0, 2.5, 16.0])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_density_is_that_of_scipy(dof, dim):
    x = 3 * _normal(20, dim)
    law = stats.multivariate_t(np.zeros(dim), np.eye(dim), df=dof)
    np.testing.assert_allclose(StudentKernel(dof).log_density(x), law.logpdf(x.numpy()))


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_draws_of_poisson_flow_have_the_beta_law_of_their_paper(dim):
    """Xu et al. 2022, the prior at a great height."""
    draws = StudentKernel(1).sample(20_000, dim, torch.Generator().manual_seed(2))
    squares = draws.square().sum(1)
    share = squares / (squares + 1)
    assert stats.kstest(share.numpy(), stats.beta(dim / 2, 0.5).cdf).pvalue > 1e-3


@pytest.mark.parametrize("dof", [1, 2, 4, 16, 64])
@pytest.mark.parametrize("dim", [1, 2, 4])
def test_the_scales_mix_gaussians_to_the_density(dof, dim):
    """Out to where 1e-9 of the mass is further."""
    kernel = StudentKernel(dof)
    scales, log_masses = kernel.scales(dim)
    furthest = float(kernel.radius(np.array([1e-9]), dim)[0])
    radii = np.geomspace(0.01, furthest, 40)
    log_normal = -dim / 2 * np.log(2 * np.pi * scales**2) - radii[:, None] ** 2 / scales**2 / 2
    mixed = np.exp(log_masses + log_normal).sum(1)
    x = torch.zeros(40, dim, dtype=torch.float64)
    x[:, 0] = torch.from_numpy(radii)
    np.testing.assert_allclose(mixed, kernel.log_density(x).exp(), rtol=2e-6)


@pytest.mark.parametrize("dof", [1.0, 4.0])
@pytest.mark.parametrize("dim", [1, 3])
def test_draws_and_mapped_normals_have_the_law_of_fisher(dof, dim):
    kernel = StudentKernel(dof)
    drawn = kernel.sample(20_000, dim, torch.Generator().manual_seed(3))
    for points in (drawn, kernel.from_normal(_normal(20_000, dim))):
        ratio = (points.square().sum(1) / dim).numpy()
        assert stats.kstest(ratio, stats.f(dim, dof).cdf).pvalue > 1e-3


def test_the_map_of_the_plane_is_that_of_the_radii():
    """With one degree of freedom, P(|xi| > r) = 1 / sqrt(1 + r^2)."""
    z = torch.tensor([[0.5, 0.0], [0.0, -3.0], [4.0, 4.0]], dtype=torch.float64)
    mapped = StudentKernel(1).from_normal(z)
    radius = torch.sqrt(torch.exp(z.square().sum(1)) - 1)
    torch.testing.assert_close(mapped, z / z.norm(dim=1)[:, None] * radius[:, None])


def test_the_center_stays():
    assert torch.equal(
        StudentKernel(1).from_normal(torch.zeros(1, 2)), torch.zeros(1, 2).double()
    )


@pytest.mark.parametrize("dof", [0, -1, float("nan"), float("inf")])
def test_degrees_of_freedom_are_positive_numbers(dof):
    with pytest.raises(ValueError, match="dof"):
        StudentKernel(dof)
