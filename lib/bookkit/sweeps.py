"""Many independent computations: in parallel, on disk as they come, none of them twice.

A task is a frozen dataclass that says all that a computation depends on. Its fields are numbers,
texts, truth values, None, tuples of these, or further dataclasses, such as a region of an image.

A table is a file of JSON lines. The first names the computation; each further one holds a task,
with the dataclasses in it as JSON objects, and its row. Numbers are written so that they come
back exactly; NaN and infinity are kept.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO

import joblib
import pandas as pd
import torch
from filelock import FileLock, Timeout
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from diffot.errors import as_whole_number, require, require_type
from diffot.files import check_space

Literal = int | float | str | bool
Row = dict[str, Literal]


def sweep(
    measure: Callable[[Any], Row],
    tasks: Sequence[Any],
    table: Path | None = None,
    scheduler: str | None = None,
    jobs: int = -1,
    progress: bool = True,
    version: str = "",
    note: str = "",
) -> pd.DataFrame:
    """Call ``measure(task)`` for each task and collect the rows in the order of the tasks.

    With a table, each row is on disk as soon as it is computed; a sweep that was interrupted, or
    is asked for more tasks, computes only what the table lacks. Rows of other tasks stay in it.
    A task that fails costs none of the others: they are computed, and then the error is raised.

    Each call is held to one thread, so that the numbers do not depend on where it runs and
    processes do not compete for cores. The limit is one of the whole process: start Dask
    workers with ``--nthreads 1``, and with ``MALLOC_TRIM_THRESHOLD_=1073741824`` and
    ``MALLOC_MMAP_THRESHOLD_=33554432`` in their environment. Dask sets the first to 64 KiB, and
    then the C library gives every larger block back to the system and fetches it anew, which
    makes chapter K.1's densities much slower.

    Args:
        measure: returns one row, a dict of numbers and strings. It is called in other
            processes, so it should be importable there and draw nothing from global states.
        tasks: instances of one frozen dataclass; see the module's description.
        table: where rows are kept, as JSON lines; without it, nothing is written.
        scheduler: address of a Dask scheduler, such as ``"tcp://host:8786"``. A worker that is
            lost has its tasks repeated by others; a task that loses several has failed.
        jobs: number of processes on this machine, -1 for one per core, 1 for none but this one;
            does not matter with a scheduler.
        version: kept in the table; give another one when ``measure`` computes something else.
        note: kept in a new table for readers, the date and the commit say.

    Returns:
        One line per task; the columns are the fields of the tasks, then those of the rows.

    Raises:
        TypeError, ValueError: before anything is computed, for tasks of other types or that
            appear twice, and for a table of another computation or one that is damaged.
        BlockingIOError: if another sweep is writing the table.
        RuntimeError: in the end, if tasks failed; names them.
        joblib's ``TerminatedWorkerError``: at once, if a process of this machine dies, for
            want of memory perhaps; the next call continues.
    """
    for text, name in ((scheduler or "", "scheduler"), (version, "version"), (note, "note")):
        require_type(text, str, name, "a text")
    jobs = as_whole_number(jobs, "jobs", least=-1)
    require(jobs != 0, "jobs is 0; expected a number of processes, or -1 for one per core")
    records = _records(measure, tasks)
    keys = _distinct_keys(records)

    with ExitStack() as stack:
        rows, file = {}, None
        if table is not None:
            file = stack.enter_context(_opened(_path(table)))
            header = {**_header(measure, version), "note": note}
            rows = _read(file, header, records)
        waiting = [i for i, key in enumerate(keys) if key not in rows]
        bar = tqdm(
            total=len(tasks),
            initial=len(tasks) - len(waiting),
            desc=getattr(measure, "__name__", "sweep"),
            unit="task",
            smoothing=0,
            disable=not progress,
        )
        stack.enter_context(bar)
        failures = []
        outcomes = _outcomes(measure, tasks, waiting, scheduler, jobs)
        for outcome in stack.enter_context(closing(outcomes)):
            task = tasks[outcome.index]
            if outcome.error:
                failures.append(outcome)
                if progress:
                    bar.write(f"{task} failed: {outcome.last_line}", file=sys.stderr)
                continue
            rows[keys[outcome.index]] = outcome.row
            if file is not None:
                _append(file, {"task": records[outcome.index], "row": outcome.row})
            bar.update()
    if failures:
        raise RuntimeError(_report(tasks, failures, table))
    return _frame(tasks, [rows[key] for key in keys])


def read_table(
    table: Path, measure: Callable[[Any], Row], tasks: Sequence[Any], version: str = ""
) -> pd.DataFrame:
    """The rows of these tasks from a table, in their order, without computing anything.

    Args:
        table, measure, tasks, version: as in :func:`sweep`.

    Raises:
        FileNotFoundError: if there is no such table.
        TypeError, ValueError: if the tasks are wrong, or the table is one of another function or
            version, damaged, or lacks a task; names the file and, where there is one, the line.
    """
    table = _path(table)
    records = _records(measure, tasks)
    if not table.exists():
        raise FileNotFoundError(f"there is no table at {table}; compute it with a sweep")
    # what follows the last line's end is a line that a sweep is still writing
    *lines, _ = table.read_bytes().split(b"\n")
    header = {**_header(measure, version), "note": ""}
    _require_header(str(table), lines[0] if lines else b"", header)
    rows = _rows(str(table), lines, records)
    keys = [_key(record) for record in records]
    missing = [task for task, key in zip(tasks, keys) if key not in rows]
    require(
        not missing,
        f"{table} lacks {len(missing)} of {len(tasks)} tasks, the first being "
        f"{missing[0] if missing else ''}; compute them with a sweep, as profile full of a "
        "notebook does",
    )
    return _frame(tasks, [rows[key] for key in keys])


def _frame(tasks: Sequence[Any], rows: Sequence[Row]) -> pd.DataFrame:
    return pd.DataFrame(
        [{**{f: getattr(task, f) for f in _names(task)}, **row} for task, row in zip(tasks, rows)]
    )


# Computing.


@dataclass(frozen=True)
class _Outcome:
    """Of the task of this index: its row or, if ``error`` is not empty, why there is none."""

    index: int
    row: dict[str, Literal]
    error: str = ""

    @property
    def last_line(self) -> str:
        return self.error.strip().splitlines()[-1]


def _outcomes(
    measure: Callable, tasks: Sequence[Any], waiting: list[int], scheduler: str | None, jobs: int
) -> Generator[_Outcome, None, None]:
    """Outcomes of the waiting tasks, as they come."""
    if not waiting:
        return
    with ExitStack() as stack:
        if scheduler is None:
            stack.enter_context(joblib.parallel_config("loky", n_jobs=jobs))
        else:
            backend = stack.enter_context(_dask_backend(scheduler))
            stack.enter_context(joblib.parallel_config(backend))
        # A batch is one task, so that none waits for another to be written. Dask's scheduler
        # keeps the queue itself, so that workers that come later find work; processes of our
        # own get no queue, for they would work through it even if this process is killed.
        parallel = joblib.Parallel(
            return_as="generator_unordered",
            batch_size=1,
            pre_dispatch="all" if scheduler else "n_jobs",
        )
        yield from parallel(joblib.delayed(_outcome)(measure, i, tasks[i]) for i in waiting)


def _outcome(measure: Callable, index: int, task: Any) -> _Outcome:
    # Errors are sent back as text, for not every exception survives being pickled.
    try:
        with _one_thread():
            row = measure(task)
        return _Outcome(index, _checked_row(row, _names(task)))
    except Exception:
        return _Outcome(index, {}, traceback.format_exc())


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _dask_backend(scheduler: str) -> Iterator[joblib.parallel.ParallelBackendBase]:
    """joblib's backend for a Dask cluster, such that a task that Dask gives up has an outcome,
    and that a single worker gets the tasks.

    Dask gives up a task that has lost several workers, or that its workers cannot unpickle.
    joblib 1.6 then sets the exception of the future, but does not call back, and a generator
    of results waits forever. With one worker, it computes in this process instead.
    """
    import distributed
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def submit(self, func, callback=None):
            [(_, (_, index, _), _)] = func.items

            def tell(future):
                if error := future.exception():
                    callback([_Outcome(index, {}, f"{type(error).__name__}: {error}")])

            future = super().submit(func, callback)
            future.add_done_callback(tell)
            return future

        def effective_n_jobs(self, n_jobs):
            return max(2, super().effective_n_jobs(n_jobs))

    try:
        client = distributed.Client(scheduler, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"no Dask scheduler answers at {scheduler!r} ({error}); expected the address that "
            "`dask scheduler` prints when it starts, such as tcp://host:8786"
        ) from error
    with client:
        yield Backend(client=client)


# Checking.


def _path(table: Any) -> Path:
    require_type(table, (str, Path), "table", "the path of a file")
    return Path(table)


def _records(measure: Callable, tasks: Sequence[Any]) -> list[dict]:
    """The tasks as JSON objects."""
    if not callable(measure):
        raise TypeError(f"measure is {measure!r}; expected a function that returns a row")
    require_type(tasks, Sequence, "tasks", "a list of tasks")
    for task in tasks:
        if not (is_dataclass(type(task)) and type(task).__dataclass_params__.frozen):
            raise TypeError(f"one of the tasks is {task!r}; expected a frozen dataclass")
        if type(task) is not type(tasks[0]):
            raise TypeError(f"tasks holds {tasks[0]} and {task}; expected tasks of one class")
    return [_record(task, type(task).__name__) for task in tasks]


def _record(value: object, name: str) -> Any:
    """What JSON makes of a task or a part of it; numbers of numpy and torch are converted."""
    if is_dataclass(value):
        return {field: _record(getattr(value, field), field) for field in _names(value)}
    if isinstance(value, tuple):
        return [_record(item, name) for item in value]
    return None if value is None else _literal(name, value)


def _names(task: Any) -> list[str]:
    return [field.name for field in fields(task)]


def _checked_row(row: dict, names: Collection[str]) -> Row:
    require_type(row, dict, "what was measured", "a dict, one row")
    both = sorted(set(row) & set(names))
    require(not both, f"the row repeats {', '.join(both)} of its task; leave that out")
    return {name: _literal(name, value) for name, value in row.items()}


def _literal(name: str, value: Any) -> Literal:
    """The value as one of Python's own; numbers of numpy and torch are converted."""
    require_type(name, str, "a key", "a name, a string")
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    require_type(value, (int, float, str, bool), name, "a number or a string")
    return value


def _key(record: dict) -> str:
    return json.dumps(record, sort_keys=True)


def _distinct_keys(records: list[dict]) -> list[str]:
    keys = [_key(record) for record in records]
    twice = [key for key, count in Counter(keys).items() if count > 1]
    require(not twice, f"tasks that appear more than once: {', '.join(twice)}; give each once")
    return keys


def _report(tasks: Sequence[Any], failures: list[_Outcome], table) -> str:
    failures = sorted(failures, key=lambda failure: failure.index)
    listed = [f"  {tasks[f.index]}: {f.last_line}" for f in failures[:10]]
    if len(failures) > 10:
        listed.append(f"  and {len(failures) - 10} more")
    kept = (
        "without a table, the rows of the others are lost"
        if table is None
        else f"the rows of the others are in {table}, and the next call computes what is missing"
    )
    return "\n".join(
        [
            f"{len(failures)} of {len(tasks)} tasks failed; {kept}",
            *listed,
            "the first of them:",
            failures[0].error.rstrip(),
        ]
    )


# The table.


def _header(measure: Callable, version: str) -> dict[str, str]:
    name = getattr(measure, "__qualname__", None)
    require(
        name is not None,
        f"{measure!r} has no name to keep in the table; expected a function, "
        "with all that it depends on in the tasks",
    )
    return {"function": f"{measure.__module__}.{name}", "version": version}


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    check_space(path.parent, 0)
    # the file of the lock stays, since removing it could let two in
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(
            f"another sweep is writing {path}; wait for it, or give another table"
        ) from None
    try:
        with open(path, "a+b") as file:
            yield file
    finally:
        lock.release()


def _read(file: BinaryIO, header: dict, records: list[dict]) -> dict[str, Row]:
    """Rows by the key of their task. Leaves the file with the header and whole lines only."""
    file.seek(0)
    *lines, rest = file.read().split(b"\n")
    expected = _line(header)
    if lines:
        _require_header(file.name, lines[0], header)
    else:
        # Nothing but the beginning of a header: this sweep was killed at its very start.
        require(expected.startswith(rest), f"{file.name} is not the table of a sweep")
    rows = _rows(file.name, lines, records)
    if rest:
        warnings.warn(
            f"{file.name} ends in half a line, which is dropped; its task is computed again",
            stacklevel=4,
        )
        file.truncate(sum(len(line) + 1 for line in lines))
    if not lines:
        _append(file, header)
    return rows


def _rows(name: str, lines: list[bytes], records: list[dict]) -> dict[str, Row]:
    """Rows by the key of their task, from the whole lines of a table.

    Args:
        records: tasks that are looked for; all of the table have the fields of these.
    """
    rows: dict[str, Row] = {}
    numbers: dict[str, int] = {}
    for number, line in enumerate(lines[1:], start=2):
        here = f"line {number} of {name}"
        try:
            entry = json.loads(line)
            task, row = entry["task"], entry["row"]
            for expected in records[:1]:
                unlike = sorted(set(task) ^ set(expected))
                require(not unlike, f"the tasks that are looked for differ in {unlike}")
            key, row = _key(task), _checked_row(row, task)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{here} is not a task of this computation with its row: {line[:60]!r} "
                f"({error}); repair or delete that line"
            ) from None
        require(
            key not in rows,
            f"{here} repeats the task of line {numbers.get(key)}: {line[:60]!r}; delete the one "
            "that is wrong",
        )
        rows[key], numbers[key] = row, number
    return rows


def _require_header(name: str, line: bytes, header: dict[str, str]) -> None:
    try:
        present = json.loads(line)
    except ValueError:
        present = None
    require(
        isinstance(present, dict) and set(present) == set(header),
        f"{name} is not the table of a sweep: line 1 is {line[:60]!r}; expected function, "
        "version and note; give another path",
    )
    require(
        all(present[key] == header[key] for key in ("function", "version")),
        f"{name} is the table of {present['function']}, version {present['version']!r}, by line "
        f"1; expected {header['function']}, version {header['version']!r}; give another path, or "
        "delete the table if it is out of date",
    )


def _append(file: BinaryIO, entry: dict) -> None:
    file.write(_line(entry))
    file.flush()
    os.fsync(file.fileno())


def _line(entry: dict) -> bytes:
    return json.dumps(entry).encode() + b"\n"
