"""Who has seen what: no stage tests on images that the training before it has used."""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glcm_mae.data import Split
from glcm_mae.data.perceptual import have_copies, is_perceptual_hash
from glcm_mae.data.persons import identities
from glcm_mae.errors import UserError
from glcm_mae.files import csv_text, write_atomically

from .inputs import Images

_FILE = "seen.csv"


class Fingerprint(NamedTuple):
    """An image in ``seen.csv``: digests of its pixels and of its patient, and its perceptual hash.

    The latter two are '' where unknown: the first runs did not write the last. Of an image that is
    known by a DICOM header and by its file, there are two rows.
    """

    pixels: str
    patient: str
    perceptual: str = ""


_UNKNOWN = Fingerprint("unknown", "")
"""Stands for images that nobody has told of."""


def tells_what_it_saw(weights: str) -> bool:
    """Whether all images that weights were trained on are known."""
    rows = _read(weights)
    return rows is not None and _UNKNOWN not in rows


def write_seen(folder: Path, images: Images, used: np.ndarray, before: str | None) -> None:
    """Write ``seen.csv``: fingerprints of the images and patients that a run's weights know.

    No name of a file or a patient stands in it. A digest is no secret, though: who tries all short
    numbers finds that of a patient, of a manifest or of a DICOM header, unless patients are coded
    with a key (`data manifest`).

    Parameters
    ----------
    folder : Path
        The run's folder.
    images : Images
        The stage's images.
    used : ndarray of int
        Positions of those that the run trains on or chooses by.
    before : str, optional
        Where its first weights come from; what they have seen, the run has seen too, and what they
        do not tell, it does not.

    Raises
    ------
    UserError
        If the folder is that of an interrupted run that was begun on other images.
    """
    # An identifier that all headers share may be that of a set of one patient: others can tell.
    patients = identities(images.manifest, doubtful=True)
    rows = [
        Fingerprint(images.hashes[i], patient, images.perceptual[i])
        for i in map(int, used)
        for patient in patients[i] or ("",)
    ]
    if before is not None:
        known = _read(before)
        rows += [_UNKNOWN] if known is None else known
    rows = list(dict.fromkeys(rows))
    path = folder / _FILE
    # By pixels alone: earlier versions knew fewer patients, and digested names that studies invent.
    begun_on = {row.pixels for row in _read(str(folder)) or ()}
    if path.exists() and begun_on != {row.pixels for row in rows}:
        raise UserError(
            f"{folder} was begun on other images than those that the settings name now ({path} "
            "tells): restore them, or choose another folder with --out."
        )
    write_atomically(path, csv_text(Fingerprint._fields, rows))


def refuse_seen(
    weights: str | None, images: Images, test: Sequence[int] | np.ndarray, *, allow: bool
) -> int | None:
    """Count the test images that pre-training has seen: them, a copy, or another of the patient.

    Parameters
    ----------
    weights : str, optional
        The run folder of the pre-training, or a file of weights.
    images : Images
        The stage's images.
    test : sequence of int
        Positions of those that are tested.
    allow : bool
        Count and go on instead of refusing.

    Returns
    -------
    int or None
        None if the weights do not tell all that they have seen, and nothing of it was found.

    Raises
    ------
    UserError
        If there are any and `allow` is not set.
    """
    if weights is None:
        return 0
    found = _among(_rows_of(weights), images)
    known = found.known()
    of_test = [known[int(i)] for i in test]
    if True in of_test and not allow:
        first = images.manifest.records[int(test[of_test.index(True)])].name
        copies = int(found.same[np.asarray(test, dtype=int)].sum())
        alike = of_test.count(True) - copies
        apart = (
            "name patients who are other people apart (for instance glcm-mae data manifest "
            "--columns 'path=path,label=label,patient=siteB-{patient}'), "
        )
        raise UserError(
            f"{of_test.count(True)} of {len(test)} test images, copies of them, or other images of "
            f"their patients were used in the training of {weights} ({copies} as they are or as "
            f"copies, {alike} only by a patient or a file of the same name; such as {first}): test "
            "on the fold that it left out (the same data.fold, folds, split_seed and patient_regex "
            "in both stages), deal copies to one side by glcm-mae data split, "
            f"{apart * bool(alike)}or set --allow_seen true."
        )
    tell_unknown(weights, of_test)
    return n_seen(of_test)


def tell_unknown(weights: str, known: Sequence[bool | None]) -> None:
    """Say on stderr of how many test images it is unknown whether weights have seen them.

    Parameters
    ----------
    weights : str
        The run folder of a training, or a file of weights.
    known : sequence of bool or None
        What `seen_before` says of each.
    """
    unknown = known.count(None)
    if unknown:
        print(
            f"whether {weights} has seen {unknown} of {len(known)} test images is unknown: not all "
            "that it was trained on is on record",
            file=sys.stderr,
        )


def n_seen(known: Sequence[bool | None]) -> int | None:
    """Count the images that were seen; None if that is open of some, and no other was.

    Parameters
    ----------
    known : sequence of bool or None
        What `seen_before` says of each.

    Returns
    -------
    int or None

    Examples
    --------
    >>> n_seen([True, None, False]), n_seen([None, False])
    (1, None)
    """
    seen = known.count(True)
    return None if None in known and not seen else seen


def tell_copies(images: Images, parts: Sequence[Split]) -> None:
    """Say on stderr if test images have copies among those that they are told apart by.

    Parameters
    ----------
    images : Images
        The stage's images.
    parts : sequence of Split
        Of them: one, or a fold each.
    """
    hashes = np.array(images.perceptual, dtype=object)
    copied = [
        part.test[have_copies(hashes[part.test], hashes[np.concatenate([part.train, part.val])])]
        for part in parts
    ]
    found = np.concatenate(copied)
    if len(found):
        print(
            f"{len(found)} of {sum(len(part.test) for part in parts)} test images have a copy in "
            f"the training or validation part (such as {images.manifest.records[found[0]].name}), "
            "which makes results look better than they are: deal copies to one side by glcm-mae "
            "data split",
            file=sys.stderr,
        )


def seen_before(weights: str, images: Images, *, same_patients: bool = False) -> list[bool | None]:
    """Say of each image whether weights were trained on it, a copy, or another of its patient.

    Parameters
    ----------
    weights : str
        The run folder of a training, or a file of weights.
    images : Images
        The images.
    same_patients : bool
        Whether they may be of the same patients: what cannot be compared by patient is then open.

    Returns
    -------
    list of bool or None
        None where nothing of the image was found and not all that they were trained on is known.
    """
    rows = _rows_of(weights)
    found = _among(rows, images)
    return found.known(may_be_more=same_patients and not _can_compare_patients(rows, images))


def seen_by_any(runs: Sequence[str], images: Images) -> list[bool | None]:
    """Say of each image whether one of several runs was trained on it, a copy, or its patient.

    Parameters
    ----------
    runs : sequence of str
        Their folders.
    images : Images
        The images.

    Returns
    -------
    list of bool or None
        None where nothing of the image was found and not all that they were trained on is known.
    """
    rows = {row: None for run in runs for row in _rows_of(run)}
    return _among(list(rows), images).known()


class _Found(NamedTuple):
    """What fingerprints tell of images.

    Parameters
    ----------
    same : ndarray of bool, (N,)
        Whether an image, or a copy of it, is among them.
    alike : ndarray of bool, (N,)
        Whether one of its patient, or of its file, is.
    is_open : bool
        Whether they may lack some.
    """

    same: np.ndarray
    alike: np.ndarray
    is_open: bool

    def known(self, *, may_be_more: bool = False) -> list[bool | None]:
        """Say of each image whether it was seen, or one of its patient; None where that is open."""
        otherwise = None if self.is_open or may_be_more else False
        return [True if seen else otherwise for seen in (self.same | self.alike).tolist()]


def _among(rows: list[Fingerprint], images: Images) -> _Found:
    """Look for images among fingerprints."""
    pixels, patients = {row.pixels for row in rows}, _patients(rows)
    # Black slices are alike in all volumes: they tell of nobody.
    least, greatest = images.extremes
    blank = (least == greatest).all(dim=1).tolist()
    same = np.array(
        [
            one in pixels and not is_blank
            for one, is_blank in zip(images.hashes, blank, strict=True)
        ],
        dtype=bool,
    )
    left = np.flatnonzero(~same)
    perceptual = list(dict.fromkeys(row.perceptual for row in rows))
    same[left] = have_copies([images.perceptual[n] for n in left], perceptual)
    telling = patients - _shared_by_all(rows)
    alike = [
        not patients.isdisjoint(own) or not telling.isdisjoint(doubtful)
        for own, doubtful in zip(
            identities(images.manifest), identities(images.manifest, doubtful=True), strict=True
        )
    ]
    return _Found(same, np.array(alike, dtype=bool), _UNKNOWN in rows)


def _can_compare_patients(rows: list[Fingerprint], images: Images) -> bool:
    """Whether both sides know patients or neither, and the same images are of the same ones."""
    theirs = _patients(rows)
    ours = {one for own in identities(images.manifest, doubtful=True) for one in own}
    if not (theirs and ours):
        return not (theirs or ours)
    same_images = {row.pixels for row in rows} & set(images.hashes)
    return bool(theirs & ours) or not same_images


def _patients(rows: list[Fingerprint]) -> set[str]:
    return {row.patient for row in rows} - {""}


def _shared_by_all(rows: list[Fingerprint]) -> set[str]:
    """Find what all images have, as where one identifier makes a whole set anonymous."""
    of_image: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.patient:
            of_image[row.pixels].add(row.patient)
    return set.intersection(*of_image.values()) if of_image else set()


def _rows_of(weights: str) -> list[Fingerprint]:
    rows = _read(weights)
    return [_UNKNOWN] if rows is None else rows


def _read(weights: str | None) -> list[Fingerprint] | None:
    """Read the table beside the weights of a run folder, or beside a file of them."""
    if weights is None:
        return None
    folder = Path(weights) if Path(weights).is_dir() else Path(weights).parent
    if not (folder / _FILE).is_file():
        return None
    try:
        text = (folder / _FILE).read_text(encoding="utf-8")
        header, *rows = csv.reader(text.splitlines())
    except (ValueError, csv.Error):  # bytes that are no text, no line at all
        header, rows = [], []
    whole = rows and text.endswith("\n") and all(len(row) == len(header) for row in rows)
    known = header in (list(Fingerprint._fields), list(Fingerprint._fields[:2]))
    found = [Fingerprint(*row) for row in rows] if known and whole else []
    if not found or not all(is_perceptual_hash(row.perceptual) for row in found):
        raise UserError(
            f"{folder / _FILE} is not a whole table of fingerprints: copy the run anew."
        )
    return found
