import contextlib
import importlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pandas as pd
import pytest
import torch
from misuse import expect
from threadpoolctl import threadpool_info, threadpool_limits

from bookkit import paths, sweeps
from bookkit.sweeps import read_table, sweep


@dataclass(frozen=True)
class Task:
    i: int
    log: str = ""
    seconds: float = 0.0


def logged(task):
    """A number that takes a while; each call leaves a line with i and the process."""
    with open(task.log, "a") as file:
        file.write(f"{task.i} {os.getpid()}\n")
    time.sleep(task.seconds)
    draws = torch.Generator().manual_seed(task.i)
    draw = torch.randn(1000, generator=draws, dtype=torch.float64)
    return {"mean": draw.mean(), "norm": np.linalg.norm(draw), "name": f"task {task.i}"}


def another(task):
    return {"mean": 0.0}


def odd_fails(task):
    row = logged(task)
    if task.i % 2:
        raise ArithmeticError(f"{task.i} is odd")
    return row


def unpicklable_error(task):
    class LocalError(Exception):
        def __init__(self, first, second):
            super().__init__(lambda: first)

    raise LocalError(1, 2)


def kills_its_process(task):
    if task.i == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return logged(task)


def extremes(task):
    values = [0.1 + 0.2, 5e-324, -1.7976931348623157e308, -0.0, math.nan, math.inf, -math.inf]
    i = task.i
    return {"value": values[i], "whole": 2**60 + i, "flag": i > 3, "text": "ε\n\ud800"}


def threads(task):
    pools = max(pool["num_threads"] for pool in threadpool_info())
    return {"torch": torch.get_num_threads(), "pools": pools}


def tasks_of(log, n=8, **more):
    return [Task(i, str(log), **more) for i in range(n)]


def calls(log):
    """How often each task was begun."""
    lines = Path(log).read_text().split("\n") if Path(log).exists() else []
    return Counter(int(line.split()[0]) for line in lines if line)


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def cluster():
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


def test_where_it_runs_does_not_matter(tmp_path, cluster):
    tasks = tasks_of(tmp_path / "log")[::-1]
    expected = pd.DataFrame([{**asdict(task), **logged(task)} for task in tasks])
    expected = expected.astype({"mean": float, "norm": float})
    settings = [{"jobs": 1}, {"jobs": 2}, {"scheduler": cluster.scheduler_address}]
    for k, setting in enumerate(settings):
        kept = sweep(logged, tasks, tmp_path / f"{k}.jsonl", progress=False, **setting)
        free = sweep(logged, tasks, progress=False, **setting)
        again = sweep(logged, tasks, tmp_path / f"{k}.jsonl", progress=False, **setting)
        for found in (kept, free, again):
            pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert set(calls(tmp_path / "log").values()) == {7}


def test_a_killed_dask_worker_changes_nothing(tmp_path, cluster):
    tasks = tasks_of(tmp_path / "log", n=12, seconds=0.3)
    lost = []

    def kill_one():
        wait_until(lambda: sum(calls(tmp_path / "log").values()) >= 4)
        i, process = (tmp_path / "log").read_text().split("\n")[-2].split()
        os.kill(int(process), signal.SIGKILL)
        lost.append(int(i))

    killer = threading.Thread(target=kill_one)
    killer.start()
    found = sweep(logged, tasks, tmp_path / "t.jsonl", cluster.scheduler_address, progress=False)
    killer.join()
    begun = calls(tmp_path / "log")
    assert begun[lost[0]] == 2, "the worker was not killed in the middle of a task"
    # Again: this task, one whose result had not been fetched, one whose result joblib holds.
    assert begun.total() <= len(tasks) + 3
    serial = sweep(logged, tasks_of(tmp_path / "log", n=12), jobs=1, progress=False)
    pd.testing.assert_frame_equal(found.drop(columns="seconds"), serial.drop(columns="seconds"))
    assert len((tmp_path / "t.jsonl").read_text().splitlines()) == 1 + len(tasks)


def test_a_task_that_kills_every_worker_fails_alone_on_dask(tmp_path, cluster):
    """joblib's own backend waits forever here."""
    tasks = tasks_of(tmp_path / "log", n=3)
    with pytest.raises(RuntimeError, match=r"(?s)i=1, .*workers died"):
        sweep(
            kills_its_process,
            tasks,
            tmp_path / "t.jsonl",
            cluster.scheduler_address,
            progress=False,
        )
    # A task that waited behind it, on a worker that it killed, is suspect to Dask as well.
    left = [task for task in tasks if task.i != 1]
    found = sweep(kills_its_process, left, tmp_path / "t.jsonl", jobs=1, progress=False)
    assert found.name.tolist() == ["task 0", "task 2"]


def thread(task):
    return {"thread": threading.current_thread().name}


def test_a_single_dask_worker_gets_the_tasks():
    """joblib's own backend would compute here."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster:
        found = sweep(thread, [Task(0)], scheduler=cluster.scheduler_address, progress=False)
    assert found.thread[0] != threading.current_thread().name


def test_a_killed_sweep_continues(tmp_path):
    """The whole sweep gets SIGKILL; what it had finished is not computed again."""
    log, table = tmp_path / "log", tmp_path / "t.jsonl"
    tasks = tasks_of(log, n=10, seconds=0.3)
    code = (
        "import sys, json, test_sweeps as t; "
        "tasks = [t.Task(**task) for task in json.loads(sys.argv[1])]; "
        "t.sweep(t.logged, tasks, sys.argv[2], jobs=2, progress=False)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps([*map(asdict, tasks)]), str(table)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    wait_until(lambda: table.exists() and table.read_bytes().count(b"\n") >= 4)
    process.kill()
    process.wait()
    finished = {json.loads(line)["task"]["i"] for line in table.read_text().splitlines()[1:]}
    assert len(finished) < len(tasks), "the sweep was over before it was killed"
    time.sleep(1)  # its own worker processes, left behind, may finish what they have
    for worker in {int(line.split()[1]) for line in log.read_text().splitlines()}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)

    found = sweep(logged, tasks, table, jobs=1, progress=False)
    begun = calls(log)
    assert all(begun[i] == 1 for i in finished)
    # In flight: one task in each process, and one whose row had not been written yet.
    assert begun.total() <= len(tasks) + 3, "more than what was in flight was computed twice"
    assert len(table.read_text().splitlines()) == 1 + len(tasks)
    serial = sweep(logged, tasks_of(log, n=10), jobs=1, progress=False)
    pd.testing.assert_frame_equal(found.drop(columns="seconds"), serial.drop(columns="seconds"))


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.999])
def test_a_half_written_line_is_dropped(tmp_path, kept):
    log, table = tmp_path / "log", tmp_path / "t.jsonl"
    expected = sweep(logged, tasks_of(log), table, jobs=1, progress=False)
    *lines, last = table.read_bytes().splitlines(keepends=True)
    table.write_bytes(b"".join(lines) + last[: max(1, int(kept * len(last)))])
    with pytest.warns(UserWarning, match="half a line"):
        found = sweep(logged, tasks_of(log), table, jobs=1, progress=False)
    pd.testing.assert_frame_equal(found, expected)
    assert calls(log) == {**dict.fromkeys(range(7), 1), 7: 2}
    assert table.read_bytes() == b"".join([*lines, last])


def test_a_table_killed_at_its_first_line_starts_anew(tmp_path):
    log, table = tmp_path / "log", tmp_path / "t.jsonl"
    sweep(logged, tasks_of(log), table, jobs=1, progress=False)
    whole = table.read_bytes()
    table.write_bytes(whole[:20])
    with pytest.warns(UserWarning, match="half a line"):
        sweep(logged, tasks_of(log), table, jobs=1, progress=False)
    assert table.read_bytes() == whole


def test_a_sweep_may_grow_and_shrink(tmp_path):
    log, table = tmp_path / "log", tmp_path / "t.jsonl"
    sweep(logged, tasks_of(log, n=4), table, jobs=1, progress=False)
    more = sweep(logged, tasks_of(log, n=6), table, jobs=1, progress=False)
    few = sweep(logged, tasks_of(log, n=6)[4:1:-1], table, jobs=1, progress=False)
    assert few.i.tolist() == [4, 3, 2] and few["mean"].tolist() == more["mean"].tolist()[4:1:-1]
    assert calls(log) == dict.fromkeys(range(6), 1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failing_task_costs_no_other(tmp_path, jobs, capsys):
    log, table = tmp_path / "log", tmp_path / "t.jsonl"
    with pytest.raises(RuntimeError) as caught:
        sweep(odd_fails, tasks_of(log, n=5), table, jobs=jobs)
    message = str(caught.value)
    assert message.startswith("2 of 5 tasks failed") and str(table) in message
    assert "Task(i=1, " in message and "ArithmeticError: 3 is odd" in message
    assert "line " in message.split("the first of them:")[1], "the place of the error is missing"
    assert "i=3" in capsys.readouterr().err, "not told before the end"
    even = [task for task in tasks_of(log, n=5) if task.i % 2 == 0]
    assert sweep(odd_fails, even, table, jobs=1, progress=False).i.tolist() == [0, 2, 4]
    assert calls(log) == dict.fromkeys(range(5), 1)


def test_an_error_that_cannot_be_pickled_is_reported_too():
    with pytest.raises(RuntimeError, match=r"Task\(i=3, .*\): .*LocalError"):
        sweep(unpicklable_error, [Task(3), Task(4)], jobs=2, progress=False)


def test_numbers_come_back_exactly(tmp_path):
    tasks = [Task(case) for case in range(7)]
    computed = sweep(extremes, tasks, tmp_path / "t.jsonl", jobs=1, progress=False)
    read = sweep(extremes, tasks, tmp_path / "t.jsonl", jobs=1, progress=False)
    for case in range(7):
        expected = extremes(Task(case))
        for row in (computed.loc[case], read.loc[case]):
            assert np.float64(row.value).tobytes() == np.float64(expected["value"]).tobytes()
            assert [row.whole, row.flag, row.text] == list(expected.values())[1:]


def test_another_table_is_refused_and_left_alone(tmp_path):
    log, table = tmp_path / "log", tmp_path / "t.jsonl"
    sweep(logged, tasks_of(log), table, jobs=1, progress=False, version="1")
    whole = table.read_bytes()
    with pytest.raises(ValueError, match=r"logged, version '1', .*; expected .*another"):
        sweep(another, tasks_of(log), table, jobs=1, progress=False, version="1")
    with pytest.raises(ValueError, match=r"version '1', .*; expected .*version '2'"):
        sweep(logged, tasks_of(log), table, jobs=1, progress=False, version="2")
    assert table.read_bytes() == whole
    for content in (b"i,mean\n1,2\n", b"i,mean", b"[]\n", b'{"task": {}}\n'):
        table.write_bytes(content)
        with pytest.raises(ValueError, match="not the table of a sweep"):
            sweep(logged, tasks_of(log), table, jobs=1, progress=False)
        assert table.read_bytes() == content


def test_a_note_is_kept_and_not_compared(tmp_path):
    log, table = tmp_path / "log", tmp_path / "t.jsonl"
    sweep(logged, tasks_of(log, 2), table, jobs=1, progress=False, note="first")
    found = sweep(logged, tasks_of(log, 3), table, jobs=1, progress=False, note="second")
    header, *rows = table.read_text().splitlines()
    assert json.loads(header)["note"] == "first" and len(rows) == len(found) == 3
    assert calls(log) == dict.fromkeys(range(3), 1)


def test_a_table_is_read_without_computing(tmp_path):
    log, table = tmp_path / "log", tmp_path / "t.jsonl"
    computed = sweep(logged, tasks_of(log), table, jobs=1, progress=False)
    with open(table, "ab") as file:
        file.write(b'{"task": {"i": 8')  # as a sweep that is still running leaves it
    whole = table.read_bytes()
    tasks = [tasks_of(log)[i] for i in (5, 0, 3)]
    found = read_table(table, logged, tasks)
    expected = computed.iloc[[5, 0, 3]].reset_index(drop=True)
    pd.testing.assert_frame_equal(found[computed.columns], expected, check_exact=True)
    assert calls(log) == dict.fromkeys(range(8), 1) and table.read_bytes() == whole
    with pytest.raises(
        ValueError, match=r"lacks 2 of 10 tasks, the first being Task\(i=8, .*sweep"
    ):
        read_table(table, logged, tasks_of(log, 10))
    with pytest.raises(FileNotFoundError, match=r"no table at .*other\.jsonl; compute it"):
        read_table(tmp_path / "other.jsonl", logged, tasks)


def repeated(lines):
    return [*lines, lines[3]]


def replaced(number, old, new):
    def change(lines):
        assert old in lines[number]
        return [line.replace(old, new) if k == number else line for k, line in enumerate(lines)]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[1:], r"t\.jsonl is not the table of a sweep: line 1 is b'{\"task"),
        (lambda lines: [], r"t\.jsonl is not the table of a sweep: line 1 is b''"),
        (lambda lines: [b"garbage\n", *lines[1:]], r"line 1 is b'garbage'"),
        (lambda lines: [b"\xff\xfe\n", *lines[1:]], r"line 1 is b'\\xff"),
        (
            replaced(0, b"test_sweeps.logged", b"test_sweeps.another"),
            "table of .*another.*line 1",
        ),
        (replaced(0, b'"version": ""', b'"version": "2"'), "version '2', by line 1; expected"),
        (lambda lines: [*lines[:2], b"garbage\n", *lines[2:]], r"line 3 of .*t\.jsonl"),
        (lambda lines: [*lines[:2], b"\n", *lines[2:]], r"line 3 of .*t\.jsonl"),
        (replaced(3, b'"task"', b'"tsk"'), r"line 4 of .*t\.jsonl"),
        (replaced(3, b'"log"', b'"logg"'), r"line 4 of .*t\.jsonl .*'log', 'logg'"),
        (replaced(3, b'"task": {', b'"task": 5, "rest": {'), r"line 4 of .*t\.jsonl"),
        (replaced(3, b'"mean"', b'"i": 2, "mean"'), r"line 4 of .*repeats i of its task"),
        (replaced(3, b'"row": {', b'"row": 5, "rest": {'), r"line 4 of .*t\.jsonl"),
        (repeated, r"line 10 of .*t\.jsonl repeats the task of line 4"),
        (lambda lines: [*lines, *repeated(lines)[-1:], b'{"task": {"i": 8'], "line 10 of"),
    ],
)
def test_a_damaged_table_is_refused_by_file_and_line(tmp_path, change, message):
    """By those who read it and by those who would add to it, and it is left alone."""
    log, table = tmp_path / "log", tmp_path / "t.jsonl"
    sweep(logged, tasks_of(log), table, jobs=1, progress=False)
    damaged = b"".join(change(table.read_bytes().splitlines(keepends=True)))
    table.write_bytes(damaged)
    with pytest.raises(ValueError, match=message):
        read_table(table, logged, tasks_of(log, 2))
    if damaged:
        with pytest.raises(ValueError, match=r"table of|line"):
            sweep(logged, tasks_of(log), table, jobs=1, progress=False)
    assert table.read_bytes() == damaged


def test_committed_tables_are_whole():
    """Each is of a function that is there, which takes its tasks, and has none of them twice."""
    for table in sorted(paths.TABLES.glob("*.jsonl")):
        header, *lines = map(json.loads, table.read_text().splitlines())
        module, name = header["function"].rsplit(".", 1)
        measure = getattr(importlib.import_module(module), name)
        task_class = get_type_hints(measure)["task"]
        tasks = [rebuilt(task_class, line["task"]) for line in lines]
        assert len(read_table(table, measure, tasks)) == len(lines) > 0, table.name


def rebuilt(kind, record):
    """The dataclass of this type, or of these types, that a table holds a record of."""
    if isinstance(record, list):
        return tuple(rebuilt(kind, item) for item in record)
    if not isinstance(record, dict):
        return record
    for one in get_args(kind) or (kind,):
        if is_dataclass(one) and {field.name for field in fields(one)} == set(record):
            types = get_type_hints(one)
            return one(**{name: rebuilt(types[name], part) for name, part in record.items()})
    raise TypeError(f"{record} is no {kind}")


@dataclass(frozen=True)
class Part:
    name: str
    sides: tuple[int, ...] = ()


@dataclass(frozen=True)
class Composed:
    part: Part | None
    whole: Part


def names(task):
    return {"text": f"{task.part and task.part.name} of {task.whole.name}"}


def test_tasks_made_of_dataclasses(tmp_path):
    tasks = [Composed(part, Part("image", (2, 3))) for part in (None, Part("eyes"))]
    table = tmp_path / "t.jsonl"
    computed = sweep(names, tasks, table, jobs=1, progress=False)
    assert computed.text.tolist() == ["None of image", "eyes of image"]
    lines = [json.loads(line)["task"] for line in table.read_text().splitlines()[1:]]
    assert lines[1] == {
        "part": {"name": "eyes", "sides": []}, "whole": {"name": "image", "sides": [2, 3]}
    }  # fmt: skip
    found = read_table(table, names, [rebuilt(Composed, line) for line in lines])
    pd.testing.assert_frame_equal(found, computed)
    assert found.set_index("part").loc[Part("eyes"), "text"] == "eyes of image"
    with pytest.raises(ValueError, match=r"lacks 1 of 1 tasks, .*Part\(name='eyes', sides=\(1,"):
        read_table(table, names, [Composed(Part("eyes", (1,)), tasks[0].whole)])


def test_one_sweep_at_a_time_writes_a_table(tmp_path):
    log, table = tmp_path / "log", tmp_path / "t.jsonl"
    with (
        sweeps._opened(table),
        pytest.raises(BlockingIOError, match="another sweep is writing"),
    ):
        sweep(logged, tasks_of(log), table, jobs=1, progress=False)
    sweep(logged, tasks_of(log), table, jobs=1, progress=False)
    # what is left of the lock is a hidden file, which git ignores
    assert sorted(p.name for p in tmp_path.iterdir() if p != log) == [".t.jsonl.lock", "t.jsonl"]


def test_a_table_where_none_can_be_written_is_an_error_at_once(tmp_path):
    log = tmp_path / "log"
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file cannot be written to"):
        sweep(logged, tasks_of(log), tmp_path / "file" / "t.jsonl", jobs=1, progress=False)
    assert not calls(log)


@dataclass
class Loose:
    i: int


def test_wrong_tasks_are_refused_before_anything_is_computed(tmp_path):
    log, table = tmp_path / "log", tmp_path / "t.jsonl"
    good = tasks_of(log)
    for wrong, message in [
        (good[2], "more than once"),
        (replace(good[2], i=np.int64(2)), "more than once"),
        (replace(good[2], i=[1, 2]), "i is .*list"),
        (replace(good[2], i=np.ones(2)), "i is a numpy array"),
        (Part("eyes"), "tasks of one class"),
        (Loose(9), "Loose.* expected a frozen dataclass"),
        (asdict(good[2]), "expected a frozen dataclass"),
        (Task, "expected a frozen dataclass"),
        (17, "tasks is 17.*expected a frozen dataclass"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            sweep(logged, [*good, wrong], table, jobs=1, progress=False)
    assert not calls(log) and not table.exists()


def test_wrong_rows_are_failures_of_their_tasks():
    def wrong(task):
        return [{"i": 1}, 5, {"x": np.ones(3)}, {"x": None}, {4: 5}][task.i]

    with pytest.raises(RuntimeError, match="5 of 5") as caught:
        sweep(wrong, [Task(case) for case in range(5)], jobs=1, progress=False)
    for text in (
        "repeats i",
        "what was measured is 5",
        "x is a numpy array",
        "x is None",
        "a key is 4",
    ):
        assert text in str(caught.value)


GOOD = {"measure": another, "tasks": [Task(0, "log")]}


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("measure", None),
        ("measure", "another"),
        ("tasks", None),
        ("tasks", 3),
        ("tasks", {"i": 0}),
        ("tasks", ["i"]),
        ("table", 3),
        ("scheduler", 8786),
        ("jobs", 0),
        ("jobs", -2),
        ("jobs", 1.5),
        ("jobs", None),
        ("version", 2),
        ("note", None),
    ],
)
def test_misuse_of_sweeps(argument, value):
    expect(lambda: sweep(**{**GOOD, "progress": False, argument: value}), argument)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("measure", None), ("tasks", None), ("tasks", ["i"]), ("table", None), ("table", 3)],
)
def test_misuse_of_reading(argument, value, tmp_path):
    good = {**GOOD, "table": tmp_path / "t.jsonl"}
    sweep(**good, jobs=1, progress=False)
    expect(lambda: read_table(**{**good, argument: value}), argument)


def test_a_task_has_one_thread_and_the_caller_keeps_its_own():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with threadpool_limits(3):
            found = sweep(threads, [Task(0)], jobs=1, progress=False)
            assert threads(Task(0)) == {"torch": 3, "pools": 3}
    finally:
        torch.set_num_threads(before)
    assert found.loc[0, ["torch", "pools"]].tolist() == [1, 1]


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="is about pytest -n")
def test_a_process_of_parallel_tests_has_one_thread():
    assert set(threads(Task(0)).values()) == {1}


def test_an_absent_scheduler_is_an_error(tmp_path):
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(ConnectionError, match="no Dask scheduler answers"),
    ):
        sweep(logged, tasks_of(tmp_path / "log"), scheduler="tcp://127.0.0.1:9", progress=False)
