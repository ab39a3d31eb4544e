"""From settings to tensors: the images of a stage, and the encoder that fits them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from glcm_mae.data import LoadedImages, Manifest, Split, load_images, read_manifest
from glcm_mae.errors import UserError
from glcm_mae.models import (
    SIZES,
    Encoder,
    EncoderConfig,
    fill_weights,
    load_encoder,
    read_config,
    run_of,
)
from glcm_mae.settings import DataSettings, ModelSettings, height_and_width

from .progress import Meter

_BATCH = 64
_DARK = 0.1

_LICENCE_NOTE = (
    "The encoder starts from weights of another project: their licence holds for the result, too "
    "(the official MAE weights are CC BY-NC 4.0)."
)


@dataclass(frozen=True)
class Images:
    """The images of a stage in memory.

    Parameters
    ----------
    pixels : Tensor, (N, C, H, W)
        In [0, 1].
    manifest : Manifest
        What they are, in the same order.
    hashes : list of str
        Fingerprint of each image's stored pixels.
    kept : ndarray of int, optional
        Their positions among those that were asked for, where some were skipped.
    skipped : int
        How many were.
    """

    pixels: Tensor
    manifest: Manifest
    hashes: list[str]
    kept: np.ndarray | None = None
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.pixels)


def read_images(
    data: DataSettings, manifest: Manifest | None = None, *, quiet: bool = False
) -> Images:
    """Read a stage's images as the settings say.

    Parameters
    ----------
    data : DataSettings
        Which images, and how they are read.
    manifest : Manifest, optional
        A part of the images. Default: all that the settings name.
    quiet : bool
        Show no progress.

    Returns
    -------
    Images

    Raises
    ------
    UserError
        If they cannot be read as the settings say.
    """
    manifest = manifest or read_manifest(data.images, data.patient_regex, data.plane)
    loaded = _load("reading images", data, manifest, quiet=quiet)
    for name, reason in () if quiet else loaded.skipped:
        print(f"skipped {name}: {reason}", file=sys.stderr)
    kept = loaded.kept if loaded.skipped else None
    if isinstance(data.window, tuple | list) and not quiet:
        _tell_dark(loaded.pixels, manifest.subset(loaded.kept), data.window)
    return Images(
        loaded.pixels, manifest.subset(loaded.kept), loaded.hashes, kept, len(loaded.skipped)
    )


def _tell_dark(
    pixels: Tensor, manifest: Manifest, window: tuple[float, float] | list[float]
) -> None:
    """Say which images a window leaves nearly black, as one of 12 bits does to images of 8."""
    dark = (pixels.flatten(1).amax(dim=1) < _DARK).nonzero().flatten().tolist()
    if dark:
        low, high = window
        tenth = low + _DARK * (high - low)
        print(
            f"{len(dark)} of {len(pixels)} images have no value above {tenth:g}, a tenth of "
            f"data.window (such as {manifest.records[dark[0]].name}): they will be nearly black, "
            "and if that goes with the class, a shortcut.",
            file=sys.stderr,
        )


def check_readable(data: DataSettings, manifest: Manifest) -> dict[str, str]:
    """Refuse images that `read_images` would refuse, and keep none of them.

    Parameters
    ----------
    data : DataSettings
        How they are read.
    manifest : Manifest
        Which images.

    Returns
    -------
    dict
        Of each image's name, the fingerprint of its stored pixels.

    Raises
    ------
    UserError
        If they cannot be read as the settings say.
    """
    loaded = _load("checking images", data, manifest, keep=False)
    names = (manifest.records[index].name for index in loaded.kept)
    return dict(zip(names, loaded.hashes, strict=True))


def _load(
    title: str, data: DataSettings, manifest: Manifest, *, quiet: bool = False, keep: bool = True
) -> LoadedImages:
    with Meter(title, len(manifest), enabled=not quiet) as meter:
        return load_images(
            manifest.records,
            height_and_width(data.image_size),
            data.color,
            data.resize,
            data.window,
            data.on_error,
            progress=lambda _: meter.advance(images=1),
            invert_monochrome1=data.invert_monochrome1,
            plane=data.plane,
            keep=keep,
        )


def labelled(data: DataSettings, *, may_cross: bool = False) -> Manifest:
    """Read the manifest of a stage that needs labels.

    Parameters
    ----------
    data : DataSettings
        Which images.
    may_cross : bool
        Whether patients on two sides of a given split are let through.

    Returns
    -------
    Manifest

    Raises
    ------
    UserError
        If an image has no label, or all have the same.
    """
    manifest = read_manifest(data.images, data.patient_regex, data.plane, may_cross)
    unlabelled = int((manifest.labels < 0).sum())
    if unlabelled:
        raise UserError(
            f"{data.images} has {unlabelled} of {len(manifest)} images without a label: give a "
            "folder per class, or a manifest whose column label is filled."
        )
    if len(manifest.classes) < 2:
        raise UserError(
            f"{data.images} has the class {manifest.classes[0]!r} alone: classification needs two."
        )
    return manifest


def check_classes(manifest: Manifest, train: np.ndarray, least: int = 1) -> None:
    """Refuse to learn a class that the training part lacks.

    Parameters
    ----------
    manifest : Manifest
        Labels and patients.
    train : ndarray of int
        Positions of the training part.
    least : int
        Patients that it must have of every class.

    Raises
    ------
    UserError
        Naming the class.
    """
    labels, patients = manifest.labels[train], manifest.patients[train]
    for number, name in enumerate(manifest.classes):
        found = len(np.unique(patients[labels == number]))
        if found < least:
            raise UserError(
                f"class {name!r} has {found} patient(s) in the training part and needs {least}: "
                "label more, move some there, or leave the class out of data.images."
            )


def check_sides(split: Split, names: Sequence[str]) -> None:
    """Refuse sides of a split of which skipping unreadable images has left nothing.

    Parameters
    ----------
    split : Split
        Of the images that are left.
    names : sequence of str
        The sides: train, val, test.

    Raises
    ------
    UserError
        Naming the side.
    """
    for name in names:
        if not len(getattr(split, name)):
            raise UserError(
                f"no image of the {name} part can be read, all are skipped: export them again, or "
                "move others there."
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
    own = model.embed_dim, model.depth, model.num_heads
    of_size = SIZES[model.size]
    width, depth, heads = (b if a is None else a for a, b in zip(own, of_size, strict=True))
    return EncoderConfig(
        image_size=height_and_width(data.image_size),
        patch_size=model.patch_size,
        in_chans=in_chans,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        resize=data.resize,
        color=data.color,
        window=_window(data),
    )


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


def moments(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel over a set of images: (N, C, H, W) to (C,) twice."""
    # Image by image, added up in float64: a float32 sum over a large set loses digits. A batch at
    # a time: the squares of all would take as much memory as the images.
    count = pixels.shape[0] * pixels.shape[2] * pixels.shape[3]
    batches = pixels.split(_BATCH)
    sums = torch.cat([batch.sum(dim=(2, 3)) for batch in batches])
    squares = torch.cat([batch.square().sum(dim=(2, 3)) for batch in batches])
    mean = sums.double().sum(dim=0) / count
    square = squares.double().sum(dim=0) / count
    deviation = (square - mean.square()).clamp_min(0).sqrt().clamp_min(1e-3)
    return mean.float(), deviation.float()


def note_licence(weights: str | None) -> None:
    """Say, of another project's checkpoint, that its licence goes with it; of an own run's not."""
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
    wanted: dict[str, tuple[object, object]] = {
        "image_size": (config.image_size, height_and_width(data.image_size)),
        "window": (config.window, _window(data)),
    }
    # Where "none" reads an image at all, every other way leaves it as it is, too. As for color,
    # the number of channels tells all: gray and rgb differ in it, and auto is one of the two.
    if "none" not in (config.resize, data.resize):
        wanted["resize"] = (config.resize, data.resize)
    for name, (before, now) in wanted.items():
        if before != now:
            raise UserError(
                f"{folder} was pre-trained with data.{name} {before}, not {now}: set it as in "
                "pre-training."
            )


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
        Positions of those from which it then takes its normalisation.
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
    config = encoder_config(model, data, images.pixels.shape[1], *moments(images.pixels[train]))
    encoder = build_encoder(config, drop_path)
    if weights is not None:
        fill_weights(encoder, Path(weights))
    return encoder, config
