import math

import numpy as np
import pytest
from scipy import stats

from glcm_mae.errors import UserError
from glcm_mae.evaluation import Crossed, bootstrap, crossed_bootstrap, crossed_interval, crossed_p
from glcm_mae.evaluation.crossed import error_over_seeds, t_quantile
from glcm_mae.evaluation.metrics import range_of

FOLDS = np.arange(200) % 5
PATIENTS = np.arange(200).astype(str)


def mean_of(values):
    """The statistic of one seed: the weighted mean of its values (N,)."""
    return lambda weights: {"m": weights @ values / weights.sum(1)}


def measured(of_seeds, n_resamples=400, seed=0):
    arms = {"a": [mean_of(values) for values in of_seeds]}
    return crossed_bootstrap(arms, PATIENTS, FOLDS, n_resamples, seed)["a"]["m"]


# --- resampling


def test_a_resample_serves_all_arms_and_seeds():
    rng = np.random.default_rng(1)
    hard = rng.normal(size=200)
    of_seeds = hard + 0.3 * rng.normal(size=(3, 1))
    arms = {
        "a": [mean_of(values) for values in of_seeds],
        "b": [mean_of(values + 0.1) for values in of_seeds],
        "one": [mean_of(hard)],
    }
    found = {name: one["m"] for name, one in crossed_bootstrap(arms, PATIENTS, FOLDS, 300).items()}
    between = found["b"] - found["a"]
    assert between.of_seeds == pytest.approx(np.full(3, 0.1))
    assert between.replicates == pytest.approx(np.full((3, 300), 0.1))
    # One seed stands for all.
    assert (found["a"] - found["one"]).replicates.std(1) == pytest.approx(np.zeros(3), abs=1e-12)


def test_patients_are_drawn_within_folds():
    one = measured([FOLDS.astype(float)])
    assert one.value == 2
    assert one.replicates == pytest.approx(np.full((1, 400), 2.0))


def test_patients_of_several_folds_are_drawn_without_folds():
    arms = {"a": [mean_of(np.random.default_rng(2).normal(size=200))]}
    pairs = np.repeat(np.arange(100), 2).astype(str)  # the images of a patient in two folds
    across, without = (
        crossed_bootstrap(arms, pairs, folds, 50)["a"]["m"].replicates for folds in (FOLDS, None)
    )
    assert np.array_equal(across, without)


def test_any_chunk_gives_the_same_replicates(monkeypatch):
    of_seeds = np.random.default_rng(4).normal(size=(2, 200))
    first = measured(of_seeds, n_resamples=55).replicates
    monkeypatch.setattr(bootstrap, "_CHUNK_ELEMENTS", 1400)
    assert measured(of_seeds, n_resamples=55).replicates == pytest.approx(first)
    assert not np.allclose(measured(of_seeds, n_resamples=55, seed=1).replicates, first)


def test_settings_that_make_no_sense():
    with pytest.raises(UserError, match="n_resamples=0 is too small"):
        measured([np.ones(200)], n_resamples=0)


# --- errors and intervals


def with_covariance(of_seeds, covariance):
    """Replicates whose covariance between any two seeds is just this."""
    common = np.tile([-1.0, 1.0], 500)
    common *= np.sqrt(covariance) / common.std(ddof=1)
    of_seeds = np.asarray(of_seeds)
    return Crossed(of_seeds, of_seeds[:, None] + np.tile(common, (len(of_seeds), 1)))


# Van Dyke et al. 1993, spin-echo (1) and cine (2) MRI, five readers, 114 cases; areas, covariances
# and results as MRMCaov for MATLAB 0.2.0 (Smith, Hillis 2022) prints them in its README.
SPIN_ECHO = np.array([0.91965, 0.85878, 0.90386, 0.97311, 0.82979])
CINE = np.array([0.94783, 0.90531, 0.92174, 0.99936, 0.92995])


@pytest.mark.parametrize(
    ("of_readers", "covariance", "estimate", "error", "freedom", "low", "high"),
    [
        # Of a difference the covariance is twice that within a test less that between tests.
        (
            SPIN_ECHO - CINE,
            2 * (33.906e-5 - 23.561e-5),
            -0.0438,
            0.020672,
            15.034,
            -0.08785,
            2.5e-4,
        ),
        (SPIN_ECHO, 47.718e-5, 0.89704, 0.033071, 12.588, 0.82535, 0.96872),
        (CINE, 20.095e-5, 0.94084, 0.021491, 12.534, 0.89423, 0.98744),
    ],
)
def test_a_published_reading_study(of_readers, covariance, estimate, error, freedom, low, high):
    found = with_covariance(of_readers, covariance)
    assert error_over_seeds(found) == (
        pytest.approx(error, rel=5e-4),
        pytest.approx(freedom, rel=2e-3),
    )
    ends = crossed_interval(found, 114, (-1.0, 1.0))
    if estimate < 0:
        assert crossed_p(found, 114) == pytest.approx(0.051162, abs=5e-5)
    assert ends.value == pytest.approx(estimate, abs=1e-5)
    assert (ends.low, ends.high) == pytest.approx((low, high), abs=3e-5)


def test_equal_seeds_are_no_more_evidence_than_one():
    """Patients and seeds are crossed, not nested."""
    values = np.random.default_rng(0).normal(size=200)
    one, three = error_over_seeds(measured([values])), error_over_seeds(measured([values] * 3))
    assert three == pytest.approx(one)
    within = np.mean([values[fold == FOLDS].var() for fold in range(5)])
    assert one == (pytest.approx((within / 200) ** 0.5, rel=0.1), math.inf)


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
def test_seeds_alone_give_the_t_interval_of_their_mean(n_seeds):
    of_seeds = np.random.default_rng(n_seeds).normal(0.5, 0.01, size=n_seeds)
    found = crossed_interval(measured(of_seeds[:, None] + np.zeros(200)), 200)
    expected = stats.t.interval(0.95, n_seeds - 1, of_seeds.mean(), stats.sem(of_seeds))
    assert (found.low, found.high) == pytest.approx(expected)


def test_seeds_that_are_alike_by_luck_do_not_narrow_the_interval():
    """They differ by what patients make of each seed at least, whose mean is known."""
    rng = np.random.default_rng(0)
    lucky = Crossed(np.full(3, 0.8), 0.8 + 0.03 * rng.normal(size=(3, 20_000)))
    error, freedom = error_over_seeds(lucky)
    assert error == pytest.approx(0.03 / 3**0.5, rel=0.03)
    assert freedom == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("value", [0.1, 0.25, 1 / 3])
def test_where_nothing_differs_p_is_1_and_where_nothing_can_tell_there_is_none(value):
    nothing = Crossed(np.zeros(3), np.zeros((3, 10)))
    assert crossed_p(nothing, 200) == 1
    always = Crossed(np.full(3, value), np.full((3, 500), value))
    assert math.isnan(crossed_p(always, 200))
    assert math.isnan(crossed_p(Crossed(np.full(3, np.nan), np.zeros((3, 10))), 200))
    common = with_covariance([0.02, 0.02, 0.02], 1e-4)  # patients alone: a normal test
    assert crossed_p(common, 200) == pytest.approx(2 * stats.norm.sf(2))
    assert math.isnan(crossed_p(common, 1))  # every resample is the sample
    common.replicates[:, :600] = np.nan
    assert math.isnan(crossed_p(common, 200))


def test_seeds_that_move_against_each_other_do_not_narrow_the_interval():
    """A negative covariance counts as none."""
    common = 0.01 * np.random.default_rng(0).normal(size=20_000)
    opposed = Crossed(np.array([0.4, 0.6]), np.stack([0.4 + common, 0.6 - common]))
    error, freedom = error_over_seeds(opposed)
    assert (error, freedom) == (pytest.approx(0.1), pytest.approx(1))


def test_a_calibration_error_does_not_lean():
    """Its replicates lie above its value; the error is that of the shifted ones."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200).astype(float)

    def ece(weights):
        return {"ece": np.abs(weights @ (labels - 0.5)) / weights.sum(1)}

    found = crossed_bootstrap({"a": [ece]}, PATIENTS, None, 500)["a"]["ece"]
    assert found.replicates.mean() == pytest.approx(found.value, abs=0.005)
    assert found.replicates.min() >= 0


def test_the_brier_score_may_pass_1():
    bad = with_covariance([1.79, 1.80, 1.82], 1e-4)
    found = crossed_interval(bad, 100, range_of("brier"))
    assert 1 < found.low < found.value < found.high < 2


def test_a_patient_alone_in_a_fold_is_drawn_with_the_others():
    values = np.random.default_rng(0).normal(size=200)
    arms = {"a": [mean_of(values)]}
    alone = crossed_bootstrap(arms, PATIENTS, np.arange(200), 400)["a"]["m"]
    together = crossed_bootstrap(arms, PATIENTS, None, 400)["a"]["m"]
    assert np.array_equal(alone.replicates, together.replicates)
    assert error_over_seeds(alone)[0] > 0.05


def test_an_interval_ends_where_no_metric_can_lie():
    found = with_covariance([0.96, 0.99, 1.0], 1e-4)
    assert crossed_interval(found, 100).high == 1.0
    low = with_covariance([0.0, 0.01, 0.04], 1e-4)
    assert crossed_interval(low, 100).low == 0.0
    assert crossed_interval(low, 100, (-1.0, 1.0)).low < 0.0


def test_what_is_undefined():
    values, nothing = np.ones(200), np.full(200, np.nan)
    unknown = crossed_interval(measured([values, nothing]), 200)
    assert all(math.isnan(end) for end in (unknown.value, unknown.low, unknown.high))
    assert math.isnan(crossed_interval(measured([values, values]), 1).low)  # one patient
    gaps = with_covariance([0.4, 0.5, 0.6], 1e-4)
    gaps.replicates[1, :400] = np.nan
    found = crossed_interval(gaps, 200)
    assert found.undefined == 400
    assert found.low < 0.5 < found.high
    gaps.replicates[2, 400:600] = np.nan
    assert math.isnan(crossed_interval(gaps, 200).low)


@pytest.mark.parametrize("freedom", [1, 2.5, 30, math.inf])
@pytest.mark.parametrize("probability", [0.025, 0.8, 0.975])
def test_quantiles(probability, freedom):
    expected = stats.t.ppf(probability, freedom)
    assert t_quantile(probability, freedom) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("patients_sd", "seeds_sd", "both_sd", "at_most"),
    [
        (1, 0, 0, 0.975),
        (1, (3 / 200) ** 0.5, 0, 0.975),
        (0.1, 1, 0, 0.975),
        (1, (3 / 200) ** 0.5, 1, 0.975),
        (0, 0, 1, 1.0),
    ],
    ids=["patients", "both alike", "seeds", "all three", "their interaction"],
)
def test_three_seeds_cover_the_truth_wherever_the_chance_is(
    patients_sd, seeds_sd, both_sd, at_most
):
    rng = np.random.default_rng(3)
    n_studies, covered = 400, 0
    for study in range(n_studies):
        of_seeds = (
            patients_sd * rng.normal(size=200)
            + seeds_sd * rng.normal(size=(3, 1))
            + both_sd * rng.normal(size=(3, 200))
        )
        found = measured(of_seeds, n_resamples=200, seed=study)
        error, freedom = error_over_seeds(found)
        covered += abs(found.value) <= error * t_quantile(0.975, freedom)
    assert 0.92 <= covered / n_studies <= at_most
