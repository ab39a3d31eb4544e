"""A threshold on one class's probability, chosen on validation images and used on test images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glcm_mae.errors import UserError
from glcm_mae.evaluation.metrics import decision_metrics
from glcm_mae.evaluation.operating_point import Choice, youden_threshold
from glcm_mae.predictions import Predictions

THRESHOLD_METRICS = (
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "balanced_accuracy",
    "f1",
    "accuracy",
)

Model = tuple[int | None, int | None]
"""Fold and seed, which name the model that made a row; None where the table does not tell."""


@dataclass(frozen=True, eq=False)
class ThresholdCalls:
    """Which test images are called a case, each at the threshold of its model.

    Parameters
    ----------
    class_name : str
        The class that is a case.
    thresholds : dict
        From model (fold, seed) to threshold.
    reached : dict
        From model to the sensitivity and specificity of its validation images at its threshold.
    is_called : ndarray of float, shape (N,)
        1 where a row is called a case, 0 where not, NaN where its model has no threshold.
    """

    class_name: str
    thresholds: dict[Model, float]
    reached: dict[Model, tuple[float, float]]
    is_called: NDArray[np.float64]

    def to_json(self) -> list[dict[str, float | int | None]]:
        """List the thresholds for JSON.

        Returns
        -------
        list of dict
            ``fold``, ``seed``, ``threshold``, ``validation_sensitivity`` and
            ``validation_specificity``, in the order of seeds and folds. The last three are None
            where the model's validation images are all cases, or none is.
        """
        listed = []
        for (fold, seed), threshold in self.thresholds.items():
            found, spared = self.reached.get((fold, seed), (None, None))
            listed.append(
                {
                    "fold": fold,
                    "seed": seed,
                    "threshold": None if np.isnan(threshold) else threshold,
                    "validation_sensitivity": found,
                    "validation_specificity": spared,
                }
            )
        return listed


def calls_at_threshold(
    test: Predictions,
    validation: Predictions,
    class_name: str,
    choose: Choice = youden_threshold,
) -> ThresholdCalls:
    """Choose a threshold for each fold and seed on its validation images, and use it on its test.

    Every model has a scale of its own, so a threshold serves only the fold and seed that it was
    chosen for. Test images have no part in the choice.

    Parameters
    ----------
    test : Predictions
        The rows to call.
    validation : Predictions
        Validation images, each under the fold and seed of the model that it validated.
    class_name : str
        The class that is a case; all others are not.
    choose : callable
        How: `youden_threshold`, or what `operating_point` returns.

    Returns
    -------
    ThresholdCalls

    Raises
    ------
    UserError
        If the tables have other classes, if a fold and seed of the test rows has no validation
        rows, or if a model's test patients are among its validation patients.

    Examples
    --------
    >>> def table(names, labels, malignant):
    ...     p = np.array(malignant)
    ...     return Predictions(names, names, labels, ("b", "m"), np.stack([1 - p, p], 1))
    >>> validation = table(["1", "2", "3"], [0, 1, 1], [0.1, 0.2, 0.3])
    >>> calls = calls_at_threshold(table(["4", "5"], [0, 1], [0.1, 0.25]), validation, "m")
    >>> calls.is_called
    array([0., 1.])
    """
    if test.classes != validation.classes:
        raise UserError(
            f"the validation table has other classes than the test table, {validation.classes} "
            f"and {test.classes}: write both from one run."
        )
    index = test.classes.index(class_name)
    rows_of_test, rows_of_validation = _rows_of_models(test), _rows_of_models(validation)
    thresholds, reached = {}, {}
    is_called = np.empty(len(test.paths))
    for model, rows in rows_of_test.items():
        chosen_on = rows_of_validation.get(model)
        if chosen_on is None:
            raise UserError(
                f"the validation table has no rows for {_words(model)}, which the test table has: "
                "write both from one run."
            )
        _check_apart(test, rows, validation, chosen_on, model)
        scores = validation.probabilities[chosen_on, index]
        is_case = validation.labels[chosen_on] == index
        threshold = choose(is_case, scores)
        thresholds[model] = threshold
        if not np.isnan(threshold):
            called = scores >= threshold
            reached[model] = float(called[is_case].mean()), float((~called)[~is_case].mean())
        is_called[rows] = test.probabilities[rows, index] >= threshold
        if np.isnan(threshold):
            is_called[rows] = np.nan
    return ThresholdCalls(class_name, thresholds, reached, is_called)


def threshold_metrics(
    is_case: NDArray[np.bool_], is_called: NDArray[np.float64], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Compute what the calls of one training seed are worth, for R resamples at once.

    Parameters
    ----------
    is_case : ndarray of bool, shape (N,)
        Whether each image is a case.
    is_called : ndarray of float, shape (N,)
        As in `ThresholdCalls`.
    weights : ndarray of float, shape (R, N)
        How often each image counts in each resample.

    Returns
    -------
    dict of str to ndarray of shape (R,)
        `THRESHOLD_METRICS`, as `compute_metrics` describes them for one class against the rest.
        All NaN where a model has no threshold: to judge the others alone would flatter.

    Examples
    --------
    >>> is_case, is_called = np.array([True, True, False]), np.array([1.0, 0.0, 0.0])
    >>> threshold_metrics(is_case, is_called, np.ones((1, 3)))["specificity"]
    array([1.])
    """
    of_calls = decision_metrics(is_case[:, None].astype(np.float64), is_called[:, None], weights)
    undefined = np.isnan(is_called).any()
    return {
        name: np.full(len(weights), np.nan) if undefined else of_calls[name][:, 0]
        for name in THRESHOLD_METRICS
    }


def _rows_of_models(table: Predictions) -> dict[Model, list[int]]:
    """Row numbers of each fold and seed, in the order of seed and fold."""
    n = len(table.paths)
    folds = [None] * n if table.folds is None else table.folds.tolist()
    seeds = [None] * n if table.seeds is None else table.seeds.tolist()
    rows_of: dict[Model, list[int]] = {}
    for row in sorted(range(n), key=lambda row: (seeds[row] or 0, folds[row] or 0)):
        rows_of.setdefault((folds[row], seeds[row]), []).append(row)
    return rows_of


def _check_apart(
    test: Predictions,
    test_rows: list[int],
    validation: Predictions,
    validation_rows: list[int],
    model: Model,
) -> None:
    tested = {test.patients[row] for row in test_rows}
    shared = len(tested & {validation.patients[row] for row in validation_rows})
    if shared:
        raise UserError(
            f"{shared} patients are both in the validation and in the test table of "
            f"{_words(model)}, so a threshold would be chosen on what it is tested on: split by "
            "patient."
        )


def _words(model: Model) -> str:
    fold, seed = model
    words = [f"fold {fold}"] * (fold is not None) + [f"seed {seed}"] * (seed is not None)
    return ", ".join(words) or "a model without fold and seed"
