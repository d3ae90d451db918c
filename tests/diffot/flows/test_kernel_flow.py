"""The flow of Student's kernels: quantiles on a line, symmetries, and its limit diffusion."""

import numpy as np
import pytest
import torch
from scipy import integrate

from diffot.flows.exact import ExactFlow
from diffot.flows.kernel import KernelFlow
from diffot.laws.mixtures import GaussianMixture
from diffot.processes import poisson
from diffot.processes.kernels import StudentKernel
from diffot.transport.one_dimension import QuantileMap

LAW = GaussianMixture(
    [0.4, 0.6],
    [[1.0, 0.5], [-1.0, -0.4]],
    [[[0.5, -0.2], [-0.2, 0.2]], [[0.1, 0.1], [0.1, 0.4]]],
)


def _normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("dof", [1, 3, 16])
def test_on_a_line_it_is_the_quantile_map(dof):
    """Whatever the kernel: a flow on a line keeps the order of points."""
    law = GaussianMixture([0.3, 0.7], [[-1.5], [1.0]], [[[0.09]], [[0.16]]])
    z = torch.linspace(-4, 4, 21, dtype=torch.float64)[:, None]
    moved = KernelFlow(law, StudentKernel(dof)).decode(z)
    normal = GaussianMixture([1.0], [[0.0]], [[[1.0]]])
    expected = QuantileMap(normal, law).decode(z)
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-6)


def test_a_round_gaussian_stays_as_it_is():
    law = GaussianMixture([1.0], [[0.0, 0.0, 0.0]], torch.eye(3)[None])
    z = _normal(20, 3)
    moved = KernelFlow(law, StudentKernel(2)).decode(z)
    torch.testing.assert_close(moved, z, rtol=0, atol=1e-6)


def test_many_degrees_of_freedom_are_diffusion_at_first_order():
    z = _normal(50, 2)
    diffusion = ExactFlow(LAW, 1e-9).decode(z)
    near, far = (
        (KernelFlow(LAW, StudentKernel(dof)).decode(z) - diffusion).norm() for dof in (400, 100)
    )
    assert far / near == pytest.approx(4, rel=0.1)


def test_the_law_is_carried():
    """Shares of the pieces of the plane, against those of draws of the law."""
    z = _normal(4000, 2)
    moved = KernelFlow(LAW, StudentKernel(2), 1e-5).decode(z)
    drawn = LAW.sample(4000, torch.Generator().manual_seed(2))
    for direction in torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]).double():
        for level in (-0.5, 0.3):
            shares = [float((x @ direction < level).double().mean()) for x in (moved, drawn)]
            assert abs(shares[0] - shares[1]) < 4 * 0.5 * (2 / 4000) ** 0.5


def test_the_unit_of_length_the_origin_and_the_axes_do_not_matter():
    z = _normal(10, 2)
    angle = torch.tensor(0.7).double()
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).reshape(2, 2)
    shift = torch.tensor([5.0, -3.0]).double()
    other = GaussianMixture(
        LAW.weights,
        10 * LAW.means @ turn.T + shift,
        100 * turn @ LAW.covariances @ turn.T,
    )
    kernel = StudentKernel(1)
    moved = 10 * KernelFlow(LAW, kernel).decode(z) @ turn.T + shift
    torch.testing.assert_close(KernelFlow(other, kernel).decode(z @ turn.T), moved, atol=1e-5,
                               rtol=0)  # fmt: skip


def test_narrow_components_are_charges():
    """The posterior mean is that of the velocity of Poisson flow, dx/dt = (x - m) / t."""
    points, height = _normal(5, 2), 0.6
    points = points - points.mean(0)
    law = GaussianMixture([0.2] * 5, points, 1e-8 * torch.eye(2).expand(5, 2, 2))
    flow = KernelFlow(law, StudentKernel(1))
    x = _normal(7, 2) + 0.5
    alpha, sigma = 1 / np.hypot(1, height), height / np.hypot(1, height)
    unit = float(torch.linalg.eigvalsh(law.covariance).max().sqrt())
    # in the flow's unit of length, heights are too
    scale = np.hypot(unit * alpha, sigma)
    guess = unit * flow.posterior_mean(
        (alpha * x / scale).T.numpy(), unit * alpha / scale, sigma / scale
    )
    expected = x - height * poisson.velocity(x, height, points)
    np.testing.assert_allclose(guess.T, expected, atol=1e-5)


def test_the_posterior_mean_is_that_of_quadrature():
    law = GaussianMixture([0.3, 0.7], [[0.7], [-0.3]], [[[0.2]], [[0.9]]])
    flow, kernel = KernelFlow(law, StudentKernel(2)), StudentKernel(2)
    unit, alpha, sigma, y = float(law.covariance.sqrt()), 0.6, 0.8, 0.9

    def joint(x):
        noise = torch.tensor([[(y - alpha * x / unit) / sigma]]).double()
        place = torch.tensor([[x]]).double()
        return float((law.log_prob(place) + kernel.log_density(noise)).exp())

    mass, first = (
        integrate.quad(f, -12, 12, epsabs=1e-12, points=[0.0])[0]
        for f in (joint, lambda x: x * joint(x))
    )
    guess = flow.posterior_mean(np.array([[y]]), alpha, sigma)
    assert float(guess[0, 0]) == pytest.approx(first / mass / unit, abs=1e-6)


def test_what_it_has_no_answer_to():
    flow = KernelFlow(LAW, StudentKernel(1))
    with pytest.raises(NotImplementedError, match="differences of decode"):
        flow.jacobian(_normal(2, 2))
    with pytest.raises(TypeError, match="kernel"):
        KernelFlow(LAW, 1)
    with pytest.raises(ValueError, match="z has shape"):
        flow.decode(_normal(2, 3))
