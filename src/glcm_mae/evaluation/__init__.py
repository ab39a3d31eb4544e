"""Metrics with confidence intervals over patients, and comparisons between arms.

`evaluate` reads the predictions that fine-tuning and probing write and says how good they are;
`paired_difference` says whether one arm beats another. The pieces (`compute_metrics`,
`patient_bootstrap`, `Predictions`) serve alone. Needs only numpy.
"""

from glcm_mae.evaluation.bootstrap import Interval, patient_bootstrap
from glcm_mae.evaluation.evaluate import evaluate, format_table
from glcm_mae.evaluation.metrics import compute_metrics, weighted_metrics
from glcm_mae.evaluation.paired import paired_difference
from glcm_mae.predictions import Predictions, read_predictions

__all__ = [
    "Interval",
    "Predictions",
    "compute_metrics",
    "evaluate",
    "format_table",
    "paired_difference",
    "patient_bootstrap",
    "read_predictions",
    "weighted_metrics",
]
