"""The table of predictions: what fine-tuning and probing write, and evaluation reads."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glcm_mae.columns import as_names, as_whole
from glcm_mae.errors import UserError
from glcm_mae.files import csv_text, write_atomically

_REQUIRED = ("path", "patient", "label")
_OPTIONAL = ("fold", "seed")
_PREFIX = "p_"
_TOLERANCE = 1e-3  # half precision and averaging leave such errors
_Number = TypeVar("_Number", np.int64, np.float64)
_FIRST_ROW = 2  # as a spreadsheet counts: the header is row 1


@dataclass(frozen=True, eq=False)
class Predictions:
    """Class probabilities for images that a model was not trained on, with their true labels.

    The table is checked when it is made, so that every `Predictions` can be evaluated. Lists and
    other number types are converted.

    Parameters
    ----------
    paths : sequence of str, length N
        The image of each row. An image occurs once, or once per training seed. What is no text
        becomes text, in `patients`, too: the patient 7 is the patient "7".
    patients : sequence of str, length N
        The patient of each image: the unit that intervals resample. None empty or missing (None,
        NaN): where patients are unknown, repeat the path.
    labels : ndarray of int, shape (N,)
        True class of each image, an index into `classes`.
    classes : tuple of str, length K
        Names of the classes, K >= 2, in the order of the probability columns.
    probabilities : ndarray of float, shape (N, K)
        In [0, 1] and each row with the sum 1, both within 0.001.
    folds : ndarray of int, shape (N,), optional
        The fold in which each image was tested. A patient is tested in one fold per seed.
    seeds : ndarray of int, shape (N,), optional
        The training seed of the model that made each row.

    Raises
    ------
    UserError
        If a value is wrong. The message names the row (the header is row 1) and never a path or
        a patient, since those may be identifying.
    ValueError
        If the shapes disagree, or labels, folds or seeds are no whole numbers.

    Examples
    --------
    >>> table = Predictions(
    ...     paths=("a.png", "b.png", "c.png"),
    ...     patients=("1", "1", "2"),
    ...     labels=np.array([0, 0, 1]),
    ...     classes=("benign", "malignant"),
    ...     probabilities=np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]),
    ... )
    >>> table.n_images, table.n_patients
    (3, 2)
    >>> table.by_patient().probabilities
    array([[0.7, 0.3],
           [0.2, 0.8]])
    """

    paths: tuple[str, ...]
    patients: tuple[str, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]
    folds: NDArray[np.int64] | None = None
    seeds: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        for name in ("paths", "patients", "classes"):
            object.__setattr__(self, name, as_names(getattr(self, name)))
        for name in ("labels", "folds", "seeds"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, as_whole(name, getattr(self, name)))
        object.__setattr__(self, "probabilities", np.asarray(self.probabilities, dtype=np.float64))
        self._check_shapes()
        self._check_values()
        self._check_images()
        self._check_folds()

    @property
    def n_images(self) -> int:
        """Number of different images."""
        return len(set(self.paths))

    @property
    def n_patients(self) -> int:
        """Number of different patients."""
        return len(set(self.patients))

    @property
    def n_mixed_patients(self) -> int:
        """Number of patients whose images carry more than one label."""
        pairs = set(zip(self.patients, self.labels.tolist(), strict=True))
        n_labels = Counter(patient for patient, _ in pairs)
        return sum(n > 1 for n in n_labels.values())

    def rows_of_seeds(self) -> list[NDArray[np.int64]]:
        """List the rows of each training seed.

        Returns
        -------
        list of ndarray of int
            In the order of the seeds; all rows where the table tells no seeds.
        """
        seeds = np.array(self._seed_of_each_row())
        return [np.flatnonzero(seeds == seed) for seed in np.unique(seeds)]

    def check_seeds(self) -> None:
        """Refuse seeds of different images: a mean over them would mean nothing.

        Raises
        ------
        UserError
            Naming the first row whose image another seed lacks.
        """
        of_image, n_seeds = Counter(self.paths), len(set(self._seed_of_each_row()))
        _refuse(
            np.array([of_image[path] < n_seeds for path in self.paths]),
            f"the image is not predicted under each of the {n_seeds} seeds: leave out the seeds "
            "that lack images.",
        )

    def by_patient(self) -> "Predictions":
        """Average the probabilities of each patient's images into one row per patient.

        With several training seeds there is one row per patient and seed, since averaging over
        seeds would judge an ensemble that nobody trained.

        Returns
        -------
        Predictions
            Patients in the order of their first image; `paths` repeats the patients.

        Raises
        ------
        UserError
            If a patient's images carry different labels: such a patient has no one true class,
            and a majority would be invented. Evaluate by image instead.
        """
        if self.n_mixed_patients:
            raise UserError(
                f"{self.n_mixed_patients} of {self.n_patients} patients have images of more than "
                "one class, so a patient has no one label: evaluate by image."
            )
        seeds = self._seed_of_each_row()
        rows_of: dict[tuple[str, int], list[int]] = {}
        for row, key in enumerate(zip(self.patients, seeds, strict=True)):
            rows_of.setdefault(key, []).append(row)
        patients = tuple(patient for patient, _ in rows_of)
        first = [rows[0] for rows in rows_of.values()]
        return Predictions(
            paths=patients,
            patients=patients,
            labels=self.labels[first],
            classes=self.classes,
            probabilities=np.stack([self.probabilities[r].mean(0) for r in rows_of.values()]),
            folds=None if self.folds is None else self.folds[first],
            seeds=None if self.seeds is None else self.seeds[first],
        )

    def write(self, path: str | Path) -> None:
        """Write the table as CSV, whole or not at all; `read_predictions` gives it back exactly.

        Parameters
        ----------
        path : str or pathlib.Path
            The file to write. Columns: ``path,patient,label,p_<class>...``, then ``fold`` and
            ``seed`` where the table has them. UTF-8.

        Raises
        ------
        UserError
            If the file cannot be written; an older file at `path` is then intact.
        """
        extra = {
            name: values.tolist()
            for name, values in zip(_OPTIONAL, (self.folds, self.seeds), strict=True)
            if values is not None
        }
        names = [self.classes[label] for label in self.labels]
        columns = [*_REQUIRED, *(_PREFIX + name for name in self.classes), *extra]
        chances = self.probabilities.tolist()
        rows = (
            (path_, patient, name, *probabilities, *rest)
            for path_, patient, name, probabilities, *rest in zip(
                self.paths, self.patients, names, chances, *extra.values(), strict=True
            )
        )
        write_atomically(Path(path), csv_text(columns, rows))

    def _seed_of_each_row(self) -> list[int]:
        return [0] * len(self.paths) if self.seeds is None else self.seeds.tolist()

    def _check_shapes(self) -> None:
        n, k = len(self.paths), len(self.classes)
        if self.probabilities.shape != (n, k):
            raise ValueError(
                f"{n} paths and {k} classes need probabilities of shape {(n, k)}, "
                f"not {self.probabilities.shape}"
            )
        columns = {
            "patients": (len(self.patients),),
            "labels": self.labels.shape,
            "folds": (n,) if self.folds is None else self.folds.shape,
            "seeds": (n,) if self.seeds is None else self.seeds.shape,
        }
        for name, shape in columns.items():
            if shape != (n,):
                raise ValueError(f"{n} paths need {name} of shape {(n,)}, not {shape}")

    def _check_values(self) -> None:
        if len(self.classes) < 2:
            raise UserError(
                f"the number of probability columns is {len(self.classes)}: give one column "
                "p_<class> for each of two or more classes."
            )
        if len(set(self.classes)) < len(self.classes) or "" in self.classes:
            raise UserError("a class has no name or the name of another: give each its own.")
        if not self.paths:
            raise UserError("there are no predictions: give a row an image, or remove the file.")
        p = self.probabilities
        _refuse(
            (self.labels < 0) | (self.labels >= len(self.classes)),
            "the label is not one of the classes: give it a probability column.",
        )
        _refuse(
            [not patient for patient in self.patients],
            "the patient is empty: name the patient, or repeat the path where it is unknown.",
        )
        _refuse(
            ~np.isfinite(p).all(1),
            "a probability is not a finite number: look in the log of the run for a loss that "
            "became NaN.",
        )
        _refuse(
            ((p < -_TOLERANCE) | (p > 1 + _TOLERANCE)).any(1),
            "a probability lies outside 0 to 1: write the softmax of the scores.",
        )
        _refuse(
            np.abs(p.sum(1) - 1) > _TOLERANCE,
            f"the probabilities do not sum to 1 (within {_TOLERANCE:g}): write the softmax of "
            "the scores.",
        )

    def _check_images(self) -> None:
        seeds = self._seed_of_each_row()
        _refuse(
            _repeated(list(zip(self.paths, seeds, strict=True))),
            "the path has occurred before: keep one row per image (and per seed, with a column "
            "seed); of images that validate several folds, the row of one.",
        )
        facts = list(zip(self.patients, self.labels.tolist(), strict=True))
        _refuse(
            _differs_from_first(self.paths, facts),
            "the image has another label or patient under an earlier seed: give it the same.",
        )

    def _check_folds(self) -> None:
        if self.folds is None:
            return
        seeds = self._seed_of_each_row()
        _refuse(
            _differs_from_first(list(zip(self.patients, seeds, strict=True)), self.folds.tolist()),
            "the patient is tested in another fold as well, so a model was trained on a patient "
            "it is tested on: split by patient.",
        )


def read_predictions(path: str | Path) -> Predictions:
    r"""Read and check a table of predictions.

    Parameters
    ----------
    path : str or pathlib.Path
        A CSV file (UTF-8, with or without a byte-order mark) with the columns ``path``,
        ``patient``, ``label``, one ``p_<class>`` for each of two or more classes, and optionally
        whole numbers in ``fold`` and ``seed``. Classes are in the order of their columns; other
        columns are ignored.

    Returns
    -------
    Predictions

    Raises
    ------
    UserError
        If the file cannot be read or a value in it is wrong. The message names the file and the
        row, counted as a spreadsheet does: the header is row 1.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "predictions.csv"
    >>> _ = file.write_text("path,patient,label,p_cyst,p_solid\na.png,1,solid,0.25,0.75\n")
    >>> table = read_predictions(file)
    >>> table.classes, table.labels, table.probabilities
    (('cyst', 'solid'), array([1]), array([[0.25, 0.75]]))
    """
    try:
        header, rows = _read_csv(Path(path))
        return _parse(header, rows)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows, each row as long as the header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, strict=True))
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror}): give a predictions.csv.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"is not CSV in UTF-8 ({error}): save it as such.") from None
    while rows and not rows[-1]:
        rows.pop()
    if not rows:
        raise UserError("the file is empty: give a predictions.csv.")
    header, *rows = rows
    _check_header(header)
    _refuse(
        [len(row) != len(header) for row in rows],
        f"the number of cells is not that of the header, {len(header)}: complete the row.",
    )
    return header, rows


def _check_header(header: list[str]) -> None:
    missing = [name for name in _REQUIRED if name not in header]
    if missing:
        found = ", ".join(map(repr, header)) or "nothing"
        raise UserError(
            f"has no column {', '.join(missing)}, but {found}: its first line must name the "
            "columns, separated by commas."
        )


def _parse(header: list[str], rows: list[list[str]]) -> Predictions:
    read_columns = [
        name for name in header if name in (*_REQUIRED, *_OPTIONAL) or name.startswith(_PREFIX)
    ]
    twice = [
        name for name, again in zip(read_columns, _repeated(read_columns), strict=True) if again
    ]
    if twice:
        raise UserError(f"has the column {twice[0]!r} twice: keep one.")
    cells = {name: [row[header.index(name)] for row in rows] for name in read_columns}
    probability_columns = [name for name in read_columns if name.startswith(_PREFIX)]
    classes = tuple(name.removeprefix(_PREFIX) for name in probability_columns)
    probabilities = np.empty((len(rows), len(classes)))
    for k, name in enumerate(probability_columns):
        probabilities[:, k] = _numbers(cells[name], name, np.float64)
    return Predictions(
        paths=tuple(cells["path"]),
        patients=tuple(cells["patient"]),
        labels=_label_indices(cells["label"], classes),
        classes=classes,
        probabilities=probabilities,
        folds=_numbers(cells["fold"], "fold", np.int64) if "fold" in cells else None,
        seeds=_numbers(cells["seed"], "seed", np.int64) if "seed" in cells else None,
    )


def _label_indices(names: list[str], classes: tuple[str, ...]) -> NDArray[np.int64]:
    index_of = {name: index for index, name in enumerate(classes)}
    for row, name in enumerate(names, _FIRST_ROW):
        if name not in index_of:
            raise UserError(
                f"row {row}: the label {name!r} has no column {_PREFIX + name!r}: correct the "
                f"label or add the column (there are {', '.join(map(repr, classes)) or 'none'})."
            )
    return np.array([index_of[name] for name in names], dtype=np.int64)


def _numbers(cells: list[str], column: str, kind: type[_Number]) -> NDArray[_Number]:
    numbers = []
    for row, cell in enumerate(cells, _FIRST_ROW):
        try:
            numbers.append(kind(cell))
        except (ValueError, OverflowError):
            what = "a whole number" if kind is np.int64 else "a number"
            raise UserError(f"row {row}: {column!r} is not {what}: correct it.") from None
    return np.array(numbers, dtype=kind)


def _refuse(wrong: ArrayLike, message: str) -> None:
    """Raise a UserError that names the first row that is wrong, if any is."""
    if np.any(wrong):
        raise UserError(f"row {int(np.argmax(wrong)) + _FIRST_ROW}: {message}")


def _repeated(keys: Sequence[object]) -> list[bool]:
    """Whether each key has occurred before."""
    first: dict[object, int] = {}
    return [first.setdefault(key, row) != row for row, key in enumerate(keys)]


def _differs_from_first(keys: Sequence[object], values: Sequence[object]) -> list[bool]:
    """Whether each value differs from the value at the first occurrence of its key."""
    first: dict[object, object] = {}
    return [first.setdefault(k, v) != v for k, v in zip(keys, values, strict=True)]
