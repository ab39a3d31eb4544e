"""The cells of a study: one arm, seed and fold, as the stages that it runs."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from glcm_mae.errors import UserError
from glcm_mae.settings import (
    BaselineKind,
    BaselineSettings,
    DataSettings,
    FinetuneSettings,
    PretrainSettings,
    ProbeSettings,
)
from glcm_mae.training.run import OtherSettings, Run

from .alone import alone_in
from .arms import Arm
from .folds import Fold
from .pace import Pace

Stage = PretrainSettings | ProbeSettings | FinetuneSettings | BaselineSettings


@dataclass(frozen=True)
class Cell:
    """One piece of a study that can be run by itself.

    Parameters
    ----------
    name : str
        What messages call it.
    arm : str
        Its arm or baseline.
    stages : tuple of settings
        What it runs, in this order. Each has a folder of its own.
    """

    name: str
    arm: str
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Failure:
    """A cell that did not come to its end, and why.

    Parameters
    ----------
    cell : str
        Its name.
    reason : str
        What the error said.
    """

    cell: str
    reason: str


def cells(
    arms: Sequence[Arm], folds: Sequence[Fold], seeds: int, out: Path, *, allow_seen: bool
) -> list[Cell]:
    """List the cells of a study: seed after seed, so that a part of them is a smaller study.

    Parameters
    ----------
    arms, folds : sequence of Arm, Fold
        Each arm is run on each fold.
    seeds : int
        How many; they count from 0.
    out : Path
        The study's folder.
    allow_seen : bool
        Whether encoders may have seen what they are tested on.

    Returns
    -------
    list of Cell
    """
    return [
        Cell(
            f"{arm.name}, seed {seed}, fold {fold.number}",
            arm.name,
            tuple(_stages(arm, seed, fold, folds, out, allow_seen)),
        )
        for seed in range(seeds)
        for fold in folds
        for arm in arms
    ]


def pretraining_cells(
    arms: Sequence[Arm], folds: Sequence[Fold], seeds: int, out: Path
) -> list[Cell]:
    """List the pre-trainings that all folds share: they must come before the other cells.

    Parameters
    ----------
    arms, folds, seeds, out
        As for `cells`.

    Returns
    -------
    list of Cell
        Empty where each fold pre-trains on images of its own.
    """
    if not _shared(folds):
        return []
    return [
        Cell(
            f"{arm.name}, seed {seed}, pre-training",
            arm.name,
            (_pretraining(arm, seed, folds[0], folds, out),),
        )
        for seed in range(seeds)
        for arm in arms
        if arm.pretrain is not None
    ]


def baseline_cells(
    kinds: Sequence[BaselineKind], reading: DataSettings, folds: Sequence[Fold], out: Path
) -> list[Cell]:
    """List the baselines: they have no seeds.

    Parameters
    ----------
    kinds : sequence of str
        Which.
    reading : DataSettings
        How images are read.
    folds, out
        As for `cells`.

    Returns
    -------
    list of Cell
    """
    return [
        Cell(
            f"{kind}, fold {fold.number}",
            kind,
            (
                BaselineSettings(
                    data=_data(reading, fold.images),
                    out=str(baseline_folder(out, kind, fold.number)),
                    kind=kind,
                ),
            ),
        )
        for kind in kinds
        for fold in folds
    ]


def cell_folder(out: Path, arm: str, seed: int, fold: int) -> Path:
    """Say where an arm's runs of one seed and fold lie.

    Parameters
    ----------
    out : Path
        The study's folder.
    arm : str
        The arm.
    seed, fold : int
        The cell.

    Returns
    -------
    Path

    Examples
    --------
    >>> cell_folder(Path("study"), "mse", 0, 2).as_posix()
    'study/arms/mse/seed0-fold2'
    """
    return out / "arms" / arm / f"seed{seed}-fold{fold}"


def baseline_folder(out: Path, kind: str, fold: int) -> Path:
    """Say where a baseline's run of one fold lies.

    Parameters
    ----------
    out : Path
        The study's folder.
    kind : str
        The baseline.
    fold : int
        The fold.

    Returns
    -------
    Path

    Examples
    --------
    >>> baseline_folder(Path("study"), "pixels", 2).as_posix()
    'study/baselines/pixels/fold2'
    """
    return out / "baselines" / kind / f"fold{fold}"


def run_cells(chosen: Sequence[Cell]) -> list[Failure]:
    """Run cells one after another; what is finished is reused, and what fails stops no other.

    Of a failure that is not the user's, such as a GPU without memory, the traceback is printed.

    Parameters
    ----------
    chosen : sequence of Cell
        In the order in which to run them.

    Returns
    -------
    list of Failure
    """
    failures: list[Failure] = []
    pace = Pace()
    waiting = [(number, cell.arm) for number, cell in enumerate(chosen, 1) if not is_done(cell)]
    for number, cell in enumerate(chosen, 1):
        told = f"[{number}/{len(chosen)}] {cell.name}"
        if is_done(cell):
            print(f"{told}: finished before", file=sys.stderr, flush=True)
            continue
        left = pace.left([arm for other, arm in waiting if other >= number])
        print(f"{told}{left}", file=sys.stderr, flush=True)
        is_whole = not any(map(_is_begun, cell.stages))
        start = time.monotonic()
        failed = _run_stages(cell)
        if is_whole and not failed:
            pace.took(cell.arm, time.monotonic() - start)
        failures += failed
    return failures


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
    for stage in (stage for cell in chosen for stage in cell.stages if _is_begun(stage)):
        try:
            Run(stage.out, replace(stage, resume=True), resume=True)
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
    return all(map(_is_finished, cell.stages))


def _run_stages(cell: Cell) -> list[Failure]:
    failures = []
    for stage in cell.stages:
        try:
            _run(stage)
        except Exception as error:  # of any kind: other cells and days of work stand behind it
            if not isinstance(error, UserError | OSError | MemoryError):
                traceback.print_exc()
            failures.append(Failure(cell.name, str(error) or type(error).__name__))
            print(f"{cell.name} failed: {failures[-1].reason}", file=sys.stderr, flush=True)
            if isinstance(stage, PretrainSettings):
                break  # the others stand on it
    return failures


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
        if (encoder not in trained_here or encoder in finished) and _is_finished(stage):
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
    told = (json.loads((Path(name) / "finished.json").read_text("utf-8")) for name in folders)
    return dict(Counter(facts.get("code", "") for facts in told).most_common())


def encoder_of(stage: Stage) -> str | None:
    """Say on which weights a stage stands.

    Parameters
    ----------
    stage : settings
        Of any kind.

    Returns
    -------
    str or None
        The folder of a pre-training, or weights that were given; None if the stage needs none.
    """
    return stage.encoder if isinstance(stage, ProbeSettings | FinetuneSettings) else None


def _is_finished(stage: Stage) -> bool:
    if not _is_begun(stage) or _lacks_tables(stage):
        return False
    try:
        return Run(stage.out, replace(stage, resume=True), resume=True).finished
    except UserError:  # of other settings
        return False


def _lacks_tables(stage: Stage) -> bool:
    places = {PretrainSettings: (), ProbeSettings: ("linear", "knn")}.get(type(stage), (".",))
    names = ("predictions.csv", "validation.csv")
    return not all((Path(stage.out) / place / name).exists() for place in places for name in names)


def _stages(
    arm: Arm, seed: int, fold: Fold, folds: Sequence[Fold], out: Path, allow_seen: bool
) -> Iterator[Stage]:
    encoder = arm.encoder
    if arm.pretrain is not None:
        pretraining = _pretraining(arm, seed, fold, folds, out)
        encoder = pretraining.out
        if not _shared(folds):
            yield pretraining
    tested = {"probe": arm.probe, "probe_glcm": arm.probe_glcm, "finetune": arm.finetune}
    for name, stage in tested.items():
        if stage is not None:
            yield replace(
                stage,
                data=_data(stage.data, fold.images),
                out=str(cell_folder(out, arm.name, seed, fold.number) / name),
                encoder=encoder,
                seed=seed,
                allow_seen=allow_seen,
            )


def _shared(folds: Sequence[Fold]) -> bool:
    """Whether all folds pre-train on the same images."""
    return folds[0].unlabelled is not None and len({fold.unlabelled for fold in folds}) == 1


def _pretraining(
    arm: Arm, seed: int, fold: Fold, folds: Sequence[Fold], out: Path
) -> PretrainSettings:
    assert arm.pretrain is not None
    of_fold = "" if _shared(folds) else f"-fold{fold.number}"
    return replace(
        arm.pretrain,
        data=_data(arm.pretrain.data, fold.unlabelled or fold.images),
        out=str(out / "arms" / arm.name / f"seed{seed}{of_fold}" / "pretrain"),
        seed=seed,
    )


def _data(reading: DataSettings, images: Path) -> DataSettings:
    """Read other images as the recipe says; their manifest tells side and patient."""
    return replace(reading, images=str(images), fold=None, patient_regex=None)


def _run(stage: Stage) -> None:
    """Run a stage, or go on with it, unless it has come to its end before.

    Its folder is held meanwhile: a job that outlived the study that sent it may be at work there.
    """
    if not _is_finished(stage):
        with alone_in(Path(stage.out)):
            if _lacks_tables(stage):  # lost since: they are made again
                (Path(stage.out) / "finished.json").unlink(missing_ok=True)
            _stage_function(stage)(replace(stage, resume=_is_begun(stage)))


def _is_begun(stage: Stage) -> bool:
    return (Path(stage.out) / "settings.yaml").exists()


def _stage_function(stage: Stage) -> Callable[[Any], Path]:
    if isinstance(stage, PretrainSettings):
        from glcm_mae.training.pretrain import pretrain

        return pretrain
    if isinstance(stage, ProbeSettings):
        from glcm_mae.training.probe import probe

        return probe
    if isinstance(stage, FinetuneSettings):
        from glcm_mae.training.finetune import finetune

        return finetune
    from .baselines import baseline

    return baseline
