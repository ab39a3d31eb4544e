"""Reading and writing an encoder: safetensors, and a config.json that says how to use it."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import functional as F

from glcm_mae import __version__
from glcm_mae.errors import UserError
from glcm_mae.files import write_atomically

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
    window : (float, float), optional
        Stored values that became 0 and 1.

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
    window: tuple[float, float] | None

    def build(self, drop_path: float = 0.0) -> Encoder:
        """Make an encoder of this shape, with random weights."""
        return Encoder(
            self.image_size,
            self.patch_size,
            self.in_chans,
            self.embed_dim,
            self.depth,
            self.num_heads,
            drop_path,
        )


def save_encoder(folder: Path, encoder: Encoder, config: EncoderConfig) -> None:
    """Write ``encoder.safetensors`` and ``config.json`` into a folder.

    Parameters
    ----------
    folder : Path
        Where to.
    encoder : Encoder
        Its weights are written under the key names of the MAE and timm ViTs.
    config : EncoderConfig
        Its shape and input.

    Raises
    ------
    UserError
        If the folder cannot be written.
    """
    write_tensors(folder / "encoder.safetensors", encoder.state_dict())
    description = {"format": "glcm-mae encoder", "version": __version__, **asdict(config)}
    write_atomically(folder / "config.json", json.dumps(description, indent=2) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, whole or not at all.

    Parameters
    ----------
    path : Path
        The file.
    tensors : mapping of str to Tensor
        What to write.
    """
    write_atomically(
        path, save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    )


def read_config(folder: Path) -> EncoderConfig:
    """Read the config.json of a run folder.

    Parameters
    ----------
    folder : Path
        A finished pre-training run.

    Returns
    -------
    EncoderConfig

    Raises
    ------
    UserError
        If there is none, or it is not one of ours.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(
            f"{folder} holds no config.json: give the folder of a finished pretrain run."
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        known = {name: values[name] for name in EncoderConfig.__dataclass_fields__}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} does not describe an encoder ({error}): copy it anew.") from error
    tuples: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in known.items()
    }
    return EncoderConfig(**tuples)


def load_encoder(folder: Path, drop_path: float = 0.0) -> tuple[Encoder, EncoderConfig]:
    """Build the encoder of a pre-training run and fill in its weights.

    Parameters
    ----------
    folder : Path
        A finished pre-training run.
    drop_path : float
        See `Encoder`.

    Returns
    -------
    Encoder, EncoderConfig

    Raises
    ------
    UserError
        If the folder holds no encoder, or a broken one.
    """
    config = read_config(folder)
    encoder = config.build(drop_path)
    fill_weights(encoder, folder / "encoder.safetensors")
    return encoder, config


def fill_weights(encoder: Encoder, path: Path) -> None:
    """Fill an encoder with the weights of a run, of an official MAE or of a timm checkpoint.

    Positions are interpolated where the grids differ, and the patch projection is averaged over
    channels (times their number) where the checkpoint is RGB and the encoder gray. No code in the
    file is executed.

    Parameters
    ----------
    encoder : Encoder
        Changed in place.
    path : Path
        A run folder, a .safetensors or a .pth file.

    Raises
    ------
    UserError
        If the file is missing, broken, or of another shape.
    """
    if path.is_dir():
        path = path / "encoder.safetensors"
    tensors = _read_tensors(path)
    own = encoder.state_dict()
    found = {name: tensors[name] for name in own if name in tensors}
    missing = [name for name in own if name not in found and not name.startswith("norm.")]
    if missing:
        raise UserError(
            f"{path} has no weights {missing[0]} ({len(missing)} missing): "
            "choose the model.size and depth that it was trained with."
        )
    found["pos_embed"] = _fit_positions(found["pos_embed"], encoder.grid)
    found["patch_embed.proj.weight"] = _fit_channels(
        found["patch_embed.proj.weight"], own["patch_embed.proj.weight"].shape[1]
    )
    for name, tensor in found.items():
        if tensor.shape != own[name].shape:
            raise UserError(
                f"{path}: {name} is {tuple(tensor.shape)}, the model's {tuple(own[name].shape)}: "
                "choose the model.size and model.patch_size that it was trained with."
            )
    encoder.load_state_dict(found, strict=False)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"{path} does not exist: give a run folder or a checkpoint file.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Official MAE checkpoints carry their argparse settings; nothing else is allowed.
        with torch.serialization.safe_globals([Namespace]):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, SafetensorError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read as weights ({reason}): copy it anew.") from error
    except Exception as error:  # the unpickler's own error type is not public
        if type(error).__name__ != "UnpicklingError":
            raise
        raise UserError(
            f"{path} holds more than tensors and is not opened: save its state dict alone."
        ) from error
    return content.get("model", content)


def _fit_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Interpolate (1, 1 + N, D) position embeddings of a square grid to another grid."""
    places = positions.shape[1] - 1
    if places == grid[0] * grid[1]:
        return positions
    side = round(places**0.5)
    token, patches = positions[:, :1], positions[:, 1:]
    square = patches.unflatten(1, (side, -1)).permute(0, 3, 1, 2)
    fitted = F.interpolate(square, grid, mode="bicubic", align_corners=False)
    return torch.cat([token, fitted.flatten(2).transpose(1, 2)], dim=1)


def _fit_channels(projection: Tensor, in_chans: int) -> Tensor:
    """Sum an RGB projection (D, 3, p, p) over its channels for gray images."""
    if in_chans == 1 and projection.shape[1] == 3:
        return projection.sum(dim=1, keepdim=True)
    return projection
