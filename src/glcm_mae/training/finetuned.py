"""A finished fine-tuning, read again: its classifier, its classes, and other images for it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from glcm_mae.data import Manifest, UnreadableImage, read_manifest
from glcm_mae.errors import UserError
from glcm_mae.models import Classifier, fill_head, load_encoder
from glcm_mae.settings import DataSettings, ExplainSettings, PredictSettings

from .finetune import NormalizedClassifier
from .inputs import Images, read_images
from .run import Run
from .seen import refuse_seen

# How a run's images are read, of which nothing may differ in others.
_READING = ("image_size", "resize", "color", "window", "invert_monochrome1", "plane")


@dataclass(frozen=True)
class Finetuned:
    """A fine-tuned run.

    Parameters
    ----------
    folder : Path
        Where it lies.
    model : NormalizedClassifier
        Its classifier.
    classes : tuple of str
        Its classes, in the order of the logits.
    reading : dict
        The settings of `DataSettings` by which its images were read.
    """

    folder: Path
    model: NormalizedClassifier
    classes: tuple[str, ...]
    reading: dict[str, Any]

    @property
    def grid(self) -> tuple[int, int]:
        """Patches per column and row."""
        return self.model.classifier.encoder.grid


def read_finetuned(folder: Path) -> Finetuned:
    """Read a fine-tuned run.

    Parameters
    ----------
    folder : Path
        Of ``glcm-mae finetune``.

    Returns
    -------
    Finetuned

    Raises
    ------
    UserError
        If it is no finished fine-tuning.
    """
    if not (folder / "head.safetensors").is_file():
        raise UserError(
            f"{folder} is no finished fine-tuning, for it has no head.safetensors: give the folder "
            "of glcm-mae finetune."
        )
    try:
        classes = json.loads((folder / "finished.json").read_text(encoding="utf-8"))["classes"]
        written = yaml.safe_load((folder / "settings.yaml").read_text(encoding="utf-8"))
        told = {name: written["data"][name] for name in _READING if name in written["data"]}
        pooling = written["pooling"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UserError(
            f"{folder} does not tell its classes and settings ({error}): copy finished.json and "
            "settings.yaml anew."
        ) from error
    reading = {name: tuple(v) if isinstance(v, list) else v for name, v in told.items()}
    encoder, config = load_encoder(folder)
    if reading.get("color", "auto") == "auto":  # all alike: as the run's were
        reading["color"] = "gray" if config.in_chans == 1 else "rgb"
    classifier = Classifier(encoder, len(classes), pooling)
    fill_head(classifier, folder)
    return Finetuned(folder, NormalizedClassifier(classifier, config), tuple(classes), reading)


def new_run(s: PredictSettings | ExplainSettings) -> Run:
    """Name the folder in which what a run says of other images will lie.

    Parameters
    ----------
    s : PredictSettings or ExplainSettings
        The stage's settings.

    Returns
    -------
    Run

    Raises
    ------
    UserError
        If it holds a run already, or several devices are asked for.
    """
    if s.hardware.devices != 1:
        raise UserError(f"hardware.devices is {s.hardware.devices}: set it to 1, one is enough.")
    if (Path(s.out) / "settings.yaml").exists():
        raise UserError(f"{s.out} holds a run already: choose another folder with --out.")
    return Run(s.out, s, resume=False)


def read_others(
    run: Finetuned, s: PredictSettings | ExplainSettings, at_most: int | None = None
) -> tuple[Images, int | None]:
    """Read other images as a run's own were.

    Parameters
    ----------
    run : Finetuned
        The run.
    s : PredictSettings or ExplainSettings
        Which images.
    at_most : int, optional
        How many, evenly spread over the set. Default: all.

    Returns
    -------
    images : Images
    seen : int or None
        How many the run, or what it started from, was trained on; None if that is unknown.

    Raises
    ------
    UserError
        If they cannot be read so, or have a class that the run does not know.
    """
    data = DataSettings(s.images, patient_regex=s.patient_regex, on_error=s.on_error, **run.reading)
    manifest = read_manifest(data.images, data.patient_regex, data.plane, may_cross=True)
    others = [name for name in manifest.classes if name not in run.classes]
    if others:
        raise UserError(
            f"{s.images} has the class {others[0]!r}, which {run.folder} does not know: name the "
            f"classes as there, {', '.join(run.classes)}, or leave the labels out."
        )
    wanted = manifest if at_most is None else manifest.spread(at_most)
    images = _read(data, wanted, run.folder)
    seen = refuse_seen(str(run.folder), _of_strangers(images), range(len(images)), allow=True)
    if seen:
        print(
            f"{seen} of {len(images)} images were used in the training of {run.folder}",
            file=sys.stderr,
        )
    return images, seen


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
