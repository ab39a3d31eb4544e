"""Write a file whole or not at all."""

import os
from pathlib import Path


def write_text_atomically(path: Path, text: str) -> None:
    r"""Replace the file at `path` with `text`, or leave what was there untouched.

    The text goes to a hidden file in the same folder, reaches the disk, and only then takes the
    name `path`, in one step that no reader and no crash can see half done. Missing folders are
    made. Line ends are written as they are in `text`.

    Parameters
    ----------
    path : pathlib.Path
        The file to write.
    text : str
        Its whole content, written as UTF-8.

    Raises
    ------
    OSError
        If the file cannot be written; the old file is then intact.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_text_atomically(folder / "a.txt", "new\n")
    >>> [file.name for file in folder.iterdir()]
    ['a.txt']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not `tempfile`: its files are readable by their owner alone, and stay so after the rename.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
