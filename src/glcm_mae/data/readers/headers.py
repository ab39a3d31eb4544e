"""Headers that are lines of text: how long they may be, and the numbers in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from .refusal import Refusal

__all__ = ["UNIT_MM", "lines_of", "numbers", "whole_numbers"]

UNIT_MM = {
    **dict.fromkeys(("mm", "millimeter", "millimeters"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters"), 10.0),
    **dict.fromkeys(("m", "meter", "meters"), 1000.0),
    **dict.fromkeys(("um", "µm", "micron", "microns", "micrometer", "micrometers"), 0.001),
}
"""Words for units of length (lower case), in mm."""

_LONGEST = 2**20  # bytes: a thousand times an ordinary one, ten times one of a hundred segments
_FARTHEST = 1e12  # a length in any unit; squares of it are still numbers


def lines_of(file: BinaryIO) -> Iterator[str]:
    r"""Give the lines that a file begins with; after each, the file stands at the next.

    Parameters
    ----------
    file : BinaryIO
        An open file, of which only as much is read.

    Yields
    ------
    str
        A line without its end.

    Raises
    ------
    Refusal
        The header goes on for more than 1 MiB, or to the end of the file.

    Examples
    --------
    >>> import io
    >>> next(lines_of(io.BytesIO(b"NDims = 2\r\nDimSize = 4 3\r\n")))
    'NDims = 2'
    """
    left = _LONGEST
    while line := file.readline(left):
        left -= len(line)
        # What is no text stands in names and comments, which nobody asks for.
        yield line.decode("utf-8", "replace").rstrip("\r\n")
    raise Refusal("has a header that does not end: export or copy it again.")


def whole_numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers with blanks between them.

    Examples
    --------
    >>> whole_numbers("512 512 90")
    (512, 512, 90)
    """
    return tuple(int(word) for word in text.split())


def numbers(words: list[str]) -> list[float]:
    """Read numbers, all of them finite and such as a length can be.

    Examples
    --------
    >>> numbers(["0.7", "-3e-1"])
    [0.7, -0.3]
    """
    found = [float(word) for word in words]
    if not all(abs(number) < _FARTHEST for number in found):
        raise Refusal("has a direction, place or spacing that is no length: export it again.")
    return found
