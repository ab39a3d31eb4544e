"""From settings to tensors: the images of a stage, the encoder, and who has seen what."""

from __future__ import annotations

import csv
import hashlib
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from glcm_mae.data import Manifest, Record, load_images, read_manifest
from glcm_mae.errors import UserError
from glcm_mae.files import write_atomically
from glcm_mae.models import SIZES, Encoder, EncoderConfig, load_encoder, read_config
from glcm_mae.settings import DataSettings, ModelSettings, height_and_width

from .progress import Meter


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
    """

    pixels: Tensor
    manifest: Manifest
    hashes: list[str]

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
    manifest = manifest or read_manifest(data.images, data.patient_regex)
    with Meter("reading images", len(manifest), enabled=not quiet) as meter:
        loaded = load_images(
            manifest.records,
            height_and_width(data.image_size),
            data.color,
            data.resize,
            data.window,
            data.on_error,
            progress=lambda _: meter.advance(images=1),
        )
    for path, reason in loaded.skipped:
        print(f"skipped {path}: {reason}", file=sys.stderr)
    return Images(loaded.pixels, manifest.subset(loaded.kept), loaded.hashes)


def labelled(data: DataSettings) -> Manifest:
    """Read the manifest of a stage that needs labels.

    Parameters
    ----------
    data : DataSettings
        Which images.

    Returns
    -------
    Manifest

    Raises
    ------
    UserError
        If an image has no label, or all have the same.
    """
    manifest = read_manifest(data.images, data.patient_regex)
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
    width, depth, heads = SIZES[model.size]
    return EncoderConfig(
        image_size=height_and_width(data.image_size),
        patch_size=model.patch_size,
        in_chans=in_chans,
        embed_dim=model.embed_dim or width,
        depth=model.depth or depth,
        num_heads=model.num_heads or heads,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        resize=data.resize,
        color=data.color,
        window=data.window,
    )


def build_encoder(config: EncoderConfig, drop_path: float = 0.0) -> Encoder:
    """Build an encoder with random weights; its complaints are the user's to mend."""
    try:
        return config.build(drop_path)
    except ValueError as error:
        raise UserError(str(error)) from error


def moments(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel over a set of images: (N, C, H, W) to (C,) twice."""
    # In float64 and image by image: a float32 sum over a large set loses digits.
    count = pixels.shape[0] * pixels.shape[2] * pixels.shape[3]
    mean = pixels.sum(dim=(2, 3)).double().sum(dim=0) / count
    square = pixels.square().sum(dim=(2, 3)).double().sum(dim=0) / count
    deviation = (square - mean.square()).clamp_min(0).sqrt().clamp_min(1e-3)
    return mean.float(), deviation.float()


def check_fits(config: EncoderConfig, data: DataSettings, images: Images, folder: str) -> None:
    """Refuse images that are not read as the encoder's were.

    Raises
    ------
    UserError
        If a setting of the input differs from pre-training.
    """
    wanted = {
        "image_size": (config.image_size, height_and_width(data.image_size)),
        "window": (config.window, data.window),
        "channels (data.color)": (config.in_chans, images.pixels.shape[1]),
    }
    for name, (before, now) in wanted.items():
        if before != now:
            raise UserError(
                f"{folder} was pre-trained with {name} {before}, these images have {now}: set the "
                "data settings as in pre-training."
            )


def encoder_or_random(
    folder: str | None,
    model: ModelSettings,
    data: DataSettings,
    images: Images,
    train: np.ndarray,
    drop_path: float = 0.0,
) -> tuple[Encoder, EncoderConfig]:
    """Load a pre-trained encoder, or build a random one where there is none.

    Parameters
    ----------
    folder : str, optional
        The run folder of a pre-training.
    model, data : ModelSettings, DataSettings
        The shape of the random one, and its input.
    images : Images
        The stage's images.
    train : ndarray of int
        Positions of those from which a random encoder takes its normalisation.
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
    if folder is None:
        config = encoder_config(model, data, images.pixels.shape[1], *moments(images.pixels[train]))
        return build_encoder(config, drop_path), config
    check_fits(read_config(Path(folder)), data, images, folder)
    return load_encoder(Path(folder), drop_path)


def write_seen(folder: Path, images: Images) -> None:
    """Write ``seen.csv``: fingerprints of the images and patients that a pre-training uses.

    No name of a file or a patient stands in it.

    Parameters
    ----------
    folder : Path
        The run's folder.
    images : Images
        What the run trains on.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("pixels", "patient"))
    known = images.manifest.has_patients
    for digest, record in zip(images.hashes, images.manifest.records, strict=True):
        writer.writerow((digest, _patient_digest(record) if known else ""))
    write_atomically(folder / "seen.csv", table.getvalue())


def refuse_seen(
    folder: str | None, images: Images, test: Sequence[int] | np.ndarray, *, allow: bool
) -> int:
    """Count the test images that pre-training has seen, themselves or another of the patient.

    Parameters
    ----------
    folder : str, optional
        The run folder of the pre-training.
    images : Images
        The stage's images.
    test : sequence of int
        Positions of those that are tested.
    allow : bool
        Count and go on instead of refusing.

    Returns
    -------
    int

    Raises
    ------
    UserError
        If there are any and `allow` is not set.
    """
    seen_file = Path(folder or "") / "seen.csv"
    if folder is None or not seen_file.exists():
        return 0
    with seen_file.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    pixels = {row["pixels"] for row in rows}
    patients = {row["patient"] for row in rows} - {""}
    records = images.manifest.records
    known = images.manifest.has_patients
    seen = [
        int(i)
        for i in test
        if images.hashes[i] in pixels or (known and _patient_digest(records[i]) in patients)
    ]
    if seen and not allow:
        raise UserError(
            f"{len(seen)} of {len(test)} test images, or other images of their patients, were "
            f"used in the pre-training of {folder} (such as {records[seen[0]].path}): test on the "
            "fold that it left out (the same data.fold in both stages), or set --allow_seen true."
        )
    return len(seen)


def _patient_digest(record: Record) -> str:
    return hashlib.sha256(record.patient.encode()).hexdigest()[:16]
