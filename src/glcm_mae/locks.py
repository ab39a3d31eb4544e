"""A folder in which one process works at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def locked(folder: Path, if_busy: Callable[[], None]) -> Iterator[Exception | None]:
    """Hold a folder for this process; the system lets go of it however the process ends.

    Parameters
    ----------
    folder : Path
        Made if it is not there; gets a file ``.lock``.
    if_busy : callable
        Called if another process holds it. What it raises is raised; else it is waited for.

    Yields
    ------
    Exception or None
        Why the folder is not held, where the system has no such locks (Windows, some network
        file systems).

    Examples
    --------
    >>> import tempfile
    >>> with locked(Path(tempfile.mkdtemp()), if_busy=lambda: print("busy")) as problem:
    ...     print(problem)
    None
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        yield _lock(file, if_busy)


def _lock(file: IO[str], if_busy: Callable[[], None]) -> Exception | None:
    try:
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if_busy()
            fcntl.flock(file, fcntl.LOCK_EX)
    except (ImportError, OSError) as problem:
        return problem
    return None
