"""The models of each training seed in a table of predictions, measured by themselves."""

from functools import partial

from glcm_mae.evaluation.crossed import SeedStatistic
from glcm_mae.evaluation.metrics import FloatArray, IntArray, weighted_metrics
from glcm_mae.predictions import Predictions


def metrics_of_seeds(
    table: Predictions, positive: str | None = None, start: int = 0
) -> list[SeedStatistic]:
    """Measure each seed of a table by `weighted_metrics`, on its own rows.

    Scores of different models share no scale, so that no image is ranked against one of another
    seed.

    Parameters
    ----------
    table : Predictions
        Of one seed or several.
    positive : str, optional
        As for `compute_metrics`.
    start : int
        Where the table's rows begin among those that are weighed.

    Returns
    -------
    list of callable
        For `crossed_bootstrap`.

    Examples
    --------
    >>> import numpy as np
    >>> labels, seeds = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    >>> case = np.array([0.1, 0.2, 0.8, 0.9])
    >>> names = ("1", "2", "1", "2")
    >>> table = Predictions(
    ...     names, names, labels, ("b", "m"), np.stack([1 - case, case], 1), seeds=seeds
    ... )
    >>> [measure(np.ones((1, 4)))["auroc"] for measure in metrics_of_seeds(table)]
    [array([1.]), array([1.])]
    """
    return [
        partial(_metrics_of_rows, table=table, rows=rows, positive=positive, start=start)
        for rows in table.rows_of_seeds()
    ]


def _metrics_of_rows(
    weights: FloatArray, *, table: Predictions, rows: IntArray, positive: str | None, start: int
) -> dict[str, FloatArray]:
    return weighted_metrics(
        table.labels[rows],
        table.probabilities[rows],
        weights[:, start + rows],
        classes=table.classes,
        positive=positive,
        folds=None if table.folds is None else table.folds[rows],
    )
