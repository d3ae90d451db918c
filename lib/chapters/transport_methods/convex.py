r"""Maps that are gradients of input-convex networks.

The gradient of a convex function is the optimal map from the law of its latents to that of its
image (Brenier 1991). A network is convex in its input if what it adds up of earlier layers has
nonnegative weights, and its activation is convex and increasing (Amos et al. 2017).

Here one network is trained, and its convex conjugate is computed by Newton's method. With a
second network for the conjugate (Makkuva et al. 2020), training is a game of two.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_finite,
    require_generator,
    require_points,
    require_same_shape,
    require_type,
)
from diffot.flows.maps import Map, differentiated
from diffot.seeds import generator

WIDTH, LAYERS = 32, 3
HALVINGS = 6  # of a step of Newton's method
_IDENTITY = math.log(math.e - 1)  # whose softplus is 1


class ConvexNetwork(nn.Module):
    r"""A convex function of points.

    .. math:: h_1 = s(A_1 x + b_1), \qquad h_{k+1} = s(W_k h_k + A_{k+1} x + b_{k+1}), \qquad
              \varphi(x) = w^T h_L + a \|x\|^2 / 2

    with s the softplus, and the entries of :math:`W_k` and w and the number a softplus of free
    parameters, hence positive. In the beginning a = 1, so that the gradient is not far from x.

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
        self.curvature = nn.Parameter(torch.tensor(_IDENTITY))

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

    def encode(self, x: Tensor) -> Tensor:
        """By fifty steps of Newton's method."""
        require_points(x, self.network.dim, "x")
        return conjugate_points(self.network, x.double(), x.double(), 50).to(x)


def gradient(network: ConvexNetwork, x: Tensor, create_graph: bool = False) -> Tensor:
    """Of the network at points, shape (B, d); with a graph, to be differentiated again."""
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_(True)
        return torch.autograd.grad(network(x).sum(), x, create_graph=create_graph)[0]


def conjugate_points(network: ConvexNetwork, x: Tensor, start: Tensor, steps: int) -> Tensor:
    r"""Latents where :math:`\langle x, z \rangle - \varphi(z)` is largest, its value there being
    the convex conjugate at x.

    Args:
        x: shape (B, d). start: guesses, of the same shape.
        steps: of Newton's method. A step that loses is halved, up to six times, and not taken
            if it still does.
    """
    require_same_shape(x, start, ("x", "start"))

    @torch.no_grad()
    def loss(z: Tensor) -> Tensor:
        return network(z) - (x * z).sum(1)

    z = start
    for _ in range(steps):
        slope, curvature = differentiated(lambda z: gradient(network, z, create_graph=True), z)
        step = torch.linalg.solve(curvature, (slope - x)[:, :, None])[:, :, 0]
        before = loss(z)
        for _ in range(HALVINGS):
            moved = z - step
            worse = (loss(moved) > before)[:, None]
            if not bool(worse.any()):
                break
            step = torch.where(worse, step / 2, step)
        z = torch.where(worse, z, moved)
    return z


@dataclass(frozen=True)
class ConvexConfig:
    """How a convex network is trained.

    Args:
        iterations: steps of Adam. batch: size, of latents and of points.
        rate: of Adam at its highest; it falls to zero as a cosine.
        average: decay of the moving average of the weights that is kept, in [0, 1).
    """

    iterations: int
    batch: int = 256
    rate: float = 8e-2
    average: float = 0.99

    def __post_init__(self):
        for name in ("iterations", "batch"):
            object.__setattr__(self, name, as_whole_number(getattr(self, name), name, least=1))
        object.__setattr__(self, "rate", as_number(self.rate, "rate", above=0))
        average = as_number(self.average, "average", at_least=0, below=1)
        object.__setattr__(self, "average", average)


def convex_map(
    points: Tensor, config: ConvexConfig, draws: torch.Generator, seed: int = 0
) -> GradientMap:
    r"""The gradient of the convex network for which

    .. math:: E \varphi(z) + E \varphi^*(x)

    is least, z of N(0, I) and x of the points: the semi-dual problem. With
    :math:`\hat z(x)` where the conjugate is attained, the slope in the weights is that of
    :math:`E \varphi(z) - E \varphi(\hat z(x))`. Each visit to a point takes one step of Newton's
    method from the solution of the visit before, as Amos (2023) refines predictions.

    Args:
        points: a sample of the law, shape (n, d). seed: of the initial weights.

    Raises:
        TypeError, ValueError: for points of another shape, and for draws of another kind.
        RuntimeError: if the weights leave the range of float32.
    """
    require_points(points, name="points")
    require(len(points) > 0, "points holds no points; expected at least one")
    require_type(config, ConvexConfig, "config", "a ConvexConfig")
    require_generator(draws, "draws")
    network = ConvexNetwork(points.shape[1], seed=seed)
    adam = torch.optim.Adam(network.parameters(), config.rate, (0.9, 0.99))
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(adam, config.iterations)
    averaged = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.average)
    )
    points = points.float()
    solutions = points.clone()
    for _ in range(config.iterations):
        chosen = torch.randint(len(points), (config.batch,), generator=draws)
        solved = conjugate_points(network, points[chosen], solutions[chosen], 1)
        solutions[chosen] = solved
        z = torch.randn(config.batch, points.shape[1], generator=draws)
        adam.zero_grad()
        (network(z) - network(solved)).mean().backward()
        adam.step()
        fall.step()
        averaged.update_parameters(network)
    finite = all(bool(weights.isfinite().all()) for weights in averaged.parameters())
    if not finite:
        raise RuntimeError(f"the training diverged with rate {config.rate:g}; lower it")
    average: Any = averaged.module
    return GradientMap(average)
