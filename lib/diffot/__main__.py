"""Command line: ``python -m diffot train|info``.

Several devices train one model with ``accelerate launch -m diffot train NAME``, several
processes without a GPU with ``torchrun --nproc_per_node 2 -m diffot train NAME`` (there
``accelerate launch`` starts just one, unless it is also told ``--multi_gpu``).
"""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext

import torch
from accelerate import Accelerator

from diffot.errors import as_whole_number, require, unknown_name
from diffot.files import check_space
from diffot.learning import checkpoints, probes, recipes, training, vae, zoo
from diffot.learning.precision import PRECISIONS
from diffot.learning.runs import TrainingRun
from diffot.paths import CHECKPOINTS


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m diffot", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser(
        "train", help="train models, probes and autoencoders and save their checkpoints"
    )
    train.add_argument("names", nargs="+", metavar="NAME")
    train.add_argument("--overwrite", action="store_true", help="replace existing checkpoints")
    train.add_argument(
        "--resume", action="store_true", help="continue an interrupted run where there is one"
    )
    train.add_argument(
        "--state-seconds",
        type=float,
        default=120.0,
        metavar="S",
        help="how often the state is saved to resume from",
    )
    train.add_argument(
        "--threads", type=int, help="default: 1 for points, all that there are for images"
    )
    train.add_argument(
        "--precision",
        choices=[*PRECISIONS, "auto"],
        help="of the products in a diffusion network; default: what its recipe says, and auto is "
        "the faster one on this machine",
    )

    commands.add_parser("info", help="list models, probes and autoencoders")

    options = parser.parse_args(arguments)
    command = {"train": _train, "info": _info}[options.command]
    try:
        command(options)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        hint = "; continue with --resume" if options.command == "train" else ""
        print(f"\n{options.command}: interrupted{hint}", file=sys.stderr)
        return 130
    return 0


def _train(options: argparse.Namespace) -> None:
    known = [*recipes.CONFIGS, *probes.CONFIGS, *vae.CONFIGS]
    runs = {}
    if options.threads is not None:
        as_whole_number(options.threads, "--threads", least=1)
    for name in options.names:
        require(name in known, unknown_name("model", name, known))
        require(
            options.precision is None or name in recipes.CONFIGS,
            f"--precision is for diffusion models, and {name} is none; leave it out",
        )
        checkpoints.check_free(name, overwrite=options.overwrite)
        if name in recipes.CONFIGS:
            runs[name] = zoo.open_run(name, options.resume, options.state_seconds)
    check_space(CHECKPOINTS, 16_000_000)
    accelerator = training.accelerator()
    all_threads = torch.get_num_threads()
    for name in options.names:
        points = name in runs and recipes.config(name).network["class"] == "MLP"
        # more threads only slow the small networks down
        torch.set_num_threads(options.threads or (1 if points else all_threads))
        if name in runs:
            with runs[name].held() if accelerator.is_main_process else nullcontext():
                _train_model(name, runs[name], accelerator, options)
        elif accelerator.is_main_process:  # these take minutes, and one process
            family = probes if name in probes.CONFIGS else vae
            result = family.train(name)
            path = family.save(name, result, overwrite=options.overwrite)
            print(f"{name}: {result.cpu_seconds:.0f} s of CPU time, saved as {path}")
    accelerator.end_training()


def _train_model(
    name: str, run: TrainingRun, accelerator: Accelerator, options: argparse.Namespace
) -> None:
    accelerator.print(
        f"training {name} with {accelerator.num_processes} process(es) on "
        f"{accelerator.device.type}; log and samples: {run.folder}"
    )
    result = zoo.train(name, run=run, precision=options.precision)
    if accelerator.is_main_process:
        path = zoo.save(name, result, overwrite=options.overwrite)
        run.copy_samples(path.with_suffix(".samples"))
        run.close()
        print(f"{name}: {result.cpu_seconds:.0f} s of CPU time, saved as {path}")


def _info(options: argparse.Namespace) -> None:
    families = {
        "models": recipes.CONFIGS,
        "probes": probes.CONFIGS,
        "autoencoders": vae.CONFIGS,
    }
    for title, names in families.items():
        print(title)
        for name in names:
            try:
                card = checkpoints.card(name)
                state = (
                    f"{card['parameters']} parameters, {card['cpu_seconds']:.0f} s of CPU time"
                )
            except FileNotFoundError:
                state = "not trained"
            except ValueError as error:
                state = str(error)
            print(f"  {name:20} {state}")


if __name__ == "__main__":
    sys.exit(main())
