"""Autoencoders as maps."""

import pytest
import torch

from diffot.learning.autoencoder import ConditionalVAE
from diffot.learning.maps import AutoencoderMap


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return ConditionalVAE({"smile": 2, "hair": 3}, 1, 16).eval().requires_grad_(False)


def test_it_is_the_decoder_with_its_labels(network):
    z = torch.randn(4, network.latents, generator=torch.Generator().manual_seed(0))
    labels = {"smile": torch.ones(4).long(), "hair": 2 * torch.ones(4).long()}
    image_of = AutoencoderMap(network, {"smile": 1, "hair": 2})
    images = image_of.decode(z)
    assert torch.equal(images, network.decode(z, labels))
    assert torch.equal(image_of.encode(images), network.encode(images, labels)[0])
    assert not torch.equal(images, AutoencoderMap(network, {"smile": 0, "hair": 2}).decode(z))


def test_its_jacobian_tells_small_changes(network):
    z = torch.randn(2, network.latents, generator=torch.Generator().manual_seed(1))
    image_of = AutoencoderMap(network, {"smile": 1, "hair": 0})
    jacobian = image_of.jacobian(z)
    assert jacobian.shape == (2, 256, network.latents)
    step = 1e-2 * torch.randn(z.shape, generator=torch.Generator().manual_seed(2))
    moved = (image_of.decode(z + step) - image_of.decode(z - step)).flatten(1)
    predicted = 2 * (jacobian @ step[:, :, None])[:, :, 0]
    assert (moved - predicted).norm() < 0.05 * moved.norm()


def test_labels_are_needed_and_checked(network):
    z = torch.zeros(2, network.latents)
    with pytest.raises(ValueError, match="label 'hair' is missing"):
        AutoencoderMap(network, {"smile": 1}).decode(z)
    with pytest.raises(ValueError, match="hair"):
        AutoencoderMap(network, {"smile": 1, "hair": 3}).decode(z)
    with pytest.raises(TypeError, match="network is"):
        AutoencoderMap(None, {})
