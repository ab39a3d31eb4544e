"""What a trained encoder makes of images: a feature vector each, for other tools to work on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glcm_mae import __version__
from glcm_mae.data import Manifest, count_gray_values
from glcm_mae.files import csv_lines, whole_file
from glcm_mae.models import load_encoder
from glcm_mae.models.classifier import Pooling
from glcm_mae.settings import EmbedSettings

from .fabric import launch
from .gray_values import on_scale_of
from .others import check_hardware, list_others, read_listed, reading_of
from .probe import extract
from .run import settings_of
from .seen import seen_before

_CELLS = {True: "TRUE", False: "FALSE", None: ""}  # as R spells them; pandas takes them, too


@dataclass(frozen=True)
class Embedding:
    """The feature vectors of images.

    Parameters
    ----------
    manifest : Manifest
        The images.
    features : ndarray of float32, (N, D), or (N, 2 D) of moments
        Theirs, in the same order.
    seen : list of bool or None
        Whether the run, or what it started from, was trained on the same image, a copy of it, or
        an image of the same patient; None where that is unknown.
    pooling : {"mean", "moments", "token"}
        How tokens became one vector.
    skipped : int
        How many images could not be read.
    """

    manifest: Manifest
    features: NDArray[np.float32]
    seen: list[bool | None]
    pooling: Pooling
    skipped: int


def embed(settings: EmbedSettings) -> Embedding:
    """Compute the feature vectors that `probe` would judge.

    Parameters
    ----------
    settings : EmbedSettings
        See there.

    Returns
    -------
    Embedding

    Raises
    ------
    UserError
        If the run has no encoder, or the images cannot be read as its own were.
    """
    check_hardware(settings)
    folder = Path(settings.run)
    encoder, config = load_encoder(folder)
    reading = reading_of(folder, config.in_chans, config)
    pooling = settings.pooling or settings_of(folder).get("pooling", "mean")
    fabric = launch(settings.hardware)
    images = read_listed(settings, reading, list_others(settings, reading))
    counts = count_gray_values(images.pixels)
    scaled = on_scale_of(folder, images, counts, match=settings.match_gray_values)
    scaled.tell()
    images = scaled.images
    seen = seen_before(settings.run, images, same_patients=True)
    with fabric.autocast():
        features = extract(encoder.to(fabric.device), config, images.pixels, pooling)
    return Embedding(images.manifest, features, seen, pooling, images.skipped)


def write_embedding(found: Embedding, settings: EmbedSettings) -> None:
    """Write feature vectors as a CSV that pandas and R read as it is.

    The columns: path, and frame, label, patient and split where there are any;
    ``seen_in_training`` (TRUE, FALSE, or nothing where it is unknown); run, pooling and
    ``glcm_mae``, the version; and the features ``f0``, ``f1`` and so on, with all the digits of a
    float32.

    Parameters
    ----------
    found : Embedding
        What is written.
    settings : EmbedSettings
        How it was made, and where it goes.

    Raises
    ------
    UserError
        The file cannot be written; what was there is intact.
    """
    known = found.manifest.tells_patients
    facts = [
        {
            "path": record.path,
            "frame": record.frame,
            "label": record.label,
            "patient": record.patient if known else None,
            "split": record.split,
            "seen_in_training": _CELLS[seen],
        }
        for record, seen in zip(found.manifest.records, found.seen, strict=True)
    ]
    shown = [name for name in facts[0] if any(row[name] is not None for row in facts)]
    how = {"run": settings.run, "pooling": found.pooling, "glcm_mae": __version__}
    names = [f"f{number}" for number in range(found.features.shape[1])]
    rows = (
        (*(row[name] for name in shown), *how.values(), *features)
        for row, features in zip(facts, found.features, strict=True)
    )
    with whole_file(Path(settings.out)) as file:
        for line in csv_lines([*shown, *how, *names], rows):
            file.write(line.encode())
