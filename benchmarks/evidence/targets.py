"""What the targets of texture prediction hold, before anything is trained to predict them.

    python benchmarks/evidence/targets.py runs/busi --size 128 --patch 16

For the folds of a study that `glcm-mae compare` began: how much of each target's variance the mean
gray value of its patch explains (what the squared error asks for already), and how well a linear
probe tells the classes from the target's mean over an image's patches. The probe is judged on the
validation parts, so that a target can be chosen by it. A perfect prediction could do no better.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from glcm_mae.models import TextureHead
from glcm_mae.models.patches import patchify
from glcm_mae.settings import TargetSettings
from glcm_mae.texture import Binning
from study import read_folds, read_study_images, validation_area

NEAR = [(0, 1), (1, 0)]
FAR = [*NEAR, (0, 2), (2, 0), (0, 4), (4, 0)]
ABSOLUTE = TargetSettings(relative=False)
HARALICK = replace(ABSOLUTE, descriptor="haralick")
TARGETS = {
    "GLCM": ABSOLUTE,
    "GLCM, 16 levels": replace(ABSOLUTE, levels=16),
    "GLCM, 1, 2 and 4 pixels": replace(ABSOLUTE, offsets=FAR),
    "GLCM, relative": replace(ABSOLUTE, relative=True),
    "GLCM, relative, 1, 2 and 4 pixels": replace(ABSOLUTE, relative=True, offsets=FAR),
    "Haralick": HARALICK,
    "Haralick, 1, 2 and 4 pixels": replace(HARALICK, offsets=FAR),
    "Haralick, relative": replace(HARALICK, relative=True),
    "GLCM of the image": replace(ABSOLUTE, scope="image"),
    "Haralick of the image": replace(HARALICK, scope="image"),
}
GRAY_BINS = 32


def main() -> None:
    """Print a table, a target a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--size", type=int, required=True, help="side of the images in pixels")
    parser.add_argument("--patch", type=int, required=True, help="side of a patch in pixels")
    arguments = parser.parse_args()
    folds = read_folds(arguments.study)
    images = read_study_images(arguments.study, arguments.size)
    gray = patchify(images.pixels, arguments.patch).mean(dim=-1).flatten().numpy()
    print(f"{'target':36} {'entries':>7} {'by mean gray':>13} {'AUROC':>6}")
    for name, target in TARGETS.items():
        texture = _targets(images.pixels, target, arguments.patch)  # (images, patches, entries)
        share = _explained(texture.reshape(-1, texture.shape[-1]), gray)
        pooled = texture.mean(axis=1)
        area = np.mean([validation_area(pooled, fold) for fold in folds])
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


if __name__ == "__main__":
    main()
