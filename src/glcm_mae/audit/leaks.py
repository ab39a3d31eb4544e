"""Copies and patients: what would stand on two sides of a split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from glcm_mae.audit.findings import Finding
from glcm_mae.data import Manifest

__all__ = ["leak_findings", "members"]


def leak_findings(
    manifest: Manifest,
    digests: Sequence[str],
    groups: np.ndarray,
) -> list[Finding]:
    """Report copies, their labels, and what crosses a split.

    Where the manifest gives a split, a leak is a patient or a group of copies on two of its
    sides. Where it gives none, a split would be drawn by patient: a leak is a group of copies of
    two patients, which such a split can part. Where no patients are known, every image is one.
    Persons whom DICOM headers alone name are patients, but for other programs' splits.

    Parameters
    ----------
    manifest : Manifest
        The data set.
    digests : sequence of str
        `content_hash` of each image, "" for an unreadable one.
    groups : np.ndarray
        Group of copies (N,) of each image, as `copy_groups` gives them.

    Returns
    -------
    list of Finding

    Examples
    --------
    >>> from pathlib import Path
    >>> from glcm_mae.data import Record
    >>> records = [Record(Path(f"{n}.png"), "ab"[n % 2], f"p{n}", None) for n in range(4)]
    >>> manifest = Manifest(tuple(records), ("a", "b"), has_patients=True)
    >>> found = leak_findings(manifest, ["e3", "e3", "07", "5c"], np.array([0, 0, 1, 2]))
    >>> [(finding.kind, finding.leaks) for finding in found]
    [('exact copies', False), ('label conflict', False), ('copies cross patients', True)]
    """
    read = [digest or f"unread {n}" for n, digest in enumerate(digests)]
    exact = members(read)
    copies = members(groups.tolist())
    near = [group for group in copies if len({read[n] for n in group}) > 1]
    labels, patients = manifest.labels, manifest.patients
    conflicts = [group for group in copies if len(set(labels[list(group)].tolist()) - {-1}) > 1]
    findings = [
        *_of_groups("exact copies", "warning", exact, "have the same pixels: keep one of each."),
        *_of_groups(
            "near copies",
            "warning",
            near,
            "show the same picture, changed a little: keep one of each, or split with "
            "glcm-mae data split, which holds them together.",
        ),
        *_of_groups(
            "label conflict",
            "error",
            conflicts,
            "show the same picture under different labels: find out which is right, or remove "
            "them.",
        ),
    ]
    if not any(record.split for record in manifest.records):
        is_unnamed = manifest.tells_patients and not manifest.has_patients
        spanning = [group for group in copies if len(set(patients[list(group)].tolist())) > 1]
        split = "a split by patient" if manifest.tells_patients else "a split (no patient is known)"
        findings += _of_groups(
            "copies cross patients",
            "error",
            spanning,
            f"can be put on two sides by {split}: draw it with glcm-mae data split, which holds "
            "copies together.",
            leaks=True,
        )
        return findings + _of_groups(
            "patients not named",
            "warning",
            members(patients.tolist()) if is_unnamed else [],
            "are of one patient, by their DICOM headers: splits made here hold them together, "
            "those of other programs may not, unless patients are named, as glcm-mae data "
            "manifest --dicom_patients true does.",
        )
    sides = np.array([record.split or "" for record in manifest.records])
    for kind, candidates, advice in (
        ("copies cross split", copies, "are copies on two sides of the given split"),
        (
            "patients cross split",
            members(patients.tolist()),
            "are of one patient on two sides of it",
        ),
    ):
        crossing = [group for group in candidates if len(set(sides[list(group)].tolist())) > 1]
        findings += _of_groups(
            kind,
            "error",
            crossing,
            f"{advice}: split anew with glcm-mae data split, or remove them from one side.",
            leaks=True,
        )
    return findings


def members(groups: Iterable[object]) -> list[tuple[int, ...]]:
    """List the positions of each group that has two members or more.

    Parameters
    ----------
    groups : iterable of length N
        The group of each image.

    Returns
    -------
    list of tuple of int
        In the order of first appearance.

    Examples
    --------
    >>> members(["a", "b", "a", "c", "b"])
    [(0, 2), (1, 4)]
    """
    found: dict[object, list[int]] = {}
    for position, group in enumerate(groups):
        found.setdefault(group, []).append(position)
    return [tuple(positions) for positions in found.values() if len(positions) > 1]


def _of_groups(
    kind: str,
    level: str,
    groups: Sequence[tuple[int, ...]],
    what: str,
    leaks: bool = False,
) -> list[Finding]:
    if not groups:
        return []
    images = tuple(sorted(n for group in groups for n in group))
    text = f"{len(groups)} group{'s' if len(groups) > 1 else ''} of {len(images)} images {what}"
    return [Finding(kind, level, text, images, tuple(groups), leaks)]  # type: ignore[arg-type]
