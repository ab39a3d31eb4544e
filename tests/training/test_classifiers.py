"""Classifiers choose by inner folds, and predict what scikit-learn and plain loops do."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from glcm_mae.data import grouped_folds
from glcm_mae.errors import UserError
from glcm_mae.training import classifiers as module
from glcm_mae.training.classifiers import boosting, inner_folds, linear, neighbours

from . import small


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_penalty_is_chosen_within_the_training_part(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, labels, patients = small.clusters(rng)
    dealt: list[np.ndarray] = []
    fitted: list[np.ndarray] = []

    def spied_folds(labels: np.ndarray, groups: np.ndarray, *rest: Any) -> np.ndarray:
        dealt.append(grouped_folds(labels, groups, *rest))
        assert groups.tolist() == patients[:40].tolist()
        return dealt[-1]

    fit = LogisticRegression.fit

    def spied_fit(self: LogisticRegression, x: np.ndarray, y: np.ndarray) -> Any:
        fitted.append(x)
        return fit(self, x, y)

    monkeypatch.setattr(module, "grouped_folds", spied_folds)
    monkeypatch.setattr(LogisticRegression, "fit", spied_fit)
    linear(features[:40], labels[:40], patients[:40], seed=0)
    (inner,) = dealt
    sizes = {int((inner != fold).sum()) for fold in np.unique(inner)}
    assert {len(x) for x in fitted[:-1]} == sizes  # candidates see a part of it,
    assert len(fitted[-1]) == 40  # the last fit all of it, and none sees the test part
    rows = {tuple(row) for row in features[:40]}
    assert all(tuple(row) in rows for x in fitted for row in x)
    for fold in np.unique(inner):
        assert not set(patients[:40][inner == fold]) & set(patients[:40][inner != fold])


def test_the_penalty_is_the_best_of_the_inner_folds(rng: np.random.Generator) -> None:
    features, labels, patients = small.clusters(rng)
    inner = grouped_folds(labels, patients, 5, 0)

    def loss(strength: float) -> float:
        total = 0.0
        for fold in range(5):
            model = LogisticRegression(C=strength, max_iter=1000)
            model.fit(features[inner != fold], labels[inner != fold])
            chances = model.predict_proba(features[inner == fold])
            total -= np.log(chances[np.arange(len(chances)), labels[inner == fold]]).sum()
        return total

    best = min(np.logspace(-4, 2, 7), key=loss)
    expected = LogisticRegression(C=best, max_iter=1000).fit(features, labels)
    test = rng.normal(size=(4, 5))
    np.testing.assert_allclose(
        linear(features, labels, patients, seed=0).chances(test),
        expected.predict_proba(test),
        atol=1e-4,
    )


def test_inner_folds_are_fewer_where_a_class_would_miss_one() -> None:
    of_patient = {"a": (16, 0), "b": (3, 14), "c": (0, 2), "d": (1, 1)}  # images of either class
    labels = np.repeat([0, 1] * 4, np.ravel(list(of_patient.values())))
    patients = np.repeat(list(of_patient), [sum(n) for n in of_patient.values()])
    with pytest.raises(UserError, match="Class 1 is absent from fold"):
        grouped_folds(labels, patients, 3, 0)
    inner = inner_folds(labels, patients, 0)
    assert set(inner.tolist()) == {0, 1}
    assert all(set(labels[inner == fold].tolist()) == {0, 1} for fold in (0, 1))


@pytest.mark.parametrize("n_neighbours", [1, 7, 1000])
def test_nearest_neighbours_vote_as_in_a_plain_loop(
    rng: np.random.Generator, n_neighbours: int
) -> None:
    features, labels, patients = small.clusters(rng)
    train, test, known = features[:40], features[40:], labels[:40]
    chances = neighbours(n_neighbours)(train, known, patients[:40], 0).chances(test)
    for row, image in zip(chances, test, strict=True):
        cosines = [
            float(image @ other / (np.linalg.norm(image) * np.linalg.norm(other)))
            for other in train
        ]
        nearest = sorted(range(40), key=lambda i: -cosines[i])[:n_neighbours]
        votes = [0.0, 0.0, 0.0]
        for i in nearest:
            votes[known[i]] += np.exp(cosines[i] / 0.07)
        np.testing.assert_allclose(row, np.array(votes) / sum(votes), rtol=1e-9)


def test_neighbours_of_many_images_are_those_of_each(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, labels, patients = small.clusters(rng)
    vote = neighbours(5)(features, labels, patients, 0)
    whole = vote.chances(features)
    monkeypatch.setattr(module, "_AT_ONCE", 7)
    np.testing.assert_allclose(vote.chances(features), whole, rtol=1e-9)
    assert vote.chances(features[:0]).shape == (0, 3)


def test_an_image_without_features_is_no_error() -> None:
    train, test = np.eye(3), np.zeros((1, 3))
    chances = neighbours(3)(train, np.array([0, 1, 2]), np.arange(3), 0).chances(test)
    np.testing.assert_allclose(chances, 1 / 3)


def test_the_number_of_trees_is_the_best_of_the_inner_folds() -> None:
    rng = np.random.default_rng(7)
    labels = np.arange(80) // 2 % 2
    patients = np.arange(80) // 2
    features = rng.normal(size=(80, 4)) + labels[:, None]
    train, known, groups = features[:60], labels[:60], patients[:60]

    def boosted(rounds: int) -> HistGradientBoostingClassifier:
        return HistGradientBoostingClassifier(
            max_iter=rounds, learning_rate=0.1, max_leaf_nodes=8, min_samples_leaf=10, max_bins=64,
            early_stopping=False,
        )  # fmt: skip

    inner = grouped_folds(known, groups, 5, 0)

    def loss(rounds: int) -> float:
        total = 0.0
        for fold in range(5):
            held = inner == fold
            chances = boosted(rounds).fit(train[~held], known[~held]).predict_proba(train[held])
            total -= np.log(chances[np.arange(held.sum()), known[held]]).sum()
        return total

    given_test = features[60:]
    chances = boosting(train, known, groups, 0).chances(given_test)
    candidates = range(1, 41)
    best = min(candidates, key=loss)
    assert 1 < best < 40
    expected = boosted(best).fit(train, known).predict_proba(given_test)
    np.testing.assert_allclose(chances, expected)


@pytest.mark.parametrize("level", [0.0, 0.3, 1000.1])
def test_a_feature_that_is_the_same_in_training_rules_nothing(
    rng: np.random.Generator, level: float
) -> None:
    features, labels, patients = small.clusters(rng)
    constant = np.full((len(features), 1), level)
    with_one = np.concatenate([features, constant], axis=1)
    moved = np.concatenate([features, constant + 0.1], axis=1)
    for learn in (linear, neighbours(10)):
        without = module.fitted(learn, features, labels, patients, 0).chances(features)
        classifier = module.fitted(learn, with_one, labels, patients, 0)
        np.testing.assert_allclose(classifier.chances(with_one), without, atol=1e-6)
        np.testing.assert_allclose(classifier.chances(moved), without, atol=0.05)
