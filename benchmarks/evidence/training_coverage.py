"""How often an interval covers the truth where other patients also mean another training.

    python benchmarks/evidence/training_coverage.py

A simulated study draws patients of two classes. Two arms see the same features, each with noise of
its own, so that the true difference of their AUROCs is 0. In each of five folds a linear
discriminant is fitted to the other four: to all features, or, of several seeds, each to three
quarters of them. The intervals of `glcm_mae.evaluation` draw tested patients again, and other
seeds; they do not train on others. Beside them stand scores that no training makes, the sums of
the features.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from glcm_mae.evaluation import crossed_bootstrap, crossed_interval, weighted_metrics
from glcm_mae.evaluation.crossed import error_over_seeds

_FOLDS, _RESAMPLES = 5, 400
_SIGNAL, _NOISE = 0.8, 0.7  # distance of the classes over all features; what is an arm's own
_SHAPES = ((20, 200), (40, 200), (128, 600))  # features, patients


def main() -> None:
    """Print a line for each size of a study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=300)
    studies = parser.parse_args().studies
    print("features  patients  seeds  trained  covers  true deviation / that of the interval")
    for n_features, n_patients in _SHAPES:
        for n_seeds, trained in ((1, False), (1, True), (3, True)):
            found = np.array(list(_studies(n_features, n_patients, n_seeds, trained, studies)))
            values, errors, covered = found.T
            ratio = values.std() / np.sqrt(np.mean(errors**2))
            print(
                f"{n_features:8}  {n_patients:8}  {n_seeds:5}  {'yes' if trained else 'no':7}  "
                f"{covered.mean():6.3f}  {ratio:.2f}",
                flush=True,
            )


def _studies(
    n_features: int, n_patients: int, n_seeds: int, trained: bool, studies: int
) -> Iterator[tuple[float, float, bool]]:
    """Yield each study's difference, its standard error, and whether its interval holds 0."""
    rng = np.random.default_rng(0)
    labels = np.arange(n_patients) % 2
    folds = np.arange(n_patients) // 2 % _FOLDS
    patients = np.arange(n_patients).astype(str)
    shift = _SIGNAL / np.sqrt(n_features) * labels[:, None]
    for study in range(studies):
        shared = rng.normal(size=(n_patients, n_features)) + shift
        arms = {
            name: [
                partial(_auroc, labels=labels, scores=scores, folds=folds)
                for scores in _scores(
                    shared + _NOISE * rng.normal(size=shared.shape),
                    labels,
                    folds,
                    n_seeds if trained else 0,
                    rng,
                )
            ]
            for name in "ab"
        }
        measured = crossed_bootstrap(arms, patients, folds, _RESAMPLES, study)
        between = measured["b"]["auroc"] - measured["a"]["auroc"]
        ends = crossed_interval(between, n_patients, (-1, 1))
        yield between.value, error_over_seeds(between)[0], ends.low <= 0 <= ends.high


def _scores(
    features: NDArray[np.float64],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    n_trainings: int,
    rng: np.random.Generator,
) -> Iterator[NDArray[np.float64]]:
    """Yield the out-of-fold scores (N,) of each training; of none, the sums of the features."""
    n_features = features.shape[1]
    n_seen = n_features if n_trainings == 1 else 3 * n_features // 4
    if not n_trainings:
        yield features.sum(1)
    for _ in range(n_trainings):
        scores = np.empty(len(labels))
        for fold in range(_FOLDS):
            seen = rng.permutation(n_features)[:n_seen]
            train, test = folds != fold, folds == fold
            direction = _discriminant(features[train][:, seen], labels[train])
            scores[test] = features[test][:, seen] @ direction
        yield scores


def _discriminant(features: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Fisher's direction between two classes, its covariance with a ridge of 0.1."""
    cases, others = features[labels == 1], features[labels == 0]
    within = np.cov(cases.T) + np.cov(others.T)
    ridge = 0.2 * np.eye(features.shape[1])  # of the sum of two covariances
    return np.linalg.solve(within + ridge, cases.mean(0) - others.mean(0))


def _auroc(
    weights: NDArray[np.float64],
    *,
    labels: NDArray[np.int64],
    scores: NDArray[np.float64],
    folds: NDArray[np.int64],
) -> dict[str, NDArray[np.float64]]:
    columns = np.stack([-scores, scores], axis=1)
    return {"auroc": weighted_metrics(labels, columns, weights, folds=folds)["auroc"]}


if __name__ == "__main__":
    main()
