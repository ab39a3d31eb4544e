"""Recipes: YAML files with a section of settings for each command."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from glcm_mae import settings
from glcm_mae.arguments.commands import COMMANDS, is_list_of_words
from glcm_mae.arguments.complaints import did_you_mean, unknown_setting
from glcm_mae.errors import UserError

# Commands that run others: to them a recipe may say only what those others shall do.
_STUDIES = ("crossval", "compare")


def sections(name: str) -> set[str]:
    """List the commands for which a recipe has a section.

    Parameters
    ----------
    name : str
        A YAML file or a recipe of the package.

    Returns
    -------
    set of str

    Raises
    ------
    UserError
        If there is no such recipe, or its settings stand in no section.

    Examples
    --------
    >>> sorted(sections("small"))
    ['finetune', 'pretrain', 'probe']
    """
    path, content = _read_yaml(name, recipes_for("pretrain"))
    if not set(content) & set(COMMANDS):
        raise UserError(
            f"{path} has no sections: put its settings under pretrain, probe, finetune."
        )
    return set(content)


def read_recipe(name: str, command: str) -> tuple[Path, dict[str, Any]]:
    """Read a YAML file or a recipe of the package; return the command's part of it.

    A recipe serves several commands: it holds a section for each, named as the command.
    """
    path, content = _read_yaml(name, recipes_for(command))
    if set(content) & set(COMMANDS):
        strays = set(content) - set(COMMANDS)
        if strays:
            raise UserError(f"{path}: {min(strays)} stands beside sections: move it into one.")
        if command not in content and command not in _STUDIES:
            raise UserError(f"{path} has no section for {command}: it has {', '.join(content)}.")
        content = content.get(command) or {}
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a mapping of settings to values, as in `seed: 0`.")
    # The settings.yaml of a run can be given, too.
    return path, {key: value for key, value in content.items() if key not in settings.FACTS}


def recipe_options(words: Sequence[str]) -> str:
    """Repeat the --config options of a command line, each with a space before it."""
    named = [w for w, before in zip(words, ["", *words], strict=False) if before == "--config"]
    named += [w.partition("=")[2] for w in words if w.startswith("--config=")]
    return "".join(f" --config {shlex.quote(name)}" for name in named)


def recipes_for(command: str) -> list[str]:
    """Names of the package's recipes that have a section for a command."""
    folder = files("glcm_mae") / "recipes"
    needed = "pretrain" if command in _STUDIES else command
    section = re.compile(rf"^{needed}:", re.MULTILINE)
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml") and section.search(entry.read_text(encoding="utf-8"))
    )


def _read_yaml(name: str, recipes: Sequence[str]) -> tuple[Path, dict[str, Any]]:
    path = Path(name)
    packaged = Path(str(files("glcm_mae") / "recipes" / f"{name}.yaml"))
    if not path.is_file() and packaged.is_file():
        path = packaged
    if not path.is_file():
        choices = f" or one of {', '.join(recipes)}" if recipes else ""
        raise UserError(
            f"--config {name} is no file and no recipe{did_you_mean(name, recipes)}: "
            f"give a YAML file{choices}."
        )
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _AsWritten) or {}
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} is not a YAML file ({' '.join(str(error).split())}).") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a mapping of settings to values, as in `seed: 0`.")
    return path, content


def settings_in(
    content: dict[str, Any], known: dict[str, Any], path: str, prefix: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield the settings of a file as (dotted name, text)."""
    for key, value in content.items():
        name = f"{prefix}{key}"
        is_group = any(other.startswith(f"{name}.") for other in known)
        if is_group and value in ("", "null", None):
            continue
        if is_group and isinstance(value, dict):
            yield from settings_in(value, known, path, f"{name}.")
        elif name in known and not isinstance(value, dict):
            words = is_list_of_words(known[name][0]) and _are_texts(value)
            yield name, json.dumps(value, ensure_ascii=False) if words else _text(value)
        else:
            raise UserError(f"{path}: {unknown_setting(name, known)}")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_text(item) for item in value)}]"
    return "null" if value in (None, "") else str(value)  # `key: ~`, and a key with nothing behind


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


class _AsWritten(yaml.SafeLoader):
    """Leaves every scalar as it is written: the setting's own type says how to read it.

    A name that stands twice is refused: YAML would take the last in silence.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)  # before any merge has changed it
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = [name for n, name in enumerate(names) if name != "<<" and name in names[:n]]
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"{twice[0]} stands twice", node.start_mark
            )
        return node


# But for merges, and for ~, which is nothing in a recipe and a text on the command line.
_AsWritten.yaml_implicit_resolvers = {
    first: yaml.SafeLoader.yaml_implicit_resolvers[first] for first in "<~"
}
