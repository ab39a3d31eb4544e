"""Whether probabilities mean what they say."""

import numpy as np
from numpy.typing import NDArray

from glcm_mae.evaluation.ties import sum_ties, tie_starts

N_BINS = 10


def calibration_error(
    confidences: NDArray[np.float64],
    correct: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Compute the expected calibration error over ten bins of equal mass, for R resamples.

    Images are put in order of the probability that they were given, and cut into ten bins of as
    many images each. In every bin the mean probability is set against the share of images for
    which the claim is true, and the distances are averaged over images [1]_. Bins of equal mass,
    and not of equal width, because a classifier crowds its probabilities near 0 and 1 and leaves
    bins of equal width almost empty [2]_. Each resample is cut anew, and equal probabilities share
    a bin, that of the middle of them.

    The measure leans upwards: chance alone gives a calibrated classifier of n images about
    0.8 sqrt(10 p (1 - p) / n), which is 0.05 where p is near a half and n is 600. Compare it only
    between arms on the same images.

    Parameters
    ----------
    confidences : ndarray of float, shape (N,)
        Probability given to each claim, in [0, 1].
    correct : ndarray of float, shape (N,)
        1 where the claim is true, else 0.
    weights : ndarray of float, shape (R, N)
        How often each image counts in each resample, >= 0.

    Returns
    -------
    ndarray of float, shape (R,)
        In [0, 1]. NaN where a resample holds nothing.

    References
    ----------
    .. [1] Naeini, Cooper, Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
       binning", AAAI 2015; Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural
       networks", ICML 2017.
    .. [2] Nixon, Dusenberry, Zhang, Jerfel, Tran, "Measuring calibration in deep learning", CVPR
       Workshops 2019; Roelofs, Cain, Shlens, Mozer, "Mitigating bias in calibration error
       estimation", AISTATS 2022, for the upward lean.

    Examples
    --------
    Four claims at 0.9, three of them true; then the one that is not left out:

    >>> confidences, correct = np.full(4, 0.9), np.array([1.0, 1.0, 1.0, 0.0])
    >>> weights = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0]])
    >>> calibration_error(confidences, correct, weights).round(2)
    array([0.15, 0.1 ])
    """
    n_resamples = len(weights)
    if not len(confidences):
        return np.full(n_resamples, np.nan)
    order = np.argsort(confidences, kind="stable")
    rising = confidences[order]
    starts = tie_starts(rising)
    by_confidence = weights[:, order]
    # (R, T): weight of each of T different probabilities, and how far their claims fall short
    mass = sum_ties(by_confidence, starts)
    excess = sum_ties(by_confidence * (rising - correct[order]), starts)
    total = mass.sum(1)
    middle = np.cumsum(mass, axis=1) - mass / 2
    share = np.divide(middle, total[:, None], out=np.zeros_like(middle), where=total[:, None] > 0)
    bins = np.minimum((N_BINS * share).astype(np.int64), N_BINS - 1)
    cells = bins + N_BINS * np.arange(n_resamples)[:, None]
    in_bins = np.bincount(cells.ravel(), excess.ravel(), minlength=N_BINS * n_resamples)
    distance = np.abs(in_bins.reshape(n_resamples, N_BINS)).sum(1)
    return np.divide(distance, total, out=np.full(n_resamples, np.nan), where=total > 0)
