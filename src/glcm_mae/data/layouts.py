"""Public data sets by name: what their folders and lists mean (docs/datasets.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from glcm_mae.data.manifest import Manifest, Record, read_manifest
from glcm_mae.data.readers import is_image
from glcm_mae.errors import UserError

__all__ = ["LAYOUTS", "read_layout"]

_BUSI_MASK = re.compile(r"_mask(_\d+)?$")
_KERMANY_PATIENT = re.compile(r"^(person\d+|(?:NORMAL\d+-)?IM-\d+)")
_GBCU_CLASSES = {"0": "normal", "1": "benign", "2": "malignant"}


def read_layout(folder: str | Path, layout: str) -> Manifest:
    """List the images of a public data set as its authors distribute it.

    Parameters
    ----------
    folder : str or Path
        The unpacked set; for MedMNIST its ``.npz`` file.
    layout : str
        A name of `LAYOUTS`: "busi", "chest_xray", "covid_ct", "gbcu" or "medmnist".

    Returns
    -------
    Manifest
        With the official split where there is one, and patients where file names tell them.

    Raises
    ------
    UserError
        The folder does not hold the set in that layout.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("benign", "malignant", "normal"):
    ...         Path(folder, name).mkdir()
    ...         for end in ("", "_mask"):
    ...             Path(folder, name, f"{name} (1){end}.png").touch()
    ...     manifest = read_layout(folder, "busi")
    >>> [record.path.name for record in manifest.records]
    ['benign (1).png', 'malignant (1).png', 'normal (1).png']
    """
    source = Path(folder)
    if layout not in LAYOUTS:
        raise UserError(f"layout is {layout!r}: set it to one of {', '.join(LAYOUTS)}.")
    if not source.exists():
        raise UserError(f"{source} does not exist: give the folder of the unpacked set.")
    return LAYOUTS[layout](source)


def _busi(folder: Path) -> Manifest:
    root = _within(folder, "Dataset_BUSI_with_GT")
    return _manifest(
        Record(path, name, str(path), None)
        for name in ("benign", "malignant", "normal")
        for path in _images(_needed(root / name, "busi"))
        if not _BUSI_MASK.search(path.stem)
    )


def _chest_xray(folder: Path) -> Manifest:
    root = _within(folder, "chest_xray")
    sides = [side for side in ("train", "val", "test") if (root / side).is_dir()]
    records = []
    for side in sides or [""]:
        for name in ("NORMAL", "PNEUMONIA"):
            place = root / side / name
            for path in _images(_needed(place, "chest_xray")):
                match = _KERMANY_PATIENT.search(path.name)
                if match is None:
                    raise UserError(
                        f"{path} does not name its patient as the set's files do (person1_... or "
                        "IM-0001-...): remove it, or build the manifest with --pattern."
                    )
                records.append(Record(path, name, match[1], side or None))
    return _manifest(records, has_patients=True)


def _covid_ct(folder: Path) -> Manifest:
    images = _within(folder, "Images-processed")
    records = []
    for name in ("COVID", "NonCOVID"):
        place = _needed(images / f"CT_{name}", "covid_ct")
        for side in ("train", "val", "test"):
            listed = folder / "Data-split" / name / f"{side}CT_{name}.txt"
            for line in _lines(listed, "covid_ct"):
                path = place / line
                records.append(Record(path, name, str(path), side))
    return _manifest(records)


def _gbcu(folder: Path) -> Manifest:
    root = _within(folder, "GBCU-Shared")
    images = root / "imgs"
    records = []
    for side in ("train", "test"):
        listed = root / f"{side}.txt"
        for line in _lines(listed, "gbcu"):
            name, _, label = line.partition(",")
            if label.strip() not in _GBCU_CLASSES:
                raise UserError(
                    f"{listed} has the line {line!r}: expected a file name, a comma, and a class "
                    "0 (normal), 1 (benign) or 2 (malignant)."
                )
            path = images / name.strip()
            records.append(Record(path, _GBCU_CLASSES[label.strip()], str(path), side))
    return _manifest(records)


def _medmnist(file: Path) -> Manifest:
    if file.suffix.lower() != ".npz":
        raise UserError(f"{file} is no .npz file: give the file of one MedMNIST set.")
    return read_manifest(file)


LAYOUTS: dict[str, Callable[[Path], Manifest]] = {
    "busi": _busi,
    "chest_xray": _chest_xray,
    "covid_ct": _covid_ct,
    "gbcu": _gbcu,
    "medmnist": _medmnist,
}
"""Each layout and what reads it."""


def _within(folder: Path, name: str) -> Path:
    """Step into the folder that an archive unpacks to, where it is there."""
    return folder / name if (folder / name).is_dir() else folder


def _needed(folder: Path, layout: str) -> Path:
    if not folder.is_dir():
        raise UserError(
            f"{folder} is missing: unpack the whole set, or see docs/datasets.md for what the "
            f"layout {layout} expects."
        )
    return folder


def _images(folder: Path) -> list[Path]:
    found = sorted(
        path for path in folder.iterdir() if not path.name.startswith(".") and is_image(path)
    )
    if not found:
        raise UserError(f"{folder} holds no images: unpack the whole set.")
    return found


def _lines(file: Path, layout: str) -> Iterator[str]:
    if not file.is_file():
        raise UserError(
            f"{file} is missing: it holds the official split; see docs/datasets.md for what the "
            f"layout {layout} expects."
        )
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{file} is no text in UTF-8: save it as such.") from None
    for line in lines:
        if line.strip():
            yield line.strip()


def _manifest(records: Iterator[Record] | list[Record], has_patients: bool = False) -> Manifest:
    listed = tuple(records)
    missing = [record.path for record in listed if not record.path.is_file()]
    if missing:
        raise UserError(
            f"{missing[0]} is named by the set's own list and is missing, as are "
            f"{len(missing) - 1} more: unpack the whole set."
        )
    classes = tuple(sorted({record.label for record in listed if record.label}))
    return Manifest(listed, classes, has_patients)
