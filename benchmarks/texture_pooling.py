"""How much a GLCM tells about the class of a texture, by the patches that it is pooled over.

    python benchmarks/texture_pooling.py [--patients 8]

On the simulated ultrasound phantom (three textures of equal histograms), GLCMs of one image's
patches (8 x 8 pixels), alone or averaged over several, are compared with those of other patients:
the mean squared distance between images of different textures over that between images of one
texture, minus 1. 0 says nothing about the class. Offsets (0, 1) and (1, 0); the interval is a
bootstrap over patients.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import Tensor

from glcm_mae.data import make_phantom
from glcm_mae.texture import Binning, soft_glcm, windows

PATCH = 8
POOLS = (1, 8, 48)
BINNINGS = {
    "sigmoid 256, w/30 (paper)": Binning(256, "sigmoid"),
    "linear 32": Binning(32, "linear"),
    "Gaussian 32": Binning(32),
    "Gaussian 16": Binning(16),
    "Gaussian 8": Binning(8),
}


def pooled(images: Tensor, binning: Binning, pool: int) -> Tensor:
    """GLCM of the first `pool` patches of each image, spread over it: (N, O * L * L)."""
    patches = windows(images, PATCH).flatten(1, 2)  # (N, 64, p, p)
    order = torch.randperm(patches.shape[1], generator=torch.Generator().manual_seed(0))
    rows = [soft_glcm(p[order[:pool]], binning).mean(dim=0).flatten() for p in patches]
    return torch.stack(rows)


def separation(rows: Tensor, labels: np.ndarray, patients: np.ndarray, weight: np.ndarray) -> float:
    """Weighted mean squared distance between classes over that within, minus 1."""
    square = torch.cdist(rows.double(), rows.double()).square().numpy()
    other = patients[:, None] != patients
    alike = labels[:, None] == labels
    pairs = np.outer(weight, weight)
    between = np.average(square, weights=pairs * (other & ~alike))
    return float(between / np.average(square, weights=pairs * (other & alike)) - 1)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=8, help="per class, an image each")
    args = parser.parse_args()
    phantom = make_phantom(args.patients, 1, size=64, seed=0)
    images = torch.from_numpy(phantom.images).float() / 255
    labels, patients = np.array(phantom.labels), np.array(phantom.patients)
    names = np.unique(patients)
    rng = np.random.default_rng(0)
    draws = [rng.multinomial(len(names), [1 / len(names)] * len(names)) for _ in range(200)]
    print(f"{len(images)} images of 64 x 64, {len(names)} patients, 3 textures")
    print(f"{'GLCM over patches':28}" + "".join(f"{pool:>24}" for pool in POOLS))
    for name, binning in BINNINGS.items():
        cells = []
        for pool in POOLS:
            rows = pooled(images, binning, pool)
            value = separation(rows, labels, patients, np.ones(len(images)))
            place = np.searchsorted(names, patients)
            low, high = np.percentile(
                [separation(rows, labels, patients, draw[place]) for draw in draws], [2.5, 97.5]
            )
            cells.append(f"{value:8.1%} [{low:6.1%}, {high:6.1%}]")
        print(f"{name:28}" + "".join(f"{cell:>26}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
