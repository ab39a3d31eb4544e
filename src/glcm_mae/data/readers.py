"""Reading one image file: its pixels exactly as stored, or an error that names the file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glcm_mae.errors import UserError

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["IMAGE_SUFFIXES", "UnreadableImage", "read_image"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
"""Endings (lower case) of the files that are looked for in folders."""

# Above this Pillow suspects a decompression bomb; it is four times the largest mammogram.
_MAX_PIXELS = 89_478_485

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# EXIF and TIFF orientation -> (swap axes, then flip rows, then flip columns) to stand upright.
_ORIENTATIONS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
_ORIENTATION_TAG = 274


class UnreadableImage(UserError):  # noqa: N818 (named after what is found)
    """A file that is no image, or one that cannot be read without changing its pixels.

    Parameters
    ----------
    path : Path
        The file.
    reason : str
        What is wrong and what to do, as the end of a sentence that starts with the file.

    Examples
    --------
    >>> raise UnreadableImage(Path("scan.png"), "is empty: export it again.")
    Traceback (most recent call last):
    ...
    glcm_mae.data.readers.UnreadableImage: scan.png is empty: export it again.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


class _ReasonError(Exception):
    """Why a file is refused; `read_image` adds which file."""


def read_image(path: str | Path) -> np.ndarray:
    """Read a PNG, JPEG, TIFF or BMP file without changing a pixel value.

    The format is told from the content, not from the file's ending. 16-bit files stay 16-bit,
    colour ones too. A palette is looked up (gray if every colour in use is gray), a 1-bit image
    becomes 0 and 255, an opaque alpha channel is dropped. The orientation that a camera or
    scanner noted (EXIF or the TIFF tag) is applied, so that the array shows what an image viewer
    shows.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    np.ndarray
        Pixels (C, H, W), C = 1 (gray) or 3 (RGB), of dtype uint8, uint16 or float32 as stored.

    Raises
    ------
    UnreadableImage
        The file is missing, truncated, damaged, of another format, larger than 89 million
        pixels, holds several pages, or would need a choice that is the user's: CMYK colour,
        transparency, zero meaning white, a pixel type not listed above, NaN or infinity.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("L", (4, 3), color=7).save(f"{folder}/scan.png")
    ...     pixels = read_image(f"{folder}/scan.png")
    >>> pixels.shape, str(pixels.dtype), int(pixels.max())
    ((1, 3, 4), 'uint8', 7)
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableImage(path, f"cannot be opened ({error.strerror}).") from error
    try:
        decode = _decode_tiff if data.startswith(_TIFF_MAGIC) else _decode_other
        pixels = _without_alpha(*decode(data))
        _check(pixels)
    except _ReasonError as reason:
        raise UnreadableImage(path, str(reason)) from None
    except Exception as error:
        # Decoders raise errors of many kinds on a damaged file (zlib.error, struct.error, ...).
        raise UnreadableImage(
            path, f"is truncated or damaged ({error}): export or copy it again."
        ) from error
    return np.array(np.moveaxis(pixels, -1, 0), dtype=pixels.dtype.newbyteorder("="), order="C")


def _decode_other(data: bytes) -> tuple[np.ndarray, bool]:
    """Decode PNG, JPEG or BMP: pixels (H, W, samples), and whether the last sample is alpha."""
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise _ReasonError("is empty: export or copy it again.")
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "BMP"))
    except UnidentifiedImageError:
        raise _ReasonError(
            "is not a PNG, JPEG, TIFF or BMP image: convert it to one of these, or remove it."
        ) from None
    _check_size(*image.size)
    if image.format == "PNG" and getattr(image, "n_frames", 1) > 1:
        raise _ReasonError("is animated: save each frame as a file of its own.")
    if image.format == "PNG" and data[24] == 16:
        # Pillow would open 16-bit colour as 8 bits. Byte 24 is the header's bit depth.
        import imagecodecs

        pixels = imagecodecs.png_decode(data)
    else:
        pixels = _pillow_pixels(image)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    # After decoding, because a PNG may keep its EXIF behind the pixels.
    orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    return _upright(pixels, orientation), pixels.shape[-1] in (2, 4)


def _pillow_pixels(image: PIL.Image.Image) -> np.ndarray:
    """Pixels (H, W) or (H, W, samples) of an 8-bit image in gray or RGB, perhaps with alpha."""
    if image.mode == "1":
        image = image.convert("L")
    if image.mode in ("P", "PA") or "transparency" in image.info:
        colours = np.asarray(image.convert("RGBA"))
        in_gray = image.mode != "RGB" and (colours[..., :1] == colours[..., 1:3]).all()
        return colours[..., [0, 3]] if in_gray else colours
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise _ReasonError(f"has {image.mode} pixels: convert it to gray or RGB.")
    return np.asarray(image)


def _decode_tiff(data: bytes) -> tuple[np.ndarray, bool]:
    """Decode TIFF: pixels (H, W, samples), and whether the last sample is alpha."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        if len(tiff.pages) != 1:
            raise _ReasonError(f"holds {len(tiff.pages)} pages: save each as a file of its own.")
        page: Any = tiff.pages[0]
        _check_size(page.imagewidth, page.imagelength)
        _check_meaning(page)
        _check_complete(page, len(data))
        pixels = page.asarray()
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
            pixels = _looked_up(pixels, page.colormap)
        if page.axes == "SYX":
            pixels = np.moveaxis(pixels, 0, -1)
        tag = page.tags.get(_ORIENTATION_TAG)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return _upright(pixels, tag.value if tag else 1), pixels.shape[-1] in (2, 4)


def _looked_up(pixels: np.ndarray, colormap: np.ndarray) -> np.ndarray:
    """Turn positions in a TIFF colour map (3, entries) into RGB, or gray if all colours are."""
    # The map's 16 bits hold 8-bit colours, shifted or repeated.
    colours = np.moveaxis((colormap >> 8).astype(np.uint8)[:, pixels], 0, -1)
    in_gray = (colours[..., :1] == colours).all()
    return colours[..., :1] if in_gray else colours


def _check_meaning(page: Any) -> None:
    """Refuse a TIFF page whose stored numbers are not plain gray or RGB."""
    from tifffile import COMPRESSION, PHOTOMETRIC

    if page.axes not in ("YX", "YXS", "SYX"):
        raise _ReasonError(f"is a volume ({page.axes}): save each slice as a file of its own.")
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        raise _ReasonError("stores white as 0: save it with black as 0.")
    # The JPEG decoder turns YCbCr into RGB by itself.
    jpeg = page.photometric == PHOTOMETRIC.YCBCR and page.compression == COMPRESSION.JPEG
    plain = page.photometric in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE)
    if not plain and not jpeg:
        raise _ReasonError(f"has {page.photometric.name} pixels: convert it to gray or RGB.")


def _check_complete(page: Any, file_size: int) -> None:
    """Refuse a TIFF page of which a part was never written or has been cut off.

    tifffile reads the first as zeros, and the JPEG decoder makes up the second.
    """
    for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        if size == 0 or offset + size > file_size:
            raise _ReasonError("is truncated or lacks some of its pixels: export or copy it again.")


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    swap, flip_rows, flip_columns = _ORIENTATIONS.get(orientation, (False, False, False))
    if swap:
        pixels = pixels.swapaxes(0, 1)
    return pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


def _without_alpha(pixels: np.ndarray, has_alpha: bool) -> np.ndarray:
    if not has_alpha:
        return pixels
    opaque = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    if (pixels[..., -1] != opaque).any():
        raise _ReasonError(
            "is partly transparent: save it without an alpha channel, over the background it "
            "should have."
        )
    return pixels[..., :-1]


def _check_size(width: int, height: int) -> None:
    if width * height > _MAX_PIXELS:
        raise _ReasonError(
            f"has {width} x {height} pixels, more than {_MAX_PIXELS:,}: cut it into tiles or "
            "save it smaller."
        )


def _check(pixels: np.ndarray) -> None:
    """Refuse an array that is not what `read_image` promises."""
    if pixels.size == 0:
        raise _ReasonError("has no pixels: export or copy it again.")
    if pixels.shape[-1] not in (1, 3):
        raise _ReasonError(f"has {pixels.shape[-1]} channels: save it in gray or RGB.")
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise _ReasonError(f"stores {pixels.dtype} values: save it as uint8, uint16 or float32.")
    if not np.isfinite(pixels).all():
        raise _ReasonError("holds NaN or infinite values: replace them before you save it.")
