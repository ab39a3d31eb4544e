"""Which threshold is chosen, against a search through all of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from glcm_mae.errors import UserError
from glcm_mae.evaluation import (
    operating_point,
    sensitive_threshold,
    specific_threshold,
    youden_threshold,
)

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=40)


def unzipped(rows):
    case = np.array([is_case for is_case, _ in rows])
    return case, np.array([score for _, score in rows]) / 8


def shares(case, scores, threshold):
    called = scores >= threshold
    return called[case].mean(), 1 - called[~case].mean()


def every_threshold(scores):
    """Below, between and above all scores."""
    levels = np.unique(scores)
    return [0.0, *((levels[1:] + levels[:-1]) / 2), levels[-1] + 1]


@given(ROWS)
@settings(max_examples=100, deadline=None)
def test_no_threshold_of_the_roc_curve_is_better(rows):
    case, scores = unzipped(rows)
    threshold = youden_threshold(case, scores)
    if case.all() or not case.any():
        assert np.isnan(threshold)
        return
    false, true, _ = roc_curve(case, scores)
    assert sum(shares(case, scores, threshold)) - 1 == pytest.approx((true - false).max())
    lower = [t for t in every_threshold(scores) if t < threshold - 1e-9]
    best = sum(shares(case, scores, threshold))
    assert all(sum(shares(case, scores, t)) < best - 1e-12 for t in lower)


@given(ROWS, st.sampled_from([0.01, 0.5, 0.9, 0.95, 1.0]))
@settings(max_examples=100, deadline=None)
def test_the_share_asked_for_is_had_at_the_least_cost_in_the_other(rows, least):
    case, scores = unzipped(rows)
    found = sensitive_threshold(case, scores, least), specific_threshold(case, scores, least)
    if case.all() or not case.any():
        assert np.isnan(found).all()
        return
    of_all = np.array([shares(case, scores, t) for t in every_threshold(scores)])  # (n, 2)
    for own, threshold in enumerate(found):
        had = shares(case, scores, threshold)
        assert had[own] >= least - 1e-9
        assert had[1 - own] == pytest.approx(of_all[of_all[:, own] >= least - 1e-9, 1 - own].max())


def test_threshold_lies_between_scores():
    assert youden_threshold(np.array([False, True]), np.array([0.2, 0.6])) == pytest.approx(0.4)
    assert youden_threshold(np.array([True, False]), np.array([0.2, 0.6])) == 0.0


def test_above_all_scores_nothing_is_called():
    case, scores = np.array([True, False]), np.array([0.2, 1.0])
    assert shares(case, scores, specific_threshold(case, scores, 1.0)) == (0.0, 1.0)


@pytest.mark.parametrize("low", [0.5, 1 - 2**-52])
def test_between_neighbouring_floats_there_is_still_a_threshold(low):
    case, scores = np.array([False, True]), np.array([low, np.nextafter(low, 2)])
    for threshold in (
        youden_threshold(case, scores),
        sensitive_threshold(case, scores, 1.0),
        specific_threshold(case, scores, 1.0),
    ):
        assert shares(case, scores, threshold) == (1.0, 1.0)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan")])
@pytest.mark.parametrize("name", ["sensitivity", "specificity"])
def test_a_share_out_of_range_is_refused(name, share):
    with pytest.raises(UserError, match=f"{name} is .*: give a share above 0, up to 1"):
        operating_point(**{name: share})


def test_both_are_refused():
    with pytest.raises(UserError, match="leave the other out"):
        operating_point(0.9, 0.9)
