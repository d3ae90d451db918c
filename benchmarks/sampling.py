"""Sampling overhead and assignment: ratios and times from one run, on one thread.

Targets: `ddim` at most 1.15 times a bare loop of network calls (4000 points in the plane); exact
assignment of 5000 points below 10 s.
"""

import statistics
import time

import torch

from diffot.learning import registry
from diffot.samplers.ddim import ddim, ddim_path
from diffot.transport.assignment import optimal_assignment


def seconds(function):
    """Time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    denoiser = registry.load("Low2DASymMixSiLU")
    z = torch.randn(4000, 2, generator=generator)
    steps = 50
    times = denoiser.schedule.timesteps(steps)[:-1]
    shares = [(t / denoiser.schedule.T).float().expand(len(z)) for t in times]

    # the same inputs: large ones make tiny activations, which some processors are slow with
    path = ddim_path(denoiser, z, steps)[:-1]

    def bare():
        for x, share in zip(path, shares):
            denoiser.network(x, share)

    def ours():
        ddim(denoiser, z, steps)

    ours(), bare()
    # in turn, so that a change in the machine's speed falls on both
    pairs = [(seconds(ours), seconds(bare)) for _ in range(25)]
    ratios = sorted(a / b for a, b in pairs)
    print(f"ddim, {steps} steps, 4000 points: {statistics.median(a for a, _ in pairs):.3f} s")
    print(f"bare loop of network calls:       {statistics.median(b for _, b in pairs):.3f} s")
    print(
        f"ratio (median; quartiles):        {ratios[12]:.3f} ({ratios[6]:.3f}, {ratios[18]:.3f})"
    )

    x = torch.randn(5000, 2, dtype=torch.float64, generator=generator)
    y = ddim(denoiser, x, steps)
    duration = seconds(lambda: optimal_assignment(x, y))
    print(f"assignment of 5000 points:        {duration:.1f} s")


if __name__ == "__main__":
    main()
