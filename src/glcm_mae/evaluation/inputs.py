"""Arrays as the statistics take them, or a sentence on what is wrong with what was given.

Ranks and sums would take NaN, labels of another count or lists of another length without a word,
and give a wrong figure.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glcm_mae.columns import as_names, as_whole


def as_predictions(
    labels: ArrayLike, probabilities: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Bring labels and probabilities of N images to (N,) and (N, K).

    Parameters
    ----------
    labels : array_like of int, shape (N,)
        True classes, 0 to K - 1.
    probabilities : array_like of float, shape (N, K) or (N,)
        Of the classes, or of class 1 of two, then in [0, 1].

    Returns
    -------
    labels : ndarray of int, shape (N,)
    probabilities : ndarray of float, shape (N, K)

    Raises
    ------
    ValueError
        If they do not fit each other, labels are no whole numbers from 0 to K - 1, a probability
        is NaN or infinite, or a single column is of scores and not of probabilities.

    Examples
    --------
    >>> as_predictions([0, 1], [0.25, 0.75])[1]
    array([[0.75, 0.25],
           [0.25, 0.75]])
    """
    given = np.asarray(probabilities, dtype=np.float64)
    chances = np.stack([1 - given, given], axis=1) if given.ndim == 1 else given
    if chances.ndim != 2 or np.shape(labels) != chances.shape[:1]:
        raise ValueError(
            f"labels (N,) and probabilities (N, K) do not fit: {np.shape(labels)}, {given.shape}"
        )
    _check_finite("probabilities", chances)
    if given.ndim == 1 and ((given < 0) | (given > 1)).any():
        raise ValueError(
            "one column must be probabilities, 0 to 1: of scores give a column for each class."
        )
    return _as_labels(labels, chances.shape[1]), chances


def as_scores_of_seeds(
    labels: ArrayLike, *arms: ArrayLike
) -> tuple[NDArray[np.int64], list[NDArray[np.float64]]]:
    """Bring labels and the scores of arms to (N,) and (S, N, K) each.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
        True classes, 0 to K - 1.
    *arms : array_like of float, shape (S, N, K), (N, K) or (N,)
        Of each training seed, of one, or of one for class 1 of two.

    Returns
    -------
    labels : ndarray of int, shape (N,)
    arms : list of ndarray of float, shape (S, N, K)

    Raises
    ------
    ValueError
        As for `as_predictions`.

    Examples
    --------
    >>> labels, [arm] = as_scores_of_seeds([0, 1], [0.25, 0.75])
    >>> arm.shape
    (1, 2, 2)
    """
    every = []
    for arm in arms:
        given = np.asarray(arm, dtype=np.float64)
        scores = np.stack([-given, given], axis=1) if given.ndim == 1 else given
        scores = scores[None] if scores.ndim == 2 else scores
        if scores.ndim != 3 or scores.shape[1:2] != np.shape(labels):
            raise ValueError(
                f"labels (N,) and scores (S, N, K) do not fit: {np.shape(labels)}, {given.shape}"
            )
        _check_finite("scores", scores)
        every.append(scores)
    n_classes = {scores.shape[2] for scores in every}
    if len(n_classes) > 1:
        raise ValueError(f"the arms have scores of {sorted(n_classes)} classes: give the same.")
    return _as_labels(labels, n_classes.pop()), every


def as_scores(scores: ArrayLike, n: int) -> NDArray[np.float64]:
    """Take a finite score for each of n images.

    Parameters
    ----------
    scores : array_like of float, shape (n,)
    n : int
        Images.

    Returns
    -------
    ndarray of float, shape (n,)

    Raises
    ------
    ValueError
        If there are more or fewer, or one is NaN or infinite.

    Examples
    --------
    >>> as_scores([0.5, 1], 2)
    array([0.5, 1. ])
    """
    check_one_each(n, scores=scores)
    given = np.asarray(scores, dtype=np.float64)
    _check_finite("scores", given)
    return given


def as_truth(name: str, values: ArrayLike) -> NDArray[np.bool_]:
    """Take True and False, or 1 and 0, for bool.

    Parameters
    ----------
    name : str
        What the values are called.
    values : array_like
        Of any shape.

    Returns
    -------
    ndarray of bool

    Raises
    ------
    ValueError
        If there is something else.

    Examples
    --------
    >>> as_truth("is_case", [1, 0])
    array([ True, False])
    """
    given = np.asarray(values)
    if given.dtype != np.bool_ and not np.isin(given, (0, 1)).all():
        raise ValueError(f"{name} must be True or False.")
    return given.astype(np.bool_)


def as_patients(patients: ArrayLike, n: int) -> NDArray[np.str_]:
    """Take a patient for each of n images.

    Parameters
    ----------
    patients : array_like of str or numbers, shape (n,)
        None missing.
    n : int
        Images.

    Returns
    -------
    ndarray of str, shape (n,)

    Raises
    ------
    ValueError
        If there are more or fewer, or one is empty, None or NaN.

    Examples
    --------
    >>> as_patients([7, "b"], 2).tolist()
    ['7', 'b']
    """
    check_one_each(n, patients=patients)
    names = as_names(np.asarray(patients, dtype=object))
    if "" in names:
        raise ValueError(
            "a patient is missing, and all that are would count as one: name each, or give the "
            "image's name where the patient is unknown."
        )
    return np.array(names, dtype=np.str_)


def check_one_each(n: int, **arrays: ArrayLike) -> None:
    """Refuse what has not one entry for each of n images.

    Parameters
    ----------
    n : int
        Images.
    **arrays : array_like
        By their names.

    Raises
    ------
    ValueError
        Naming the first of another shape than (n,).

    Examples
    --------
    >>> check_one_each(3, patients=["a", "b"])
    Traceback (most recent call last):
    ...
    ValueError: patients has shape (2,): give one for each of 3 images.
    """
    for name, array in arrays.items():
        if np.shape(array) != (n,):
            raise ValueError(
                f"{name} has shape {np.shape(array)}: give one for each of {n} images."
            )


def _as_labels(labels: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    given = as_whole("labels", labels)
    if not np.all((given >= 0) & (given < n_classes)):
        raise ValueError(f"labels must be 0 to {n_classes - 1}: give indices of the classes.")
    return given


def _check_finite(name: str, values: NDArray[np.float64]) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must not be NaN or infinite.")
