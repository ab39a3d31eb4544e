"""Confidence intervals from resampled patients."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from glcm_mae.errors import UserError
from glcm_mae.evaluation.inputs import as_patients, as_predictions
from glcm_mae.evaluation.metrics import FloatArray, IntArray, weighted_metrics

CONFIDENCE = 0.95

LEAST_RESAMPLES = 40
"""Fewer have no resample beyond the ends of a 95% interval."""

Statistic = Callable[[IntArray, FloatArray, FloatArray], Mapping[str, FloatArray]]
"""Maps labels (N,), probabilities (N, K) and weights (R, N) to named values (R,)."""

_CHUNK_ELEMENTS = 250_000  # images times resamples held at once: 2 MB an array, about a cache


@dataclass(frozen=True)
class Interval:
    """A value with its 95% confidence interval.

    Parameters
    ----------
    value : float
        The metric on the sample as it is. NaN where the sample cannot define it.
    low, high : float
        Ends of the interval. NaN where more than half of the resamples could not define the
        metric, or where there is one patient only.
    undefined : int
        How many resamples could not define the metric and were left out.
    """

    value: float
    low: float
    high: float
    undefined: int = 0

    def to_json(self) -> dict[str, float | int | None]:
        """Give the interval as a dict for JSON, which has no NaN: None stands for it.

        Returns
        -------
        dict
            ``value``, ``low``, ``high``, and ``undefined`` if it is not 0.

        Examples
        --------
        >>> Interval(0.5, math.nan, math.nan, undefined=1200).to_json()
        {'value': 0.5, 'low': None, 'high': None, 'undefined': 1200}
        """
        ends = {"value": self.value, "low": self.low, "high": self.high}
        known = {name: None if math.isnan(end) else end for name, end in ends.items()}
        return {**known, "undefined": self.undefined} if self.undefined else {**known}


def with_interval(number: Mapping[str, Any], *, signed: bool = False) -> str:
    """Write a number and its interval as text.

    Parameters
    ----------
    number : mapping
        As `Interval.to_json` gives it.
    signed : bool
        Put a plus before what is above 0, as a difference has it.

    Returns
    -------
    str
        "undefined" where there is no value, or in the place of the interval.

    Examples
    --------
    >>> with_interval({"value": 0.8125, "low": 0.761, "high": 0.858})
    '0.812 [0.761, 0.858]'
    >>> with_interval({"value": 0.02, "low": None, "high": None}, signed=True)
    '+0.020 [undefined]'
    """
    if number["value"] is None:
        return "undefined"
    form = "{:+.3f}" if signed else "{:.3f}"
    value = form.format(number["value"])
    if number["low"] is None:
        return f"{value} [undefined]"
    return f"{value} [{form.format(number['low'])}, {form.format(number['high'])}]"


def patient_bootstrap(
    labels: ArrayLike,
    probabilities: ArrayLike,
    patients: ArrayLike,
    statistic: Statistic = weighted_metrics,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """95% percentile intervals from a bootstrap that resamples patients with replacement.

    Images of one patient are alike, so each resample draws whole patients, as many as there are,
    and takes all the images of each as often as it was drawn: the cluster bootstrap [1]_.
    Resampling images would pretend that ten images of a patient are ten patients.

    The interval runs from the 2.5th to the 97.5th percentile of the replicates [2]_. The
    percentile interval is kept, and not the bias-corrected and accelerated one (BCa), because it
    never leaves the range of the metric, is the same for a metric and any monotone function of
    it, and stays defined where some resamples lack a class. BCa's acceleration needs the metric
    with each patient left out in turn, which is undefined where a class has one patient, and its
    bias correction is undefined where every replicate lies on one side of the value.

    Calibration error leans upwards, in a resample more than in the sample, since images drawn
    twice add noise: percentiles would lie above the value. So its replicates are first shifted to
    the mean of the value. The interval then covers what another sample of this size would show
    (simulated, 100 to 800 images: 94 to 100 times in 100) and not the error without the lean.

    What is lost: with few patients the interval is too narrow (simulated patients of four images,
    40% diseased: it covered the truth 87 to 92 times in 100 with 20 patients, depending on the
    metric, and 92 to 94 times with 80), and where the value is 0 or 1 it has no width, which then
    means that the bootstrap cannot tell and not that the value is certain. It describes the choice
    of patients and says nothing of the chance in training another model.

    Parameters
    ----------
    labels, probabilities
        As for `compute_metrics`.
    patients : array_like of str, shape (N,)
        The patient of each image.
    statistic : callable
        Maps ``labels, probabilities, weights`` with weights (R, N), how often each image counts
        in each resample, to a mapping from names to values (R,), NaN where undefined.
    n_resamples : int
        Number of resamples, >= 1.
    seed : int
        Seed of the resampling, >= 0. Two calls with the same patients, `n_resamples` and `seed`
        draw the same resamples, in whatever order the images are.

    Returns
    -------
    dict of str to Interval

    Raises
    ------
    UserError
        If `n_resamples` or `seed` is too small.
    ValueError
        As for `compute_metrics`, or if there is not one patient for each image.

    References
    ----------
    .. [1] Field, Welsh, "Bootstrapping clustered data", Journal of the Royal Statistical Society
       B 69 (2007) 369-390.
    .. [2] Efron, Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall 1993, chapter 13.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 1, 1, 1])
    >>> malignant = np.array([0.1, 0.2, 0.6, 0.4, 0.7, 0.9])
    >>> probabilities = np.stack([1 - malignant, malignant], axis=1)
    >>> patients = ["a", "a", "b", "c", "d", "d"]
    >>> auroc = patient_bootstrap(labels, probabilities, patients)["auroc"]
    >>> f"{auroc.value:.3f} [{auroc.low:.3f}, {auroc.high:.3f}], {auroc.undefined} undefined"
    '0.889 [0.000, 1.000], 239 undefined'
    """
    check_resampling(n_resamples, seed)
    labels, probabilities = as_predictions(labels, probabilities)
    patients = as_patients(patients, len(labels))
    values = statistic(labels, probabilities, np.ones((1, len(labels))))
    known, patient_of_image = np.unique(patients, return_inverse=True)
    one_stratum = np.zeros(len(known), dtype=np.int64)
    chunks = [
        statistic(labels, probabilities, counts[:, patient_of_image])
        for counts in patient_counts(one_stratum, n_resamples, seed, chunk_of(len(labels)))
    ]
    intervals = {}
    for name, value in values.items():
        replicates = np.concatenate([replicate[name] for replicate in chunks])
        replicates = without_lean(name, float(value[0]), replicates)
        intervals[name] = interval(float(value[0]), replicates, len(known))
    return intervals


def patient_strata(folds: IntArray | None, first: IntArray, patient_of_image: IntArray) -> IntArray:
    """Give the fold of each patient, or one stratum for all where that cannot be drawn from.

    It cannot where patients have no fold, or several, and where a fold has one patient: drawn from
    itself, a patient would have no part in the chance.

    Parameters
    ----------
    folds : ndarray of int, shape (N,), optional
        Fold of each image.
    first : ndarray of int, shape (P,)
        An image of each patient.
    patient_of_image : ndarray of int, shape (N,)
        Patient of each image, 0 to P - 1.

    Returns
    -------
    ndarray of int, shape (P,)

    Examples
    --------
    >>> patients = np.arange(4)
    >>> patient_strata(np.array([0, 0, 1, 1]), patients, patients)
    array([0, 0, 1, 1])
    >>> patient_strata(np.array([0, 0, 0, 1]), patients, patients)
    array([0, 0, 0, 0])
    """
    if folds is not None and np.array_equal(folds[first][patient_of_image], folds):
        _, sizes = np.unique(folds[first], return_counts=True)
        if sizes.min() > 1:
            return folds[first]
    return np.zeros(len(first), dtype=np.int64)


def check_resampling(n_resamples: int, seed: int) -> None:
    """Refuse settings of a bootstrap that make no sense.

    Raises
    ------
    UserError
        If `n_resamples` is less than `LEAST_RESAMPLES` or `seed` less than 0.
    """
    if n_resamples < LEAST_RESAMPLES:
        raise UserError(
            f"n_resamples={n_resamples} is too small, for the ends of an interval are read from "
            f"the outermost resamples: set it to {LEAST_RESAMPLES} or more (2000 is the default)."
        )
    if seed < 0:
        raise UserError(f"seed={seed} is negative: choose 0 or more.")


def chunk_of(n_images: int) -> int:
    """Say how many resamples of so many images to hold at once."""
    return max(1, _CHUNK_ELEMENTS // max(1, n_images))


def patient_counts(
    strata: IntArray, n_resamples: int, seed: int, chunk: int
) -> Iterator[FloatArray]:
    """Draw resamples of patients: from each stratum, with replacement, as many as it has.

    Parameters
    ----------
    strata : ndarray of int, shape (P,)
        Stratum of each patient; a fold, usually.
    n_resamples, seed : int
        As for `patient_bootstrap`.
    chunk : int
        Resamples given at a time. The draws do not depend on it.

    Yields
    ------
    ndarray of float, shape (<= chunk, P)
        How often each patient is drawn.

    Examples
    --------
    >>> for counts in patient_counts(np.array([0, 0, 1]), n_resamples=4, seed=0, chunk=3):
    ...     print(counts.tolist())
    [[0.0, 2.0, 1.0], [1.0, 1.0, 1.0], [2.0, 0.0, 1.0]]
    [[2.0, 0.0, 1.0]]
    """
    n_patients = len(strata)
    by_stratum = np.argsort(strata, kind="stable")
    _, starts, sizes = np.unique(strata[by_stratum], return_index=True, return_counts=True)
    start_of, size_of = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    rng = np.random.default_rng(seed)
    for done in range(0, n_resamples, chunk):
        rows = min(chunk, n_resamples - done)
        drawn = by_stratum[start_of + rng.integers(size_of, size=(rows, n_patients))]
        cells = drawn + n_patients * np.arange(rows)[:, None]
        counts = np.bincount(cells.ravel(), minlength=rows * n_patients)
        yield counts.reshape(rows, n_patients).astype(np.float64)


def without_lean(name: str, value: float, replicates: FloatArray) -> FloatArray:
    """Shift the replicates of a calibration error to the mean of the value; leave others alone.

    Parameters
    ----------
    name : str
        Name of the metric.
    value : float
        The metric on the sample.
    replicates : ndarray of float, shape (R,)
        The metric on the resamples.

    Returns
    -------
    ndarray of float, shape (R,)
    """
    if name.split("/")[0] != "ece" or np.isnan(replicates).all():
        return replicates
    return np.maximum(replicates - np.nanmean(replicates) + value, 0)


def interval(value: float, replicates: FloatArray, n_patients: int) -> Interval:
    """Put the 2.5th and 97.5th percentile of the replicates beside the value.

    Parameters
    ----------
    value : float
        The metric on the sample.
    replicates : ndarray of float, shape (R,)
        The metric on the resamples, NaN where undefined.
    n_patients : int
        Patients in the sample. One patient gives no ends: every resample is the sample.

    Returns
    -------
    Interval
        Without ends where the value or more than half of the replicates are undefined.
    """
    defined = replicates[~np.isnan(replicates)]
    undefined = len(replicates) - len(defined)
    if np.isnan(value) or undefined > len(replicates) / 2 or n_patients < 2:
        return Interval(value, np.nan, np.nan, undefined)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(value, float(low), float(high), undefined)


def notes_on_intervals(numbers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what a reader of a table should know of its intervals.

    Parameters
    ----------
    numbers : sequence of mapping
        As `Interval.to_json` gives them.

    Returns
    -------
    list of str
        Sentences; empty if there is nothing to say.

    Examples
    --------
    >>> notes_on_intervals([Interval(1.0, 1.0, 1.0).to_json()])
    ['An interval of no width means that the resamples cannot tell, not certainty.']
    """
    notes = []
    undefined = max(number.get("undefined", 0) for number in numbers)
    if undefined:
        notes.append(
            f"Up to {undefined} resamples lacked a class, or it was never called in them, and were "
            "left out of an interval."
        )
    if any(n["low"] is not None and n["low"] == n["high"] for n in numbers):
        notes.append("An interval of no width means that the resamples cannot tell, not certainty.")
    return notes
