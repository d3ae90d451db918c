"""Normalizing flows: maps with a triangular Jacobian, trained by their exact likelihood."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from zuko.flows import NSF, Flow

from diffot.errors import as_whole_number, require_points, require_type
from diffot.flows.maps import Map
from diffot.learning.networks import as_widths, seeded
from diffot.learning.objectives import Inputs, Objective


def spline_flow(
    dim: int, transforms: int, widths: Sequence[int], seed: int, bins: int = 8
) -> Flow:
    """An untrained neural spline flow (Durkan et al. 2019) of zuko, in float32.

    Each transform is autoregressive, in alternating order, by monotone rational quadratic splines
    on [-5, 5], the identity outside: bring the data to this scale.

    Args:
        dim: dimension of the points. transforms: their number.
        widths: of the hidden layers of the perceptron of each. bins: of each spline.

    Raises:
        TypeError, ValueError: for arguments of other types, or out of range.
    """
    dim = as_whole_number(dim, "dim", least=1)
    transforms = as_whole_number(transforms, "transforms", least=1)
    bins = as_whole_number(bins, "bins", least=2)
    widths = as_widths(widths, least=1)
    return seeded(
        lambda: NSF(dim, transforms=transforms, bins=bins, hidden_features=widths), seed
    )


class LikelihoodLoss(Objective):
    r"""Minus the log density of each point under a flow, in nats:
    :math:`-\log N(f(x); 0, I) - \log |\det \partial f / \partial x|`, f being the encoder
    (Rezende & Mohamed 2015, eq. 7)."""

    def __call__(self, network: nn.Module, inputs: Inputs) -> Tensor:
        return -network().log_prob(inputs[0])


class NormalizingFlow(Map):
    """The map of a flow of zuko, from latents of N(0, I) to points, both of shape (B, d)."""

    def __init__(self, network: Flow):
        require_type(network, Flow, "network", "a flow of zuko, as spline_flow makes")
        self.network = network

    def decode(self, z: Tensor) -> Tensor:
        require_points(z, name="z")
        return self.network().transform.inv(z.float()).to(z)

    def encode(self, x: Tensor) -> Tensor:
        require_points(x, name="x")
        return self.network().transform(x.float()).to(x)

    def log_likelihood(self, x: Tensor) -> Tensor:
        """Log density at points (B, d), in nats, shape (B,), by the change of variables (Kim &
        Lee 2024, eq. 4)."""
        require_points(x, name="x")
        return self.network().log_prob(x.float()).to(x)
