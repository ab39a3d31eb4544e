"""What one process does at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def locked(path: Path, if_busy: Callable[[], None]) -> Iterator[Exception | None]:
    """Hold a lock for this process; the system lets go of it however the process ends.

    Parameters
    ----------
    path : Path
        Its file; made, with its folder, if it is not there. It is never removed.
    if_busy : callable
        Called if another process holds it. What it raises is raised; else it is waited for.

    Yields
    ------
    Exception or None
        Why the lock is not held, where the system has no such locks (Windows, some network
        file systems).

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / ".lock"
    >>> with locked(path, if_busy=lambda: print("busy")) as problem:
    ...     print(problem)
    None
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
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
