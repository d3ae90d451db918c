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

from diffot.errors import as_whole_number
from diffot.files import check_space
from diffot.learning import checkpoints, recipes, registry, training
from diffot.learning.epoch_kinds import AutoencoderRecipe, MaskedRecipe, ProbeRecipe
from diffot.learning.kinds import DenoiserRecipe
from diffot.learning.precision import PRECISIONS
from diffot.learning.runs import TrainingRun
from diffot.paths import CHECKPOINTS


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
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


def _parser() -> argparse.ArgumentParser:
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
    return parser


def _train(options: argparse.Namespace) -> None:
    if options.threads is not None:
        as_whole_number(options.threads, "--threads", least=1)
    runs = {}
    for name in options.names:
        registry.check_free(name, overwrite=options.overwrite)
        registry.require_precision(name, options.precision)
        runs[name] = registry.open_run(name, options.resume, options.state_seconds)
    check_space(CHECKPOINTS, 16_000_000)
    accelerator = training.accelerator()
    all_threads = torch.get_num_threads()
    for name, run in runs.items():
        points = isinstance(getattr(recipes.config(name), "data", None), str)
        # more threads only slow the small networks down
        torch.set_num_threads(options.threads or (1 if points else all_threads))
        with run.held() if accelerator.is_main_process else nullcontext():
            _train_one(name, run, accelerator, options)
    accelerator.end_training()


def _train_one(
    name: str, run: TrainingRun, accelerator: Accelerator, options: argparse.Namespace
) -> None:
    accelerator.print(
        f"training {name} with {accelerator.num_processes} process(es) on "
        f"{accelerator.device.type}; log and samples: {run.folder}"
    )
    result = registry.train(name, run=run, precision=options.precision)
    if accelerator.is_main_process:
        path = registry.save(name, result, overwrite=options.overwrite)
        run.copy_samples(path.with_suffix(".samples"))
        run.close()
        print(f"{name}: {result.cpu_seconds:.0f} s of CPU time, saved as {path}")


def _info(options: argparse.Namespace) -> None:
    for kind in (DenoiserRecipe, ProbeRecipe, AutoencoderRecipe, MaskedRecipe):
        print(f"{kind.title}s")
        for name, recipe in recipes.RECIPES.items():
            if isinstance(recipe, kind):
                print(f"  {name:20} {_state(name)}")


def _state(name: str) -> str:
    try:
        card = checkpoints.card(name)
    except FileNotFoundError:
        return "not trained"
    except ValueError as error:
        return str(error)
    return f"{card['parameters']} parameters, {card['cpu_seconds']:.0f} s of CPU time"


if __name__ == "__main__":
    sys.exit(main())
