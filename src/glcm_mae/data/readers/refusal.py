"""Why a file cannot be read: one line that names it and never quotes what it says."""

from __future__ import annotations

from pathlib import Path

from glcm_mae.errors import UserError

__all__ = ["Refusal", "UnreadableImage", "one_line"]


class UnreadableImage(UserError):  # noqa: N818 (named after what is found)
    """A file that is no image, or one that cannot be read without changing its pixels.

    Parameters
    ----------
    path : Path
        The file.
    reason : str
        What is wrong and what to do, as the end of a sentence that starts with the file.

    Examples
    --------
    >>> raise UnreadableImage(Path("scan.png"), "is empty: export it again.")
    Traceback (most recent call last):
    ...
    glcm_mae.data.readers.refusal.UnreadableImage: scan.png is empty: export it again.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{one_line(self.path)} {self.reason}"


class Refusal(Exception):  # noqa: N818 (named after what it is)
    """Why a reader refuses a file; `read_image` adds which file.

    Its text is the end of a sentence that starts with the file's name. It is printed and logged,
    so it holds numbers of the image at most (its size, its frames), never another value that
    stands in the file: a DICOM header names the patient.
    """


def one_line(name: object) -> str:
    r"""Write a file's name so that it stays one printable line.

    Parameters
    ----------
    name : object
        A path, or text that holds one.

    Returns
    -------
    str
        The name with line breaks, other control characters and bytes that are no text escaped.

    Examples
    --------
    >>> print(one_line("a\nb.png"), one_line("Röntgen, 胸部.png"), one_line("\udcff.png"))
    a\nb.png Röntgen, 胸部.png \udcff.png
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in str(name)
    )
