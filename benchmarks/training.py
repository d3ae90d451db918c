"""Training steps of image networks, of ours and of those of other libraries, on all cores, or on
the GPU where there is one.

Each network has about as many parameters as ours (they are said, in millions), without attention
where that can be chosen; ours has 11 residual blocks, that of diffusers 11 with one layer and 17
with its default of two. 32 x 32 color images come in batches of 64, in bfloat16 too where that is
the faster precision for ours; elsewhere it may take ten times as long. Ours keeps its images as
training here does, and every peer in the order of memory that is faster for it. Then each trains
on drawn faces for the same time, in the faster precision, with Adam at a rate of 0.001 for all,
and what counts is the loss on other faces, at the same noise for all. A minute on two cores, or
ten seconds on a GPU, is the very beginning of training.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from accelerate.utils import send_to_device
from diffusers import UNet2DModel
from torch import Tensor, nn

from benchmarks.measuring import device, in_turn, row
from diffot.learning import recipes
from diffot.learning.clock import wait_for
from diffot.learning.datasets import load_images
from diffot.learning.networks import UNet
from diffot.learning.objectives import DenoisingLoss
from diffot.learning.precision import faster_precision

TITLE = "Training of image networks"
THREADS = None  # all cores
PEERS = ("diffusers", "denoising-diffusion-pytorch")
BATCH, ROUNDS = 64, 5
TRAININGS, HELD_OUT = 2, 512
SECONDS = {"cpu": 60.0, "cuda": 10.0}  # of each training
HALF = {"float32": False, "bfloat16": True}
LAYOUTS = {"rows": torch.contiguous_format, "channels last": torch.channels_last}
WHY_COMPILED = "torch.compile speeds this network up, and ours hardly (see its row)."
WHY_SAME = "It is the same network, which torch.compile hardly speeds up here."


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
OURS_COMPILED = "a plain residual U-Net (ours), torch.compile"
COMPILED: dict[str, Callable[[], nn.Module]] = {
    f"{SHALLOW}, torch.compile": lambda: torch.compile(NETWORKS[SHALLOW]()),
    OURS_COMPILED: lambda: torch.compile(NETWORKS["ours"]()),
}


def measure(tiny: bool = False) -> list[dict]:
    batch, rounds = (2, 1) if tiny else (BATCH, ROUNDS)
    objective = DenoisingLoss(recipes.config("Faces32A").schedule, "v")
    draws = torch.Generator().manual_seed(0)
    inputs = objective.prepare((noise(batch, draws), {}), draws)
    precision, _ = faster_precision(UNet(**OURS).to(device()), objective, inputs, batch)
    kinds = list(dict.fromkeys(["float32", precision]))
    builds = NETWORKS | COMPILED
    trained, layouts = fastest(
        {
            (name, kind, layout): trainer(build(), layout, HALF[kind], batch)
            for name, build in builds.items()
            for kind in kinds
            for layout in offered(name)
        },
        rounds,
    )
    called, _ = fastest(
        {
            (name, "float32", layout): caller(build(), layout, batch)
            for name, build in NETWORKS.items()
            for layout in offered(name)
        },
        rounds,
    )
    named = partial(row, unit=f"s, {batch} images")
    rows = [
        named(
            f"training step in {kind}",
            trained["ours", kind],
            trained[peer, kind],
            against=sized(peer),
            target=1 / 1.2,
            why="" if peer in NETWORKS else WHY_SAME if peer == OURS_COMPILED else WHY_COMPILED,
        )
        for peer in [*builds][1:]
        for kind in kinds
    ]
    rows.append(
        named(
            f"training step in {precision}",
            trained["ours", precision],
            trained[DEFAULT, "float32"],
            against=f"{DEFAULT}, in float32",
            target=0.5,
        )
    )
    rows += [
        named(
            "network call without gradients",
            called["ours", "float32"],
            called[peer, "float32"],
            against=peer,
        )
        for peer in [*NETWORKS][1:]
    ]
    chosen = {name: layouts[name, precision] for name in NETWORKS}
    timed = (1.0, 1) if tiny else (SECONDS[device().type], TRAININGS)
    return rows + equal_times(objective, precision, chosen, *timed)


def offered(name: str) -> list[str]:
    """The orders of memory that are tried: for ours only the one that training here takes."""
    if "ours" not in name:
        return [*LAYOUTS]
    return ["channels last" if device().type == "cuda" else "rows"]


def fastest(ways: dict, rounds: int) -> tuple[dict, dict]:
    """Times of each network in each precision, in the faster order of memory, and that order."""
    taken: dict = {}
    layouts: dict = {}
    for (name, kind, layout), times in in_turn(ways, rounds).items():
        if (name, kind) not in taken or median(times) < median(taken[name, kind]):
            taken[name, kind], layouts[name, kind] = times, layout
    return taken, layouts


def sized(name: str) -> str:
    """A peer's name with its number of parameters."""
    if name not in NETWORKS:
        return name
    count = sum(weight.numel() for weight in NETWORKS[name]().parameters())
    return f"{name}, {count / 1e6:.2f} million parameters"


def equal_times(
    objective: DenoisingLoss,
    precision: str,
    layouts: dict[str, str],
    seconds: float,
    trainings: int,
) -> list[dict]:
    """Loss on other faces after the same time of training."""
    faces = load_images(recipes.config("Faces32A").data).images
    reached: dict[str, list[float]] = {name: [] for name in NETWORKS}
    for seed in range(trainings):
        for name, build in NETWORKS.items():
            torch.manual_seed(seed)
            network = placed(build(), layouts[name])
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
        inputs = send_to_device(objective.prepare((faces[chosen], {}), draws), device())
        with torch.autocast(device().type, torch.bfloat16, enabled=half):
            loss = objective(network, inputs).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        wait_for(device())
        start = start or time.perf_counter()


@torch.no_grad()
def held_out(network: nn.Module, objective: DenoisingLoss, faces: torch.Tensor) -> float:
    """Mean loss in float32, of the same images, times and noise for every network."""
    draws = torch.Generator().manual_seed(0)
    losses = [
        objective(network, send_to_device(objective.prepare((part, {}), draws), device()))
        for part in faces.split(BATCH)
    ]
    return float(torch.cat(losses).mean())


def placed(network: nn.Module, layout: str) -> nn.Module:
    return network.to(device(), memory_format=LAYOUTS[layout])


def trainer(network: nn.Module, layout: str, half: bool, batch: int) -> Callable[[], None]:
    """One step of training, as a function."""
    network = placed(network, layout)
    generator = torch.Generator().manual_seed(0)
    x = noise(batch, generator).to(device(), memory_format=LAYOUTS[layout])
    share = torch.rand(batch, generator=generator).to(device())
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step() -> None:
        with torch.autocast(device().type, torch.bfloat16, enabled=half):
            output = network(x, share)
        loss = nn.functional.mse_loss(output.float(), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def caller(network: nn.Module, layout: str, batch: int) -> Callable[[], Tensor]:
    network = placed(network.requires_grad_(False), layout)
    x = torch.zeros(batch, 3, 32, 32).to(device(), memory_format=LAYOUTS[layout])
    share = torch.ones(batch, device=device())
    return lambda: network(x, share)


def noise(n: int, generator: torch.Generator) -> torch.Tensor:
    """Images to take steps on."""
    return torch.randn(n, 3, 32, 32, generator=generator)
