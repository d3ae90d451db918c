"""Training and sampling of image networks: ratios from one run, on all cores.

In bfloat16 too where that is the faster precision for ours; elsewhere a step of it may take a
minute.

Next to diffusers' UNet2DModel and, if it is installed, denoising-diffusion-pytorch, each of about
as many parameters as ours, without attention where that can be chosen, 32 x 32 color images in
batches of 64. Targets: training of ours, in the precision that it chooses, at least 2 times as
fast as diffusers in its default precision (float32) where that choice is bfloat16, and 1.2 times
as fast in the same precision; `ddim` at most 1.01 times a bare loop of network calls.

denoising-diffusion-pytorch is not among the requirements, for it brings torchvision. Installed
with `pip install --no-deps denoising-diffusion-pytorch einops ema-pytorch` it takes part.
"""

import importlib.util
import statistics
import sys
import time
import types
from collections.abc import Callable

import torch
from diffusers import UNet2DModel
from torch import nn

from diffot.denoisers.network import NetworkDenoiser
from diffot.learning import recipes
from diffot.learning.networks import UNet
from diffot.learning.objectives import DenoisingLoss
from diffot.learning.precision import faster_precision
from diffot.samplers.ddim import ddim

BATCH, ROUNDS = 64, 5


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
        # which it needs for data and FID only
        stand_in("torchvision", "transforms", "utils")
        stand_in("pytorch_fid", "fid_score", "inception")
        from denoising_diffusion_pytorch import Unet

        self.network = Unet(dim=24, dim_mults=(1, 2, 4))

    def forward(self, x, share):
        return self.network(x, share * 1000)


def stand_in(package: str, *parts: str) -> None:
    """Let a package that is not needed be imported, with whatever is imported from it."""
    if package in sys.modules or importlib.util.find_spec(package):
        return
    names = [package, *(f"{package}.{part}" for part in parts)]
    modules = {name: types.ModuleType(name) for name in names}
    for name, module in modules.items():
        module.__getattr__ = lambda attribute: None
        sys.modules[name] = module
        if name != package:
            setattr(modules[package], name.removeprefix(f"{package}."), module)


def trainer(network: nn.Module, half: bool) -> Callable[[], None]:
    """One step of training, as a function."""
    generator = torch.Generator().manual_seed(0)
    x = noise(BATCH, generator)
    share = torch.rand(BATCH, generator=generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            output = network(x, share)
        loss = nn.functional.mse_loss(output.float(), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def seconds(function: Callable[[], None]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def medians(functions: dict[str, Callable[[], None]], rounds: int = ROUNDS) -> dict[str, float]:
    """Median time of each, in turn, so that a change in the machine's speed falls on all."""
    times = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return {name: statistics.median(values) for name, values in times.items()}


def main():
    networks = {
        "ours": lambda: UNet(**OURS),
        "diffusers, 2 layers": lambda: Diffusers((32, 64, 64), 2),  # its default depth
        "diffusers, 1 layer": lambda: Diffusers((24, 48, 96), 1),
    }
    try:
        DenoisingDiffusionPytorch()
        networks["denoising-diffusion-pytorch"] = DenoisingDiffusionPytorch
    except ImportError as error:
        print(f"denoising-diffusion-pytorch is left out: {error}; see the head of this file")
    last = torch.channels_last
    draws = torch.Generator().manual_seed(0)
    objective = DenoisingLoss(recipes.config("Faces32A").schedule, "v")
    inputs = objective.prepare((noise(BATCH, draws), {}), draws)
    precision, slowness = faster_precision(UNet(**OURS), objective, inputs, BATCH)
    print(f"a step of ours in bfloat16 takes {slowness:.2g} times as long as in float32")
    if precision == "float32":
        print("bfloat16 is left out")
    steps, samples = {}, {}
    for name, build in networks.items():
        size = sum(weight.numel() for weight in build().parameters())
        print(f"{name}: {size / 1e6:.2f} M parameters")
        steps[f"{name}, float32"] = trainer(build(), False)
        if precision == "bfloat16":
            steps[f"{name}, bfloat16"] = trainer(build(), True)
            channels_last = build().to(memory_format=last)
            steps[f"{name}, bfloat16, channels last"] = trainer(channels_last, True)
        network = build().to(memory_format=last).requires_grad_(False)
        samples[name] = lambda f=network: f(torch.zeros(BATCH, 3, 32, 32), torch.ones(BATCH))

    print(f"\ntraining, {torch.get_num_threads()} threads, batches of {BATCH}: images/s")
    found = medians(steps)
    ours = found[f"ours, {precision}"]
    for name, duration in found.items():
        print(
            f"  {name:42} {BATCH / duration:6.0f}   ours is {duration / ours:.2f} times as fast"
        )
    print("network calls in float32 without gradients: images/s")
    found = medians(samples)
    for name, duration in found.items():
        ratio = duration / found["ours"]
        print(f"  {name:42} {BATCH / duration:6.0f}   ours is {ratio:.2f} times as fast")

    network = UNet(**OURS).to(memory_format=last).requires_grad_(False)
    schedule = recipes.config("Faces32A").schedule
    z = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    share = torch.full((16,), 0.5)
    denoiser, free = (NetworkDenoiser(net, schedule, "v") for net in (network, Free()))
    times = {"ddim": [], "bare": [], "free": []}
    for _ in range(6):
        times["ddim"].append(seconds(lambda: ddim(denoiser, z, 20)))
        times["bare"].append(seconds(lambda: [network(z, share) for _ in range(20)]))
        times["free"].append(seconds(lambda: ddim(free, z, 20)))
    found = {name: statistics.median(values) for name, values in times.items()}
    print(
        f"ddim over a bare loop, batches of {len(z)}: {found['ddim'] / found['bare']:.3f} (ratio "
        f"of medians, noisy); from a network that costs nothing: "
        f"{1 + found['free'] / found['bare']:.4f}"
    )


def noise(n: int, generator: torch.Generator) -> torch.Tensor:
    """Images to take steps on."""
    return torch.randn(n, 3, 32, 32, generator=generator)


class Free(nn.Module):
    """A network that costs nothing, to see what the rest of a sampler does."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, x, share):
        return x


OURS = {k: v for k, v in recipes.config("Faces32A").network.items() if k != "class"}

if __name__ == "__main__":
    main()
