"""From a table of predictions to metrics with confidence intervals."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import glcm_mae
from glcm_mae.evaluation.bootstrap import CONFIDENCE, patient_bootstrap
from glcm_mae.evaluation.metrics import (
    CLASS_METRICS,
    OVERALL_METRICS,
    positive_class,
    weighted_metrics,
)
from glcm_mae.files import write_atomically
from glcm_mae.predictions import Predictions, read_predictions

_UNITS = {"by_image": "by image", "by_patient": "by patient"}


def evaluate(
    predictions_csv: str | Path,
    out: str | Path | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
    positive: str | None = None,
) -> dict[str, Any]:
    """Measure a table of predictions by image and by patient, and write `metrics.json`.

    By patient, the probabilities of a patient's images are averaged first. Predictions of several
    folds are pooled, which takes the scores of the folds' models to be on one scale; with several
    training seeds, each metric is the mean over seeds. Every interval resamples patients
    (`patient_bootstrap`).

    Parameters
    ----------
    predictions_csv : str or pathlib.Path
        The table, as `read_predictions` describes it.
    out : str or pathlib.Path, optional
        The file to write. Default: ``metrics.json`` next to the predictions.
    n_resamples, seed : int
        As for `patient_bootstrap`.
    positive : str, optional
        For two classes, the one that the overall AUROC, AUPRC, sensitivity and specificity
        describe. Default: the last in the order of the columns.

    Returns
    -------
    dict
        What was written:

        - ``glcm_mae``: the version; ``settings``: what the numbers depend on.
        - ``classes``, ``n_images``, ``n_patients``, and ``n_folds``, ``n_seeds`` where the table
          tells.
        - ``patients``: a sentence on what patients are here.
        - ``by_image`` and ``by_patient``, each with ``overall`` (metric to number), ``per_class``
          (class to metric to number), ``class_counts``, and ``confusion_matrix`` (a row per true
          class, a column per predicted class, summed over seeds). ``by_patient`` is None where
          it would repeat ``by_image`` or patients have no one label; ``patients`` says which.

        A number is a dict of ``value``, ``low``, ``high``, ``n_images``, ``n_patients``, and
        ``undefined`` where some resamples could not define it. None stands for undefined. The
        metrics are those of `compute_metrics`.

    Raises
    ------
    UserError
        If the table is wrong, a setting is, or the result cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "predictions.csv"
    >>> Predictions(
    ...     paths=("a.png", "b.png", "c.png", "d.png"),
    ...     patients=("1", "2", "3", "4"),
    ...     labels=np.array([0, 0, 1, 1]),
    ...     classes=("benign", "malignant"),
    ...     probabilities=np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]]),
    ... ).write(file)
    >>> metrics = evaluate(file)
    >>> metrics["by_image"]["overall"]["auroc"]["value"]
    0.75
    >>> metrics["by_image"]["confusion_matrix"], metrics["patients"]
    ([[1, 1], [1, 1]], 'every patient has one image')
    """
    source = Path(predictions_csv)
    target = source.with_name("metrics.json") if out is None else Path(out)
    predictions = read_predictions(source)
    measure = partial(
        _measure, images=predictions, positive=positive, n_resamples=n_resamples, seed=seed
    )
    about_patients = _about_patients(predictions)
    metrics: dict[str, Any] = {
        "glcm_mae": glcm_mae.__version__,
        "settings": {
            "predictions": source.name,
            "positive": positive_class(predictions.classes, positive),
            "interval": "percentiles of a bootstrap that resamples patients",
            "confidence": CONFIDENCE,
            "n_resamples": n_resamples,
            "seed": seed,
        },
        "classes": list(predictions.classes),
        "n_images": predictions.n_images,
        "n_patients": predictions.n_patients,
        **_n_different("n_folds", predictions.folds),
        **_n_different("n_seeds", predictions.seeds),
        "patients": about_patients or "probabilities are averaged over the images of a patient",
        "by_image": measure(predictions),
        "by_patient": None if about_patients else measure(predictions.by_patient()),
    }
    text = json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(target, text)
    return metrics


def format_table(metrics: dict[str, Any]) -> str:
    """Lay out the result of `evaluate` as plain text for a terminal.

    Parameters
    ----------
    metrics : dict
        What `evaluate` returned or wrote.

    Returns
    -------
    str
        A row for each metric, overall and then for each class; a column by image and, where it
        says something else, one by patient; numbers as ``0.812 [0.761, 0.858]``; notes below on
        what the intervals are and where they cannot be trusted.

    Examples
    --------
    >>> number = {"value": 0.812, "low": 0.761, "high": 0.858, "n_images": 80, "n_patients": 80}
    >>> metrics = {
    ...     "settings": {"confidence": 0.95, "n_resamples": 2000, "seed": 0, "positive": "cyst"},
    ...     "n_images": 80,
    ...     "n_patients": 80,
    ...     "patients": "every patient has one image",
    ...     "by_image": {"overall": {"auroc": number}, "per_class": {"cyst": {"f1": number}}},
    ...     "by_patient": None,
    ... }
    >>> print(format_table(metrics))
           by image
    auroc  0.812 [0.761, 0.858]
    <BLANKLINE>
    cyst
      f1   0.812 [0.761, 0.858]
    <BLANKLINE>
    80 images, 80 patients: every patient has one image.
    Intervals: 95%, 2000 resamples of patients, seed 0.
    Overall auroc, auprc, sensitivity and specificity are those of class 'cyst'.
    """
    units = {title: metrics[unit] for unit, title in _UNITS.items() if metrics[unit]}
    first = metrics["by_image"]
    rows = [["", *units]]
    for name in first["overall"]:
        rows.append([name, *(_cell(unit["overall"][name]) for unit in units.values())])
    for class_name, of_class in first["per_class"].items():
        rows += [[], [" ".join(class_name.split())]]
        for name in of_class:
            cells = (_cell(unit["per_class"][class_name][name]) for unit in units.values())
            rows.append([f"  {name}", *cells])
    return "\n".join([*_aligned(rows), "", *_notes(metrics, list(units.values()))])


def _measure(
    table: Predictions,
    *,
    images: Predictions,
    positive: str | None,
    n_resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Everything that is reported for one table, by image or by patient."""
    statistic = partial(
        weighted_metrics, classes=table.classes, positive=positive, seeds=table.seeds
    )
    intervals = patient_bootstrap(
        table.labels, table.probabilities, table.patients, statistic, n_resamples, seed
    )
    sizes = {"n_images": images.n_images, "n_patients": images.n_patients}
    numbers = {name: {**i.to_json(), **sizes} for name, i in intervals.items()}
    k = len(table.classes)
    cells = table.labels * k + table.probabilities.argmax(1)
    label_of = dict(zip(table.paths, table.labels.tolist(), strict=True))
    counts = np.bincount(list(label_of.values()), minlength=k).tolist()
    return {
        "overall": {name: numbers[name] for name in OVERALL_METRICS},
        "per_class": {
            c: {name: numbers[f"{name}/{c}"] for name in CLASS_METRICS} for c in table.classes
        },
        "class_counts": dict(zip(table.classes, counts, strict=True)),
        "confusion_matrix": np.bincount(cells, minlength=k * k).reshape(k, k).tolist(),
    }


def _about_patients(predictions: Predictions) -> str | None:
    """Say why there are no separate metrics by patient, or None where there are."""
    if predictions.patients == predictions.paths:
        return (
            "no patients are known, so each image counts as one; if patients have several images, "
            "the intervals are too narrow and the split may leak"
        )
    if predictions.n_patients == predictions.n_images:
        return "every patient has one image"
    if predictions.n_mixed_patients:
        return (
            f"{predictions.n_mixed_patients} of them have images of more than one class, "
            "so there are no metrics by patient"
        )
    return None


def _n_different(name: str, values: Any) -> dict[str, int]:
    return {} if values is None else {name: len(np.unique(values))}


def _cell(number: dict[str, Any]) -> str:
    if number["value"] is None:
        return "undefined"
    if number["low"] is None:
        return f"{number['value']:.3f} [undefined]"
    return f"{number['value']:.3f} [{number['low']:.3f}, {number['high']:.3f}]"


def _aligned(rows: list[list[str]]) -> list[str]:
    """Pad full rows to columns; a shorter row is a heading and stays out of the widths."""
    full = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
        for row in rows
    ]


def _notes(metrics: dict[str, Any], units: list[dict[str, Any]]) -> list[str]:
    settings = metrics["settings"]
    notes = [
        f"{metrics['n_images']} images, {metrics['n_patients']} patients: {metrics['patients']}.",
        f"Intervals: {settings['confidence']:.0%}, {settings['n_resamples']} resamples of "
        f"patients, seed {settings['seed']}.",
    ]
    positive = settings["positive"]
    notes.append(
        f"Overall auroc, auprc, sensitivity and specificity are those of class {positive!r}."
        if positive
        else "Overall auroc, auprc, sensitivity, specificity and macro_f1 are means over classes."
    )
    numbers = [
        number
        for unit in units
        for group in (unit["overall"], *unit["per_class"].values())
        for number in group.values()
    ]
    most_undefined = max(number.get("undefined", 0) for number in numbers)
    if most_undefined:
        notes.append(
            f"Up to {most_undefined} resamples lacked a class and were left out of an interval."
        )
    if any(n["low"] is not None and n["low"] == n["high"] for n in numbers):
        notes.append("An interval of no width means that the resamples cannot tell, not certainty.")
    return notes
