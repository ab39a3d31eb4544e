"""Probing: how much of the classes a frozen encoder's features already tell."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from glcm_mae.data import Manifest, Split, grouped_folds
from glcm_mae.errors import UserError
from glcm_mae.models import Encoder, EncoderConfig, pool_tokens
from glcm_mae.models.classifier import Pooling
from glcm_mae.settings import DataSettings, ProbeSettings, height_and_width

from .encoders import check_encoder, encoder_or_random
from .fabric import launch
from .hand_made import REACH, local_glcms, measured
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
from .seen import refuse_seen, tell_copies
from .tables import Tables, prediction_tables

# Fits on (n, D) features and (n,) labels, given the training groups, and predicts (m, K).
Probe = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]

_BATCH = 64
_STRENGTHS = np.logspace(-4, 2, 7)  # inverse ridge penalties to choose from


def probe(settings: ProbeSettings) -> Path:
    """Probe an encoder and write ``linear/predictions.csv`` and ``knn/predictions.csv``.

    Without a held-out fold, each fold of the images is tested with a probe fitted on the others;
    with one (or with a split in the manifest), its test part is tested with a probe fitted on the
    training part, and ``validation.csv`` beside holds what the probe says of the validation part.

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
        features = extract(encoder.to(fabric.device), config, images.pixels, settings.pooling)
    if settings.beside_glcms:
        features = np.concatenate([features, measured(local_glcms, images.pixels)], axis=1)
    probes = (("linear", linear_probe), ("knn", knn_probe(settings.neighbours)))
    tables = {
        name: out_of_fold(fit, features, images.manifest, parts, settings.seed, first_fold)
        for name, fit in probes
    }
    run.begin()  # only now: a probe that is stopped leaves nothing that refuses the next
    for name, found in tables.items():
        found.write(run.folder / name, seen)
    facts = {"test": len(tested), "skipped": images.skipped}
    run.finish({**facts, "test_images_seen_in_pretraining": seen})
    return run.folder


@torch.no_grad()
def extract(
    encoder: Encoder, config: EncoderConfig, pixels: Tensor, pooling: Pooling = "mean"
) -> np.ndarray:
    """Compute one feature vector an image.

    Parameters
    ----------
    encoder : Encoder
        On the device to compute on.
    config : EncoderConfig
        Its normalisation.
    pixels : Tensor, (N, C, H, W)
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
    fit: Probe,
    features: np.ndarray,
    manifest: Manifest,
    parts: list[Split],
    seed: int,
    first_fold: int = 0,
) -> Tables:
    """Fit on each training part; predict its test part, and its validation part if it has one.

    Parameters
    ----------
    fit : callable
        `linear_probe`, or what `knn_probe` returns.
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
    Tables
        One row a predicted image, with its fold.
    """
    labels, patients = manifest.labels, manifest.patients
    chances = []
    for part in parts:
        train = part.train
        centre, spread = features[train].mean(axis=0), features[train].std(axis=0) + 1e-6
        scaled = (features - centre) / spread
        asked = scaled[np.concatenate([part.test, part.val])]
        chances.append(fit(scaled[train], labels[train], patients[train], asked, seed))
    return prediction_tables(manifest, parts, chances, seed, first_fold)


def linear_probe(
    train: np.ndarray, labels: np.ndarray, groups: np.ndarray, test: np.ndarray, seed: int
) -> np.ndarray:
    """Logistic regression; its ridge penalty is chosen on inner folds of the training part.

    Parameters
    ----------
    train, test : ndarray, (n, D) and (m, D)
        Standardised features.
    labels, groups : ndarray, (n,)
        Classes and patients of the training part.
    seed : int
        For the inner folds.

    Returns
    -------
    ndarray, (m, K)
        Class probabilities.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    inner = inner_folds(labels, groups, seed)
    losses = np.zeros(len(_STRENGTHS))
    with warnings.catch_warnings():
        # The weakest penalties need not converge to be told from better ones.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for fold in np.unique(inner):
            fitted, held = inner != fold, inner == fold
            model = LogisticRegression(max_iter=300, warm_start=True)
            for i, strength in enumerate(_STRENGTHS):
                model.set_params(C=strength).fit(train[fitted], labels[fitted])
                chances = model.predict_proba(train[held])[np.arange(held.sum()), labels[held]]
                losses[i] -= np.log(np.clip(chances, 1e-12, None)).sum()
        best = LogisticRegression(C=_STRENGTHS[losses.argmin()], max_iter=1000)
        return best.fit(train, labels).predict_proba(test)


def knn_probe(neighbours: int) -> Probe:
    """Make a vote of the nearest training images by cosine, weighted by exp(similarity / 0.07).

    The weights are those of Wu et al. 2018 (arXiv 1805.01978), section 3.4.

    Parameters
    ----------
    neighbours : int
        How many vote.

    Returns
    -------
    callable
        Takes and returns what `linear_probe` does.
    """

    def fit(
        train: np.ndarray, labels: np.ndarray, groups: np.ndarray, test: np.ndarray, seed: int
    ) -> np.ndarray:
        similarity = _directions(test) @ _directions(train).T  # (m, n)
        k = min(neighbours, len(train))
        nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        weight = np.exp(np.take_along_axis(similarity, nearest, axis=1) / 0.07)
        votes = np.zeros((len(test), labels.max() + 1))
        for c in range(votes.shape[1]):
            votes[:, c] = (weight * (labels[nearest] == c)).sum(axis=1)
        return votes / votes.sum(axis=1, keepdims=True)

    return fit


def _directions(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


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
    if settings.beside_glcms and min(height_and_width(settings.data.image_size)) <= REACH:
        raise UserError(
            f"data.image_size is {settings.data.image_size}: beside_glcms pairs pixels {REACH} "
            f"apart, so set it to {REACH + 1} or more."
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
    names = np.array([record.label for record in manifest.records])
    fold = grouped_folds(names, manifest.patients, folds, seed)
    none = np.zeros(0, dtype=np.int64)
    return [Split(np.flatnonzero(fold != k), none, np.flatnonzero(fold == k)) for k in range(folds)]


def inner_folds(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Deal a training part into folds, by which a classifier's settings are chosen.

    Parameters
    ----------
    labels, groups : ndarray, (n,)
        Classes and patients of the training part.
    seed : int
        The same seed gives the same folds.

    Returns
    -------
    ndarray of int, (n,)
        Fold of each image, one of five or of as many as the rarest class has patients.
    """
    rarest = min(len(np.unique(groups[labels == c])) for c in np.unique(labels))
    for folds in range(max(2, min(5, rarest)), 2, -1):
        with suppress(UserError):  # large groups can leave a class out of a fold
            return grouped_folds(labels, groups, folds, seed)
    try:
        return grouped_folds(labels, groups, 2, seed)
    except UserError as error:
        raise UserError(
            "the patients of the training part cannot be dealt into two halves that both hold "
            "every class, by which a classifier's penalty is chosen: label more patients, or take "
            "another data.split_seed."
        ) from error
