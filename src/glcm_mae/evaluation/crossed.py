"""A bootstrap over patients and training seeds at once, the same for all arms."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from glcm_mae.evaluation.bootstrap import (
    check_resampling,
    chunk_of,
    patient_counts,
    without_lean,
)
from glcm_mae.evaluation.metrics import FloatArray, IntArray

SeedStatistic = Callable[[FloatArray], Mapping[str, FloatArray]]
"""Maps weights (R, N) of images to named values (R,), for the models of one training seed."""

Replicated = tuple[float, FloatArray]
"""A metric on the sample, and on R resamples (R,)."""


def crossed_bootstrap(
    arms: Mapping[str, Sequence[SeedStatistic]],
    patients: NDArray[np.str_],
    folds: IntArray,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, dict[str, Replicated]]:
    """Resample patients and training seeds together, and measure every arm on every resample.

    All models were tested on all patients, so patients and seeds are crossed and not nested: a
    resample draws patients once and seeds once, and takes every pair of a drawn patient and a
    drawn seed [1]_. Patients drawn anew for each seed would be treated as other patients, and the
    interval would shrink with the number of seeds as if data had been collected. One resample
    serves all arms: the same patients, since hard images are hard in every arm, and the same
    seeds, since a seed gives every arm the same initial weights and order of images. So the
    difference of two arms' replicates is a replicate of the difference.

    Patients are drawn within each fold, as many as it has, with all their images. Of S seeds,
    S - 1 are drawn with replacement, not S: this makes the variance of their mean come out right,
    where S draws give (S - 1) / S of it [2]_, two thirds with three seeds.

    What is lost: a few seeds tell little of how far seeds spread, whatever is done with them, and
    where the choice of seed is the larger part of the chance the interval is too narrow. Where an
    image's score depends on the seed in a way of its own, that part is counted more than once, so
    that the interval is too wide [1]_. `compare_arms` says how often the interval covers.

    Parameters
    ----------
    arms : mapping from str to sequence of callable
        For each arm the statistic of each seed; one alone stands for all seeds.
    patients : ndarray of str, shape (N,)
        Patient of each image.
    folds : ndarray of int, shape (N,)
        Fold of each image; a patient has one.
    n_resamples : int
        Number of resamples, >= 1.
    seed : int
        Seed of the resampling, >= 0.

    Returns
    -------
    dict
        From arm to metric to its value, the mean over seeds, and its replicates (R,), NaN where
        undefined.

    Raises
    ------
    UserError
        If `n_resamples` or `seed` is too small.

    References
    ----------
    .. [1] Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1 (2007) 386-411.
    .. [2] McCarthy, Snowden, "The bootstrap and finite population sampling", Vital and Health
       Statistics 2 (95), 1985; Rao, Wu, "Resampling inference with complex survey data", Journal
       of the American Statistical Association 83 (1988) 231-241.

    Examples
    --------
    >>> right = np.array([1.0, 1.0, 0.0, 1.0])
    >>> share_right = lambda weights: {"accuracy": weights @ right / weights.sum(1)}
    >>> patients, folds = np.array(["1", "2", "3", "4"]), np.array([0, 0, 1, 1])
    >>> measured = crossed_bootstrap({"a": [share_right]}, patients, folds)
    >>> value, replicates = measured["a"]["accuracy"]
    >>> value, sorted(set(replicates.tolist()))
    (0.75, [0.5, 0.75, 1.0])
    """
    check_resampling(n_resamples, seed)
    _, first, patient_of_image = np.unique(patients, return_index=True, return_inverse=True)
    chunks = [
        {
            name: _of_seeds(statistics, counts[:, patient_of_image])
            for name, statistics in arms.items()
        }
        for counts in patient_counts(folds[first], n_resamples, seed, chunk_of(len(patients)))
    ]
    n_seeds = max(map(len, arms.values()))
    shares = _seed_shares(n_seeds, n_resamples, seed)
    results: dict[str, dict[str, Replicated]] = {}
    for name, statistics in arms.items():
        values = _of_seeds(statistics, np.ones((1, len(patients))))
        results[name] = {}
        for metric, of_sample in values.items():
            value = float(of_sample.mean())
            of_seeds = np.concatenate([chunk[name][metric] for chunk in chunks], axis=1)  # (S, R)
            replicates = _mean_of_drawn(of_seeds, shares)
            results[name][metric] = value, without_lean(metric, value, replicates)
    return results


def _of_seeds(statistics: Sequence[SeedStatistic], weights: FloatArray) -> dict[str, FloatArray]:
    """Values (S, R) of each metric."""
    of_seeds = [statistic(weights) for statistic in statistics]
    return {name: np.stack([values[name] for values in of_seeds]) for name in of_seeds[0]}


def _seed_shares(n_seeds: int, n_resamples: int, seed: int) -> FloatArray:
    """Share of each seed among those drawn in each resample, (S, R)."""
    if n_seeds == 1:
        return np.ones((1, n_resamples))
    rng = np.random.default_rng([seed, 1])  # a stream of its own beside that of the patients
    drawn = rng.integers(n_seeds, size=(n_seeds - 1, n_resamples))
    return (drawn[None] == np.arange(n_seeds)[:, None, None]).mean(1)


def _mean_of_drawn(of_seeds: FloatArray, shares: FloatArray) -> FloatArray:
    """Mean (R,) over the seeds drawn; a seed that was not drawn may be undefined."""
    if len(of_seeds) == 1:
        return of_seeds[0]
    return np.where(shares > 0, shares * of_seeds, 0.0).sum(0)
