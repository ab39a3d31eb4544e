"""What file names tell of images, by a pattern; classes by other names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from glcm_mae.data.readers import IMAGE_SUFFIXES, is_image
from glcm_mae.data.record import SPLITS, Record
from glcm_mae.errors import UserError

__all__ = ["left_out", "listed", "named_by", "renamed"]

_GROUPS = ("label", "patient", "split")


def named_by(pattern: str, records: Sequence[Record], folder: Path) -> tuple[list[Record], bool]:
    r"""Read class, patient and split from each image's path.

    Parameters
    ----------
    pattern : str
        Regular expression with groups named label, patient or split (at least one), searched in
        the path below `folder`, with ``/`` between its parts. What it does not name stays as it
        is.
    records : sequence of Record
        The images.
    folder : Path
        Where they lie.

    Returns
    -------
    list of Record, bool
        The images, and whether the pattern names patients.

    Raises
    ------
    UserError
        The pattern is no expression, names nothing known, or does not fit a path.

    Examples
    --------
    >>> record = Record(Path("data/benign/p12_left.png"), None, "", None)
    >>> named_by(r"(?P<label>\w+)/(?P<patient>p\d+)_", [record], Path("data"))[0][0].patient
    'p12'
    """
    expression = _compiled(pattern, "pattern")
    groups = set(expression.groupindex)
    if not groups or not groups <= set(_GROUPS):
        raise UserError(
            f"pattern {pattern!r} names {', '.join(sorted(groups)) or 'no group'}: name one or "
            "more of label, patient and split, as in (?P<patient>p[0-9]+)."
        )
    named = []
    for record in records:
        place = _place(record, folder)
        match = expression.search(place)
        found = {name: match[name] for name in groups} if match else {}
        if not found or not all(found.values()):
            raise UserError(
                f"{place} does not fit pattern {pattern!r}: mend the pattern, or leave such files "
                "out with --leave_out."
            )
        if found.get("split", "train") not in SPLITS:
            raise UserError(
                f"{place} names the split {found['split']!r} by pattern {pattern!r}: it must be "
                f"one of {', '.join(SPLITS)}."
            )
        named.append(
            replace(
                record,
                label=found.get("label", record.label),
                patient=found.get("patient", record.patient),
                split=found.get("split", record.split),
            )
        )
    return named, "patient" in groups


def listed(folder: Path) -> list[Record]:
    """List all images below a folder, without class, patient or split.

    Parameters
    ----------
    folder : Path
        Where to look. Hidden files and folders are left out, links to folders not followed.

    Returns
    -------
    list of Record
        Sorted by path.

    Raises
    ------
    UserError
        The folder is missing, or holds no images.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "deep").mkdir()
    ...     Path(folder, "deep", "a.png").touch()
    ...     [record.path.name for record in listed(Path(folder))]
    ['a.png']
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give the folder of the images.")
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(place, name)
            for name in names
            if not name.startswith(".") and is_image(Path(place, name))
        ]
    if not found:
        raise UserError(f"{folder} holds no images: looked for {', '.join(IMAGE_SUFFIXES)}.")
    return [Record(path, None, str(path), None) for path in sorted(found)]


def left_out(pattern: str, records: Sequence[Record], folder: Path) -> list[Record]:
    """Keep the images whose path a pattern does not find.

    Parameters
    ----------
    pattern : str
        Regular expression searched in the path below `folder`.
    records : sequence of Record
        The images.
    folder : Path
        Where they lie.

    Returns
    -------
    list of Record

    Raises
    ------
    UserError
        The pattern is no expression.

    Examples
    --------
    >>> records = [Record(Path(name), None, "", None) for name in ("a.png", "a_mask.png")]
    >>> [record.path.name for record in left_out("_mask", records, Path("."))]
    ['a.png']
    """
    expression = _compiled(pattern, "leave_out")
    return [record for record in records if not expression.search(_place(record, folder))]


def renamed(names: Mapping[str, str], records: Sequence[Record], source: Path) -> list[Record]:
    """Give classes other names.

    Parameters
    ----------
    names : dict
        The new name of a class by its old one; two of one new name become one class. The images
        of a class whose new name is empty are left out. A class that is not named keeps its name.
    records : sequence of Record
        The images.
    source : Path
        Where they are from.

    Returns
    -------
    list of Record

    Raises
    ------
    UserError
        There is no such class, or no image is left.

    Examples
    --------
    >>> records = [Record(Path(f"{k}.png"), name, "", None) for k, name in enumerate("abc")]
    >>> [record.label for record in renamed({"a": "benign", "c": ""}, records, Path("data"))]
    ['benign', 'b']
    """
    classes = {record.label for record in records if record.label is not None}
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise UserError(
            f"rename names the class {unknown[0]!r}, which {source} does not have: its classes are "
            f"{', '.join(sorted(classes)) or 'none'}."
        )
    relabelled = [
        record
        if record.label is None
        else replace(record, label=names.get(record.label, record.label))
        for record in records
    ]
    kept = [record for record in relabelled if record.label != ""]
    if not kept:
        raise UserError(f"{source} has no images left: mend rename.")
    return kept


def _compiled(pattern: str, setting: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(f"{setting} is no regular expression ({error}): mend it.") from error


def _place(record: Record, folder: Path) -> str:
    inside = record.path.is_relative_to(folder)
    return (record.path.relative_to(folder) if inside else record.path).as_posix()
