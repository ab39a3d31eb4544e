"""PNG, JPEG, WebP and BMP, through Pillow; 16-bit PNG through imagecodecs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from .facts import Facts, full_range
from .limits import check_size, chosen_frame, read_whole
from .refusal import Refusal
from .shown import ORIENTATION_TAG, opaque, upright

if TYPE_CHECKING:
    import PIL.Image

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
_PNG_EXIF = (b"eXIf", b"Raw profile type exif")  # without them, asking for it decodes twice


def read(file: BinaryIO, frame: int | None) -> tuple[np.ndarray, Facts]:
    """Decode a file of one image: pixels (H, W, samples), and what it says about them.

    A palette is looked up (gray if every colour in use is gray), a 1-bit image becomes 0 and 255,
    an opaque alpha channel is dropped, and the EXIF orientation is applied, so that the array
    shows what an image viewer shows.
    """
    from PIL import Image, UnidentifiedImageError

    chosen_frame(frame, 1)
    data = read_whole(file)
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise Refusal("is damaged in its header: export or copy it again.") from None
    check_size(image.size[::-1])
    # An MPO, as phones write it, is a JPEG with further ones behind: a depth map, another view.
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise Refusal("is animated: save each frame as a file of its own.")
    photometric = image.mode
    bits = 1 if image.mode == "1" else 8
    if image.format == "PNG" and data[24] == 16:  # the header's bit depth
        pixels, bits = _deep_png_pixels(image, data), 16
    else:
        pixels = _pillow_pixels(image)
        if image.format == "PNG" and photometric == "L" and data[24] in (2, 4):
            bits = data[24]
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if image.format != "PNG" or any(name in data for name in _PNG_EXIF):
        # After decoding, because a PNG may keep its EXIF behind the pixels.
        pixels = upright(pixels, image.getexif().get(ORIENTATION_TAG, 1))
    pixels = opaque(pixels)
    if bits in (2, 4):
        pixels = pixels // (255 // (2**bits - 1))  # Pillow spreads them over 8 bits
    facts = Facts(
        format=str(image.format).lower(),
        dtype=pixels.dtype.name,
        bits=bits,
        photometric=photometric,
        value_range=full_range(pixels.dtype, bits if bits in (2, 4) else None),
    )
    return pixels, facts


def frames(file: BinaryIO) -> int:
    """Count the images of a file: always one."""
    return 1


def _deep_png_pixels(image: PIL.Image.Image, data: bytes) -> np.ndarray:
    """Pixels (H, W) or (H, W, samples) of a 16-bit PNG."""
    if image.mode == "I;16" and "transparency" not in image.info:
        return np.asarray(image)
    # Pillow would open 16-bit colour as 8 bits.
    import imagecodecs

    check_size((*image.size[::-1], 4), np.dtype("uint16"))
    return imagecodecs.png_decode(data)


def _pillow_pixels(image: PIL.Image.Image) -> np.ndarray:
    """Pixels (H, W) or (H, W, samples) of an 8-bit image in gray or RGB, perhaps with alpha."""
    if image.mode == "1":
        image = image.convert("L")
    if image.mode in ("P", "PA") or "transparency" in image.info:
        colours = np.asarray(image.convert("RGBA"))
        in_gray = image.mode != "RGB" and (colours[..., :1] == colours[..., 1:3]).all()
        return colours[..., [0, 3]] if in_gray else colours
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise Refusal(f"has {image.mode} pixels: convert it to gray or RGB.")
    return np.asarray(image)
