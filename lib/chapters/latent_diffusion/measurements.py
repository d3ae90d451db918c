"""Ways to make faces: by an autoencoder with several laws of its codes, and by their pixels.

A code is the vector that an autoencoder's decoder takes. Each task is one way, its row how far
what it makes is from real faces, and from real faces that went through the autoencoder, whose
error is then in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.utils.flop_counter import FlopCounterMode

from diffot.denoisers.denoiser import Denoiser
from diffot.denoisers.network import NetworkDenoiser
from diffot.errors import require_batch, require_known, require_type
from diffot.estimates import GROUPS, Estimate, columns, jackknife, mean
from diffot.learning import checkpoints, datasets, measured, networks, recipes, registry
from diffot.learning.batches import Draws
from diffot.learning.configuration import TrainConfig
from diffot.learning.objectives import DenoisingLoss
from diffot.learning.training import train
from diffot.measures import quality
from diffot.samplers.ddim import ddim
from diffot.seeds import generator

CODER, PIXELS, PROBE = "FacesVAE32Free", "Faces32A", "FacesProbe32"
LATENTS = 64
SCHEDULE = recipes.config(PIXELS).schedule
NETWORK = {
    "class": "MLP", "dim": LATENTS, "widths": [256, 256, 256], "activation": "silu",
    "frequencies": 4,
}  # fmt: skip
STEPS, PIXEL_STEPS = 50, 20  # of DDIM
FACES = recipes.config(CODER).data["n"]  # that the autoencoder is trained on
BATCH = 250  # images at a time where nothing is learned
WAYS = ("real", "restored", "prior", "Gaussian", "diffusion", "pixels")


@dataclass(frozen=True)
class WayTask:
    """One way to make faces.

    Attributes:
        way: ``"real"``: other faces, for comparison; ``"restored"``: the same, encoded and
            decoded; codes drawn from the ``"prior"`` N(0, I), from a ``"Gaussian"`` with their
            mean and covariance, or by ``"diffusion"``; or DDIM on ``"pixels"``.
        weights: the hashes of the networks.
        iterations: of the training of the diffusion; it has no effect on others.
        n: images, at least 10. seed: of everything drawn.
    """

    way: str
    weights: str
    iterations: int
    n: int
    seed: int = 0

    def __post_init__(self):
        require_known(self.way, "way", WAYS)
        checkpoints.require_hashes(self.weights, CODER, PIXELS)
        measured.set_whole_numbers(self, iterations=1, n=GROUPS, seed=0)


def measure_way(task: WayTask) -> dict[str, float]:
    """``real`` and ``restored``: distances in features from real faces, and from restored ones;
    ``attributes``: mean total variation distance of the frequencies of the probe's labels from
    those of real faces; and, where codes are drawn, ``codes``: their sliced Wasserstein distance
    from codes of real faces. Each with its error but ``attributes``."""
    require_type(task, WayTask, "task", "a WayTask")
    probe = registry.load(PROBE)
    faces = measured.held_out(CODER, 2 * task.n).images
    reference, others = faces[: task.n], faces[task.n :]
    if task.way == "real":
        made, codes = others, None
    elif task.way == "pixels":
        made, codes = pixels(task.n, task.seed), None
    elif task.way == "restored":
        made = decode(encode(others)[0])
        codes = sampled(*encode(others), generator(task.seed, "codes of other faces"))
    else:
        codes = draw_codes(task)
        made = decode(codes)
    restored = decode(encode(reference)[0])
    distances = quality.attribute_distances(probe, made, reference)
    row = {
        **columns("real", quality.feature_distance(probe, made, reference)),
        **columns("restored", quality.feature_distance(probe, made, restored)),
        "attributes": float(distances.total_variation.mean()),
        **columns("codes", Estimate(torch.nan, torch.nan)),
    }
    if codes is not None:
        draws = generator(0, "directions in the space of codes")
        row |= columns("codes", code_distance(codes, sampled(*encode(reference), draws), draws))
    return row


def code_distance(x: Tensor, y: Tensor, draws: torch.Generator) -> Estimate:
    """Sliced Wasserstein distance of two sets of codes, shape (n, k) each."""
    directions = quality.random_directions(x.shape[1], 200, draws)
    return quality.sliced_wasserstein(x[:, :, None, None], y[:, :, None, None], directions)


def encode(images: Tensor) -> tuple[Tensor, Tensor]:
    """Means and standard deviations of the codes of images, shape (n, k) each."""
    coder = registry.load(CODER)
    with torch.no_grad():
        parts = [coder.encode(part, {}) for part in images.split(BATCH)]
    mean, log_variance = (torch.cat(part) for part in zip(*parts))
    return mean, (log_variance / 2).exp()


def decode(codes: Tensor) -> Tensor:
    """The images of codes, clamped to [-1, 1]."""
    coder = registry.load(CODER)
    with torch.no_grad():
        return torch.cat([coder.decode(z, {}) for z in codes.split(BATCH)]).clamp(-1, 1)


def sampled(mean: Tensor, deviation: Tensor, draws: torch.Generator) -> Tensor:
    """Codes drawn from what the encoder says of images."""
    return mean + deviation * torch.randn(mean.shape, generator=draws)


@cache
def training_codes(faces: int = FACES) -> tuple[Tensor, Tensor]:
    """What the encoder says of the first faces that it was trained on."""
    data = {**recipes.config(CODER).data, "n": faces}
    return encode(datasets.load_images(data).images)


def gaussian_of(codes: Tensor) -> MultivariateNormal:
    """The Gaussian with mean and covariance of codes, float64."""
    codes = codes.double()
    return MultivariateNormal(codes.mean(0), torch.cov(codes.T))


def draw_codes(task: WayTask) -> Tensor:
    """n codes by the law of a task, float32 of shape (n, k)."""
    draws = generator(task.seed, f"codes of {task.way}")
    z = torch.randn(task.n, LATENTS, generator=draws)
    if task.way == "prior":
        return z
    if task.way == "Gaussian":
        law = gaussian_of(sampled(*training_codes(), draws))
        return (law.loc + z.double() @ law.scale_tril.T).float()
    denoiser = trained(task.iterations, task.seed)
    with torch.no_grad():
        return ddim(denoiser, z, STEPS)


@cache
def trained(iterations: int, seed: int, faces: int = FACES) -> NetworkDenoiser:
    """A denoiser of the codes of so many faces. They are drawn anew for every batch."""
    mean, deviation = training_codes(faces)

    def draw(n: int, draws: torch.Generator) -> Tensor:
        chosen = torch.randint(len(mean), (n,), generator=draws)
        return sampled(mean[chosen], deviation[chosen], draws)

    result = train(
        networks.build(NETWORK, seed),
        Draws(draw),
        DenoisingLoss(SCHEDULE, "v"),
        TrainConfig(iterations, 256, 2e-3, decay="cosine", ema=0.99),
        generator(seed, "training on codes"),
        progress=False,
    )
    return NetworkDenoiser(result.network.eval().requires_grad_(False), SCHEDULE, "v")


def pixels(n: int, seed: int) -> Tensor:
    """n faces by DDIM on pixels."""
    z = torch.randn(n, 3, 32, 32, generator=generator(seed, "faces by their pixels"))
    denoiser = registry.load(PIXELS)
    with torch.no_grad():
        return torch.cat([ddim(denoiser, part, PIXEL_STEPS) for part in z.split(50)]).clamp(-1, 1)


def operations(denoiser: Denoiser, x: Tensor) -> float:
    """Millions of multiplications for one evaluation at one point x, shape (1, *d)."""
    require_batch(x)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        denoiser.denoise(x, SCHEDULE.T)
    return counter.get_total_flops() / 2 / 1e6


def cost(z: Tensor, x: Tensor) -> Estimate:
    """Mean squared distance of latents and codes, for each coordinate."""
    return mean((x - z).double().square().mean(1))


def least_cost(codes: Tensor) -> Estimate:
    r"""Least cost of any map from N(0, I) to a law with the mean and covariance of these codes,
    for each coordinate: :math:`(|m|^2 + \operatorname{tr}(I + C - 2 C^{1/2})) / k` (Gelbrich
    1990), which is reached by the Gaussian itself."""

    def cost_of(sample: np.ndarray) -> float:
        deviations = np.linalg.eigvalsh(np.cov(sample.T)) ** 0.5
        return ((sample.mean(0) ** 2).sum() + ((deviations - 1) ** 2).sum()) / sample.shape[1]

    return jackknife(cost_of, codes.double().numpy())


@dataclass(frozen=True)
class CostTask:
    """What the flow of codes costs, by one training.

    Attributes:
        weights: the hashes of the networks.
        iterations: of the training of the diffusion.
        n: latents, at least 10. seed: of everything drawn.
    """

    weights: str
    iterations: int
    n: int
    seed: int = 0

    def __post_init__(self):
        checkpoints.require_hashes(self.weights, CODER, PIXELS)
        measured.set_whole_numbers(self, iterations=1, n=GROUPS, seed=0)


def measure_cost(task: CostTask) -> dict[str, float]:
    """``cost`` of the flow; ``least``, what any map to a law with the mean and covariance of the
    faces' codes costs at least, and ``drawn``, the same for the codes that the flow makes. Each
    with its error."""
    require_type(task, CostTask, "task", "a CostTask")
    draws = generator(task.seed, "cost of the flow of codes")
    z = torch.randn(task.n, LATENTS, generator=draws)
    denoiser = trained(task.iterations, task.seed)
    with torch.no_grad():
        codes = ddim(denoiser, z, STEPS)
    return (
        columns("cost", cost(z, codes))
        | columns("least", least_cost(sampled(*training_codes(), draws)))
        | columns("drawn", least_cost(codes))
    )
