import numpy as np
import pytest

from glcm_mae.errors import UserError
from glcm_mae.evaluation import Predictions, calls_at_threshold
from glcm_mae.evaluation.thresholds import threshold_metrics

CLASSES = ("benign", "malignant")


def table(names, labels, malignant, **columns):
    p = np.array(malignant)
    probabilities = np.stack([1 - p, p], axis=1)
    return Predictions(
        names, columns.pop("patients", names), labels, CLASSES, probabilities, **columns
    )


def two_models(**changes):
    """Fold 1's model gives scores a tenth of fold 0's."""
    columns = {
        "names": list("abcdefgh"),
        "labels": [0, 0, 1, 1] * 2,
        "malignant": [0.2, 0.3, 0.7, 0.8, 0.02, 0.03, 0.07, 0.08],
        "folds": [0] * 4 + [1] * 4,
    }
    return table(**(columns | changes))


def test_every_model_has_its_own_threshold():
    test = two_models(names=list("ABCDEFGH"))
    calls = calls_at_threshold(test, two_models(), "malignant")
    assert calls.is_called.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    there = {"validation_sensitivity": 1.0, "validation_specificity": 1.0}
    assert calls.to_json() == [
        {"fold": 0, "seed": None, "threshold": pytest.approx(0.5), **there},
        {"fold": 1, "seed": None, "threshold": pytest.approx(0.05), **there},
    ]


def test_test_images_have_no_part_in_the_choice():
    easy = calls_at_threshold(two_models(names=list("ABCDEFGH")), two_models(), "malignant")
    other = two_models(names=list("ABCDEFGH"), labels=[1, 1, 0, 0] * 2, malignant=[0.9] * 8)
    hard = calls_at_threshold(other, two_models(), "malignant")
    assert hard.thresholds == easy.thresholds


def test_a_model_without_a_threshold_leaves_the_metrics_undefined():
    validation = two_models(labels=[0, 0, 1, 1, 0, 0, 0, 0])
    calls = calls_at_threshold(two_models(names=list("ABCDEFGH")), validation, "malignant")
    assert [row["threshold"] for row in calls.to_json()] == [pytest.approx(0.5), None]
    assert calls.to_json()[1]["validation_sensitivity"] is None
    metrics = threshold_metrics(np.array([0, 0, 1, 1] * 2) > 0, calls.is_called, np.ones((2, 8)))
    assert np.isnan([*metrics.values()]).all()


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (
            two_models(folds=[0] * 8),
            "the validation table has no rows for fold 1, which the test table has: write both "
            "from one run.",
        ),
        (
            two_models(patients=["x", *"bcd", *"efgh"]),
            "1 patients are both in the validation and in the test table of fold 0, so a threshold "
            "would be chosen on what it is tested on: split by patient.",
        ),
        (
            Predictions(["q"], ["q"], [0], ("b", "m"), [[0.5, 0.5]]),
            "the validation table has other classes than the test table, ('b', 'm') and "
            "('benign', 'malignant'): write both from one run.",
        ),
    ],
)
def test_tables_that_do_not_fit(validation, message):
    test = two_models(names=list("ABCDEFGH"), patients=["x", *"BCDEFGH"])
    with pytest.raises(UserError) as caught:
        calls_at_threshold(test, validation, "malignant")
    assert str(caught.value) == message


def test_a_single_run_has_neither_fold_nor_seed():
    validation = table(["a", "b"], [0, 1], [0.2, 0.6])
    seeded = table(["c"], [1], [0.5], seeds=[3])
    assert calls_at_threshold(table(["c"], [1], [0.5]), validation, "malignant").is_called == [1]
    with pytest.raises(UserError, match="no rows for seed 3, which"):
        calls_at_threshold(seeded, validation, "malignant")
