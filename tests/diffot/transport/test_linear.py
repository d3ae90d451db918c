"""The linear map against exact transport, and far from the origin."""

import pytest
import torch

from diffot.flows.exact import ExactFlow
from diffot.laws import mixtures
from diffot.transport.gaussian import gaussian_monge_map
from diffot.transport.linear import LinearMap


def test_linear_map_is_optimal_transport_and_the_flow_of_a_gaussian(generator):
    mean = torch.tensor([1.0, -2.0, 0.5, 0.0]).double()
    root = torch.randn(4, 4, generator=generator).double()
    images = (mean + torch.randn(500, 4, generator=generator).double() @ root).reshape(
        -1, 1, 2, 2
    )
    flat = images.flatten(1)
    law = mixtures.GaussianMixture([1.0], flat.mean(0)[None], flat.T.cov()[None])
    z = torch.randn(20, 1, 2, 2, generator=generator)
    decoded = LinearMap.fit(images).decode(z).flatten(1).double()
    points = z.flatten(1).double()
    monge = gaussian_monge_map(torch.zeros(4), torch.eye(4), law.means[0], law.covariances[0])
    assert torch.allclose(decoded, monge.decode(points), atol=1e-5)
    assert torch.allclose(decoded, ExactFlow(law).decode(points), atol=1e-5)


def test_linear_map_of_fewer_images_than_dimensions(generator):
    images = torch.randn(12, 3, 4, 4, generator=generator) + 2
    linear = LinearMap.fit(images)
    assert linear.axes.shape == (48, 11)
    # Its matrix is the root of the covariance.
    basis = torch.eye(48).reshape(48, 3, 4, 4)
    matrix = (linear.decode(basis) - linear.mean).flatten(1)
    covariance = images.flatten(1).T.cov()
    assert torch.allclose(matrix @ matrix, covariance, atol=1e-5)
    assert torch.allclose(matrix, matrix.T, atol=1e-5)
    # The images it was fitted to lie in its range.
    assert torch.allclose(linear.decode(linear.encode(images)), images, atol=1e-4)


@pytest.mark.parametrize(("kind", "offset"), [(torch.float32, 2.0**14), (torch.float64, 2.0**27)])
@pytest.mark.parametrize("n", [9, 200])
def test_linear_map_far_from_the_origin(kind, offset, n, generator):
    """Of sixty-fourths, which these offsets shift without rounding."""
    mixing = torch.randn(10, 12, generator=generator)
    images = (64 * torch.randn(n, 10, generator=generator) @ mixing).round().to(kind) / 64
    images = images.reshape(-1, 1, 3, 4)
    z = torch.randn(5, 1, 3, 4, generator=generator, dtype=kind)
    near, far = LinearMap.fit(images), LinearMap.fit(images + offset)
    assert near.mean.dtype == near.decode(z).dtype == kind
    rounding = 4 * torch.finfo(kind).eps * offset
    assert far.axes.shape == near.axes.shape
    assert torch.allclose(far.decode(z) - offset, near.decode(z), rtol=0, atol=rounding)
    size = near.encode(images).abs().max()
    codes = far.encode(images + offset)
    assert torch.allclose(codes, near.encode(images), rtol=0, atol=4 * rounding * size)
