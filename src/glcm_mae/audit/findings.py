"""What is wrong with single images, and with the set as a whole, but for leaks and shortcuts."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from glcm_mae.audit.inspection import Look
from glcm_mae.data import Manifest, without_ending

__all__ = ["Finding", "class_findings", "image_findings"]

_SMALLEST = 32  # pixels: below it there is no texture to learn
_MASK = re.compile(r"(.+)[ _-](?:mask|seg|segmentation|roi)(?:[ _-]?\d+)?", re.IGNORECASE)
_USUAL = 0.9  # share of the images that must agree for the others to be exceptions


@dataclass(frozen=True)
class Finding:
    """Something the user should know before training.

    Parameters
    ----------
    kind : str
        A short name that stays the same between versions.
    level : {"error", "warning", "note"}
        error: results would be wrong; warning: they would mislead; note: worth knowing.
    text : str
        What was found and what to do.
    images : tuple of int
        Positions of the images it is about; empty where it is about the set.
    groups : tuple of tuple of int
        Groups of images, where it is about groups.
    leaks : bool
        Whether a split made as asked would put the same picture or patient on two sides.

    Examples
    --------
    >>> Finding("constant", "warning", "1 image is constant: remove it.", images=(3,)).level
    'warning'
    """

    kind: str
    level: Literal["error", "warning", "note"]
    text: str
    images: tuple[int, ...] = ()
    groups: tuple[tuple[int, ...], ...] = field(default=())
    leaks: bool = False


def image_findings(looks: Sequence[Look]) -> list[Finding]:
    """Find images that cannot be used, or are not like the others.

    Parameters
    ----------
    looks : sequence of Look
        One per image.

    Returns
    -------
    list of Finding

    Examples
    --------
    >>> for finding in image_findings([Look("is empty: export it again."), Look("is damaged.")]):
    ...     print(finding.kind, finding.images)
    unreadable (1,)
    empty (0,)
    """
    findings = []
    empty: list[int] = []
    unreadable: list[int] = []
    for n, look in enumerate(looks):
        if look.unreadable:
            (empty if look.unreadable.startswith("is empty") else unreadable).append(n)
    for kind, images, what in (
        ("unreadable", unreadable, "cannot be read: export them again or remove them."),
        ("empty", empty, "are empty files: export them again or remove them."),
        (
            "constant",
            [n for n, look in enumerate(looks) if look.constant],
            "have the same value in every pixel: remove them.",
        ),
        (
            "small",
            [n for n, look in enumerate(looks) if look.shape and min(look.shape[1:]) < _SMALLEST],
            f"are less than {_SMALLEST} pixels high or wide: remove them, or take the originals.",
        ),
    ):
        if images:
            level: Literal["error", "warning"] = "warning" if kind == "small" else "error"
            findings.append(Finding(kind, level, f"{len(images)} image(s) {what}", tuple(images)))
    return findings + _mixtures(looks)


def class_findings(manifest: Manifest, groups: np.ndarray, folds: int) -> list[Finding]:
    """Find labels, patients and classes that do not allow a split.

    Parameters
    ----------
    manifest : Manifest
        The data set.
    groups : np.ndarray
        Group (N,) of each image that must stay on one side of a split.
    folds : int
        How many folds are wanted.

    Returns
    -------
    list of Finding

    Examples
    --------
    >>> from pathlib import Path
    >>> from glcm_mae.data import Record
    >>> records = tuple(Record(Path(f"{n}.png"), "ab"[n > 5], f"p{n}", None) for n in range(8))
    >>> manifest = Manifest(records, ("a", "b"), has_patients=True)
    >>> [finding.kind for finding in class_findings(manifest, np.arange(8), folds=5)]
    ['small class']
    """
    findings = []
    labelled = manifest.labels >= 0
    if masks := _named_as_masks(manifest):
        findings.append(
            Finding(
                "masks",
                "warning",
                f"{len(masks)} image(s) are named as masks of images beside them: leave them out "
                "by a manifest, glcm-mae data manifest --leave_out or --layout.",
                tuple(masks),
            )
        )
    if manifest.tells_patients and (mixed := _of_several_classes(manifest)):
        findings.append(
            Finding(
                "mixed patients",
                "note",
                f"{len(mixed)} of {len(np.unique(manifest.patients))} patients have images of more "
                "than one class: if labels are of patients, check both columns.",
                groups=tuple(mixed),
            )
        )
    if not manifest.has_patients:
        findings.append(
            Finding(
                "no patients",
                "warning",
                "No patients are known, so every image counts as one"
                f"{', but for those of one person by DICOM headers' * manifest.has_persons}: if "
                "patients have several images, give a column patient, patient_regex, or build a "
                "manifest with glcm-mae data manifest.",
            )
        )
    patients = {"patients": manifest.patients.tolist()} if manifest.has_patients else {}
    for what, names in {**patients, "classes": manifest.classes}.items():
        if alike := _written_alike(names):
            text = (
                f"{len(alike)} {what} are written like another but for case, zeros before a number "
                "or '.0' after it: if they are the same, write them in one way."
            )
            findings.append(Finding(f"{what} written alike", "warning", text))
    if labelled.any() and not labelled.all():
        without = np.flatnonzero(~labelled)
        text = f"{len(without)} of {len(manifest)} images have no label: label or remove them."
        findings.append(Finding("unlabelled", "warning", text, tuple(without.tolist())))
    if len(manifest.classes) == 1:
        text = f"All labels are {manifest.classes[0]!r}: classification needs two classes."
        findings.append(Finding("one class", "error", text))
    for number, name in enumerate(manifest.classes):
        images = np.flatnonzero(manifest.labels == number)
        independent = len(np.unique(groups[images]))
        if independent < folds:
            text = (
                f"Class {name!r} has {independent} independent group(s) of images, too few for "
                f"{folds} folds: add patients, set folds lower, or drop the class."
            )
            findings.append(Finding("small class", "error", text, tuple(images.tolist())))
    return findings


def _written_alike(names: Iterable[str]) -> list[str]:
    """List the names that are another's, too, for a reader or a spreadsheet: 001, 1 and 1.0."""
    spelled: dict[str, set[str]] = defaultdict(set)
    for name in names:
        spelled[re.sub(r"^0+(?=\d)|\.0+$", "", name.casefold())].add(name)
    return [name for one in spelled.values() if len(one) > 1 for name in sorted(one)]


def _named_as_masks(manifest: Manifest) -> list[int]:
    """Find images whose name is that of another beside them and a word for a mask."""
    stems = [without_ending(record.path) for record in manifest.records]
    places = {
        (record.path.parent, stem) for record, stem in zip(manifest.records, stems, strict=True)
    }
    names = [_MASK.fullmatch(stem) for stem in stems]
    return [
        n
        for n, (name, record) in enumerate(zip(names, manifest.records, strict=True))
        if name and (record.path.parent, name[1]) in places
    ]


def _of_several_classes(manifest: Manifest) -> list[tuple[int, ...]]:
    """List the images of each patient that has several labels."""
    images = defaultdict(list)
    for n in np.flatnonzero(manifest.labels >= 0).tolist():
        images[manifest.patients[n]].append(n)
    return [tuple(own) for own in images.values() if len(np.unique(manifest.labels[own])) > 1]


def _mixtures(looks: Sequence[Look]) -> list[Finding]:
    """Report what differs between images that a network would see as one kind."""
    read = [(n, look) for n, look in enumerate(looks) if look.facts is not None]
    traits: dict[str, dict[int, Hashable]] = defaultdict(dict)
    for n, look in read:
        assert look.facts is not None
        traits["size"][n] = look.shape[1:]
        traits["bit depth"][n] = (look.facts.bits, look.facts.dtype)
        traits["channels"][n] = look.shape[0]
        traits["polarity"][n] = look.facts.white_is_zero
        if look.facts.spacing is not None:
            traits["scale"][n] = tuple(round(side, 3) for side in look.facts.spacing)
    advice = {
        "size": "set data.resize to crop, pad, stretch or center",
        "bit depth": "export all alike, or set data.window where all are on one scale",
        "channels": "set data.color to gray or rgb",
        "polarity": "set data.invert_monochrome1",
        "scale": "set data.spacing, if a pixel shall show as much tissue in all of them",
    }
    findings = []
    for trait, values in traits.items():
        counts = Counter(values.values())
        if len(counts) < 2:
            continue
        usual, most = counts.most_common(1)[0]
        others = tuple(n for n, value in values.items() if value != usual)
        exceptions = most >= _USUAL * len(values)
        listed = ", ".join(
            f"{count} {_named(trait, value)}" for value, count in counts.most_common(3)
        )
        text = (
            f"Images differ in {trait} ({listed}{', ...' if len(counts) > 3 else ''}): "
            f"{advice[trait]}" + ("; the exceptions may be other material." if exceptions else ".")
        )
        level: Literal["warning", "note"] = "note" if trait in ("size", "scale") else "warning"
        findings.append(Finding(f"mixed {trait}", level, text, others if exceptions else ()))
    return findings


def _named(trait: str, value: Hashable) -> str:
    if trait == "size" and isinstance(value, tuple):
        return f"of {value[0]} x {value[1]}"
    if trait == "scale" and isinstance(value, tuple):
        return f"of {value[0]:g} x {value[1]:g} mm a pixel"
    if trait == "bit depth" and isinstance(value, tuple):
        return f"of {value[0]} bits ({value[1]})"
    if trait == "channels":
        return "gray" if value == 1 else "RGB"
    return "with white as 0" if value else "with black as 0"
