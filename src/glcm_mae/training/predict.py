"""Classify other images by a fine-tuned run: what an external validation needs."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from glcm_mae.data import Manifest, UnreadableImage, read_manifest
from glcm_mae.errors import UserError
from glcm_mae.files import write_atomically
from glcm_mae.models import Classifier, fill_head, load_encoder
from glcm_mae.predictions import Predictions, read_predictions
from glcm_mae.settings import DataSettings, PredictSettings

from .fabric import launch
from .finetune import NormalizedClassifier, probabilities
from .inputs import Images, read_images
from .run import Run
from .seen import refuse_seen
from .tables import Tables

# How a run's images are read, of which nothing may differ here.
_READING = ("image_size", "resize", "color", "window", "invert_monochrome1", "plane")


def predict(settings: PredictSettings) -> Path:
    """Write the class probabilities of images.

    ``predictions.csv`` is as fine-tuning writes it; where an image has no label, it has no column
    label. Where all have one, the run's ``validation.csv`` is put beside it, with the run's name
    before paths and patients (another hospital may name its own alike), so that thresholds are
    those of the run's validation images. Images whose pixels the run, or what it started from,
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
    if settings.hardware.devices != 1:
        raise UserError(
            f"hardware.devices is {settings.hardware.devices}: set it to 1, one is enough."
        )
    source, out = Path(settings.run), Path(settings.out)
    classes, pooling, reading = _told_by(source)
    if (out / "settings.yaml").exists():
        raise UserError(f"{out} holds a run already: choose another folder with --out.")
    run = Run(out, settings, resume=False)
    data = DataSettings(
        settings.images,
        patient_regex=settings.patient_regex,
        on_error=settings.on_error,
        **reading,
    )
    manifest = read_manifest(data.images, data.patient_regex, data.plane, may_cross=True)
    _check_classes(manifest, classes, settings)
    fabric = launch(settings.hardware)
    encoder, config = load_encoder(source)
    if data.color == "auto":  # all alike: as the run's were
        data = replace(data, color="gray" if config.in_chans == 1 else "rgb")
    classifier = Classifier(encoder, len(classes), pooling)
    fill_head(classifier, source)
    images = _read(data, manifest, source)
    seen = refuse_seen(settings.run, _of_strangers(images), range(len(images)), allow=True)
    model = NormalizedClassifier(classifier, config).to(fabric.device)
    with fabric.autocast():
        chances = probabilities(model, images.pixels, fabric.device)
    run.begin()
    unlabelled = int((images.manifest.labels < 0).sum())
    if unlabelled:
        _write_unlabelled(out, images.manifest, classes, chances)
    else:
        _tables(source, images.manifest, classes, chances).write(out, seen)
    run.finish(
        {
            "classes": list(classes),
            "images": len(images),
            "skipped": images.skipped,
            "unlabelled": unlabelled,
            "images_seen_in_training": seen,
        }
    )
    if seen:
        print(
            f"{seen} of {len(images)} images were used in the training of {source}",
            file=sys.stderr,
        )
    return out


def _read(data: DataSettings, manifest: Manifest, run: Path) -> Images:
    try:
        return read_images(data, manifest)
    except UnreadableImage:
        raise
    except UserError as error:
        raise UserError(f"{error} (Here the settings are those of {run}: convert these.)") from None


def _of_strangers(images: Images) -> Images:
    """Leave out the patients, whom another hospital may name alike."""
    return replace(images, manifest=replace(images.manifest, has_patients=False))


def _told_by(run: Path) -> tuple[tuple[str, ...], Any, dict[str, Any]]:
    """Read a run's classes, its pooling, and how it reads images."""
    if not (run / "head.safetensors").is_file():
        raise UserError(
            f"{run} is no finished fine-tuning, for it has no head.safetensors: give the folder "
            "of glcm-mae finetune."
        )
    try:
        classes = json.loads((run / "finished.json").read_text(encoding="utf-8"))["classes"]
        written = yaml.safe_load((run / "settings.yaml").read_text(encoding="utf-8"))
        reading = {name: written["data"][name] for name in _READING if name in written["data"]}
        pooling = written["pooling"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UserError(
            f"{run} does not tell its classes and settings ({error}): copy finished.json and "
            "settings.yaml anew."
        ) from error
    pairs = {name: tuple(v) if isinstance(v, list) else v for name, v in reading.items()}
    return tuple(classes), pooling, pairs


def _check_classes(manifest: Manifest, classes: tuple[str, ...], settings: PredictSettings) -> None:
    others = [name for name in manifest.classes if name not in classes]
    if others:
        raise UserError(
            f"{settings.images} has the class {others[0]!r}, which {settings.run} does not know: "
            f"name the classes as there, {', '.join(classes)}, or leave the labels out."
        )


def _tables(run: Path, manifest: Manifest, classes: tuple[str, ...], chances: np.ndarray) -> Tables:
    """Name what was predicted, under the run's fold and seed, for which its thresholds are."""
    beside = run / "validation.csv"
    validation = _named_after(run, read_predictions(beside)) if beside.is_file() else None
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


def _named_after(run: Path, table: Predictions) -> Predictions:
    paths, patients = (
        tuple(f"{run.name}: {name}" for name in names) for names in (table.paths, table.patients)
    )
    return replace(table, paths=paths, patients=patients)


def _write_unlabelled(
    out: Path, manifest: Manifest, classes: tuple[str, ...], chances: np.ndarray
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "patient", *(f"p_{name}" for name in classes)])
    for record, row in zip(manifest.records, chances.tolist(), strict=True):
        writer.writerow([record.name, record.patient, *row])
    write_atomically(out / "predictions.csv", text.getvalue())
