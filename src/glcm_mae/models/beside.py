"""What a folder says of the checkpoint in it: descriptions by a run, timm or transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_WEIGHTS = ("encoder.safetensors", "model.safetensors", "pytorch_model.bin")


def told_beside(weights: Path, file: str = "config.json") -> dict[str, Any]:
    """Read a description that lies beside a checkpoint.

    Parameters
    ----------
    weights : Path
        The checkpoint.
    file : str
        Name of the description, of JSON.

    Returns
    -------
    dict
        Empty where there is none, and beside a checkpoint of another name than such folders give
        theirs: it may be of another model.

    Examples
    --------
    >>> told_beside(Path("nowhere/model.safetensors"))
    {}
    """
    if weights.name not in _WEIGHTS:
        return {}
    try:
        told = json.loads((weights.parent / file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
