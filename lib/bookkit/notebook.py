"""The notebook contract: parameters, profiles, seeds and claims.

Every notebook of the book has one cell tagged ``parameters`` and then calls :func:`begin`. What
its prose says about a result it also states with :meth:`Run.claim`, which fails if the result no
longer bears it out. The page "Claims and verdicts" is made of what was recorded this way.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from IPython import get_ipython
from myst_nb import glue

from bookkit.claims import Claim, claim_text, prose_text
from bookkit.paths import HYPOTHESES, NOTEBOOKS, RECORD, RESULTS, SCHEDULER, SURVEY, TABLES
from bookkit.sweeps import read_table, sweep
from bookkit.verdicts import VERDICTS, overall
from diffot import seeds
from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_known,
    require_type,
    unknown_name,
)
from diffot.files import write_whole
from diffot.paths import ROOT

PROFILES = ("fast", "default", "full")


class ClaimError(AssertionError):
    """A recorded statement about a result is not true of this run."""


def declared_parameters(path: Path) -> dict:
    """Names and values in the cell tagged ``parameters`` of a notebook file.

    Raises:
        ValueError: if there is no such cell, or it holds anything but literals.
    """
    # read as JSON, since nbformat takes seconds to import, and every notebook's kernel comes here
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    require(len(tagged) == 1, f"{path} has {len(tagged)} cells tagged 'parameters'; expected one")
    parameters = {}
    for line in ast.parse("".join(tagged[0]["source"])).body:
        target = line.targets[0] if isinstance(line, ast.Assign) else None
        if not (isinstance(line, ast.Assign) and isinstance(target, ast.Name)):
            raise ValueError(
                f"the parameters cell of {path} must hold assignments of literals only"
            )
        parameters[target.id] = ast.literal_eval(line.value)
    return parameters


def _injected_names() -> set[str]:
    """Names assigned in the cell that papermill inserts; its first line is ``# Parameters``."""
    shell = get_ipython()
    sources = [] if shell is None else shell.user_ns["In"]
    names = set()
    for source in sources:
        if source.startswith("# Parameters\n"):
            for line in ast.parse(source).body:
                if isinstance(line, ast.Assign):
                    names |= {t.id for t in line.targets if isinstance(t, ast.Name)}
    return {name for name in names if not name.startswith("PAPERMILL_")}


def _committed_parameters(name: str, declared: dict) -> dict:
    """The parameters behind the results on record. A notebook's own cell is not asked, since
    readers edit it, unless the run is to be put on record (``make run``)."""
    record = RESULTS / f"{name}.json"
    if os.environ.get(RECORD) or not record.exists():
        return declared
    return json.loads(record.read_text())["parameters"]


def begin(name: str, profile: str, seed: int, **own: object) -> Run:
    """Start a notebook: check its parameters, and return the run that keeps its claims.

    Args:
        name: name of the notebook's file, without suffix.
        profile: ``"fast"`` (seconds), ``"default"`` (what the book shows) or ``"full"``.
        seed: whole number, the root of all random numbers.
        own: the notebook's own parameters, by the names they have in its parameters cell.

    Raises:
        TypeError: for a value of another type than the committed one.
        ValueError: for an unknown notebook, profile or parameter (with the valid ones), and for
            numbers that are NaN or infinite.
    """
    require_known(name, "notebook", sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
    declared = declared_parameters(NOTEBOOKS / f"{name}.ipynb")
    given = {"PROFILE": profile, "SEED": seed, **own}
    for unknown in sorted((_injected_names() | set(given)) - set(declared)):
        raise ValueError(unknown_name(f"parameter of {name}", unknown, declared))
    for missing in sorted(set(declared) - set(given)):
        raise ValueError(f"begin() of {name} is not told its parameter {missing}; pass it on")
    require_known(profile, "profile", PROFILES)
    given = {key: _like(declared[key], value, f"parameter {key}") for key, value in given.items()}
    as_whole_number(given["SEED"], "parameter SEED", least=0)
    committed = _committed_parameters(name, declared)
    as_committed = all(committed.get(key) == given[key] for key in own)
    return Run(name, given, as_committed)


def _like(committed: object, value: object, name: str) -> object:
    """The value of a parameter, of the type of the committed one."""
    if type(committed) is int:
        return as_whole_number(value, name)
    if type(committed) is float:
        # a whole number stays one, so that the record says what was given
        return value if type(value) is int else as_number(value, name)
    kind = type(committed)
    require_type(value, kind, name, f"a value of type {kind.__name__}")
    return value


class Run:
    """One run of one notebook; made by :func:`begin`."""

    def __init__(self, name: str, parameters: dict, as_committed: bool):
        self.name, self.parameters, self._as_committed = name, parameters, as_committed
        self.profile, self.seed = parameters["PROFILE"], parameters["SEED"]
        self._claims: dict[str, dict] = {}
        self._verdicts: dict[str, dict] = {}
        shown = as_committed and self.profile == "default" and self.seed == 0
        self._recording = shown and bool(os.environ.get(RECORD))
        self._folder, self._unwritable = Path.cwd(), False
        self._hypotheses = json.loads(HYPOTHESES.read_text())

    def generator(self, key: str) -> torch.Generator:
        """A random generator for one purpose; see :func:`diffot.seeds.generator`."""
        return seeds.generator(self.seed, key)

    def n(self, *, fast, default, full):
        """The value for the run's profile."""
        return {"fast": fast, "default": default, "full": full}[self.profile]

    def save(self, committed: Path, content: bytes) -> Path | None:
        """Write a file that is committed under this path, and return where it is.

        Only ``make run`` writes it there. Every other run writes to the working directory that it
        began in, with profile and seed in the name; but among the notebooks themselves, where
        the committed file can be seen, nothing is written that is the same as it.

        Returns:
            The path; none if the working directory cannot be written to, which is said once and
            costs the run nothing else.

        Raises:
            OSError: if ``make run`` cannot write the file.
        """
        if self._recording:
            target = committed
        elif self._folder == NOTEBOOKS and _holds(committed, content):
            return committed
        else:
            name = f"{committed.stem}.{self.profile}.seed{self.seed}{committed.suffix}"
            target = self._folder / name
        if _holds(target, content):
            return target
        try:
            write_whole(target, content)
        except OSError as error:
            message = (
                f"{target.parent} cannot be written to ({error.strerror}), so {target.name} and "
                "other files of this run are not kept; work in a folder of your own to keep them"
            )
            if self._recording:
                raise OSError(message) from error
            if not self._unwritable:
                print(message)
            self._unwritable = True
            return None
        return target

    def table(
        self, name: str, measure: Callable[[Any], dict], tasks: Sequence[Any], again: int
    ) -> pd.DataFrame:
        """The rows of a long computation, one for each task.

        Profile ``full`` computes those that ``data/tables`` lacks and adds them (with another
        seed or other parameters, to a table in the working directory); a Dask scheduler whose
        address is in the environment as ``DIFFOT_SCHEDULER`` takes the work. The other profiles
        read the committed table. Some rows are computed again, and must agree.

        Args:
            name: of the table's file, without suffix.
            measure, tasks: as in :func:`bookkit.sweeps.sweep`.
            again: number of rows computed again, or all if there are fewer, drawn at random by
                the run's seed. They are computed in this process, one after the other.

        Raises:
            TypeError: for arguments of the wrong type.
            ClaimError: if a number differs from the table's by more than 1e-3 of it and 1e-9.
            ValueError, FileNotFoundError: if the committed table is that of another function,
                damaged, lacks a task, or is missing.
        """
        require_type(name, str, "name", "the name of a table")
        again = as_whole_number(again, "again", least=0)
        if self.profile == "full":
            committed = self._as_committed and self.seed == 0
            path = (
                TABLES / f"{name}.jsonl" if committed else Path(f"{name}.seed{self.seed}.jsonl")
            )
            scheduler = os.environ.get(SCHEDULER)
            table = sweep(measure, tasks, path, scheduler, note=_commit_and_date())
        else:
            table = read_table(TABLES / f"{name}.jsonl", measure, tasks)
        draws = self.generator(f"rows of {name} to compute again")
        chosen = sorted(torch.randperm(len(tasks), generator=draws)[:again].tolist())
        # starting other processes would take longer than most rows
        fresh = sweep(measure, [tasks[i] for i in chosen], jobs=1, progress=False)
        old = table.iloc[chosen].reset_index(drop=True)
        numbers = fresh.select_dtypes("number").columns
        old = old.reindex(columns=numbers)  # NaN where the table lacks a column
        differ = ~np.isclose(fresh[numbers], old, rtol=1e-3, atol=1e-9, equal_nan=True)
        for row, column in np.argwhere(differ):
            raise ClaimError(
                f"{name}: {tasks[chosen[row]]} gives {numbers[column]} = "
                f"{fresh[numbers].iat[row, column]:.6g}, but the committed table says "
                f"{old.iat[row, column]:.6g}; find out why, or compute the table anew"
            )
        if again:
            print(
                f"{name}: {len(chosen)} of {len(tasks)} rows computed again; they agree to 0.1 %"
            )
        else:
            print(f"{name}: {len(tasks)} rows")
        return table

    def claim(self, name: str, value: float, says: str, **more: Any) -> None:
        """State a result: print it, record it, and make it available to the prose, as a number
        by its name and as readable text by its name with ``.text`` appended.

        Claims are made about the notebook's own parameters as committed, for every profile and
        seed. With other parameters a value outside its bounds is reported and the run goes on;
        so it is while ``make sweep`` counts which claims hold.

        Args:
            name, value, says: see :class:`bookkit.claims.Claim`.
            more: its other attributes: bounds, uncertainty, what it says of a hypothesis.

        Raises:
            ClaimError: if the value is not within its bounds.
            TypeError: for arguments of the wrong type.
            ValueError: if the claim is incomplete, its name is taken, or a number is NaN,
                infinite or out of range.
        """
        claim = Claim(name, value, says, **more)
        require(name not in self._claims, f"claim {name} is made twice; give each its own name")
        if claim.hypothesis is not None:
            require_known(claim.hypothesis, "hypothesis", self._hypotheses)
        record = claim.record()
        text = claim_text(record)
        if self._as_committed and not record["holds"] and not os.environ.get(SURVEY):
            raise ClaimError(
                f"{name}: {says}: {text['value']}, but the claim says {text['bound']} (profile "
                f"{self.profile}, seed {self.seed}). Either the code is wrong or the claim is."
            )
        self._claims[name] = record
        remark = "" if record["holds"] else "; not so with these parameters"
        sample = f", {text['n']}" if text["n"] else ""
        print(f"{name}: {text['value']}{sample}  [claimed: {text['bound']}{remark}]")
        glue(name, record["value"], display=False)
        glue(f"{name}.text", prose_text(claim), display=False)

    def judge(self, hypothesis: str, because: str) -> None:
        """Record what the claims of this notebook that bear on a hypothesis add up to, by the
        rule of :mod:`bookkit.verdicts`, and why. The prose gets the verdict by the name of the
        hypothesis, with ``_`` for blanks and ``.text`` appended.

        Raises:
            ValueError: if no claim bears on it, or the name is unknown.
        """
        self.verdict(hypothesis, overall(self._bearing(hypothesis)), because)

    def verdict(self, hypothesis: str, verdict: str, because: str) -> None:
        """Record a judgement on a hypothesis that is typed by hand; see :meth:`judge`.

        Raises:
            ValueError: if no claim bears on it, or the name or the verdict is unknown.
        """
        self._bearing(hypothesis)
        require_known(verdict, "verdict", VERDICTS)
        require_type(because, str, "because", "the reason, a text")
        self._verdicts[hypothesis] = {"verdict": verdict, "because": because}
        print(f"{hypothesis} {verdict}: {because}")
        glue(f"{hypothesis.replace(' ', '_')}.text", verdict, display=False)

    def _bearing(self, hypothesis: str) -> list[str]:
        """The verdicts of the claims so far that bear on a hypothesis."""
        require_known(hypothesis, "hypothesis", self._hypotheses)
        claims = [c for c in self._claims.values() if c["hypothesis"] == hypothesis]
        require(
            len(claims) > 0,
            f"no claim of {self.name} bears on {hypothesis}; make one before judging it",
        )
        return [claim["verdict"] for claim in claims]

    def finish(self) -> None:
        """Write the claims, to ``data/results`` or elsewhere; see :meth:`save`.

        Raises:
            ValueError: if claims bear on a hypothesis that was not judged.
        """
        bearing = {c["hypothesis"] for c in self._claims.values() if c["hypothesis"]}
        left = sorted(bearing - self._verdicts.keys())
        require(
            not left,
            f"claims of {self.name} bear on {', '.join(left)}; judge each before the end, with "
            "run.judge(hypothesis, because)",
        )
        results = {
            "notebook": self.name,
            "parameters": self.parameters,
            "claims": self._claims,
            "verdicts": self._verdicts,
        }
        text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
        path = self.save(RESULTS / f"{self.name}.json", text.encode())
        held = sum(c["holds"] for c in self._claims.values())
        where = "not recorded" if path is None else f"recorded in {path.name}"
        print(f"{held} of {len(self._claims)} claims hold; {where}")


def _holds(path: Path, content: bytes) -> bool:
    """Whether a file has this content."""
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _commit_and_date() -> str:
    git = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    commit = git.stdout.strip() if git.returncode == 0 else "unknown"
    return f"commit {commit}, {date.today().isoformat()}"
