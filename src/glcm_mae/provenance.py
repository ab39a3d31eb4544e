"""Which code made a result: the version, and the state of the package's files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from glcm_mae import __version__


def made_by() -> dict[str, str]:
    """Name the code that runs: what stands in every file of results.

    Returns
    -------
    dict
        ``glcm_mae``: the version. ``code``: the name (40 hexadecimal digits) that git gives to the
        package's folder as it is, so that ``git log -t --find-object=CODE`` tells the commit; if
        it tells none, the files had been changed.

    Examples
    --------
    >>> sorted(made_by())
    ['code', 'glcm_mae']
    """
    return {"glcm_mae": __version__, "code": _code()}


@cache
def _code() -> str:
    return tree_name(Path(__file__).parent)


def tree_name(folder: Path) -> str:
    """Name a folder by the content of its files, as git names it.

    Hidden files and compiled ones are no part of it.

    Parameters
    ----------
    folder : Path
        A folder of plain files.

    Returns
    -------
    str
        40 hexadecimal digits.
    """
    return _tree(folder).hex()


def _tree(folder: Path) -> bytes:
    content = b"".join(
        mode + b" " + path.name.encode() + b"\0" + digest for mode, path, digest in _entries(folder)
    )
    return _object(b"tree", content)


def _entries(folder: Path) -> Iterator[tuple[bytes, Path, bytes]]:
    for path in sorted(folder.iterdir(), key=_as_git_sorts):
        if path.name.startswith(".") or path.name == "__pycache__":
            continue
        if not path.is_dir():
            yield b"100644", path, _object(b"blob", path.read_bytes())
        elif any(_entries(path)):  # git knows no empty folder
            yield b"40000", path, _tree(path)


def _as_git_sorts(path: Path) -> bytes:
    return path.name.encode() + (b"/" if path.is_dir() else b"")


def _object(kind: bytes, content: bytes) -> bytes:
    head = kind + b" " + str(len(content)).encode() + b"\0"
    return hashlib.sha1(head + content, usedforsecurity=False).digest()
