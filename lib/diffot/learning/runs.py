"""A training run on disk: its state, to go on from after a kill, its log and its samples."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffot.errors import (
    as_number,
    as_whole_number,
    differences,
    require,
    require_images,
    require_type,
)
from diffot.files import check_space, remove_leftovers, write_whole


class TrainingRun:
    """The folder of one training run.

    It holds ``state.pt`` (everything needed to continue), ``log.csv`` and ``samples/``. Each
    write replaces a file as a whole, the log too, so that a kill leaves neither half a state nor
    half a row, and a resumed run drops the rows after its state. One training at a time writes
    to it: see :meth:`held`.

    Args:
        folder: made when something is written.
        recipe: what is trained and how, as plain numbers, texts, lists and dicts. A state of
            another recipe is refused.
        resume: continue from the state in the folder, if there is one.
        seconds: time between two states.

    Raises:
        FileExistsError: if there is a state already and ``resume`` is not set.
        TypeError: for arguments of other types.
        ValueError: if the state is of another recipe or cannot be read.
    """

    def __init__(self, folder: Path, recipe: dict, resume: bool = False, seconds: float = 120.0):
        require_type(folder, (str, Path), "folder", "a path")
        require_type(recipe, dict, "recipe", "a dict")
        self.folder = Path(folder)
        self.seconds = as_number(seconds, "seconds", at_least=0)
        self.recipe = json.loads(json.dumps(recipe))
        self._lock = filelock.FileLock(self.folder / "lock", timeout=0)
        self.path = self.folder / "state.pt"
        self.saved_step = 0
        self.state = None
        if self.path.exists():
            if not resume:
                raise FileExistsError(
                    f"there is an unfinished run in {self.folder}; to continue it pass --resume "
                    "(make train: RESUME=1), or delete the folder to start anew"
                )
            self.state = self._read()
            self.saved_step = self.state["step"]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other trainings out of the folder, also while this one is held already.

        The lock is the system's: it ends with the process that has it, however that ends.

        Raises:
            BlockingIOError: if another training has it.
            OSError: if the folder cannot be written to.
        """
        check_space(self.folder, 0)
        try:
            self._lock.acquire()
        except filelock.Timeout:
            raise BlockingIOError(
                f"another training is writing to {self.folder}; wait for it, or end it first"
            ) from None
        try:
            yield
        finally:
            self._lock.release()

    def prepare(self, size: int) -> None:
        """Check that two states of ``size`` bytes fit on the disk; clear what a kill left, and,
        at the start of a run, the samples of the one before."""
        check_space(self.folder, 2 * size + 10_000_000)
        if self.state is None:
            _remove_samples(self.folder / "samples")
        for path in (self.path, self.folder / "log.csv"):
            remove_leftovers(path)

    def save(self, state: dict) -> None:
        """Replace the state; on failure the last one stays.

        Raises:
            OSError: with what to do, if it cannot be written, for example to a full disk.
        """
        buffer = io.BytesIO()
        torch.save({"recipe": self.recipe, **state}, buffer)
        self._write(self.path, buffer.getvalue())
        self.saved_step = state["step"]

    def log(self, rows: list[dict]) -> None:
        """Write the table of the run so far, one row for each stretch of training."""
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self._write(self.folder / "log.csv", text.getvalue().encode())

    def save_samples(self, images: Tensor, step: int) -> None:
        """Write images of shape (B, C, s, s) with values in [-1, 1] side by side, as PNG."""
        step = as_whole_number(step, "step", least=0)
        buffer = io.BytesIO()
        grid(images).save(buffer, "png")
        self._write(self.folder / "samples" / f"step_{step:07d}.png", buffer.getvalue())

    def copy_samples(self, folder: Path) -> None:
        """Put the samples of this run into a folder, in place of those of an earlier run."""
        folder = Path(folder)
        _remove_samples(folder)
        for path in sorted((self.folder / "samples").glob("step_*.png")):
            write_whole(folder / path.name, path.read_bytes())

    def close(self) -> None:
        """Remove the state of a finished run whose weights are safe elsewhere."""
        self.path.unlink(missing_ok=True)

    def _write(self, path: Path, content: bytes) -> None:
        try:
            write_whole(path, content)
        except OSError as error:
            kept = (
                f"the state of step {self.saved_step} in {self.folder} is intact: make room and "
                "continue with --resume (make train: RESUME=1)"
                if self.saved_step
                else "no state has been saved yet: make room and start again"
            )
            message = f"{path} could not be written ({error.strerror or error}); {kept}"
            raise OSError(message) from error

    def _read(self) -> dict:
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise ValueError(
                f"{self.path} cannot be read ({error}); delete {self.folder} to start anew"
            ) from error
        require(
            isinstance(state, dict) and "recipe" in state and "step" in state,
            f"{self.path} is not the state of a run; delete {self.folder} to start anew",
        )
        differing = differences(state["recipe"], self.recipe)
        require(
            not differing,
            f"the run in {self.folder} has another recipe: {'; '.join(differing)}. Restore "
            "the recipe to continue, or delete the folder to start anew",
        )
        return state


def _remove_samples(folder: Path) -> None:
    for path in folder.glob("step_*.png"):
        path.unlink()


def grid(images: Tensor) -> Image.Image:
    """Images of shape (B, C, s, s), C = 1 or 3, values in [-1, 1] (clipped), in rows of eight.

    Raises:
        TypeError, ValueError: for anything else.
    """
    require_images(images)
    require(
        len(images) >= 1 and images.shape[1] in (1, 3),
        f"images have shape {tuple(images.shape)}; expected (B, C, s, s) with C = 1 or 3",
    )
    pixels = ((images.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    pixels = pixels.permute(0, 2, 3, 1)
    count, height, width, channels = pixels.shape
    columns = min(8, count)
    empty = torch.zeros(-count % columns, height, width, channels, dtype=torch.uint8)
    rows = torch.cat([pixels, empty]).reshape(-1, columns, height, width, channels)
    picture = rows.transpose(1, 2).reshape(-1, columns * width, channels).numpy()
    return Image.fromarray(picture[:, :, 0] if channels == 1 else picture)


def ungrid(picture: Image.Image) -> Tensor:
    """The images in a picture that :func:`grid` made of at least eight, up to 8-bit rounding.

    Returns:
        Shape (B, C, s, s); places that were left empty are black images.

    Raises:
        TypeError: for anything but a picture. ValueError: if it is no rows of eight squares.
    """
    require_type(picture, Image.Image, "picture", "an image of PIL")
    pixels = torch.from_numpy(np.array(picture))
    height, width = pixels.shape[:2]
    size = width // 8
    require(
        width % 8 == 0 and height % size == 0,
        f"picture has {width} x {height} pixels; expected rows of eight square images",
    )
    tiles = pixels.reshape(height // size, size, 8, size, -1).permute(0, 2, 4, 1, 3)
    return tiles.flatten(0, 1).float() / 127.5 - 1
