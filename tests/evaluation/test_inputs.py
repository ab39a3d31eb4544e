"""What is no such array is refused by every statistic, in words; lists and tensors are arrays."""

import numpy as np
import pytest
import torch

from glcm_mae.evaluation import (
    compute_metrics,
    delong_test,
    mcnemar_test,
    patient_bootstrap,
    sensitive_threshold,
    specific_threshold,
    weighted_metrics,
    youden_threshold,
)

LABELS = [0, 0, 1, 1, 0, 1]
A, B = [0.1, 0.6, 0.4, 0.7, 0.2, 0.9], [0.2, 0.3, 0.6, 0.8, 0.7, 0.5]
PATIENTS = list("abcdef")
NAN = [float("nan"), *A[1:]]
STATISTICS = {
    "compute_metrics": compute_metrics,
    "patient_bootstrap": lambda y, p: patient_bootstrap(y, p, PATIENTS, n_resamples=40),
    "delong_test": lambda y, p: delong_test(y, p, B, PATIENTS),
    "youden_threshold": youden_threshold,
    "sensitive_threshold": lambda y, p: sensitive_threshold(y, p, 0.9),
    "specific_threshold": lambda y, p: specific_threshold(y, p, 0.9),
}


@pytest.mark.parametrize("statistic", STATISTICS.values(), ids=STATISTICS)
@pytest.mark.parametrize(
    ("labels", "scores", "complaint"),
    [
        (LABELS, NAN, "must not be NaN or infinite"),
        (LABELS, [np.inf, *A[1:]], "must not be NaN or infinite"),
        (LABELS, A[1:], "do not fit|give one for each of 6 images"),
        ([y + 1 for y in LABELS], A, "labels must be 0 to 1|must be True or False"),
        ([0.5, *LABELS[1:]], A, "labels must be whole numbers|must be True or False"),
        (list("nnyyny"), A, "labels must be whole numbers|must be True or False"),
    ],
)
def test_wrong_arrays_are_refused(statistic, labels, scores, complaint):
    with pytest.raises(ValueError, match=complaint):
        statistic(labels, scores)


@pytest.mark.parametrize("statistic", STATISTICS.values(), ids=STATISTICS)
def test_lists_tensors_and_arrays_of_any_kind_are_alike(statistic):
    expected = statistic(np.array(LABELS), np.array(A))
    assert statistic(LABELS, A) == expected
    assert statistic(torch.tensor(LABELS), torch.tensor(A, dtype=torch.float64)) == expected
    assert statistic(np.array(LABELS, bool), np.array(A)) == expected
    assert statistic(np.array(LABELS, float), np.array(A)) == expected
    assert statistic(np.array(LABELS, object), np.array(A)) == expected


def test_one_column_is_that_of_class_1():
    both = np.stack([1 - np.array(A), A], axis=1)
    assert compute_metrics(LABELS, A) == compute_metrics(LABELS, both)
    first, second = (np.stack([1 - np.array(x), x], axis=1)[None] for x in (A, B))
    folds = np.zeros(6, int)
    assert delong_test(LABELS, A, B, PATIENTS) == delong_test(
        LABELS, first, second, PATIENTS, folds, (1,)
    )
    of_one_seed = [x[0] for x in (first, second)]
    assert delong_test(LABELS, A, B, PATIENTS) == delong_test(LABELS, *of_one_seed, PATIENTS)
    right_a, right_b = ((np.array(x) > 0.5) == np.array(LABELS) for x in (A, B))
    assert mcnemar_test(right_a, right_b, PATIENTS) == mcnemar_test(
        right_a[None], right_b[None], PATIENTS
    )


def test_lengths_must_fit():
    with pytest.raises(ValueError, match=r"patients has shape \(7,\): give one for each of 6"):
        delong_test(LABELS, A, B, [*PATIENTS, "g"])
    with pytest.raises(ValueError, match=r"patients has shape \(5,\)"):
        patient_bootstrap(LABELS, A, PATIENTS[1:])
    with pytest.raises(ValueError, match=r"labels \(N,\) and scores \(S, N, K\) do not fit"):
        delong_test(LABELS, A, [*B, *B], PATIENTS)
    with pytest.raises(ValueError, match=r"folds has shape \(3,\)"):
        delong_test(LABELS, A, B, PATIENTS, [0, 0, 1])
    with pytest.raises(ValueError, match=r"is_right_a is \(1, 6\) and is_right_b \(1, 5\)"):
        mcnemar_test([True] * 6, [True] * 5, PATIENTS)
    with pytest.raises(ValueError, match=r"is_right_a is \(2, 6\) and is_right_b \(3, 6\)"):
        mcnemar_test(np.ones((2, 6)), np.ones((3, 6)), PATIENTS)
    with pytest.raises(ValueError, match="is_right_b must be True or False"):
        mcnemar_test([True] * 6, A, PATIENTS)

    with pytest.raises(ValueError, match=r"folds has shape \(4,\)"):
        weighted_metrics(LABELS, A, np.ones((1, 6)), folds=[0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"weights has shape \(5,\)"):
        weighted_metrics(LABELS, A, np.ones((2, 5)))


@pytest.mark.parametrize("missing", [None, float("nan"), ""])
def test_a_missing_patient_is_refused(missing):
    patients = [*PATIENTS[1:], missing]
    for statistic in (
        lambda: patient_bootstrap(LABELS, A, patients),
        lambda: delong_test(LABELS, A, B, patients),
        lambda: mcnemar_test([True] * 6, [False] * 6, patients),
    ):
        with pytest.raises(ValueError, match="a patient is missing"):
            statistic()


def test_one_column_of_scores_is_not_taken_for_probabilities():
    logits = [-3.0, 0.3, 0.2, -1.0, 2.0, 1.0]
    with pytest.raises(ValueError, match="one column must be probabilities"):
        compute_metrics(LABELS, logits)
    odds = np.exp(logits)
    expected = delong_test(LABELS, odds / (1 + odds), B, PATIENTS)
    assert delong_test(LABELS, logits, B, PATIENTS) == expected  # the order alone counts


def test_by_default_all_of_three_classes_are_tested():
    labels = [0, 1, 2, 0, 1, 2, 0, 1, 2]
    a, b = np.random.default_rng(0).random((2, 9, 3))
    patients = list("abcdefghi")
    every = delong_test(labels, a, b, patients, classes=range(3))
    assert delong_test(labels, a, b, patients) == every
    with pytest.raises(ValueError, match=r"classes are \[3\]: give one or more of 0 to 2"):
        delong_test(labels, a, b, patients, classes=[3])
    with pytest.raises(ValueError, match=r"scores of \[2, 3\] classes"):
        delong_test([0, 1, 1, 0, 1, 0, 0, 1, 1], a, b[:, :2], patients)
    by_name = delong_test(labels, a, b, patients, folds=list("xxxyyyxxx"))
    assert by_name == delong_test(labels, a, b, patients, folds=[0, 0, 0, 1, 1, 1, 0, 0, 0])


@pytest.mark.parametrize("threshold", [sensitive_threshold, specific_threshold])
@pytest.mark.parametrize("least", [95, 0, -0.1, float("nan")])
def test_what_is_no_share_is_refused(threshold, least):
    with pytest.raises(ValueError, match=r"least is .*: give a share above 0, up to 1"):
        threshold(LABELS, A, least)
