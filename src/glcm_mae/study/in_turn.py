"""Cells one after another in this process: what fails stops no other."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from glcm_mae.errors import UserError
from glcm_mae.settings import FinetuneSettings, PretrainSettings, ProbeSettings
from glcm_mae.training.read_once import reading_once

from .alone import alone_in
from .cells import Cell, Stage
from .finished import is_begun, is_done, is_finished, lacks_tables
from .pace import Pace


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
    with reading_once():
        return _run_in_turn(chosen)


def _run_in_turn(chosen: Sequence[Cell]) -> list[Failure]:
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
        is_whole = not any(map(is_begun, cell.stages))
        start = time.monotonic()
        failed = _run_stages(cell)
        if is_whole and not failed:
            pace.took(cell.arm, time.monotonic() - start)
        failures += failed
    return failures


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


def _run(stage: Stage) -> None:
    """Run a stage, or go on with it, unless it has come to its end before.

    Its folder is held meanwhile: a job that outlived the study that sent it may be at work there.
    """
    if not is_finished(stage):
        with alone_in(Path(stage.out)):
            if lacks_tables(stage):  # lost since: they are made again
                (Path(stage.out) / "finished.json").unlink(missing_ok=True)
            _stage_function(stage)(replace(stage, resume=is_begun(stage)))


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
    from glcm_mae.training.baseline import baseline

    return baseline
