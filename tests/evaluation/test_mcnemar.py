import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar

from glcm_mae.evaluation import mcnemar_test


def discordant(n_better, n_worse, n_same=5):
    a = np.array([[False] * n_better + [True] * (n_worse + n_same)])
    b = np.array([[True] * n_better + [False] * n_worse + [True] * n_same])
    return a, b, np.arange(a.shape[1]).astype(str)


@given(st.integers(0, 60), st.integers(0, 60))
@settings(deadline=None, max_examples=50)
def test_one_image_a_patient_equals_statsmodels(n_better, n_worse):
    expected = mcnemar([[5, n_better], [n_worse, 0]], exact=True).pvalue
    result = mcnemar_test(*discordant(n_better, n_worse))
    assert (result.n_better, result.n_worse) == (n_better, n_worse)
    assert result.p == pytest.approx(expected, abs=1e-12)


def test_is_twice_the_binomial_tail():
    """9 discordant pairs, 1 against 8: 2 (1 + 9) / 2^9."""
    assert mcnemar_test(*discordant(8, 1)).p == pytest.approx(2 * (1 + 9) / 2**9)
    assert mcnemar_test(*discordant(4, 4)).p == 1
    assert mcnemar_test(*discordant(0, 0)).p == 1


def test_several_images_and_seeds_equal_all_ways_to_swap():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(9), [1, 2, 3, 1, 2, 4, 1, 1, 2]).astype(str)
    a, b = rng.random((3, len(patients))) < 0.5, rng.random((3, len(patients))) < 0.7
    of_patients = [
        int(b[:, patients == p].sum()) - int(a[:, patients == p].sum()) for p in np.unique(patients)
    ]
    ways = [
        sum(sign * d for sign, d in zip(signs, of_patients, strict=True))
        for signs in itertools.product((-1, 1), repeat=9)
    ]
    expected = np.mean(np.abs(ways) >= abs(sum(of_patients)))
    assert 0 < expected < 1
    assert mcnemar_test(a, b, patients).p == pytest.approx(expected)
    assert mcnemar_test(b, a, patients).p == pytest.approx(expected)


def test_copies_of_images_are_no_new_evidence():
    a, b, patients = discordant(9, 2)
    copied = mcnemar_test(np.repeat(a, 10, 1), np.repeat(b, 10, 1), np.repeat(patients, 10))
    assert copied.p == pytest.approx(mcnemar_test(a, b, patients).p)
    as_images = mcnemar_test(np.repeat(a, 10, 1), np.repeat(b, 10, 1), np.arange(160).astype(str))
    assert as_images.p < 1e-6 < copied.p


def test_an_arm_of_one_seed_stands_for_all():
    a, b, patients = discordant(6, 1)
    three = np.concatenate([b, b, b])
    assert mcnemar_test(a, three, patients) == mcnemar_test(np.repeat(a, 3, 0), three, patients)
