"""What the command line says about itself."""

import resource
import subprocess
import sys

import pytest

from glcm_mae import __version__
from glcm_mae.arguments import COMMANDS
from glcm_mae.cli import main


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    usage, _, summary = text.splitlines()[:3]
    assert usage.startswith(f"usage: glcm-mae {command} [--config RECIPE]")
    assert summary == COMMANDS[command].__doc__.splitlines()[0][: len(summary)]
    assert "A YAML file, or the name of a recipe" in text
    assert not any(raw in text for raw in ("Literal[", "Optional[", "Union[", "<class", "CONFIG"))


def test_help_lists_defaults_types_and_recipes(capsys):
    with pytest.raises(SystemExit):
        main(["pretrain", "-h"])
    text = " ".join(capsys.readouterr().out.split())
    assert "(type: [float, float] | lung | soft_tissue | bone | file | null, default: null)" in text
    assert "(type: float, default: 0.75)" in text
    assert "(type: patch | image | int, default: patch)" in text
    assert "small" in text


def test_overview_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in COMMANDS)


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"glcm-mae {__version__}\n"


def test_help_answers_at_once():
    words = [sys.executable, "-X", "importtime", "-m", "glcm_mae.cli", "pretrain", "--help"]
    seconds = []
    for _ in range(3):  # of processor time: the machine may be busy with something else
        start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        seconds.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - start)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "numpy", "lightning_fabric", "kornia", "sklearn", "matplotlib"}
    assert min(seconds) < 1  # a third of that on a quiet machine
