"""Which threshold validation images are asked for: the best compromise, or one of a given share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glcm_mae.errors import UserError
from glcm_mae.evaluation.inputs import as_scores, as_truth

Choice = Callable[[NDArray[np.bool_], NDArray[np.float64]], float]
"""Takes which images are cases and their scores; returns a threshold."""

_ROUNDING = 1e-12


def youden_threshold(is_case: ArrayLike, scores: ArrayLike) -> float:
    """Choose the threshold with the largest sensitivity + specificity - 1.

    This is Youden's index J [1]_. An image counts as a case from the threshold upwards. Thresholds
    lie half-way between neighbouring scores, so that no image lies on one; of several that are
    equally good the lowest is taken, since a missed case mostly costs more than a false alarm.

    Parameters
    ----------
    is_case : array_like of bool, shape (N,)
        Whether each image is a case.
    scores : array_like of float, shape (N,)
        Probabilities of being a case, in [0, 1].

    Returns
    -------
    float
        0, which calls every image a case, where that is as good as anything else. NaN where there
        are no cases, or nothing else.

    Raises
    ------
    ValueError
        If the arrays do not fit each other, or a score is NaN or infinite.

    References
    ----------
    .. [1] Youden, "Index for rating diagnostic tests", Cancer 3 (1950) 32-35.

    Examples
    --------
    >>> youden_threshold(np.array([False, True, False, True]), np.array([0.1, 0.2, 0.3, 0.4]))
    0.15000000000000002
    """
    return _chosen(is_case, scores, lambda found, spared: _reach(found + spared)[0])


def sensitive_threshold(is_case: ArrayLike, scores: ArrayLike, least: float) -> float:
    """Choose the highest threshold that still finds a given share of the cases.

    As all thresholds here it lies half-way between two scores: `youden_threshold` says why.

    Parameters
    ----------
    is_case, scores
        As for `youden_threshold`.
    least : float
        The sensitivity that it has at least, in (0, 1].

    Returns
    -------
    float
        0 where only every image called a case is as sensitive. NaN where there are no cases, or
        nothing else.

    Raises
    ------
    ValueError
        If the arrays do not fit each other, a score is NaN or infinite, or the share is no share.

    Examples
    --------
    >>> is_case = np.array([True, False, True, False, True])
    >>> scores = np.array([0.1, 0.2, 0.4, 0.6, 0.9])
    >>> round(sensitive_threshold(is_case, scores, 0.6), 3)
    0.3
    >>> sensitive_threshold(is_case, scores, 1.0)
    0.0
    """
    return _chosen(is_case, scores, lambda found, spared: _reach(found, _share(least))[-1])


def specific_threshold(is_case: ArrayLike, scores: ArrayLike, least: float) -> float:
    """Choose the lowest threshold that leaves a given share of the others alone.

    As all thresholds here it lies half-way between two scores: `youden_threshold` says why.

    Parameters
    ----------
    is_case, scores
        As for `youden_threshold`.
    least : float
        The specificity that it has at least, in (0, 1].

    Returns
    -------
    float
        Above all scores where nothing lower is as specific. NaN where there are no cases, or
        nothing else.

    Raises
    ------
    ValueError
        If the arrays do not fit each other, a score is NaN or infinite, or the share is no share.

    Examples
    --------
    >>> is_case = np.array([True, False, True, False, True])
    >>> scores = np.array([0.1, 0.2, 0.4, 0.6, 0.9])
    >>> round(specific_threshold(is_case, scores, 0.5), 3)
    0.3
    >>> specific_threshold(is_case, scores, 1.0)
    0.75
    """
    return _chosen(is_case, scores, lambda found, spared: _reach(spared, _share(least))[0])


def operating_point(
    sensitivity: float | None = None, specificity: float | None = None
) -> tuple[str, Choice]:
    """Say how a threshold is chosen, in words and as a function.

    Parameters
    ----------
    sensitivity, specificity : float, optional
        The one that it has at least, in (0, 1]. Default: Youden's J.

    Returns
    -------
    words : str
    choose : callable
        Takes what `youden_threshold` takes.

    Raises
    ------
    UserError
        If both are given, or one is out of range.

    Examples
    --------
    >>> operating_point(sensitivity=0.95)[0]
    'the highest half-way between two scores that finds 0.95 of the cases'
    """
    if sensitivity is not None and specificity is not None:
        raise UserError(
            "sensitivity and specificity are both given, and a threshold has one of them: leave "
            "the other out; it is measured."
        )
    for name, least in (("sensitivity", sensitivity), ("specificity", specificity)):
        if least is not None and not 0 < least <= 1:
            raise UserError(f"{name} is {least}: give a share above 0, up to 1, such as 0.95.")
    if sensitivity is not None:
        return (
            f"the highest half-way between two scores that finds {sensitivity} of the cases",
            partial(sensitive_threshold, least=sensitivity),
        )
    if specificity is not None:
        return (
            f"the lowest half-way between two scores that leaves {specificity} of the others alone",
            partial(specific_threshold, least=specificity),
        )
    return "Youden's J", youden_threshold


def _chosen(
    is_case: ArrayLike,
    scores: ArrayLike,
    place: Callable[[NDArray[np.float64], NDArray[np.float64]], int],
) -> float:
    """Find the threshold at a place below (0), between or above (n) the n levels of the scores.

    The place is chosen by the sensitivity (n + 1,) and the specificity (n + 1,) at each.
    """
    is_case = as_truth("is_case", is_case)
    scores = as_scores(scores, len(is_case))
    if is_case.all() or not is_case.any():
        return np.nan
    levels, level_of_image = np.unique(scores, return_inverse=True)
    cases = np.bincount(level_of_image, is_case, len(levels)) / is_case.sum()
    others = np.bincount(level_of_image, ~is_case, len(levels)) / (~is_case).sum()
    missed, spared = (np.concatenate([[0], np.cumsum(x)]) for x in (cases, others))
    chosen = place(1 - missed, spared)
    if chosen == 0:
        return 0.0
    if chosen == len(levels):
        return float(np.nextafter(levels[-1], np.inf))
    middle = float((levels[chosen - 1] + levels[chosen]) / 2)
    return middle if middle > levels[chosen - 1] else float(levels[chosen])  # there may be none


def _share(least: float) -> float:
    if not 0 < least <= 1:
        raise ValueError(f"least is {least}: give a share above 0, up to 1, such as 0.95.")
    return least


def _reach(share: NDArray[np.float64], least: float | None = None) -> list[int]:
    """List the places with a share of at least so much, or with the largest, but for rounding."""
    wanted = share.max() if least is None else least
    return np.flatnonzero(share >= wanted - _ROUNDING).tolist()
