"""From settings to tensors: the images of a stage."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from glcm_mae.data import LoadedImages, Manifest, Split, holdout, load_images, read_manifest
from glcm_mae.data.memory import Room, in_memory
from glcm_mae.data.packed import foreign, packed
from glcm_mae.data.pixels import Pixels, UnusableCache, pick
from glcm_mae.errors import UserError
from glcm_mae.settings import DataSettings, height_and_width

from .progress import Meter
from .read_once import read_once

_MARGIN = 0.1
_BATCH = 64
_NAMED = 20  # skipped images


@dataclass(frozen=True)
class Images:
    """The images of a stage.

    Parameters
    ----------
    pixels : Tensor or Picked, (N, C, H, W)
        In [0, 1].
    manifest : Manifest
        What they are, in the same order.
    hashes : list of str
        Fingerprint of each image's stored pixels.
    perceptual : list of str
        Fingerprint that copies of it share.
    kept : ndarray of int, optional
        Their positions among those that were asked for, where some were skipped.
    skipped : int
        How many were.
    lost_color : int
        How many have colours that were not read.
    """

    pixels: Pixels
    manifest: Manifest
    hashes: list[str]
    perceptual: list[str]
    kept: np.ndarray | None = None
    skipped: int = 0
    lost_color: int = 0

    def __len__(self) -> int:
        return len(self.pixels)

    @cached_property
    def extremes(self) -> tuple[Tensor, Tensor]:
        """Least and greatest value of each image's channels: (N, C) twice."""
        values = (batch.flatten(2) for batch in self.pixels.split(_BATCH))
        least, greatest = zip(*((of.amin(dim=2), of.amax(dim=2)) for of in values), strict=True)
        return torch.cat(least), torch.cat(greatest)

    def of(self, manifest: Manifest) -> Images:
        """Pick those that a part of the manifest lists."""
        wanted = {record.name for record in manifest.records}
        records = enumerate(self.manifest.records)
        picked = np.array([n for n, record in records if record.name in wanted], dtype=np.int64)
        if len(picked) == len(self):
            return self
        return replace(
            self,
            pixels=pick(self.pixels, picked),
            manifest=self.manifest.subset(picked),
            hashes=[self.hashes[i] for i in picked],
            perceptual=[self.perceptual[i] for i in picked],
            kept=picked if self.kept is None else self.kept[picked],
        )


def read_images(
    data: DataSettings,
    manifest: Manifest | None = None,
    *,
    quiet: bool = False,
    if_dark: str = "set data.window to their range",
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
    if_dark : str
        What to do about images that use a small part of what their files can hold.

    Returns
    -------
    Images

    Raises
    ------
    UserError
        If they cannot be read as the settings say.
    """
    manifest = manifest or manifest_of(data)
    loaded = _load("reading images", data, manifest, quiet=quiet)
    if not quiet:
        _tell_skipped(loaded.skipped, len(manifest))
    images = Images(
        loaded.pixels,
        manifest.subset(loaded.kept),
        loaded.hashes,
        loaded.perceptual,
        loaded.kept if loaded.skipped else None,
        len(loaded.skipped),
        int(loaded.lost_color.sum()),
    )
    if not isinstance(data.window, str) and not quiet:
        _tell_flat(images, data.window, if_dark)
    return images


def _tell_skipped(skipped: Sequence[tuple[str, str]], of: int) -> None:
    """Name skipped images on stderr, of very many the first."""
    for name, reason in skipped[:_NAMED]:
        print(f"skipped {name}: {reason}", file=sys.stderr)
    if len(skipped) > _NAMED:
        print(
            f"skipped {len(skipped)} of {of} images, of which the first {_NAMED} are named above; "
            "glcm-mae data check --out names all in its audit.json",
            file=sys.stderr,
        )


def _tell_flat(
    images: Images, window: tuple[float, float] | list[float] | None, if_dark: str
) -> None:
    """Say which images are nearly black or white, as of 8 bits in a window, or a file, of 12."""
    least, greatest = images.extremes
    black = (greatest < _MARGIN).all(dim=1), "above", _MARGIN, "black"
    white = (least > 1 - _MARGIN).all(dim=1), "below", 1 - _MARGIN, "white"
    for is_flat, beyond, share, shade in (black, white):
        flat = is_flat.nonzero().flatten().tolist()
        if not flat:
            continue
        if window is None:
            limit = f"{share:.0%} of what their files can hold"
            advice = f": {if_dark}"
        else:
            low, high = window
            limit = f"{low + share * (high - low):g}, {share:.0%} of data.window"
            advice = ""
        first = images.manifest.records[flat[0]].name
        print(
            f"{len(flat)} of {len(images)} images have no value {beyond} {limit} (such as "
            f"{first}): they will be nearly {shade}, and if that goes with the class, a "
            f"shortcut{advice}.",
            file=sys.stderr,
        )


def batches(pixels: Pixels, rows: np.ndarray) -> Iterator[Tensor]:
    """Take some of the images, 64 at a time: all at once they would lie in memory twice.

    Parameters
    ----------
    pixels : Tensor or Picked, (N, C, H, W)
        All images.
    rows : ndarray of int
        Positions of those that are wanted.

    Yields
    ------
    Tensor, (at most 64, C, H, W)

    Examples
    --------
    >>> [len(batch) for batch in batches(torch.rand(90, 1, 2, 2), np.arange(70))]
    [64, 6]
    """
    for some in torch.from_numpy(rows).split(_BATCH):
        yield pixels[some]


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
    keep = keep or data.cache is not None

    def load(room: Room = in_memory) -> LoadedImages:
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
                room=room,
                spacing=data.spacing,
            )

    check_cache(data.cache, data.images)
    if data.cache is not None:
        return _from_cache(Path(data.cache), data, manifest, load)
    return read_once(data, manifest, load) if keep else load()


def check_cache(cache: str | None, images: str, out: str | None = None) -> None:
    """Refuse a cache that cannot be one, before anything is written there.

    Parameters
    ----------
    cache : str, optional
        The folder; without one there is nothing to refuse.
    images : str
        The images that it shall keep: a folder, or a table of them.
    out : str, optional
        Where results will lie.

    Raises
    ------
    UnusableCache
        It has no name, lies in the folder of images, whose folders are classes, or holds, or would
        hold, anything else than packs, though it may be removed at any time.

    Examples
    --------
    >>> check_cache("set/cache", "set.csv")
    """
    if cache is None:
        return
    if not cache:
        raise UnusableCache("the cache has no name: give a folder, or leave it out.")
    among = Path(images)
    if among.is_dir() and Path(cache).resolve().is_relative_to(among.resolve()):
        raise UnusableCache(
            f"the cache {cache} lies in {images}, where a folder is a class: give one beside it."
        )
    if out is not None and Path(out).resolve().is_relative_to(Path(cache).resolve()):
        raise UnusableCache(
            f"out is {out}, in the cache {cache}, which is to be removed without a thought: choose "
            "another folder for one of them."
        )
    other = foreign(Path(cache))
    if other is not None:
        raise UnusableCache(
            f"the cache {cache} holds other things, such as {other.name}, and is to be removed "
            "without a thought: give a folder of its own."
        )


def _from_cache(
    folder: Path, data: DataSettings, manifest: Manifest, load: Callable[[Room], LoadedImages]
) -> LoadedImages:
    way = {"image_size": height_and_width(data.image_size)} | {
        name: getattr(data, name)
        for name in ("resize", "spacing", "color", "window", "invert_monochrome1", "plane")
    }
    return packed(folder, way, manifest.records, load, may_skip=data.on_error == "skip")


def manifest_of(data: DataSettings, *, may_cross: bool = False) -> Manifest:
    """Read the manifest of a stage.

    Parameters
    ----------
    data : DataSettings
        Which images. Where unreadable ones are skipped, files that a CSV names may be missing.
    may_cross : bool
        Whether patients on two sides of a given split are let through.

    Returns
    -------
    Manifest
    """
    return read_manifest(
        data.images,
        data.patient_regex,
        data.plane,
        may_cross=may_cross,
        may_lack=data.on_error == "skip",
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
    manifest = manifest_of(data, may_cross=may_cross)
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


def asked_split(data: DataSettings, manifest: Manifest) -> Split | None:
    """Split images, labelled or not, where the settings or their manifest ask for it.

    Parameters
    ----------
    data : DataSettings
        Says which fold is held out, if any.
    manifest : Manifest
        The images.

    Returns
    -------
    Split or None
        None where no fold is named and no split given.

    Raises
    ------
    UserError
        As `holdout` does.
    """
    if data.fold is None and not any(record.split for record in manifest.records):
        return None
    return split_of(data, manifest)


def split_of(data: DataSettings, manifest: Manifest) -> Split:
    """Split images as their manifest says, or else hold a fold out.

    Parameters
    ----------
    data : DataSettings
        Says which fold. Default: the first.
    manifest : Manifest
        The images.

    Returns
    -------
    Split

    Raises
    ------
    UserError
        As `holdout` does, or if another fold than the first is asked for where the split is given.
    """
    if data.fold and any(record.split == "val" for record in manifest.records):
        raise UserError(
            f"{data.images} gives the split, which data.fold {data.fold} does not change: leave "
            "data.fold out, or give a manifest without the column split."
        )
    return holdout(manifest, data.folds, data.fold or 0, data.split_seed)


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


def tell_lacking_classes(manifest: Manifest, parts: Sequence[Split]) -> None:
    """Say on stderr which classes a validation or test part lacks.

    Parameters
    ----------
    manifest : Manifest
        Labels.
    parts : sequence of Split
        Of its images: one, or a fold each. A side without any image says nothing.
    """
    for side, costs in (
        ("val", "what is chosen there, an epoch or a threshold, is chosen without it"),
        ("test", "what is measured there says nothing of it"),
    ):
        found = [set(manifest.labels[getattr(part, side)].tolist()) for part in parts]
        for number, name in enumerate(manifest.classes):
            lacking = sum(number not in labels for labels in found if labels)
            if lacking:
                several = f"{lacking} of {len(parts)} {side} parts"
                where = f"the {side} part" if len(parts) == 1 else several
                print(f"no image of class {name!r} in {where}: {costs}", file=sys.stderr)


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
