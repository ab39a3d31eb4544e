"""Features of IBSI's CT phantom, by our command, against the consensus of 25 teams.

    git clone https://github.com/theibsi/data_sets
    python benchmarks/ibsi_ct_phantom.py data_sets/ibsi_1_ct_radiomics_phantom

The phantom is the CT of a lung tumour (Lambin, "Radiomics Digital Phantom", CancerData 2016,
doi 10.17195/candat.2016.08.1; CC BY-NC 3.0). Five configurations process it: slices or the volume,
resampled or not, by bins of a fixed size or number, without values beyond a range or far from the
mean. ``ibsi_ct_phantom.csv`` holds the value that the initiative's teams agreed on for each of the
25 GLCM features in each way that is defined, and the tolerance (Zwanenburg et al., "The Image
Biomarker Standardization Initiative", Radiology 295 (2020) 328-338; as the tests of MIRP list the
initiative's compliance check).

Printed is, for each configuration and way, how many features lie within the tolerance and how many
have all the digits that are published, with the largest distance in tolerances.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from itertools import groupby
from pathlib import Path

from glcm_mae.cli import main as glcm_mae

RESAMPLED = ["--spacing", "2", "--round_values", "true"]
SIZE_25 = ["--binning", "fixed_bin_size", "--bin_width", "25"]
NUMBER_32 = ["--binning", "fixed_bin_number", "--levels", "32"]

# IBSI's manual, section 5.2, "Configurations".
CONFIGURATIONS = {
    "A": ["--round_values", "true", "--range", "-500,400", *SIZE_25],
    "B": [*RESAMPLED, "--range", "-500,400", *NUMBER_32],
    "C": [*RESAMPLED, "--range", "-1000,400", *SIZE_25],
    "D": [*RESAMPLED, "--outliers", "3", *NUMBER_32],
    "E": [
        *RESAMPLED, "--interpolation", "cubic", "--range", "-1000,400", "--outliers", "3",
        *NUMBER_32,
    ],
}  # fmt: skip


def main() -> None:
    """Print a line for each configuration and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("phantom", type=Path, help="the folder ibsi_1_ct_radiomics_phantom")
    nifti = parser.parse_args().phantom / "nifti"
    total = [0, 0, 0]
    with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for (name, way), group in groupby(rows, lambda r: (r["configuration"], r["aggregation"])):
        found = _measured(nifti, way, CONFIGURATIONS[name])
        agreed = list(group)
        apart = [
            abs(float(found[r["feature"]]) - float(r["value"])) / float(r["tolerance"])
            for r in agreed
        ]
        within = sum(_within(float(found[r["feature"]]), r) for r in agreed)
        same = sum(_same_digits(float(found[r["feature"]]), r["value"]) for r in agreed)
        total = [a + b for a, b in zip(total, (len(agreed), within, same), strict=True)]
        print(
            f"{name} {way:22} {within} of {len(agreed)} within the tolerance, {same} to all "
            f"digits; at most {max(apart):.2f} tolerances off, {found['pixels']} voxels"
        )
    print(f"{total[1]} of {total[0]} within the tolerance, {total[2]} to all published digits")


def _measured(nifti: Path, way: str, how: list[str]) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "features.csv"
        image, mask = nifti / "image/phantom.nii.gz", nifti / "mask/mask.nii.gz"
        words = [str(image), "-o", str(out), "--masks", str(mask), "--aggregation", way, *how]
        if glcm_mae(["features", *words]):
            raise SystemExit(f"the command failed: {' '.join(words)}")
        with out.open(encoding="utf-8", newline="") as file:
            [row] = csv.DictReader(file)
    return row


def _within(value: float, row: dict[str, str]) -> bool:
    """Whether a value lies within the tolerance, or rounds to what is published."""
    apart = abs(value - float(row["value"]))
    return apart <= float(row["tolerance"]) or _same_digits(value, row["value"])


def _same_digits(value: float, published: str) -> bool:
    """Whether a value rounds to what is published, which has three digits or fewer."""
    return float(f"{value:.3g}") == float(published)


if __name__ == "__main__":
    main()
