"""Reading the command line: names checked first, so that what is wrong gets one clear sentence.

jsonargparse is left with what it does best: types, help and ``--print_config``.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from glcm_mae.arguments.commands import COMMANDS, is_list_of_words, leaves
from glcm_mae.arguments.complaints import did_you_mean, unknown_setting, wrong_value
from glcm_mae.arguments.help import overview, parser_for
from glcm_mae.arguments.recipes import read_recipe, recipe_options, settings_in
from glcm_mae.errors import UserError

# Settings that one wants to say without naming their group, or with a letter.
_SHORT = {"on_error": "data.on_error", "o": "out"}
_NUMBER = r"\s*[-+]?(?:\.?\d[\w.+-]*|\.?inf)\s*"
_BRACKETED = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]")  # one pair around all, others in it
_NUMBERS = re.compile(rf"{_NUMBER}(?:,{_NUMBER})+", re.IGNORECASE)


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
    known = dict(leaves(kind))
    given, flags = _given(options, command, known)
    missing = [name for name, (_, required) in known.items() if required and name not in given]
    if missing and not flags:
        raise UserError(
            f"{command} needs {' and '.join(f'--{name}' for name in missing)}: "
            f"glcm-mae {command} --help says what {'it is' if len(missing) == 1 else 'they are'}."
        )
    parser = parser_for(command)
    line = [
        *flags,
        *(f"--{name}={_value(text, known[name][0])}" for name, (text, _) in given.items()),
    ]
    try:
        values = parser.parse_args(line).as_dict()
    except Exception as error:  # jsonargparse's own kinds: names are checked, so it is a value
        raise UserError(wrong_value(str(error), given, known)) from error
    return command, _built(kind, values), recipe_options(words)


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
        overview().parse_args([last])
    typed = " ".join(words[:2]) if members else first
    wrong = f"{typed} is no command{did_you_mean(typed, COMMANDS)}" if first else "no command"
    raise UserError(f"{wrong}: give one of {', '.join(members or COMMANDS)}, or --help.")


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
            raise UserError(
                f"{option} is no option: settings are given as --name value, lists as --name A,B."
            )
        if name != "config" and name not in known:
            raise UserError(f"{command}: --{unknown_setting(name, known)}")
        if not equals:
            is_flag = name in known and known[name][0] is bool
            if rest and not rest[0].startswith("--"):
                text = rest.pop(0)
            elif is_flag:
                text = "true"
            else:
                raise UserError(f"{option} has no value: give it one, as in {option} VALUE.")
        if name == "config":
            path, content = read_recipe(text, command)
            of_files |= {n: (t, str(path)) for n, t in settings_in(content, known, str(path))}
        else:
            if name in of_line and get_origin(known[name][0]) is list:
                raise UserError(f"{option} stands twice: give all its values at once, as in A,B.")
            of_line[name] = (text, "")
    every = of_files | of_line
    for name in [n for n, (text, _) in every.items() if known[n][1] and text in ("", "null")]:
        del every[name]  # --print_config writes null where a setting must be given
    return every, flags


def _value(text: str, annotation: Any) -> str:
    """Read a list without the outer brackets, which a shell takes for a pattern of file names."""
    if is_list_of_words(annotation):
        return json.dumps(_words(text), ensure_ascii=False)
    if get_origin(annotation) is list:
        return text if text.startswith("[") else f"[{text}]"
    if any(get_origin(kind) in (tuple, list) for kind in _kinds(annotation)):
        return _numbers(text)
    return text


def _words(text: str) -> list[str]:
    """Read A,B or [A,B] with each word as it is typed; a recipe's list comes as JSON."""
    try:
        return [str(word) for word in json.loads(text)] if text.startswith('["') else _split(text)
    except ValueError:
        return _split(text)


def _split(text: str) -> list[str]:
    whole = _BRACKETED.fullmatch(text)
    bare = whole.group(1) if whole else text
    parts = re.split(r",(?![^\[]*\])", bare) if bare.strip() else []  # not in data.window=[0,200]
    return [part.strip() for part in parts]


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """Give the types of which a value may be one."""
    is_union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if is_union else (annotation,)


def _numbers(text: str) -> str:
    """Bring A,B to [A,B] where another value will do, too; spell an infinite end as YAML does."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if not _NUMBERS.fullmatch(bare):
        return text
    return "[" + re.sub(r"\.?inf", ".inf", bare, flags=re.IGNORECASE) + "]"


def _built(kind: type, values: dict[str, Any]) -> Any:
    """Make a dataclass, and those in it, of nested dicts."""
    hints = get_type_hints(kind)
    return kind(
        **{
            name: _built(hints[name], values[name]) if is_dataclass(hints[name]) else values[name]
            for name in (field.name for field in fields(kind))
        }
    )
