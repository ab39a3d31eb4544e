"""What of a study's cells is begun or finished, and whether it is of the settings at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from glcm_mae.errors import UserError
from glcm_mae.settings import PretrainSettings, ProbeSettings
from glcm_mae.training.run import OtherSettings, Run, facts_of

from .cells import Cell, Stage, encoder_of


def refuse_other_settings(chosen: Sequence[Cell]) -> None:
    """Refuse, before anything is run, cells that were begun with other settings than these.

    Else some cells of a study would be of the old settings and some of the new ones, neither whole.

    Parameters
    ----------
    chosen : sequence of Cell
        All of the study.

    Raises
    ------
    UserError
        Naming the first of their runs, and how many there are.
    """
    others = []
    for stage in (stage for cell in chosen for stage in cell.stages if is_begun(stage)):
        try:
            _reopened(stage)
        except OtherSettings as error:
            others.append(str(error))
        except UserError:  # damaged, say, which its cell will tell
            continue
    if others:
        more = f" (So were {len(others) - 1} other runs of this study.)" * (len(others) > 1)
        raise UserError(others[0] + more)


def is_done(cell: Cell) -> bool:
    """Whether all stages of a cell have come to their end.

    Parameters
    ----------
    cell : Cell
        Of this study.

    Returns
    -------
    bool
    """
    return all(map(is_finished, cell.stages))


def finished_runs(chosen: Sequence[Cell]) -> set[str]:
    """List the folders in which these very stages have come to their end.

    A folder may hold a finished run of other settings, or one of an encoder that was trained with
    others: neither is a result of this study.

    Parameters
    ----------
    chosen : sequence of Cell
        Each pre-training before what stands on it.

    Returns
    -------
    set of str
    """
    stages = [stage for cell in chosen for stage in cell.stages]
    trained_here = {stage.out for stage in stages if isinstance(stage, PretrainSettings)}
    finished: set[str] = set()
    for stage in stages:
        encoder = encoder_of(stage)
        if (encoder not in trained_here or encoder in finished) and is_finished(stage):
            finished.add(stage.out)
    return finished


def code_of_runs(folders: Collection[str]) -> dict[str, int]:
    """Count finished runs by the code that made them (`made_by`).

    Parameters
    ----------
    folders : collection of str
        Their folders.

    Returns
    -------
    dict
        Code to number of runs, the most frequent first; "" for runs that do not tell.
    """
    told = (facts_of(Path(name)).get("code", "") for name in folders)
    return dict(Counter(told).most_common())


def is_finished(stage: Stage) -> bool:
    """Whether a run of these very settings has come to its end, and its tables are there.

    Parameters
    ----------
    stage : settings
        Of any kind.

    Returns
    -------
    bool
    """
    if not is_begun(stage) or lacks_tables(stage):
        return False
    try:
        return _reopened(stage).finished
    except UserError:  # of other settings
        return False


def is_begun(stage: Stage) -> bool:
    """Whether a stage's folder holds a run, of whatever settings.

    Parameters
    ----------
    stage : settings
        Of any kind.

    Returns
    -------
    bool
    """
    return (Path(stage.out) / "settings.yaml").exists()


def lacks_tables(stage: Stage) -> bool:
    """Whether a table that a stage ends with is not there.

    Parameters
    ----------
    stage : settings
        Of any kind.

    Returns
    -------
    bool
    """
    places = {PretrainSettings: (), ProbeSettings: ("linear", "knn")}.get(type(stage), (".",))
    names = ("predictions.csv", "validation.csv")
    return not all((Path(stage.out) / place / name).exists() for place in places for name in names)


def _reopened(stage: Stage) -> Run:
    """Take up a begun run, which refuses other settings."""
    return Run(stage.out, replace(stage, resume=True), resume=True)
