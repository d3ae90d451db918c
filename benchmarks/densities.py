"""Cost of the random-density experiment (chapter K.1): densities per minute, and how the cost of
the encoder and of the assignment grows with points, grid and tolerance.

Run from the root of the repository: ``OMP_NUM_THREADS=1 python benchmarks/densities.py``.
"""

import time

import torch

from bookkit.sweeps import sweep
from chapters.random_densities import visibility
from diffot import seeds
from diffot.flows.density import DensityFlow
from diffot.laws import densities
from diffot.transport.assignment import optimal_assignment

DENSITIES = 10


def seconds(work) -> float:
    """The shortest of three runs."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    torch.set_num_threads(1)
    draws = seeds.generator(0, "benchmark of densities")
    law = densities.random_density("compact", draws)
    x = law.sample(10_000, draws)
    reference = DensityFlow(law, tolerance=1e-12, nodes=512).encode(x[:200])

    print(f"encoder of a mixture of {len(law.a1)}, one thread")
    for n in (1250, 2500, 5000, 10_000):
        print(f"  {n:6d} points: {seconds(lambda n=n: DensityFlow(law).encode(x[:n])):6.2f} s")
    for nodes in (80, 160, 320, 640):
        time_taken = seconds(lambda m=nodes: DensityFlow(law, nodes=m).encode(x[:2500]))
        off = DensityFlow(law, nodes=nodes).encode(x[:200]) - reference
        error = off.square().sum(1).mean().sqrt()
        print(f"  {nodes:4d} nodes: {time_taken:6.2f} s, error {error:.0e}")
    for tolerance in (1e-4, 1e-6, 1e-8, 1e-10):
        time_taken = seconds(lambda t=tolerance: DensityFlow(law, tolerance=t).encode(x[:2500]))
        off = DensityFlow(law, tolerance=tolerance).encode(x[:200]) - reference
        error = off.square().sum(1).mean().sqrt()
        print(f"  tolerance {tolerance:.0e}: {time_taken:6.2f} s, error {error:.0e}")

    print("optimal assignment, from scratch and from the pairs of the map")
    codes = DensityFlow(law).encode(x)
    for n in (1250, 2500, 5000):
        scratch, near = (
            seconds(lambda n=n, g=g: optimal_assignment(x[:n], codes[:n], guess=g))
            for g in (None, torch.arange(n))
        )
        print(f"  {n:6d} points: {scratch:6.2f} s and {near:6.2f} s, ratio {scratch / near:.1f}")

    start = time.perf_counter()
    tasks = [visibility.DensityTask("compact", i, seed=1) for i in range(DENSITIES)]
    sweep(visibility.measure_density, tasks, progress=False)
    minutes = (time.perf_counter() - start) / 60
    print(f"whole experiment on all cores: {DENSITIES / minutes:.0f} densities per minute")


if __name__ == "__main__":
    main()
