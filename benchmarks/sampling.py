"""What DDIM costs beyond the network calls in it, and against the DDIM of other libraries.

The same trained network is called fifty times by a bare loop, by ``ddim`` and by the peers'
samplers: a small one on 4000 points in the plane, and one of 1.4 million parameters on eight
images, on one thread, or on the GPU where there is one. k-diffusion looks the level of every
point up in a table of 1000 at each step, as its wrapper of discrete models does.
denoising-diffusion-pytorch begins with noise of its own, has its own levels and clips.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import peers
from benchmarks.measuring import device, in_turn, row, rows, seconds
from diffot.denoisers.network import NetworkDenoiser
from diffot.learning import registry
from diffot.learning.clock import wait_for
from diffot.samplers.ddim import ddim, ddim_path

TITLE = "DDIM over bare network calls"
THREADS = 1
PEERS = ("diffusers", "k-diffusion", "smalldiffusion", "azula", "denoising-diffusion-pytorch")
STEPS = 50
WHY = (
    "A step has six passes over the points beside the network call, and right after one the "
    "first of a kind takes longer than once more (see the row on a sum)."
)


def measure(tiny: bool = False) -> list[dict]:
    points, images, rounds = (100, 1, 2) if tiny else (4000, 8, 25)
    draws = torch.Generator().manual_seed(0)
    plane, faces = map(loaded, ("Low2DASymMixSiLU", "Faces32A"))
    x = torch.randn(points, 2, generator=draws).to(device())
    z = torch.randn(images, 3, 32, 32, generator=draws).to(device())
    # with the short mantissas of TF32, a GPU's default, equal ways end at different points
    with torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=False):
        in_plane = compare("plane", plane, x, 1.05, rounds)
        images = compare("images", faces, z, 1.01, max(rounds // 2, 1))
        return [*in_plane, *images, after_a_call(plane, x, 20 * rounds)]


def loaded(name: str) -> NetworkDenoiser:
    denoiser = registry.load(name)
    denoiser.network.to(device())
    return denoiser


def compare(
    name: str, denoiser: NetworkDenoiser, z: Tensor, target: float, rounds: int
) -> list[dict]:
    ways = {"ddim": partial(ddim, denoiser, z, STEPS), "bare loop": bare(denoiser, z)}
    for peer, build in WAYS.items():
        ways[peer] = build(denoiser, z)
        off = (ways[peer]() - ways["ddim"]()).abs().median()  # next to a border some points part
        assert off < 1e-5, f"{peer} ends elsewhere"
    if z.ndim == 4:
        ways["denoising-diffusion-pytorch"] = denoising_diffusion_pytorch(denoiser, z)
    times = in_turn(ways, rounds)
    ours, least = times.pop("ddim"), {"bare loop": times.pop("bare loop")}
    compared = partial(rows, f"{name}, {STEPS} steps", ours, unit="s")
    return [*compared(least, target=target, why=WHY), *compared(times, target=1.0)]


def after_a_call(denoiser: NetworkDenoiser, x: Tensor, rounds: int) -> dict:
    """What one pass over the points costs right after a network call, against alone."""
    told = share(500.0, x)
    after, alone = [], []
    for _ in range(rounds):
        denoiser.network(x, told)
        wait_for(device())
        after.append(seconds(x.sum))
        alone.append(seconds(x.sum))
    name = "sum of the points in the plane, right after a network call"
    return row(name, after, alone, unit="s", against="once more")


def bare(denoiser: NetworkDenoiser, z: Tensor) -> Callable[[], None]:
    """Network calls alone, with the inputs of ``ddim``: large ones make tiny activations, which
    some processors are slow with."""
    times = denoiser.schedule.timesteps(STEPS)[:-1]
    shares = [share(float(t), z) for t in times]
    visited = ddim_path(denoiser, z, STEPS)[:-1]

    def loop() -> None:
        for x, told in zip(visited, shares):
            denoiser.network(x, told)

    return loop


def share(t: float, x: Tensor) -> Tensor:
    """What the networks are told of time t, of 1000."""
    return torch.full((len(x),), t / 1000, device=x.device)


def by_diffusers(denoiser: NetworkDenoiser, z: Tensor) -> Callable[[], Tensor]:
    kinds = {"eps": "epsilon", "v": "v_prediction"}
    scheduler = peers.scheduler(
        "DDIMScheduler",
        denoiser,
        clip_sample=False,
        timestep_spacing="trailing",
        prediction_type=kinds[denoiser.parametrization.name],
    )

    def sample() -> Tensor:
        scheduler.set_timesteps(STEPS)
        x = z
        for t in scheduler.timesteps:
            x = scheduler.step(denoiser.network(x, share(int(t) + 1, x)), t, x).prev_sample
        return x

    return sample


def by_k_diffusion(denoiser: NetworkDenoiser, z: Tensor) -> Callable[[], Tensor]:
    """Euler's method in sigma, which is DDIM."""
    from k_diffusion import external, sampling

    def told(x: Tensor, t: Tensor) -> Tensor:
        return denoiser.network(x, (t + 1) / 1000)

    kinds = {"eps": external.DiscreteEpsDDPMDenoiser, "v": external.DiscreteVDDPMDenoiser}
    kind = kinds[denoiser.parametrization.name]
    levels = peers.table(denoiser).alpha_bar[1:].float().to(z.device)
    model = kind(told, levels, quantize=True)
    ratios = peers.noise_ratio(denoiser, denoiser.schedule.timesteps(STEPS)).to(z)
    start = z * (1 + ratios[0] ** 2) ** 0.5

    def sample() -> Tensor:
        return sampling.sample_euler(model, start, ratios, disable=True)

    return sample


def by_smalldiffusion(denoiser: NetworkDenoiser, z: Tensor) -> Callable[[], Tensor]:
    import smalldiffusion
    from accelerate import Accelerator

    times = denoiser.schedule.timesteps(STEPS)
    ratios = peers.noise_ratio(denoiser, times)
    told = {float(ratio.float()): share(float(t), z) for ratio, t in zip(ratios, times)}

    class Model(nn.Module, smalldiffusion.ModelMixin):
        def forward(self, x: Tensor, ratio: Tensor, cond: None = None) -> Tensor:
            alpha = (1 + ratio**2) ** -0.5
            return noise(denoiser, x * alpha, told[float(ratio)], alpha, alpha * ratio)

        def rand_input(self, n: int) -> Tensor:
            return torch.randn(n, *z.shape[1:], device=z.device)

    model, accelerator = Model(), Accelerator(cpu=z.device.type == "cpu")
    start = z * (1 + float(ratios[0]) ** 2) ** 0.5

    def sample() -> Tensor:
        path = smalldiffusion.samples(model, ratios.float(), xt=start, accelerator=accelerator)
        *_, last = path
        return last

    return sample


def by_azula(denoiser: NetworkDenoiser, z: Tensor) -> Callable[[], Tensor]:
    from azula.denoise import Denoiser, DiracPosterior
    from azula.sample import DDIMSampler

    alphas, sigmas = (level.to(z) for level in denoiser.schedule.levels(torch.arange(1001)))

    class Schedule:
        def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
            whole = (t * 1000).round().long()
            return alphas[whole], sigmas[whole]

    class Wrapped(Denoiser):
        schedule = Schedule()

        def forward(self, x: Tensor, t: Tensor, **_: Any) -> DiracPosterior:
            alpha, sigma = self.schedule(t)
            eps = noise(denoiser, x, t.expand(len(x)), alpha, sigma)
            return DiracPosterior((x - sigma * eps) / alpha)

    return partial(DDIMSampler(Wrapped(), steps=STEPS, silent=True), z)


def denoising_diffusion_pytorch(denoiser: NetworkDenoiser, z: Tensor) -> Callable[[], Tensor]:
    """For images alone, from noise of its own, and it clips them."""
    from denoising_diffusion_pytorch import GaussianDiffusion
    from denoising_diffusion_pytorch import denoising_diffusion_pytorch as module

    module.tqdm = lambda steps, **_: steps

    class Model(nn.Module):
        channels = out_dim = 3
        self_condition = False

        def forward(self, x: Tensor, t: Tensor, cond: None = None) -> Tensor:
            return denoiser.network(x, (t + 1) / 1000)

    objective = {"eps": "pred_noise", "v": "pred_v"}[denoiser.parametrization.name]
    process = GaussianDiffusion(
        Model(), image_size=32, timesteps=1000, sampling_timesteps=STEPS, objective=objective
    )
    return partial(process.to(z.device).ddim_sample, tuple(z.shape))


def noise(
    denoiser: NetworkDenoiser, x: Tensor, told: Tensor, alpha: Tensor, sigma: Tensor
) -> Tensor:
    """The noise that the network predicts."""
    output = denoiser.network(x, told)
    return output if denoiser.parametrization.name == "eps" else alpha * output + sigma * x


WAYS = {
    "diffusers": by_diffusers,
    "k-diffusion": by_k_diffusion,
    "smalldiffusion": by_smalldiffusion,
    "azula": by_azula,
}
