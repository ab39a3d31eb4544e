"""Equal scores, which count as one."""

import numpy as np
from numpy.typing import NDArray


def tie_starts(scores: NDArray[np.float64]) -> NDArray[np.intp]:
    """Find where each run of equal scores begins.

    Parameters
    ----------
    scores : ndarray of float, shape (N,)
        In order, rising or falling. N >= 1.

    Returns
    -------
    ndarray of int, shape (T,)

    Examples
    --------
    >>> tie_starts(np.array([0.9, 0.5, 0.5, 0.1]))
    array([0, 1, 3])
    """
    return np.flatnonzero(np.r_[True, scores[1:] != scores[:-1]])


def sum_ties(values: NDArray[np.float64], starts: NDArray[np.intp]) -> NDArray[np.float64]:
    """Add up the values of each run of equal scores.

    Parameters
    ----------
    values : ndarray of float, shape (R, N)
        In the order of the scores.
    starts : ndarray of int, shape (T,)
        What `tie_starts` found.

    Returns
    -------
    ndarray of float, shape (R, T)
        `values` itself where no two scores are equal: the usual case, and a sum over runs of one
        is a third of a bootstrap's time.

    Examples
    --------
    >>> sum_ties(np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([0, 1, 3]))
    array([[1., 5., 4.]])
    """
    return values if len(starts) == values.shape[1] else np.add.reduceat(values, starts, axis=1)
