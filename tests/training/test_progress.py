import re
import time

import pytest

from glcm_mae.training.progress import Meter, Meters


def test_without_a_terminal_every_tenth_is_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Meter("training", 100) as meter:
        for _ in range(100):
            now[0] += 1.0
            meter.advance(images=2, terms={"mse": 0.5})
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        f"training: {n}/100" for n in range(10, 101, 10)
    ]
    assert all("mse 0.5" in line and "images/s" in line for line in lines)


def test_what_is_over_at_once_is_not_worth_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Meter("reading images", 50) as meter:
        for _ in range(50):
            meter.advance(images=1)
    assert capsys.readouterr().err == ""


def test_other_processes_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with Meter("training", 2, enabled=False) as meter:
        meter.advance()
        meter.advance()
    assert capsys.readouterr() == ("", "")


def test_a_resumed_run_estimates_from_its_own_steps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    meter = Meter("training", 100, done=80)
    now[0] += 30.0  # ten steps, three seconds each
    meter.advance(images=60, by=10)
    assert meter.images_per_second == pytest.approx(2.0)
    assert re.search(r"training: 90/100, 2 images/s , 30 s left", capsys.readouterr().err)


def test_each_part_of_a_stage_has_its_own_pace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Meters(100) as progress:
        for title, seconds in (("reading images", 1.0), ("comparing images", 20.0)):
            progress(title, 0)
            for done in (50, 100):
                now[0] += 50 * seconds
                progress(title, done)
    assert capsys.readouterr().err.splitlines() == [
        "reading images: 50/100, 1 images/s , 50 s left",
        "reading images: 100/100, 1 images/s , 0 s left",
        "comparing images: 50/100, 0 images/s , 1000 s left",
        "comparing images: 100/100, 0 images/s , 0 s left",
    ]
