"""Classify other images by a finished run: what an external validation needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glcm_mae.data import Manifest
from glcm_mae.errors import UserError
from glcm_mae.files import csv_text, write_atomically
from glcm_mae.predictions import Predictions, read_predictions
from glcm_mae.settings import PredictSettings

from .fabric import launch
from .finetuned import read_finetuned
from .others import Others, Trained, new_run, read_others
from .probed import is_baseline, is_probe, read_baseline, read_probe
from .run import Run
from .seen import n_seen
from .tables import Tables


def predict(settings: PredictSettings) -> Path:
    """Write the class probabilities of images.

    ``predictions.csv`` is as the run writes its own, of a probe in ``linear`` and ``knn``. The
    run's ``validation.csv`` is put beside it, with the run's name before paths and patients
    (another hospital may name its own alike), so that thresholds are those of the run's validation
    images; where a probe or baseline has tested each fold in turn, what it said of them stands in
    their place, for no classifier that said it had seen the image. Images without a label are in a
    table of their own, ``unlabelled.csv``, or, where none has one, in ``predictions.csv`` without
    a column label. Images whose pixels the run, or what it started from, was trained on are
    classified, too, counted and told.

    Parameters
    ----------
    settings : PredictSettings
        See there.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UserError
        If the run is no finished fine-tuning, probe or baseline, or the images cannot be read as
        its were, or have another class.
    """
    source = read_trained(Path(settings.run))
    run = new_run(settings)
    fabric = launch(settings.hardware)
    others = read_others(source, settings)
    said = source.chances(others.images, fabric)
    answers = {
        place: Answer(chances, _validation(source.folder, place)) for place, chances in said.items()
    }
    return write_answers(run, source.classes, others, answers)


class Answer(NamedTuple):
    """What classifiers of one kind say of images.

    Parameters
    ----------
    chances : ndarray, (N, K)
        Class probabilities.
    validation : Predictions or None
        What they said of images that they had not seen, for thresholds; None if nothing is known.
    """

    chances: np.ndarray
    validation: Predictions | None


def write_answers(
    run: Run,
    classes: tuple[str, ...],
    others: Others,
    answers: Mapping[str, Answer],
    **facts: object,
) -> Path:
    """Write what a run, or several together, say of other images.

    Parameters
    ----------
    run : Run
        Where to.
    classes : tuple of str
        Theirs.
    others : Others
        The images.
    answers : mapping
        For each place below the folder, the answer whose tables lie there.
    **facts
        What else ``finished.json`` tells.

    Returns
    -------
    Path
        The folder.
    """
    images, known, alike, apart = others
    run.begin()
    has_label = images.manifest.labels >= 0
    with_label, without = np.flatnonzero(has_label), np.flatnonzero(~has_label)
    for place, answer in answers.items():
        folder, chances = run.folder / place, answer.chances
        if len(without):
            table = "unlabelled.csv" if len(with_label) else "predictions.csv"
            unlabelled = images.manifest.subset(without)
            _write_unlabelled(folder / table, unlabelled, classes, chances[without])
        if len(with_label):
            labelled = images.manifest.subset(with_label)
            tables = _tables(labelled, classes, chances[with_label], answer.validation)
            tables.write(folder, n_seen([known[int(i)] for i in with_label]))
    run.finish(
        {
            "classes": list(classes),
            "images": len(images),
            "skipped": images.skipped,
            "unlabelled": len(without),
            "images_seen_in_training": n_seen(known),
            "images_of_patients_named_as_in_training": alike,
            "gray_values_apart": apart,
            **facts,
        }
    )
    return run.folder


def read_trained(folder: Path) -> Trained:
    """Read a run that classifies images.

    Parameters
    ----------
    folder : Path
        Of a fine-tuning, a probe or a baseline.

    Returns
    -------
    Trained

    Raises
    ------
    UserError
        If it is none, is not finished, or keeps no classifier.
    """
    if is_probe(folder):
        return read_probe(folder)
    if is_baseline(folder):
        return read_baseline(folder)
    if not (folder / "head.safetensors").is_file():
        what = (
            "is no finished fine-tuning, probe or baseline" if folder.exists() else "is not there"
        )
        raise UserError(
            f"{folder} {what}: give the run folder of a finished one, or that of a study's arm."
        )
    return read_finetuned(folder)


def _tables(
    manifest: Manifest,
    classes: tuple[str, ...],
    chances: np.ndarray,
    validation: Predictions | None,
) -> Tables:
    """Name what was predicted, under the run's fold and seed, for which its thresholds are."""
    n = len(manifest)

    def repeated(numbers: np.ndarray | None) -> np.ndarray | None:
        return None if numbers is None else np.full(n, numbers[0])

    labels = [classes.index(str(record.label)) for record in manifest.records]
    test = Predictions(
        paths=tuple(record.name for record in manifest.records),
        patients=tuple(record.patient for record in manifest.records),
        labels=np.array(labels),
        classes=classes,
        probabilities=chances,
        folds=None if validation is None else repeated(validation.folds),
        seeds=None if validation is None else repeated(validation.seeds),
    )
    return Tables(test, validation)


def _validation(run: Path, place: str) -> Predictions | None:
    """Read what the run said of images that its classifier had not seen; None if there is none."""
    beside = run / place / "validation.csv"
    if beside.is_file():
        return named_after(run, read_predictions(beside))
    tested = read_predictions(run / place / "predictions.csv")
    if tested.folds is None or len(set(tested.folds.tolist())) < 2:
        return None
    return replace(named_after(run, tested), folds=None)


def named_after(run: Path, table: Predictions) -> Predictions:
    """Put a run's name before paths and patients, which another source may name alike.

    Parameters
    ----------
    run : Path
        Its folder.
    table : Predictions
        Of its own images.

    Returns
    -------
    Predictions
    """
    paths, patients = (
        tuple(f"{run.name}: {name}" for name in names) for names in (table.paths, table.patients)
    )
    return replace(table, paths=paths, patients=patients)


def _write_unlabelled(
    table: Path, manifest: Manifest, classes: tuple[str, ...], chances: np.ndarray
) -> None:
    columns = ["path", "patient", *(f"p_{name}" for name in classes)]
    rows = (
        (record.name, record.patient, *row)
        for record, row in zip(manifest.records, chances.tolist(), strict=True)
    )
    write_atomically(table, csv_text(columns, rows))
