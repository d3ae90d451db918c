"""Trained autoencoders as maps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from diffot.errors import require_type
from diffot.flows.maps import Map
from diffot.learning.autoencoder import ConditionalVAE


class AutoencoderMap(Map):
    """The decoder of an autoencoder with the same labels for every latent.

    Args:
        network: latents have shape (B, k), points (B, channels, size, size).
        labels: one class for every label of the network.

    Raises:
        TypeError: for arguments of other types. The methods raise ``ValueError`` for labels that
            are missing or unknown.
    """

    def __init__(self, network: ConditionalVAE, labels: Mapping[str, int]):
        require_type(network, ConditionalVAE, "network", "a ConditionalVAE")
        require_type(labels, Mapping, "labels", "a dict such as {'smile': 1}")
        self.network, self.labels = network, dict(labels)

    def decode(self, z: Tensor) -> Tensor:
        return self.network.decode(z, self._labels_of(z))

    def encode(self, x: Tensor) -> Tensor:
        """The means of the latents of points; decoding them gives the points only nearly."""
        return self.network.encode(x, self._labels_of(x))[0]

    def _labels_of(self, points: Tensor) -> dict[str, Tensor]:
        require_type(points, Tensor, "points", "a tensor")
        return {name: torch.full((len(points),), k) for name, k in self.labels.items()}
