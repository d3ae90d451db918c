import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest

from diffot.data import cache

PACKAGES = ["numpy"]


def squares(log: Path, seconds: float, piece) -> dict[str, np.ndarray]:
    """Squares of whole numbers; a line in the log says that they were made."""
    time.sleep(seconds)
    with log.open("a") as file:
        file.write(f"{piece[0]}\n")
    numbers = np.array(piece)
    return {"square": numbers**2, "word": np.array([str(k) for k in piece])}


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def provide(tmp_path, log, monkeypatch):
    """Squares of 0..n-1, in chunks of ten."""
    monkeypatch.setattr(cache, "CHUNK", 10)

    def provide(n: int, **parameters):
        make = partial(squares, log, 0)
        arrays = cache.provide("squares", parameters, PACKAGES, range(n), make, tmp_path / "c")
        assert arrays["square"].tolist() == [k * k for k in range(n)]
        assert arrays["word"].tolist() == [str(k) for k in range(n)]

    return provide


def made(log: Path) -> list[int]:
    """First items of the pieces made since the last call, in order."""
    lines = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return sorted(map(int, lines))


def test_what_has_been_made_is_not_made_again(provide, log):
    provide(20)
    assert made(log) == [0, 10]
    provide(10)
    provide(20)
    assert made(log) == []
    provide(40)
    assert made(log) == [20, 30]
    provide(33)  # the last piece is shorter than the one that is kept
    assert made(log) == [30]


def test_another_recipe_or_version_is_made_anew(provide, log, monkeypatch):
    provide(10)
    provide(10, seed=1)
    assert made(log) == [0, 0]
    monkeypatch.setattr(cache, "version", lambda package: "0.0.1")
    provide(10)
    assert made(log) == [0]


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def put_other_values(path: Path) -> None:
    """A sound file with other numbers, as a careless edit would leave it."""
    np.savez_compressed(path, square=np.arange(10), word=np.array(list("0123456789")))


def change_card(path: Path) -> None:
    card = path.with_suffix(".json")
    card.write_text(json.dumps({**json.loads(card.read_text()), "sha256": "0" * 64}))


def spoil_card(path: Path) -> None:
    path.with_suffix(".json").write_text("{")


@pytest.mark.parametrize(
    "damage", [flip_byte, cut_short, put_other_values, change_card, spoil_card]
)
def test_a_damaged_chunk_is_reported_and_made_again(provide, log, tmp_path, damage):
    provide(10)
    made(log)
    (path,) = (tmp_path / "c").rglob("*.npz")
    damage(path)
    with pytest.warns(UserWarning, match=f"{path.name} is damaged"):
        provide(10)
    assert made(log) == [0]
    provide(10)
    assert made(log) == []


def test_arrays_are_returned_even_if_they_cannot_be_kept(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    make = partial(squares, tmp_path / "log", 0)
    with pytest.warns(UserWarning, match="could not be kept"):
        arrays = cache.provide("squares", {}, PACKAGES, range(5), make, blocked)
    assert arrays["square"].tolist() == [0, 1, 4, 9, 16]


def test_a_cache_that_cannot_be_read_is_reported_once(provide, log, tmp_path, monkeypatch):
    provide(30)
    made(log)

    read = Path.read_text

    def denied(path, *more, **options):
        if tmp_path in path.parents:
            raise PermissionError(13, "Permission denied")
        return read(path, *more, **options)

    with monkeypatch.context() as patched, pytest.warns(UserWarning) as caught:
        patched.setattr(Path, "read_text", denied)
        provide(30)
    assert len(caught) == 1
    assert "Permission denied), and 2 more; made again" in str(caught[0].message)
    assert made(log) == [0, 10, 20]


def test_a_chunk_of_other_items_is_made_again(log, tmp_path):
    """The second chunk has ten items in both cases."""
    for n, piece_size in ((40, 30), (20, 10)):
        make = partial(squares, log, 0)
        arrays = cache.provide("s", {}, PACKAGES, range(n), make, tmp_path / "c", piece_size)
        assert arrays["square"].tolist() == [k * k for k in range(n)]
    assert made(log) == [0, 0, 10, 30]


def test_a_card_without_its_start_is_trusted(provide, log, tmp_path):
    provide(10)
    made(log)
    (card,) = (tmp_path / "c").rglob("*.json")
    description = json.loads(card.read_text())
    del description["start"]
    card.write_text(json.dumps(description))
    provide(10)
    assert made(log) == []


def test_chunks_that_do_not_hold_any_more_are_made_again(log, tmp_path):
    def squares_from(*outdated: int) -> list[int]:
        cache.provide(
            "squares", {}, PACKAGES, range(30), partial(squares, log, 0), tmp_path / "c", 10,
            holds=lambda piece, arrays: arrays["square"][0] not in outdated,
        )  # fmt: skip
        return made(log)

    assert squares_from(100) == [0, 10, 20]  # not asked of what was made just now
    assert squares_from(100, 400) == [10, 20]
    assert squares_from() == []


def test_the_same_may_be_made_twice_at_once(log, tmp_path):
    both = threading.Barrier(2)

    def make(piece) -> dict[str, np.ndarray]:
        both.wait(20)
        return squares(log, 0, piece)

    def provide(make=make) -> list[int]:
        with joblib.parallel_config("sequential"):
            arrays = cache.provide("s", {}, PACKAGES, range(40), make, tmp_path / "c", 10)
        return arrays["square"].tolist()

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(provide) for _ in range(2)]:
            assert future.result() == [k * k for k in range(40)]
    assert made(log) == [0, 0, 10, 10, 20, 20, 30, 30]
    assert provide(make=len) == [k * k for k in range(40)]  # nothing is left to make
    assert len(list((tmp_path / "c").rglob("*.*"))) == 8


SCRIPT = """
import os, sys
from functools import partial
from pathlib import Path
sys.path[:0] = sys.argv[1].split(os.pathsep)
from test_cache import PACKAGES, squares
from diffot.data import cache
cache.CHUNK = 10
make = partial(squares, Path(sys.argv[2]), 0.3)
cache.provide("squares", {}, PACKAGES, range(200), make, Path(sys.argv[3]))
"""


def test_work_survives_a_kill(provide, log, tmp_path):
    command = [sys.executable, "-c", SCRIPT, os.pathsep.join(sys.path), log, tmp_path / "c"]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "c").rglob("*.json"))) < 3:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kept = {10 * int(path.stem) for path in (tmp_path / "c").rglob("*.json")}
    assert 3 <= len(kept) < 20
    made(log)
    provide(200)
    assert set(made(log)) == set(range(0, 200, 10)) - kept
