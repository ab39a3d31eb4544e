"""Classify other images by a fine-tuned run: what an external validation needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from glcm_mae.data import Manifest
from glcm_mae.files import csv_text, write_atomically
from glcm_mae.predictions import Predictions, read_predictions
from glcm_mae.settings import PredictSettings

from .fabric import launch
from .finetune import probabilities
from .finetuned import Finetuned, new_run, read_finetuned, read_others
from .seen import n_seen
from .tables import Tables


def predict(settings: PredictSettings) -> Path:
    """Write the class probabilities of images.

    ``predictions.csv`` is as fine-tuning writes it. The run's ``validation.csv`` is put beside it,
    with the run's name before paths and patients (another hospital may name its own alike), so
    that thresholds are those of the run's validation images. Images without a label are in a
    table of their own, ``unlabelled.csv``, or, where none has one, in ``predictions.csv`` without
    a column label. Images whose pixels the run, or what it started from,
    was trained on are classified, too, counted and told.

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
        If the run is no finished fine-tuning, or the images cannot be read as its were, or have
        another class.
    """
    source, out = read_finetuned(Path(settings.run)), Path(settings.out)
    run = new_run(settings)
    fabric = launch(settings.hardware)
    images, known, alike = read_others(source, settings)
    model = source.model.to(fabric.device)
    with fabric.autocast():
        chances = probabilities(model, images.pixels, fabric.device)
    run.begin()
    has_label = images.manifest.labels >= 0
    with_label, without = np.flatnonzero(has_label), np.flatnonzero(~has_label)
    if len(without):
        table = "unlabelled.csv" if len(with_label) else "predictions.csv"
        _write_unlabelled(
            out / table, images.manifest.subset(without), source.classes, chances[without]
        )
    if len(with_label):
        tables = _tables(source, images.manifest.subset(with_label), chances[with_label])
        tables.write(out, n_seen([known[int(i)] for i in with_label]))
    run.finish(
        {
            "classes": list(source.classes),
            "images": len(images),
            "skipped": images.skipped,
            "unlabelled": len(without),
            "images_seen_in_training": n_seen(known),
            "images_of_patients_named_as_in_training": alike,
        }
    )
    return out


def _tables(run: Finetuned, manifest: Manifest, chances: np.ndarray) -> Tables:
    """Name what was predicted, under the run's fold and seed, for which its thresholds are."""
    beside = run.folder / "validation.csv"
    validation = _named_after(run.folder, read_predictions(beside)) if beside.is_file() else None
    n = len(manifest)

    def repeated(numbers: np.ndarray | None) -> np.ndarray | None:
        return None if numbers is None else np.full(n, numbers[0])

    labels = [run.classes.index(str(record.label)) for record in manifest.records]
    test = Predictions(
        paths=tuple(record.name for record in manifest.records),
        patients=tuple(record.patient for record in manifest.records),
        labels=np.array(labels),
        classes=run.classes,
        probabilities=chances,
        folds=None if validation is None else repeated(validation.folds),
        seeds=None if validation is None else repeated(validation.seeds),
    )
    return Tables(test, validation)


def _named_after(run: Path, table: Predictions) -> Predictions:
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
