"""Ask runs of a study about images of another source, one run after another."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glcm_mae.data import Manifest, count_gray_values
from glcm_mae.data.gray_values import Counts
from glcm_mae.errors import UserError
from glcm_mae.settings import OthersSettings
from glcm_mae.training.fabric import launch
from glcm_mae.training.gray_values import on_scale_of, tells_gray_values
from glcm_mae.training.inputs import Images
from glcm_mae.training.others import read_listed
from glcm_mae.training.predict import read_trained
from glcm_mae.training.probed import keeps_classifier


class Said(NamedTuple):
    """What runs say of images.

    Parameters
    ----------
    images : Images
        As the first run reads them.
    chances : dict
        For each run's folder, and each place in it that has a table of its own, class
        probabilities (N, K).
    apart : float or None
        How far the images' gray values were from those that the runs were trained on, at most
        (`glcm_mae.data.gray_value_distance`); None where runs do not tell.
    """

    images: Images
    chances: dict[Path, dict[str, np.ndarray]]
    apart: float | None


def ask_runs(runs: Sequence[Path], settings: OthersSettings, manifest: Manifest) -> Said:
    """Ask each run.

    Parameters
    ----------
    runs : sequence of Path
        Their folders. One that is named twice is asked once.
    settings : OthersSettings
        How.
    manifest : Manifest
        About which images.

    Returns
    -------
    Said

    Raises
    ------
    UserError
        If a run is not finished or keeps no classifier, the images cannot be read as a run's own
        were, or some can be read so by one run and not by another.
    """
    _check_runs(runs, settings)
    fabric = launch(settings.hardware)
    read: dict[str, Images] = {}  # arms may differ in how they read
    counts: dict[str, Counts] = {}
    said: dict[Path, dict[str, np.ndarray]] = {}
    distances: list[float] = []
    different = list(dict.fromkeys(runs))
    for number, run in enumerate(different, start=1):
        told = f"[{number}/{len(different)}] {run}, asked about {settings.images}"
        print(told, file=sys.stderr, flush=True)
        trained = read_trained(run)
        way = repr(trained.reading)
        if way not in read:
            read[way] = read_listed(settings, trained.reading, manifest)
            _check_same(read, settings)
            counts[way] = count_gray_values(read[way].pixels)
        scaled = on_scale_of(run, read[way], counts[way], match=settings.match_gray_values)
        if number == 1:  # others are nearly as this one
            scaled.tell()
        said[run] = trained.chances(scaled.images, fabric)
        distances += [] if scaled.apart is None else [scaled.apart]
    [images, *_] = read.values()
    return Said(images, said, max(distances, default=None))


def _check_same(read: Mapping[str, Images], settings: OthersSettings) -> None:
    """Refuse images of which one way of reading skips others than another."""
    names = {tuple(record.name for record in images.manifest.records) for images in read.values()}
    if len(names) > 1:
        raise UserError(
            f"some of {settings.images} can be read in one of the ways of {settings.run} and not "
            "in another: leave them out."
        )


def _check_runs(runs: Sequence[Path], settings: OthersSettings) -> None:
    """Refuse runs that cannot answer as asked, before the first is asked."""
    for lacking, what in (
        ([run for run in runs if not (run / "finished.json").is_file()], "not there or unfinished"),
        ([run for run in runs if not keeps_classifier(run)], "without a classifier"),
        (
            [run for run in runs if settings.match_gray_values and not tells_gray_values(run)],
            "without the gray values that they were trained on",
        ),
    ):
        if lacking:
            folders = list(dict.fromkeys(lacking))
            raise UserError(
                f"{len(folders)} of {len(set(runs))} runs are {what}, such as {folders[0]}: remove "
                "what is left of them, and the study's command makes them again, without another "
                "pre-training."
            )
