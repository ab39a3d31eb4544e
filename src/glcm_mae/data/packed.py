"""Images kept in a file as they were read: read once by all stages, and never all in memory."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from glcm_mae.data.fitting import in_words
from glcm_mae.data.images import LoadedImages, none_readable
from glcm_mae.data.memory import Room, amount, needed
from glcm_mae.data.pixels import Picked, PixelFile, UnusableCache
from glcm_mae.data.readers import one_line
from glcm_mae.data.record import Record
from glcm_mae.files import csv_lines, write_atomically
from glcm_mae.locks import locked
from glcm_mae.provenance import tree_name

__all__ = ["file_states", "foreign", "packed"]

# NumPy's format, under a name that no scan of a folder takes for an image.
_PIXELS = "pixels.array"
_PACK = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")
_COLUMNS = ("image", "pixels", "perceptual", "lost_color", "unreadable")
# Another version of one of these may decode, or resize, to other values.
_LIBRARIES = (
    "torch", "numpy", "pillow", "tifffile", "imagecodecs", "pydicom", "pylibjpeg-openjpeg",
    "pyjpegls", "nibabel", "h5py",
)  # fmt: skip


class _Row(NamedTuple):
    """A row of ``images.csv``: what one image is, and that it cannot be read, if so."""

    image: str
    pixels: str
    perceptual: str
    lost_color: str
    unreadable: str


def packed(
    folder: Path,
    way: Mapping[str, Any],
    records: Sequence[Record],
    load: Callable[[Room], LoadedImages],
    *,
    may_skip: bool = False,
) -> LoadedImages:
    """Take images from a folder of packed ones; those that it lacks are read, and packed first.

    A pack is a folder of its own: ``pixels.array``, which ``numpy.load`` opens, holds the images
    (N, C, H, W) float32 as they were read, ``images.csv`` tells what each row is, ``way.json`` how
    and by which code they were read. Images are told by path, size and times of their files; no
    name is written. A pack serves every set whose images are among its own; a set of which one has
    changed is packed anew.

    Images that could not be read stay so until their files change; rows of ``pixels.array`` beyond
    those of ``images.csv`` that could are nobody's.

    A process that asks for what another one is reading waits for it.

    Parameters
    ----------
    folder : Path
        The folder of packs; made if it is not there. It may be removed whenever no stage runs.
    way : mapping
        All settings that say how images are read, ``image_size`` (height and width) and ``color``
        among them; numbers, text and lists.
    records : sequence of Record
        Which images.
    load : callable
        Reads them into a given `Room`.
    may_skip : bool
        Whether images that could not be read may be among them.

    Returns
    -------
    LoadedImages
        Its pixels are taken from the file as they are asked for.

    Raises
    ------
    UnusableCache
        If the folder cannot be written, or what it holds is damaged.
    UserError
        If they cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> from glcm_mae.data.images import load_images
    >>> folder = Path(tempfile.mkdtemp())
    >>> Image.new("L", (4, 4), color=51).save(folder / "a.png")
    >>> records = [Record(folder / "a.png", None, "a", None)]
    >>> def load(room: Room) -> LoadedImages:
    ...     print("reading")
    ...     return load_images(records, (4, 4), room=room)
    >>> way = {"image_size": (4, 4), "color": "auto"}
    >>> for _ in range(2):
    ...     print(packed(folder / "cache", way, records, load).pixels[0].mean())
    reading
    tensor(0.2000)
    tensor(0.2000)
    """
    way = json.loads(json.dumps({**way, "code": _code()}))  # tuples as lists, as they come back
    images = _names(records)
    found = _find(folder, way, images, may_skip=may_skip, quiet=True)
    if found is None:
        name = hashlib.sha256(json.dumps([way, images]).encode()).hexdigest()[:16]
        with _held(folder, name):
            found = _find(folder, way, images, may_skip=may_skip)  # packed by who was waited for
            if found is None:
                found = _pack(folder, name, way, images, load)
    return _taken(*found, way, records, images)


def foreign(folder: Path) -> Path | None:
    """Find something in a folder of packs that is none, and would go when they are removed.

    Parameters
    ----------
    folder : Path
        May be missing.

    Returns
    -------
    Path or None

    Examples
    --------
    >>> foreign(Path("no/such/folder")) is None
    True
    """
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    return next((p for p in there if not (p.name[0] == "." or _PACK.fullmatch(p.name))), None)


def file_states(records: Sequence[Record]) -> dict[Path, tuple[int, ...]]:
    """Tell the state of each file: it differs once the file has been changed or replaced.

    Parameters
    ----------
    records : sequence of Record
        The images.

    Returns
    -------
    dict
        Size, time of change of content, and of anything, of each path; () of one that is missing.

    Examples
    --------
    >>> file_states([Record(Path("none.png"), None, "none", None)])
    {PosixPath('none.png'): ()}
    """
    return {path: _state(path) for path in {record.path for record in records}}


def _state(path: Path) -> tuple[int, ...]:
    try:
        state = path.stat()
    except OSError:
        return ()
    # The last one notices two files that have changed their names, which keep the rest.
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _names(records: Sequence[Record]) -> list[str]:
    """Name images without telling their names."""
    states = file_states(records)
    told = ((os.path.abspath(r.path), r.frame, states[r.path]) for r in records)
    return [hashlib.sha256(repr(each).encode()).hexdigest()[:32] for each in told]


@cache
def _code() -> dict[str, str]:
    """Name all that may change how an image is read."""
    return {"data": tree_name(Path(__file__).parent)} | {n: version(n) for n in _LIBRARIES}


@contextmanager
def _held(folder: Path, name: str) -> Iterator[None]:
    """Let other processes wait, and not read the same images at the same time."""

    def tell() -> None:
        print(f"waiting for another process that reads images into {folder}", file=sys.stderr)

    with ExitStack() as stack:
        with _writing(folder):
            problem = stack.enter_context(locked(folder / f".{name}.lock", tell))
        if problem is None:
            for unfinished in folder.glob(f".{name}-*.tmp"):  # of processes that were killed
                shutil.rmtree(unfinished, ignore_errors=True)
        else:
            print(
                f"{folder} cannot be locked ({problem}): processes that ask for the same images "
                "may each read them",
                file=sys.stderr,
            )
        yield


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, FileExistsError | NotADirectoryError):
            raise UnusableCache(f"the cache {folder} is no folder: give one.") from error
        raise UnusableCache(
            f"the cache {folder} cannot be written ({error.strerror}): make room there, give a "
            "folder that can be written, or leave it out."
        ) from error


def _find(
    folder: Path,
    way: Mapping[str, Any],
    images: Sequence[str],
    *,
    may_skip: bool,
    quiet: bool = False,
) -> tuple[Path, list[_Row]] | None:
    """Look for a pack that has all images, or, if some may be skipped, knows of all."""
    for pack in sorted(folder.glob("[!.]*/way.json")):
        try:
            if not _is_same(json.loads(pack.read_text(encoding="utf-8")), way):
                continue
            rows = _rows(pack.parent)
        except (OSError, ValueError, TypeError, KeyError, csv.Error):
            if not quiet:
                print(f"{pack.parent} is damaged and not used: remove it", file=sys.stderr)
            continue
        known = {row.image for row in rows if may_skip or not row.unreadable}
        if known.issuperset(images):
            return pack.parent, rows
    return None


def _is_same(told: dict[str, Any], way: Mapping[str, Any]) -> bool:
    return way["color"] in told["color"] and {**told, "color": way["color"]} == way


def _rows(pack: Path) -> list[_Row]:
    """Read what each row of the pixels is; rows that no pixels belong to come last."""
    with (pack / "images.csv").open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    if tuple(header) != _COLUMNS:
        raise ValueError(f"images.csv has the columns {', '.join(header)}")
    return [_Row(*line) for line in lines]


def _pack(
    folder: Path,
    name: str,
    way: Mapping[str, Any],
    images: Sequence[str],
    load: Callable[[Room], LoadedImages],
) -> tuple[Path, list[_Row]]:
    """Read images into a pack that appears whole or not at all."""
    own = f"{name}-{uuid4().hex[:8]}"  # what lies there already may be damaged, or in use
    unfinished, pack = folder / f".{own}.tmp", folder / own
    try:
        with _writing(folder):
            unfinished.mkdir()
        loaded = load(partial(_in_file, unfinished / _PIXELS))
        rows = _told(loaded, images)
        write_atomically(unfinished / "images.csv", "".join(csv_lines(_COLUMNS, rows)))
        told = {**way, "color": _colors(way["color"], loaded)}
        write_atomically(unfinished / "way.json", json.dumps(told, indent=2) + "\n")
        with _writing(folder):
            _reach_the_disk(unfinished / _PIXELS)
            unfinished.rename(pack)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return pack, rows


def _told(loaded: LoadedImages, images: Sequence[str]) -> list[_Row]:
    """Say what each row of the pixels is, and then which images could not be read."""
    read = zip(loaded.kept, loaded.hashes, loaded.perceptual, loaded.lost_color, strict=True)
    rows = [
        _Row(images[n], pixels, perceptual, "yes" if lost else "", "")
        for n, pixels, perceptual, lost in read
    ]
    missed = sorted(set(range(len(images))) - set(loaded.kept.tolist()))
    reasons = (reason for _, reason in loaded.skipped)
    return rows + [
        _Row(images[n], "", "", "", reason) for n, reason in zip(missed, reasons, strict=True)
    ]


def _colors(asked: str, loaded: LoadedImages) -> list[str]:
    """List the settings of color that read these images alike: of "auto", the one that it was."""
    return (
        ["auto", "gray" if loaded.pixels.shape[1] == 1 else "rgb"] if asked == "auto" else [asked]
    )


def _in_file(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Make room for images (N, C, H, W) in a file: all of it now, not when the last is read."""
    size, left = needed(shape), shutil.disk_usage(path.parent).free
    if size > left:
        raise UnusableCache(
            f"{shape[0]} images of {' x '.join(map(str, shape[1:]))} values take {amount(size)}, "
            f"of which the cache {path.parent.parent} has {amount(left)} left: make room there, or "
            "give a folder on another disk."
        )
    with _writing(path.parent.parent):
        stored = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        if hasattr(os, "posix_fallocate"):  # a full disk would else end the process by a signal
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return torch.from_numpy(stored)


def _reach_the_disk(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _taken(
    pack: Path,
    rows: Sequence[_Row],
    way: Mapping[str, Any],
    records: Sequence[Record],
    images: Sequence[str],
) -> LoadedImages:
    place = {row.image: number for number, row in enumerate(rows)}
    wanted = [(n, place[image], rows[place[image]]) for n, image in enumerate(images)]
    there = [found for found in wanted if not found[2].unreadable]
    kept, places = (np.array([found[i] for found in there], dtype=np.int64) for i in (0, 1))
    skipped = [
        (one_line(records[n].name), row.unreadable) for n, _, row in wanted if row.unreadable
    ]
    if not there:
        raise none_readable(skipped)
    stored = PixelFile(pack / _PIXELS)
    n, _, *size = stored.shape
    if n != len(rows) or size != way["image_size"]:
        raise stored.damaged(f"it holds {n} images of {in_words(size)}")
    return LoadedImages(
        Picked(stored, places),
        kept,
        skipped,
        [row.pixels for *_, row in there],
        [row.perceptual for *_, row in there],
        np.array([bool(row.lost_color) for *_, row in there], dtype=bool),
    )
