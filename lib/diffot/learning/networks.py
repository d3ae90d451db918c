"""Network architectures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffot.errors import (
    as_classes,
    as_number,
    as_whole_number,
    require,
    require_known,
    require_tensor,
    require_type,
    unknown_name,
)
from diffot.learning.descriptions import called, split

LARGEST_SEED = 2**63 - 1
ACTIVATIONS = {"leaky_relu": nn.LeakyReLU, "silu": nn.SiLU, "gelu": nn.GELU}


class MLP(nn.Module):
    r"""A multi-layer perceptron for points, with the time as further inputs.

    Args:
        dim: dimension d of the points.
        widths: width of each hidden layer.
        activation: ``"leaky_relu"``, ``"silu"`` or ``"gelu"``.
        frequencies: 0 feeds the relative time t/T itself, as the thesis does (section 4.1); n > 0
            feeds :math:`\sin(2^j \pi t/T / 2)` and :math:`\cos(2^j \pi t/T / 2)`, j = 0..n-1.
        input_scale: factor on the points before the first layer.
        activate_output: apply the activation to the output too. The thesis' code does, which
            makes negative noise hard to predict: a leaky rectifier shrinks it a hundredfold.
    """

    frequencies: Tensor

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
        require_known(activation, "activation", ACTIVATIONS)
        dim = as_whole_number(dim, "dim", least=1)
        frequencies = as_whole_number(frequencies, "frequencies", least=0)
        widths = as_widths(widths)
        self.dim, self.input_scale = dim, as_number(input_scale, "input_scale")
        self.register_buffer(
            "frequencies", math.pi / 2 * 2.0 ** torch.arange(frequencies), persistent=False
        )
        sizes = [dim + (2 * frequencies or 1), *widths, dim]
        layers = []
        for start, end in zip(sizes, sizes[1:]):
            layers += [nn.Linear(start, end), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*(layers if activate_output else layers[:-1]))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Map x of shape (B, d) at relative times t/T of shape (B,) to shape (B, d)."""
        require_tensor(x, "x")
        require(
            x.ndim == 2 and x.shape[1] == self.dim,
            f"x has shape {tuple(x.shape)}; expected (B, {self.dim})",
        )
        _require_times(time, x)
        features = time[:, None]
        if len(self.frequencies):
            phase = features * self.frequencies
            features = torch.cat([phase.sin(), phase.cos()], 1)
        return self.layers(torch.cat([self.input_scale * x, features], 1))


class UNet(nn.Module):
    r"""A U-Net for images (Ronneberger et al. 2015; Ho et al. 2020, appendix B; thesis 4.1).

    Level i works at 1/2^i of the resolution with ``widths[i]`` channels. The way down averages
    2 x 2 pixels between levels, the way up repeats each pixel and puts the output of the level of
    the same resolution beside it. There is no attention, as in the thesis. Each residual block is
    told the time and the labels: sinusoids of the relative time, transformed, plus one learned
    vector for each label. The last convolution starts at zero, so that a fresh network answers 0.

    Args:
        channels: of the images, 3 for color.
        widths: channels at each level, from the full resolution down; multiples of ``groups``.
        blocks: residual blocks at each level, on the way down and on the way up.
        middle: channels of each residual block between the two ways, at the lowest resolution.
        activation: ``"silu"``, ``"gelu"`` or ``"leaky_relu"``.
        embedding: length of the vector that carries time and labels.
        groups: of channels that are normalized together (Wu & He 2018).
        labels: for a conditional network, the attributes that it can be told and the number of
            classes of each, as in ``{"smile": 2, "hair_color": 6}``.

    Raises:
        ValueError: for widths that cannot be split into the groups, or an unknown activation.
    """

    frequencies: Tensor

    def __init__(
        self,
        channels: int = 3,
        widths: Sequence[int] = (32, 64, 128),
        blocks: int = 2,
        middle: Sequence[int] = (128,),
        activation: str = "silu",
        embedding: int = 128,
        groups: int = 8,
        labels: Mapping[str, int] | None = None,
    ):
        super().__init__()
        require_known(activation, "activation", ACTIVATIONS)
        channels = as_whole_number(channels, "channels", least=1)
        groups = as_whole_number(groups, "groups", least=1)
        blocks = as_whole_number(blocks, "blocks", least=1)
        embedding = as_whole_number(embedding, "embedding", least=2)
        require(embedding % 2 == 0, f"embedding is {embedding}; expected an even number")
        widths = as_widths(widths, groups, least=1)
        middle = as_widths(middle, groups, name="middle")
        require_type(labels, (Mapping, type(None)), "labels", "a dict such as {'smile': 2}")
        self.channels = channels
        self.labels = {
            name: as_whole_number(classes, f"labels[{name!r}]", least=1)
            for name, classes in (labels or {}).items()
        }
        self.activation = ACTIVATIONS[activation]()
        half = embedding // 2
        # angles per unit of t/T, from 1000 radians down to a tenth of one
        frequencies = 1000 * torch.exp(-math.log(1e4) * torch.arange(half) / half)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.time = nn.Sequential(
            nn.Linear(embedding, embedding), self.activation, nn.Linear(embedding, embedding)
        )
        # the last row stands for "not said"
        self.label = nn.ModuleDict(
            {name: nn.Embedding(classes + 1, embedding) for name, classes in self.labels.items()}
        )
        self.embedding, self.groups = embedding, groups
        self._add_levels(widths, middle, blocks)
        for weight in self.last.parameters():
            nn.init.zeros_(weight)

    def _add_levels(self, widths: Sequence[int], middle: Sequence[int], blocks: int) -> None:
        """The convolutions on the way down and up."""

        def stack(start: int, ends: Sequence[int]) -> nn.ModuleList:
            pairs = zip([start, *ends], ends)
            return nn.ModuleList(
                ResidualBlock(a, b, self.embedding, self.activation, self.groups)
                for a, b in pairs
            )

        self.first = nn.Conv2d(self.channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            stack(widths[max(i - 1, 0)], [width] * blocks) for i, width in enumerate(widths)
        )
        self.middle = stack(widths[-1], middle)
        self.up = nn.ModuleList()
        below = [widths[-1], *middle][-1]
        for width in reversed(widths[:-1]):
            self.up.append(stack(below + width, [width] * blocks))
            below = width
        self.norm = nn.GroupNorm(self.groups, below)
        self.last = nn.Conv2d(below, self.channels, 3, padding=1)

    def forward(
        self, x: Tensor, time: Tensor, labels: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Map images at relative times to images.

        Args:
            x: shape (B, channels, H, W), H and W multiples of 2^(levels-1).
            time: t/T, shape (B,).
            labels: whole numbers, shape (B,), for some or all attributes, or truth values for
                the classes 0 and 1; -1 and an attribute that is left out mean "not said".
        """
        require_tensor(x, "x")
        step = 2 ** len(self.up)
        require(
            x.ndim == 4
            and x.shape[1] == self.channels
            and x.shape[2] % step == 0
            and x.shape[3] % step == 0,
            f"x has shape {tuple(x.shape)}; expected (B, {self.channels}, H, W) "
            f"with H and W multiples of {step}",
        )
        _require_times(time, x)
        condition = self.activation(self._embed(time, labels or {}))
        x = self.first(x)
        skips = []
        level: Any  # a ModuleList each
        for i, level in enumerate(self.down):
            x = functional.avg_pool2d(x, 2) if i else x
            for block in level:
                x = block(x, condition)
            skips.append(x)
        for block in self.middle:
            x = block(x, condition)
        for level, skip in zip(self.up, reversed(skips[:-1])):
            x = torch.cat([functional.interpolate(x, scale_factor=2.0), skip], 1)
            for block in level:
                x = block(x, condition)
        return self.last(self.activation(self.norm(x)))

    def _embed(self, time: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
        """The vector with time and labels, shape (B, embedding)."""
        for name in labels:
            require(name in self.labels, unknown_name("label", name, self.labels))
        angle = time[:, None] * self.frequencies
        vector = self.time(torch.cat([angle.sin(), angle.cos()], 1))
        unsaid = torch.full(time.shape, -1, device=time.device)
        for name, classes in self.labels.items():
            index = as_classes(labels.get(name, unsaid), f"label {name}")
            require(
                index.shape == time.shape,
                f"label {name} has shape {tuple(index.shape)} for {len(time)} images; expected "
                "one class for each",
            )
            vector = vector + self.label[name](torch.where(index < 0, classes, index))
        return vector


def _require_times(time: Tensor, x: Tensor) -> None:
    require_tensor(time, "time")
    if time.shape != x.shape[:1]:
        raise ValueError(
            f"time has shape {tuple(time.shape)} for {len(x)} points; expected t/T for each"
        )


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, with a vector added between them.

    Args:
        start, end: channels of input and output.
        embedding: length of the vector, added to all pixels after a linear map.
    """

    def __init__(self, start: int, end: int, embedding: int, activation: nn.Module, groups: int):
        super().__init__()
        self.activation = activation
        self.norm_1, self.norm_2 = nn.GroupNorm(groups, start), nn.GroupNorm(groups, end)
        self.conv_1 = nn.Conv2d(start, end, 3, padding=1)
        self.conv_2 = nn.Conv2d(end, end, 3, padding=1)
        self.told = nn.Linear(embedding, end)  # a name that is in the weights on disk
        self.shortcut = nn.Identity() if start == end else nn.Conv2d(start, end, 1)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Map x of shape (B, start, H, W) and a vector of shape (B, embedding)."""
        h = self.conv_1(self.activation(self.norm_1(x))) + self.told(vector)[:, :, None, None]
        return self.shortcut(x) + self.conv_2(self.activation(self.norm_2(h)))


NETWORKS = {"MLP": MLP, "UNet": UNet}


def build(network: dict, seed: int) -> nn.Module:
    """A network with fresh weights from its description, drawn with the given seed.

    Args:
        network: the arguments of a class and, as ``"class"``, its name in ``NETWORKS``.

    Raises:
        ValueError: for an unknown class or argument.
    """
    arguments, family = split(network, "network", "class")
    require_known(family, "network class", NETWORKS)
    return seeded(lambda: called(NETWORKS[family], arguments, family), seed)


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A new network whose weights are drawn with this seed; torch's own generator stays as is.

    Raises:
        TypeError, ValueError: for anything but a seed.
    """
    seed = as_whole_number(seed, "seed", least=0, most=LARGEST_SEED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def as_widths(
    widths: Sequence[int], multiple: int = 1, least: int = 0, name: str = "widths"
) -> tuple[int, ...]:
    """Widths of layers, or channels of levels: so many multiples of a number, checked."""
    require_type(widths, (list, tuple), name, "a list of widths, such as (32, 64)")
    checked = tuple(as_whole_number(width, f"a width of {name}", least=1) for width in widths)
    require(
        len(checked) >= least and all(width % multiple == 0 for width in checked),
        f"{name} are {checked}; expected at least {least} multiples of {multiple}, one for each "
        "level",
    )
    return checked
