"""Processes of their own for the tests: a small training of images, to be killed or launched
several times, and one that only holds a folder.

Usage: training_worker.py FOLDER ITERATIONS [--resume]; the final weights go to FOLDER/weights.pt.
"""

import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from diffot.learning import training
from diffot.learning.batches import Draws
from diffot.learning.configuration import TrainConfig
from diffot.learning.networks import UNet
from diffot.learning.objectives import DenoisingLoss
from diffot.learning.runs import TrainingRun
from diffot.processes.schedules import scaled_linear


def disks(n: int, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Gray disks on black, 8 x 8 pixels, labeled by whether they are large."""
    large = torch.randint(2, (n,), generator=generator)
    shade = torch.rand(n, generator=generator)
    axis = torch.arange(8) - 3.5
    inside = (axis[:, None] ** 2 + axis**2).sqrt() < (2 + 1.5 * large)[:, None, None]
    return 2 * shade[:, None, None, None] * inside[:, None] - 1, {"large": large}


def hold(folder: Path, told: Connection) -> None:
    """Hold the folder of a run until the process is killed."""
    with TrainingRun(folder, {"training": {"rate": 1e-3}}, resume=True).held():
        told.send("held")
        time.sleep(600)


def main(folder: Path, iterations: int, resume: bool) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = UNet(
        channels=1, widths=(8, 16), blocks=1, middle=(16,), embedding=16, labels={"large": 2}
    )
    config = TrainConfig(iterations, batch_size=16, warmup=10, decay="cosine", clip=1.0)
    objective = DenoisingLoss(scaled_linear(1000, 8.5e-4, 0.02), "v", label_dropout=0.1)
    run = TrainingRun(folder, {"iterations": iterations}, resume, seconds=0.1)
    draws = torch.Generator().manual_seed(0)
    result = training.train(
        network, Draws(disks), objective, config, draws, progress=False, run=run
    )
    accelerator = training.accelerator()
    if accelerator.is_main_process:
        torch.save(result.network.state_dict(), folder / "weights.pt")
    accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), "--resume" in sys.argv)
