"""Features of pyradiomics' own test images, by our command, against its published values.

    git clone https://github.com/AIM-Harvard/pyradiomics
    python benchmarks/pyradiomics_baseline.py pyradiomics/data

Its repository has volumes and regions of patients (``brain1_image.nrrd``, ``brain1_label.nrrd`` and
so on) and, in ``baseline/baseline_glcm.csv``, the features that its releases must find in them.
Printed is, for each case and way, how many features there are and the largest relative difference.
Cases whose files are not there, or that ask for what the command does not do (its own
resampling, normalisation), are left out and told.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

from glcm_mae.cli import main as glcm_mae
from texture_features import PYRADIOMICS

WAYS = {
    "": ("3d_averaged", ["--binning", "pyradiomics", "--bin_width", "25"]),
    "_2d": ("2.5d_direction_merged", ["--binning", "pyradiomics", "--bin_width", "25"]),
    "_combined": ("3d_merged", ["--binning", "pyradiomics", "--bin_width", "25"]),
    "_FBN": ("3d_averaged", ["--binning", "fixed_bin_number", "--levels", "64"]),
    "_resegmentation": (
        "3d_averaged",
        ["--binning", "pyradiomics", "--bin_width", "25", "--outliers", "3"],
    ),
    "_flatRegion": ("3d_averaged", ["--binning", "pyradiomics", "--bin_width", "5000"]),
}


def main() -> None:
    """Print a line for each case and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder data of pyradiomics' repository")
    data = parser.parse_args().data
    with (data / "baseline" / "baseline_glcm.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    left_out = []
    for column, name in enumerate(header[1:], start=1):
        published = {row[0].removeprefix("original_glcm_"): row[column] for row in rows}
        case = name.partition("_")[0]
        way = name.removeprefix(case)
        image, mask = (data / f"{case}_{kind}.nrrd" for kind in ("image", "label"))
        if way not in WAYS or not image.is_file() or not image.stat().st_size:
            left_out.append(name)
            continue
        found = _measured(image, mask, *WAYS[way])
        differences = [
            _relative(float(found[ours]), float(published[theirs]))
            for theirs, ours in PYRADIOMICS.items()
            if theirs in published
        ]
        print(
            f"{name:20} {published['diagnostics_Mask-original_VoxelNum']:>6} voxels, "
            f"{len(differences)} features, largest relative difference {max(differences):.1e}"
        )
    print(f"left out: {', '.join(left_out)}")


def _measured(image: Path, mask: Path, aggregation: str, how: list[str]) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "features.csv"
        words = [str(image), "-o", str(out), "--masks", str(mask), "--aggregation", aggregation]
        if glcm_mae(["features", *words, *how]) != 0:
            raise SystemExit(f"{image} is not measured.")
        with out.open(encoding="utf-8", newline="") as file:
            [row] = csv.DictReader(file)
    return row


def _relative(ours: float, theirs: float) -> float:
    return abs(ours - theirs) / max(abs(theirs), 1e-6)  # what shall be 0 is 0 but for rounding


if __name__ == "__main__":
    main()
