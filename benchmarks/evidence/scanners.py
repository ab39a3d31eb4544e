"""Phantoms of other patients, as the scanner of the study and as others would show them.

    python benchmarks/evidence/scanners.py scanners

Writes three sets of 720 images of 180 patients, none of whom `glcm-mae demo` has, to ask the models
of a study about (`glcm-mae compare --external`): ``same``; ``gain``, where gray values are brighter
and flatter (0.3 + 0.7 x^0.8 of x in [0, 1]); and ``beam``, whose pulse and beam are wider by a
quarter, so that each class's speckle is coarser than that of the study.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from glcm_mae.data import make_phantom, write_phantom
from glcm_mae.data.phantom import TEXTURES

PATIENTS, IMAGES, SIZE, SEED = 60, 4, 64, 11
WIDER = 1.25


def main() -> None:
    """Write the three sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="a folder for the sets")
    out = parser.parse_args().out
    same = make_phantom(PATIENTS, IMAGES, SIZE, SEED)
    share = 0.3 + 0.7 * (same.images / 255.0) ** 0.8
    coarser = {
        name: replace(texture, axial=WIDER * texture.axial, lateral=WIDER * texture.lateral)
        for name, texture in TEXTURES.items()
    }
    sets = {
        "same": same,
        "gain": replace(same, images=np.rint(255 * share).astype(np.uint8)),
        "beam": make_phantom(PATIENTS, IMAGES, SIZE, SEED, coarser),
    }
    for name, phantom in sets.items():
        write_phantom(phantom, out / name)


if __name__ == "__main__":
    main()
