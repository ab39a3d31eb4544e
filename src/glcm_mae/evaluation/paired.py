"""Whether two arms differ, judged on the same images and the same resamples."""

import os
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from glcm_mae.errors import UserError
from glcm_mae.evaluation.bootstrap import CONFIDENCE
from glcm_mae.evaluation.crossed import crossed_bootstrap, crossed_interval
from glcm_mae.evaluation.metrics import positive_class, range_of
from glcm_mae.evaluation.of_seeds import metrics_of_seeds
from glcm_mae.files import common_folder
from glcm_mae.predictions import Predictions, read_predictions
from glcm_mae.provenance import made_by


def paired_difference(
    predictions_a: Predictions | str | Path,
    predictions_b: Predictions | str | Path,
    statistic: str = "auroc",
    *,
    positive: str | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Difference of a metric between two arms, b minus a, with its 95% interval.

    Both arms are measured on the same resamples of patients, so what makes an image hard for both
    cancels, and the interval of the difference is as narrow as the data allow; two separate
    intervals that overlap do not show that the arms are alike. An interval that holds 0 says
    that these patients do not tell the arms apart. With several training seeds, each arm's metric
    is the mean over its seeds, and the interval is for other seeds, too, paired seed by seed
    (`crossed_interval`); an arm of one seed stands for all. With one seed it leaves out the chance
    in training: compare arms over several before believing a small difference.

    Parameters
    ----------
    predictions_a, predictions_b : Predictions, str or pathlib.Path
        Tables, or their CSV files, over the same images in any order, with the same patients,
        labels, folds and classes. Their paths may be spelled from the root or from the folder in
        which this runs. Where patients are known and the images of one lie in another folder than
        those of the other, their paths below it are compared. For a comparison by patient give
        ``table.by_patient()``.
    statistic : str
        A name of `compute_metrics`: ``"auroc"``, ``"sensitivity/malignant"``, ...
    positive : str, optional
        As for `compute_metrics`.
    n_resamples, seed : int
        As for `crossed_bootstrap`.

    Returns
    -------
    dict
        ``a``, ``b`` and ``difference``, each a dict of ``value``, ``low``, ``high`` (and
        ``undefined`` where some resamples were), None standing for undefined; ``n_images``,
        ``n_patients`` and ``n_seeds`` (of ``a`` and ``b``); ``folders`` of both, where they are
        not the same; ``settings``, and what `made_by` tells. Ready for JSON.

    Raises
    ------
    UserError
        If a seed lacks images, the tables do not hold the same images, labels, patients, folds,
        classes and (of several) seeds, or the metric is not known.

    Examples
    --------
    >>> def arm(*malignant):
    ...     p = np.array(malignant)
    ...     images = ("1", "2", "3", "4")
    ...     labels = np.array([0, 0, 1, 1])
    ...     return Predictions(images, images, labels, ("b", "m"), np.stack([1 - p, p], 1))
    >>> result = paired_difference(arm(0.2, 0.6, 0.4, 0.9), arm(0.2, 0.3, 0.4, 0.9))
    >>> result["a"]["value"], result["b"]["value"], result["difference"]["value"]
    (0.75, 1.0, 0.25)
    """
    a, b, folders = _named_alike(_table(predictions_a), _table(predictions_b))
    a.check_seeds()
    b.check_seeds()
    both = f"{_name(predictions_a, 'a')} and {_name(predictions_b, 'b')}"
    _check_same_seeds(a, b, both)
    _check_same_images(a, b, both)
    measured = crossed_bootstrap(
        {
            "a": metrics_of_seeds(a, positive),
            "b": metrics_of_seeds(b, positive, start=len(a.paths)),
        },
        # One table under the other: a patient drawn twice then counts twice in both arms.
        np.array(a.patients + b.patients),
        None if a.folds is None or b.folds is None else np.concatenate([a.folds, b.folds]),
        n_resamples,
        seed,
    )
    if statistic not in measured["a"]:
        known = ", ".join(measured["a"])
        raise UserError(f"statistic={statistic!r} is not known: choose one of {known}.")
    of_a, of_b = measured["a"][statistic], measured["b"][statistic]
    lowest, highest = range_of(statistic)
    intervals = {
        "a": crossed_interval(of_a, a.n_patients, (lowest, highest)),
        "b": crossed_interval(of_b, b.n_patients, (lowest, highest)),
        "difference": crossed_interval(of_b - of_a, a.n_patients, (-highest, highest)),
    }
    return {
        **made_by(),
        "settings": {
            "statistic": statistic,
            "positive": positive_class(a.classes, positive),
            "n_resamples": n_resamples,
            "seed": seed,
            "confidence": CONFIDENCE,
        },
        "n_images": a.n_images,
        "n_patients": a.n_patients,
        "n_seeds": {name: len(table.rows_of_seeds()) for name, table in (("a", a), ("b", b))},
        **({"folders": folders} if folders else {}),
        **{name: interval.to_json() for name, interval in intervals.items()},
    }


def _named_alike(a: Predictions, b: Predictions) -> tuple[Predictions, Predictions, list[str]]:
    """Name images so that two tables hold the same, if they do.

    That is by their paths in full, or by where they lie below their folders, which are then told.
    """
    if set(a.paths) == set(b.paths):
        return a, b, []
    full = _in_full(a), _in_full(b)
    if set(full[0].paths) == set(full[1].paths):
        return *full, []
    are_known = a.patients != a.paths and b.patients != b.paths  # else 1.png is like any other
    if not are_known:
        return a, b, []
    folders = [common_folder(table.paths) for table in (a, b)]
    below = [_without(table, folder) for table, folder in zip((a, b), folders, strict=True)]
    if set(below[0].paths) != set(below[1].paths):
        return a, b, []
    return below[0], below[1], folders


def _in_full(table: Predictions) -> Predictions:
    """Spell paths from the root, and patients, of whom an image or its file may be the name."""
    paths, patients = (
        tuple(map(os.path.abspath, names)) for names in (table.paths, table.patients)
    )
    return replace(table, paths=paths, patients=patients)


def _without(table: Predictions, folder: str) -> Predictions:
    def below(name: str) -> str:
        path = PurePath(name)
        return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else name

    return replace(table, paths=tuple(map(below, table.paths)))


def _check_same_seeds(a: Predictions, b: Predictions, both: str) -> None:
    """Refuse two arms of several seeds each that are not the same: they are compared in pairs."""
    seeds_a, seeds_b = (set() if t.seeds is None else set(t.seeds.tolist()) for t in (a, b))
    if min(len(seeds_a), len(seeds_b)) > 1 and seeds_a != seeds_b:
        listed = [", ".join(map(str, sorted(seeds))) for seeds in (seeds_a, seeds_b)]
        raise UserError(
            f"{both} are of the seeds {listed[0]} and {listed[1]}: compare arms of the same seeds."
        )


def _table(predictions: Predictions | str | Path) -> Predictions:
    return predictions if isinstance(predictions, Predictions) else read_predictions(predictions)


def _name(predictions: Predictions | str | Path, arm: str) -> str:
    return f"predictions_{arm}" if isinstance(predictions, Predictions) else str(predictions)


def _check_same_images(a: Predictions, b: Predictions, both: str) -> None:
    if a.classes != b.classes:
        raise UserError(
            f"{both} have other classes, {a.classes} and {b.classes}: "
            "compare arms of one task, with the probability columns in one order."
        )
    facts_a, facts_b = (
        dict(zip(t.paths, zip(t.patients, t.labels.tolist(), strict=True), strict=True))
        for t in (a, b)
    )
    alone = len(facts_a.keys() ^ facts_b.keys())
    if alone:
        raise UserError(
            f"{both} do not hold the same images, {alone} are in only "
            "one of them: test both arms on one split."
        )
    differ = sum(facts_a[path] != facts_b[path] for path in facts_a)
    if differ:
        raise UserError(
            f"{both} give {differ} images another label or patient: write both from one manifest."
        )
    by_seed = len(a.rows_of_seeds()) > 1 and len(b.rows_of_seeds()) > 1
    folds_a, folds_b = _folds_of(a, by_seed), _folds_of(b, by_seed)
    elsewhere = sum(folds_a[key] != folds_b[key] for key in folds_a)
    if elsewhere:
        raise UserError(
            f"{both} test {elsewhere} images in other folds (or one of "
            "them has no column fold): scores are ranked within folds, so test both in the same."
        )


def _folds_of(table: Predictions, by_seed: bool) -> dict[tuple[str, int], set[int]]:
    """Folds in which each image is tested, of each seed; none where there are no folds."""
    n = len(table.paths)
    seeds = table.seeds.tolist() if by_seed and table.seeds is not None else [0] * n
    folds: list[set[int]] = [set()] * n
    if table.folds is not None:
        folds = [{fold} for fold in table.folds.tolist()]
    tested: dict[tuple[str, int], set[int]] = {}
    for path, seed, fold in zip(table.paths, seeds, folds, strict=True):
        tested[path, seed] = tested.get((path, seed), set()) | fold
    return tested
