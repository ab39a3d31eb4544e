"""The folds of a study as manifests, and what pre-training may see in each of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from glcm_mae.data import Manifest, Split, holdout, read_manifest
from glcm_mae.data.duplicates import Progress, duplicate_groups
from glcm_mae.data.groups import joined_groups
from glcm_mae.data.persons import files_of, identities
from glcm_mae.data.splits import kept_together, with_split
from glcm_mae.errors import UserError
from glcm_mae.files import common_folder, write_atomically


@dataclass(frozen=True)
class Fold:
    """One fold's images, written down.

    Parameters
    ----------
    number : int
        From 0.
    images : Path
        Manifest of the labelled images, with their sides.
    unlabelled : Path or None
        Manifest of the images to pre-train on; None for the training part of `images`.
    left_out : int
        Unlabelled images that are not in it because the fold tests on them, on a copy of them or
        on their patient.
    """

    number: int
    images: Path
    unlabelled: Path | None = None
    left_out: int = 0


def write_folds(
    manifest: Manifest, folder: Path, folds: int, seed: int, progress: Progress | None = None
) -> list[Fold]:
    """Deal a labelled set into folds that keep patients and copies together; write them.

    A split that the manifest gives is the only fold. Where the manifest names no patient, images
    of one person by their DICOM headers, and copies, count as one, the unit that intervals
    resample: their group is written as such, for no other set has anybody of its name.

    Parameters
    ----------
    manifest : Manifest
        Labelled images.
    folder : Path
        Gets ``fold0.csv`` and so on.
    folds, seed : int
        How many, and what fixes them.
    progress : callable, optional
        Called after each image that was read, and now and then as they are compared.

    Returns
    -------
    list of Fold

    Raises
    ------
    UserError
        If the set cannot be dealt so, or the folder holds other folds.
    """
    groups = kept_together(manifest, progress)
    if not manifest.has_patients:
        manifest = _grouped(manifest, [f"group {group}" for group in groups])
    numbers = [0] if _is_split(manifest) else range(folds)
    return [
        _written(manifest, holdout(manifest, folds, number, seed, groups), folder, number)
        for number in numbers
    ]


def write_published_folds(manifest: Manifest, folder: Path, folds: int, seed: int) -> list[Fold]:
    """Deal a labelled set image by image, and pre-train on all of it in every fold.

    As the release of GLCM-MAE does: it leaks, and is here to show by how much.

    Parameters
    ----------
    manifest, folder, folds, seed
        As for `write_folds`.

    Returns
    -------
    list of Fold
    """
    apart = _grouped(manifest, [record.name for record in manifest.records])
    numbers = [0] if _is_split(manifest) else range(folds)
    everything = folder / "all.csv"
    _write_once(_without_split(apart), everything)
    written = [
        _written(apart, holdout(apart, folds, number, seed), folder, number) for number in numbers
    ]
    return [replace(fold, unlabelled=everything) for fold in written]


def add_unlabelled(
    folds: Sequence[Fold], unlabelled: Manifest, folder: Path, progress: Progress | None = None
) -> list[Fold]:
    """Give each fold the unlabelled images that have nothing to do with its test part.

    Left out are images of which the test part holds a copy (the same pixels, or nearly), other
    images of a file that it holds one of, images of its patients, by name or DICOM header, and
    whatever is joined with one of these in the same ways: a patient whom a copy gives away is left
    out whole.

    Parameters
    ----------
    folds : sequence of Fold
        Of `write_folds`.
    unlabelled : Manifest
        Images to pre-train on; some may be among the labelled ones.
    folder : Path
        Gets ``unlabelled.csv`` if it is the same for all folds, else ``fold0-unlabelled.csv`` and
        so on.
    progress : callable, optional
        Called after each image that was read, and now and then as they are compared.

    Returns
    -------
    list of Fold

    Raises
    ------
    UserError
        If nothing is left for a fold.
    """
    labelled = read_manifest(folds[0].images, plane=unlabelled.plane, may_lack=True)
    both = replace(unlabelled, records=labelled.records + unlabelled.records)
    groups = joined_groups(
        _patients_of_each(labelled, unlabelled),
        files_of(both.records),
        duplicate_groups(both, progress),
        links=_of_one_person(labelled, unlabelled),
    )
    of_labelled, of_unlabelled = groups[: len(labelled)], groups[len(labelled) :]
    unlabelled = _without_split(unlabelled)
    kept = {}
    for fold in folds:
        dealt = read_manifest(fold.images, plane=unlabelled.plane, may_lack=True)
        test = np.array([record.split == "test" for record in dealt.records])
        kept[fold] = np.flatnonzero(~np.isin(of_unlabelled, of_labelled[test]))
        if not len(kept[fold]):
            raise UserError(
                f"pretrain_on leaves nothing for fold {fold.number}: all of its images are tested "
                "there. Give others, or leave pretrain_on out."
            )
    shared = all(len(rows) == len(unlabelled) for rows in kept.values())
    added = []
    for fold, rows in kept.items():
        path = folder / ("unlabelled.csv" if shared else f"fold{fold.number}-unlabelled.csv")
        _write_once(unlabelled.subset(rows), path)
        added.append(replace(fold, unlabelled=path, left_out=len(unlabelled) - len(rows)))
    return added


def _is_split(manifest: Manifest) -> bool:
    return any(record.split for record in manifest.records)


def _patients_of_each(*sets: Manifest) -> list[str]:
    """Name the patient of each image within its own set: another's may have the same group 3."""
    return [
        f"{number} {record.patient}" for number, one in enumerate(sets) for record in one.records
    ]


def _of_one_person(labelled: Manifest, unlabelled: Manifest) -> list[tuple[int, int]]:
    """Link unlabelled images to labelled ones of the same person, among the images of both.

    The unlabelled ones may be of one person all: that the labelled are not is enough.
    """
    first: dict[str, int] = {}
    for n, names in enumerate(identities(labelled)):
        for name in names:
            first.setdefault(name, n)
    return [
        (first[name], n)
        for n, names in enumerate(identities(unlabelled, doubtful=True), start=len(labelled))
        for name in names
        if name in first
    ]


def _grouped(manifest: Manifest, groups: Sequence[str]) -> Manifest:
    """Let the images of each group count as one patient, whoever that is."""
    pairs = zip(manifest.records, groups, strict=True)
    records = tuple(replace(record, patient=group) for record, group in pairs)
    return replace(
        manifest, records=records, has_patients=False, has_persons=False, has_groups=True
    )


def _without_split(manifest: Manifest) -> Manifest:
    return replace(
        manifest, records=tuple(replace(record, split=None) for record in manifest.records)
    )


def _written(manifest: Manifest, split: Split, folder: Path, number: int) -> Fold:
    path = folder / f"fold{number}.csv"
    _write_once(with_split(manifest, split), path)
    return Fold(number, path)


def _write_once(manifest: Manifest, path: Path) -> None:
    """Write a manifest; refuse to change one on which cells may have been trained."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")  # two studies may be at it at once
    manifest.write(fresh)
    if not path.exists():
        fresh.replace(path)
        return
    told, before = (file.read_text(encoding="utf-8").splitlines() for file in (fresh, path))
    fresh.unlink()
    header = before[0]
    if manifest.has_groups:  # which earlier versions wrote as patients, as if these were known
        before[0] = header.replace(",patient,", ",copy_group,")
    if told[0] == f"{before[0]},plane":  # which manifests did not tell before
        told = [line.rpartition(",")[0] for line in told]
    if told != before:
        now, then = _images_folder(told), _images_folder(before)
        if [line.replace(now, then, 1) for line in told] == before:
            raise UserError(
                f"{path} names images in {then}, and they lie in {now} now: move them back, or let "
                "the old folder be a link to the new one, for finished cells name them, too."
            )
        raise UserError(
            f"{path} was dealt from other images or with other settings (folds, split_seed, "
            "patient_regex, pretrain_on): restore them, or choose another folder with --out."
        )
    if before[0] != header:  # so that cells yet to be run take no group for a patient
        renamed = path.read_bytes().replace(header.encode(), before[0].encode(), 1)
        write_atomically(path, renamed)


def _images_folder(lines: Sequence[str]) -> str:
    """Name the folder in which all images of a manifest's lines lie."""
    return common_folder(line.partition(",")[0].strip('"') for line in lines[1:])
