"""What ``--help`` and ``--print_config`` answer: jsonargparse's parsers."""

from __future__ import annotations

import argparse
from typing import Any, Literal, get_origin

import yaml
from jsonargparse import (
    ArgumentParser,
    DefaultHelpFormatter,
    get_loader,
    set_loader,
    set_parsing_settings,
)

from glcm_mae import __version__
from glcm_mae.arguments.commands import COMMANDS, leaves, readable, summary
from glcm_mae.arguments.recipes import recipes_for


def parser_for(command: str) -> ArgumentParser:
    """Make the parser of one command: its types, its help, its ``--print_config``."""
    set_parsing_settings(docstring_parse_attribute_docstrings=False)
    set_loader("as_typed", _as_typed, (yaml.YAMLError,))
    kind = COMMANDS[command]
    required = [name for name, (_, must) in leaves(kind) if must]
    # The first needs no name.
    named = [f"[--{name}]" if name == required[0] else f"--{name}" for name in required]
    needs = "".join(
        f" {option} {name.rpartition('.')[2].upper()}"
        for option, name in zip(named, required, strict=True)
    )
    recipes = ", ".join(recipes_for(command)) or "none for this command"
    parser = ArgumentParser(
        prog=f"glcm-mae {command}",
        usage=f"glcm-mae {command} [--config RECIPE]{needs} [--SETTING VALUE ...]",
        description=summary(kind),
        formatter_class=_Help,
        exit_on_error=False,
        allow_abbrev=False,
        parser_mode="as_typed",
    )
    parser.add_argument(
        "--config",
        action="config",
        metavar="RECIPE",
        help=f"A YAML file, or the name of a recipe of the package ({recipes}), with the settings "
        "or with a section of them per command. Settings given beside it win.",
    )
    parser.add_class_arguments(kind)
    for action in parser._actions:
        if any(name.startswith(f"{action.dest}.") for name, _ in leaves(kind)):
            action.help = argparse.SUPPRESS  # a whole group at once: said in the recipe
        action.option_strings = [o for o in action.option_strings if not o.endswith("+")]
    return parser


def overview() -> argparse.ArgumentParser:
    """Make the parser that answers ``glcm-mae --help``: the list of commands."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {summary(kind)}" for name, kind in COMMANDS.items())
    overview = argparse.ArgumentParser(
        prog="glcm-mae",
        usage="glcm-mae COMMAND [--config RECIPE] [--SETTING VALUE ...]",
        description="Masked autoencoders for medical images that learn texture.\n\n"
        f"commands (glcm-mae COMMAND --help lists the settings):\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    overview.add_argument("--version", action="version", version=f"glcm-mae {__version__}")
    return overview


def _as_typed(text: str) -> Any:
    """Read YAML, where null alone is nothing: to YAML itself #(a), &a and ~ are nothing, too."""
    value = get_loader("yaml")(text)
    return text if value is None and text != "null" else value


class _Help(DefaultHelpFormatter):
    """Help with readable types, where the choices do not already stand behind the name."""

    def _get_type_str(self, action: argparse.Action) -> str | None:
        annotation = getattr(action, "_typehint", None)
        listed = annotation is None or annotation is bool or get_origin(annotation) is Literal
        return None if listed else readable(annotation)
