"""From the probabilities of a test part to the table that evaluation reads."""

from __future__ import annotations

import numpy as np

from glcm_mae.data import Manifest
from glcm_mae.predictions import Predictions


def prediction_table(
    manifest: Manifest, rows: np.ndarray, probabilities: np.ndarray, folds: np.ndarray, seed: int
) -> Predictions:
    """Name the images that were tested, their patients and classes.

    Parameters
    ----------
    manifest : Manifest
        All images of the stage.
    rows : ndarray of int, (n,)
        Positions of those that were tested.
    probabilities : ndarray, (n, K)
        Of the manifest's classes.
    folds : ndarray of int, (n,)
        The fold in which each was tested.
    seed : int
        The stage's seed.

    Returns
    -------
    Predictions
    """
    records = [manifest.records[i] for i in rows]
    return Predictions(
        paths=tuple(record.name for record in records),
        patients=tuple(record.patient for record in records),
        labels=manifest.labels[rows],
        classes=manifest.classes,
        probabilities=probabilities,
        folds=folds,
        seeds=np.full(len(rows), seed),
    )
