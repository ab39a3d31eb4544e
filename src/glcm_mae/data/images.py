"""Loading a whole data set into one tensor, with every change to the pixels asked for by name."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor

from glcm_mae.data.fitting import (
    Resize,
    check_image_size,
    check_spacing,
    in_words,
    resized,
    scaled_size,
    size_at,
)
from glcm_mae.data.manifest import Record
from glcm_mae.data.memory import Room, in_memory
from glcm_mae.data.perceptual import perceptual_hashes
from glcm_mae.data.pixels import Pixels
from glcm_mae.data.readers import Facts, Plane, UnreadableImage, one_line, read_image
from glcm_mae.data.record import file_by_file
from glcm_mae.data.thumbnails import LUMINANCE, luminance, thumbnail
from glcm_mae.data.windows import Unscalable, unit_range
from glcm_mae.errors import UserError

__all__ = ["LoadedImages", "content_hash", "file_hashes", "load_images"]

Color = Literal["auto", "gray", "rgb"]
OnError = Literal["stop", "skip"]
NamedWindow = Literal["lung", "soft_tissue", "bone", "file"]
_T = TypeVar("_T")

# Decoding holds no lock, so two threads keep two cores busy; an error is met within one chunk.
_THREADS = 2
_CHUNK = 32


@dataclass(frozen=True)
class LoadedImages:
    """Images of one size, and what became of each file.

    Parameters
    ----------
    pixels : Tensor or Picked
        Images (N, C, H, W) float32 in [0, 1].
    kept : np.ndarray
        For each image, its position (N,) int64 in the records that were asked for.
    skipped : list of (str, str)
        The names (`Record.name`) of the images that could not be read, and why.
    hashes : list of str
        For each image, the `content_hash` of its stored pixels.
    perceptual : list of str
        For each image, its perceptual hash (`perceptual_hashes`).
    lost_color : np.ndarray
        For each image, whether (N,) it has colours, of which "gray" has kept the luminance alone.

    Examples
    --------
    >>> skipped = [("a.png", "is empty")]
    >>> pixels, kept = torch.zeros(1, 1, 4, 4), np.array([1])
    >>> loaded = LoadedImages(pixels, kept, skipped, ["e3"], [""], np.array([False]))
    >>> len(loaded.pixels), len(loaded.skipped)
    (1, 1)
    """

    pixels: Pixels
    kept: np.ndarray
    skipped: list[tuple[str, str]]
    hashes: list[str]
    perceptual: list[str]
    lost_color: np.ndarray


@dataclass(frozen=True)
class _Loaded:
    """One image, ready, and what it was in its file."""

    pixels: Tensor
    facts: Facts
    digest: str
    perceptual: str
    lost_color: bool


def load_images(
    records: Sequence[Record],
    image_size: tuple[int, int],
    color: Color = "auto",
    resize: Resize = "none",
    window: tuple[float, float] | NamedWindow | None = None,
    on_error: OnError = "stop",
    progress: Callable[[int], None] | None = None,
    invert_monochrome1: bool = False,
    plane: Plane = "axial",
    keep: bool = True,
    room: Room = in_memory,
    spacing: float | None = None,
) -> LoadedImages:
    """Read all images and bring them to one size, colour and range.

    Stored values are first scaled to [0, 1], then brought to gray or RGB, then resized
    (bilinear, antialiased, in float32). Besides the result, memory holds a few dozen images.

    In the result 1 is always what a viewer shows white. A radiograph stored as MONOCHROME1 holds
    bone as low values: taken as stored beside MONOCHROME2 ones it is their negative, and which of
    the two a maker chooses tells the scanner, not the disease. So such images are inverted, and
    only if `invert_monochrome1` allows it; no setting mixes the two.

    Parameters
    ----------
    records : sequence of Record
        The images.
    image_size : (int, int)
        Height and width in pixels.
    color : {"auto", "gray", "rgb"}
        "auto" keeps the channels, which must then be the same in all files; "gray" takes the
        luminance (ITU-R BT.601) of colour images; "rgb" repeats gray ones.
    resize : {"none", "stretch", "crop", "pad", "center"}
        "none" demands that every file has `image_size`; "stretch" ignores the aspect ratio;
        "crop" keeps it, fits the shorter side and cuts the middle out; "pad" keeps it, fits the
        longer side and adds zeros around; "center" changes no scale, cuts the middle out of what
        is longer and adds zeros around what is shorter.
    window : (float, float) or str, optional
        The values that become 0 and 1; those beyond are clamped. They are in the file's real unit
        (after rescale slope and intercept: Hounsfield for CT), which for most formats is what is
        stored. Or a name: "lung", "soft_tissue", "bone" (see `CT_WINDOWS`), or "file" for the
        DICOM file's own first window or lookup table. Without it the full range of the stored
        bits does (255, 4095 or 65535), and nothing is clamped.
    on_error : {"stop", "skip"}
        Whether a file that cannot be read ends the loading or is reported in `skipped`.
    progress : callable, optional
        Called after each image with the number done.
    invert_monochrome1 : bool
        Invert the images in which the least value means white (DICOM's MONOCHROME1, TIFF's
        WhiteIsZero). Without it they are refused.
    plane : {"axial", "coronal", "sagittal"}
        How volumes (NIfTI, NRRD, MetaImage) are cut into slices; as for `read_manifest`.
    keep : bool
        False reads and refuses alike, but keeps no pixels: the tensor is then (0, C, H, W).
    room : callable
        Makes the tensor that is filled. Default: in memory.
    spacing : float, optional
        Millimetres that a pixel shall measure, with "center" or "none": images are brought to
        that scale first. Files must tell their own.

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
        sample, polarity, floating-point, signed or rescaled values without a window, no such
        window; they take more memory than is left; or no file could be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("L", (8, 6), color=51).save(f"{folder}/a.png")
    ...     record = Record(Path(folder, "a.png"), None, "a", None)
    ...     loaded = load_images([record], image_size=(4, 4), resize="pad")
    >>> loaded.pixels[0, 0, :, 0]
    tensor([0.2000, 0.2000, 0.2000, 0.0000])
    """
    _check_settings(records, image_size, color, resize, window, on_error, spacing)
    load = partial(
        _load,
        image_size=image_size,
        color=color,
        resize=resize,
        window=window,
        invert_monochrome1=invert_monochrome1,
        plane=plane,
        spacing=spacing,
    )
    images: Tensor | None = None
    hashes: dict[int, str] = {}
    perceptual: dict[int, str] = {}
    lost_color: dict[int, bool] = {}
    skipped: dict[int, tuple[str, str]] = {}
    names_by_channels: dict[int, list[str]] = defaultdict(list)
    names_by_range: dict[str, list[str]] = defaultdict(list)
    order = file_by_file(records)
    # Left open by an error, it would be closed whenever its memory is, by whichever thread.
    with closing(_in_threads(load, [records[index] for index in order])) as in_order:
        for done, (index, loaded) in enumerate(zip(order, in_order, strict=True), start=1):
            name = one_line(records[index].name)
            if isinstance(loaded, UnreadableImage):
                if on_error == "stop":
                    raise loaded
                skipped[index] = name, loaded.reason
            else:
                names_by_channels[loaded.pixels.shape[0]].append(name)
                names_by_range[_range(loaded.facts)].append(name)
                if images is None:
                    images = room((len(records) * keep, *loaded.pixels.shape))
                if keep and len(names_by_channels) == 1:  # else only counted, for the error below
                    images[index] = loaded.pixels
                hashes[index], perceptual[index] = loaded.digest, loaded.perceptual
                lost_color[index] = loaded.lost_color
            if progress is not None:
                progress(done)
    if images is None:
        raise none_readable([skipped[index] for index in sorted(skipped)])
    _check_alike(names_by_channels, names_by_range, window)
    kept = sorted(hashes)
    for place, index in enumerate(kept if keep else ()):
        if place < index:  # closing the gaps in place: no second copy of the images
            images[place] = images[index]
    return LoadedImages(
        images[: len(kept)],
        np.array(kept, dtype=np.int64),
        [skipped[index] for index in sorted(skipped)],
        [hashes[index] for index in kept],
        [perceptual[index] for index in kept],
        np.array([lost_color[index] for index in kept], dtype=bool),
    )


def none_readable(skipped: Sequence[tuple[str, str]]) -> UserError:
    """Say that all images were skipped, and why the first.

    Examples
    --------
    >>> str(none_readable([("a.png", "is empty: export it again.")]))
    'None of the 1 images can be read; the first: a.png is empty: export it again.'
    """
    return UserError(
        f"None of the {len(skipped)} images can be read; the first: {' '.join(skipped[0])}"
    )


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


def is_constant(pixels: np.ndarray) -> bool:
    """Whether all pixels (C, H, W) are alike, so that they tell nothing of what they are of.

    Examples
    --------
    >>> is_constant(np.zeros((3, 2, 2))), is_constant(np.arange(4).reshape(1, 2, 2))
    (True, False)
    """
    return bool((pixels == pixels[:, :1, :1]).all())


def file_hashes(records: Sequence[Record], plane: Plane = "axial") -> list[str]:
    """Fingerprint images without keeping them, to see whether two sets share any.

    Parameters
    ----------
    records : sequence of Record
        The images.
    plane : {"axial", "coronal", "sagittal"}
        How volumes (NIfTI, NRRD, MetaImage) are cut into slices.

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

    def digest(record: Record) -> str:
        return content_hash(read_image(record.path, record.frame, plane)[0])

    order = file_by_file(records)
    found = dict(zip(order, _in_threads(digest, [records[n] for n in order]), strict=True))
    return [found[n] for n in range(len(records))]


def _in_threads(
    work: Callable[[Record], _T], records: Sequence[Record]
) -> Generator[_T, None, None]:
    """Yield `work(record)` in order, computed in a few threads, at most one chunk ahead."""
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(records), _CHUNK):
            yield from pool.map(work, records[start : start + _CHUNK])


def _load(
    record: Record,
    image_size: tuple[int, int],
    color: Color,
    resize: Resize,
    window: tuple[float, float] | NamedWindow | None,
    invert_monochrome1: bool,
    plane: Plane,
    spacing: float | None,
) -> _Loaded | UnreadableImage:
    try:
        stored, facts = read_image(record.path, record.frame, plane)
    except UnreadableImage as error:
        return error
    name = one_line(record.name)
    size = size_at(spacing, stored.shape[1:], facts, name)
    if resize == "none" and size != tuple(image_size):  # YAML may bring a list
        at = "" if spacing is None else f" at {spacing:g} mm"
        advice = "crop, pad, stretch or center" if spacing is None else "center"
        raise UserError(
            f"{name} has {in_words(size)} pixels{at} (height x width) instead of "
            f"{in_words(image_size)}: set data.resize to {advice}, or data.image_size."
        )
    if facts.white_is_zero and not invert_monochrome1:
        raise UserError(
            f"{name} stores white as 0 ({facts.photometric}): set data.invert_monochrome1 true to "
            "have such images inverted, so that white is 1 in all of them."
        )
    try:
        scaled = torch.from_numpy(unit_range(stored, facts, window))
    except Unscalable as reason:
        raise UserError(
            f"{name} {reason}: set data.window to the two values that shall become 0 and 1."
        ) from None
    pixels = resized(_colored(scaled, color), scaled_size(size, image_size, resize), image_size)
    # The weights of luminance and of resizing add up to 1 only up to rounding.
    pixels = pixels.clamp(0, 1)
    small = thumbnail(luminance(stored), facts.white_is_zero)
    return _Loaded(
        pixels,
        facts,
        content_hash(stored),
        perceptual_hashes(small[None])[0],
        color == "gray" and bool((stored != stored[:1]).any()),
    )


def _colored(pixels: Tensor, color: Color) -> Tensor:
    if color == "gray" and len(pixels) == 3:
        return torch.einsum("c,chw->hw", torch.tensor(LUMINANCE), pixels)[None]
    if color == "rgb" and len(pixels) == 1:
        return pixels.expand(3, -1, -1)
    return pixels


def _check_settings(
    records: Sequence[Record],
    image_size: tuple[int, int],
    color: Color,
    resize: Resize,
    window: tuple[float, float] | NamedWindow | None,
    on_error: OnError,
    spacing: float | None,
) -> None:
    if not records:
        raise UserError("There are no images to load: choose another data set or split.")
    check_image_size(image_size)
    if isinstance(window, str) and window not in get_args(NamedWindow):
        names = ", ".join(get_args(NamedWindow))
        raise UserError(f"data.window is {window!r}: set it to two numbers or one of {names}.")
    if isinstance(window, Sequence) and not isinstance(window, str):
        low, high = window
        if not -np.inf < low < high < np.inf:
            raise UserError(f"data.window is {window}: set it to two numbers, the lower one first.")
    check_spacing(spacing, resize)
    choices = (("color", color, Color), ("resize", resize, Resize), ("on_error", on_error, OnError))
    for setting, value, allowed in choices:
        if value not in get_args(allowed):
            names = ", ".join(get_args(allowed))
            raise UserError(f"data.{setting} is {value!r}: set it to one of {names}.")


def _check_alike(
    names_by_channels: Mapping[int, list[str]],
    names_by_range: Mapping[str, list[str]],
    window: tuple[float, float] | NamedWindow | None,
) -> None:
    if len(names_by_channels) > 1:
        gray, rgb = names_by_channels[1], names_by_channels[3]
        raise UserError(
            f"the images are not alike, {len(gray)} gray (such as {gray[0]}) and {len(rgb)} RGB "
            f"(such as {rgb[0]}): set data.color to gray or rgb."
        )
    if len(names_by_range) > 1 and window is None:
        kinds = " and ".join(
            f"{len(names)} images hold {values} (such as {names[0]})"
            for values, names in sorted(names_by_range.items())
        )
        raise UserError(
            f"{kinds}, which share no full range: export all alike, load them apart, or, if they "
            "are on one scale whatever their bits (as Hounsfield units are), set data.window to "
            "the stored values that shall become 0 and 1."
        )


def _range(facts: Facts) -> str:
    """Say which values an image's bits can hold."""
    if facts.value_range is None:
        return f"{facts.dtype} values"
    low, high = facts.value_range
    return f"{facts.dtype} values from {low:.0f} to {high:.0f}"
