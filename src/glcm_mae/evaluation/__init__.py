"""Metrics with confidence intervals over patients, and comparisons between arms.

`evaluate` reads the predictions that fine-tuning and probing write and says how good they are;
`compare_arms` says which of several arms, over folds and seeds, differ from one of them, and
`paired_difference` does so for two. The pieces (`compute_metrics`, `patient_bootstrap`,
`crossed_bootstrap`, `delong_test`, `mcnemar_test`, `Predictions`) serve alone. Needs only numpy,
and scipy for Student's t.
"""

from glcm_mae.evaluation.bootstrap import Interval, patient_bootstrap, with_interval
from glcm_mae.evaluation.calibration import calibration_error
from glcm_mae.evaluation.compare import compare_arms
from glcm_mae.evaluation.comparison_table import format_comparison
from glcm_mae.evaluation.crossed import (
    Crossed,
    crossed_bootstrap,
    crossed_interval,
    crossed_p,
    error_over_seeds,
)
from glcm_mae.evaluation.delong import delong_test
from glcm_mae.evaluation.evaluate import evaluate, metrics_file
from glcm_mae.evaluation.holm import holm
from glcm_mae.evaluation.mcnemar import mcnemar_test
from glcm_mae.evaluation.metrics import compute_metrics, weighted_metrics
from glcm_mae.evaluation.metrics_table import format_table
from glcm_mae.evaluation.operating_point import (
    operating_point,
    sensitive_threshold,
    specific_threshold,
    youden_threshold,
)
from glcm_mae.evaluation.paired import paired_difference
from glcm_mae.evaluation.thresholds import calls_at_threshold
from glcm_mae.evaluation.verdict import verdict
from glcm_mae.predictions import Predictions, read_predictions

__all__ = [
    "Crossed",
    "Interval",
    "Predictions",
    "calibration_error",
    "calls_at_threshold",
    "compare_arms",
    "compute_metrics",
    "crossed_bootstrap",
    "crossed_interval",
    "crossed_p",
    "delong_test",
    "error_over_seeds",
    "evaluate",
    "format_comparison",
    "format_table",
    "holm",
    "mcnemar_test",
    "metrics_file",
    "operating_point",
    "paired_difference",
    "patient_bootstrap",
    "read_predictions",
    "sensitive_threshold",
    "specific_threshold",
    "verdict",
    "weighted_metrics",
    "with_interval",
    "youden_threshold",
]
