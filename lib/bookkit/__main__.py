"""Command line: ``python -m bookkit run|info|table``."""

from __future__ import annotations

import argparse
import sys

from bookkit import freshness, layout


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bookkit", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="execute notebooks in place, only the stale ones")
    run.add_argument("names", nargs="*", metavar="NAME", help="default: all notebooks")
    run.add_argument("--all", action="store_true", help="execute the fresh ones too")
    commands.add_parser("info", help="list the notebooks, and whether they are up to date")
    commands.add_parser("table", help="renew the table of modules in CONTRIBUTING")

    options = parser.parse_args(arguments)
    try:
        {"run": _run, "info": _info, "table": _table}[options.command](options)
    except (ValueError, OSError) as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{options.command}: interrupted", file=sys.stderr)
        return 130
    return 0


def _run(options: argparse.Namespace) -> None:
    for path in freshness.notebooks(options.names):
        if options.all or not freshness.is_fresh(path):
            seconds = freshness.execute(path)
            print(f"{path.stem}: executed in {seconds:.0f} s", flush=True)
        else:
            print(f"{path.stem}: outputs are up to date")


def _info(options: argparse.Namespace) -> None:
    for path in freshness.notebooks():
        state = "up to date" if freshness.is_fresh(path) else "outputs are stale"
        print(f"{path.stem:34} {state}")


def _table(_: argparse.Namespace) -> None:
    layout.update()


if __name__ == "__main__":
    sys.exit(main())
