"""A finished fine-tuning, read again: its classifier, its classes, and other images for it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from glcm_mae.errors import UserError
from glcm_mae.models import Classifier, fill_head, load_encoder, read_config
from glcm_mae.models.classifier import Pooling
from glcm_mae.settings import ExplainSettings, PredictSettings

from .finetune import NormalizedClassifier
from .inputs import Images
from .others import check_hardware, list_others, read_listed, reading_of
from .run import Run, settings_of
from .seen import seen_before, tell_unknown


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
    if any((folder / way / "predictions.csv").is_file() for way in ("linear", "knn")):
        raise UserError(
            f"{folder} is a probe, which keeps no classifier: give the folder of glcm-mae finetune."
        )
    read_config(folder)  # refuses what is no run at all, or not finished
    if not (folder / "head.safetensors").is_file():
        raise UserError(
            f"{folder} is no finished fine-tuning, for it has no head.safetensors: give the folder "
            "of glcm-mae finetune."
        )
    encoder, config = load_encoder(folder)
    reading = reading_of(folder, config)
    pooling: Any = settings_of(folder).get("pooling")
    classes = _classes(folder)
    if not classes or pooling not in get_args(Pooling):
        raise UserError(
            f"{folder} does not tell its classes and pooling: copy finished.json and settings.yaml "
            "anew."
        )
    classifier = Classifier(encoder, len(classes), pooling)
    fill_head(classifier, folder)
    return Finetuned(folder, NormalizedClassifier(classifier, config), tuple(classes), reading)


def _classes(run: Path) -> list[str]:
    """Read a run's classes; none where it does not tell them."""
    try:
        classes = json.loads((run / "finished.json").read_text(encoding="utf-8"))["classes"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    are_names = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    return classes if are_names else []


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
    check_hardware(s)
    if (Path(s.out) / "settings.yaml").exists():
        raise UserError(f"{s.out} holds a run already: choose another folder with --out.")
    return Run(s.out, s, resume=False)


def read_others(
    run: Finetuned, s: PredictSettings | ExplainSettings, at_most: int | None = None
) -> tuple[Images, list[bool | None], int]:
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
    known : list of bool or None
        Whether the run, or what it started from, was trained on each; None if that is unknown.
    alike : int
        How many others are of patients that are named as some of those.

    Raises
    ------
    UserError
        If they cannot be read so, or have a class that the run does not know.
    """
    manifest = list_others(s, run.reading)
    others = [name for name in manifest.classes if name not in run.classes]
    if others:
        raise UserError(
            f"{s.images} has the class {others[0]!r}, which {run.folder} does not know: name the "
            f"classes as there, {', '.join(run.classes)} (glcm-mae data manifest --rename), or "
            "leave the labels out."
        )
    wanted = manifest if at_most is None else manifest.spread(at_most)
    images = read_listed(s, run.reading, wanted)
    known = seen_before(str(run.folder), _of_strangers(images))
    tell_unknown(str(run.folder), known)
    seen = known.count(True)
    if seen:
        print(
            f"{seen} of {len(images)} images, or copies of them, were used in the training of "
            f"{run.folder}",
            file=sys.stderr,
        )
    alike = seen_before(str(run.folder), images).count(True) - seen
    if alike:
        print(
            f"{alike} images are of patients that are named as some of those that {run.folder} was "
            "trained on: if they are the same people, this is no external validation",
            file=sys.stderr,
        )
    return images, known, alike


def _of_strangers(images: Images) -> Images:
    """Leave out the patients, whom another hospital may name alike."""
    return replace(images, manifest=replace(images.manifest, has_patients=False))
