"""Network architectures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diffot.errors import require, unknown_name

ACTIVATIONS = {"leaky_relu": nn.LeakyReLU, "silu": nn.SiLU}


class MLP(nn.Module):
    r"""A multi-layer perceptron for points, with the time as further inputs.

    Args:
        dim: dimension d of the points.
        widths: width of each hidden layer.
        activation: ``"leaky_relu"`` or ``"silu"``.
        frequencies: 0 feeds the relative time t/T itself, as the thesis does (section 4.1); n > 0
            feeds :math:`\sin(2^j \pi t/T / 2)` and :math:`\cos(2^j \pi t/T / 2)`, j = 0..n-1.
        input_scale: factor on the points before the first layer.
        activate_output: apply the activation to the output too. The thesis' code does, which
            makes negative noise hard to predict: a leaky rectifier shrinks it a hundredfold.
    """

    def __init__(
        self,
        dim: int,
        widths: Sequence[int] = (64, 128, 64),
        activation: str = "leaky_relu",
        frequencies: int = 0,
        input_scale: float = 1.0,
        activate_output: bool = False,
    ):
        super().__init__()
        require(activation in ACTIVATIONS, unknown_name("activation", activation, ACTIVATIONS))
        require(dim >= 1 and frequencies >= 0, f"dim {dim}, frequencies {frequencies}: too small")
        self.dim, self.input_scale = dim, input_scale
        self.register_buffer(
            "frequencies", math.pi / 2 * 2.0 ** torch.arange(frequencies), persistent=False
        )
        sizes = [dim + (2 * frequencies or 1), *widths, dim]
        layers = []
        for start, end in zip(sizes, sizes[1:]):
            layers += [nn.Linear(start, end), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*(layers if activate_output else layers[:-1]))

    def forward(self, x: Tensor, share: Tensor) -> Tensor:
        """Map x of shape (B, d) at relative times t/T of shape (B,) to shape (B, d)."""
        require(
            x.ndim == 2 and x.shape[1] == self.dim,
            f"x has shape {tuple(x.shape)}; expected (B, {self.dim})",
        )
        time = share[:, None]
        if len(self.frequencies):
            phase = time * self.frequencies
            time = torch.cat([phase.sin(), phase.cos()], 1)
        return self.layers(torch.cat([self.input_scale * x, time], 1))
