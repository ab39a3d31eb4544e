"""Patients and training seeds, crossed: as the cases and the readers of a multi-reader study."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glcm_mae.evaluation.bootstrap import (
    CONFIDENCE,
    Interval,
    check_resampling,
    chunk_of,
    interval,
    patient_counts,
    patient_strata,
    without_lean,
)
from glcm_mae.evaluation.metrics import FloatArray, IntArray

SeedStatistic = Callable[[FloatArray], Mapping[str, FloatArray]]
"""Maps weights (R, N) of images to named values (R,), for the models of one training seed."""

ROUNDING = 1e-12
"""An error below this is one of arithmetic."""


@dataclass(frozen=True)
class Crossed:
    """A metric of the models of each training seed, on the sample and on resampled patients.

    Two of them, measured on the same resamples, can be subtracted, seed by seed; one seed stands
    for all.

    Parameters
    ----------
    of_seeds : ndarray of float, shape (S,)
        The metric on the sample, NaN where undefined.
    replicates : ndarray of float, shape (S, R)
        The metric on R resamples of patients, the same for all seeds.
    """

    of_seeds: FloatArray
    replicates: FloatArray

    def __sub__(self, other: "Crossed") -> "Crossed":
        return Crossed(self.of_seeds - other.of_seeds, self.replicates - other.replicates)

    @property
    def value(self) -> float:
        """The mean over seeds."""
        return float(self.of_seeds.mean())

    def averaged(self, groups: IntArray) -> "Crossed":
        """Average models that are of one seed, each of which was measured as if it had its own.

        Parameters
        ----------
        groups : ndarray of int, shape (M,)
            The seed of each of M models. One model stands for all seeds as it is.

        Returns
        -------
        Crossed
            Of the S different seeds, in their order.

        Examples
        --------
        >>> models = Crossed(np.array([0.7, 0.8, 0.9]), np.array([[0.6], [0.8], [1.0]]))
        >>> models.averaged(np.array([0, 0, 1])).of_seeds
        array([0.75, 0.9 ])
        """
        if len(self.of_seeds) == 1:
            return self
        members = [groups == group for group in np.unique(groups)]
        return Crossed(
            np.array([self.of_seeds[of_seed].mean() for of_seed in members]),
            np.stack([self.replicates[of_seed].mean(axis=0) for of_seed in members]),
        )


def crossed_bootstrap(
    arms: Mapping[str, Sequence[SeedStatistic]],
    patients: NDArray[np.str_],
    folds: IntArray | None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, dict[str, Crossed]]:
    """Measure the models of every arm and seed on the same resamples of patients.

    All models were tested on all patients, so patients and seeds are crossed and not nested: one
    resample serves all of them. Hard images are hard in every arm and for every seed, and what
    they have in common cancels in a difference. Patients are drawn within each fold, as many as it
    has, with all their images. How seeds spread is left to `error_over_seeds`.

    Parameters
    ----------
    arms : mapping from str to sequence of callable
        For each arm the statistic of each seed; one alone stands for all seeds. A metric counts
        that all seeds of the arm define.
    patients : ndarray of str, shape (N,)
        Patient of each image.
    folds : ndarray of int, shape (N,), optional
        Fold of each image. Ignored unless each patient has one fold, and each fold several.
    n_resamples : int
        Number of resamples, >= 1.
    seed : int
        Seed of the resampling, >= 0.

    Returns
    -------
    dict
        From arm to metric to `Crossed`.

    Raises
    ------
    UserError
        If `n_resamples` or `seed` is too small.

    Examples
    --------
    >>> right = np.array([1.0, 1.0, 0.0, 1.0])
    >>> share_right = lambda weights: {"accuracy": weights @ right / weights.sum(1)}
    >>> patients, folds = np.array(["1", "2", "3", "4"]), np.array([0, 0, 1, 1])
    >>> measured = crossed_bootstrap({"a": [share_right]}, patients, folds)
    >>> accuracy = measured["a"]["accuracy"]
    >>> accuracy.value, np.unique(accuracy.replicates)
    (0.75, array([0.5 , 0.75, 1.  ]))
    """
    check_resampling(n_resamples, seed)
    _, first, patient_of_image = np.unique(patients, return_index=True, return_inverse=True)
    strata = patient_strata(folds, first, patient_of_image)
    chunks = [
        {
            name: _of_seeds(statistics, counts[:, patient_of_image])
            for name, statistics in arms.items()
        }
        for counts in patient_counts(strata, n_resamples, seed, chunk_of(len(patients)))
    ]
    results: dict[str, dict[str, Crossed]] = {}
    for name, statistics in arms.items():
        values = _of_seeds(statistics, np.ones((1, len(patients))))
        results[name] = {}
        for metric, of_sample in values.items():
            of_seeds = of_sample[:, 0]
            replicates = np.concatenate([chunk[name][metric] for chunk in chunks], axis=1)
            rows = zip(of_seeds.tolist(), replicates, strict=True)
            shifted = np.stack([without_lean(metric, value, row) for value, row in rows])
            results[name][metric] = Crossed(of_seeds, shifted)
    return results


def error_over_seeds(measured: Crossed) -> tuple[float, float]:
    """Estimate the standard error of a mean over seeds, and its degrees of freedom.

    The error is that of a study with other patients and other seeds. Patients and seeds stand to
    each other as the cases and the readers of a reading study do, and this is Obuchowski and
    Rockette's analysis of such studies [1]_, with Hillis' degrees of freedom [2]_. Let s^2 be the
    variance of the metric between S seeds; v the variance of a seed's metric, and c the covariance
    of two seeds' metrics, over other patients, here those of their bootstrap replicates. Then

        m = max(s^2, v - c),    c = max(c, 0),
        error^2 = m / S + c,    freedom = (m + S c)^2 / (m^2 / (S - 1)).

    What is peculiar to a seed, to a seed with some patients, or to patients whatever the seed: each
    is counted once. Where patients are nearly all of the chance, the freedom is large and the error
    that of a bootstrap; where seeds are, it comes down to S - 1, and three seeds are known to be
    few. The floor of m is ours: seeds differ by v - c at least, by the choice of patients alone,
    and where a few differ by less it is luck, which must not make an interval narrow. For a
    difference give the difference: with two arms the published formulas, which hold the covariances
    within and between arms, come to the same.

    Of one seed the error is that of the patients alone, its freedom infinite.

    Parameters
    ----------
    measured : Crossed
        A metric of each seed, or the difference of two.

    Returns
    -------
    float, float
        Both NaN if a seed's metric is undefined.

    References
    ----------
    .. [1] Obuchowski, Rockette, "Hypothesis testing of diagnostic accuracy for multiple readers and
       multiple tests", Communications in Statistics: Simulation and Computation 24 (1995) 285-308.
    .. [2] Hillis, "A comparison of denominator degrees of freedom methods for multiple observer ROC
       analysis", Statistics in Medicine 26 (2007) 596-619; of a single arm: "A marginal-mean ANOVA
       approach for analyzing multireader multicase radiological imaging data", Statistics in
       Medicine 33 (2014) 330-360.

    Examples
    --------
    >>> over_patients = np.tile([-0.02, 0.0, 0.02], (3, 1))
    >>> alike = Crossed(np.array([0.75, 0.75, 0.75]), 0.75 + over_patients)
    >>> apart = Crossed(np.array([0.70, 0.75, 0.80]), 0.75 + over_patients)
    >>> ["error {:.3f}, freedom {:.1f}".format(*error_over_seeds(m)) for m in (alike, apart)]
    ['error 0.020, freedom inf', 'error 0.035, freedom 4.4']
    """
    n_seeds = len(measured.of_seeds)
    defined = measured.replicates[:, ~np.isnan(measured.replicates).any(0)]
    if math.isnan(measured.value) or defined.shape[1] < 2:
        return math.nan, math.nan
    if n_seeds == 1:
        return float(defined.std(ddof=1)), math.inf
    covariances = np.cov(defined)
    own = np.trace(covariances) / n_seeds
    shared = (covariances.sum() - np.trace(covariances)) / (n_seeds * (n_seeds - 1))
    between = max(float(measured.of_seeds.var(ddof=1)), float(own - shared))
    of_patients = max(float(shared), 0.0)
    both = between + n_seeds * of_patients
    freedom = (both / between) ** 2 * (n_seeds - 1) if between > 1e-3 * both else math.inf
    return math.sqrt(both / n_seeds), freedom


def crossed_interval(
    measured: Crossed, n_patients: int, lies_in: tuple[float, float] = (0.0, 1.0)
) -> Interval:
    """95% interval of a mean over seeds, for other patients and other seeds.

    Of several seeds, Student's t with the error and freedom of `error_over_seeds` on both sides of
    the value, cut off where no metric can lie. Of one seed, the percentiles of its replicates, as
    in `patient_bootstrap`.

    Parameters
    ----------
    measured : Crossed
        A metric of each seed, or the difference of two.
    n_patients : int
        Patients in the sample. One patient gives no ends: every resample is the sample.
    lies_in : (float, float)
        Between which values the metric, or the difference, can lie: see `range_of`.

    Returns
    -------
    Interval
        Without ends where the value or more than half of the resamples are undefined.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> replicates = 0.8 + 0.02 * rng.normal(size=2000) + 0.01 * rng.normal(size=(3, 2000))
    >>> found = crossed_interval(Crossed(np.array([0.79, 0.8, 0.81]), replicates), 200)
    >>> f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
    '0.80 [0.76, 0.84]'
    """
    if len(measured.of_seeds) == 1:
        return interval(measured.value, measured.replicates[0], n_patients)
    undefined = int(np.isnan(measured.replicates).any(0).sum())
    if not _can_tell(measured, n_patients):
        return Interval(measured.value, math.nan, math.nan, undefined)
    error, freedom = error_over_seeds(measured)
    reach = error * t_quantile((1 + CONFIDENCE) / 2, freedom)
    low, high = max(measured.value - reach, lies_in[0]), min(measured.value + reach, lies_in[1])
    return Interval(measured.value, low, high, undefined)


def crossed_p(difference: Crossed, n_patients: int) -> float:
    """Test whether a difference is 0, for other patients and other seeds.

    Student's t test, two-sided, with the error and freedom of `error_over_seeds`: but for its
    floor, the test of Obuchowski, Rockette and Hillis for two arms.

    Parameters
    ----------
    difference : Crossed
        Between two arms.
    n_patients : int
        Patients in the sample.

    Returns
    -------
    float
        The p-value; 1 where nothing differs. NaN where `crossed_interval` has no ends, and where
        the difference is the same in all resamples and seeds: they cannot tell.

    Examples
    --------
    >>> over_patients = 0.01 * np.random.default_rng(0).normal(size=2000)
    >>> of_seeds = np.array([0.03, 0.02, 0.04])
    >>> difference = Crossed(of_seeds, of_seeds[:, None] + over_patients)
    >>> round(crossed_p(difference, n_patients=100), 3)
    0.014
    """
    from scipy.special import ndtr, stdtr

    error, freedom = error_over_seeds(difference)
    if not _can_tell(difference, n_patients):
        return math.nan
    if error < ROUNDING:
        return 1.0 if abs(difference.value) < ROUNDING else math.nan
    t = -abs(difference.value) / error
    return float(2 * (ndtr(t) if math.isinf(freedom) else stdtr(freedom, t)))


def _can_tell(measured: Crossed, n_patients: int) -> bool:
    """Whether value and resamples are defined, and there is more than one patient to draw."""
    undefined = np.isnan(measured.replicates).any(0).mean()
    return n_patients > 1 and undefined <= 0.5 and not math.isnan(measured.value)


def t_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t.

    Parameters
    ----------
    probability : float
        Between 0 and 1.
    freedom : float
        Degrees of freedom, > 0; infinite for the normal distribution.

    Returns
    -------
    float

    Examples
    --------
    >>> round(t_quantile(0.975, 2), 3), round(t_quantile(0.975, math.inf), 3)
    (4.303, 1.96)
    """
    from scipy.special import ndtri, stdtrit

    return float(ndtri(probability) if math.isinf(freedom) else stdtrit(freedom, probability))


def _of_seeds(statistics: Sequence[SeedStatistic], weights: FloatArray) -> dict[str, FloatArray]:
    """Values (S, R) of each metric."""
    of_seeds = [statistic(weights) for statistic in statistics]
    shared = [name for name in of_seeds[0] if all(name in values for values in of_seeds)]
    return {name: np.stack([values[name] for values in of_seeds]) for name in shared}
