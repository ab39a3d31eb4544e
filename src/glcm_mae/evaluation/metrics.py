"""Metrics of classification, for one sample or for many weighted resamples at once.

Every metric is computed from a matrix of weights (R, N): how often each of N images counts in each
of R resamples. One sample is the case R = 1 with weights of one, so the estimate and its bootstrap
replicates come from the same lines. Sorting by score is done once for all resamples.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glcm_mae.errors import UserError
from glcm_mae.evaluation.calibration import calibration_error
from glcm_mae.evaluation.inputs import as_predictions, check_one_each
from glcm_mae.evaluation.ties import sum_ties, tie_starts

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

OVERALL_METRICS = (
    "auroc",
    "auprc",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "macro_f1",
    "brier",
    "ece",
)
CLASS_METRICS = (
    "auroc",
    "auprc",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "f1",
    "brier",
    "ece",
)


def compute_metrics(
    labels: ArrayLike,
    probabilities: ArrayLike,
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
    ``ppv``, ``npv``      predictive values: share of cases     as for ``auroc``
                          among what is called one, and of
                          non-cases among what is not
    ``f1``, ``macro_f1``  2 TP / (2 TP + FP + FN)               macro mean, also for K = 2
    ``brier``             mean of (p - y)^2, 0 to 1; y is 1 for mean of the sum of (p_k - y_k)^2
                          a case and 0 for others               over classes, 0 to 2 [4]_
    ``ece``               calibration error of the class's      of the highest probability, as a
                          probability (`calibration_error`)     claim that its class is right
    ===================== ===================================== ===============================

    For two classes, the overall Brier score is thus twice that of either class. Predictive values
    are those of the sample's mix of classes: where cases are rarer, so is their share among what is
    called one.

    A metric that the sample cannot define is NaN, never an error: sensitivity and F1 where the
    class does not occur, specificity where nothing else occurs, AUROC, AUPRC and balanced accuracy
    in both cases, predictive values where nothing, or everything, is called a case. A macro mean is
    NaN where one of its terms is: a mean over the classes that happen to be there would be another
    metric.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
        True classes, 0 to K - 1.
    probabilities : array_like of float, shape (N, K) or (N,)
        Scores of the classes, or the probability of class 1 of two. Brier score and calibration
        error take them for probabilities; for the other metrics only their order within a column
        (AUROC, AUPRC) or a row matters.
    classes : sequence of str, length K, optional
        Names of the classes. Default: ``"0"``, ``"1"``, ...
    positive : str, optional
        For two classes, the one that the overall AUROC, AUPRC, sensitivity, specificity and
        predictive values describe. Default: the last.

    Returns
    -------
    dict of str to float
        Overall metrics under their names, then ``<metric>/<class>`` for each class.

    Raises
    ------
    UserError
        If `positive` is not a class, or there are more than two classes.
    ValueError
        If the arrays do not fit each other, hold NaN or infinity, or labels of other classes.

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
    .. [4] Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather
       Review 78 (1950) 1-3.

    Examples
    --------
    >>> labels = np.array([0, 0, 1, 1])
    >>> probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])
    >>> metrics = compute_metrics(labels, probabilities, classes=("benign", "malignant"))
    >>> metrics["auroc"], metrics["sensitivity/malignant"], metrics["accuracy"]
    (0.75, 0.5, 0.75)
    >>> compute_metrics(labels[:2], probabilities[:2])["auroc"]  # one class only
    nan
    >>> compute_metrics([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])["auroc"]  # of class 1
    0.75
    """
    labels, probabilities = as_predictions(labels, probabilities)
    weights = np.ones((1, len(labels)))
    metrics = weighted_metrics(labels, probabilities, weights, classes=classes, positive=positive)
    return {name: float(value[0]) for name, value in metrics.items()}


def weighted_metrics(
    labels: ArrayLike,
    probabilities: ArrayLike,
    weights: FloatArray,
    *,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
    folds: IntArray | None = None,
) -> dict[str, FloatArray]:
    """Compute the metrics of `compute_metrics` for R resamples at once.

    Each fold of a cross-validation has a model of its own, and models share no scale of scores: an
    order of all out-of-fold scores mixes the models' offsets into the AUROC and makes it too low
    [1]_. So AUROC and AUPRC look within folds: the AUROC is the chance that a case scores above a
    non-case *of the same fold*, and the AUPRC the mean over cases of the precision within the fold.
    Each fold thus counts by its pairs (its cases), where the cross-validated AUROC of LeDell and
    others [2]_ counts all folds alike: the same in folds of equal make-up, steadier where a fold
    has few cases, and still defined where a fold lacks a class, which then has no say. All other
    metrics judge one image at a time and pool the folds.

    Parameters
    ----------
    labels, probabilities
        As for `compute_metrics`.
    weights : ndarray of float, shape (R, N)
        How often each image counts in each resample, >= 0.
    classes, positive
        As for `compute_metrics`.
    folds : ndarray of int, shape (N,), optional
        Fold in which each row was tested. With two or more, ``pooled_auroc`` is given beside
        ``auroc``: that of all folds' scores in one order.

    Returns
    -------
    dict of str to ndarray of shape (R,)
        As `compute_metrics`, one value per resample.

    Raises
    ------
    UserError, ValueError
        As for `compute_metrics`.

    References
    ----------
    .. [1] Airola, Pahikkala, Waegeman, De Baets, Salakoski, "An experimental comparison of
       cross-validation techniques for estimating the area under the ROC curve", Computational
       Statistics & Data Analysis 55 (2011) 1828-1844.
    .. [2] LeDell, Petersen, van der Laan, "Computationally efficient confidence intervals for
       cross-validated area under the ROC curve estimates", Electronic Journal of Statistics 9
       (2015) 1583-1607.

    Examples
    --------
    >>> labels = np.array([0, 1, 1])
    >>> probabilities = np.array([[0.6, 0.4], [0.3, 0.7], [0.8, 0.2]])
    >>> weights = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 0.0], [3.0, 0.0, 0.0]])
    >>> weighted_metrics(labels, probabilities, weights)["auroc"]
    array([0.5, 1. , nan])

    Two folds, each of which ranks its own images well:

    >>> labels = np.array([0, 1, 0, 1])
    >>> case = np.array([0.1, 0.2, 0.8, 0.9])
    >>> metrics = weighted_metrics(
    ...     labels, np.stack([1 - case, case], 1), np.ones((1, 4)), folds=np.array([0, 0, 1, 1])
    ... )
    >>> metrics["auroc"], metrics["pooled_auroc"]
    (array([1.]), array([0.75]))
    """
    labels, probabilities = as_predictions(labels, probabilities)
    k = probabilities.shape[1]
    names = tuple(map(str, range(k))) if classes is None else tuple(classes)
    if len(names) != k:
        raise ValueError(f"{k} columns of probabilities need {k} names of classes, not {names}")
    positive = positive_class(names, positive)
    folds = np.zeros(len(labels), dtype=np.int64) if folds is None else folds
    check_one_each(len(labels), folds=folds, weights=weights[0])
    return _metrics(labels, probabilities, weights, names, positive, folds)


def weighted_auroc(labels: ArrayLike, probabilities: ArrayLike, weights: FloatArray) -> FloatArray:
    """Compute the overall AUROC of `weighted_metrics`, and nothing else, for R resamples at once.

    Parameters
    ----------
    labels, probabilities
        As for `compute_metrics`.
    weights : ndarray of float, shape (R, N)
        How often each image counts in each resample, >= 0.

    Returns
    -------
    ndarray of shape (R,)
        Of two classes that of the last, else the mean of each class against the rest.

    Raises
    ------
    UserError, ValueError
        As for `compute_metrics`.

    Examples
    --------
    >>> weighted_auroc([0, 1, 1], [0.4, 0.7, 0.2], np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 0.0]]))
    array([0.5, 1. ])
    """
    labels, probabilities = as_predictions(labels, probabilities)
    k = probabilities.shape[1]
    one_fold = np.zeros(len(labels), dtype=np.int64)
    of_class = [
        _auroc_auprc(labels == c, probabilities[:, c], weights, one_fold)[0]
        for c in range(k == 2, k)  # of two classes the last alone
    ]
    overall: FloatArray = np.stack(of_class, axis=1).mean(1)
    return overall


def range_of(metric: str) -> tuple[float, float]:
    """Say between which values a metric lies.

    Parameters
    ----------
    metric : str
        A name of `compute_metrics`.

    Returns
    -------
    float, float

    Examples
    --------
    >>> range_of("auroc"), range_of("brier"), range_of("brier/benign")
    ((0.0, 1.0), (0.0, 2.0), (0.0, 1.0))
    """
    return 0.0, 2.0 if metric == "brier" else 1.0


def positive_class(classes: Sequence[str], positive: str | None = None) -> str | None:
    """Name the class that overall AUROC, AUPRC, sensitivity, specificity, PPV and NPV describe.

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


def decision_metrics(
    is_class: FloatArray, is_called: FloatArray, weights: FloatArray
) -> dict[str, FloatArray]:
    """Compute the metrics of C yes-or-no decisions on each image, for R resamples at once.

    Parameters
    ----------
    is_class : ndarray of float, shape (N, C)
        1 where the image is a case, else 0.
    is_called : ndarray of float, shape (N, C)
        1 where it is called one, else 0.
    weights : ndarray of float, shape (R, N)
        How often each image counts in each resample.

    Returns
    -------
    dict of str to ndarray of shape (R, C)
        ``accuracy``, ``balanced_accuracy``, ``sensitivity``, ``specificity``, ``ppv``, ``npv`` and
        ``f1``, as `compute_metrics` describes them for one class against the rest.

    Examples
    --------
    >>> is_class, is_called = np.array([[1.0], [1.0], [0.0]]), np.array([[1.0], [0.0], [0.0]])
    >>> decision_metrics(is_class, is_called, np.ones((1, 3)))["sensitivity"]
    array([[0.5]])
    """
    total = weights.sum(1, keepdims=True)
    # (R, C): weight of the cases, of what is called one, and of both
    actual, called, hit = weights @ is_class, weights @ is_called, weights @ (is_class * is_called)
    left_alone = total - actual - called + hit
    sensitivity = _ratio(hit, actual)
    specificity = _ratio(left_alone, total - actual)
    return {
        "accuracy": _ratio(hit + left_alone, total),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": _ratio(hit, called),
        "npv": _ratio(left_alone, total - called),
        "f1": _ratio(2 * hit, np.where(actual > 0, actual + called, 0)),
    }


def _metrics(
    labels: IntArray,
    probabilities: FloatArray,
    weights: FloatArray,
    names: tuple[str, ...],
    positive: str | None,
    folds: IntArray,
) -> dict[str, FloatArray]:
    k = len(names)
    predicted = probabilities.argmax(1)
    is_class, is_called = np.eye(k)[labels], np.eye(k)[predicted]
    squared_errors = (probabilities - is_class) ** 2
    total = weights.sum(1, keepdims=True)

    ranked = [
        _auroc_auprc(is_class[:, c] > 0, probabilities[:, c], weights, folds) for c in range(k)
    ]
    of_class = decision_metrics(is_class, is_called, weights) | {
        "auroc": np.stack([auroc for auroc, _ in ranked], axis=1),
        "auprc": np.stack([auprc for _, auprc in ranked], axis=1),
        "brier": _ratio(weights @ squared_errors, total),
        "ece": np.stack(
            [calibration_error(probabilities[:, c], is_class[:, c], weights) for c in range(k)],
            axis=1,
        ),
    }

    def over_classes(values: FloatArray) -> FloatArray:
        return values.mean(1) if positive is None else values[:, names.index(positive)]

    is_right = (predicted == labels).astype(np.float64)
    overall = {
        "auroc": over_classes(of_class["auroc"]),
        "auprc": over_classes(of_class["auprc"]),
        "accuracy": _ratio(weights @ is_right, total[:, 0]),
        "balanced_accuracy": of_class["sensitivity"].mean(1),
        "sensitivity": over_classes(of_class["sensitivity"]),
        "specificity": over_classes(of_class["specificity"]),
        "ppv": over_classes(of_class["ppv"]),
        "npv": over_classes(of_class["npv"]),
        "macro_f1": of_class["f1"].mean(1),
        "brier": of_class["brier"].sum(1),
        "ece": calibration_error(probabilities.max(1), is_right, weights),
    }
    if len(np.unique(folds)) > 1:
        as_one = np.zeros_like(folds)
        pooled = [
            _auroc_auprc(is_class[:, c] > 0, probabilities[:, c], weights, as_one)[0]
            for c in range(k)
        ]
        overall["pooled_auroc"] = over_classes(np.stack(pooled, axis=1))
    per_class = {
        f"{metric}/{name}": of_class[metric][:, c]
        for c, name in enumerate(names)
        for metric in CLASS_METRICS
    }
    return overall | per_class


def _auroc_auprc(
    is_case: NDArray[np.bool_], scores: FloatArray, weights: FloatArray, folds: IntArray
) -> tuple[FloatArray, FloatArray]:
    """AUROC and average precision (R,) of one class within folds, equal scores one threshold.

    Folds that hold cases alone, or none, say nothing of either.
    """
    pairs_won, n_pairs, precision_sum, n_cases = np.zeros((4, len(weights)))
    for fold in np.unique(folds):
        rows = np.flatnonzero(folds == fold)
        order = rows[np.argsort(-scores[rows], kind="stable")]
        falling = scores[order]
        starts = tie_starts(falling)
        by_score = weights[:, order]
        # (R, T): weight at each of T thresholds, from the highest score down
        everyone = sum_ties(by_score, starts)
        cases = sum_ties(by_score * is_case[order], starts)
        others = everyone - cases
        cases_above = np.cumsum(cases, axis=1)
        others_above = np.cumsum(others, axis=1)

        others_below = others_above[:, -1:] - others_above + others / 2  # ties count half
        pairs_won += np.einsum("rt,rt->r", cases, others_below)
        n_pairs += cases_above[:, -1] * others_above[:, -1]
        cases *= others_above[:, -1:] > 0
        flagged = cases_above + others_above
        precision = np.divide(cases_above, flagged, out=np.zeros_like(flagged), where=flagged > 0)
        precision_sum += np.einsum("rt,rt->r", cases, precision)
        n_cases += cases.sum(axis=1)
    return _ratio(pairs_won, n_pairs), _ratio(precision_sum, n_cases)


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Divide, with NaN where the whole is empty."""
    result = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result
