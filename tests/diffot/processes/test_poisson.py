"""Poisson flow against the potential's gradient and the continuity equation."""

import pytest
import torch

from diffot.processes.kernels import StudentKernel
from diffot.processes.poisson import velocity


def _normal(*shape):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_velocity_is_the_ratio_of_the_potentials_gradients():
    points, t = _normal(6, 3), 0.4
    height = torch.full((5, 1), t, dtype=torch.float64)
    place = torch.cat([_normal(5, 3), height], 1).requires_grad_()
    charges = torch.cat([points, torch.zeros(6, 1, dtype=torch.float64)], 1)
    potential = torch.cdist(place, charges, compute_mode="donot_use_mm_for_euclid_dist")
    field = torch.autograd.grad(potential.pow(-2).sum(), place)[0]
    moved = velocity(place[:, :3].detach(), t, points)
    torch.testing.assert_close(moved, field[:, :3] / field[:, 3:], rtol=1e-10, atol=1e-12)


def test_density_is_carried_by_the_velocity():
    points, h, t, kernel = _normal(4, 1), 1e-4, 0.8, StudentKernel(1)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]

    def density(x, t):
        return torch.stack([kernel.log_density((x - p) / t).exp() / t for p in points]).mean(0)

    def flux(x):
        return density(x, t) * velocity(x, t, points)[:, 0]

    rate = (density(x, t + h) - density(x, t - h)) / (2 * h)
    out = (flux(x + h) - flux(x - h)) / (2 * h)
    torch.testing.assert_close(rate, -out, rtol=0, atol=1e-6)


@pytest.mark.parametrize("t", [0.0, -1.0])
def test_heights_are_positive(t):
    with pytest.raises(ValueError, match="t is"):
        velocity(_normal(2, 2), t, _normal(3, 2))
