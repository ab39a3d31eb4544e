"""What the scripts here share: a finished study's folds, and a probe of their validation parts."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from glcm_mae.data import Manifest, Split, holdout, read_manifest
from glcm_mae.settings import DataSettings
from glcm_mae.training.classifiers import linear
from glcm_mae.training.inputs import Images, read_images
from glcm_mae.training.probe import out_of_fold

Array = NDArray[np.float64]


class Fold(NamedTuple):
    """A fold: the images' labels and patients, and on which side each stands."""

    number: int
    manifest: Manifest
    split: Split


def read_folds(study: Path) -> list[Fold]:
    """Read the folds of a study that `glcm-mae compare` has begun, by their numbers."""
    manifests = []
    while (file := study / "folds" / f"fold{len(manifests)}.csv").exists():
        manifests.append(read_manifest(str(file)))
    splits = [holdout(manifest, max(3, len(manifests)), 0, 0) for manifest in manifests]
    return [Fold(k, m, s) for k, (m, s) in enumerate(zip(manifests, splits, strict=True))]


def read_study_images(study: Path, size: int) -> Images:
    """Read a study's images, gray and stretched to a square."""
    file = str(study / "folds" / "fold0.csv")
    data = DataSettings(images=file, image_size=size, color="gray", resize="stretch")
    return read_images(data, read_manifest(file), quiet=True)


def validation_area(features: Array, fold: Fold) -> float:
    """AUROC of a linear probe on the validation part, each class against the rest."""
    said = out_of_fold(linear, features, fold.manifest, [fold.split], seed=0)[0].validation
    assert said is not None  # every fold of a study has a validation part
    chances = said.probabilities if len(said.classes) > 2 else said.probabilities[:, 1]
    return float(roc_auc_score(said.labels, chances, multi_class="ovr"))
