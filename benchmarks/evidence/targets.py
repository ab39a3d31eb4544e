"""What the targets of texture prediction hold, before anything is trained to predict them.

    python benchmarks/evidence/targets.py runs/busi --size 128 --patch 16

For the folds of a study that `glcm-mae compare` began: how much of each target's variance the mean
gray value of its patch explains (what the squared error asks for already), and how well a linear
probe tells the classes from the target's mean over an image's patches. The probe is judged on the
validation parts, so that a target can be chosen by it. A perfect prediction could do no better.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from glcm_mae.data import holdout, read_manifest
from glcm_mae.models import TextureHead
from glcm_mae.models.patches import patchify
from glcm_mae.settings import DataSettings, TargetSettings
from glcm_mae.texture import Binning
from glcm_mae.training.inputs import read_images
from glcm_mae.training.probe import linear_probe, out_of_fold

NEAR = [(0, 1), (1, 0)]
FAR = [*NEAR, (0, 2), (2, 0), (0, 4), (4, 0)]
TARGETS = {
    "GLCM": TargetSettings(),
    "GLCM, 16 levels": TargetSettings(levels=16),
    "GLCM, 1, 2 and 4 pixels": TargetSettings(offsets=FAR),
    "GLCM, relative": TargetSettings(relative=True),
    "GLCM, relative, 1, 2 and 4 pixels": TargetSettings(relative=True, offsets=FAR),
    "Haralick": TargetSettings(descriptor="haralick"),
    "Haralick, 1, 2 and 4 pixels": TargetSettings(descriptor="haralick", offsets=FAR),
    "Haralick, relative": TargetSettings(descriptor="haralick", relative=True),
    "GLCM of the image": TargetSettings(scope="image"),
    "Haralick of the image": TargetSettings(scope="image", descriptor="haralick"),
}
GRAY_BINS = 32


def main() -> None:
    """Print a table, a target a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--size", type=int, required=True, help="side of the images in pixels")
    parser.add_argument("--patch", type=int, required=True, help="side of a patch in pixels")
    arguments = parser.parse_args()
    folds = sorted(arguments.study.glob("folds/fold*.csv"))
    data = DataSettings(
        images=str(folds[0]), image_size=arguments.size, color="gray", resize="stretch"
    )
    images = read_images(data, read_manifest(data.images), quiet=True)
    gray = patchify(images.pixels, arguments.patch).mean(dim=-1).flatten().numpy()
    print(f"{'target':36} {'entries':>7} {'by mean gray':>13} {'AUROC':>6}")
    for name, target in TARGETS.items():
        texture = _targets(images.pixels, target, arguments.patch)  # (images, patches, entries)
        share = _explained(texture.reshape(-1, texture.shape[-1]), gray)
        area = _area(texture.mean(axis=1), folds)
        print(f"{name:36} {texture.shape[-1]:7} {share:13.2f} {area:6.3f}", flush=True)


def _targets(pixels: torch.Tensor, target: TargetSettings, patch: int) -> np.ndarray:
    side = pixels.shape[-1] // patch
    head = TextureHead(
        1,
        Binning(target.levels, target.kernel, target.bandwidth),
        tuple(target.offsets),
        pixels.shape[1],
        patch,
        (side, side),
        scope=target.scope,
        descriptor=target.descriptor,
        relative=target.relative,
    )
    head.fit(pixels[:: max(1, len(pixels) // 256)])
    every = torch.ones(1, side * side).bool()
    return np.stack([torch.cat(head.targets(x, every), 1).numpy() for x in pixels.split(1)])


def _explained(texture: np.ndarray, gray: np.ndarray) -> float:
    """Share of the variance between patches of different mean gray value."""
    edges = np.quantile(gray, np.linspace(0, 1, GRAY_BINS + 1)[1:-1])
    bins = np.searchsorted(edges, gray)
    counts = np.bincount(bins, minlength=GRAY_BINS)
    sums = np.zeros((GRAY_BINS, texture.shape[1]))
    np.add.at(sums, bins, texture)
    means = sums / np.maximum(counts, 1)[:, None]
    return float(1 - (texture - means[bins]).var(axis=0).sum() / texture.var(axis=0).sum())


def _area(features: np.ndarray, folds: list[Path]) -> float:
    """Mean AUROC on the folds' validation parts, each class against the rest."""
    areas = []
    for fold in folds:
        manifest = read_manifest(str(fold))
        given = [holdout(manifest, len(folds), 0, 0)]
        said = out_of_fold(linear_probe, features, manifest, given, seed=0).validation
        assert said is not None  # every fold of a study has a validation part
        chances = said.probabilities if len(said.classes) > 2 else said.probabilities[:, 1]
        areas.append(roc_auc_score(said.labels, chances, multi_class="ovr"))
    return float(np.mean(areas))


if __name__ == "__main__":
    main()
