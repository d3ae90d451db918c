"""Command line: ``python -m bookkit run|sweep|info|table|pdf``."""

from __future__ import annotations

import argparse
import sys

from nbclient.exceptions import CellExecutionError

from bookkit import freshness, layout, pdf, survey


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bookkit", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="execute notebooks in place, only the stale ones")
    run.add_argument("names", nargs="*", metavar="NAME", help="default: all notebooks")
    run.add_argument("--all", action="store_true", help="execute the fresh ones too")
    sweep = commands.add_parser("sweep", help="see at how many seeds each claim holds")
    sweep.add_argument("names", nargs="*", metavar="NAME", help="default: all notebooks")
    sweep.add_argument("--seeds", type=int, default=survey.COUNT, help="1 to this; default: 10")
    commands.add_parser("info", help="list the notebooks, and whether they are up to date")
    commands.add_parser("table", help="renew the table of modules in CONTRIBUTING")
    commands.add_parser("pdf", help="print the built book as one PDF")

    options = parser.parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except (ValueError, OSError) as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{options.command}: interrupted", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    """Execute notebooks; one that fails keeps its outputs, and the others are executed."""
    failed = []
    for path in freshness.notebooks(options.names):
        if not options.all and freshness.is_fresh(path):
            print(f"{path.stem}: outputs are up to date")
            continue
        try:
            seconds = freshness.execute(path)
            print(f"{path.stem}: executed in {seconds:.0f} s", flush=True)
        except CellExecutionError as error:
            failed.append(path.stem)
            print(f"{path.stem} failed and keeps its outputs:\n{error}", file=sys.stderr)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def _sweep(options: argparse.Namespace) -> int:
    """Run what is not known yet; claims that did not hold are an error, and kept."""
    return int(not survey.survey(options.names, options.seeds))


def _info(_: argparse.Namespace) -> int:
    for path in freshness.notebooks():
        state = "up to date" if freshness.is_fresh(path) else "outputs are stale"
        print(f"{path.stem:34} {state}")
    return 0


def _table(_: argparse.Namespace) -> int:
    layout.update()
    return 0


def _pdf(_: argparse.Namespace) -> int:
    path = pdf.write()
    print(f"{path}: {path.stat().st_size / 1e6:.0f} MB")
    return 0


COMMANDS = {"run": _run, "sweep": _sweep, "info": _info, "table": _table, "pdf": _pdf}

if __name__ == "__main__":
    sys.exit(main())
