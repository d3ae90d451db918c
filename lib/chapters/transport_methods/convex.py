r"""Maps that are gradients of input-convex networks.

The gradient of a convex function is the optimal map from the law of its latents to that of its
image (Brenier 1991). A network is convex in its input if what it adds up of earlier layers has
nonnegative weights, and its activation is convex and increasing (Amos et al. 2017).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffot.errors import (
    as_number,
    as_whole_number,
    require_finite,
    require_generator,
    require_points,
    require_type,
)
from diffot.flows.maps import Map
from diffot.seeds import generator

WIDTH, LAYERS = 32, 2
BETAS = 0.5, 0.9  # of Adam: a long memory of gradients makes two players turn in circles


class ConvexNetwork(nn.Module):
    r"""A convex function of points.

    .. math:: h_1 = s(A_1 x + b_1), \qquad h_{k+1} = s(W_k h_k + A_{k+1} x + b_{k+1}), \qquad
              \varphi(x) = w^T h_L + a \|x\|^2 / 2

    with s the softplus, and the entries of :math:`W_k` and w and the number a softplus of free
    parameters, hence positive.

    Args:
        dim: of the points. width: of each layer. layers: L, at least 1.
        seed: of the initial weights.
    """

    def __init__(self, dim: int, width: int = WIDTH, layers: int = LAYERS, seed: int = 0):
        super().__init__()
        self.dim = as_whole_number(dim, "dim", least=1)
        width = as_whole_number(width, "width", least=1)
        layers = as_whole_number(layers, "layers", least=1)
        draws = generator(seed, "weights of a convex network")

        def normal(*shape: int, scale: float = 1.0) -> nn.Parameter:
            return nn.Parameter(scale * torch.randn(shape, generator=draws))

        self.linear = nn.ParameterList(normal(width, dim) for _ in range(layers))
        self.shift = nn.ParameterList(normal(width) for _ in range(layers))
        self.free = nn.ParameterList(normal(width, width, scale=0.1) for _ in range(layers - 1))
        self.last = normal(width, scale=0.1)
        self.curvature = nn.Parameter(torch.tensor(-2.0))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B,), for points (B, d)."""
        require_points(x, self.dim)
        hidden = functional.softplus(x @ self.linear[0].T + self.shift[0])
        for free, linear, shift in zip(self.free, self.linear[1:], self.shift[1:]):
            mixed = hidden @ functional.softplus(free).T / len(free)
            hidden = functional.softplus(mixed + x @ linear.T + shift)
        top = hidden @ functional.softplus(self.last) / len(self.last)
        return top + functional.softplus(self.curvature) * x.square().sum(1) / 2


class GradientMap(Map):
    """The gradient of a convex network: a map without excess.

    Args:
        network: of the latents' dimension; it is copied, in float64.

    Raises:
        TypeError: for another network. ValueError: if it holds NaN or infinity.
    """

    def __init__(self, network: ConvexNetwork):
        require_type(network, ConvexNetwork, "network", "a ConvexNetwork")
        for name, weights in network.named_parameters():
            require_finite(weights, f"{name} of network")
        self.network = copy.deepcopy(network).double().requires_grad_(False)

    def decode(self, z: Tensor) -> Tensor:
        require_points(z, self.network.dim, "z")
        return gradient(self.network, z.double(), create_graph=z.requires_grad).to(z)


def gradient(network: ConvexNetwork, x: Tensor, create_graph: bool = False) -> Tensor:
    """Of the network at points, shape (B, d); with a graph, to be differentiated again."""
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_(True)
        return torch.autograd.grad(network(x).sum(), x, create_graph=create_graph)[0]


@dataclass(frozen=True)
class ConvexConfig:
    """How a pair of convex networks is trained.

    Args:
        iterations: steps of the network of the points. batch: size, for both laws.
        inner: steps of the network of the latents for each of them.
        rate: of Adam at its highest; it falls to zero as a cosine.
        average: decay of the moving average of the weights that is kept, in [0, 1).
    """

    iterations: int
    batch: int = 256
    inner: int = 4
    rate: float = 5e-3
    average: float = 0.99

    def __post_init__(self):
        for name in ("iterations", "batch", "inner"):
            object.__setattr__(self, name, as_whole_number(getattr(self, name), name, least=1))
        object.__setattr__(self, "rate", as_number(self.rate, "rate", above=0))
        average = as_number(self.average, "average", at_least=0, below=1)
        object.__setattr__(self, "average", average)


def convex_map(
    draw: Callable[[int, torch.Generator], Tensor],
    dim: int,
    config: ConvexConfig,
    draws: torch.Generator,
    seed: int = 0,
) -> GradientMap:
    r"""The gradient of g in the saddle of

    .. math:: \sup_f \inf_g\; E f(\nabla g(z)) - E \langle z, \nabla g(z) \rangle - E f(x)

    over convex functions f of points x and g of latents :math:`z \sim N(0, I)`: the semi-dual
    problem, with a network for the map that attains the conjugate of f (Makkuva et al. 2020).

    Args:
        draw: of n points, shape (n, dim). seed: of the initial weights.

    Raises:
        TypeError, ValueError: for points of another shape, and for draws of another kind.
        RuntimeError: if the weights leave the range of float32.
    """
    require_type(draw, Callable, "draw", "a function (n, generator) -> points")
    require_type(config, ConvexConfig, "config", "a ConvexConfig")
    require_generator(draws, "draws")
    f, g = (ConvexNetwork(dim, seed=2 * seed + k) for k in (0, 1))
    players = [torch.optim.Adam(net.parameters(), config.rate, BETAS) for net in (f, g)]
    falls = [torch.optim.lr_scheduler.CosineAnnealingLR(p, config.iterations) for p in players]
    averaged = torch.optim.swa_utils.AveragedModel(
        g, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.average)
    )
    for _ in range(config.iterations):
        for _ in range(config.inner):
            z = torch.randn(config.batch, dim, generator=draws)
            image = gradient(g, z, create_graph=True)
            _step(players[1], (f(image) - (z * image).sum(1)).mean())
        x = draw(config.batch, draws).float()
        require_points(x, dim, "what draw gives")
        image = gradient(g, torch.randn(config.batch, dim, generator=draws))
        _step(players[0], (f(x) - f(image)).mean())
        averaged.update_parameters(g)
        for fall in falls:
            fall.step()
    finite = all(bool(weights.isfinite().all()) for weights in averaged.parameters())
    if not finite:
        raise RuntimeError(f"the training diverged with rate {config.rate:g}; lower it")
    return GradientMap(averaged.module)


def _step(player: torch.optim.Optimizer, loss: Tensor) -> None:
    player.zero_grad()
    loss.backward()
    player.step()
