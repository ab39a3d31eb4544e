"""Images listed in a CSV: a manifest, or a table of another make."""

from __future__ import annotations

import csv
import string
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from glcm_mae.data.readers import Plane, one_line
from glcm_mae.data.record import SPLITS, Record
from glcm_mae.errors import UserError

__all__ = ["COLUMNS", "first_few", "manifest_rows", "table_records", "translated_rows"]

_OF_RECORD = ("path", "frame", "label", "patient", "split", "mask")
COLUMNS = ("path", "frame", "label", "patient", "copy_group", "split", "mask", "plane")


def manifest_rows(source: Path) -> list[dict[str, str]]:
    """Read the rows of a manifest.

    Parameters
    ----------
    source : Path
        A CSV with the columns path, frame, label, patient, copy_group, split, mask, plane, at
        least the first.

    Returns
    -------
    list of dict
        The cells of each row by column.

    Raises
    ------
    UserError
        It is no CSV, is empty, or has other columns: a misspelt patient column, left out in
        silence, would let patients cross the split.
    """
    header, rows = _read(source, ["path"], COLUMNS)
    unknown = [name for name in header if name not in COLUMNS]
    if unknown:
        named = [name or "one without a name" for name in unknown]
        raise UserError(
            f"{source} has unknown columns ({first_few(named)}): only {', '.join(COLUMNS)} are "
            "read; remove or rename the others, or have glcm-mae data manifest do it (--columns)."
        )
    return rows


def translated_rows(source: Path, columns: Mapping[str, str]) -> list[dict[str, str]]:
    r"""Read the rows of a table of another make as those of a manifest.

    Parameters
    ----------
    source : Path
        A CSV with columns of any names.
    columns : dict
        What path, frame, label, patient, split and mask are: the name of a column, or a text with
        names of columns in braces.

    Returns
    -------
    list of dict
        The cells of each row by the manifest's columns. All others are left out; rows that are then
        the same, as of two lesions in one image, become one.

    Raises
    ------
    UserError
        It is no CSV or lacks such a column, or ``columns`` are wrong.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = Path(folder, "clinical.csv")
    ...     _ = table.write_text("id,dx,age\n7,benign,51\n")
    ...     translated_rows(table, {"path": "images/{id}.png", "label": "dx"})
    [{'path': 'images/7.png', 'label': 'benign'}]
    """
    unknown = sorted(columns.keys() - {*_OF_RECORD})
    if unknown or "path" not in columns:
        raise UserError(
            f"columns names {first_few(unknown) if unknown else 'no path'}: say of path and, where "
            "there are such, of label, patient, split, frame and mask which column they are."
        )
    asked = {name: _names_in(name, text) for name, text in columns.items()}
    wanted = {name for names in asked.values() for name in names}
    _, rows = _read(source, wanted, wanted)
    translated = [
        {name: _cell(text, row, asked[name]) for name, text in columns.items()} for row in rows
    ]
    return [dict(cells) for cells in dict.fromkeys(tuple(row.items()) for row in translated)]


def table_records(
    source: Path, rows: Sequence[Mapping[str, str]], plane: Plane, may_lack: bool = False
) -> tuple[list[Record], bool]:
    """Turn rows into records.

    Parameters
    ----------
    source : Path
        The CSV, whose folder paths are relative to.
    rows : sequence of dict
        Cells by the manifest's columns.
    plane : {"axial", "coronal", "sagittal"}
        How volumes (NIfTI, NRRD, MetaImage) are cut into slices.
    may_lack : bool
        Whether files may be missing, for whoever reads them to report.

    Returns
    -------
    list of Record, bool
        The images, and whether their patients are known.

    Raises
    ------
    UserError
        A file is missing, or a cell is wrong.
    """
    columns = {name: [row.get(name, "") for row in rows] for name in COLUMNS}
    paths = [source.parent / cell for cell in columns["path"]]
    _check_cells(source, columns)
    others = sorted(set(columns["plane"]) - {plane, ""})
    if others:
        raise UserError(
            f"{source} counts slices in the plane {others[0]} (column plane), and plane is set to "
            f"{plane}: set it to {others[0]}."
        )
    if not may_lack:
        _check_files(source, paths)
    has_patients = any(columns["patient"])
    records = [
        Record(
            path,
            label or None,
            patient or group or str(path),
            split or None,
            int(frame) if frame else None,
            source.parent / mask if mask else None,
        )
        for path, frame, label, patient, split, mask, group in zip(
            paths, *(columns[name] for name in (*_OF_RECORD[1:], "copy_group")), strict=True
        )
    ]
    return records, has_patients


def first_few(names: Sequence[str], most: int = 3) -> str:
    """Join the first few names for an error message.

    Parameters
    ----------
    names : sequence of str
        All of them.
    most : int
        How many are named.

    Returns
    -------
    str

    Examples
    --------
    >>> first_few(["a", "b", "c", "d"])
    'a, b, c, ...'
    """
    return ", ".join(map(one_line, names[:most])) + (", ..." if len(names) > most else "")


def _read(
    source: Path, wanted: Collection[str], once: Collection[str]
) -> tuple[list[str], list[dict[str, str]]]:
    """Return the header, in which the wanted columns are, some at most once, and the rows."""
    try:
        # utf-8-sig: spreadsheets put a byte order mark before the first column's name.
        with source.open(newline="", encoding="utf-8-sig") as file:
            first = next((line for line in file if line.strip(" ,;\t\r\n")), "")
            file.seek(0)
            rows = csv.reader(file, delimiter=_delimiter(first, wanted))
            lines = [[cell.strip() for cell in line] for line in rows if any(line)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{source} is not a CSV file in UTF-8 ({error}): save it anew.") from error
    header, *body = lines or [[]]
    missing = sorted(set(wanted) - set(header))
    if missing:
        found = one_line(", ".join(header)) or "nothing"
        hint = " (what a table of another make calls it, tell data manifest by --columns)"
        raise UserError(
            f"{source} has no column {missing[0]}, but {found}: its first line must name the "
            f"columns, separated by commas, semicolons or tabs{hint * ('path' in missing)}."
        )
    repeated = [name for k, name in enumerate(header) if name in header[:k] and name in once]
    if repeated:
        raise UserError(
            f"{source} has repeated columns ({first_few(repeated)}): remove or rename them."
        )
    for number, line in enumerate(body, start=1):
        if len(line) != len(header):
            raise UserError(
                f"{source} has {len(line)} cells instead of {len(header)} in row {number} below "
                "the header: put quotes around a cell that holds a separator."
            )
    if not body:
        raise UserError(f"{source} lists no images: add a row for each.")
    return header, [dict(zip(header, line, strict=True)) for line in body]


def _delimiter(header: str, wanted: Collection[str]) -> str:
    """Find what separates the columns: a spreadsheet writes semicolons in much of the world."""
    cells = {mark: {cell.strip(' \r\n"') for cell in header.split(mark)} for mark in ",;\t"}
    return max(cells, key=lambda mark: (cells[mark].issuperset(wanted), len(cells[mark])))


def _cell(text: str, row: Mapping[str, str], names: Sequence[str]) -> str:
    """Put a row's cells into a text; of an empty one nothing can be made."""
    if "{" not in text:
        return row[text]
    if not all(row[name] for name in names):
        return ""
    parts = string.Formatter().parse(text)
    return "".join(plain + ("" if name is None else row[name]) for plain, name, _, _ in parts)


def _names_in(name: str, text: str) -> list[str]:
    """Find the columns that a cell is made of."""
    if text and "{" not in text:
        return [text]
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        parts = []
    names = [column for _, column, _, _ in parts if column is not None]
    plain = all(not form and convert is None for _, _, form, convert in parts)
    if not names or not plain or not all(names):
        raise UserError(
            f"columns.{name} is {text!r}: give the name of a column, or a text with names in "
            "braces, as in 'images/{id}.png'."
        )
    return names


def _check_cells(source: Path, columns: Mapping[str, list[str]]) -> None:
    if any(columns["patient"]) and any(columns["copy_group"]):
        raise UserError(
            f"{source} has the columns patient and copy_group, which stands for patients where "
            "none are known: remove one of them."
        )
    for name in ("path", "patient", "copy_group", "split"):
        cells = columns[name]
        if not all(cells) and (name == "path" or any(cells)):
            raise UserError(
                f"{source} has an empty cell in column {name}, row {cells.index('') + 1} below "
                "the header: fill it in."
            )
    unknown = sorted(set(columns["split"]) - {*SPLITS, ""})
    if unknown:
        raise UserError(
            f"{source} has unknown split names ({first_few(unknown)}): use {', '.join(SPLITS)}."
        )
    torn = next((cell for cell in columns["path"] + columns["mask"] if "\0" in cell), None)
    if torn is not None:
        raise UserError(f"{source} names {one_line(torn)}, which no file can be called: mend it.")
    wrong = sorted({cell for cell in columns["frame"] if cell and not _is_count(cell)})
    if wrong:
        raise UserError(
            f"{source} has frames that are none ({first_few(wrong)}): give whole numbers from 0."
        )


def _is_count(cell: str) -> bool:
    return cell.isascii() and cell.isdecimal() and len(cell) < 10


def _check_files(source: Path, paths: Sequence[Path]) -> None:
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise UserError(
            f"{source} names {len(missing)} of {len(paths)} files that are missing "
            f"({first_few(missing)}): paths are relative to the folder of the CSV (a stage "
            "that has on_error goes on without them if it is skip)."
        )
