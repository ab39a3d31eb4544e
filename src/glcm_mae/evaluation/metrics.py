"""Metrics of classification, for one sample or for many weighted resamples at once.

Every metric is computed from a matrix of weights (R, N): how often each of N images counts in each
of R resamples. One sample is the case R = 1 with weights of one, so the estimate and its bootstrap
replicates come from the same lines. Sorting by score is done once for all resamples.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from glcm_mae.errors import UserError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

OVERALL_METRICS = (
    "auroc",
    "auprc",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "macro_f1",
)
CLASS_METRICS = (
    "auroc",
    "auprc",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "f1",
)


def compute_metrics(
    labels: IntArray,
    probabilities: FloatArray,
    *,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
) -> dict[str, float]:
    """Metrics of one sample, overall and for each class against the rest.

    The predicted class is the one of the highest probability (the first of equals).

    ===================== ===================================== ===============================
    name                  for one class against the rest        overall
    ===================== ===================================== ===============================
    ``auroc``             area under the ROC curve: the chance  of the positive class (K = 2),
                          that a case scores above a non-case,  macro mean (K > 2)
                          ties counting half [1]_
    ``auprc``             average precision: the precision at   as for ``auroc``
                          each threshold, weighted by the rise
                          in recall, not interpolated [2]_
    ``accuracy``          share of images on the right side     share given their own class
    ``balanced_accuracy`` mean of sensitivity and specificity   mean sensitivity of the classes
                                                                [3]_
    ``sensitivity``       share of cases found                  as for ``auroc``
    ``specificity``       share of non-cases left alone         as for ``auroc``
    ``f1``, ``macro_f1``  2 TP / (2 TP + FP + FN)               macro mean, also for K = 2
    ===================== ===================================== ===============================

    A metric that the sample cannot define is NaN, never an error: sensitivity, F1 and AUPRC where
    the class does not occur, specificity where nothing else occurs, AUROC and balanced accuracy
    in both cases. A macro mean is NaN where one of its terms is: a mean over the classes that
    happen to be there would be another metric.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        True classes, 0 to K - 1.
    probabilities : ndarray of float, shape (N, K)
        Scores of the classes; only their order within a column (AUROC, AUPRC) and within a row
        (the others) matters. No NaN.
    classes : sequence of str, length K, optional
        Names of the classes. Default: ``"0"``, ``"1"``, ...
    positive : str, optional
        For two classes, the one that the overall AUROC, AUPRC, sensitivity and specificity
        describe. Default: the last.

    Returns
    -------
    dict of str to float
        Overall metrics under their names, then ``<metric>/<class>`` for each class.

    Raises
    ------
    UserError
        If `positive` is not a class, or there are more than two classes.
    ValueError
        If the arrays do not fit each other or hold NaN.

    References
    ----------
    .. [1] Mann, Whitney, "On a test of whether one of two random variables is stochastically
       larger than the other", Annals of Mathematical Statistics 18 (1947) 50-60; Fawcett, "An
       introduction to ROC analysis", Pattern Recognition Letters 27 (2006) 861-874, for the means
       over classes.
    .. [2] Davis, Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006,
       for why not interpolated.
    .. [3] Brodersen, Ong, Stephan, Buhmann, "The balanced accuracy and its posterior
       distribution", ICPR 2010.

    Examples
    --------
    >>> labels = np.array([0, 0, 1, 1])
    >>> probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])
    >>> metrics = compute_metrics(labels, probabilities, classes=("benign", "malignant"))
    >>> metrics["auroc"], metrics["sensitivity/malignant"], metrics["accuracy"]
    (0.75, 0.5, 0.75)
    >>> compute_metrics(labels[:2], probabilities[:2])["auroc"]  # one class only
    nan
    """
    weights = np.ones((1, len(labels)))
    metrics = weighted_metrics(labels, probabilities, weights, classes=classes, positive=positive)
    return {name: float(value[0]) for name, value in metrics.items()}


def weighted_metrics(
    labels: IntArray,
    probabilities: FloatArray,
    weights: FloatArray,
    *,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
    seeds: IntArray | None = None,
) -> dict[str, FloatArray]:
    """Compute the metrics of `compute_metrics` for R resamples at once.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        True classes, 0 to K - 1.
    probabilities : ndarray of float, shape (N, K)
        Scores of the classes. No NaN.
    weights : ndarray of float, shape (R, N)
        How often each image counts in each resample, >= 0.
    classes, positive
        As for `compute_metrics`.
    seeds : ndarray of int, shape (N,), optional
        Training seed of the model behind each row. If given, each metric is computed within each
        seed and then averaged over seeds, since scores of different models share no scale.

    Returns
    -------
    dict of str to ndarray of shape (R,)
        As `compute_metrics`, one value per resample.

    Raises
    ------
    UserError, ValueError
        As for `compute_metrics`.

    Examples
    --------
    >>> labels = np.array([0, 1, 1])
    >>> probabilities = np.array([[0.6, 0.4], [0.3, 0.7], [0.8, 0.2]])
    >>> weights = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 0.0], [3.0, 0.0, 0.0]])
    >>> weighted_metrics(labels, probabilities, weights)["auroc"]
    array([0.5, 1. , nan])
    """
    _check_arrays(labels, probabilities)
    k = probabilities.shape[1]
    names = tuple(map(str, range(k))) if classes is None else tuple(classes)
    if len(names) != k:
        raise ValueError(f"{k} columns of probabilities need {k} names of classes, not {names}")
    positive = positive_class(names, positive)
    if seeds is None:
        return _metrics(labels, probabilities, weights, names, positive)
    groups = [np.flatnonzero(seeds == seed) for seed in np.unique(seeds)]
    of_seeds = [
        _metrics(labels[rows], probabilities[rows], weights[:, rows], names, positive)
        for rows in groups
    ]
    return {name: np.mean([m[name] for m in of_seeds], axis=0) for name in of_seeds[0]}


def positive_class(classes: Sequence[str], positive: str | None = None) -> str | None:
    """Name the class that overall AUROC, AUPRC, sensitivity and specificity describe.

    Parameters
    ----------
    classes : sequence of str, length K
        Names of the classes.
    positive : str, optional
        The user's choice, for two classes. Default: the last.

    Returns
    -------
    str or None
        None where K is not 2: the overall metrics are then macro means.

    Raises
    ------
    UserError
        If `positive` is not a class, or there are more than two classes.

    Examples
    --------
    >>> positive_class(("benign", "malignant"))
    'malignant'
    >>> positive_class(("benign", "malignant", "normal")) is None
    True
    """
    if positive is None:
        return classes[-1] if len(classes) == 2 else None
    if positive not in classes:
        raise UserError(
            f"positive={positive!r} is not a class: choose one of {', '.join(map(repr, classes))}."
        )
    if len(classes) > 2:
        raise UserError(
            f"positive={positive!r} needs two classes and there are {len(classes)}: leave it out "
            "and read the metrics of that class against the rest."
        )
    return positive


def _metrics(
    labels: IntArray,
    probabilities: FloatArray,
    weights: FloatArray,
    names: tuple[str, ...],
    positive: str | None,
) -> dict[str, FloatArray]:
    k = len(names)
    is_class = np.eye(k)[labels]
    is_called = np.eye(k)[probabilities.argmax(1)]
    total = weights.sum(1, keepdims=True)
    # (R, K): weight of the images of each class, called each class, and both
    actual, called, hit = weights @ is_class, weights @ is_called, weights @ (is_class * is_called)
    left_alone = total - actual - called + hit

    ranked = [_auroc_auprc(is_class[:, c] > 0, probabilities[:, c], weights) for c in range(k)]
    of_class = {
        "auroc": np.stack([auroc for auroc, _ in ranked], axis=1),
        "auprc": np.stack([auprc for _, auprc in ranked], axis=1),
        "accuracy": _ratio(hit + left_alone, total),
        "sensitivity": _ratio(hit, actual),
        "specificity": _ratio(left_alone, total - actual),
        "f1": _ratio(2 * hit, np.where(actual > 0, actual + called, 0)),
    }
    of_class["balanced_accuracy"] = (of_class["sensitivity"] + of_class["specificity"]) / 2
    summary = {
        name: values.mean(1) if positive is None else values[:, names.index(positive)]
        for name, values in of_class.items()
    }
    summary["accuracy"] = _ratio(hit.sum(1), total[:, 0])
    summary["balanced_accuracy"] = of_class["sensitivity"].mean(1)
    summary["macro_f1"] = of_class["f1"].mean(1)
    overall = {name: summary[name] for name in OVERALL_METRICS}
    per_class = {
        f"{metric}/{name}": of_class[metric][:, c]
        for c, name in enumerate(names)
        for metric in CLASS_METRICS
    }
    return overall | per_class


def _auroc_auprc(
    is_case: NDArray[np.bool_], scores: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """AUROC and average precision (R,) of one class, equal scores forming one threshold."""
    if not len(scores):
        nothing = np.full(len(weights), np.nan)
        return nothing, nothing
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    starts = np.flatnonzero(np.r_[True, falling[1:] != falling[:-1]])
    by_score = weights[:, order]
    # (R, T): weight at each of T thresholds, from the highest score down
    everyone = np.add.reduceat(by_score, starts, axis=1)
    cases = np.add.reduceat(by_score * is_case[order], starts, axis=1)
    others = everyone - cases
    cases_above = np.cumsum(cases, axis=1)
    others_above = np.cumsum(others, axis=1)
    n_cases, n_others = cases_above[:, -1], others_above[:, -1]

    others_below = n_others[:, None] - others_above + others / 2  # ties count half
    auroc = _ratio(np.einsum("rt,rt->r", cases, others_below), n_cases * n_others)
    flagged = cases_above + others_above
    precision = np.divide(cases_above, flagged, out=np.zeros_like(flagged), where=flagged > 0)
    auprc = _ratio(np.einsum("rt,rt->r", cases, precision), n_cases)
    return auroc, auprc


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Divide, with NaN where the whole is empty."""
    result = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def _check_arrays(labels: IntArray, probabilities: FloatArray) -> None:
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError(
            f"labels (N,) and probabilities (N, K) do not fit: {labels.shape}, "
            f"{probabilities.shape}"
        )
    k = probabilities.shape[1]
    if not np.all((labels >= 0) & (labels < k)):
        raise ValueError(f"labels must lie in 0 to {k - 1}")
    if np.isnan(probabilities).any():
        raise ValueError("probabilities must not be NaN")
