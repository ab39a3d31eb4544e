"""What must be beaten: classifiers on hand-made features, and a network without pre-training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from glcm_mae.audit.inspection import inspect
from glcm_mae.audit.shortcuts import traits
from glcm_mae.data import Manifest, Split
from glcm_mae.errors import UserError
from glcm_mae.models import write_tensors
from glcm_mae.settings import (
    BaselineKind,
    BaselineSettings,
    HardwareSettings,
    height_and_width,
)

from .classifier_file import CLASSIFIER, keep
from .classifiers import Learn, boosting, linear, ranks
from .convolutional import networks_out_of_fold
from .fabric import launch
from .gray_values import write_gray_values
from .hand_made import REACH, glcm_vectors, histograms, local_glcms, measured, small_pixels
from .inputs import Images
from .probe import images_and_parts, out_of_fold, to_keep, told_by
from .progress import Meter
from .run import Run
from .seen import write_seen
from .tables import Tables


def baseline(settings: BaselineSettings) -> Path:
    """Classify images without a pre-training; write ``predictions.csv``.

    Tested are the same images as by `glcm_mae.training.probe.probe`, by classifiers fitted on the
    same training parts; where there is a validation part, ``validation.csv`` holds what they say
    of it. The classifier is kept as `glcm_mae.training.probe.probe` keeps its, but for that of
    shortcuts, which are measured among the images of one set.

    Parameters
    ----------
    settings : BaselineSettings
        See there.

    Returns
    -------
    Path
        The run's folder.

    Raises
    ------
    UserError
        If the settings or the images do not allow it.
    """
    _check(settings)
    run = Run(settings.out, settings, resume=settings.resume)
    if run.finished:
        return run.folder
    images, parts, first_fold = images_and_parts(settings.data)
    fit = _fit_network if settings.kind == "convolutional" else _fit_features
    tables, keep_in, facts = fit(settings, images, parts, first_fold)
    run.begin()  # only now: a baseline that is stopped leaves nothing that refuses the next
    used = told_by(parts)
    write_seen(run.folder, images, used, None)
    write_gray_values(run.folder, images, used)
    keep_in(run.folder)
    tables.write(run.folder)
    tested = sum(len(part.test) for part in parts)
    run.finish(
        {
            "classes": list(images.manifest.classes),
            "channels": images.pixels.shape[1],
            "test": tested,
            "skipped": images.skipped,
            **facts,
        }
    )
    return run.folder


class _Fitted(NamedTuple):
    """What was said of the images, how the classifier is kept in a folder, and facts of it."""

    tables: Tables
    keep_in: Callable[[Path], None]
    facts: dict[str, int]


def _fit_features(
    settings: BaselineSettings, images: Images, parts: Sequence[Split], first_fold: int
) -> _Fitted:
    features = hand_made_features(settings.kind, images)
    learn = _CLASSIFIERS[settings.kind]
    what = features, images.manifest, parts, settings.seed
    tables, classifiers = out_of_fold(learn, *what, first_fold)

    kept = None if settings.kind == "shortcuts" else to_keep(learn, classifiers, *what)

    def keep_in(folder: Path) -> None:
        if kept is not None:
            keep(kept, folder)

    return _Fitted(tables, keep_in, {"features": features.shape[1]})


def _fit_network(
    settings: BaselineSettings, images: Images, parts: Sequence[Split], first_fold: int
) -> _Fitted:
    device = launch(settings.hardware).device
    tables, network = networks_out_of_fold(
        images.pixels, images.manifest, parts, settings.seed, device, first_fold
    )
    weights = sum(weight.numel() for weight in network.parameters())

    def keep_in(folder: Path) -> None:
        write_tensors(folder / CLASSIFIER, network.state_dict())

    return _Fitted(tables, keep_in, {"weights": weights})


def hand_made_features(kind: BaselineKind, images: Images) -> np.ndarray:
    """Compute one feature vector an image.

    Parameters
    ----------
    kind : str
        Of `BaselineSettings`, but convolutional.
    images : Images
        As the network sees them. For shortcuts alone their files are measured as they are stored.

    Returns
    -------
    ndarray of float64, (N, F)
    """
    if kind == "shortcuts":
        return _shortcuts(images.manifest)
    return measured(_DESCRIPTIONS[kind], images.pixels)


_DESCRIPTIONS: dict[BaselineKind, Callable[[Tensor], Tensor]] = {
    "glcm_logistic": glcm_vectors,
    "glcm_boosting": glcm_vectors,
    "glcm_local": local_glcms,
    "pixels": small_pixels,
    "histogram": histograms,
}
_CLASSIFIERS: dict[BaselineKind, Learn] = {
    "glcm_logistic": linear,
    "glcm_boosting": boosting,
    "glcm_local": linear,
    "pixels": linear,
    "histogram": linear,
    "shortcuts": ranks,
}


def _shortcuts(manifest: Manifest) -> np.ndarray:
    """Measure files, which have just been read, for what `data check` calls shortcuts."""
    with Meter("measuring files", len(manifest)) as meter:
        looks = inspect(manifest, lambda _: meter.advance(images=1))
    return np.concatenate(list(traits(looks).values()), axis=1)


def _check(settings: BaselineSettings) -> None:
    """Refuse what has no such features or hardware, before any image is read."""
    if settings.kind != "convolutional" and settings.hardware != HardwareSettings():
        raise UserError(
            f"hardware is for convolutional alone, not for {settings.kind}: leave it out."
        )
    if settings.hardware.devices != 1:
        raise UserError(
            f"hardware.devices is {settings.hardware.devices}: set it to 1, one is enough."
        )
    side = min(height_and_width(settings.data.image_size))
    if settings.kind.startswith("glcm") and side <= REACH:
        raise UserError(
            f"data.image_size is {settings.data.image_size}: the baseline {settings.kind} pairs "
            f"pixels {REACH} apart, so set it to {REACH + 1} or more."
        )
