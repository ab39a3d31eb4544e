"""The gray values that a run knows, and whether other images are on their scale."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glcm_mae.data.gray_values import (
    GRAY_VALUES,
    Counts,
    count_gray_values,
    gray_value_distance,
    match_gray_values,
)
from glcm_mae.data.pixels import pick
from glcm_mae.errors import UserError
from glcm_mae.files import csv_text, write_atomically

from .inputs import Images

_FILE = "gray_values.csv"

# Of 780 breast ultrasounds and 903 chest X-rays, 20 drawn at random are nearly always less apart
# from the rest (95 of 100 draws: 0.08 and 0.06), and so is each class from all (0.04). A curve of
# 20 takes as good as nothing away (docs/results/busi.md).
_APART = 0.1

LEAST = 20
"""Images that tell enough of a source's gray scale."""


def write_gray_values(folder: Path, images: Images, used: np.ndarray) -> None:
    """Write ``gray_values.csv``: how often each gray value occurs in what a run is trained on.

    Parameters
    ----------
    folder : Path
        The run's folder.
    images : Images
        The stage's images.
    used : ndarray of int
        Positions of those that the run trains on or chooses by.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    counts = count_gray_values(pick(images.pixels, used))
    columns = ["gray_value", *(f"channel{number}" for number in range(len(counts)))]
    rows = zip([f"{value:.6f}" for value in GRAY_VALUES], *counts.tolist(), strict=True)
    write_atomically(folder / _FILE, csv_text(columns, rows))


class OnScale(NamedTuple):
    """Images that a run is asked about, and what is to be said of their gray values.

    Parameters
    ----------
    images : Images
        As they are, or brought to its scale.
    apart : float or None
        How far their gray values were from the run's own (`gray_value_distance`); None where the
        run does not tell them, as those of earlier versions.
    told : str
        What their user should know; empty if there is nothing.
    """

    images: Images
    apart: float | None
    told: str

    def tell(self) -> None:
        """Say it on stderr."""
        if self.told:
            print(self.told, file=sys.stderr)


def on_scale_of(run: Path, images: Images, counts: Counts, *, match: bool) -> OnScale:
    """Find out if images are on another gray scale than a run's; bring them there if asked.

    Parameters
    ----------
    run : Path
        Its folder.
    images : Images
        Of one source.
    counts : ndarray of int64, (C, L)
        Its gray values, as `count_gray_values` counts them.
    match : bool
        Whether they are brought to its scale (`glcm_mae.data.gray_values.match_gray_values`).

    Returns
    -------
    OnScale

    Raises
    ------
    UserError
        If they are to be brought to a scale that the run does not tell.
    """
    known = read_gray_values(run, images.pixels.shape[1])
    if known is None:
        if match:
            raise UserError(
                f"{run} was made by an earlier version and does not tell the gray values that it "
                "was trained on: run it again, or set match_gray_values false."
            )
        return OnScale(images, None, "")
    apart = gray_value_distance(counts, known)
    if match:
        matched = replace(images, pixels=match_gray_values(images.pixels, known, counts))
        return OnScale(matched, apart, _about_match(run, len(images), apart))
    if apart <= _APART or len(images) < LEAST:
        return OnScale(images, apart, "")
    told = (
        f"the {len(images)} images are on another gray scale than those that {run} was trained on "
        f"(10, 50 and 90 of 100 pixels are at most {_levels(counts)}; there {_levels(known)}), so "
        "that what it says of them may be wrong: --match_gray_values true brings them to its scale"
    )
    return OnScale(images, apart, told)


def tells_gray_values(run: Path) -> bool:
    """Whether a run tells the gray values that it was trained on."""
    return (run / _FILE).is_file()


def read_gray_values(run: Path, channels: int) -> Counts | None:
    """Read how often each gray value occurs in what a run was trained on.

    Parameters
    ----------
    run : Path
        Its folder.
    channels : int
        How many its images have.

    Returns
    -------
    ndarray of int64, (C, L), or None
        None where it does not tell.

    Raises
    ------
    UserError
        If the table is not whole.
    """
    path = run / _FILE
    if not tells_gray_values(run):
        return None
    try:
        _, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
        counts = np.array([row[1:] for row in rows], dtype=np.int64).T
    except (ValueError, csv.Error):  # no numbers, rows of unequal length, no line at all
        counts = np.zeros((0, 0), dtype=np.int64)
    is_whole = counts.shape == (channels, len(GRAY_VALUES))
    if not is_whole or counts.min() < 0 or not counts.sum(axis=1).all():
        raise UserError(f"{path} is not a whole table of gray values: copy the run anew.")
    return counts


def _about_match(run: Path, n: int, apart: float) -> str:
    few = (
        f"; from {n} alone the curve takes away part of what they show, too: give {LEAST} or more "
        "of one source"
    )
    return (
        f"{n} images are brought to the gray scale of {run}, from which they were {apart:.2f} "
        f"apart (0: alike, 1: nothing in common){few * (n < LEAST)}"
    )


def _levels(counts: Counts) -> str:
    """Name the gray values that 10, 50 and 90 of 100 pixels do not exceed."""
    shares = np.cumsum(counts.sum(axis=0)) / counts.sum()
    values = (GRAY_VALUES[np.searchsorted(shares, share)] for share in (0.1, 0.5, 0.9))
    return ", ".join(f"{value:.2f}" for value in values)
