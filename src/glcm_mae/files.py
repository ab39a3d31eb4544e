"""Write a file whole or not at all, and not where it must not lie; read what it tells."""

import csv
import io
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from glcm_mae.errors import UserError


def write_atomically(path: Path, content: str | bytes) -> None:
    r"""Replace the file at `path`, or leave what was there untouched.

    The content goes to a hidden file in the same folder, reaches the disk, and only then takes the
    name `path`, in one step that no reader and no crash can see half done. Missing folders are
    made.

    Parameters
    ----------
    path : Path
        The file to write.
    content : str or bytes
        Its whole content; text is written as UTF-8 with line ends as they are.

    Raises
    ------
    UserError
        If the file cannot be written (disk full, no permission); the old file is then intact.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_atomically(folder / "a.txt", "new\n")
    >>> [file.name for file in folder.iterdir()]
    ['a.txt']
    """
    data = content.encode() if isinstance(content, str) else content
    with whole_file(path, len(data)) as file:
        file.write(data)


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Write a table as CSV.

    Parameters
    ----------
    columns : iterable of str
        Their names.
    rows : iterable of iterables
        Their values, in the same order.

    Returns
    -------
    str
        With a line feed after each row.

    Examples
    --------
    >>> print(csv_text(["path", "label"], [["a, b.png", 1]]), end="")
    path,label
    "a, b.png",1
    """
    return "".join(csv_lines(columns, rows))


def csv_lines(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    r"""Write a table as CSV, row by row: what is too long to be held in memory.

    Parameters
    ----------
    columns, rows
        As for `csv_text`.

    Yields
    ------
    str
        The names of the columns, then a row each, with its line feed.

    Examples
    --------
    >>> list(csv_lines(["path", "label"], [["a, b.png", 1]]))
    ['path,label\n', '"a, b.png",1\n']
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")  # or a cell's "\r" would not be quoted
    for row in itertools.chain([columns], rows):
        writer.writerow(row)
        yield text.getvalue().removesuffix("\r\n") + "\n"
        text.seek(0)
        text.truncate()


@contextmanager
def whole_file(path: Path, size: int | None = None) -> Iterator[BinaryIO]:
    r"""Open a file for writing piece by piece that appears whole or not at all.

    As `write_atomically`, for what is too long to be held in memory. An error while it is open
    leaves the old file, or none.

    Parameters
    ----------
    path : Path
        The file to write.
    size : int, optional
        The bytes it will have, where they are known: an error then says how much room it needs.

    Yields
    ------
    binary file

    Raises
    ------
    UserError
        If the file cannot be written (disk full, no permission); the old file is then intact.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with whole_file(folder / "a.txt") as file:
    ...     for line in (b"one\n", b"two\n"):
    ...         _ = file.write(line)
    >>> (folder / "a.txt").read_text()
    'one\ntwo\n'
    """
    # Not `tempfile`: its files are readable by their owner alone, and stay so after the rename.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        kept = "; the version before it is intact" if path.exists() else ""
        room = "" if size is None else f" ({size / 2**20:.1f} MiB)"
        raise UserError(
            f"{path}{room} cannot be written ({error.strerror}){kept}: "
            "make room or give a folder that can be written, and start again."
        ) from error
    finally:
        _remove(temporary)


def read_facts(file: Path, mend: str) -> dict[str, Any]:
    r"""Read the names and values that a JSON file holds.

    Parameters
    ----------
    file : Path
        The file.
    mend : str
        What to do where it is damaged.

    Returns
    -------
    dict
        Nothing where there is no file.

    Raises
    ------
    UserError
        If it is damaged.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_atomically(folder / "about.json", '{"images": 5}')
    >>> read_facts(folder / "about.json", "copy it anew"), read_facts(folder / "a.json", "")
    ({'images': 5}, {})
    """
    if not file.exists():
        return {}
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise UserError(f"{file} is damaged: {mend}.")
    return told


def common_folder(files: Iterable[str]) -> str:
    """Name the folder in which files lie, as far as their paths tell.

    Parameters
    ----------
    files : iterable of str
        Their paths.

    Returns
    -------
    str
        "" where they have none in common, or some are relative and others not.

    Examples
    --------
    >>> common_folder(["set/a/1.png", "set/b/1.png"]), common_folder(["a.png", "/b.png"])
    ('set', '')
    """
    try:
        return os.path.commonpath({os.path.dirname(file) for file in files})
    except ValueError:
        return ""


def keep_inputs(out: str | Path, inputs: Iterable[str | Path]) -> None:
    """Refuse to write over what is read.

    Parameters
    ----------
    out : str or Path
        The file to write.
    inputs : iterable of str or Path
        The files that are read.

    Raises
    ------
    UserError
        If it is one of them, by whatever name.

    Examples
    --------
    >>> keep_inputs("a/../scan.png", ["scan.png"])
    Traceback (most recent call last):
    ...
    glcm_mae.errors.UserError: out would write over a/../scan.png, which is read: give another name.
    """
    if os.path.realpath(out) in {os.path.realpath(path) for path in inputs}:
        raise UserError(f"out would write over {out}, which is read: give another name.")


def check_out(out: str, endings: tuple[str, ...]) -> None:
    """Refuse a file that could not be written in the end.

    Parameters
    ----------
    out : str
        The file to write.
    endings : tuple of str
        Those that say a format.

    Raises
    ------
    UserError
        It has another ending, is a folder, or lies in none.

    Examples
    --------
    >>> check_out("features.xlsx", (".csv",))
    Traceback (most recent call last):
    ...
    glcm_mae.errors.UserError: out is features.xlsx: give it a name that ends in .csv.
    """
    path = Path(out)
    if path.suffix.lower() not in endings:
        raise UserError(f"out is {out}: give it a name that ends in {' or '.join(endings)}.")
    if path.is_dir():
        raise UserError(f"out is {out}, which is a folder: give the name of a file.")
    if not path.parent.is_dir():
        raise UserError(f"out is {out}, but there is no folder {path.parent}: make it first.")


def _remove(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError:
        return  # the folder itself cannot be reached: the error above says so
