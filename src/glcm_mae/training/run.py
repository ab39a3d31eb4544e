"""A run's folder: settings, log, checkpoint, and the marks that it is finished."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml

from glcm_mae import __version__
from glcm_mae.errors import UserError
from glcm_mae.files import write_atomically
from glcm_mae.provenance import made_by
from glcm_mae.settings import FACTS

# May change while a run goes on, but what is finished is the result of these: a precision, and
# where the images lie, of which `training.seen.write_seen` tells whether they have changed.
_PRECISION, _IMAGES = "hardware.precision", "data.images"
# Settings that may differ between an interrupted run and the one that resumes it. The number of
# devices may not: it changes which images make a step.
_FREE = (
    *FACTS,
    "out",
    "resume",
    "checkpoint_minutes",
    "hardware.accelerator",
    "hardware.strategy",
    "data.cache",
)
# Settings that name a file or folder, which may be spelled in several ways.
_PLACES = (_IMAGES, "encoder", "init")
# Groups of settings that say nothing while the weight of their term is 0.
_OF_TERM = {
    "objective.texture.": "objective.glcm",
    "objective.target.": "objective.glcm_prediction",
}


class OtherSettings(UserError):  # noqa: N818 (named after what is found)
    """A folder holds a run that was begun with other settings."""


class Run:
    """The folder of one run, where everything is written whole or not at all.

    Nothing is written before `begin`: what refuses a stage afterwards leaves no folder behind.

    Parameters
    ----------
    folder : str or Path
        The run's folder.
    settings : dataclass
        The stage's settings, kept as ``settings.yaml``.
    resume : bool
        Whether to go on with what the folder holds.

    Raises
    ------
    UserError
        If the folder holds a run and `resume` is not set.
    OtherSettings
        If it holds one with other settings.
    """

    def __init__(self, folder: str | Path, settings: Any, *, resume: bool) -> None:
        self.folder = Path(folder)
        self._checkpoint = self.folder / "checkpoint.pt"
        self._log = self.folder / "log.jsonl"
        self._finished = self.folder / "finished.json"
        self._settings = _plain(_facts(settings) | asdict(settings))
        self._existing = self.folder / "settings.yaml"
        self._made_by = made_by()  # the code that runs, whatever becomes of its files until the end
        self._has_moved = False
        if not self._existing.exists():
            if resume:
                print(f"{self.folder} holds no run to go on with: starting one.", file=sys.stderr)
            return
        if not resume:
            raise UserError(
                f"{self.folder} holds a run already: go on with it by --resume true, or choose "
                "another folder with --out."
            )
        before, now = flat(_settings_before(self.folder)), flat(self._settings)
        _check_encoder(before, self._settings, self.folder)
        _check_same(before, now, self.folder, finished=self.finished)
        self._has_moved = any(before.get(name) != now.get(name) for name in (_IMAGES, "encoder"))

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self._finished.exists()

    def begin(self) -> None:
        """Make the folder, unless an interrupted run has, and write ``settings.yaml``.

        On one process alone, after all have made their `Run`: the file's existence is what refuses
        a second run.
        """
        for torn in self.folder.glob(".*.tmp"):  # what a killed process was writing
            torn.unlink(missing_ok=True)
        if not self._existing.exists():
            for other in (self._checkpoint, self._log):  # of a run whose settings were removed
                other.unlink(missing_ok=True)
            self._write_settings(self._settings)

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint.

        Parameters
        ----------
        state : dict
            Tensors, numbers and text, in dicts and lists.

        Raises
        ------
        UserError
            If it cannot be written; the checkpoint before it is then intact.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self._checkpoint, buffer.getvalue())

    def load(self) -> dict[str, Any] | None:
        """Read the checkpoint, without executing code; None if there is none.

        Raises
        ------
        UserError
            If it is broken.
        """
        if not self._checkpoint.exists():
            return None
        try:
            return torch.load(self._checkpoint, map_location="cpu", weights_only=True)
        except Exception as error:  # of a broken file torch raises whatever it stumbles on
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(
                f"{self._checkpoint} cannot be read ({reason}): remove the run's folder and start "
                "again."
            ) from error

    def finish(self, facts: dict[str, Any]) -> None:
        """Mark the run as finished; its checkpoint is no longer needed.

        Parameters
        ----------
        facts : dict
            What a reader of the results should know; kept in ``finished.json``.
        """
        if self._has_moved:
            before = _settings_before(self.folder)
            moved = {name: self._settings[name] for name in ("data", "encoder") if name in before}
            self._write_settings(before | moved)
        facts = {**self._made_by, "torch": torch.__version__, **facts}
        write_atomically(self._finished, json.dumps(facts, indent=2) + "\n")
        self._checkpoint.unlink(missing_ok=True)

    def _write_settings(self, settings: dict[str, Any]) -> None:
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        write_atomically(self._existing, text)

    def log(self, entry: dict[str, Any]) -> None:
        """Append one line to log.jsonl.

        Parameters
        ----------
        entry : dict
            What the line tells, among it the number of the ``step`` just made.

        Raises
        ------
        UserError
            If it cannot be written.
        """
        try:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise UserError(
                f"{self._log} cannot be written ({error.strerror}): make room and go on with "
                "--resume true."
            ) from error

    def rewind_log(self, step: int) -> None:
        """Drop the lines that an interrupted run wrote after its last checkpoint.

        Parameters
        ----------
        step : int
            The last step that the checkpoint holds.

        Raises
        ------
        UserError
            If a line is neither whole nor torn at its end.
        """
        if not self._log.exists():
            return
        try:
            lines = self._log.read_text(encoding="utf-8").splitlines()
            whole = [line for line in lines if line.endswith("}")]
            kept = [line for line in whole if json.loads(line)["step"] <= step]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self._log} is damaged: remove it, and go on with --resume true (what it told of "
                "the steps before is lost, and no more)."
            ) from error
        write_atomically(self._log, "".join(line + "\n" for line in kept))


def settings_of(run: Path) -> dict[str, Any]:
    """Read the settings that a run was made with.

    Parameters
    ----------
    run : Path
        Its folder.

    Returns
    -------
    dict
        What ``settings.yaml`` holds.

    Raises
    ------
    UserError
        If it cannot be read.
    """
    file = run / "settings.yaml"
    try:
        written = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{file} cannot be read ({error}): copy it anew.") from error
    if not isinstance(written, dict):
        raise UserError(f"{file} holds no settings: copy it anew.")
    return written


def facts_of(run: Path) -> dict[str, Any]:
    """Read what a finished run tells of itself; nothing where it does not.

    Parameters
    ----------
    run : Path
        Its folder.

    Returns
    -------
    dict
        What ``finished.json`` holds.
    """
    try:
        written = json.loads((run / "finished.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return written if isinstance(written, dict) else {}


def _facts(settings: Any) -> dict[str, str]:
    """Tell the version and, where the encoder is a run's, a digest of that run's settings."""
    facts = {"version": __version__}
    encoder = getattr(settings, "encoder", None)
    if encoder is not None and (Path(encoder) / "settings.yaml").is_file():
        free = (*_FREE, _PRECISION)
        trained_by = {n: v for n, v in flat(settings_of(Path(encoder))).items() if n not in free}
        text = json.dumps(trained_by, sort_keys=True)
        facts["encoder_trained_by"] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return facts


def _plain(value: Any) -> Any:
    """Tuples as lists, as YAML gives them back."""
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _settings_before(folder: Path) -> dict[str, Any]:
    try:
        return settings_of(folder)
    except UserError as error:
        raise UserError(
            f"{folder / 'settings.yaml'} cannot be read: remove the run's folder, or choose "
            "another with --out."
        ) from error


def _check_encoder(before: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    """Refuse an encoder that was trained anew with other settings, in the folder of the old one."""
    then, since = (told.get("encoder_trained_by") for told in (before, now))
    if then is not None and since is not None and then != since:
        raise UserError(
            f"{folder} stands on an encoder that {now['encoder']} no longer holds, for other "
            f"settings have trained the one there: remove {folder}, or choose another with --out."
        )


def _check_same(
    before: dict[str, Any], now: dict[str, Any], folder: Path, *, finished: bool
) -> None:
    # What the version that began the run did not have yet, it did not do: it was off.
    off = {name: value for name, value in now.items() if value in (None, False)}
    before = {**off, **before}
    free = {*_FREE, *_idle(now)}
    if not finished:
        trained_by = now.get("encoder_trained_by")
        is_same = trained_by is not None and trained_by == before.get("encoder_trained_by")
        free |= {_PRECISION, _IMAGES, *(["encoder"] if is_same else [])}
    changed = [
        n
        for n in now
        if n not in free
        and (n not in before or before[n] != now[n])
        and not (n in _PLACES and _same_place(n, before, now))
    ]
    if changed:
        shown = ", ".join(
            f"{name} was {before.get(name, 'unknown')}, is {now[name]}" for name in changed[:5]
        )
        raise OtherSettings(
            f"{folder} was begun with other settings ({shown}): give those of its settings.yaml, "
            "or choose another folder with --out."
        )


def _same_place(name: str, before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether a path is that of before, spelled anew or moved together with the run's folder."""
    then, since = before.get(name), now[name]
    if then is None or since is None:
        return False
    if os.path.realpath(then) == os.path.realpath(since):
        return True
    from_run = [os.path.relpath(s[name], s["out"]) for s in (before, now) if "out" in s]
    return len(from_run) == 2 and from_run[0] == from_run[1]


def _idle(settings: dict[str, Any]) -> list[str]:
    """List the settings of terms that the objective does not have."""
    groups = tuple(group for group, weight in _OF_TERM.items() if not settings.get(weight))
    return [name for name in settings if name.startswith(groups)]


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Put the settings of all groups side by side, named as on the command line.

    Examples
    --------
    >>> flat({"seed": 0, "data": {"folds": 5}})
    {'seed': 0, 'data.folds': 5}
    """
    side_by_side: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            side_by_side |= flat(value, f"{prefix}{name}.")
        else:
            side_by_side[prefix + name] = value
    return side_by_side
