"""Command line: ``python -m diffot train|run|info``.

Several devices train one model with ``accelerate launch -m diffot train NAME``, several
processes without a GPU with ``torchrun --nproc_per_node 2 -m diffot train NAME`` (there
``accelerate launch`` starts just one, unless it is also told ``--multi_gpu``).
"""

from __future__ import annotations

import argparse
import sys

import torch

from diffot import freshness, training, zoo
from diffot.files import check_space
from diffot.paths import CHECKPOINTS


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m diffot", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="train models and save their checkpoints")
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

    run = commands.add_parser("run", help="execute notebooks in place, only the stale ones")
    run.add_argument("names", nargs="*", metavar="NAME", help="default: all notebooks")
    run.add_argument("--all", action="store_true", help="execute the fresh ones too")

    commands.add_parser("info", help="list models and notebooks")

    options = parser.parse_args(arguments)
    command = {"train": _train, "run": _run, "info": _info}[options.command]
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
    runs = {}
    for name in options.names:
        zoo.check_free(name, overwrite=options.overwrite)
        runs[name] = zoo.open_run(name, options.resume, options.state_seconds)
    check_space(CHECKPOINTS, 16_000_000)
    accelerator = training.accelerator()
    all_threads = torch.get_num_threads()
    for name, run in runs.items():
        small = zoo.config(name).network["class"] == "MLP"  # more threads only slow it down
        torch.set_num_threads(options.threads or (1 if small else all_threads))
        accelerator.print(
            f"training {name} with {accelerator.num_processes} process(es) on "
            f"{accelerator.device.type}; log and samples: {run.folder}"
        )
        result = zoo.train(name, run=run)
        if accelerator.is_main_process:
            path = zoo.save(name, result, overwrite=options.overwrite)
            run.close()
            print(f"{name}: {result.cpu_seconds:.0f} s of CPU time, saved as {path}")
    accelerator.end_training()


def _run(options: argparse.Namespace) -> None:
    for path in freshness.notebooks(options.names):
        if options.all or not freshness.is_fresh(path):
            seconds = freshness.execute(path)
            print(f"{path.stem}: executed in {seconds:.0f} s")
        else:
            print(f"{path.stem}: outputs are up to date")


def _info(options: argparse.Namespace) -> None:
    print("models")
    for name in zoo.CONFIGS:
        try:
            card = zoo.card(name)
            state = f"{card['parameters']} parameters, {card['cpu_seconds']:.0f} s of CPU time"
        except FileNotFoundError:
            state = "not trained"
        print(f"  {name:20} {state}")
    print("notebooks")
    for path in freshness.notebooks([]):
        state = "up to date" if freshness.is_fresh(path) else "outputs are stale"
        print(f"  {path.stem:24} {state}")


if __name__ == "__main__":
    sys.exit(main())
