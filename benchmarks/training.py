"""Training steps of image networks, of ours and of those of other libraries, on all cores.

Each network has about as many parameters as ours, without attention where that can be chosen;
32 x 32 color images come in batches of 64. In bfloat16 too where that is the faster precision for
ours; elsewhere a step of it may take a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from diffusers import UNet2DModel
from torch import nn

from benchmarks.measuring import in_turn, row
from diffot.learning import recipes
from diffot.learning.networks import UNet
from diffot.learning.objectives import DenoisingLoss
from diffot.learning.precision import faster_precision

TITLE = "Training of image networks"
THREADS = None  # all cores
BATCH, ROUNDS = 64, 5
HALF = {"float32": False, "bfloat16": True}
WHY = "At equal depth and precision both spend their time in the same convolutions."


class Diffusers(nn.Module):
    """diffusers' U-Net, called as ours is."""

    def __init__(self, widths: tuple[int, ...], layers: int):
        super().__init__()
        self.network = UNet2DModel(
            sample_size=32,
            block_out_channels=widths,
            layers_per_block=layers,
            down_block_types=["DownBlock2D"] * 3,
            up_block_types=["UpBlock2D"] * 3,
            norm_num_groups=8,
            add_attention=False,
        )

    def forward(self, x, share):
        return self.network(x, share * 1000).sample


class DenoisingDiffusionPytorch(nn.Module):
    """The U-Net of denoising-diffusion-pytorch, called as ours is."""

    def __init__(self):
        super().__init__()
        from denoising_diffusion_pytorch import Unet

        self.network = Unet(dim=24, dim_mults=(1, 2, 4))

    def forward(self, x, share):
        return self.network(x, share * 1000)


OURS = {k: v for k, v in recipes.config("Faces32A").network.items() if k != "class"}
DEFAULT = "diffusers, 2 layers"  # its default depth
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ours": partial(UNet, **OURS),
    DEFAULT: partial(Diffusers, (32, 64, 64), 2),
    "diffusers, 1 layer": partial(Diffusers, (24, 48, 96), 1),
    "denoising-diffusion-pytorch": DenoisingDiffusionPytorch,
}


def measure(tiny: bool = False) -> list[dict]:
    batch, rounds = (2, 1) if tiny else (BATCH, ROUNDS)
    objective = DenoisingLoss(recipes.config("Faces32A").schedule, "v")
    draws = torch.Generator().manual_seed(0)
    inputs = objective.prepare((noise(batch, draws), {}), draws)
    precision, _ = faster_precision(UNet(**OURS), objective, inputs, batch)
    kinds = list(dict.fromkeys(["float32", precision]))
    steps = {
        (name, kind): trainer(build(), HALF[kind], batch)
        for name, build in NETWORKS.items()
        for kind in kinds
    }
    calls = {
        name: caller(build().requires_grad_(False), batch) for name, build in NETWORKS.items()
    }
    trained, called = in_turn(steps, rounds), in_turn(calls, rounds)
    named = partial(row, unit=f"s, {batch} images", why=WHY)
    rows = [
        named(
            f"training step in {kind}",
            trained["ours", kind],
            trained[peer, kind],
            against=peer,
            target=1 / 1.2,
        )
        for peer in [*NETWORKS][1:]
        for kind in kinds
    ]
    if precision == "bfloat16":
        ours, theirs = trained["ours", precision], trained[DEFAULT, "float32"]
        against = f"{DEFAULT}, in float32"
        rows.append(
            named(f"training step in {precision}", ours, theirs, against=against, target=0.5)
        )
    return rows + [
        named("network call without gradients", called["ours"], called[peer], against=peer)
        for peer in [*NETWORKS][1:]
    ]


def trainer(network: nn.Module, half: bool, batch: int) -> Callable[[], None]:
    """One step of training, as a function."""
    network = network.to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)
    x = noise(batch, generator)
    share = torch.rand(batch, generator=generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            output = network(x, share)
        loss = nn.functional.mse_loss(output.float(), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def caller(network: nn.Module, batch: int) -> Callable[[], None]:
    network = network.to(memory_format=torch.channels_last)
    x, share = torch.zeros(batch, 3, 32, 32), torch.ones(batch)
    return lambda: network(x, share)


def noise(n: int, generator: torch.Generator) -> torch.Tensor:
    """Images to take steps on."""
    return torch.randn(n, 3, 32, 32, generator=generator)
