"""What an encoder is, and how images are read for it: the config.json of a run folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glcm_mae.errors import UserError

from .vit import Encoder


@dataclass(frozen=True)
class EncoderConfig:
    """All that is needed to build an encoder and to feed it as in pre-training.

    Parameters
    ----------
    image_size : (int, int)
        Height and width, in pixels.
    patch_size, in_chans, embed_dim, depth, num_heads : int
        See `Encoder`.
    mean, std : tuple of float
        Per channel: images in [0, 1] are normalised to (image - mean) / std.
    resize, color : str
        How images were brought to that size and to those channels.
    window : (float, float) or str, optional
        Values that became 0 and 1, or a window's name.
    spacing : float, optional
        Millimetres that a pixel measured, if images were brought to one scale.

    Examples
    --------
    >>> config = EncoderConfig((32, 32), 8, 1, 64, 2, 4, (0.5,), (0.25,), "none", "gray", None)
    >>> config.build().grid
    (4, 4)
    """

    image_size: tuple[int, int]
    patch_size: int
    in_chans: int
    embed_dim: int
    depth: int
    num_heads: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str
    color: str
    window: tuple[float, float] | str | None
    spacing: float | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """Patches per column and row."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    def build(self, drop_path: float = 0.0) -> Encoder:
        """Make an encoder of this shape, with random weights; ValueError if there is none."""
        return Encoder(
            self.image_size,
            self.patch_size,
            self.in_chans,
            self.embed_dim,
            self.depth,
            self.num_heads,
            drop_path,
        )


def read_config(folder: str | Path) -> EncoderConfig:
    """Read the config.json of a run folder.

    Parameters
    ----------
    folder : str or Path
        A finished pre-training run.

    Returns
    -------
    EncoderConfig

    Raises
    ------
    UserError
        If there is none, or it is not one of ours.
    """
    folder = Path(folder)
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder} {_no_run(folder)}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): copy it anew.") from error
    wrong = _misfits(values if isinstance(values, dict) else {})
    of_library = folder / "model.safetensors"
    if wrong and of_library.is_file():
        raise UserError(
            f"{folder} is no run, but a folder of timm's or transformers', as export writes it: "
            f"give the file of its weights, {of_library}, where weights are asked for."
        )
    if wrong:
        raise UserError(
            f"{path} does not describe an encoder (no proper {', '.join(wrong)}): give the folder "
            "of a finished pretrain run, or copy it anew."
        )
    fields: dict[str, Any] = {
        name: tuple(values[name]) if isinstance(values[name], list) else values[name]
        for name in EncoderConfig.__dataclass_fields__
        if name in values
    }
    return EncoderConfig(**fields)


def _no_run(folder: Path) -> str:
    """Say what stands in the place of a run folder, and what to do."""
    wanted = "give the folder of a finished pretrain or finetune run."
    if not folder.exists():
        return f"does not exist: {wanted}"
    if not folder.is_dir():
        return f"is a file: {wanted}"
    if (folder / "checkpoint.pt").is_file():
        return "holds a run that is not finished: go on with it by --resume true."
    in_studies = ("*", "*/*", "arms/*/*/*")  # as of an arm or its cell, or of the whole study
    within = [
        run.parent.relative_to(folder).as_posix()
        for where in in_studies
        for run in sorted(folder.glob(f"{where}/config.json"))
    ]
    if within:
        return f"holds runs ({', '.join(within[:3])}) and is none: give the folder of one."
    return f"holds no config.json: {wanted}"


def _misfits(values: dict[str, Any]) -> list[str]:
    """Name the fields of `EncoderConfig` that JSON values lack, or have in another type."""

    def are(types: tuple[type, ...], name: str, count: Any) -> bool:
        value = values.get(name)
        if not isinstance(value, list) or len(value) != count:
            return False
        return all(type(number) in types for number in value)

    counts = ("patch_size", "in_chans", "embed_dim", "depth", "num_heads")
    right = {name: type(values.get(name)) is int and values[name] > 0 for name in counts}
    right["image_size"] = are((int,), "image_size", 2)
    for name in ("mean", "std"):
        right[name] = are((int, float), name, values.get("in_chans"))
    for name in ("resize", "color"):
        right[name] = isinstance(values.get(name), str)
    window = values.get("window", 0)
    right["window"] = window is None or isinstance(window, str) or are((int, float), "window", 2)
    spacing = values.get("spacing")  # of earlier versions, none
    right["spacing"] = spacing is None or (type(spacing) in (int, float) and spacing > 0)
    return [name for name in EncoderConfig.__dataclass_fields__ if not right[name]]
