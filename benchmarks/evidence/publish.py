"""Add the predictions of a study to an archive that is published with its results.

    python benchmarks/evidence/publish.py runs/busi benchmarks/evidence/predictions/busi.tar.xz

The archive has a table for each arm, way of judging and seed (``arms/mse/linear/seed0/``) and for
each baseline (``baselines/pixels/``): ``predictions.csv`` and, of the images by which thresholds
are chosen, ``validation.csv``, as `glcm-mae compare` writes them, but with paths from the images'
folder on and probabilities of five decimals. What the study does not have stays as it is in the
archive. So a comparison grows from one machine to the next; `recompute.py` prints it.
"""

from __future__ import annotations

import argparse
import io
import os
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from glcm_mae.predictions import Predictions, read_predictions

DECIMALS = 5


def main() -> None:
    """Unpack the archive if there is one, lay the study's tables over it, pack it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("archive", type=Path)
    arguments = parser.parse_args()
    study = arguments.study
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.archive.exists():
            with tarfile.open(arguments.archive) as packed:
                packed.extractall(folder, filter="data")
        for file in study.glob("arms/*/*/*.csv"):
            table = _shortened(read_predictions(file))
            for seed in np.unique(table.seeds).tolist():
                place = folder / file.parent.relative_to(study) / f"seed{seed}" / file.name
                _write(_of_seed(table, seed), place)
        for file in study.glob("baselines/*/*.csv"):
            _write(_shortened(read_predictions(file)), folder / file.relative_to(study))
        _pack(folder, arguments.archive)


def _shortened(table: Predictions) -> Predictions:
    root = os.path.commonpath(table.paths)
    return replace(
        table,
        paths=tuple(os.path.relpath(path, root) for path in table.paths),
        probabilities=table.probabilities.round(DECIMALS),
    )


def _of_seed(table: Predictions, seed: int) -> Predictions:
    rows = np.flatnonzero(table.seeds == seed)
    columns = ("labels", "probabilities", "folds", "seeds")
    return replace(
        table,
        paths=tuple(table.paths[row] for row in rows),
        patients=tuple(table.patients[row] for row in rows),
        **{name: getattr(table, name)[rows] for name in columns},
    )


def _write(table: Predictions, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    table.write(place)


def _pack(folder: Path, archive: Path) -> None:
    """Pack tables without their dates: the same predictions make the same archive on every day."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for file in sorted(folder.rglob("*.csv")):
            content = file.read_bytes()
            entry = tarfile.TarInfo(file.relative_to(folder).as_posix())
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    main()
