"""McNemar's exact test of whether two arms have the same accuracy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from glcm_mae.evaluation.inputs import as_patients, as_truth
from glcm_mae.evaluation.metrics import IntArray


@dataclass(frozen=True)
class McNemarResult:
    """For how many patients either arm was better, and whether chance explains it.

    Parameters
    ----------
    n_better, n_worse : int
        Patients of whose images b got more right than a, and fewer.
    p : float
        Two-sided p-value.
    """

    n_better: int
    n_worse: int
    p: float


def mcnemar_test(
    is_right_a: ArrayLike, is_right_b: ArrayLike, patients: ArrayLike
) -> McNemarResult:
    """Test whether two arms, tested on the same images, have the same accuracy.

    If the arms are alike, each patient's results could as well have been swapped between them: what
    b got right more than a, d, is as likely to be -d. The p-value is the share of all 2^P ways to
    swap that make the sum of the d at least as large as it is, computed exactly. Where each patient
    has one image and there is one seed, d is -1, 0 or 1, and this is McNemar's test in its exact,
    binomial form [1]_; swapping whole patients extends it to several images of a patient, which are
    not independent, and to several seeds [2]_.

    The p-value is about these trained models on other patients of this kind. It says nothing of
    training again with other seeds.

    Parameters
    ----------
    is_right_a, is_right_b : array_like of bool, shape (S, N) or (N,)
        Whether each seed's model gave each image its class. An arm may have one seed, which then
        stands for all.
    patients : array_like of str, shape (N,)
        Patient of each image.

    Returns
    -------
    McNemarResult

    Raises
    ------
    ValueError
        If the arrays do not fit each other, or hold something else than True and False.

    References
    ----------
    .. [1] McNemar, "Note on the sampling error of the difference between correlated proportions or
       percentages", Psychometrika 12 (1947) 153-157.
    .. [2] Fisher, "The Design of Experiments", Oliver and Boyd 1935, section 21, for the test by
       swapping within pairs.

    Examples
    --------
    Ten images: b alone is right on seven, a alone on one, both on two.

    >>> a = [False] * 7 + [True] * 3
    >>> b = [True] * 7 + [False] + [True] * 2
    >>> mcnemar_test(a, b, patients=list("abcdefghij"))
    McNemarResult(n_better=7, n_worse=1, p=0.0703125)
    """
    a, b = (
        np.atleast_2d(as_truth(name, given)).astype(np.int64)  # (S, N)
        for name, given in (("is_right_a", is_right_a), ("is_right_b", is_right_b))
    )
    own = as_patients(patients, a.shape[1])
    if len({len(a), len(b)} - {1}) > 1 or a.shape[1] != b.shape[1]:
        raise ValueError(
            f"is_right_a is {a.shape} and is_right_b {b.shape}: give (S, N), as many images, and "
            "as many seeds or one."
        )
    gain = (b - a).sum(0)  # (N,)
    _, patient_of_image = np.unique(own, return_inverse=True)
    of_patients = np.bincount(patient_of_image, gain).round().astype(np.int64)
    return McNemarResult(
        n_better=int((of_patients > 0).sum()),
        n_worse=int((of_patients < 0).sum()),
        p=_swapping_p(of_patients),
    )


def _swapping_p(differences: IntArray) -> float:
    """Share of the ways to choose signs whose sum is at least as far from 0 as the sum."""
    sizes = np.abs(differences[differences != 0])
    total = int(sizes.sum())
    chances = np.zeros(2 * total + 1)  # of each sum, from -total to total
    chances[total] = 1.0
    for size in sizes:
        chances = (np.roll(chances, size) + np.roll(chances, -size)) / 2  # never reaches the ends
    sums = np.arange(-total, total + 1)
    return min(1.0, float(chances[np.abs(sums) >= abs(int(differences.sum()))].sum()))
