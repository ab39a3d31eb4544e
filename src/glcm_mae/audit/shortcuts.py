"""How well the class can be told by what has nothing to do with the disease."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glcm_mae.audit.inspection import Look
from glcm_mae.audit.measurements import MEASUREMENTS
from glcm_mae.data import Manifest, grouped_folds
from glcm_mae.errors import UserError
from glcm_mae.evaluation import Interval, patient_bootstrap
from glcm_mae.evaluation.metrics import FloatArray, IntArray, weighted_auroc

__all__ = ["SUSPICIOUS", "Shortcut", "predict_by_ranks", "rank_shortcuts", "traits"]

SUSPICIOUS = 0.6
"""AUROC: a shortcut whose whole interval lies above it is reported."""

_KNOTS = (0.2, 0.4, 0.6, 0.8)
_RESAMPLES = 1000
_FEWEST = 2  # groups of each class in training and in testing


@dataclass(frozen=True)
class Shortcut:
    """How well one trait, or all together, predict the class.

    Parameters
    ----------
    name : str
        The trait.
    auroc : Interval
        AUROC under grouped cross-validation, with its 95% interval; with more than two classes
        the mean of each class against the rest.

    Examples
    --------
    >>> Shortcut("aspect ratio", Interval(0.88, 0.85, 0.91)).auroc.low
    0.85
    """

    name: str
    auroc: Interval


def rank_shortcuts(
    manifest: Manifest, looks: Sequence[Look], groups: np.ndarray, folds: int, seed: int
) -> list[Shortcut]:
    """Predict the class from each trait that is none of the disease's, the best first.

    Each trait's numbers become ranks among the training images, with a bend at every fifth, so
    that any smooth relation can be learned; a logistic regression predicts the class of images of
    groups it has not seen. The interval resamples groups (`patient_bootstrap`).

    Parameters
    ----------
    manifest : Manifest
        The data set.
    looks : sequence of Look
        One per image; unreadable and unlabelled ones are left out.
    groups : np.ndarray
        Group (N,) of each image that must not cross a fold: patient and copies together.
    folds : int
        Folds of the cross-validation, fewer where a class has fewer groups.
    seed : int
        Of the folds and of the bootstrap.

    Returns
    -------
    list of Shortcut
        Empty if there are no two classes with two groups each.

    Examples
    --------
    >>> from pathlib import Path
    >>> from glcm_mae.data import Facts, Record
    >>> facts = Facts("png", "uint8", 8, "L", (0, 255))
    >>> records, looks = [], []
    >>> for n in range(40):
    ...     records.append(Record(Path(f"{n}.png"), "ab"[n % 2], str(n), None))
    ...     numbers = {name: (0.0,) * len(parts) for name, parts in MEASUREMENTS.items()}
    ...     numbers["sharpness"] = (n + 20.0 * (n % 2),)
    ...     looks.append(Look(shape=(1, 8, 8), facts=facts, measurements=numbers))
    >>> manifest = Manifest(tuple(records), ("a", "b"), has_patients=False)
    >>> found = rank_shortcuts(manifest, looks, np.arange(40), folds=5, seed=0)
    >>> found[0].name in ("sharpness", "all together"), found[0].auroc.value > 0.8
    (True, True)
    """
    used = np.array(
        [n for n, look in enumerate(looks) if look.facts is not None and manifest.labels[n] >= 0],
        dtype=np.int64,
    )
    names, labels = np.unique(manifest.labels[used], return_inverse=True)
    if len(names) < 2:
        return []
    members = groups[used]
    fold_of = _folds(labels, members, folds, seed)
    if fold_of is None:
        return []
    numbers_of = traits([looks[n] for n in used])
    numbers_of["all together"] = np.concatenate(list(numbers_of.values()), axis=1)
    found = [
        Shortcut(name, _auroc(_predicted(numbers, labels, fold_of), labels, members, seed))
        for name, numbers in numbers_of.items()
        if (numbers != numbers[0]).any()  # what is the same in all tells nothing
    ]
    return sorted(found, key=lambda shortcut: -shortcut.auroc.value)


def traits(looks: Sequence[Look]) -> dict[str, FloatArray]:
    """Describe images by what has nothing to do with the disease.

    Parameters
    ----------
    looks : sequence of Look, length N
        Of readable images.

    Returns
    -------
    dict
        For each trait its numbers (N, F): those of `MEASUREMENTS`, and the kind of file.

    Examples
    --------
    >>> from glcm_mae.data import Facts
    >>> numbers = {name: (0.0,) * len(parts) for name, parts in MEASUREMENTS.items()}
    >>> facts = Facts("png", "uint8", 8, "L", (0, 255))
    >>> found = traits([Look(shape=(1, 8, 8), facts=facts, measurements=numbers)] * 2)
    >>> found["border"].shape, found["file format and bits"].shape
    ((2, 4), (2, 1))
    """
    measured = {
        name: np.array([look.measurements[name] for look in looks]) for name in MEASUREMENTS
    }
    kinds = [
        f"{look.facts.format} {look.facts.dtype} {look.facts.bits} {look.shape[0]}"
        for look in looks
        if look.facts is not None
    ]
    known, kind = np.unique(kinds, return_inverse=True)
    return {**measured, "file format and bits": np.eye(len(known))[kind]}


def _folds(labels: IntArray, groups: np.ndarray, folds: int, seed: int) -> IntArray | None:
    """Deal groups into as many folds as the classes allow; None if that is less than two."""
    for fewer in range(folds, _FEWEST - 1, -1):
        try:
            return grouped_folds(labels, groups, fewer, seed)
        except UserError:
            continue
    return None


def _predicted(numbers: FloatArray, labels: IntArray, fold_of: IntArray) -> FloatArray:
    """Class probabilities (N, K), each from a model that has not seen the image's fold."""
    probabilities = np.zeros((len(labels), labels.max() + 1))
    for fold in np.unique(fold_of):
        train, test = fold_of != fold, fold_of == fold  # `grouped_folds` puts each class in both
        probabilities[test] = predict_by_ranks(numbers[train], labels[train], numbers[test])
    return probabilities


def predict_by_ranks(train: FloatArray, labels: IntArray, test: FloatArray) -> FloatArray:
    """Predict classes by logistic regression on ranks with a bend at every fifth.

    Parameters
    ----------
    train, test : ndarray, (n, F) and (m, F)
        Numbers of any unit: only their order among the training images counts.
    labels : ndarray of int, (n,)
        Classes 0 to K - 1, none of them absent.

    Returns
    -------
    ndarray, (m, K)
        Class probabilities.

    Examples
    --------
    >>> train = np.arange(20.0)[:, None]
    >>> labels = (train[:, 0] >= 10).astype(np.int64)
    >>> predict_by_ranks(train, labels, np.array([[1.0], [1e6]])).argmax(axis=1).tolist()
    [0, 1]
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=200).fit(_bent_ranks(train, train), labels)
    chances: FloatArray = model.predict_proba(_bent_ranks(test, train))
    return chances


def _bent_ranks(numbers: FloatArray, reference: FloatArray) -> FloatArray:
    """Rank (N, F) numbers among reference ones, 0 to 1, beside what exceeds each knot: (N, 5 F)."""
    ranks = np.stack(
        [
            (np.searchsorted(known, column, "left") + np.searchsorted(known, column, "right"))
            / (2 * len(known))
            for known, column in zip(np.sort(reference, axis=0).T, numbers.T, strict=True)
        ],
        axis=1,
    )
    return np.concatenate([ranks, *(np.maximum(0, ranks - knot) for knot in _KNOTS)], axis=1)


def _auroc(probabilities: FloatArray, labels: IntArray, groups: np.ndarray, seed: int) -> Interval:
    def auroc(
        labels: IntArray, probabilities: FloatArray, weights: FloatArray
    ) -> dict[str, FloatArray]:
        return {"auroc": weighted_auroc(labels, probabilities, weights)}

    patients = [str(group) for group in groups]
    return patient_bootstrap(labels, probabilities, patients, auroc, _RESAMPLES, seed)["auroc"]
