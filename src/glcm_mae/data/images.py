"""Loading a whole data set into one tensor, with every change to the pixels asked for by name."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from glcm_mae.data.manifest import Record
from glcm_mae.data.readers import UnreadableImage, read_image
from glcm_mae.errors import UserError

__all__ = ["LoadedImages", "content_hash", "file_hashes", "load_images"]

Color = Literal["auto", "gray", "rgb"]
Resize = Literal["none", "stretch", "crop", "pad"]
OnError = Literal["stop", "skip"]
_T = TypeVar("_T")

# Decoding holds no lock, so two threads keep two cores busy; an error is met within one chunk.
_THREADS = 2
_CHUNK = 32

_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class LoadedImages:
    """Images as one tensor, and what became of each file.

    Parameters
    ----------
    pixels : Tensor
        Images (N, C, H, W) float32 in [0, 1].
    kept : np.ndarray
        For each image, its position (N,) int64 in the records that were asked for.
    skipped : list of (Path, str)
        The files that could not be read, and why.
    hashes : list of str
        For each image, the `content_hash` of its stored pixels.

    Examples
    --------
    >>> skipped = [(Path("a.png"), "is empty")]
    >>> loaded = LoadedImages(torch.zeros(1, 1, 4, 4), np.array([1]), skipped, hashes=["e3"])
    >>> len(loaded.pixels), len(loaded.skipped)
    (1, 1)
    """

    pixels: Tensor
    kept: np.ndarray
    skipped: list[tuple[Path, str]]
    hashes: list[str]


@dataclass(frozen=True)
class _Loaded:
    """One image, ready, and what it was in its file."""

    pixels: Tensor
    stored_dtype: np.dtype
    digest: str


def load_images(
    records: Sequence[Record],
    image_size: tuple[int, int],
    color: Color = "auto",
    resize: Resize = "none",
    window: tuple[float, float] | None = None,
    on_error: OnError = "stop",
    progress: Callable[[int], None] | None = None,
) -> LoadedImages:
    """Read all images and bring them to one size, colour and range.

    Stored values are first scaled to [0, 1], then brought to gray or RGB, then resized
    (bilinear, antialiased, in float32). Besides the result, memory holds a few dozen images.

    Parameters
    ----------
    records : sequence of Record
        The images.
    image_size : (int, int)
        Height and width in pixels.
    color : {"auto", "gray", "rgb"}
        "auto" keeps the channels, which must then be the same in all files; "gray" takes the
        luminance (ITU-R BT.601) of colour images; "rgb" repeats gray ones.
    resize : {"none", "stretch", "crop", "pad"}
        "none" demands that every file has `image_size`; "stretch" ignores the aspect ratio;
        "crop" keeps it, fits the shorter side and cuts the middle out; "pad" keeps it, fits the
        longer side and adds zeros around.
    window : (float, float), optional
        The stored values that become 0 and 1; values beyond are clamped. Without it the full
        range of the stored type does (255 or 65535), and nothing is clamped.
    on_error : {"stop", "skip"}
        Whether a file that cannot be read ends the loading or is reported in `skipped`.
    progress : callable, optional
        Called after each image with the number done.

    Returns
    -------
    LoadedImages
        The tensor, in the order of `records`, and the account of it.

    Raises
    ------
    UnreadableImage
        A file cannot be read, and `on_error` is "stop".
    UserError
        The files differ in a way that the settings do not settle: channels, size, bits per
        sample, floating-point values without a window; or no file could be read.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("L", (8, 6), color=51).save(f"{folder}/a.png")
    ...     record = Record(Path(folder, "a.png"), None, "a", None)
    ...     loaded = load_images([record], image_size=(4, 4), resize="pad")
    >>> loaded.pixels[0, 0, :, 0]
    tensor([0.2000, 0.2000, 0.2000, 0.0000])
    """
    _check_settings(records, image_size, color, resize, window, on_error)
    load = partial(_load, image_size=image_size, color=color, resize=resize, window=window)
    images: Tensor | None = None
    kept: list[int] = []
    hashes: list[str] = []
    skipped: list[tuple[Path, str]] = []
    paths_by_channels: dict[int, list[Path]] = defaultdict(list)
    paths_by_dtype: dict[str, list[Path]] = defaultdict(list)
    for index, loaded in enumerate(_in_threads(load, records)):
        path = records[index].path
        if isinstance(loaded, UnreadableImage):
            if on_error == "stop":
                raise loaded
            skipped.append((path, loaded.reason))
        else:
            paths_by_channels[loaded.pixels.shape[0]].append(path)
            paths_by_dtype[str(loaded.stored_dtype)].append(path)
            if images is None:
                images = loaded.pixels.new_empty(len(records), *loaded.pixels.shape)
            if len(paths_by_channels) == 1:  # else only counted, for the error below
                images[len(kept)] = loaded.pixels
            kept.append(index)
            hashes.append(loaded.digest)
        if progress is not None:
            progress(index + 1)
    if images is None:
        raise UserError(
            f"None of the {len(records)} images can be read; the first: {skipped[0][0]} "
            f"{skipped[0][1]}"
        )
    _check_alike(paths_by_channels, paths_by_dtype, window)
    return LoadedImages(images[: len(kept)], np.array(kept, dtype=np.int64), skipped, hashes)


def content_hash(pixels: np.ndarray) -> str:
    """Fingerprint an image by its stored pixels, whatever the file's name or format.

    Parameters
    ----------
    pixels : np.ndarray
        Pixels (C, H, W) as `read_image` returns them.

    Returns
    -------
    str
        SHA-256 of shape, type and pixels, in hexadecimal.

    Examples
    --------
    >>> content_hash(np.zeros((1, 2, 2), dtype=np.uint8))[:8]
    'ff6878a3'
    """
    header = f"{pixels.shape} {pixels.dtype.name} ".encode()
    return hashlib.sha256(header + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def file_hashes(records: Sequence[Record]) -> list[str]:
    """Fingerprint images without keeping them, to see whether two sets share any.

    Parameters
    ----------
    records : sequence of Record
        The images.

    Returns
    -------
    list of str
        The `content_hash` of each.

    Raises
    ------
    UnreadableImage
        A file cannot be read.

    Examples
    --------
    >>> file_hashes([])
    []
    """
    return list(_in_threads(lambda record: content_hash(read_image(record.path)), records))


def _in_threads(work: Callable[[Record], _T], records: Sequence[Record]) -> Iterator[_T]:
    """Yield `work(record)` in order, computed in a few threads, at most one chunk ahead."""
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(records), _CHUNK):
            yield from pool.map(work, records[start : start + _CHUNK])


def _load(
    record: Record,
    image_size: tuple[int, int],
    color: Color,
    resize: Resize,
    window: tuple[float, float] | None,
) -> _Loaded | UnreadableImage:
    try:
        stored = read_image(record.path)
    except UnreadableImage as error:
        return error
    if resize == "none" and stored.shape[1:] != tuple(image_size):  # YAML may bring a list
        raise UserError(
            f"{record.path} has {_size(stored.shape[1:])} pixels (height x width) instead of "
            f"{_size(image_size)}: set data.resize to crop, pad or stretch, or data.image_size."
        )
    if window is None and stored.dtype == np.float32:
        raise UserError(
            f"{record.path} holds floating-point values, which have no full range: set "
            "data.window to the values that shall become 0 and 1."
        )
    pixels = _resized(_colored(_scaled(stored, window), color), image_size, resize)
    # The weights of luminance and of resizing add up to 1 only up to rounding.
    return _Loaded(pixels.clamp(0, 1), stored.dtype, content_hash(stored))


def _scaled(stored: np.ndarray, window: tuple[float, float] | None) -> Tensor:
    """Scale stored values to [0, 1] in float32."""
    values = torch.from_numpy(stored.astype(np.float32))
    if window is None:
        return values.div_(float(np.iinfo(stored.dtype).max))
    low, high = window
    return values.sub_(low).div_(high - low).clamp_(0, 1)


def _colored(pixels: Tensor, color: Color) -> Tensor:
    if color == "gray" and len(pixels) == 3:
        return torch.einsum("c,chw->hw", torch.tensor(_LUMINANCE), pixels)[None]
    if color == "rgb" and len(pixels) == 1:
        return pixels.expand(3, -1, -1)
    return pixels


def _resized(pixels: Tensor, image_size: tuple[int, int], resize: Resize) -> Tensor:
    height, width = fitted_height, fitted_width = image_size
    if resize in ("crop", "pad"):
        scales = height / pixels.shape[1], width / pixels.shape[2]
        scale = max(scales) if resize == "crop" else min(scales)
        fitted_height = max(1, round(pixels.shape[1] * scale))
        fitted_width = max(1, round(pixels.shape[2] * scale))
    if pixels.shape[1:] != (fitted_height, fitted_width):
        pixels = F.interpolate(
            pixels[None], (fitted_height, fitted_width), mode="bilinear", antialias=True
        )[0]
    # Positive numbers of rows and columns are added, negative ones are cut off.
    rows, columns = height - fitted_height, width - fitted_width
    left, top = columns // 2, rows // 2
    return F.pad(pixels, (left, columns - left, top, rows - top))


def _check_settings(
    records: Sequence[Record],
    image_size: tuple[int, int],
    color: Color,
    resize: Resize,
    window: tuple[float, float] | None,
    on_error: OnError,
) -> None:
    if not records:
        raise UserError("There are no images to load: choose another data set or split.")
    if min(image_size) < 1:
        raise UserError(f"data.image_size is {_size(image_size)}: set it to 1 or more.")
    if window is not None and not -np.inf < window[0] < window[1] < np.inf:
        raise UserError(f"data.window is {window}: set it to two numbers, the lower one first.")
    choices = (("color", color, Color), ("resize", resize, Resize), ("on_error", on_error, OnError))
    for setting, value, allowed in choices:
        if value not in get_args(allowed):
            names = ", ".join(get_args(allowed))
            raise UserError(f"data.{setting} is {value!r}: set it to one of {names}.")


def _check_alike(
    paths_by_channels: Mapping[int, list[Path]],
    paths_by_dtype: Mapping[str, list[Path]],
    window: tuple[float, float] | None,
) -> None:
    if len(paths_by_channels) > 1:
        gray, rgb = paths_by_channels[1], paths_by_channels[3]
        raise UserError(
            f"the images are not alike, {len(gray)} gray (such as {gray[0]}) and {len(rgb)} RGB "
            f"(such as {rgb[0]}): set data.color to gray or rgb."
        )
    if len(paths_by_dtype) > 1 and window is None:
        kinds = " and ".join(
            f"{len(paths)} images hold {dtype} values (such as {paths[0]})"
            for dtype, paths in sorted(paths_by_dtype.items())
        )
        raise UserError(
            f"{kinds}, which share no full range: set data.window to the stored values that shall "
            "become 0 and 1, or load them apart."
        )


def _size(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]}"
