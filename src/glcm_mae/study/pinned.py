"""The images and weights of a study stay the same for as long as it grows.

Else finished cells of the old ones would stand beside new cells in one table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from glcm_mae.errors import UserError
from glcm_mae.files import read_facts, write_atomically

from .arms import Arm


def pin_images(hashes: Mapping[str, str], out: Path) -> None:
    """Note which pixels the images have, and refuse others under the same name.

    Parameters
    ----------
    hashes : mapping
        Of each image's name, `content_hash`.
    out : Path
        The study's folder; gets ``images.json``.

    Raises
    ------
    UserError
        If an image has changed since the study began, or the file is damaged.
    """
    _pin(hashes, out, "images")


def pin_weights(arms: Sequence[Arm], out: Path) -> None:
    """Note which weights the arms start from, and refuse others under the same name.

    Parameters
    ----------
    arms : sequence of Arm
        The arms.
    out : Path
        The study's folder; gets ``weights.json``, a digest for each file.

    Raises
    ------
    UserError
        If a file has changed since the study began, or ``weights.json`` is damaged.
    """
    inits = [arm.pretrain.init for arm in arms if arm.pretrain is not None]
    given = {weights for weights in (*inits, *(arm.encoder for arm in arms)) if weights is not None}
    if not given:
        return
    _pin({weights: _digest(Path(weights)) for weights in sorted(given)}, out, "weights")


def _pin(now: Mapping[str, str], out: Path, what: str) -> None:
    file = out / f"{what}.json"
    before = read_facts(
        file,
        "copy it anew, or choose another folder with --out (without it nobody knows whether the "
        f"{what} are those with which finished cells were made)",
    )
    changed = [name for name, digest in now.items() if before.get(name, digest) != digest]
    if changed:
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise UserError(
            f"{changed[0]}{more} is not what it was when {out} was begun: restore it, or choose "
            "another folder with --out."
        )
    write_atomically(file, json.dumps({**before, **now}, indent=2) + "\n")


def _digest(weights: Path) -> str:
    file = weights / "encoder.safetensors" if weights.is_dir() else weights
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
