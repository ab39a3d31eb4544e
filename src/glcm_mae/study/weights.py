"""The weights that a study starts from stay the same for as long as it grows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from glcm_mae.errors import UserError
from glcm_mae.files import write_atomically

from .arms import Arm

_FILE = "weights.json"


def pin_weights(arms: Sequence[Arm], out: Path) -> None:
    """Note which weights the arms start from, and refuse others under the same name.

    Without it, finished cells of the old ones would stand beside new cells in one table.

    Parameters
    ----------
    arms : sequence of Arm
        The arms.
    out : Path
        The study's folder; ``weights.json`` there holds a digest for each file.

    Raises
    ------
    UserError
        If a file has changed since the study began.
    """
    inits = [arm.pretrain.init for arm in arms if arm.pretrain is not None]
    given = {weights for weights in (*inits, *(arm.encoder for arm in arms)) if weights is not None}
    if not given:
        return
    file = out / _FILE
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    now = {weights: _digest(Path(weights)) for weights in sorted(given)}
    for weights, digest in now.items():
        if before.get(weights, digest) != digest:
            raise UserError(
                f"{weights} is not what it was when {out} was begun: restore it, or choose another "
                "folder with --out."
            )
    write_atomically(file, json.dumps({**before, **now}, indent=2) + "\n")


def _digest(weights: Path) -> str:
    file = weights / "encoder.safetensors" if weights.is_dir() else weights
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
