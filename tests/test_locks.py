"""One process at a time holds a lock, and none that has ended."""

import builtins
import multiprocessing
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from glcm_mae.locks import locked


def _hold(folder: Path, seconds: float) -> None:
    with locked(folder / "lock", lambda: None):
        (folder / "held").touch()
        time.sleep(seconds)


def _other_process(folder: Path, seconds: float) -> Any:
    other = multiprocessing.get_context("spawn").Process(target=_hold, args=(folder, seconds))
    other.start()
    while not (folder / "held").exists():
        time.sleep(0.01)
    return other


def test_a_held_lock_is_waited_for(tmp_path: Path) -> None:
    other = _other_process(tmp_path, 0.5)
    told: list[bool] = []
    with locked(tmp_path / "lock", lambda: told.append(other.is_alive())) as problem:
        assert problem is None
    other.join()
    assert told == [True]


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    other = _other_process(tmp_path, 600)
    threading.Timer(0.2, other.kill).start()
    with locked(tmp_path / "lock", lambda: None):
        assert not other.is_alive() or other.join(5) is None
    assert other.exitcode != 0


def test_a_system_without_locks_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name == "fcntl":
            raise ImportError("no fcntl here")
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with locked(tmp_path / "lock", lambda: None) as problem:
        assert str(problem) == "no fcntl here"
