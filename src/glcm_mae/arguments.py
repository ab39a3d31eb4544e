"""Reading the command line: names checked first, so that what is wrong gets one clear sentence.

jsonargparse is left with what it does best: types, help and ``--print_config``.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import shlex
import types
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter, set_parsing_settings

from glcm_mae import __version__, settings
from glcm_mae.errors import UserError

# Each command and its settings; the function of the same name in `stages`, with _ for a space or a
# hyphen, does the work. The first setting that must be given needs no name: ``glcm-mae features
# IMAGES``.
COMMANDS: dict[str, type] = {
    "pretrain": settings.PretrainSettings,
    "finetune": settings.FinetuneSettings,
    "probe": settings.ProbeSettings,
    "baseline": settings.BaselineSettings,
    "crossval": settings.CrossvalSettings,
    "compare": settings.CompareSettings,
    "evaluate": settings.EvaluateSettings,
    "predict": settings.PredictSettings,
    "explain": settings.ExplainSettings,
    "reconstruct": settings.ReconstructSettings,
    "demo": settings.DemoSettings,
    "data check": settings.DataCheckSettings,
    "data split": settings.DataSplitSettings,
    "data manifest": settings.DataManifestSettings,
    "features": settings.FeaturesSettings,
    "texture-map": settings.TextureMapSettings,
}

# Commands that run others: to them a recipe may say only what those others shall do.
_STUDIES = ("crossval", "compare")

# Settings that one wants to say without naming their group, or with a letter.
_SHORT = {"on_error": "data.on_error", "o": "out"}


def parse(words: Sequence[str]) -> tuple[str, Any, str]:
    """Read a command and its settings.

    Ends the process for ``--help``, ``--version`` and ``--print_config``.

    Parameters
    ----------
    words : sequence of str
        The command line behind ``glcm-mae``.

    Returns
    -------
    str, dataclass, str
        The command, its settings, and the ``--config`` options that were given.

    Raises
    ------
    UserError
        For whatever is wrong with them.

    Examples
    --------
    >>> command, settings, _ = parse(["evaluate", "--predictions", "runs/a", "--seed=3"])
    >>> command, settings.seed
    ('evaluate', 3)
    """
    command, options = _command(words)
    kind = COMMANDS[command]
    known = dict(_leaves(kind))
    given, flags = _given(options, command, known)
    missing = [name for name, (_, required) in known.items() if required and name not in given]
    if missing and not flags:
        raise UserError(
            f"{command} needs {' and '.join(f'--{name}' for name in missing)}: "
            f"glcm-mae {command} --help says what {'it is' if len(missing) == 1 else 'they are'}."
        )
    parser = _parser(command)
    line = [
        *flags,
        *(f"--{name}={_value(text, known[name][0])}" for name, (text, _) in given.items()),
    ]
    try:
        values = parser.parse_args(line).as_dict()
    except Exception as error:  # jsonargparse's own kinds: names are checked, so it is a value
        raise UserError(_wrong_value(str(error), given, known)) from error
    return command, _built(kind, values), _recipes_given(words)


def _command(words: Sequence[str]) -> tuple[str, list[str]]:
    """Split a command line into the command, of one word or two, and the rest."""
    for length in (2, 1):
        command = " ".join(words[:length])
        if command in COMMANDS:
            return command, list(words[length:])
    first = words[0] if words else ""
    members = [name for name in COMMANDS if name.startswith(f"{first} ")]
    last = words[1] if members and len(words) > 1 else first
    if last in ("-h", "--help", "--version"):
        _overview().parse_args([last])
    typed = " ".join(words[:2]) if members else first
    wrong = f"{typed} is no command{_nearest(typed, COMMANDS)}" if first else "no command"
    raise UserError(f"{wrong}: give one of {', '.join(members or COMMANDS)}, or --help.")


def _recipes_given(words: Sequence[str]) -> str:
    """Repeat the --config options of a command line, each with a space before it."""
    named = [w for w, before in zip(words, ["", *words], strict=False) if before == "--config"]
    named += [w.partition("=")[2] for w in words if w.startswith("--config=")]
    return "".join(f" --config {shlex.quote(name)}" for name in named)


def _built(kind: type, values: dict[str, Any]) -> Any:
    """Make a dataclass, and those in it, of nested dicts."""
    hints = get_type_hints(kind)
    return kind(
        **{
            name: _built(hints[name], values[name]) if is_dataclass(hints[name]) else values[name]
            for name in (field.name for field in fields(kind))
        }
    )


def _given(
    words: list[str], command: str, known: dict[str, tuple[Any, bool]]
) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Collect the settings that are given: name to (text, the file it stands in or "").

    What the command line says wins over what a --config file says, whatever their order.
    """
    of_files: dict[str, tuple[str, str]] = {}
    of_line: dict[str, tuple[str, str]] = {}
    flags = []
    first = next((name for name, (_, required) in known.items() if required), None)
    rest = words
    while rest:
        if first and first not in of_line and not rest[0].startswith("-"):
            of_line[first] = (rest.pop(0), "")
            continue
        option, equals, text = rest.pop(0).partition("=")
        name = option.lstrip("-").replace("-", "_")
        name = name if name in known else _SHORT.get(name, name)
        if option in ("-h", "--help") or name.startswith("print_config"):
            flags.append("--help" if option == "-h" else f"--{name}{equals}{text}")
            continue
        if not option.startswith("--") and option != "-o":
            raise UserError(f"{option} is no option: settings are given as --name value.")
        if name != "config" and name not in known:
            raise UserError(f"{command}: --{_unknown(name, known)}")
        if not equals:
            is_flag = name in known and known[name][0] is bool
            if rest and not rest[0].startswith("--"):
                text = rest.pop(0)
            elif is_flag:
                text = "true"
            else:
                raise UserError(f"{option} has no value: give it one, as in {option} VALUE.")
        if name == "config":
            path, content = _recipe(text, command)
            of_files |= {n: (t, str(path)) for n, t in _flat(content, known, str(path))}
        else:
            if name in of_line and get_origin(known[name][0]) is list:
                raise UserError(f"{option} stands twice: give all its values at once, as in A,B.")
            of_line[name] = (text, "")
    every = of_files | of_line
    for name in [n for n, (text, _) in every.items() if known[n][1] and text in ("", "null")]:
        del every[name]  # --print_config writes null where a setting must be given
    return every, flags


def names_of(command: str) -> set[str]:
    """List the dotted names of a command's settings.

    Parameters
    ----------
    command : str
        One of `COMMANDS`.

    Returns
    -------
    set of str

    Examples
    --------
    >>> {"data.images", "optimizer.epochs"} <= names_of("pretrain")
    True
    """
    return {name for name, _ in _leaves(COMMANDS[command])}


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
    path, content = _read_recipe(name, _recipes("pretrain"))
    if not set(content) & set(COMMANDS):
        raise UserError(
            f"{path} has no sections: put its settings under pretrain, probe, finetune."
        )
    return set(content)


def _recipe(name: str, command: str) -> tuple[Path, dict[str, Any]]:
    """Read a YAML file or a recipe of the package; return the command's part of it.

    A recipe serves several commands: it holds a section for each, named as the command.
    """
    path, content = _read_recipe(name, _recipes(command))
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


_AsWritten.yaml_implicit_resolvers = {"<": yaml.SafeLoader.yaml_implicit_resolvers["<"]}  # merges


def _read_recipe(name: str, recipes: Sequence[str]) -> tuple[Path, dict[str, Any]]:
    path = Path(name)
    packaged = Path(str(files("glcm_mae") / "recipes" / f"{name}.yaml"))
    if not path.is_file() and packaged.is_file():
        path = packaged
    if not path.is_file():
        raise UserError(
            f"--config {name} is no file and no recipe{_nearest(name, recipes)}: give a YAML file"
            + (f" or one of {', '.join(recipes)}." if recipes else ".")
        )
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _AsWritten) or {}
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} is not a YAML file ({' '.join(str(error).split())}).") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a mapping of settings to values, as in `seed: 0`.")
    return path, content


def _flat(
    content: dict[str, Any], known: dict[str, Any], path: str, prefix: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield the settings of a file as (dotted name, text)."""
    for key, value in content.items():
        name = f"{prefix}{key}"
        is_group = any(other.startswith(f"{name}.") for other in known)
        if is_group and value in ("", "null", "~"):
            continue
        if is_group and isinstance(value, dict):
            yield from _flat(value, known, path, f"{name}.")
        elif name in known and not isinstance(value, dict):
            yield name, _text(value)
        else:
            raise UserError(f"{path}: {_unknown(name, known)}")


def _value(text: str, annotation: Any) -> str:
    """Read a list without the outer brackets, which a shell takes for a pattern of file names."""
    if get_origin(annotation) is not list or text.startswith("["):
        return text
    if not _is_words(get_args(annotation)[0]):
        return f"[{text}]"
    parts = re.split(r",(?![^\[]*\])", text) if text else []  # not in data.window=[0,200]
    return json.dumps([part.strip() for part in parts])


def _is_words(annotation: Any) -> bool:
    return annotation is str or get_origin(annotation) is Literal


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_text(item) for item in value)}]"
    return str(value) or "null"  # as YAML reads a key with nothing behind it


def _unknown(name: str, known: dict[str, Any]) -> str:
    members = [other for other in known if other.startswith(f"{name}.")]
    if members:
        return f"{name} is a group of settings: give {', '.join(members)}."
    if name in known:
        return f"{name} is one setting and not a group: give it {_readable(known[name][0])}."
    # The nearest by its last part, as --epochs for --optimizer.epochs, or by its whole name.
    last = {other.rpartition(".")[2]: other for other in reversed(known)}
    groups = {other.rpartition(".")[0]: "" for other in known}
    near = last.get(name.rpartition(".")[2]) or next(
        iter(difflib.get_close_matches(name, [*groups, *known], 1)), ""
    )
    return f"{name} is no setting: " + (f"did you mean {near}?" if near else "see --help.")


def _nearest(word: str, known: Sequence[str] | dict[str, Any]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f" (did you mean {near[0]}?)" if near else ""


def _wrong_value(
    message: str, given: dict[str, tuple[str, str]], known: dict[str, tuple[Any, bool]]
) -> str:
    found = re.search(r'"([\w.]+)"', message)
    name = found.group(1) if found else ""
    if name not in given:
        return " ".join(message.split())
    text, path = given[name]
    where = f"{path}: {name}" if path else f"--{name}"
    return f"{where} takes {_readable(known[name][0])}, not {text!r}."


def _leaves(kind: type, prefix: str = "") -> Iterator[tuple[str, tuple[Any, bool]]]:
    """Yield every setting by its dotted name, with its type and whether it must be given."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        annotation = hints[field.name]
        if is_dataclass(annotation):
            yield from _leaves(annotation, f"{prefix}{field.name}.")  # type: ignore[arg-type]
        else:
            required = field.default is MISSING and field.default_factory is MISSING
            yield f"{prefix}{field.name}", (annotation, required)


def _readable(annotation: Any) -> str:
    """Write a type as one would write its values: ``int | null``, ``[float, float]``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(arguments)
    if origin in (Union, types.UnionType):
        return " | ".join(_readable(argument) for argument in arguments)
    if origin is tuple:
        return f"[{', '.join(_readable(argument) for argument in arguments)}]"
    if origin is list:
        return f"[{_readable(arguments[0])}, ...]"
    names: dict[Any, str] = {types.NoneType: "null", bool: "true | false", str: "text"}
    return names.get(annotation) or str(annotation.__name__)


class _Help(DefaultHelpFormatter):
    """Help with readable types, where the choices do not already stand behind the name."""

    def _get_type_str(self, action: argparse.Action) -> str | None:
        annotation = getattr(action, "_typehint", None)
        listed = annotation is None or annotation is bool or get_origin(annotation) is Literal
        return None if listed else _readable(annotation)


def _parser(command: str) -> ArgumentParser:
    set_parsing_settings(docstring_parse_attribute_docstrings=False)
    kind = COMMANDS[command]
    required = [name for name, (_, must) in _leaves(kind) if must]
    # The first needs no name.
    named = [f"[--{name}]" if name == required[0] else f"--{name}" for name in required]
    needs = "".join(
        f" {option} {name.rpartition('.')[2].upper()}"
        for option, name in zip(named, required, strict=True)
    )
    parser = ArgumentParser(
        prog=f"glcm-mae {command}",
        usage=f"glcm-mae {command} [--config RECIPE]{needs} [--SETTING VALUE ...]",
        description=_summary(kind),
        formatter_class=_Help,
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        action="config",
        metavar="RECIPE",
        help="A YAML file, or the name of a recipe of the package "
        f"({', '.join(_recipes(command)) or 'none for this command'}), with the settings or with a "
        "section of them per command. Settings given beside it win.",
    )
    parser.add_class_arguments(kind)
    for action in parser._actions:
        if any(name.startswith(f"{action.dest}.") for name, _ in _leaves(kind)):
            action.help = argparse.SUPPRESS  # a whole group at once: said in the recipe
        action.option_strings = [o for o in action.option_strings if not o.endswith("+")]
    return parser


def _overview() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {_summary(kind)}" for name, kind in COMMANDS.items())
    overview = argparse.ArgumentParser(
        prog="glcm-mae",
        usage="glcm-mae COMMAND [--config RECIPE] [--SETTING VALUE ...]",
        description="Masked autoencoders for medical images that learn texture.\n\n"
        f"commands (glcm-mae COMMAND --help lists the settings):\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    overview.add_argument("--version", action="version", version=f"glcm-mae {__version__}")
    return overview


def _summary(kind: type) -> str:
    return (kind.__doc__ or "").splitlines()[0]


def _recipes(command: str) -> list[str]:
    """Names of the package's recipes that have a section for a command."""
    folder = files("glcm_mae") / "recipes"
    needed = "pretrain" if command in _STUDIES else command
    section = re.compile(rf"^{needed}:", re.MULTILINE)
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml") and section.search(entry.read_text(encoding="utf-8"))
    )
