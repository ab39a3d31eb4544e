"""What finished encoders hold of the texture that tells the classes apart.

    python benchmarks/evidence/held.py runs/busi --size 128 --arms mse,texture_prediction

For the folds of a study that `glcm-mae compare` has run (seed 0): how much of the variance of the
tiles' GLCMs (the baseline glcm_local) a ridge regression finds in an encoder's pooled features, by
principal components of the GLCMs; and how well a linear probe tells the classes from the first
components, from the encoder, and from what of the GLCMs the encoder explains and does not. Fitted
on the training parts (what is explained there, across patients); all figures are of the validation
parts, means over the folds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, cross_val_predict

from glcm_mae.models.weights import load_encoder
from glcm_mae.training.hand_made import local_glcms, measured
from glcm_mae.training.probe import extract
from study import Array, Fold, read_folds, read_study_images, validation_area

COMPONENTS = {"1": (0, 1), "2-8": (1, 8), "9-20": (8, 20)}
PENALTY = 3.0


def main() -> None:
    """Print what the GLCMs themselves tell, and a paragraph an arm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--size", type=int, required=True, help="side of the images in pixels")
    parser.add_argument("--arms", required=True, help="names of arms with encoders, by commas")
    arguments = parser.parse_args()
    folds = read_folds(arguments.study)
    pixels = read_study_images(arguments.study, arguments.size).pixels
    glcms = measured(local_glcms, pixels)
    _print_means("GLCMs", [_of_glcms(glcms, fold) for fold in folds])
    for arm in arguments.arms.split(","):
        rows = []
        for fold in folds:
            encoder, config = load_encoder(_encoder(arguments.study / "arms" / arm, fold.number))
            rows.append(_of_encoder(extract(encoder, config, pixels), glcms, fold))
        _print_means(arm, rows)


def _encoder(arm: Path, fold: int) -> Path:
    shared = arm / "seed0" / "pretrain"  # where all folds pre-train on the same images
    return shared if shared.exists() else arm / f"seed0-fold{fold}" / "pretrain"


def _of_glcms(glcms: Array, fold: Fold) -> dict[str, float]:
    components, _ = _principal(_standard(glcms, fold), fold)
    variance = components[fold.split.train].var(axis=0)
    found: dict[str, float] = {}
    for name, (first, end) in COMPONENTS.items():
        found[f"share of components {name}"] = variance[first:end].sum() / variance.sum()
        found[f"AUROC up to {end}"] = validation_area(components[:, :end], fold)
    return {**found, "AUROC": validation_area(glcms, fold)}


def _of_encoder(features: Array, glcms: Array, fold: Fold) -> dict[str, float]:
    glcms = _standard(glcms, fold)
    explained = _explained(_standard(features, fold), glcms, fold)
    components, directions = _principal(glcms, fold)
    missed = components - explained @ directions
    found: dict[str, float] = {}
    for name, (first, end) in COMPONENTS.items():
        left, all_ = (np.square(x[fold.split.val, first:end]).sum() for x in (missed, components))
        found[f"R2 of components {name}"] = 1 - left / all_
    return {
        **found,
        "AUROC": validation_area(features, fold),
        "of explained": validation_area(explained, fold),
        "of unexplained": validation_area(glcms - explained, fold),
    }


def _explained(features: Array, glcms: Array, fold: Fold) -> Array:
    """GLCMs (N, F) as the encoder's features tell them; of no image by its own or its patient's."""
    train = fold.split.train
    ridge = Ridge(PENALTY)
    explained = ridge.fit(features[train], glcms[train]).predict(features)
    patients = fold.manifest.patients[train]
    explained[train] = cross_val_predict(
        ridge, features[train], glcms[train], groups=patients, cv=GroupKFold(5)
    )
    return explained


def _standard(features: Array, fold: Fold) -> Array:
    train = features[fold.split.train]
    return (features - train.mean(axis=0)) / (train.std(axis=0) + 1e-6)


def _principal(standard: Array, fold: Fold) -> tuple[Array, Array]:
    """Components (N, k), the largest first, and their directions (F, k), of the training part."""
    directions = np.linalg.svd(standard[fold.split.train], full_matrices=False)[2].T
    return standard @ directions, directions


def _print_means(name: str, rows: list[dict[str, float]]) -> None:
    means = {column: np.mean([row[column] for row in rows]) for column in rows[0]}
    print(name, *(f"{column} {mean:.3f}" for column, mean in means.items()), sep="\n    ")


if __name__ == "__main__":
    main()
