"""Where the cells of a study run: here, or as jobs of an engine that knows other machines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glcm_mae.errors import UserError
from glcm_mae.settings import EngineSettings

from .cells import Cell
from .finished import is_done
from .in_turn import Failure, run_cells


def run_all(chosen: Sequence[Cell], engine: EngineSettings, out: Path) -> list[Failure]:
    """Run cells and wait for them.

    Parameters
    ----------
    chosen : sequence of Cell
        In any number; the jobs share them out among themselves, in turns.
    engine : EngineSettings
        Where they run.
    out : Path
        The study's folder; ``jobs`` in it gets what the jobs print.

    Returns
    -------
    list of Failure

    Raises
    ------
    UserError
        If submitit is needed and not installed, or refuses the settings.
    """
    if not chosen:
        return []
    if engine.name == "here":
        return run_cells(chosen)
    shares = [list(chosen[n :: engine.jobs]) for n in range(min(engine.jobs, len(chosen)))]
    jobs = _submitted(shares, engine, out / "jobs")
    print(f"{len(jobs)} jobs; what they print is in {out / 'jobs'}", file=sys.stderr, flush=True)
    try:
        pairs = zip(jobs, shares, strict=True)
        return [failure for job, share in pairs for failure in _outcome(job, share)]
    except KeyboardInterrupt:  # else they would still be at work when the same command goes on
        for job in jobs:
            job.cancel(check=False)
        raise


def _submitted(shares: Sequence[list[Cell]], engine: EngineSettings, logs: Path) -> list[Any]:
    try:
        import submitit
        from submitit.core.utils import FailedSubmissionError
    except ImportError:
        raise UserError(
            f"engine.name {engine.name} needs submitit: pip install 'glcm-mae[cluster]', or set "
            "engine.name to here."
        ) from None
    wanted = {"name": "glcm-mae", "timeout_min": round(60 * engine.hours), **_options(engine)}
    try:
        executor = submitit.AutoExecutor(logs, cluster=engine.name)
        executor.update_parameters(**wanted)
        with executor.batch():  # on SLURM one array of jobs
            return [executor.submit(run_cells, share) for share in shares]
    except (FailedSubmissionError, NameError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"submitit refuses engine.name {engine.name} with engine.options "
            f"{engine.options or 'none'} ({reason}): mend them, or set engine.name to here."
        ) from error


def _options(engine: EngineSettings) -> dict[str, str | int]:
    """Read ``name=value`` options; whole numbers as such."""
    options: dict[str, str | int] = {}
    for option in engine.options:
        name, equals, value = option.partition("=")
        if not equals:
            raise UserError(f"engine.options has {option!r}: write it as name=value.")
        options[name] = int(value) if value.isdecimal() else value
    return options


def _outcome(job: Any, share: Sequence[Cell]) -> list[Failure]:
    """List what failed in a job; of one that died, the cells that it left undone."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        return list(job.result())
    except (UncompletedJobError, FailedJobError):
        reason = f"job {job.job_id} died; what it printed is in {job.paths.stderr}"
        return [Failure(cell.name, reason) for cell in share if not is_done(cell)]
