"""What is said of a name or a value that does not fit."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

from glcm_mae.arguments.commands import readable


def unknown_setting(name: str, known: dict[str, Any]) -> str:
    """Say which setting may have been meant by a name that is none."""
    members = [other for other in known if other.startswith(f"{name}.")]
    if members:
        return f"{name} is a group of settings: give {', '.join(members)}."
    if name in known:
        return f"{name} is one setting and not a group: give it {readable(known[name][0])}."
    # The nearest by its last part, as --epochs for --optimizer.epochs, or by its whole name.
    last = {other.rpartition(".")[2]: other for other in reversed(known)}
    groups = {other.rpartition(".")[0]: "" for other in known}
    near = last.get(name.rpartition(".")[2]) or next(
        iter(difflib.get_close_matches(name, [*groups, *known], 1)), ""
    )
    return f"{name} is no setting: " + (f"did you mean {near}?" if near else "see --help.")


def did_you_mean(word: str, known: Sequence[str] | dict[str, Any]) -> str:
    """Name the known word that is most like this one, in brackets; nothing if none is."""
    near = difflib.get_close_matches(word, known, 1)
    return f" (did you mean {near[0]}?)" if near else ""


def wrong_value(
    message: str, given: dict[str, tuple[str, str]], known: dict[str, tuple[Any, bool]]
) -> str:
    """Say what the setting takes about whose value jsonargparse complains."""
    found = re.search(r'"([\w.]+)"', message)
    name = found.group(1) if found else ""
    if name not in given:
        return " ".join(message.split())
    text, path = given[name]
    where = f"{path}: {name}" if path else f"--{name}"
    return f"{where} takes {readable(known[name][0])}, not {text!r}."
