"""DeLong's test of whether two arms have the same AUROC."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glcm_mae.evaluation.inputs import as_patients, as_scores_of_seeds, check_one_each
from glcm_mae.evaluation.metrics import FloatArray, IntArray


@dataclass(frozen=True)
class DeLongResult:
    """A difference of AUROCs and whether chance in the choice of patients explains it.

    Parameters
    ----------
    difference : float
        AUROC of b minus that of a. NaN where undefined.
    standard_error : float
        Its standard error over patients. NaN where it cannot be had.
    p : float
        Two-sided p-value. NaN where the test is not valid.
    not_valid : str
        Why there is no p-value; empty where there is one.
    """

    difference: float
    standard_error: float
    p: float
    not_valid: str = ""


def delong_test(
    labels: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    patients: ArrayLike,
    folds: ArrayLike | None = None,
    classes: Sequence[int] | None = None,
) -> DeLongResult:
    """Test whether two arms, tested on the same images, have the same AUROC.

    The AUROC is a mean over pairs of a case and a non-case, so an image's part in it is the share
    of the other kind that it is on the right side of, its *placement*; the spread of placements
    gives the standard error, and difference over standard error is normal [1]_. Placements come
    from midranks, in the time of a sort [2]_. Three extensions, none of which changes the result
    where each patient has one image and there is one fold, one seed and one class:

    - Images of one patient are not independent. Their placements are added up, and the spread is
      that between patients [3]_.
    - The AUROC within folds and over seeds (and classes) is a weighted mean of AUROCs, so its
      placements are the weighted mean of theirs. The difference that is tested is thus exactly the
      one that `weighted_metrics` gives.
    - Folds are taken to be independent: they have no patient in common.

    The p-value is about these trained models on other patients of this kind. It says nothing of
    training again with other seeds.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
        True classes, 0 to K - 1.
    scores_a, scores_b : array_like of float, shape (S, N, K), (N, K) or (N,)
        Scores of each training seed, of one, or of one for class 1 of two. The arms may have other
        numbers of seeds.
    patients : array_like of str, shape (N,)
        Patient of each image.
    folds : array_like of int, shape (N,), optional
        Fold of each image; a patient has one. Default: all in one.
    classes : sequence of int, optional
        The classes whose AUROCs against the rest are averaged. Default: class 1 of two, else all.

    Returns
    -------
    DeLongResult
        Not valid where a class or its rest has one patient in a fold, which tells no spread, and
        where the arms differ by the same for every image, as when both rank perfectly in part.

    Raises
    ------
    ValueError
        If the arrays do not fit each other, hold NaN or infinity, or labels of other classes, a
        patient is missing, or there is no such class.

    References
    ----------
    .. [1] DeLong, DeLong, Clarke-Pearson, "Comparing the areas under two or more correlated
       receiver operating characteristic curves", Biometrics 44 (1988) 837-845.
    .. [2] Sun, Xu, "Fast implementation of DeLong's algorithm", IEEE Signal Processing Letters 21
       (2014) 1389-1393.
    .. [3] Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 53 (1997)
       567-578.

    Examples
    --------
    >>> a, b = [0.1, 0.5, 0.6, 0.4, 0.7, 0.3], [0.1, 0.2, 0.5, 0.4, 0.7, 0.9]
    >>> result = delong_test([0, 0, 0, 1, 1, 1], a, b, patients=list("abcdef"))
    >>> round(result.difference, 3), round(result.standard_error, 3), round(result.p, 3)
    (0.333, 0.272, 0.221)
    """
    truth, (of_a, of_b) = as_scores_of_seeds(labels, scores_a, scores_b)
    n, k = len(truth), of_a.shape[2]
    folds = np.zeros(n) if folds is None else folds
    check_one_each(n, folds=folds)
    _, fold_of = np.unique(folds, return_inverse=True)
    classes = list(classes if classes is not None else [1] if k == 2 else range(k))
    if not classes or not set(classes) <= set(range(k)):
        raise ValueError(f"classes are {classes}: give one or more of 0 to {k - 1}.")
    known, patient_of_image = np.unique(as_patients(patients, n), return_inverse=True)
    difference, influence = 0.0, np.zeros(len(known))
    for c in classes:
        is_case = truth == c
        # (N,): how much better b places an image than a
        gain = _placements(is_case, of_b[:, :, c], fold_of) - _placements(
            is_case, of_a[:, :, c], fold_of
        )
        shares = _pair_shares(is_case, fold_of)
        if not shares:
            return DeLongResult(math.nan, math.nan, math.nan, "a class is missing in every fold")
        for fold, share in shares.items():
            for side in (is_case, ~is_case):
                members = np.flatnonzero(side & (fold_of == fold))
                n_patients = len(np.unique(patient_of_image[members]))
                if n_patients < 2:
                    return DeLongResult(
                        math.nan, math.nan, math.nan, "a class has one patient in a fold"
                    )
                weight = share / len(classes) / len(members)
                spread = (gain[members] - gain[members].mean()) * weight
                unbiased = math.sqrt(n_patients / (n_patients - 1))
                influence += unbiased * np.bincount(
                    patient_of_image[members], spread, minlength=len(known)
                )
            # Either side has the fold's difference of AUROCs as its mean.
            difference += share / len(classes) * float(gain[members].mean())
    standard_error = float(np.sqrt(np.sum(influence**2)))
    if standard_error > 1e-12:
        p = math.erfc(abs(difference) / standard_error / math.sqrt(2))
        return DeLongResult(difference, standard_error, p)
    if abs(difference) < 1e-12:
        return DeLongResult(difference, standard_error, 1.0)
    return DeLongResult(
        difference, standard_error, math.nan, "the arms differ by the same for every image"
    )


def _pair_shares(is_case: NDArray[np.bool_], folds: IntArray) -> dict[int, float]:
    """Share of each fold in the pairs of a case and a non-case; folds without pairs left out."""
    pairs = {
        int(fold): int(is_case[folds == fold].sum()) * int((~is_case[folds == fold]).sum())
        for fold in np.unique(folds)
    }
    total = sum(pairs.values())
    return {fold: n / total for fold, n in pairs.items() if n}


def _placements(is_case: NDArray[np.bool_], scores: FloatArray, folds: IntArray) -> FloatArray:
    """Share (N,) of the other kind in its fold that an image is ranked rightly against.

    The mean over seeds of scores (S, N). Ties count half; 0 where its fold has no other kind.
    """
    placements = np.zeros(len(is_case))
    for fold in np.unique(folds):
        cases, others = (np.flatnonzero(side & (folds == fold)) for side in (is_case, ~is_case))
        if not len(cases) or not len(others):
            continue
        both = np.concatenate([cases, others])
        for of_seed in scores:
            among_all = _midranks(of_seed[both])
            below = among_all[: len(cases)] - _midranks(of_seed[cases])
            cases_below = among_all[len(cases) :] - _midranks(of_seed[others])
            placements[cases] += below / len(others) / len(scores)
            placements[others] += (1 - cases_below / len(cases)) / len(scores)
    return placements


def _midranks(values: FloatArray) -> FloatArray:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, level, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[level]
