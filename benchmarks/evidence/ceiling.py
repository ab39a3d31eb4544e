"""The phantom with all its labels, for the ceiling in docs/results.md.

    python benchmarks/evidence/ceiling.py demo/data

Writes ``ceiling.csv`` into the folder ``data`` of `glcm-mae demo`: the labelled images are the test
part, the others train, but for those of a tenth of their patients, which validate.
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path


def main() -> None:
    """Write the manifest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="that holds manifest.csv and labelled.csv")
    folder = parser.parse_args().folder
    tested = {row["path"] for row in _rows(folder / "labelled.csv")}
    rows = _rows(folder / "manifest.csv")
    others = sorted({row["patient"] for row in rows if row["path"] not in tested})
    held = set(random.Random(0).sample(others, len(others) // 10))
    with (folder / "ceiling.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "patient", "split"])
        for row in rows:
            side = "val" if row["patient"] in held else "train"
            split = "test" if row["path"] in tested else side
            writer.writerow([row["path"], row["label"], row["patient"], split])


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


if __name__ == "__main__":
    main()
