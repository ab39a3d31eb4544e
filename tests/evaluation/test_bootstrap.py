import math

import numpy as np
import pytest

from glcm_mae.errors import UserError
from glcm_mae.evaluation import Interval, bootstrap, compute_metrics, patient_bootstrap


def clustered(rng, n_patients, images_each):
    """Images of a patient share an effect, so they are far from independent."""
    disease = np.repeat(rng.random(n_patients) < 0.4, images_each)
    effect = np.repeat(rng.normal(size=n_patients), images_each)
    score = 1.2 * disease + effect + 0.5 * rng.normal(size=len(disease)) - 0.5
    p = 1 / (1 + np.exp(-score))
    patients = np.repeat(np.arange(n_patients), images_each).astype(str)
    return disease.astype(int), np.stack([1 - p, p], axis=1), patients


def width(interval):
    return interval.high - interval.low


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    truth = compute_metrics(*clustered(rng, 100_000, 2)[:2])
    names = ("auroc", "accuracy", "sensitivity", "macro_f1")
    covered = dict.fromkeys(names, 0)
    n_sets = 200
    for _ in range(n_sets):
        intervals = patient_bootstrap(*clustered(rng, 80, 4), n_resamples=300)
        for name in names:
            covered[name] += intervals[name].low <= truth[name] <= intervals[name].high
    for name, count in covered.items():
        assert 0.88 <= count / n_sets <= 0.99, (name, count / n_sets)


def test_copies_of_images_are_no_new_evidence():
    labels, probabilities, patients = clustered(np.random.default_rng(1), 60, 1)
    copied = [np.repeat(column, 10, axis=0) for column in (labels, probabilities, patients)]
    once = patient_bootstrap(labels, probabilities, patients)
    tenfold = patient_bootstrap(*copied, seed=1)
    as_images = patient_bootstrap(*copied[:2], np.arange(600).astype(str))
    for name in ("auroc", "accuracy", "f1/1"):
        assert width(tenfold[name]) == pytest.approx(width(once[name]), rel=0.1), name
        assert width(as_images[name]) == pytest.approx(width(once[name]) / 10**0.5, rel=0.2), name


def test_agrees_with_resampling_rows_one_by_one():
    labels, probabilities, patients = clustered(np.random.default_rng(2), 40, 3)
    rng = np.random.default_rng(3)
    rows_of = [np.flatnonzero(patients == p) for p in np.unique(patients)]
    slow = []
    for _ in range(2000):
        rows = np.concatenate([rows_of[i] for i in rng.integers(40, size=40)])
        slow.append(compute_metrics(labels[rows], probabilities[rows])["auroc"])
    fast = patient_bootstrap(labels, probabilities, patients)["auroc"]
    assert [fast.low, fast.high] == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.015)


def test_same_seed_same_interval_in_any_order_and_any_chunk(monkeypatch):
    labels, probabilities, patients = clustered(np.random.default_rng(4), 30, 3)
    args = {"n_resamples": 101, "seed": 5}
    first = patient_bootstrap(labels, probabilities, patients, **args)["auroc"]
    back = slice(None, None, -1)
    again = patient_bootstrap(labels[back], probabilities[back], patients[back], **args)["auroc"]
    assert [again.low, again.high] == pytest.approx([first.low, first.high])
    monkeypatch.setattr(bootstrap, "_CHUNK_ELEMENTS", 1000)
    assert patient_bootstrap(labels, probabilities, patients, **args)["auroc"] == first
    other = patient_bootstrap(labels, probabilities, patients, n_resamples=101, seed=6)["auroc"]
    assert other != first


def test_patients_are_drawn_within_their_folds():
    strata = np.array([3, 0, 3, 0, 3, 1])
    counts = np.concatenate([*bootstrap.patient_counts(strata, 500, seed=0, chunk=7)])
    for stratum, size in ((0, 2), (1, 1), (3, 3)):
        assert set(counts[:, strata == stratum].sum(1)) == {size}
    assert counts.mean(0) == pytest.approx(np.ones(6), abs=0.15)
    again = np.concatenate([*bootstrap.patient_counts(strata, 500, seed=0, chunk=500)])
    assert np.array_equal(counts, again)


def test_interval_of_the_calibration_error_holds_its_value():
    """Percentiles alone would lie above it, since every resample adds noise."""
    rng = np.random.default_rng(7)
    p = rng.random(400)
    labels = (rng.random(400) < p).astype(int)
    probabilities = np.stack([1 - p, p], axis=1)
    ece = patient_bootstrap(labels, probabilities, np.arange(400).astype(str), n_resamples=500)[
        "ece"
    ]
    assert 0 < ece.low < ece.value < ece.high < 0.1
    assert ece.high - ece.value == pytest.approx(ece.value - ece.low, rel=0.5)


def test_value_is_the_metric_of_the_sample():
    data = clustered(np.random.default_rng(5), 20, 2)
    values = {name: i.value for name, i in patient_bootstrap(*data, n_resamples=40).items()}
    assert values == compute_metrics(*data[:2])


def test_one_class_gives_no_interval_and_no_error():
    labels, patients = np.zeros(6, int), list("abcdef")
    intervals = patient_bootstrap(labels, np.tile([0.6, 0.4], (6, 1)), patients, n_resamples=50)
    auroc = intervals["auroc"]
    assert math.isnan(auroc.value)
    assert math.isnan(auroc.low)
    assert math.isnan(auroc.high)
    assert auroc.undefined == 50
    assert intervals["accuracy"] == Interval(1, 1, 1)


@pytest.mark.parametrize(("n_cases", "has_interval"), [(1, True), (0, False)])
def test_undefined_replicates_are_counted(n_cases, has_interval):
    def needs_luck(labels, probabilities, weights):
        """Undefined where patient 0 is not drawn (37%) or, with no case, where it is (63%)."""
        missing = (weights[:, 0] == 0) == (n_cases == 1)
        return {"m": np.where(missing, np.nan, weights[:, 1])}

    labels, probabilities = np.zeros(50, int), np.full((50, 2), 0.5)
    interval = patient_bootstrap(labels, probabilities, np.arange(50).astype(str), needs_luck)["m"]
    share = (1 - 1 / 50) ** 50
    expected = share if n_cases == 1 else 1 - share
    assert interval.undefined / 2000 == pytest.approx(expected, abs=0.05)
    assert math.isfinite(interval.low) == math.isfinite(interval.high) == has_interval


def test_a_rare_class_is_undefined_in_some_resamples():
    labels = np.array([1] + [0] * 19)
    malignant = np.linspace(0.9, 0.1, 20)
    probabilities = np.stack([1 - malignant, malignant], axis=1)
    auroc = patient_bootstrap(labels, probabilities, np.arange(20).astype(str))["auroc"]
    assert auroc.undefined / 2000 == pytest.approx(0.95**20, abs=0.05)
    assert auroc.value == 1


def test_one_patient_tells_no_interval():
    interval = patient_bootstrap(np.array([0, 1]), np.eye(2), ["a", "a"], n_resamples=40)["auroc"]
    assert interval.value == 1
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert interval.undefined == 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"n_resamples": 39}, "n_resamples=39 is too small"), ({"seed": -1}, "seed=-1 is negative")],
)
def test_settings_that_make_no_sense(setting, message):
    with pytest.raises(UserError, match=message):
        patient_bootstrap(np.array([0, 1]), np.eye(2), ["a", "b"], **setting)
