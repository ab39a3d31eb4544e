"""One study at a time in a folder: two would write the same runs, each in the other's way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glcm_mae.errors import UserError
from glcm_mae.locks import locked


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder for this process.

    The system lets go of it when the process ends, however it ends. Where it has no such locks
    (Windows, some network file systems), a message says so.

    Parameters
    ----------
    folder : Path
        Made if it is not there; gets a file ``.lock``.

    Raises
    ------
    UserError
        If another process holds it.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with alone_in(folder), alone_in(folder):
    ...     pass
    Traceback (most recent call last):
    ...
    glcm_mae.errors.UserError: ...: wait for it, or choose another folder with --out.
    """

    def refuse() -> None:
        raise UserError(
            f"another study is at work in {folder}: wait for it, or choose another folder "
            "with --out."
        )

    with locked(folder / ".lock", refuse) as problem:
        if problem is not None:
            print(f"{folder} cannot be locked ({problem}): run one study in it", file=sys.stderr)
        yield
