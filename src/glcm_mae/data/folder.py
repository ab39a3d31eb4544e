"""A folder of images as a data set: its classes and sides from the names of its folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from glcm_mae.data.readers import IMAGE_SUFFIXES, is_image, one_line
from glcm_mae.data.record import SPLITS, Record
from glcm_mae.errors import UserError

_SIDES = {
    **{name: name for name in SPLITS},
    "training": "train",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "testing": "test",
}
"""Names of folders, in lower case, that stand for a side of a split."""


def read_folder(folder: Path) -> list[Record]:
    """List the images of a folder: flat, a folder a class, or either below a folder a side.

    Parameters
    ----------
    folder : Path
        That of the data set.

    Returns
    -------
    list of Record
        Sorted by class and path; no patient is known.

    Raises
    ------
    UserError
        If there are no images, a class has none, or folders of several kinds stand side by side.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("Training/ill/a.png", "Testing/well/b.png"):
    ...         file = Path(folder, name)
    ...         file.parent.mkdir(parents=True)
    ...         file.touch()
    ...     [(record.label, record.split) for record in read_folder(Path(folder))]
    [('well', 'test'), ('ill', 'train')]
    """
    entries = sorted(_visible(folder))
    subfolders = [entry for entry in entries if entry.is_dir()]
    images = [entry for entry in entries if is_image(entry)]
    if subfolders and images:
        raise UserError(
            f"{one_line(folder)} holds images beside folders ({one_line(images[0].name)} beside "
            f"{one_line(subfolders[0].name)}): put every image into a class folder, or all of them "
            "into one folder."
        )
    if not subfolders and not images:
        raise UserError(f"{one_line(folder)} holds no images: looked for {_suffixes()}.")
    if images:
        return [Record(image, None, str(image), None) for image in images]
    sides = {entry: _SIDES[entry.name.lower()] for entry in subfolders if _is_side(entry)}
    if len(sides) == len(subfolders):
        return [
            replace(record, split=side)
            for subfolder, side in sides.items()
            for record in read_folder(subfolder)
        ]
    if len(sides) > 1 or any(_has_folders(side) for side in sides):
        other = next(entry for entry in subfolders if entry not in sides)
        raise UserError(
            f"{one_line(folder)} holds sides of a split ({', '.join(s.name for s in sides)}) "
            f"beside the folder {one_line(other.name)}: move it elsewhere, or give a manifest."
        )
    return [record for subfolder in subfolders for record in _read_class(subfolder)]


def _is_side(folder: Path) -> bool:
    return folder.name.lower() in _SIDES


def _has_folders(folder: Path) -> bool:
    return any(entry.is_dir() for entry in _visible(folder))


def _read_class(folder: Path) -> list[Record]:
    images = sorted(_images_below(folder, seen={folder.parent.resolve()}))
    if not images:
        raise UserError(
            f"{one_line(folder)} is a class folder without images: looked for {_suffixes()}; fill "
            "it or remove it."
        )
    return [Record(image, folder.name, str(image), None) for image in images]


def _images_below(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """Find the images below a folder, entering no folder seen before: links may run in a loop."""
    real = folder.resolve()
    if real in seen:
        return
    seen.add(real)
    for entry in _visible(folder):
        if entry.is_dir():
            yield from _images_below(entry, seen)
        elif is_image(entry):
            yield entry


def _visible(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(
            f"{one_line(folder)} cannot be listed ({error.strerror}): grant access to it, or move "
            "it out of the data set."
        ) from error


def _suffixes() -> str:
    return ", ".join(IMAGE_SUFFIXES) + " and DICOM of any name"
