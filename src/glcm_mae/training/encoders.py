"""From settings to an encoder, and whether it fits the images of a stage."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from glcm_mae.data.pixels import Pixels
from glcm_mae.errors import UserError
from glcm_mae.models import (
    SIZES,
    Encoder,
    EncoderConfig,
    fill_weights,
    load_encoder,
    normalization_beside,
    read_config,
    run_of,
)
from glcm_mae.settings import DataSettings, ModelSettings, height_and_width

from .inputs import Images, batches

_LICENCE_NOTE = (
    "The encoder starts from a checkpoint and not from a run: if it is another project's, its "
    "licence holds for the result, too (the official MAE weights are CC BY-NC 4.0)."
)


def encoder_config(
    model: ModelSettings, data: DataSettings, in_chans: int, mean: Tensor, std: Tensor
) -> EncoderConfig:
    """Describe the encoder that the settings ask for.

    Parameters
    ----------
    model : ModelSettings
        Its shape.
    data : DataSettings
        Its input.
    in_chans : int
        Channels of the images.
    mean, std : Tensor, (C,)
        Normalisation.

    Returns
    -------
    EncoderConfig
    """
    return EncoderConfig(
        image_size=height_and_width(data.image_size),
        in_chans=in_chans,
        **network_shape(model),
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        resize=data.resize,
        color=data.color,
        window=_window(data),
        spacing=data.spacing,
    )


def network_shape(model: ModelSettings) -> dict[str, int]:
    """Say of which shape the network is that the settings ask for.

    Parameters
    ----------
    model : ModelSettings
        A named size, and what is to be other than it.

    Returns
    -------
    dict
        ``patch_size``, ``embed_dim``, ``depth`` and ``num_heads``, as `EncoderConfig` has them.

    Examples
    --------
    >>> network_shape(ModelSettings(size="vit-ti", depth=4))
    {'patch_size': 16, 'embed_dim': 192, 'depth': 4, 'num_heads': 3}
    """
    own = model.embed_dim, model.depth, model.num_heads
    width, depth, heads = (
        b if a is None else a for a, b in zip(own, SIZES[model.size], strict=True)
    )
    shape = {"embed_dim": width, "depth": depth, "num_heads": heads}
    return {"patch_size": model.patch_size, **shape}


def _window(data: DataSettings) -> tuple[float, float] | str | None:
    """Read a window's ends, which YAML may bring as a list."""
    if data.window is None or isinstance(data.window, str):
        return data.window
    low, high = data.window
    return low, high


def build_encoder(config: EncoderConfig, drop_path: float = 0.0) -> Encoder:
    """Build an encoder with random weights; its complaints are the user's to mend."""
    try:
        return config.build(drop_path)
    except ValueError as error:
        raise UserError(str(error)) from error


def moments(pixels: Pixels, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel over some images, rows of (N, C, H, W): (C,) twice."""
    # Image by image, added up in float64: a float32 sum over a large set loses digits.
    count = len(rows) * pixels.shape[2] * pixels.shape[3]
    sums, squares = [], []
    for batch in batches(pixels, rows):
        sums.append(batch.sum(dim=(2, 3)))
        squares.append(batch.square().sum(dim=(2, 3)))
    mean = torch.cat(sums).double().sum(dim=0) / count
    square = torch.cat(squares).double().sum(dim=0) / count
    deviation = (square - mean.square()).clamp_min(0).sqrt().clamp_min(1e-3)
    return mean.float(), deviation.float()


def note_licence(weights: str | None) -> None:
    """Say of a checkpoint that its licence goes with it; of a run, which is one's own, not."""
    if weights is not None and run_of(Path(weights)) is None:
        print(_LICENCE_NOTE, file=sys.stderr)


def check_weights(weights: str, model: ModelSettings, data: DataSettings) -> None:
    """Refuse, before any image is read, weights that do not fit the encoder of the settings.

    Parameters
    ----------
    weights : str
        A run folder, or a checkpoint file (see `fill_weights`).
    model, data : ModelSettings, DataSettings
        The encoder's shape and input.

    Raises
    ------
    UserError
        If there are none, or of another shape. (Whether gray weights meet RGB images, these tell.)
    """
    config = encoder_config(model, data, 1, torch.zeros(1), torch.ones(1))
    fill_weights(build_encoder(config), Path(weights))


def check_encoder(weights: str | None, model: ModelSettings, data: DataSettings) -> None:
    """Refuse, before any image is read, an encoder that cannot take what will be read.

    Parameters
    ----------
    weights : str, optional
        The run folder of a pre-training, or a checkpoint file.
    model : ModelSettings
        The encoder's shape where no run folder tells it.
    data : DataSettings
        How images are read.

    Raises
    ------
    UserError
        If there is no encoder, its input was read by other settings, or the shape is none.
    """
    if weights is None:
        one_block = replace(model, depth=1)
        build_encoder(encoder_config(one_block, data, 1, torch.zeros(1), torch.ones(1)))
    elif Path(weights).is_dir():
        check_run(weights, data)
    else:
        check_weights(weights, model, data)
        _tell_other_reading(weights, data)


def _tell_other_reading(weights: str, data: DataSettings) -> None:
    """Say on stderr where images are not read as those of the run whose file is taken alone."""
    run = run_of(Path(weights))
    if run is None:
        return
    for name, (before, now) in differing(read_config(run), data).items():
        print(
            f"{weights} was pre-trained with data.{name} {before}, not {now}: of the file alone "
            f"the weights are taken as they are, of {run} this would be refused.",
            file=sys.stderr,
        )


def check_run(folder: str, data: DataSettings) -> None:
    """Refuse, before any image is read, a run whose images were read by other settings.

    Parameters
    ----------
    folder : str
        The run folder of a pre-training.
    data : DataSettings
        How images are read.

    Raises
    ------
    UserError
        If there is no encoder, or a setting of the input differs.
    """
    _check_reading(read_config(Path(folder)), data, folder)


def check_fits(config: EncoderConfig, data: DataSettings, images: Images, folder: str) -> None:
    """Refuse images that are not read as the encoder's were.

    Parameters
    ----------
    config : EncoderConfig
        The encoder's.
    data : DataSettings
        How the images were read.
    images : Images
        What was read.
    folder : str
        The encoder's, for the error.

    Raises
    ------
    UserError
        If a setting of the input differs from pre-training.
    """
    _check_reading(config, data, folder)
    if config.in_chans != images.pixels.shape[1]:
        color = "gray" if config.in_chans == 1 else "rgb"
        raise UserError(
            f"{folder} was pre-trained on images of {config.in_chans} channel(s), these have "
            f"{images.pixels.shape[1]}: set data.color to {color}."
        )


def _check_reading(config: EncoderConfig, data: DataSettings, folder: str) -> None:
    for name, (before, now) in differing(config, data).items():
        raise UserError(
            f"{folder} was pre-trained with data.{name} {before}, not {now}: set it as in "
            "pre-training."
        )


def differing(config: EncoderConfig, data: DataSettings) -> dict[str, tuple[object, object]]:
    """List the settings of reading that are not as an encoder's: there, and here.

    Parameters
    ----------
    config : EncoderConfig
        The encoder's.
    data : DataSettings
        How images are read here.

    Returns
    -------
    dict
        Of each name, both values.
    """
    wanted: dict[str, tuple[object, object]] = {
        "image_size": (config.image_size, height_and_width(data.image_size)),
        "window": (config.window, _window(data)),
        "spacing": (config.spacing, data.spacing),
    }
    # Where "none" reads an image at all, every other way leaves it as it is, too. As for color,
    # the number of channels tells all: gray and rgb differ in it, and auto is one of the two.
    if "none" not in (config.resize, data.resize):
        wanted["resize"] = (config.resize, data.resize)
    return {name: (before, now) for name, (before, now) in wanted.items() if before != now}


def encoder_or_random(
    weights: str | None,
    model: ModelSettings,
    data: DataSettings,
    images: Images,
    train: np.ndarray,
    drop_path: float = 0.0,
) -> tuple[Encoder, EncoderConfig]:
    """Load the encoder of a run; or build one, of the weights in a file or of random ones.

    Parameters
    ----------
    weights : str, optional
        The run folder of a pre-training, or a checkpoint file (see `fill_weights`).
    model, data : ModelSettings, DataSettings
        The encoder's shape and input where no run folder tells them.
    images : Images
        The stage's images.
    train : ndarray of int
        Positions of those from which it takes its normalisation where no file beside the weights
        tells it.
    drop_path : float
        See `Encoder`.

    Returns
    -------
    Encoder, EncoderConfig

    Raises
    ------
    UserError
        If the encoder cannot be read, or does not fit the images.
    """
    if weights is not None and Path(weights).is_dir():
        check_fits(read_config(Path(weights)), data, images, weights)
        return load_encoder(Path(weights), drop_path)
    config = encoder_config(model, data, images.pixels.shape[1], *moments(images.pixels, train))
    if weights is not None:
        config = _normalized_as(weights, config)
    encoder = build_encoder(config, drop_path)
    if weights is not None:
        fill_weights(encoder, Path(weights))
    return encoder, config


def digest(encoder: Encoder) -> str:
    """Tell weights from others: a digest of all of them, by name.

    Parameters
    ----------
    encoder : Encoder
        On any device.

    Returns
    -------
    str
    """
    told = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        told.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return told.hexdigest()[:16]


def _normalized_as(weights: str, config: EncoderConfig) -> EncoderConfig:
    """Normalise images as for the weights' training, if it is known; say on stderr what is done."""
    told = normalization_beside(Path(weights))
    known = told is not None and len(told[0]) == config.in_chans
    if told is not None and known:
        config = replace(config, mean=told[0], std=told[1])
    mean, std = ([round(value, 4) for value in values] for values in (config.mean, config.std))
    unfit = "none is known" if told is None else f"the weights' are of {len(told[0])} channel(s)"
    source = "as beside the weights" if known else f"of the training images, for {unfit}"
    print(f"images are normalised by mean {mean} and deviation {std}, {source}", file=sys.stderr)
    return config
