"""The benchmarks still run: the smallest size of each, for what it prints and not for its time."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("numba")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
QUICK = {
    "exact_glcm": "--images 1 --repeats 1",
    "reading": "--size 32 --images 2 --repeats 1",
    "texture_features": "--images 1 --repeats 1",
    "texture_gradients": "--steps 1 --rates 0.01",
    "texture_loss --forms": "--images 1 --size 32 --repeats 1",
    "texture_loss --one runs 256": "--images 1 --size 32 --repeats 1",
    "texture_loss --one dense 256": "--images 1 --size 32 --repeats 1",
    "texture_loss --one published 256": "--images 1 --size 32 --repeats 1",
}
SLOW = {
    "cpu_forms": "--images 1 --repeats 1",
    "step_share": "--batch 1 --repeats 1",
    "texture_pooling": "",
}


@pytest.fixture(autouse=True)
def own_threads(monkeypatch):
    """Give back the number of threads, which some of them set; let none start anew."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run(command: str, options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script, *words = command.split()
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(sys, "argv", [script, *words, *options.split()])
    runpy.run_path(str(BENCHMARKS / f"{script}.py"), run_name="__main__")


@pytest.mark.parametrize("command", QUICK)
def test_quick(command, monkeypatch, capsys):
    run(command, QUICK[command], monkeypatch)
    assert capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("command", SLOW)
def test_slow(command, monkeypatch, capsys):
    run(command, SLOW[command], monkeypatch)
    assert capsys.readouterr().out
