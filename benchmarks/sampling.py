"""Sampling overhead and assignment: ratios and times from one run, on one thread.

Targets: `ddim` at most 1.15 times a bare loop of network calls (4000 points in the plane); exact
assignment of 5000 points below 10 s.
"""

import statistics
import time

import torch

from diffot import samplers, schedules, transport, zoo


def seconds(function, repeats=9):
    """Median time of a call, after one that does not count."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    predictor = zoo.load("Low2DASymMixSiLU")
    z = torch.randn(4000, 2, generator=generator)
    steps = 50
    times = schedules.timesteps(predictor.schedule, steps)[:-1]
    shares = [(t / predictor.schedule.T).float().expand(len(z)) for t in times]

    def bare():
        for share in shares:
            predictor.network(z, share)

    ours, floor = seconds(lambda: samplers.ddim(predictor, z, steps)), seconds(bare)
    print(f"ddim, {steps} steps, 4000 points: {ours:.3f} s")
    print(f"bare loop of network calls:       {floor:.3f} s")
    print(f"ratio:                            {ours / floor:.3f}")

    x = torch.randn(5000, 2, dtype=torch.float64, generator=generator)
    y = samplers.ddim(predictor, x, steps)
    duration = seconds(lambda: transport.optimal_assignment(x, y), repeats=1)
    print(f"assignment of 5000 points:        {duration:.1f} s")


if __name__ == "__main__":
    main()
