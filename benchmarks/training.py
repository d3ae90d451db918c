"""Training steps of image networks, of ours and of those of other libraries, on all cores.

Each network has about as many parameters as ours, without attention where that can be chosen;
32 x 32 color images come in batches of 64. In bfloat16 too where that is the faster precision for
ours; elsewhere a step of it may take a minute. Then each trains on drawn faces for the same time,
in that precision, with Adam at a rate of 0.001, and what counts is the loss on other faces, at
the same noise for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from diffusers import UNet2DModel
from torch import nn

from benchmarks.measuring import in_turn, row
from diffot.learning import recipes
from diffot.learning.datasets import load_images
from diffot.learning.networks import UNet
from diffot.learning.objectives import DenoisingLoss
from diffot.learning.precision import faster_precision

TITLE = "Training of image networks"
THREADS = None  # all cores
BATCH, ROUNDS = 64, 5
SECONDS, TRAININGS, HELD_OUT = 60.0, 2, 512
HALF = {"float32": False, "bfloat16": True}
WHY = "At equal depth and precision both spend their time in the same convolutions."
WHY_COMPILED = "Normalizations and activations run fused with what stands beside them."
WHY_LOSS = "A network of half the depth takes more steps in the same time."


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
SHALLOW = "diffusers, 1 layer"
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ours": partial(UNet, **OURS),
    DEFAULT: partial(Diffusers, (32, 64, 64), 2),
    SHALLOW: partial(Diffusers, (24, 48, 96), 1),
    "denoising-diffusion-pytorch": DenoisingDiffusionPytorch,
}
COMPILED = f"{SHALLOW}, torch.compile"


def measure(tiny: bool = False) -> list[dict]:
    batch, rounds = (2, 1) if tiny else (BATCH, ROUNDS)
    objective = DenoisingLoss(recipes.config("Faces32A").schedule, "v")
    draws = torch.Generator().manual_seed(0)
    inputs = objective.prepare((noise(batch, draws), {}), draws)
    precision, _ = faster_precision(UNet(**OURS), objective, inputs, batch)
    kinds = list(dict.fromkeys(["float32", precision]))
    builds = NETWORKS | {COMPILED: lambda: torch.compile(NETWORKS[SHALLOW]())}
    steps = {
        (name, kind): trainer(build(), HALF[kind], batch)
        for name, build in builds.items()
        for kind in kinds
    }
    calls = {
        name: caller(build().requires_grad_(False), batch) for name, build in NETWORKS.items()
    }
    trained, called = in_turn(steps, rounds), in_turn(calls, rounds)
    named = partial(row, unit=f"s, {batch} images")
    rows = [
        named(
            f"training step in {kind}",
            trained["ours", kind],
            trained[peer, kind],
            against=peer,
            target=1 / 1.2,
            why={SHALLOW: WHY, COMPILED: WHY_COMPILED}.get(peer, ""),
        )
        for peer in [*builds][1:]
        for kind in kinds
    ]
    if precision == "bfloat16":
        ours, theirs = trained["ours", precision], trained[DEFAULT, "float32"]
        against = f"{DEFAULT}, in float32"
        rows.append(
            named(f"training step in {precision}", ours, theirs, against=against, target=0.5)
        )
    rows += [
        named("network call without gradients", called["ours"], called[peer], against=peer)
        for peer in [*NETWORKS][1:]
    ]
    return rows + equal_times(objective, precision, *((1.0, 1) if tiny else (SECONDS, TRAININGS)))


def equal_times(
    objective: DenoisingLoss, precision: str, seconds: float, trainings: int
) -> list[dict]:
    """Loss on other faces after the same time of training."""
    faces = load_images(recipes.config("Faces32A").data).images
    reached: dict[str, list[float]] = {name: [] for name in NETWORKS}
    for seed in range(trainings):
        for name, build in NETWORKS.items():
            torch.manual_seed(seed)
            network = build().to(memory_format=torch.channels_last)
            train(network, objective, faces[HELD_OUT:], HALF[precision], seconds, seed)
            reached[name].append(held_out(network, objective, faces[:HELD_OUT]))
    return [
        row(
            f"held-out loss after {seconds:.0f} s in {precision}",
            reached["ours"],
            reached[peer],
            unit="mean square",
            against=peer,
            target=1.0,
            why=WHY_LOSS if peer == SHALLOW else "",
        )
        for peer in [*NETWORKS][1:]
    ]


def train(
    network: nn.Module,
    objective: DenoisingLoss,
    faces: torch.Tensor,
    half: bool,
    seconds: float,
    seed: int,
) -> None:
    """Steps of Adam, as many as fit in the time; the clock begins after the first."""
    draws = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    start = None
    while start is None or time.perf_counter() - start < seconds:
        chosen = torch.randint(len(faces), (BATCH,), generator=draws)
        inputs = objective.prepare((faces[chosen], {}), draws)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = objective(network, inputs).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        start = start or time.perf_counter()


@torch.no_grad()
def held_out(network: nn.Module, objective: DenoisingLoss, faces: torch.Tensor) -> float:
    """Mean loss in float32, of the same images, times and noise for every network."""
    draws = torch.Generator().manual_seed(0)
    losses = [
        objective(network, objective.prepare((part, {}), draws)) for part in faces.split(BATCH)
    ]
    return float(torch.cat(losses).mean())


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
