"""Measure and keep: ``python -m benchmarks [TOPIC ...] [--again] [--tiny]``.

Each topic is written to ``data/results/benchmarks.json`` when it is done, beside those of other
machines. Topics that this machine has there are left out, unless they are named or ``--again``
is given, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import time
from importlib.metadata import version
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from benchmarks import measuring
from bookkit.paths import RESULTS
from diffot.files import write_whole

TOPICS = (
    "sampling",
    "errors",
    "inversion",
    "exact",
    "estimates",
    "scaling",
    "training",
    "notebooks",
    "book",
)
KEPT = RESULTS / "benchmarks.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=", ".join(TOPICS))
    parser.add_argument("--again", action="store_true", help="measure what is kept, too")
    parser.add_argument("--tiny", action="store_true", help="see that it runs, and keep nothing")
    chosen = parser.parse_args()
    unknown = set(chosen.topics) - set(TOPICS)
    if unknown:
        parser.error(f"no topic {', '.join(sorted(unknown))}; there are {', '.join(TOPICS)}")
    for name in chosen.topics or TOPICS:
        if chosen.topics or chosen.again or chosen.tiny or not is_kept(name):
            run(name, chosen.tiny)
        else:
            print(f"{name} is kept; measure it again with --again")


def run(name: str, tiny: bool) -> None:
    measuring.keep_memory()
    topic = importlib.import_module(f"benchmarks.{name}")
    threads = topic.THREADS or os.cpu_count()
    torch.set_num_threads(threads)
    start = time.perf_counter()
    with threadpool_limits(threads):
        rows = topic.measure(tiny)
    duration = time.perf_counter() - start
    measuring.show(f"{topic.TITLE} ({duration:.0f} s)", rows)
    if not tiny:
        measured = {
            "title": topic.TITLE,
            "about": topic.__doc__,
            "date": datetime.date.today().isoformat(),
            "seconds": round(duration),
            "threads": threads,
            "versions": {peer: version(peer) for peer in topic.PEERS},
            "rows": rows,
            "conclusion": topic.conclusion(rows) if hasattr(topic, "conclusion") else "",
        }
        keep(name, measured, KEPT)


def read(path: Path) -> list[dict]:
    """What is kept: for each machine its description and its topics."""
    return json.loads(path.read_text()) if path.exists() else []


def is_kept(topic: str) -> bool:
    here = measuring.machine()
    return any(entry["machine"] == here and topic in entry["topics"] for entry in read(KEPT))


def keep(name: str, measured: dict, path: Path) -> None:
    """Write a topic beside the others of this machine, in the order of ``TOPICS``."""
    kept, here = read(path), measuring.machine()
    entries = [entry for entry in kept if entry["machine"] == here]
    entry = entries[0] if entries else {"machine": here, "topics": {}}
    topics = entry["topics"] | {name: measured}
    entry["topics"] = {topic: topics[topic] for topic in TOPICS if topic in topics}
    text = json.dumps(kept if entries else [*kept, entry], indent=1, ensure_ascii=False)
    write_whole(path, f"{text}\n".encode())


if __name__ == "__main__":
    main()
