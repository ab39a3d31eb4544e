"""Add the predictions of a study to an archive that is published with its results.

    python benchmarks/evidence/publish.py runs/busi benchmarks/evidence/predictions/busi.tar.xz

The archive has a table for each arm, way of judging and seed (``arms/mse/linear/seed0/``) and for
each baseline (``baselines/pixels/``): ``predictions.csv`` and, of the images by which thresholds
are chosen, ``validation.csv``, as `glcm-mae compare` writes them, but with paths from the images'
folder on and probabilities of five decimals; and ``about.json``, what the study says of patients.
Of ``external``, which `compare --external` writes, baselines have seeds, too: there each model
stands in the place of one, and ``about.json`` tells of which seed it is. What the study does not
have stays as it is in the archive. So a comparison grows from one machine to the next;
`recompute.py` prints it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from glcm_mae.errors import UserError
from glcm_mae.files import write_atomically
from glcm_mae.predictions import Predictions, read_predictions

DECIMALS = (
    5  # too few to rank images of which a classifier is sure, as it may be of another source's
)


def main() -> None:
    """Unpack the archive if there is one, lay the study's tables over it, pack it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--whole", action="store_true", help="keep all digits of probabilities")
    arguments = parser.parse_args()
    try:
        publish(arguments.study, arguments.archive, whole=arguments.whole)
    except UserError as error:
        sys.exit(f"publish.py: {error}")


def publish(study: Path, archive: Path, *, whole: bool) -> None:
    """Lay a study's tables over those of an archive, which may not exist yet."""
    about = study / "comparison.json"
    if not about.is_file():
        raise UserError(f"{study} holds no finished comparison: give the folder of compare --out.")
    comparison = json.loads(about.read_text(encoding="utf-8"))
    results = comparison["results"]
    files = sorted({file for way in results for file in _tables(study, way, results[way])})
    tables = {file.relative_to(study): read_predictions(file) for file in files}
    tested = [table for file, table in tables.items() if file.name == "predictions.csv"]
    root = os.path.commonpath([path for table in tested for path in table.paths])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if archive.exists():
            with tarfile.open(archive) as packed:
                packed.extractall(folder, filter="data")
        for place, table in tables.items():
            seeds = np.unique(table.seeds).tolist()
            for seed in seeds:
                name = f"seed{seed}" if place.parts[0] == "arms" or len(seeds) > 1 else "."
                target = folder / place.parent / name / place.name
                target.parent.mkdir(parents=True, exist_ok=True)
                _shortened(of_seed(table, seed), root, whole).write(target)
        told = {"patients": next(iter(results.values()))["patients"]}
        if "external" in comparison:
            told["seed_of_model"] = comparison["external"]["seed_of_model"]
        (folder / "about.json").write_text(json.dumps(told, indent=2) + "\n")
        _check_folds(folder)
        _pack(folder, archive)


def _tables(study: Path, way: str, found: dict[str, Any]) -> list[Path]:
    """List the tables that the comparison stands on; others may be of other settings."""
    places = (
        [study / "arms" / name / way, study / "baselines" / name]
        for name in found["comparisons"][0]["arms"]
    )
    return [file for pair in places for place in pair for file in place.glob("*.csv")]


def _shortened(table: Predictions, root: str, whole: bool) -> Predictions:
    paths = tuple(_short(path, root) for path in table.paths)
    chances = table.probabilities if whole else table.probabilities.round(DECIMALS)
    return replace(table, paths=paths, probabilities=chances)


def _short(path: str, root: str) -> str:
    """Name an image from the images' folder on; that of the study which was asked, by its end."""
    study, mark, file = path.rpartition(": ")
    return (
        f"{study}{mark}{'/'.join(Path(file).parts[-2:])}" if mark else os.path.relpath(path, root)
    )


def of_seed(table: Predictions, seed: int) -> Predictions:
    """Take the rows of a seed from a table that has folds and seeds."""
    rows = np.flatnonzero(table.seeds == seed)
    columns = ("labels", "probabilities", "folds", "seeds")
    return replace(
        table,
        paths=tuple(table.paths[row] for row in rows),
        patients=tuple(table.patients[row] for row in rows),
        **{name: getattr(table, name)[rows] for name in columns},
    )


def _check_folds(folder: Path) -> None:
    """Refuse tables of other images, labels, patients or folds than the first one's."""
    first = None
    for file in sorted(folder.rglob("predictions.csv")):
        table = read_predictions(file)
        assert table.folds is not None  # a study's tables have them
        facts = zip(table.paths, table.patients, table.labels, table.folds, strict=True)
        found = {path: rest for path, *rest in facts}
        first = first or found
        if found != first:
            raise UserError(
                f"{file.relative_to(folder)} is of other images or folds than the rest of the "
                "archive: give a study of the same images, folds and split_seed."
            )


def _pack(folder: Path, archive: Path) -> None:
    """Pack tables without their dates: the same predictions make the same archive on every day."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:xz", preset=9) as packed:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = tarfile.TarInfo(file.relative_to(folder).as_posix())
            entry.size = file.stat().st_size
            packed.addfile(entry, io.BytesIO(file.read_bytes()))
    write_atomically(archive, content.getvalue())


if __name__ == "__main__":
    main()
