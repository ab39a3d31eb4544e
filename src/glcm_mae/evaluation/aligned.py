"""Several arms' predictions for the same images, brought into one order."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glcm_mae.errors import UserError
from glcm_mae.predictions import Predictions


@dataclass(frozen=True, eq=False)
class AlignedArms:
    """What the arms share, image by image, and where each arm's rows for it are.

    Parameters
    ----------
    classes : tuple of str, length K
        Names of the classes.
    patients : ndarray of str, shape (N,)
        Patient of each image. Images are in the order of their paths.
    labels : ndarray of int, shape (N,)
        True class of each image.
    folds : ndarray of int, shape (N,)
        Fold in which each image was tested, in all arms and seeds. Zeros where there are no folds.
    n_folds : int or None
        None where the tables have no folds.
    seeds : tuple of int, length S
        Training seeds of the arms that have several; one where none has.
    rows : dict of str to ndarray of int, shape (S, N)
        For each arm the row of its table that holds each seed and image. S is 1 for an arm that has
        one seed only: its models then stand for all seeds.
    """

    classes: tuple[str, ...]
    patients: NDArray[np.str_]
    labels: NDArray[np.int64]
    folds: NDArray[np.int64]
    n_folds: int | None
    seeds: tuple[int, ...]
    rows: dict[str, NDArray[np.int64]]


def align_arms(tables: Mapping[str, Predictions], reference: str) -> AlignedArms:
    """Check that arms were tested on the same images in the same folds, and put them in one order.

    Parameters
    ----------
    tables : mapping from str to Predictions
        The arms.
    reference : str
        The arm that the others must fit.

    Returns
    -------
    AlignedArms

    Raises
    ------
    UserError
        If `reference` is not an arm, or an arm differs from it in classes, images, labels,
        patients, folds or seeds. The message names the arm.

    Examples
    --------
    >>> p = np.array([[0.9, 0.1], [0.4, 0.6]])
    >>> a = Predictions(("1", "2"), ("1", "2"), [0, 1], ("b", "m"), p)
    >>> b = Predictions(("2", "1"), ("2", "1"), [1, 0], ("b", "m"), p)
    >>> align_arms({"a": a, "b": b}, "a").rows
    {'a': array([[0, 1]]), 'b': array([[1, 0]])}
    """
    if reference not in tables:
        raise UserError(
            f"reference={reference!r} is not an arm: choose one of {', '.join(map(repr, tables))}."
        )
    first = tables[reference]
    paths = sorted(set(first.paths))
    seeds = _common_seeds(tables)
    rows = {}
    for name, table in tables.items():
        if table.classes != first.classes:
            raise UserError(
                f"arm {name!r} has the classes {table.classes} and arm {reference!r} "
                f"{first.classes}: compare arms of one task, with the probability columns in one "
                "order."
            )
        rows[name] = _rows(name, table, paths, reference)
    shared = rows[reference][0]
    labels, patients = first.labels[shared], np.array(first.patients)[shared]
    folds = None if first.folds is None else first.folds[shared]
    for name, table in tables.items():
        _check_same_facts(name, table, rows[name], labels, patients, reference)
        _check_same_folds(name, table, rows[name], folds, reference)
    return AlignedArms(
        classes=first.classes,
        patients=patients,
        labels=labels,
        folds=np.zeros(len(paths), dtype=np.int64) if folds is None else folds,
        n_folds=None if folds is None else len(np.unique(folds)),
        seeds=tuple(seeds),
        rows=rows,
    )


def _common_seeds(tables: Mapping[str, Predictions]) -> list[int]:
    """Seeds of the arms that have several, which must be the same; [0] where none has."""
    several: dict[str, list[int]] = {
        name: sorted(set(table.seeds.tolist()))
        for name, table in tables.items()
        if table.seeds is not None and len(set(table.seeds.tolist())) > 1
    }
    if not several:
        return [0]
    first, seeds = next(iter(several.items()))
    for name, others in several.items():
        if others != seeds:
            raise UserError(
                f"arm {name!r} has the seeds {others} and arm {first!r} {seeds}: train every arm "
                "with the same seeds, or with one."
            )
    return seeds


def _rows(name: str, table: Predictions, paths: list[str], reference: str) -> NDArray[np.int64]:
    """Row of each seed and image, (S, N)."""
    seeds = np.zeros(len(table.paths), np.int64) if table.seeds is None else table.seeds
    rows = []
    for seed in np.unique(seeds):
        row_of = {table.paths[row]: row for row in np.flatnonzero(seeds == seed)}
        alone = len(row_of.keys() ^ set(paths))
        if alone:
            raise UserError(
                f"arm {name!r}, seed {seed}, and arm {reference!r} do not hold the same images, "
                f"{alone} are in only one of them: test every arm and seed on all of them."
            )
        rows.append([row_of[path] for path in paths])
    return np.array(rows, dtype=np.int64)


def _check_same_facts(
    name: str,
    table: Predictions,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    patients: NDArray[np.str_],
    reference: str,
) -> None:
    others = np.array(table.patients)[rows[0]]
    differ = int(np.sum((table.labels[rows[0]] != labels) | (others != patients)))
    if differ:
        raise UserError(
            f"arm {name!r} gives {differ} images another label or patient than arm "
            f"{reference!r}: write both from one manifest."
        )


def _check_same_folds(
    name: str,
    table: Predictions,
    rows: NDArray[np.int64],
    folds: NDArray[np.int64] | None,
    reference: str,
) -> None:
    if table.folds is None and folds is None:
        return
    if table.folds is None or folds is None:
        has_none = name if table.folds is None else reference
        raise UserError(
            f"arm {has_none!r} has no column fold and another has one: test all arms in the same "
            "folds."
        )
    differ = int(np.sum((table.folds[rows] != folds).any(0)))
    if differ:
        raise UserError(
            f"arm {name!r} tests {differ} images in another fold than the first seed of arm "
            f"{reference!r}: test all arms and seeds in the same folds."
        )
