"""From the probabilities of held-out images to the tables that evaluation reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glcm_mae.data import Manifest, Split
from glcm_mae.files import write_atomically
from glcm_mae.predictions import Predictions


class Tables(NamedTuple):
    """What a model says of the images that it was not trained on.

    Parameters
    ----------
    test : Predictions
        By which it is judged.
    validation : Predictions or None
        By which thresholds are chosen; None where there is no validation part.
    """

    test: Predictions
    validation: Predictions | None

    def write(self, folder: Path, seen: int | None = None) -> None:
        """Write ``predictions.csv`` and, where there is one, ``validation.csv``.

        ``about.json`` tells of test images that pre-training has seen, where there are ``seen``.
        """
        if seen:
            about = json.dumps({"test_images_seen_in_pretraining": seen}, indent=2) + "\n"
            write_atomically(folder / "about.json", about)
        if self.validation is not None:
            self.validation.write(folder / "validation.csv")
        self.test.write(folder / "predictions.csv")


def prediction_tables(
    manifest: Manifest,
    parts: Sequence[Split],
    chances: Sequence[np.ndarray],
    seed: int,
    first_fold: int = 0,
) -> Tables:
    """Name the images that were predicted, their patients, classes and folds.

    Parameters
    ----------
    manifest : Manifest
        All images of the stage.
    parts : sequence of Split
        One a fold.
    chances : sequence of ndarray, (test + val, K)
        Class probabilities of each fold's test images, then of its validation images.
    seed : int
        The stage's seed.
    first_fold : int
        Number of the first part's fold.

    Returns
    -------
    Tables
    """
    numbers = range(first_fold, first_fold + len(parts))
    cuts = [np.split(rows, [len(part.test)]) for rows, part in zip(chances, parts, strict=True)]

    def table(sides: list[np.ndarray], probabilities: list[np.ndarray]) -> Predictions:
        rows = np.concatenate(sides)
        records = [manifest.records[i] for i in rows]
        return Predictions(
            paths=tuple(record.name for record in records),
            patients=tuple(record.patient for record in records),
            labels=manifest.labels[rows],
            classes=manifest.classes,
            probabilities=np.concatenate(probabilities),
            folds=np.repeat(list(numbers), [len(side) for side in sides]),
            seeds=np.full(len(rows), seed),
        )

    has_validation = any(len(part.val) for part in parts)
    return Tables(
        test=table([part.test for part in parts], [test for test, _ in cuts]),
        validation=table([part.val for part in parts], [val for _, val in cuts])
        if has_validation
        else None,
    )
