"""Weights to files and back: our own runs, and checkpoints of MAE's release, timm, transformers."""

from __future__ import annotations

import json
import math
import pickle
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
import yaml
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

from glcm_mae import __version__
from glcm_mae.errors import UserError
from glcm_mae.files import write_atomically

from .beside import told_beside
from .classifier import Classifier
from .config import EncoderConfig, read_config
from .mae import MaskedAutoencoder
from .names import from_transformers
from .vit import Block, Encoder

_ENCODER = "encoder.safetensors"

# What stands behind an encoder's tokens, which are the same without it. Anything else would not be.
_BEHIND = (
    *("head", "fc_norm", "classifier", "pooler"),
    *("decoder", "mask_token", "embeddings.mask_token"),
)


def save_encoder(folder: str | Path, encoder: Encoder, config: EncoderConfig) -> None:
    """Write ``encoder.safetensors`` and ``config.json`` into a folder.

    Parameters
    ----------
    folder : str or Path
        Where to.
    encoder : Encoder
        Its weights are written under the key names of the MAE and timm ViTs.
    config : EncoderConfig
        Its shape and input.

    Raises
    ------
    UserError
        If the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> config = EncoderConfig((32, 32), 8, 1, 64, 2, 4, (0.5,), (0.25,), "none", "gray", None)
    >>> encoder, folder = config.build(), Path(tempfile.mkdtemp())
    >>> save_encoder(folder, encoder, config)
    >>> again, same = load_encoder(folder)
    >>> same == config, torch.equal(again.cls_token, encoder.cls_token)
    (True, True)
    """
    folder = Path(folder)
    write_tensors(folder / _ENCODER, encoder.state_dict())
    description = {"format": "glcm-mae encoder", "version": __version__, **asdict(config)}
    write_atomically(folder / "config.json", json.dumps(description, indent=2) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file.
    tensors : mapping of str to Tensor
        What to write.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    write_atomically(path, packed(tensors))


def packed(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Pack tensors as the content of a safetensors file.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        On any device.
    metadata : dict, optional
        What the file's header tells beside.

    Returns
    -------
    bytes
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(plain, metadata)


def load_encoder(folder: str | Path, drop_path: float = 0.0) -> tuple[Encoder, EncoderConfig]:
    """Build the encoder of a pre-training run and fill in its weights.

    Parameters
    ----------
    folder : str or Path
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
    try:
        encoder = config.build(drop_path)
    except ValueError as error:
        raise UserError(f"{folder} describes no encoder that can be built: {error}") from error
    fill_weights(encoder, folder)
    return encoder, config


def fill_weights(encoder: Encoder, path: str | Path) -> None:
    """Fill an encoder with the weights of a run, of an official MAE, of timm or of transformers.

    Positions are interpolated where the grids differ (a run tells its own, as does the config.json
    that transformers and timm put beside a file; else they are taken for a square's) and are not
    trained, as ours are not. The patch projection is summed over channels where the checkpoint is
    RGB and the encoder gray. A checkpoint without the last norm (as MAE's fine-tuned ones) leaves
    it as it is. No code in the file is executed.

    Parameters
    ----------
    encoder : Encoder
        Changed in place.
    path : str or Path
        A run folder or its encoder.safetensors, another .safetensors, or a .pth file.

    Raises
    ------
    UserError
        If the file is missing, broken, or of another shape or architecture, or its run, or the
        config.json that transformers and timm put beside it, tells another number of heads.
    """
    path = Path(path)
    run = run_of(path)
    if run is None:
        told = _shape_beside(path)
    else:
        config = read_config(run)
        told = _Told(config.grid, config.num_heads)
    grid, heads = told.grid, told.heads
    if heads is not None and _heads(encoder.blocks) - {heads}:  # which no shape tells
        raise UserError(f"{path} was trained with {heads} heads: set model.num_heads to it.")
    if told.activation != "gelu":
        raise UserError(
            f"{path} is of a ViT with the activation {told.activation}, by the config.json beside "
            "it, and ours has gelu: choose another checkpoint."
        )
    path = path if run is None else run / _ENCODER
    tensors = _read_tensors(path)
    own = encoder.state_dict()
    found = {name: tensors[name] for name in own if name in tensors}
    missing = [name for name in own if name not in found and not name.startswith("norm.")]
    if not found:
        raise UserError(
            f"{path} has no weight of a ViT's names (but {next(iter(tensors), 'none at all')}): "
            "save the state dict of the ViT alone."
        )
    if missing:
        raise UserError(
            f"{path} has no weights {missing[0]} ({len(missing)} missing): choose the model.size "
            "and model.depth that it was trained with, or the checkpoint of a plain ViT."
        )
    beyond = [name for name in tensors if name not in own and not name.startswith(_BEHIND)]
    if beyond:
        raise UserError(
            f"{path} has weights {beyond[0]} ({len(beyond)} too many): choose the model.size and "
            "model.depth that it was trained with, or the checkpoint of a plain ViT."
        )
    places = found["pos_embed"].shape[1] - 1
    side = math.isqrt(max(places, 0))
    if grid is None or (run is None and math.prod(grid) != places):
        grid = side, side
    if math.prod(grid) != places:
        raise UserError(
            f"{path} has positions of {places} patches, no square grid: give the run folder, whose "
            "config.json tells the grid."
        )
    found["pos_embed"] = _fit_positions(found["pos_embed"], grid, encoder.grid)
    found["patch_embed.proj.weight"] = _fit_channels(
        found["patch_embed.proj.weight"], own["patch_embed.proj.weight"].shape[1]
    )
    for name, tensor in found.items():
        if tensor.shape != own[name].shape:
            raise UserError(
                f"{path}: {name} is {tuple(tensor.shape)}, the model's {tuple(own[name].shape)}: "
                "choose the model.size, model.patch_size and data.color that it was trained with."
            )
    encoder.load_state_dict(found, strict=False)


def fill_decoder(mae: MaskedAutoencoder, path: str | Path) -> str | None:
    """Fill the decoder with that of a run or of a checkpoint of an MAE, if there is one.

    Its positions are fixed and stay those of the images at hand. Where it predicts RGB and the
    images are gray, a pixel's three predictions are averaged.

    Parameters
    ----------
    mae : MaskedAutoencoder
        Changed in place, if at all.
    path : str or Path
        As for `fill_weights`, which comes first.

    Returns
    -------
    str or None
        Why the decoder stays as it is; None if it has been filled.

    Raises
    ------
    UserError
        If a file is broken.
    """
    path = Path(path)
    run = run_of(path)
    file = path if run is None else run / "decoder.safetensors"
    tensors = _read_tensors(file) if file.is_file() else {}
    found = {name.removeprefix("mae."): tensor for name, tensor in tensors.items()}
    found = {name: found[name] for name in found if name.startswith(("decoder_", "mask_token"))}
    own = {name: t for name, t in mae.state_dict().items() if not name.startswith("encoder.")}
    found["decoder_pos_embed"] = own["decoder_pos_embed"]
    if len(found) <= 2:  # others have mask tokens, too
        return f"{path} holds no decoder"
    strays = sorted(found.keys() ^ own.keys())
    if strays:
        return (
            f"{path} has a decoder of another form ({strays[0]} is only in one of the two): see "
            "model.decoder_depth"
        )
    in_chans = mae.encoder.patch_embed.proj.in_channels
    for name in ("decoder_pred.weight", "decoder_pred.bias"):
        found[name] = _fit_pixels(found[name], len(own[name]), in_chans)
    for name, tensor in found.items():
        if tensor.shape != own[name].shape:
            return (
                f"{name} of {path} is {tuple(tensor.shape)}, and the model's "
                f"{tuple(own[name].shape)}: see model.decoder_embed_dim"
            )
    heads = _shape_beside(path).decoder_heads if run is None else _decoder_heads(run)
    if heads is not None and _heads(mae.decoder_blocks) - {heads}:
        return f"the decoder of {path} has {heads} heads: see model.decoder_num_heads"
    mae.load_state_dict(found, strict=False)
    return None


def fill_head(classifier: Classifier, folder: str | Path) -> None:
    """Fill in what fine-tuning has put on top of the encoder.

    Parameters
    ----------
    classifier : Classifier
        Changed in place; its encoder is left as it is.
    folder : str or Path
        A finished fine-tuning.

    Raises
    ------
    UserError
        If the folder holds no head, or one of another shape.
    """
    file = Path(folder) / "head.safetensors"
    head = _read_tensors(file)
    encoder = {
        f"encoder.{name}": tensor for name, tensor in classifier.encoder.state_dict().items()
    }
    try:
        classifier.load_state_dict(encoder | head)
    except RuntimeError as error:
        raise UserError(
            f"{file} is not of this encoder and these classes: copy it anew."
        ) from error


def run_of(weights: str | Path) -> Path | None:
    """Tell of which run folder weights are, themselves given or their file; None if of none."""
    weights = Path(weights)
    if weights.is_dir():
        return weights
    is_ours = weights.name == _ENCODER and (weights.parent / "config.json").is_file()
    return weights.parent if is_ours else None


def _heads(blocks: nn.ModuleList) -> set[int]:
    return {cast(Block, block).attn.num_heads for block in blocks}


class _Told(NamedTuple):
    """What stands beside weights and no shape of theirs tells."""

    grid: tuple[int, int] | None = None
    heads: int | None = None
    decoder_heads: int | None = None
    activation: str = "gelu"


def _shape_beside(path: Path) -> _Told:
    """Read it from the config.json of a folder for transformers or timm."""
    told = told_beside(path)
    shape = told.get("model_args", told)
    if not isinstance(shape, dict):  # of something else
        return _Told()
    heads = shape.get("num_attention_heads", shape.get("num_heads"))
    size: Any = shape.get("image_size", shape.get("img_size"))
    patch: Any = shape.get("patch_size")
    sides = size if isinstance(size, list) else [size, size]
    is_told = len(sides) == 2 and all(isinstance(n, int) and n > 0 for n in (*sides, patch))
    grid = (sides[0] // patch, sides[1] // patch) if is_told else None
    of_decoder = shape.get("decoder_num_attention_heads")
    heads, of_decoder = (n if isinstance(n, int) else None for n in (heads, of_decoder))
    return _Told(grid, heads, of_decoder, str(shape.get("hidden_act", "gelu")))


def _decoder_heads(run: Path) -> int:
    settings = run / "settings.yaml"
    try:
        written = yaml.safe_load(settings.read_text(encoding="utf-8"))
        return int(written["model"]["decoder_num_heads"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"{settings} cannot be read ({error}): copy it anew.") from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"{path} does not exist: give a run folder or a checkpoint file.")
    try:
        if path.suffix == ".safetensors":
            return from_transformers(load_file(path))
        # Official MAE checkpoints carry their argparse settings; nothing else is allowed.
        with torch.serialization.safe_globals([Namespace]):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds more than tensors and is not opened: save its state dict alone."
        ) from error
    except Exception as error:  # of a broken file the readers raise whatever they stumble on
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise UserError(f"{path} cannot be read as weights ({reason}): copy it anew.") from error
    state = content
    for wrapper in ("model", "state_dict"):  # of MAE's release, of Lightning and MoCo
        state = state.get(wrapper, state) if isinstance(state, dict) else None
    if not isinstance(state, dict) or not state:
        raise UserError(f"{path} holds no state dict: save the names with the tensors.")
    tensors = {
        str(name).removeprefix("module."): tensor  # which distributed training puts before names
        for name, tensor in state.items()
        if isinstance(tensor, Tensor)
    }
    return from_transformers(tensors)


def _fit_positions(positions: Tensor, before: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Interpolate position embeddings (1, 1 + N, D) from one grid to another."""
    if before == grid:
        return positions
    token, patches = positions[:, :1].float(), positions[:, 1:].float()
    square = patches.unflatten(1, before).permute(0, 3, 1, 2)
    fitted = F.interpolate(square, grid, mode="bicubic", align_corners=False)
    return torch.cat([token, fitted.flatten(2).transpose(1, 2)], dim=1)


def _fit_channels(projection: Tensor, in_chans: int) -> Tensor:
    """Sum an RGB projection (D, 3, p, p) over its channels for gray images."""
    if in_chans == 1 and projection.shape[1] == 3:
        return projection.sum(dim=1, keepdim=True)
    return projection


def _fit_pixels(prediction: Tensor, n_pixels: int, in_chans: int) -> Tensor:
    """Average a prediction of RGB pixels (p * p * 3, ...) over its channels for gray images."""
    if in_chans == 1 and len(prediction) == 3 * n_pixels:
        return prediction.unflatten(0, (n_pixels, 3)).mean(dim=1)
    return prediction
