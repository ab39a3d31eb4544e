"""Classifiers of feature vectors: fitted on a training part, then asked about other images."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from glcm_mae.audit.shortcuts import predict_by_ranks
from glcm_mae.data import grouped_folds
from glcm_mae.errors import UserError

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

_STRENGTHS = np.logspace(-4, 2, 7)  # inverse ridge penalties to choose from
_ROUNDS = 200  # of boosting, at most
_TOLD = 16  # training images by which trees are known again
_AT_ONCE = 1024  # images whose neighbours are looked for together


@dataclass(frozen=True)
class Rule(ABC):
    """What was learnt from standardised features; its fields are arrays and whole numbers."""

    def to_keep(self) -> dict[str, Any]:
        """Name what it is made again of."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @abstractmethod
    def chances(self, features: np.ndarray) -> np.ndarray:
        """Class probabilities (m, K) of images by their standardised features (m, F)."""


# Learns from (n, F) features, (n,) labels, none of them absent, (n,) groups and a seed.
Learn = Callable[[np.ndarray, np.ndarray, np.ndarray, int], Rule]


@dataclass(frozen=True)
class Standardized:
    """A rule, and the standardisation of the features that it learnt from.

    Parameters
    ----------
    centre, spread : ndarray, (F,)
        Mean and deviation of the training images.
    rule : Rule
        What was learnt from them.
    """

    centre: np.ndarray
    spread: np.ndarray
    rule: Rule

    def chances(self, features: np.ndarray) -> np.ndarray:
        """Class probabilities (m, K) of images by their features (m, F), as they were measured."""
        return self.rule.chances((features - self.centre) / self.spread)


def fitted(
    learn: Learn, features: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int
) -> Standardized:
    """Fit a classifier on a training part.

    Parameters
    ----------
    learn : callable
        `linear`, `boosting`, `ranks`, or what `neighbours` returns.
    features : ndarray, (n, F)
        As they were measured.
    labels, groups : ndarray, (n,)
        Classes 0 to K - 1, none of them absent, and patients.
    seed : int
        For the inner folds.

    Returns
    -------
    Standardized

    Examples
    --------
    >>> features, labels = np.arange(40.0)[:, None], np.repeat([0, 1], 20)
    >>> chances = fitted(linear, features, labels, np.arange(40), 0).chances(features)
    >>> bool((chances.argmax(axis=1) == labels).all())
    True
    """
    centre, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    # What is the same in all images of the training part, but for rounding, stays as it is, or the
    # least other value elsewhere would outweigh all that was learnt.
    spread[features.std(axis=0) <= 1e-6 * np.abs(centre)] = 1
    return Standardized(centre, spread, learn((features - centre) / spread, labels, groups, seed))


@dataclass(frozen=True)
class Linear(Rule):
    """Logistic regression.

    Parameters
    ----------
    weight : ndarray, (K, F)
        Of two classes, one is minus the other.
    bias : ndarray, (K,)
        Likewise.
    """

    weight: np.ndarray
    bias: np.ndarray

    def chances(self, features: np.ndarray) -> np.ndarray:
        """See `Rule`."""
        logits = features @ self.weight.T + self.bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)


def linear(train: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> Linear:
    """Learn a logistic regression; its ridge penalty is chosen on inner folds.

    Parameters
    ----------
    train : ndarray, (n, F)
        Standardised features of the training part.
    labels, groups : ndarray, (n,)
        Its classes and patients.
    seed : int
        For the inner folds.

    Returns
    -------
    Linear
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    inner = inner_folds(labels, groups, seed)
    losses = np.zeros(len(_STRENGTHS))
    with warnings.catch_warnings():
        # The weakest penalties need not converge to be told from better ones.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for fold in np.unique(inner):
            learnt, held = inner != fold, inner == fold
            model = LogisticRegression(max_iter=300, warm_start=True)
            for i, strength in enumerate(_STRENGTHS):
                model.set_params(C=strength).fit(train[learnt], labels[learnt])
                losses[i] += _log_loss(model.predict_proba(train[held]), labels[held])
        best = LogisticRegression(C=_STRENGTHS[losses.argmin()], max_iter=1000).fit(train, labels)
    weight, bias = best.coef_, best.intercept_
    if len(weight) == 1:  # scikit-learn keeps the second of two classes alone, against 0
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return Linear(weight, bias)


@dataclass(frozen=True)
class Neighbours(Rule):
    """A vote of the nearest training images by cosine, weighted by exp(similarity / 0.07).

    The weights are those of Wu et al. 2018 (arXiv 1805.01978), section 3.4.

    Parameters
    ----------
    directions : ndarray, (n, F)
        Features of the training images, each of length 1.
    labels : ndarray of int, (n,)
        Their classes.
    n_neighbours : int
        How many vote; all if there are fewer.
    """

    directions: np.ndarray
    labels: np.ndarray
    n_neighbours: int

    def chances(self, features: np.ndarray) -> np.ndarray:
        """See `Rule`."""
        # Some at a time: all similarities of 20,000 images to as many would take gigabytes.
        parts = np.array_split(features, -(-len(features) // _AT_ONCE) or 1)
        return np.concatenate([self._votes(part) for part in parts])

    def _votes(self, features: np.ndarray) -> np.ndarray:
        similarity = _directions(features) @ self.directions.T  # (m, n)
        k = min(self.n_neighbours, len(self.labels))
        nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        weight = np.exp(np.take_along_axis(similarity, nearest, axis=1) / 0.07)
        votes = np.zeros((len(features), self.labels.max() + 1))
        for c in range(votes.shape[1]):
            votes[:, c] = (weight * (self.labels[nearest] == c)).sum(axis=1)
        return votes / votes.sum(axis=1, keepdims=True)


def neighbours(n_neighbours: int) -> Learn:
    """Make what learns a vote of nearest neighbours, which is to keep the training images.

    Parameters
    ----------
    n_neighbours : int
        How many vote.

    Returns
    -------
    callable
        Takes what `linear` does, and returns `Neighbours`.
    """

    def learn(train: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> Neighbours:
        return Neighbours(_directions(train), labels, n_neighbours)

    return learn


def _directions(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True)
class Boosting(Rule):
    """Gradient boosting of small trees, which are grown from the training images when asked.

    Parameters
    ----------
    train, labels : ndarray, (n, F) and (n,)
        The training images: to grow trees anew takes a moment, and to keep them takes a format that
        can hold code.
    rounds, seed : int
        How many trees, and of which seed.
    told : ndarray, (at most 16, K), optional
        What they said of the first training images when they were kept.
    """

    train: np.ndarray
    labels: np.ndarray
    rounds: int
    seed: int
    told: np.ndarray | None = None

    def chances(self, features: np.ndarray) -> np.ndarray:
        """See `Rule`."""
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            found: np.ndarray = self._trees.predict_proba(features)
        return found

    def to_keep(self) -> dict[str, Any]:
        """See `Rule`."""
        return super().to_keep() | {"told": self.chances(self.train[:_TOLD])}

    def grows_as_before(self) -> bool:
        """Whether trees that are grown now say what those said that were kept."""
        told = self.chances(self.train[:_TOLD])
        return self.told is None or np.allclose(told, self.told, atol=1e-6)

    @cached_property
    def _trees(self) -> HistGradientBoostingClassifier:
        return _boosted(self.rounds, self.seed).fit(self.train, self.labels)


def boosting(train: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> Boosting:
    """Learn how many trees to boost, on inner folds.

    scikit-learn would stop early by a validation part that it cuts image by image: a patient
    would stand on both of its sides, and too many trees seem right.

    Parameters
    ----------
    train, labels, groups, seed
        As for `linear`.

    Returns
    -------
    Boosting
    """
    from threadpoolctl import threadpool_limits

    losses = np.zeros(_ROUNDS)
    inner = inner_folds(labels, groups, seed)
    # Steps this small are done before threads have found each other, and on a machine that is busy
    # with something else they wait for each other a hundred times as long.
    with threadpool_limits(1):
        for fold in np.unique(inner):
            learnt, held = inner != fold, inner == fold
            model = _boosted(_ROUNDS, seed).fit(train[learnt], labels[learnt])
            for i, chances in enumerate(model.staged_predict_proba(train[held])):
                losses[i] += _log_loss(chances, labels[held])
    return Boosting(train, labels, int(losses.argmin()) + 1, seed)


def _boosted(rounds: int, seed: int) -> HistGradientBoostingClassifier:
    from sklearn.ensemble import HistGradientBoostingClassifier

    # Leaves, bins and rate for the hundreds of images that a small set has.
    return HistGradientBoostingClassifier(
        max_iter=rounds, learning_rate=0.1, max_leaf_nodes=8, min_samples_leaf=10, max_bins=64,
        early_stopping=False, random_state=seed,
    )  # fmt: skip


@dataclass(frozen=True)
class Ranks(Rule):
    """What `data check` predicts from shortcuts: `glcm_mae.audit.shortcuts.predict_by_ranks`.

    Parameters
    ----------
    train, labels : ndarray, (n, F) and (n,)
        The training images.
    """

    train: np.ndarray
    labels: np.ndarray

    def chances(self, features: np.ndarray) -> np.ndarray:
        """See `Rule`."""
        return predict_by_ranks(self.train, self.labels, features)


def ranks(train: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> Ranks:
    """Learn the ranks of the training images; neither groups nor seed matter here.

    Parameters
    ----------
    train, labels, groups, seed
        As for `linear`.

    Returns
    -------
    Ranks
    """
    return Ranks(train, labels)


def inner_folds(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Deal a training part into folds, by which a classifier's settings are chosen.

    Parameters
    ----------
    labels, groups : ndarray, (n,)
        Classes and patients of the training part.
    seed : int
        The same seed gives the same folds.

    Returns
    -------
    ndarray of int, (n,)
        Fold of each image, one of five or of as many as the rarest class has patients.

    Raises
    ------
    UserError
        If not even two folds hold every class.
    """
    rarest = min(len(np.unique(groups[labels == c])) for c in np.unique(labels))
    for folds in range(max(2, min(5, rarest)), 2, -1):
        with suppress(UserError):  # large groups can leave a class out of a fold
            return grouped_folds(labels, groups, folds, seed)
    try:
        return grouped_folds(labels, groups, 2, seed)
    except UserError as error:
        raise UserError(
            "the patients of the training part cannot be dealt into two halves that both hold "
            "every class, by which a classifier's penalty is chosen: label more patients, or take "
            "another data.split_seed."
        ) from error


def _log_loss(chances: np.ndarray, labels: np.ndarray) -> float:
    of_truth = chances[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(of_truth, 1e-12, None)).sum())
