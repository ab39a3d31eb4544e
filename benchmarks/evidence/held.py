"""What finished encoders hold of the texture that tells the classes apart.

    python benchmarks/evidence/held.py runs/busi --size 128 --arms mse,texture_prediction

For the folds of a study that `glcm-mae compare` has run (seed 0): how much of the variance of the
tiles' GLCMs (the baseline glcm_local) a ridge regression finds in an encoder's pooled features, by
principal components of the GLCMs, and how well a linear probe tells the classes from those
components, from the encoder, from what of the GLCMs the encoder explains and does not, and from
encoder and GLCMs side by side. Fitted on the training parts; all figures are of validation parts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from glcm_mae.data import Manifest, Split, holdout, read_manifest
from glcm_mae.models.weights import load_encoder
from glcm_mae.settings import DataSettings
from glcm_mae.study.baselines import local_glcms
from glcm_mae.training.inputs import Images, read_images
from glcm_mae.training.probe import extract, linear_probe, out_of_fold

COMPONENTS = {"1": (0, 1), "2-8": (1, 8), "9-20": (8, 20)}

Array = NDArray[np.float64]


def main() -> None:
    """Print a line an arm, and one of the GLCMs themselves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--size", type=int, required=True, help="side of the images in pixels")
    parser.add_argument("--arms", required=True, help="names of arms with encoders, by commas")
    arguments = parser.parse_args()
    files = sorted(arguments.study.glob("folds/fold*.csv"))
    data = DataSettings(
        images=str(files[0]), image_size=arguments.size, color="gray", resize="stretch"
    )
    images = read_images(data, read_manifest(data.images), quiet=True)
    glcms = np.concatenate([local_glcms(batch).numpy() for batch in images.pixels.split(64)])
    folds = [_fold(file, len(files)) for file in files]
    _print_means("GLCMs", [_of_glcms(glcms, *fold) for fold in folds])
    for arm in arguments.arms.split(","):
        encoders = arguments.study / "arms" / arm
        features = [_features(encoders / f"seed0-fold{k}", images) for k in range(len(folds))]
        rows = [_of_encoder(f, glcms, *fold) for f, fold in zip(features, folds, strict=True)]
        _print_means(arm, rows)


def _fold(file: Path, folds: int) -> tuple[Manifest, Split]:
    manifest = read_manifest(str(file))
    return manifest, holdout(manifest, folds, 0, 0)


def _features(cell: Path, images: Images) -> Array:
    encoder, config = load_encoder(cell / "pretrain")
    return extract(encoder, config, images.pixels)


def _of_glcms(glcms: Array, manifest: Manifest, split: Split) -> dict[str, float]:
    components, _ = _principal(_standard(glcms, split), split)
    total = components[split.train].var(axis=0).sum()
    found: dict[str, float] = {}
    for name, (first, end) in COMPONENTS.items():
        part = components[:, first:end]
        found[f"share of components {name}"] = part[split.train].var(axis=0).sum() / total
        found[f"AUROC up to {end}"] = _area(components[:, :end], manifest, split)
    return {**found, "AUROC": _area(glcms, manifest, split)}


def _of_encoder(
    features: Array, glcms: Array, manifest: Manifest, split: Split
) -> dict[str, float]:
    inputs, outputs = _standard(features, split), _standard(glcms, split)
    explained = Ridge(3.0).fit(inputs[split.train], outputs[split.train]).predict(inputs)
    components, directions = _principal(outputs, split)
    missed = components - explained @ directions
    found = {
        f"R2 of components {name}": 1 - np.square(missed[split.val, first:end]).sum() / all_
        for name, (first, end) in COMPONENTS.items()
        for all_ in [np.square(components[split.val, first:end]).sum()]
    }
    return {
        **found,
        "AUROC": _area(features, manifest, split),
        "of explained": _area(explained, manifest, split),
        "of unexplained": _area(outputs - explained, manifest, split),
        "beside GLCMs": _area(np.concatenate([features, glcms], axis=1), manifest, split),
    }


def _standard(features: Array, split: Split) -> Array:
    train = features[split.train]
    return (features - train.mean(axis=0)) / (train.std(axis=0) + 1e-6)


def _principal(standard: Array, split: Split) -> tuple[Array, Array]:
    """Components (N, k), the largest first, and their directions (F, k), of the training part."""
    directions = np.linalg.svd(standard[split.train], full_matrices=False)[2].T
    return standard @ directions, directions


def _area(features: Array, manifest: Manifest, split: Split) -> float:
    """AUROC of the validation part, each class against the rest."""
    said = out_of_fold(linear_probe, features, manifest, [split], seed=0).validation
    assert said is not None  # every fold of a study has a validation part
    chances = said.probabilities if len(said.classes) > 2 else said.probabilities[:, 1]
    return float(roc_auc_score(said.labels, chances, multi_class="ovr"))


def _print_means(name: str, rows: list[dict[str, float]]) -> None:
    means = {column: np.mean([row[column] for row in rows]) for column in rows[0]}
    print(name, *(f"{column} {mean:.3f}" for column, mean in means.items()), sep="\n    ")


if __name__ == "__main__":
    main()
