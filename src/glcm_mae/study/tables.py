"""From the predictions of a study's cells to one table an arm."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glcm_mae.files import read_facts, write_atomically
from glcm_mae.predictions import Predictions, read_predictions

from .cells import baseline_folder, cell_folder
from .folds import Fold

WAYS = {
    "linear": "probe/linear",
    "knn": "probe/knn",
    "linear_glcm": "probe_glcm/linear",
    "finetune": "finetune",
}
"""How an encoder is judged, and where in a cell the predictions lie."""


class ArmTables(NamedTuple):
    """An arm's predictions over all folds and seeds: of test and of validation images."""

    test: Predictions
    validation: Predictions


def collect_arm(
    out: Path,
    arm: str,
    way: str,
    folds: Sequence[Fold],
    seeds: int,
    finished: Collection[str],
    about_patients: str | None,
) -> ArmTables | None:
    """Join the predictions of an arm's cells, and write them beside the cells.

    Parameters
    ----------
    out : Path
        The study's folder.
    arm, way : str
        The arm, and how it is judged (a key of `WAYS`).
    folds : sequence of Fold
        The folds.
    seeds : int
        How many.
    finished : collection of str
        The folders of the runs that are finished.
    about_patients : str or None
        What stands where a patient should, if it is no patient: kept beside the tables, and those
        of the cells.

    Returns
    -------
    ArmTables or None
        None if a cell is not finished.
    """
    at = [(seed, fold.number) for seed in range(seeds) for fold in folds]
    runs = [(seed, fold, cell_folder(out, arm, seed, fold) / WAYS[way]) for seed, fold in at]
    stage = Path(WAYS[way]).parts[0]  # a probe's tables lie a folder below its own
    stages = {str(cell_folder(out, arm, seed, fold) / stage) for seed, fold in at}
    if not stages <= set(finished):
        return None
    return _joined(runs, out / "arms" / arm / way, about_patients)


def collect_baseline(
    out: Path,
    kind: str,
    folds: Sequence[Fold],
    finished: Collection[str],
    about_patients: str | None,
) -> ArmTables | None:
    """Join the predictions of a baseline's folds, and write them beside them.

    Parameters
    ----------
    out, folds, finished, about_patients
        As for `collect_arm`.
    kind : str
        The baseline.

    Returns
    -------
    ArmTables or None
        None if a cell is not finished.
    """
    runs = [(0, fold.number, baseline_folder(out, kind, fold.number)) for fold in folds]
    stages = {str(folder) for _, _, folder in runs}
    if not stages <= set(finished):
        return None
    return _joined(runs, out / "baselines" / kind, about_patients)


def _joined(
    runs: Sequence[tuple[int, int, Path]], folder: Path, about_patients: str | None
) -> ArmTables:
    tables = []
    for name in ("predictions.csv", "validation.csv"):
        table = stack_predictions(list(_read(runs, name)))
        before = _bytes_of(folder / name)
        table.write(folder / name)
        if _bytes_of(folder / name) != before:
            for metrics in folder.glob("metrics*.json"):  # which tell of the table before
                metrics.unlink(missing_ok=True)
        tables.append(table)
    if about_patients is not None:
        for place in (folder, *(run for _, _, run in runs)):
            _tell_of_patients(place / "about.json", about_patients)
    return ArmTables(*tables)


def _bytes_of(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def _tell_of_patients(file: Path, about_patients: str) -> None:
    """Write what patients are, beside what a stage may have told already."""
    told = read_facts(
        file, f"copy it anew, or remove the folder {file.parent}, which is then made again"
    )
    text = json.dumps(told | {"patients": about_patients}, indent=2) + "\n"
    write_atomically(file, text)


def _read(runs: Sequence[tuple[int, int, Path]], name: str) -> Iterator[Predictions]:
    """Read each run's table; a stage that is given a split does not know the fold's number."""
    for seed, fold, folder in runs:
        table = read_predictions(folder / name)
        n = len(table.paths)
        yield replace(table, folds=np.full(n, fold), seeds=np.full(n, seed))


def stack_predictions(tables: Sequence[Predictions]) -> Predictions:
    """Join tables of the same classes that have folds and seeds, one below the other.

    Parameters
    ----------
    tables : sequence of Predictions
        One at least.

    Returns
    -------
    Predictions
    """
    return Predictions(
        paths=tuple(path for table in tables for path in table.paths),
        patients=tuple(patient for table in tables for patient in table.patients),
        classes=tables[0].classes,
        **{
            name: np.concatenate([getattr(table, name) for table in tables])
            for name in ("labels", "probabilities", "folds", "seeds")
        },
    )


def mean_of_seeds(table: Predictions) -> Predictions:
    """Average what the models of several seeds say of each image: what they say together.

    Parameters
    ----------
    table : Predictions
        In which each seed has a row of each image.

    Returns
    -------
    Predictions
        A row an image, in the order of the first seed; without folds and seeds.

    Examples
    --------
    >>> table = Predictions(
    ...     paths=("a", "b", "b", "a"),
    ...     patients=("1", "2", "2", "1"),
    ...     labels=np.array([0, 1, 1, 0]),
    ...     classes=("benign", "malignant"),
    ...     probabilities=np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9], [0.7, 0.3]]),
    ...     seeds=np.array([0, 0, 1, 1]),
    ... )
    >>> mean_of_seeds(table).probabilities.round(3).tolist()
    [[0.8, 0.2], [0.3, 0.7]]
    """
    first, *others = table.rows_of_seeds()
    place = {table.paths[row]: n for n, row in enumerate(first)}
    order = [np.argsort([place[table.paths[row]] for row in rows]) for rows in others]
    alike = [first, *(rows[by_place] for rows, by_place in zip(others, order, strict=True))]
    return Predictions(
        paths=tuple(table.paths[row] for row in first),
        patients=tuple(table.patients[row] for row in first),
        labels=table.labels[first],
        classes=table.classes,
        probabilities=np.mean([table.probabilities[rows] for rows in alike], axis=0),
    )
