"""Writing files so that each appears whole or not at all."""

import os
import shutil
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write to a temporary file beside ``path`` and rename it; make the folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the new name with no content
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def remove_leftovers(path: Path) -> None:
    """Remove what a killed :func:`write_whole` of this path left behind."""
    for temporary in path.parent.glob(f".{path.name}.*"):
        temporary.unlink()


def check_space(folder: Path, size: int) -> None:
    """Make sure that files can be written to a folder, before time is spent on their content.

    Args:
        folder: made if needed.
        size: bytes that will be needed.

    Raises:
        OSError: if the folder cannot be written to or its disk has less space left.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"{folder} cannot be written to ({error.strerror}); change its permissions, or "
            "work in a copy of the repository that is yours"
        ) from error
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(
            f"{folder} has {free / 1e6:.0f} MB left on its disk and {size / 1e6:.0f} MB are "
            "needed; free some space first"
        )
