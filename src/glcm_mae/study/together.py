"""The models of all folds and seeds of an arm, asked together: the mean of what they say."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glcm_mae.errors import UserError
from glcm_mae.predictions import Predictions, read_predictions
from glcm_mae.settings import PredictSettings
from glcm_mae.training.others import Others, known_to, list_for, new_run
from glcm_mae.training.predict import Answer, named_after, read_trained, write_answers

from .asking import ask_runs
from .cells import baseline_folder, cell_folder
from .tables import WAYS, mean_of_seeds


class _Way(NamedTuple):
    """How an arm is judged: by which runs, where in each, and what they said out of fold."""

    runs: list[Path]
    place: str
    out_of_fold: Predictions


def is_of_study(folder: Path) -> bool:
    """Whether a folder is a study, or lies in one and holds several of its runs.

    Parameters
    ----------
    folder : Path
        Any.

    Returns
    -------
    bool
    """
    folder = folder.resolve()
    return (folder / "folds").is_dir() or _is_arm(folder) or _is_baseline(folder)


def keep_out_of_studies(out: Path) -> None:
    """Refuse a place where a study would take what is written for its own.

    Parameters
    ----------
    out : Path
        Where answers shall lie.

    Raises
    ------
    UserError
        If it is a study, or lies among its arms or baselines.
    """
    place = out.resolve()
    around = [place, *place.parents]
    among = [folder for folder in around if folder.name in ("arms", "baselines")]
    if is_of_study(place) or any(is_of_study(folder.parent) for folder in among):
        raise UserError(f"out is {out}, which belongs to a study: choose another folder.")


def predict_together(settings: PredictSettings) -> Path:
    """Write the class probabilities of images: means over the models of an arm.

    Each model has learnt from other folds or begun from another seed, and the mean of what they
    say is better than what one of them says (docs/results/busi.md). There is a table for each way
    in which the arm was judged, in ``linear``, ``knn``, ``linear_glcm`` and ``finetune``, and of a
    baseline one. Beside it lies, as ``validation.csv``, what was said of the study's own images by
    models that had not learnt from them (under the protocol published, by encoders that had), the
    mean over seeds: thresholds are by that. The mean over folds, too, scatters less than these
    values, so that a threshold for a high sensitivity keeps more cases than asked, and fewer others
    are let go.

    Parameters
    ----------
    settings : PredictSettings
        See there; ``run`` is the folder of a study's arm or baseline.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UserError
        If it is none, lacks models, or the images cannot be read as its own were, or have another
        class.
    """
    arm = Path(settings.run).resolve()
    ways = _ways(arm)
    runs = list(dict.fromkeys(run for way in ways.values() for run in way.runs))
    first = read_trained(runs[0])
    run = new_run(settings)
    images, chances, apart = ask_runs(runs, settings, list_for(first, settings))
    known, alike = known_to(runs, arm, images)
    answers = {
        name: Answer(
            np.mean([chances[model][way.place] for model in way.runs], axis=0),
            named_after(arm, mean_of_seeds(way.out_of_fold)),
        )
        for name, way in ways.items()
    }
    others = Others(images, known, alike, apart)
    models = {name: len(way.runs) for name, way in ways.items()}
    return write_answers(run, first.classes, others, answers, models=models)


def _ways(folder: Path) -> Mapping[str, _Way]:
    """Find the models of an arm or baseline, by the tables that its study has made of them."""
    if _is_baseline(folder):
        return {".": _of_baseline(folder)}
    if not _is_arm(folder):
        _refuse_study(folder)
    ways = {
        way: _of_arm(folder, way) for way in WAYS if (folder / way / "predictions.csv").is_file()
    }
    if not ways:
        raise UserError(
            f"{folder} is no complete arm: the study's command, given again, goes on with it. (A "
            "single run of it can be asked by its own folder.)"
        )
    _tell_left_out(folder, ways)
    return ways


def _tell_left_out(folder: Path, ways: Mapping[str, _Way]) -> None:
    """Say on stderr which stages have runs in an arm, and no table of all folds."""
    asked = {run.name for way in ways.values() for run in way.runs}
    stages = dict.fromkeys(Path(place).parts[0] for place in WAYS.values())
    for stage in stages:
        if stage not in asked and any(folder.glob(f"seed*-fold*/{stage}")):
            print(f"{stage} is left out: its runs in {folder} are not complete", file=sys.stderr)


def _of_arm(folder: Path, way: str) -> _Way:
    file = folder / way / "predictions.csv"
    table = read_predictions(file)
    stage, *below = Path(WAYS[way]).parts
    study = folder.parent.parent
    runs = [
        cell_folder(study, folder.name, seed, fold) / stage for seed, fold in _cells(file, table)
    ]
    return _Way(runs, below[0] if below else ".", table)


def _of_baseline(folder: Path) -> _Way:
    file = folder / "predictions.csv"
    if not file.is_file():
        raise UserError(
            f"{folder} is no complete baseline: the study's command, given again, goes on with it."
        )
    table = read_predictions(file)
    study = folder.parent.parent
    runs = [baseline_folder(study, folder.name, fold) for _, fold in _cells(file, table)]
    return _Way(runs, ".", table)


def _cells(file: Path, table: Predictions) -> list[tuple[int, int]]:
    """List the seeds and folds of a study's table."""
    if table.seeds is None or table.folds is None:
        raise UserError(
            f"{file} does not tell folds and seeds, and is none that a study writes: remove it, "
            "and the study's command, given again, makes it anew."
        )
    return sorted(set(zip(table.seeds.tolist(), table.folds.tolist(), strict=True)))


def _is_arm(folder: Path) -> bool:
    return folder.parent.name == "arms" and any(folder.glob("seed*-fold*"))


def _is_baseline(folder: Path) -> bool:
    return folder.parent.name == "baselines" and any(folder.glob("fold*"))


def _refuse_study(folder: Path) -> None:
    """Say which folders of a study can be asked."""
    found = sorted(path for name in ("arms", "baselines") for path in (folder / name).glob("*/"))
    named = ", ".join(map(str, found)) or "none is there yet"
    raise UserError(
        f"{folder} is a study: give one of its arms or baselines, whose models answer together "
        f"({named}), or the folder of a single run."
    )
