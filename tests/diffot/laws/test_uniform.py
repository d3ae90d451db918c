"""The uniform law on a box, against scipy's quadrature and truncated normal law."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from diffot.laws.uniform import UniformBox

LAW = UniformBox([-1.0, 2.0], [3.0, 2.5])


def column(x, i):
    """One coordinate of points whose other is in the middle of the box."""
    points = torch.tensor([1.0, 2.25], dtype=torch.float64).repeat(len(x), 1)
    points[:, i] = torch.tensor(x, dtype=torch.float64)
    return points


@pytest.mark.parametrize("alpha", [1.0, 0.4, 0.02])
@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0, 4.0])
def test_moments_are_those_of_the_truncated_normal_law(alpha, sigma):
    x = np.array([-2.0, -0.3, 0.2, 0.9, 2.4, 5.0])
    for i, (low, high) in enumerate([(-1.0, 3.0), (2.0, 2.5)]):
        points = column(x, i)
        mean, scale = x / alpha, sigma / alpha
        if scale > 50 * (high - low):
            continue  # where scipy's own rounding shows
        law = stats.truncnorm((low - mean) / scale, (high - mean) / scale, mean, scale)
        found = LAW.posterior_mean(points, alpha, sigma)[:, i]
        np.testing.assert_allclose(found, law.mean(), rtol=0, atol=2e-8)
        covariance = LAW.posterior_covariance(points, alpha, sigma)
        np.testing.assert_allclose(covariance[:, i, i], law.var(), rtol=2e-4, atol=1e-8)
        assert (covariance[:, 0, 1] == 0).all()


@pytest.mark.parametrize(("alpha", "sigma"), [(1.0, 0.2), (0.5, 1.0), (0.0, 1.0), (0.1, 0.01)])
def test_density_is_the_convolution(alpha, sigma):
    for point in ([0.1, 0.3], [1.4, 2.2], [-0.2, 1.0]):
        expected = 1.0
        for x, low, high in zip(point, (-1.0, 2.0), (3.0, 2.5)):
            normal = stats.norm(x, sigma)
            near = np.clip(
                [(x - 3 * sigma) / (alpha or 1), (x + 3 * sigma) / (alpha or 1)], low, high
            )
            mass, _ = integrate.quad(
                lambda u, normal=normal: normal.pdf(alpha * u),
                low,
                high,
                points=near,
                epsabs=0,
                epsrel=1e-11,
            )
            expected *= mass / (high - low)
        found = LAW.log_prob(torch.tensor([point], dtype=torch.float64), alpha, sigma)
        assert float(found.exp()) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_both_ways_of_computing_meet():
    x = torch.linspace(-6, 6, 40, dtype=torch.float64)[:, None].repeat(1, 2)
    box = UniformBox([-1.0, -1.0], [1.0, 1.0])
    just = 1 / 3 * torch.tensor([1 - 1e-12, 1 + 1e-12]).double()  # a sixth of the box
    for name in ("log_prob", "posterior_mean", "posterior_covariance"):
        one, other = (getattr(box, name)(x, 1.0, float(sigma)) for sigma in just)
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def test_scores_are_gradients_and_slopes_of_means_are_variances(generator):
    x = torch.randn(12, 2, dtype=torch.float64, generator=generator).requires_grad_()
    for levels in ((0.8, 0.6), (0.9, 0.1), (0.05, 1.0)):
        (score,) = torch.autograd.grad(LAW.log_prob(x, *levels).sum(), x)
        assert (LAW.score(x, *levels) - score).abs().max() < 1e-7
        (slope,) = torch.autograd.grad(LAW.posterior_mean(x, *levels).sum(), x)
        variance = LAW.posterior_covariance(x, *levels).diagonal(dim1=1, dim2=2)
        assert (slope - levels[0] / levels[1] ** 2 * variance).abs().max() < 1e-6


def test_samples_are_uniform_and_the_density_is_flat(generator):
    x = LAW.sample(20_000, generator)
    for i, (low, width) in enumerate([(-1.0, 4.0), (2.0, 0.5)]):
        assert stats.kstest(x[:, i].numpy(), stats.uniform(low, width).cdf).pvalue > 1e-4
    inside, outside = LAW.log_prob(x).exp(), LAW.log_prob(x + 5).exp()
    torch.testing.assert_close(inside, torch.full_like(inside, 0.5))
    assert (outside == 0).all()


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        ([0.0], [0.0, 1.0], r"expected \(d,\) twice"),
        ([0.0, 2.0], [1.0, 1.0], "expected low < high"),
        ([float("nan")], [1.0], "NaN"),
        ([0.0], [float("inf")], "infinite"),
    ],
)
def test_bad_boxes_are_refused(low, high, message):
    with pytest.raises(ValueError, match=message):
        UniformBox(low, high)
