"""What costs nothing and must be beaten: classifiers on hand-made features of the images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from glcm_mae.audit.inspection import inspect
from glcm_mae.audit.shortcuts import predict_by_ranks, traits
from glcm_mae.data import Manifest
from glcm_mae.errors import UserError
from glcm_mae.settings import BaselineKind, BaselineSettings, height_and_width
from glcm_mae.texture import directions, fixed_bin_number, image_features, quantize
from glcm_mae.training.hand_made import local_glcms, luminance, measured
from glcm_mae.training.inputs import Images
from glcm_mae.training.probe import (
    Probe,
    images_and_parts,
    inner_folds,
    linear_probe,
    out_of_fold,
)
from glcm_mae.training.progress import Meter
from glcm_mae.training.run import Run

__all__ = [
    "baseline",
    "boosting_probe",
    "glcm_vectors",
    "hand_made_features",
    "histograms",
    "rank_probe",
    "small_pixels",
]

_LEVELS = 32
_DISTANCES = (1, 2, 4, 8)
_BINS = 64  # of a histogram
_SIDE = 32  # of a shrunk image
_ROUNDS = 200  # of boosting, at most


def baseline(settings: BaselineSettings) -> Path:
    """Classify images by hand-made features; write ``predictions.csv``.

    Tested are the same images as by `glcm_mae.training.probe.probe`, by classifiers fitted on the
    same training parts; where there is a validation part, ``validation.csv`` holds what they say
    of it.

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
    features = hand_made_features(settings.kind, images)
    fit = _CLASSIFIERS[settings.kind]
    tables = out_of_fold(fit, features, images.manifest, parts, settings.seed, first_fold)
    run.begin()  # only now: a baseline that is stopped leaves nothing that refuses the next
    tables.write(run.folder)
    tested = sum(len(part.test) for part in parts)
    run.finish({"test": tested, "skipped": images.skipped, "features": features.shape[1]})
    return run.folder


def hand_made_features(kind: BaselineKind, images: Images) -> np.ndarray:
    """Compute one feature vector an image.

    Parameters
    ----------
    kind : str
        Of `BaselineSettings`.
    images : Images
        As the network sees them. For shortcuts alone their files are measured as they are stored.

    Returns
    -------
    ndarray of float64, (N, F)
    """
    if kind == "shortcuts":
        return _shortcuts(images.manifest)
    return measured(_DESCRIPTIONS[kind], images.pixels)


def glcm_vectors(images: Tensor) -> Tensor:
    """Describe texture: the 25 features of IBSI at 1, 2, 4 and 8 pixels, the mean of 4 directions.

    Each image's own range, of its luminance if it is in colour, is cut into 32 gray levels, so
    that neither brightness nor a window that leaves most of the scale empty takes part.

    Parameters
    ----------
    images : Tensor, (B, C, H, W)
        In [0, 1]; higher and wider than 8 pixels.

    Returns
    -------
    Tensor of float64, (B, 100)

    References
    ----------
    Zwanenburg, Leger, Vallieres, Lock, "Image biomarker standardisation initiative",
    arXiv 1612.07003, 2016, sections 2.7 (fixed bin number) and 3.6.

    Examples
    --------
    >>> glcm_vectors(torch.rand(2, 1, 16, 16)).shape
    torch.Size([2, 100])
    """
    codes = fixed_bin_number(luminance(images), _LEVELS)
    offsets = [(dy, dx) for distance in _DISTANCES for dy, dx in directions(2, distance)]
    separate = image_features(codes, _LEVELS, offsets, aggregation="separate")  # (B, 16, 25)
    return separate.unflatten(1, (len(_DISTANCES), -1)).mean(dim=2).flatten(1)


def small_pixels(images: Tensor) -> Tensor:
    """Shrink images, of colour ones the luminance, to 32 x 32 means of areas.

    Parameters
    ----------
    images : Tensor, (B, C, H, W)
        Of any values.

    Returns
    -------
    Tensor of float64, (B, 1024)

    Examples
    --------
    >>> small_pixels(torch.eye(64)[None, None])[0, :2].tolist()
    [0.5, 0.0]
    """
    return F.adaptive_avg_pool2d(luminance(images).double(), _SIDE).flatten(1)


def histograms(images: Tensor) -> Tensor:
    """Count each channel's values in 64 bins of [0, 1]: the square roots of their shares.

    The square root gives rare values, such as those of marks and borders, as much of a say as
    common ones: a count's root varies alike whatever the count (Anscombe, Biometrika 35, 1948).

    Parameters
    ----------
    images : Tensor, (B, C, H, W)
        In [0, 1].

    Returns
    -------
    Tensor of float64, (B, 64 C)

    Examples
    --------
    >>> images = torch.zeros(1, 1, 2, 2)
    >>> images[0, 0, 0, 1:] = 1.0
    >>> histograms(images)[0, [0, 1, 63]].square().round(decimals=6).tolist()
    [0.75, 0.0, 0.25]
    """
    bins = quantize(images, _BINS).flatten(2).long()  # (B, C, H*W)
    counts = torch.zeros(*bins.shape[:2], _BINS, dtype=torch.float64)
    counts.scatter_add_(2, bins, torch.ones_like(bins, dtype=torch.float64))
    return (counts / bins.shape[2]).sqrt().flatten(1)


def boosting_probe(
    train: np.ndarray, labels: np.ndarray, groups: np.ndarray, test: np.ndarray, seed: int
) -> np.ndarray:
    """Gradient boosting of small trees; how many is chosen on inner folds of the training part.

    scikit-learn would stop early by a validation part that it cuts image by image: a patient
    would stand on both of its sides, and too many trees seem right.

    Parameters
    ----------
    train, labels, groups, test, seed
        As for `glcm_mae.training.probe.linear_probe`.

    Returns
    -------
    ndarray, (m, K)
        Class probabilities.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    def boosted(rounds: int) -> HistGradientBoostingClassifier:
        # Leaves, bins and rate for the hundreds of images that a small set has.
        return HistGradientBoostingClassifier(
            max_iter=rounds, learning_rate=0.1, max_leaf_nodes=8, min_samples_leaf=10, max_bins=64,
            early_stopping=False, random_state=seed,
        )  # fmt: skip

    losses = np.zeros(_ROUNDS)
    inner = inner_folds(labels, groups, seed)
    # Steps this small are done before threads have found each other, and on a machine that is busy
    # with something else they wait for each other a hundred times as long.
    with threadpool_limits(1):
        for fold in np.unique(inner):
            fitted, held = inner != fold, inner == fold
            model = boosted(_ROUNDS).fit(train[fitted], labels[fitted])
            for i, chances in enumerate(model.staged_predict_proba(train[held])):
                right = chances[np.arange(held.sum()), labels[held]]
                losses[i] -= np.log(np.clip(right, 1e-12, None)).sum()
        best = boosted(int(losses.argmin()) + 1)
        return best.fit(train, labels).predict_proba(test)


def rank_probe(
    train: np.ndarray, labels: np.ndarray, groups: np.ndarray, test: np.ndarray, seed: int
) -> np.ndarray:
    """Predict as `data check` does from shortcuts: `glcm_mae.audit.shortcuts.predict_by_ranks`.

    Parameters
    ----------
    train, labels, groups, test, seed
        As for `glcm_mae.training.probe.linear_probe`; neither groups nor seed matter here.

    Returns
    -------
    ndarray, (m, K)
        Class probabilities.
    """
    return predict_by_ranks(train, labels, test)


_DESCRIPTIONS: dict[BaselineKind, Callable[[Tensor], Tensor]] = {
    "glcm_logistic": glcm_vectors,
    "glcm_boosting": glcm_vectors,
    "glcm_local": local_glcms,
    "pixels": small_pixels,
    "histogram": histograms,
}
_CLASSIFIERS: dict[BaselineKind, Probe] = {
    "glcm_logistic": linear_probe,
    "glcm_boosting": boosting_probe,
    "glcm_local": linear_probe,
    "pixels": linear_probe,
    "histogram": linear_probe,
    "shortcuts": rank_probe,
}


def _shortcuts(manifest: Manifest) -> np.ndarray:
    """Measure files, which have just been read, for what `data check` calls shortcuts."""
    with Meter("measuring files", len(manifest)) as meter:
        looks = inspect(manifest, lambda _: meter.advance(images=1))
    return np.concatenate(list(traits(looks).values()), axis=1)


def _check(settings: BaselineSettings) -> None:
    """Refuse what has no such features, before any image is read."""
    side, reach = min(height_and_width(settings.data.image_size)), max(_DISTANCES)
    if settings.kind.startswith("glcm") and side <= reach:
        raise UserError(
            f"data.image_size is {settings.data.image_size}: the baseline {settings.kind} pairs "
            f"pixels {reach} apart, so set it to {reach + 1} or more."
        )
