"""The command ``glcm-mae``: arguments in, one function call out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from glcm_mae import __version__, settings
from glcm_mae.errors import UserError

# Each command and its settings; the function of the same name in `stages` does the work.
COMMANDS: dict[str, type] = {
    "pretrain": settings.PretrainSettings,
    "finetune": settings.FinetuneSettings,
    "probe": settings.ProbeSettings,
    "evaluate": settings.EvaluateSettings,
    "reconstruct": settings.ReconstructSettings,
    "demo": settings.DemoSettings,
}

# Settings that one wants to say without naming their group.
_SHORT = {"--on_error": "--data.on_error"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        0, or 2 for the user's mistakes, or 130 when stopped by Ctrl-C.
    """
    try:
        command, values = _parse(_expanded(sys.argv[1:] if arguments is None else arguments))
        # Imported only now: every stage brings its own heavy libraries.
        stage: Callable[[Any], str] = getattr(import_module("glcm_mae.stages"), command)
        print(stage(values))
    except UserError as error:
        print(f"glcm-mae: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("glcm-mae: stopped; --resume true goes on from the last checkpoint", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


def _parse(words: list[str]) -> tuple[str, Any]:
    parser = _parser()
    try:
        namespace = parser.parse_args(words)
    except Exception as error:  # jsonargparse's own kinds, all about the arguments
        raise UserError(" ".join(str(error).split())) from error
    command = str(namespace.subcommand)
    values: Namespace = parser.instantiate_classes(namespace)[command]
    values.pop("config", None)
    return command, COMMANDS[command](**vars(values))


def _parser() -> ArgumentParser:
    set_parsing_settings(docstring_parse_attribute_docstrings=False)
    parser = ArgumentParser(
        prog="glcm-mae",
        description="Masked autoencoders for medical images that learn texture.",
        version=__version__,
        exit_on_error=False,
    )
    commands = parser.add_subcommands(dest="subcommand")
    for name, kind in COMMANDS.items():
        summary = (kind.__doc__ or "").splitlines()[0]
        command = ArgumentParser(description=summary, exit_on_error=False)
        command.add_argument(
            "--config",
            action="config",
            help="a YAML file, or the name of a recipe: " + ", ".join(_recipes()),
        )
        command.add_class_arguments(kind)
        commands.add_subcommand(name, command, help=summary)
    return parser


def _recipes() -> list[str]:
    folder = files("glcm_mae") / "recipes"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _expanded(words: Sequence[str]) -> list[str]:
    """Put recipes in the place of their names, and underscores for the hyphens of options."""
    command = next((word for word in words if word in COMMANDS), "")
    expanded: list[str] = []
    for word in words:
        option, equals, value = word.partition("=")
        if expanded[-1:] == ["--config"]:
            expanded.append(_recipe(word, command))
        elif option == "--config" and equals:
            expanded += ["--config", _recipe(value, command)]
        elif option.startswith("--"):
            option = "--" + option[2:].replace("-", "_")
            expanded.append(_SHORT.get(option, option) + equals + value)
        else:
            expanded.append(word)
    return expanded


def _recipe(name: str, command: str) -> str:
    """Read a YAML file or a recipe of the package; return the command's part of it as YAML.

    A recipe serves several commands: it holds a section for each, named as the command.
    """
    path = Path(name)
    if not path.is_file() and name in _recipes():
        path = Path(str(files("glcm_mae") / "recipes" / f"{name}.yaml"))
    if not path.is_file():
        raise UserError(f"{name} is no file and no recipe: give one of {', '.join(_recipes())}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} is not a YAML file ({' '.join(str(error).split())}).") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a mapping of settings to values.")
    if content and set(content) <= set(COMMANDS):
        if command not in content:
            raise UserError(f"{path} has no section for {command}: it has {', '.join(content)}.")
        content = content[command]
    return yaml.safe_dump(content, default_flow_style=True, width=float("inf"))


if __name__ == "__main__":
    sys.exit(main())
