"""How a command ends: its code, and what is said of what went wrong."""

import signal
import subprocess
import sys
import time
from functools import partial
from importlib.metadata import entry_points

import pytest

from glcm_mae import stages
from glcm_mae.cli import main

from .commands import NEEDED, TINY, complaint


def test_installed_under_its_name():
    (script,) = (e for e in entry_points(group="console_scripts") if e.name == "glcm-mae")
    assert script.load() is main


def test_ctrl_c(monkeypatch, capsys):
    def interrupted(_, recipe: object):
        raise KeyboardInterrupt

    for command, needed in (("pretrain", NEEDED), ("evaluate", ["--predictions", "x"])):
        monkeypatch.setattr(stages, command, interrupted)
        assert main([command, *needed]) == 130
        _, err = capsys.readouterr()
        assert err.startswith("glcm-mae: stopped")
        assert ("--resume" in err) == (command == "pretrain")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "the memory is full"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "optimizer.batch_"),
        (
            PermissionError(13, "Permission denied", "a.csv"),
            "a.csv cannot be read or written (Perm",
        ),
    ],
)
def test_what_the_machine_refuses_is_said_in_a_sentence(error, said, monkeypatch, capsys):
    def fails(_, recipe: object):
        raise error

    monkeypatch.setattr(stages, "evaluate", fails)
    assert said in complaint(capsys, "evaluate", "--predictions", "x")


def test_our_own_mistakes_keep_their_traceback(monkeypatch):
    def broken(_, recipe: object):
        raise ValueError("shapes differ")

    monkeypatch.setattr(stages, "evaluate", broken)
    with pytest.raises(ValueError, match="shapes differ"):
        main(["evaluate", "--predictions", "x"])


def test_process_exits_with_the_code_of_main():
    done = subprocess.run(
        [sys.executable, "-m", "glcm_mae.cli", "pretain"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("glcm-mae: pretain is no command")
    assert done.stderr.count("\n") == 1


def test_ctrl_c_in_the_middle_of_a_training(phantom, tmp_path):
    words = ["--data.images", phantom, *TINY["pretrain"], "--optimizer.epochs", 400]
    words += ["--checkpoint_minutes", 0, "--out", tmp_path / "run"]
    command = [sys.executable, "-m", "glcm_mae.cli", "pretrain", *map(str, words)]
    # A shell that puts the tests into the background has them ignore the signal.
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heeding)
    while not (tmp_path / "run" / "checkpoint.pt").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith("glcm-mae: stopped; the same command with --resume")
    assert "Traceback" not in err
    assert not (tmp_path / "run" / "encoder.safetensors").exists()
