"""Folds and hold-out splits in which no patient is on two sides."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from glcm_mae.data.duplicates import Progress, duplicate_groups
from glcm_mae.data.groups import joined_groups
from glcm_mae.data.manifest import Manifest, patients_on_two_sides
from glcm_mae.errors import UserError

__all__ = [
    "Split",
    "grouped_folds",
    "holdout",
    "kept_together",
    "manifest_folds",
    "with_split",
]


@dataclass(frozen=True)
class Split:
    """The images of each side of a split, as sorted positions in the manifest.

    Parameters
    ----------
    train, val, test : np.ndarray
        Positions (n,) int64. Every image is on exactly one side.

    Examples
    --------
    >>> split = Split(train=np.array([0, 3]), val=np.array([1]), test=np.array([2]))
    >>> len(split.train)
    2
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray

    def of(self, kept: np.ndarray) -> Split:
        """Give the same split of some of the images: each stays on its side.

        Parameters
        ----------
        kept : np.ndarray
            (n,) int64, their sorted positions.

        Returns
        -------
        Split
            Of positions among these.

        Examples
        --------
        >>> split = Split(train=np.array([0, 3]), val=np.array([1]), test=np.array([2]))
        >>> split.of(np.array([0, 2, 3])).train.tolist()
        [0, 2]
        """
        sides = (np.flatnonzero(np.isin(kept, side)) for side in (self.train, self.val, self.test))
        return Split(*sides)


def grouped_folds(
    labels: np.ndarray, groups: np.ndarray, folds: int, seed: int, unit: str = "patient(s)"
) -> np.ndarray:
    """Deal images into folds: classes in like shares, no group in two folds.

    Parameters
    ----------
    labels : np.ndarray
        Class of each image (N,), numbers or names. All the same if there are no classes.
    groups : np.ndarray
        Group of each image (N,): its patient.
    folds : int
        How many folds, 2 or more.
    seed : int
        The same seed and input give the same folds.
    unit : str
        What errors call a group.

    Returns
    -------
    np.ndarray
        Fold (N,) int64 of each image, 0 to folds - 1.

    Raises
    ------
    UserError
        A class has fewer groups than there are folds, or did not reach every fold.

    Examples
    --------
    >>> labels = np.array(["a", "a", "a", "b", "b", "b"])
    >>> groups = np.array(["p1", "p1", "p2", "p3", "p4", "p4"])
    >>> fold = grouped_folds(labels, groups, folds=2, seed=0)
    >>> bool(fold[0] == fold[1]), bool(fold[0] != fold[2]), sorted(set(fold.tolist()))
    (True, True, [0, 1])
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if folds < 2:
        raise UserError(f"folds is {folds}: set it to 2 or more.")
    labels, groups = np.asarray(labels), np.asarray(groups)
    for name in np.unique(labels):
        independent = len(np.unique(groups[labels == name]))
        if independent < folds:
            raise UserError(
                f"Class {name} has {independent} {unit}, too few for {folds} folds: set "
                "folds lower, add images of other patients (and look whether patient_regex or the "
                "manifest tells them apart), or drop the class."
            )
    dealer = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    fold_of = np.empty(len(labels), dtype=np.int64)
    for fold, (_, held_out) in enumerate(dealer.split(labels, labels, groups)):
        fold_of[held_out] = fold
    for name in np.unique(labels):
        absent = sorted(set(range(folds)) - set(fold_of[labels == name].tolist()))
        if absent:
            raise UserError(
                f"Class {name} is absent from fold {absent[0]} of {folds}, because its images come "
                f"from few {unit}: set folds lower or take another seed of the split."
            )
    return fold_of


def holdout(
    manifest: Manifest, folds: int, fold: int, seed: int, groups: np.ndarray | None = None
) -> Split:
    """Split a data set into training, validation and test images.

    A split given by the manifest is used as it is; if it has no validation part, fold `fold` of
    its training part becomes one. Without a given split, fold `fold` is for testing, the next
    for validation and the rest for training, so that over all folds each image is tested once.

    Parameters
    ----------
    manifest : Manifest
        The data set; all of its images labelled, or none.
    folds : int
        How many folds, 3 or more.
    fold : int
        Which fold, 0 to folds - 1.
    seed : int
        Seed of the folds.
    groups : np.ndarray, optional
        Group (N,) of each image that must stay on one side, such as `kept_together` finds.
        Default: its patient, by the data set or else by DICOM headers: copies may then be apart.

    Returns
    -------
    Split
        Positions in `manifest.records`.

    Raises
    ------
    UserError
        A setting is out of range, only some images are labelled, the given split has no
        training or no test images, a class has too few groups, or a group would be on two sides.

    Examples
    --------
    >>> from pathlib import Path
    >>> from glcm_mae.data.manifest import Record
    >>> names = [f"p{patient}_{view}.png" for patient in range(6) for view in "ab"]
    >>> records = tuple(Record(Path(name), None, name[:2], None) for name in names)
    >>> split = holdout(Manifest(records, (), has_patients=True), folds=3, fold=0, seed=0)
    >>> len(split.train), len(split.val), len(split.test)
    (4, 4, 4)
    """
    if folds < 3:
        raise UserError(f"folds is {folds}: set it to 3 or more (one to test, one to validate).")
    if not 0 <= fold < folds:
        raise UserError(f"fold is {fold}: with {folds} folds set it to 0 to {folds - 1}.")
    unlabelled = int((manifest.labels < 0).sum())
    if 0 < unlabelled < len(manifest):
        raise UserError(
            f"{unlabelled} of {len(manifest)} images have no label: label them or leave them out."
        )
    given = any(record.split for record in manifest.records)
    draw = _given_sides if given else _drawn_sides
    sides = draw(manifest, folds, fold, seed, groups)
    crossing = patients_on_two_sides(manifest.patients, sides)
    if crossing:
        by_headers = ", by DICOM headers," * manifest.has_persons
        raise UserError(
            f"The split puts {len(crossing)} patient(s){by_headers} on two sides: give all images "
            "of a patient the same split (glcm-mae data check shows which)."
        )
    if groups is not None and (apart := patients_on_two_sides(groups, sides)):
        raise UserError(
            f"The given split puts {len(apart)} group(s) of copies, or of patients with copies, "
            "on two sides: glcm-mae data check shows them; remove them from one side, or remove "
            "the split to have it drawn."
        )
    train, val, test = (np.flatnonzero(sides == side) for side in ("train", "val", "test"))
    return Split(train, val, test)


def manifest_folds(
    manifest: Manifest, folds: int, seed: int, groups: np.ndarray | None = None
) -> np.ndarray:
    """Deal a data set into folds by patient and class.

    Parameters
    ----------
    manifest : Manifest
        The data set.
    folds : int
        How many, 2 or more.
    seed : int
        The same seed gives the same folds.
    groups : np.ndarray, optional
        As for `holdout`.

    Returns
    -------
    np.ndarray
        Fold (N,) int64 of each image.

    Raises
    ------
    UserError
        As `grouped_folds` does.

    Examples
    --------
    >>> from pathlib import Path
    >>> from glcm_mae.data.manifest import Record
    >>> records = tuple(Record(Path(f"{n}.dcm"), None, "ab"[n % 2], None) for n in range(4))
    >>> fold = manifest_folds(Manifest(records, (), has_patients=True), folds=2, seed=0)
    >>> bool(fold[0] == fold[2] != fold[1])
    True
    """
    # Names, not numbers, so that an error names the class.
    names = np.array([record.label or "(unlabelled)" for record in manifest.records])
    if groups is not None:
        return grouped_folds(names, groups, folds, seed, unit="group(s) of patients and copies")
    unit = f"patient(s){' by DICOM headers' * manifest.has_persons}"
    return grouped_folds(names, manifest.patients, folds, seed, unit)


def kept_together(
    manifest: Manifest,
    progress: Progress | None = None,
    copies: np.ndarray | None = None,
) -> np.ndarray:
    """Group the images that must stay on one side of a split: a patient's, and copies.

    Patients are those of the data set and of DICOM headers; copies are found by reading every
    image, though they be resized, mirrored or turned (`duplicate_groups`).

    Parameters
    ----------
    manifest : Manifest
        The data set. Of an image that cannot be read no copies are known.
    progress : callable, optional
        Called after each image that was read, and now and then as they are compared.
    copies : np.ndarray, optional
        Group of copies (N,) of each image, where `duplicate_groups` has told already.

    Returns
    -------
    np.ndarray
        Group (N,) of each image, for `holdout` and `grouped_folds`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image, ImageOps
    >>> from glcm_mae.data import read_manifest
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     scan = Image.effect_noise((64, 64), 50)
    ...     for name, image in (("a", scan), ("b", Image.linear_gradient("L"))):
    ...         image.save(Path(folder, f"{name}.png"))
    ...     ImageOps.mirror(scan).save(Path(folder, "c.png"))
    ...     kept_together(read_manifest(folder)).tolist()
    [0, 1, 0]
    """
    if copies is None:
        copies = duplicate_groups(manifest, progress)
    return joined_groups(manifest.patients, copies)


def with_split(manifest: Manifest, split: Split) -> Manifest:
    """Write a split into a data set's records.

    Parameters
    ----------
    manifest : Manifest
        The data set.
    split : Split
        Positions in its records.

    Returns
    -------
    Manifest
        The same images, each with its side.

    Examples
    --------
    >>> from pathlib import Path
    >>> from glcm_mae.data.manifest import Record
    >>> records = tuple(Record(Path(f"{n}.png"), None, str(n), None) for n in range(3))
    >>> split = Split(train=np.array([1]), val=np.array([0]), test=np.array([2]))
    >>> [r.split for r in with_split(Manifest(records, (), True), split).records]
    ['val', 'train', 'test']
    """
    side_of = {
        int(position): side
        for side in ("train", "val", "test")
        for position in getattr(split, side)
    }
    records = [replace(record, split=side_of[n]) for n, record in enumerate(manifest.records)]
    return replace(manifest, records=tuple(records))


def _drawn_sides(
    manifest: Manifest, folds: int, fold: int, seed: int, groups: np.ndarray | None
) -> np.ndarray:
    fold_of = manifest_folds(manifest, folds, seed, groups)
    sides = np.full(len(manifest), "train")
    sides[fold_of == fold] = "test"
    sides[fold_of == (fold + 1) % folds] = "val"
    return sides


def _given_sides(
    manifest: Manifest, folds: int, fold: int, seed: int, groups: np.ndarray | None
) -> np.ndarray:
    sides = np.array([record.split or "" for record in manifest.records])
    if "" in sides:
        raise UserError("Only some images have a split: give it for all of them or for none.")
    for needed in ("train", "test"):
        if needed not in sides:
            raise UserError(
                f"The given split has no {needed} images: add some, or remove the split to have "
                "it drawn."
            )
    if "val" not in sides:
        train = np.flatnonzero(sides == "train")
        kept = None if groups is None else groups[train]
        fold_of = manifest_folds(manifest.subset(train), folds, seed, kept)
        sides[train[fold_of == fold]] = "val"
    return sides
