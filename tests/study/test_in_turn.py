"""Cells in a row, with stages that do nothing."""

from pathlib import Path

import pytest

from glcm_mae.settings import BaselineSettings, DataSettings
from glcm_mae.study import in_turn as module
from glcm_mae.study.cells import Cell
from glcm_mae.study.in_turn import run_cells


def test_once_each_arm_was_run_it_says_how_long_the_rest_will_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]

    def run(stage: BaselineSettings) -> None:
        now[0] += 600 if "paper" in stage.out else 60
        if "paper/fold1" in stage.out:
            raise MemoryError("full")  # how long that took says nothing

    monkeypatch.setattr(module, "_run", run)
    monkeypatch.setattr("glcm_mae.study.in_turn.time.monotonic", lambda: now[0])
    chosen = [
        Cell(
            f"{arm}, fold {fold}",
            arm,
            (BaselineSettings(DataSettings("x"), str(tmp_path / arm / f"fold{fold}"), "pixels"),),
        )
        for fold in range(3)
        for arm in ("mse", "paper")
    ]
    assert [failure.reason for failure in run_cells(chosen)] == ["full"]
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("[")] == [
        "[1/6] mse, fold 0",
        "[2/6] paper, fold 0",
        "[3/6] mse, fold 1; about 22 min left",
        "[4/6] paper, fold 1; about 21 min left",
        "[5/6] mse, fold 2; about 11 min left",
        "[6/6] paper, fold 2; about 10 min left",
    ]
