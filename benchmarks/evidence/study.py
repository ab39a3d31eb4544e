"""What the scripts here share: the folds and images of a study, and how one is laid out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from glcm_mae.data import Manifest, Split, holdout, read_manifest
from glcm_mae.evaluation import compare_arms, format_comparison
from glcm_mae.files import write_atomically
from glcm_mae.settings import DataSettings
from glcm_mae.study.tables import stack_predictions
from glcm_mae.training.classifiers import linear
from glcm_mae.training.inputs import Images, read_images
from glcm_mae.training.probe import out_of_fold
from glcm_mae.training.tables import Tables

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
    return read_listed_images(study / "folds" / "fold0.csv", size)


def read_listed_images(manifest: Path, size: int) -> Images:
    """Read the images of a manifest, gray and stretched to a square."""
    data = DataSettings(images=str(manifest), image_size=size, color="gray", resize="stretch")
    return read_images(data, read_manifest(str(manifest)), quiet=True)


def patients_of(study: Path) -> str:
    """Read what a finished study says of its patients."""
    results = json.loads((study / "comparison.json").read_text(encoding="utf-8"))["results"]
    return next(iter(results.values()))["patients"]


def lay_out(
    said: Mapping[str, Mapping[str, Sequence[Tables]]],
    reference: str,
    baselines: Sequence[str],
    patients: str,
    study: Path,
) -> None:
    """Write the tables of each way and arm, one a seed, where a study has them; print results."""
    results = {}
    for way, of_arms in said.items():
        tables = {}
        for name, of_seeds in of_arms.items():
            place = f"baselines/{name}" if name in baselines else f"arms/{name}/{way}"
            test, validation = map(stack_predictions, zip(*of_seeds, strict=True))
            test.write(study / place / "predictions.csv")
            validation.write(study / place / "validation.csv")
            tables[name] = test
        nothing = dict.fromkeys(tables)
        results[way] = compare_arms(tables, nothing, reference, baselines=baselines)
        results[way]["patients"] = patients
        print(f"# {way}", "", format_comparison(results[way]), sep="\n")
    text = json.dumps({"results": results}, indent=2, allow_nan=False) + "\n"
    write_atomically(study / "comparison.json", text)


def validation_area(features: Array, fold: Fold) -> float:
    """AUROC of a linear probe on the validation part, each class against the rest."""
    said = out_of_fold(linear, features, fold.manifest, [fold.split], seed=0)[0].validation
    assert said is not None  # every fold of a study has a validation part
    chances = said.probabilities if len(said.classes) > 2 else said.probabilities[:, 1]
    return float(roc_auc_score(said.labels, chances, multi_class="ovr"))
