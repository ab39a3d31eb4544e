"""From a table of predictions to metrics with confidence intervals."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from glcm_mae.errors import UserError
from glcm_mae.evaluation.bootstrap import CONFIDENCE
from glcm_mae.evaluation.crossed import SeedStatistic, crossed_bootstrap, crossed_interval
from glcm_mae.evaluation.metrics import (
    CLASS_METRICS,
    FloatArray,
    IntArray,
    positive_class,
    range_of,
)
from glcm_mae.evaluation.of_seeds import metrics_of_seeds
from glcm_mae.evaluation.operating_point import Choice, operating_point
from glcm_mae.evaluation.thresholds import ThresholdCalls, calls_at_threshold, threshold_metrics
from glcm_mae.files import read_facts, write_atomically
from glcm_mae.predictions import Predictions, read_predictions
from glcm_mae.provenance import made_by

_INTERVAL = {
    False: "percentiles of a bootstrap that resamples patients",
    True: "of patients and seeds by Obuchowski and Rockette, from resampled patients",
}
SEEN = "test_images_seen_in_pretraining"


def evaluate(
    predictions_csv: str | Path,
    out: str | Path | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
    positive: str | None = None,
    about_patients: str | None = None,
    sensitivity: float | None = None,
    specificity: float | None = None,
) -> dict[str, Any]:
    """Measure a table of predictions by image and by patient, and write `metrics.json`.

    By patient, the probabilities of a patient's images are averaged first. With several folds,
    AUROC and AUPRC rank images within their fold only (`weighted_metrics` says why) and
    ``pooled_auroc`` ranks all of them. Every interval resamples patients; with several training
    seeds, each metric is the mean over seeds, and intervals are for other seeds, too
    (`crossed_interval`).

    An image is given the class of the highest probability. Where a ``validation.csv`` lies beside
    the predictions, which holds validation images in the same columns, sensitivity and
    specificity are also given at a threshold chosen there, for each fold and seed by itself
    (`calls_at_threshold`). The intervals take these thresholds as part of the models.

    Parameters
    ----------
    predictions_csv : str or pathlib.Path
        The table, as `read_predictions` describes it.
    out : str or pathlib.Path, optional
        The file to write. Default: ``metrics.json`` next to the predictions, or, as what a run
        has told stays, such as ``metrics-sensitivity-0.95.json`` where that is asked for.
    n_resamples, seed : int
        As for `crossed_bootstrap`.
    positive : str, optional
        For two classes, the one that the overall AUROC, AUPRC, sensitivity, specificity and
        predictive values describe. Default: the last in the order of the columns.
    about_patients : str, optional
        What stands in the column patient, if it is not patients: there are then no metrics by
        patient. Default: what an ``about.json`` beside the table tells (a study writes one), or
        else the table itself.
    sensitivity, specificity : float, optional
        What the threshold has at least on validation images, as for `operating_point`. Default:
        Youden's J.

    Returns
    -------
    dict
        What was written:

        - ``glcm_mae`` and ``code``: see `made_by`; ``settings``: what the numbers depend on.
        - ``classes``, ``n_images``, ``n_patients``, and ``n_folds``, ``n_seeds`` where the table
          tells, and ``test_images_seen_in_pretraining`` where there are any (`about.json` beside
          the table tells).
        - ``patients``: a sentence on what patients are here.
        - ``by_image`` and ``by_patient``, each with ``overall`` (metric to number), ``per_class``
          (class to metric to number), ``at_threshold``, ``class_counts``, and
          ``confusion_matrix`` (a row per true class, a column per predicted class, summed over
          seeds). ``by_patient`` is None where it would repeat ``by_image`` or patients have no
          one label; ``patients`` says which.

        ``at_threshold`` is None without validation images. Else it maps the positive class, or
        with more than two classes each class, to its ``metrics`` (metric to number) and its
        ``thresholds`` (a list of ``fold``, ``seed``, ``threshold`` and what it reached there,
        ``validation_sensitivity`` and ``validation_specificity``).

        A number is a dict of ``value``, ``low``, ``high``, ``n_images``, ``n_patients``, and
        ``undefined`` where some resamples could not define it. None stands for undefined. The
        metrics are those of `compute_metrics`.

    Raises
    ------
    UserError
        If the table is wrong, its seeds hold different images, a setting is wrong, validation
        images are missing for a threshold that is asked for, or the result cannot be written.

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
    words, choose = operating_point(sensitivity, specificity)
    source = Path(predictions_csv)
    target = metrics_file(source, sensitivity, specificity) if out is None else Path(out)
    predictions = read_predictions(source)
    try:
        predictions.check_seeds()
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    beside = source.with_name("validation.csv")
    validation = read_predictions(beside) if beside.exists() else None
    if validation is None and (sensitivity, specificity) != (None, None):
        raise UserError(
            f"there is no {beside}, on whose images a threshold is chosen: evaluate a run that has "
            "a validation part, or leave sensitivity and specificity out."
        )
    measure = partial(
        _measure,
        images=predictions,
        positive=positive,
        choose=choose,
        n_resamples=n_resamples,
        seed=seed,
    )
    told = _told_beside(source)
    about_patients = (
        about_patients or told.get("patients") or about_patients_of(predictions, validation)
    )
    by_patient = None
    if not about_patients:
        by_patient = measure(predictions.by_patient(), validation and validation.by_patient())
    metrics: dict[str, Any] = {
        **made_by(),
        "settings": {
            "predictions": source.name,
            "positive": positive_class(predictions.classes, positive),
            "threshold": validation and f"{words} on validation.csv, for each fold and seed",
            "interval": _INTERVAL[len(predictions.rows_of_seeds()) > 1],
            "confidence": CONFIDENCE,
            "n_resamples": n_resamples,
            "seed": seed,
        },
        "classes": list(predictions.classes),
        "n_images": predictions.n_images,
        "n_patients": predictions.n_patients,
        **_n_different("n_folds", predictions.folds),
        **_n_different("n_seeds", predictions.seeds),
        **({SEEN: told[SEEN]} if SEEN in told else {}),
        "patients": about_patients or "probabilities are averaged over the images of a patient",
        "by_image": measure(predictions, validation),
        "by_patient": by_patient,
    }
    text = json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(target, text)
    return metrics


def metrics_file(
    predictions_csv: Path, sensitivity: float | None = None, specificity: float | None = None
) -> Path:
    """Name the file beside a table to which `evaluate` writes.

    Examples
    --------
    >>> metrics_file(Path("run/predictions.csv"), sensitivity=0.95).as_posix()
    'run/metrics-sensitivity-0.95.json'
    """
    asked = {"sensitivity": sensitivity, "specificity": specificity}
    of = "".join(f"-{name}-{least}" for name, least in asked.items() if least is not None)
    return predictions_csv.with_name(f"metrics{of}.json")


def _measure(
    table: Predictions,
    validation: Predictions | None,
    *,
    images: Predictions,
    positive: str | None,
    choose: Choice,
    n_resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Everything that is reported for one table, by image or by patient."""
    sizes = {"n_images": images.n_images, "n_patients": images.n_patients}

    def measured(statistics: Sequence[SeedStatistic]) -> dict[str, Any]:
        found = crossed_bootstrap(
            {"": statistics}, np.array(table.patients), table.folds, n_resamples, seed
        )[""]
        return {
            name: {
                **crossed_interval(of_seeds, table.n_patients, range_of(name)).to_json(),
                **sizes,
            }
            for name, of_seeds in found.items()
        }

    numbers = measured(metrics_of_seeds(table, positive))
    at_threshold = None
    if validation is not None:
        case = positive_class(table.classes, positive)
        asked = table.classes if case is None else (case,)
        calls = {name: calls_at_threshold(table, validation, name, choose) for name in asked}
        at_threshold = {
            name: {
                "metrics": measured(
                    [
                        partial(_at_threshold, rows=rows, calls=calls[name], table=table)
                        for rows in table.rows_of_seeds()
                    ]
                ),
                "thresholds": calls[name].to_json(),
            }
            for name in asked
        }
    k = len(table.classes)
    cells = table.labels * k + table.probabilities.argmax(1)
    label_of = dict(zip(table.paths, table.labels.tolist(), strict=True))
    counts = np.bincount(list(label_of.values()), minlength=k).tolist()
    return {
        "overall": {name: numbers[name] for name in numbers if "/" not in name},
        "per_class": {
            c: {name: numbers[f"{name}/{c}"] for name in CLASS_METRICS} for c in table.classes
        },
        "at_threshold": at_threshold,
        "class_counts": dict(zip(table.classes, counts, strict=True)),
        "confusion_matrix": np.bincount(cells, minlength=k * k).reshape(k, k).tolist(),
    }


def _at_threshold(
    weights: FloatArray, *, rows: IntArray, calls: ThresholdCalls, table: Predictions
) -> dict[str, FloatArray]:
    """Metrics of the calls in one seed's rows."""
    is_case = table.labels[rows] == table.classes.index(calls.class_name)
    return threshold_metrics(is_case, calls.is_called[rows], weights[:, rows])


def about_patients_of(
    predictions: Predictions, validation: Predictions | None = None
) -> str | None:
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
    if validation is not None and validation.n_mixed_patients:
        return (
            f"{validation.n_mixed_patients} of those in the validation table have images of more "
            "than one class, so there are no metrics by patient"
        )
    return None


def _told_beside(table: Path) -> dict[str, Any]:
    mend = "copy it anew, or remove it if it is not of a run"
    return read_facts(table.with_name("about.json"), mend)


def _n_different(name: str, values: Any) -> dict[str, int]:
    return {} if values is None else {name: len(np.unique(values))}
