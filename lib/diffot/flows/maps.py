"""What a map from latents to points offers, whatever computes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor


class Map(ABC):
    """Takes each latent to a point, independently of the others in its batch.

    Latents and points are tensors (B, *d); results come back in the type and on the device of the
    argument. What takes a function of points, such as
    :func:`~diffot.transport.certificates.find_certificate`, is handed ``map.decode``.
    """

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """The points of latents."""

    def encode(self, x: Tensor) -> Tensor:
        """The latents of points, the inverse of :meth:`decode`.

        Raises:
            NotImplementedError: of a map that has no inverse, or none that can be computed.
        """
        raise NotImplementedError(f"{type(self).__name__} has no encoder")

    def jacobian(self, z: Tensor) -> Tensor:
        r"""The derivatives :math:`\partial\, \mathrm{decode}(z)_i / \partial z_j`, shape
        (B, m, n): rows for the m entries of a point, columns for the n entries of a latent.

        By automatic differentiation, unless a map knows better.
        """
        return differentiated(self.decode, z)[1]


def differentiated(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Values (B, *e) and Jacobians (B, m, n) of a function of single points, without gradients.

    Args:
        function: takes points (B, *d) to values (B, *e), each row by itself, under autograd.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        value = function(x)
        rows = [
            torch.autograd.grad(entry.sum(), x, retain_graph=True)[0].flatten(1)
            for entry in value.flatten(1).unbind(1)
        ]
    return value.detach(), torch.stack(rows, 1)
