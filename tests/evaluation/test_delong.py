import numpy as np
import pytest
from scipy.stats import kstest

from glcm_mae.evaluation import delong_test, weighted_metrics

# DeLong and others (1988): patients with ovarian cancer whose three tests are all known. Albumin,
# total protein, Krebs-Goplerud score; the figures are those of SAS's example of the LOGISTIC
# procedure, "Comparing receiver operating characteristic curves".
OVARIAN = """
3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1
3.8 5.7 5 1 3.7 6.7 6 1 3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0
2.3 4.4 6 1 4.2 7.6 4 0 4.0 6.6 6 0 3.5 5.8 6 1 3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1
3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1 4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1 3.3 6.8 6 0 1.7 4.0 7 0
3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1 2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1
3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1
"""


def of_one_class(*seeds):
    """Scores (S, N, 2) of which column 1 is used."""
    return np.stack([np.stack([-np.asarray(s), np.asarray(s)], axis=1) for s in seeds])


def compared(labels, a, b, patients=None, folds=None, classes=(1,)):
    n = len(labels)
    patients = np.arange(n).astype(str) if patients is None else patients
    return delong_test(
        labels, a, b, patients, np.zeros(n, int) if folds is None else folds, classes
    )


def brute_force(case, a, b):
    """Structural components by comparing every case with every other: O(m n)."""

    def components(scores):
        won = (scores[case][:, None] > scores[~case]) + 0.5 * (
            scores[case][:, None] == scores[~case]
        )
        return won.mean(1), won.mean(0)

    (case_a, other_a), (case_b, other_b) = components(a), components(b)
    of_cases, of_others = case_b - case_a, other_b - other_a
    variance = of_cases.var(ddof=1) / len(of_cases) + of_others.var(ddof=1) / len(of_others)
    return of_cases.mean(), variance**0.5


def noisy(labels, rng, strength=1.0):
    return (strength * labels + rng.normal(size=len(labels))).round(1)  # with ties


def test_published_example():
    albumin, protein, score, survived = np.array(OVARIAN.split(), float).reshape(-1, 4).T
    labels, reference = survived.astype(int), of_one_class(10 - score)
    assert (len(labels), labels.sum()) == (43, 31)
    of_protein = compared(labels, reference, of_one_class(protein))
    assert of_protein.difference == pytest.approx(-0.0780, abs=5e-5)
    assert of_protein.standard_error == pytest.approx(0.1046, abs=5e-5)
    assert of_protein.p == pytest.approx(0.4561, abs=5e-5)
    of_albumin = compared(labels, reference, of_one_class(albumin))
    assert of_albumin.difference == pytest.approx(0.0108, abs=5e-5)
    assert of_albumin.standard_error == pytest.approx(0.0953, abs=5e-5)


def test_equals_the_structural_components():
    rng = np.random.default_rng(0)
    labels = (rng.random(80) < 0.3).astype(int)
    a, b = noisy(labels, rng), noisy(labels, rng)
    result = compared(labels, of_one_class(a), of_one_class(b))
    assert (result.difference, result.standard_error) == pytest.approx(
        brute_force(labels == 1, a, b)
    )


def test_difference_is_that_of_the_metrics_over_folds_seeds_and_classes():
    rng = np.random.default_rng(2)
    labels, folds = rng.integers(0, 3, 120), np.arange(120) % 4
    a, b = (np.eye(3)[labels] + rng.random((s, 120, 3)) * 2 for s in (1, 3))
    result = compared(labels, a, b, folds=folds, classes=range(3))
    of_a, of_b = (
        np.mean([weighted_metrics(labels, x, np.ones((1, 120)), folds=folds)["auroc"] for x in arm])
        for arm in (a, b)
    )
    assert result.difference == pytest.approx(of_b - of_a)


def test_folds_are_independent_samples():
    rng = np.random.default_rng(3)
    labels, folds = np.tile([0, 0, 1], 40), np.repeat([0, 1], 60)
    a, b = noisy(labels, rng), noisy(labels, rng)
    result = compared(labels, of_one_class(a), of_one_class(b), folds=folds)
    parts = [brute_force(labels[folds == f] == 1, a[folds == f], b[folds == f]) for f in (0, 1)]
    assert result.difference == pytest.approx(np.mean([d for d, _ in parts]))
    assert result.standard_error == pytest.approx(np.hypot(parts[0][1], parts[1][1]) / 2)


def test_copies_of_images_are_no_new_evidence():
    rng = np.random.default_rng(4)
    labels = np.tile([0, 0, 1], 20)
    a, b = noisy(labels, rng), noisy(labels, rng)
    once = compared(labels, of_one_class(a), of_one_class(b))
    rows = np.repeat(np.arange(60), 7)
    patients = rows.astype(str)
    copied = compared(labels[rows], of_one_class(a[rows]), of_one_class(b[rows]), patients)
    assert copied.p == pytest.approx(once.p)
    as_images = compared(labels[rows], of_one_class(a[rows]), of_one_class(b[rows]))
    assert as_images.standard_error < 0.5 * copied.standard_error


@pytest.mark.parametrize("images_each", [1, 4])
def test_p_values_are_uniform_where_arms_are_alike(images_each):
    """With four images a patient, of either class, patients, folds and two seeds."""
    rng = np.random.default_rng(5)
    p_values = []
    for _ in range(300):
        patients = np.repeat(np.arange(120), images_each)
        labels = (rng.random(len(patients)) < 0.4).astype(int)
        shared = labels + rng.normal(size=120)[patients]
        a, b = (
            of_one_class(
                *(
                    shared + rng.normal(size=120)[patients] + 0.3 * rng.normal(size=len(patients))
                    for _ in range(2)
                )
            )
            for _ in range(2)
        )
        p_values.append(compared(labels, a, b, patients.astype(str), patients % 3).p)
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.09


def test_an_arm_against_itself_and_arms_swapped():
    rng = np.random.default_rng(6)
    labels = np.tile([0, 1], 30)
    a, b = of_one_class(noisy(labels, rng)), of_one_class(noisy(labels, rng))
    same = compared(labels, a, a)
    assert (same.difference, same.p) == (0, 1)
    forward, backward = compared(labels, a, b), compared(labels, b, a)
    assert backward.difference == pytest.approx(-forward.difference)
    assert backward.p == pytest.approx(forward.p)


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ([0, 0, 0, 0], "a class is missing in every fold"),
        ([0, 0, 0, 1], "a class has one patient in a fold"),
        ([0, 0, 1, 1], "the arms differ by the same for every image"),
    ],
)
def test_where_it_is_not_valid_it_says_why(labels, why):
    perfect, blind = of_one_class([0.1, 0.2, 0.8, 0.9]), of_one_class([0.5] * 4)
    result = compared(np.array(labels), blind, perfect)
    assert np.isnan(result.p)
    assert result.not_valid == why
