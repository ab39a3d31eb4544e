"""Probing: how much of the classes a frozen encoder's features already tell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from glcm_mae.data import Manifest, Split, manifest_folds
from glcm_mae.data.pixels import Pixels
from glcm_mae.errors import UserError
from glcm_mae.models import Encoder, EncoderConfig, pool_tokens
from glcm_mae.models.classifier import Pooling
from glcm_mae.settings import DataSettings, ProbeSettings, height_and_width

from .classifier_file import keep
from .classifiers import Learn, Standardized, fitted, linear, neighbours
from .encoders import check_encoder, digest, encoder_or_random
from .fabric import launch
from .gray_values import write_gray_values
from .hand_made import LOCAL_REACH, local_glcms, measured
from .inputs import (
    Images,
    check_classes,
    check_sides,
    labelled,
    read_images,
    split_of,
    tell_lacking_classes,
)
from .progress import Meter
from .run import Run
from .seen import refuse_seen, tell_copies, write_seen
from .tables import Tables, prediction_tables

_BATCH = 64


def probe(settings: ProbeSettings) -> Path:
    """Probe an encoder and write ``linear/predictions.csv`` and ``knn/predictions.csv``.

    Without a held-out fold, each fold of the images is tested with a probe fitted on the others;
    with one (or with a split in the manifest), its test part is tested with a probe fitted on the
    training part, and ``validation.csv`` beside holds what the probe says of the validation part.
    ``classifier.safetensors`` beside is for other images (`glcm_mae.training.predict`): the probe
    of that training part, or, where each fold was tested in turn, one fitted on all images.

    Parameters
    ----------
    settings : ProbeSettings
        See there.

    Returns
    -------
    Path
        The run's folder.

    Raises
    ------
    UserError
        If the settings or the images do not allow it, or pre-training has seen test images.
    """
    check_settings(settings)
    run = Run(settings.out, settings, resume=settings.resume)
    if run.finished:
        return run.folder
    images, parts, first_fold = images_and_parts(settings.data)
    tested = np.concatenate([part.test for part in parts])
    seen = refuse_seen(settings.encoder, images, tested, allow=settings.allow_seen)
    fabric = launch(settings.hardware)
    torch.manual_seed(settings.seed)
    train = np.unique(np.concatenate([part.train for part in parts]))
    encoder, config = encoder_or_random(
        settings.encoder, settings.model, settings.data, images, train
    )
    with fabric.autocast():
        features = features_of(encoder.to(fabric.device), config, images.pixels, settings)
    what = features, images.manifest, parts, settings.seed
    found = {}
    for name, learn in (("linear", linear), ("knn", neighbours(settings.neighbours))):
        tables, classifiers = out_of_fold(learn, *what, first_fold)
        found[name] = tables, to_keep(learn, classifiers, *what)
    run.begin()  # only now: a probe that is stopped leaves nothing that refuses the next
    used = told_by(parts)
    write_seen(run.folder, images, used, settings.encoder)
    write_gray_values(run.folder, images, used)
    for name, (tables, classifier) in found.items():
        keep(classifier, run.folder / name)
        tables.write(run.folder / name, seen)
    run.finish(
        {
            "classes": list(images.manifest.classes),
            "channels": config.in_chans,
            "encoder": {"digest": digest(encoder), "mean": config.mean, "std": config.std},
            "test": len(tested),
            "skipped": images.skipped,
            "test_images_seen_in_pretraining": seen,
        }
    )
    return run.folder


def features_of(
    encoder: Encoder, config: EncoderConfig, pixels: Pixels, settings: ProbeSettings
) -> np.ndarray:
    """Compute the feature vectors that a probe judges: `extract`, and GLCMs beside if asked for.

    Parameters
    ----------
    encoder, config, pixels
        As for `extract`.
    settings : ProbeSettings
        ``pooling`` and ``beside_glcms``.

    Returns
    -------
    ndarray, (N, D) or (N, D + 384)
    """
    features = extract(encoder, config, pixels, settings.pooling)
    if not settings.beside_glcms:
        return features
    return np.concatenate([features, measured(local_glcms, pixels)], axis=1)


@torch.no_grad()
def extract(
    encoder: Encoder, config: EncoderConfig, pixels: Pixels, pooling: Pooling = "mean"
) -> np.ndarray:
    """Compute one feature vector an image.

    Parameters
    ----------
    encoder : Encoder
        On the device to compute on.
    config : EncoderConfig
        Its normalisation.
    pixels : Tensor or Picked, (N, C, H, W)
        Images in [0, 1].
    pooling : {"mean", "moments", "token"}
        How tokens become one vector.

    Returns
    -------
    ndarray of float32, (N, D), or (N, 2 D) of moments
    """
    encoder.eval()
    device = encoder.cls_token.device
    mean, std = (
        torch.tensor(v, device=device).view(1, -1, 1, 1) for v in (config.mean, config.std)
    )
    features = []
    with Meter("encoding", len(pixels)) as meter:
        for batch in pixels.split(_BATCH):
            tokens = encoder((batch.to(device) - mean) / std)
            features.append(pool_tokens(tokens, pooling).float().cpu())
            meter.advance(len(batch), by=len(batch))
    return torch.cat(features).numpy()


def out_of_fold(
    learn: Learn,
    features: np.ndarray,
    manifest: Manifest,
    parts: Sequence[Split],
    seed: int,
    first_fold: int = 0,
) -> tuple[Tables, list[Standardized]]:
    """Fit on each training part; predict its test part, and its validation part if it has one.

    Parameters
    ----------
    learn : callable
        See `glcm_mae.training.classifiers.fitted`.
    features : ndarray, (N, D)
        One vector an image.
    manifest : Manifest
        Labels and patients, in the same order.
    parts : list of Split
        No image is tested twice.
    seed : int
        For the inner folds.
    first_fold : int
        Number of the first part's fold.

    Returns
    -------
    tables : Tables
        One row a predicted image, with its fold.
    classifiers : list of Standardized
        One a part.
    """
    labels, patients = manifest.labels, manifest.patients
    classifiers = [
        fitted(learn, features[part.train], labels[part.train], patients[part.train], seed)
        for part in parts
    ]
    chances = [
        classifier.chances(features[np.concatenate([part.test, part.val])])
        for classifier, part in zip(classifiers, parts, strict=True)
    ]
    return prediction_tables(manifest, parts, chances, seed, first_fold), classifiers


def to_keep(
    learn: Learn,
    classifiers: Sequence[Standardized],
    features: np.ndarray,
    manifest: Manifest,
    parts: Sequence[Split],
    seed: int,
) -> Standardized:
    """Take the classifier for other images: that of one part, or of several one fitted on all.

    Parameters
    ----------
    learn, features, manifest, parts, seed
        As for `out_of_fold`.
    classifiers : sequence of Standardized
        What it has fitted.

    Returns
    -------
    Standardized
    """
    if len(parts) == 1:
        return classifiers[0]
    return fitted(learn, features, manifest.labels, manifest.patients, seed)


def told_by(parts: Sequence[Split]) -> np.ndarray:
    """List the images by which the classifier that is kept, and its thresholds, are chosen.

    Parameters
    ----------
    parts : sequence of Split
        Of the run.

    Returns
    -------
    ndarray of int

    Examples
    --------
    >>> told_by([Split(np.array([4, 0]), np.array([2]), np.array([3]))]).tolist()
    [0, 2, 4]
    """
    return np.unique(np.concatenate([side for part in parts for side in (part.train, part.val)]))


def check_settings(settings: ProbeSettings) -> None:
    """Refuse what makes no probe, before any image is read.

    Parameters
    ----------
    settings : ProbeSettings
        See there.

    Raises
    ------
    UserError
        Naming the setting.
    """
    if settings.neighbours < 1:
        raise UserError(f"neighbours is {settings.neighbours}: set it to 1 or more.")
    if settings.hardware.devices != 1:
        raise UserError(
            f"hardware.devices is {settings.hardware.devices}: set it to 1, a probe needs no more."
        )
    if settings.beside_glcms and min(height_and_width(settings.data.image_size)) <= LOCAL_REACH:
        raise UserError(
            f"data.image_size is {settings.data.image_size}: beside_glcms pairs pixels "
            f"{LOCAL_REACH} apart, so set it to {LOCAL_REACH + 1} or more."
        )
    check_encoder(settings.encoder, settings.model, settings.data)


def images_and_parts(data: DataSettings) -> tuple[Images, list[Split], int]:
    """Read labelled images, and say on which of them a probe is fitted and on which tested.

    Parameters
    ----------
    data : DataSettings
        Which images; how they are read and dealt.

    Returns
    -------
    images : Images
    parts : list of Split
        The split that the images give or the held-out fold, else each fold in turn.
    first_fold : int
        Number of the first part's fold.

    Raises
    ------
    UserError
        If images cannot be read as the settings say, or a training part lacks a class.
    """
    manifest = labelled(data)
    parts = _parts(manifest, data)
    images = read_images(data, manifest)
    if images.kept is not None:  # each of the others stays in its fold, as in pre-training
        parts = [part.of(images.kept) for part in parts]
        _check_parts(images.manifest, parts)
        for part in parts:
            check_sides(part, ("test",))
    tell_lacking_classes(images.manifest, parts)
    tell_copies(images, parts)
    return images, parts, (data.fold or 0) if len(parts) == 1 else 0


def _parts(manifest: Manifest, data: DataSettings) -> list[Split]:
    given = any(record.split for record in manifest.records)
    if data.fold is not None or given:
        parts = [split_of(data, manifest)]
    else:
        parts = grouped_parts(manifest, data.folds, data.split_seed)
    _check_parts(manifest, parts)
    return parts


def _check_parts(manifest: Manifest, parts: list[Split]) -> None:
    for part in parts:
        check_classes(manifest, part.train, least=2)  # one to fit, one to choose the penalty by


def grouped_parts(manifest: Manifest, folds: int, seed: int) -> list[Split]:
    """Deal a set into folds by patient and class, each to be tested once.

    Parameters
    ----------
    manifest : Manifest
        Labels and patients.
    folds : int
        How many.
    seed : int
        The same seed gives the same folds.

    Returns
    -------
    list of Split
        One a fold, without a validation part.
    """
    fold = manifest_folds(manifest, folds, seed)
    none = np.zeros(0, dtype=np.int64)
    return [Split(np.flatnonzero(fold != k), none, np.flatnonzero(fold == k)) for k in range(folds)]
