"""Other patients of a set of real images, as the set shows them and on other gray scales.

    python benchmarks/evidence/gray_scales.py data/busi gray_scales

Deals the set's images, copies together, three fifths to ``study.csv`` and two fifths to five sets
that the models of that study can be asked about (`glcm-mae compare --external`): ``same``, as they
are; ``gain``, brighter and flatter (0.3 + 0.7 x^0.8 of x in [0, 1]); ``contrast``, harder, dark and
bright parts cut off (1.5 x - 0.15); and ``thinned`` and ``thinned_gain``, as the first two, in
which all classes but one are thinned to a quarter, as another hospital may have another mixture.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from glcm_mae.data import Manifest, kept_together, manifest_folds, read_image, read_manifest
from glcm_mae.files import csv_text

FOLDS, SEED = 5, 0
KEPT_WHOLE, THINNED = "malignant", 4


def main() -> None:
    """Write the manifests, and the images of those sets that are changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", help="a folder per class, of 8-bit images")
    parser.add_argument("out", type=Path, help="a folder for the sets")
    arguments = parser.parse_args()
    manifest, out = read_manifest(arguments.images), arguments.out
    labels = np.array([record.label for record in manifest.records])
    fold = manifest_folds(manifest, FOLDS, SEED, kept_together(manifest))
    out.mkdir(parents=True, exist_ok=True)
    _list(manifest.subset(np.flatnonzero(fold < 3)), out / "study.csv")
    others = manifest.subset(np.flatnonzero(fold >= 3))
    turn = np.arange(len(others))
    stays = (labels[fold >= 3] == KEPT_WHOLE) | (turn % THINNED == 0)
    thinned = others.subset(np.flatnonzero(stays))
    _list(others, out / "same" / "manifest.csv")
    _write(others, out / "gain", _gain)
    _write(others, out / "contrast", _contrast)
    _list(thinned, out / "thinned" / "manifest.csv")
    _write(thinned, out / "thinned_gain", _gain)


def _gain(share: np.ndarray) -> np.ndarray:
    return 0.3 + 0.7 * share**0.8


def _contrast(share: np.ndarray) -> np.ndarray:
    return np.clip(1.5 * share - 0.15, 0, 1)


def _write(manifest: Manifest, folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write changed copies of images, and their manifest."""
    rows = []
    for number, record in enumerate(manifest.records):
        stored, _ = read_image(record.path, record.frame)  # (C, H, W) uint8
        changed = np.rint(255 * change(stored / 255.0)).astype(np.uint8)
        path = folder / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.moveaxis(changed, 0, -1).squeeze()).save(path)
        rows.append((path.name, record.label))
    (folder / "manifest.csv").write_text(csv_text(["path", "label"], rows), encoding="utf-8")


def _list(manifest: Manifest, path: Path) -> None:
    """Write a manifest of images where they lie."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ((record.path.resolve(), record.label) for record in manifest.records)
    path.write_text(csv_text(["path", "label"], rows), encoding="utf-8")


if __name__ == "__main__":
    main()
