"""Against figures of the package confidenceinterval 1.0.5 (MIT), computed once and written down.

It is not installed with the tests, for it asks for a setuptools of its own.
"""

import numpy as np
import pytest

from glcm_mae.evaluation import delong_test, patient_bootstrap, weighted_metrics

IMAGE = np.arange(100)
LABELS = (IMAGE * 7 % 10 < 4).astype(int)
SCORES = np.round(0.5 + 0.2 * (LABELS - 0.5) + 0.3 * np.sin(IMAGE * IMAGE * 0.7), 3)
PROBABILITIES = np.stack([1 - SCORES, SCORES], axis=1)

# Of 20,000 resamples of images, method bootstrap_percentile.
INTERVALS = {
    "accuracy": (0.65, 0.56, 0.74),
    "sensitivity": (0.725, 0.5806, 0.8605),  # tpr_score
    "specificity": (0.6, 0.4746, 0.7213),  # tnr_score
    "ppv": (0.5472, 0.4118, 0.6809),  # ppv_score
    "npv": (0.7660, 0.6400, 0.8837),  # npv_score
    "macro_f1": (0.6483, 0.5500, 0.7399),
    "auroc": (0.7590, 0.6589, 0.8459),
}
DELONG = 0.7589582, 0.0477441  # AUROC, and the root of delong_roc_variance


def test_intervals():
    found = patient_bootstrap(
        LABELS, PROBABILITIES, tuple(map(str, IMAGE)), weighted_metrics, 20_000, seed=0
    )
    for name, expected in INTERVALS.items():
        # Two samples of resamples differ by some thousandths in the ends; one image is 0.01.
        assert [found[name].value, found[name].low, found[name].high] == pytest.approx(
            expected, abs=0.005
        )


def test_delong():
    nothing, scores = (np.stack([-s, s], axis=1)[None] for s in (np.zeros(100), SCORES))
    patients, folds = IMAGE.astype(str), np.zeros(100, int)
    result = delong_test(LABELS, nothing, scores, patients, folds, (1,))
    assert result.difference == pytest.approx(DELONG[0] - 0.5, abs=1e-5)
    assert result.standard_error == pytest.approx(DELONG[1], rel=1e-4)
