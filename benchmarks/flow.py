"""Time of the exact flow for 4000 points of Low2DASymMix on one thread.

Run from the root of the repository: ``OMP_NUM_THREADS=1 python benchmarks/flow.py``.
"""

import time

import torch

from diffot.flows.exact import ExactFlow
from diffot.laws.mixtures import thesis_mixture

POINTS = 4000
REPEATS = 5


def main() -> None:
    torch.set_num_threads(1)
    mixture = thesis_mixture("Low2DASymMix")
    x = mixture.sample(POINTS, torch.Generator().manual_seed(0))
    flow = ExactFlow(mixture)
    z = flow.encode(x)
    for work, points in (
        (flow.encode, x),
        (flow.decode, z),
        (flow.log_likelihood, x),
        (flow.jacobian, z),
    ):
        seconds = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            work(points)
            seconds.append(time.perf_counter() - start)
        print(f"{work.__name__:15s} {min(seconds):6.3f} s for {POINTS} points")
    error = float((flow.decode(z) - x).abs().max())
    print(f"largest |decode(encode(x)) - x| {error:.1e}")


if __name__ == "__main__":
    main()
