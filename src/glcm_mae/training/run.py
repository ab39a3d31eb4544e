"""A run's folder: settings, log, checkpoint, and the marks that it is finished."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml

from glcm_mae import __version__
from glcm_mae.errors import UserError
from glcm_mae.files import write_atomically

# Settings that may differ between an interrupted run and the one that resumes it.
_FREE = ("resume", "hardware", "checkpoint_minutes", "out")


class Run:
    """The folder of one run, where everything is written whole or not at all.

    Parameters
    ----------
    folder : str or Path
        The run's folder; made if it does not exist.
    settings : dataclass
        The stage's settings, kept as ``settings.yaml``.
    resume : bool
        Whether to go on with what the folder holds.

    Raises
    ------
    UserError
        If the folder holds a run and `resume` is not set, or holds one with other settings.
    """

    def __init__(self, folder: str | Path, settings: Any, *, resume: bool) -> None:
        self.folder = Path(folder)
        self._checkpoint = self.folder / "checkpoint.pt"
        self._log = self.folder / "log.jsonl"
        self._finished = self.folder / "finished.json"
        written = _plain({"version": __version__, **asdict(settings)})
        existing = self.folder / "settings.yaml"
        if existing.exists() and not resume:
            raise UserError(
                f"{self.folder} holds a run already: go on with it by --resume true, or choose "
                "another folder with --out."
            )
        if existing.exists():
            _check_same(yaml.safe_load(existing.read_text(encoding="utf-8")), written, self.folder)
        else:
            text = yaml.safe_dump(written, sort_keys=False, allow_unicode=True)
            write_atomically(existing, text)

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self._finished.exists()

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
        except (RuntimeError, EOFError, OSError, ValueError) as error:
            raise UserError(
                f"{self._checkpoint} cannot be read ({str(error).splitlines()[0]}): remove the "
                "run's folder and start again."
            ) from error

    def finish(self, facts: dict[str, Any]) -> None:
        """Mark the run as finished; its checkpoint is no longer needed.

        Parameters
        ----------
        facts : dict
            What a reader of the results should know; kept in ``finished.json``.
        """
        facts = {"glcm_mae": __version__, "torch": torch.__version__, **facts}
        write_atomically(self._finished, json.dumps(facts, indent=2) + "\n")
        self._checkpoint.unlink(missing_ok=True)

    def log(self, entry: dict[str, Any]) -> None:
        """Append one line to log.jsonl."""
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def rewind_log(self, step: int) -> None:
        """Drop the lines that an interrupted run wrote after its last checkpoint."""
        if not self._log.exists():
            return
        lines = self._log.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        write_atomically(self._log, "".join(line + "\n" for line in kept))


def _plain(value: Any) -> Any:
    """Tuples as lists, as YAML gives them back."""
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _check_same(before: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    changed = [n for n in now if n not in _FREE and n != "version" and before.get(n) != now[n]]
    if changed:
        raise UserError(
            f"{folder} was begun with other settings ({', '.join(changed)}): give those of its "
            "settings.yaml, or choose another folder with --out."
        )
