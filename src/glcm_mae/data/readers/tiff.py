"""TIFF and BigTIFF, through tifffile: 8 and 16 bits, floating-point, several pages."""

from __future__ import annotations

import math
import os
from typing import Any, BinaryIO

import numpy as np

from .codestream import stated_by_jpeg
from .facts import Facts, full_range
from .limits import MAX_BYTES, MAX_FRAMES, check_size, chosen_frame
from .refusal import Refusal
from .shown import ORIENTATION_TAG, opaque, upright


def read(file: BinaryIO, frame: int | None) -> tuple[np.ndarray, Facts]:
    """Decode one page: pixels (H, W, samples), and what the file says about them.

    A palette is looked up (gray if every colour in use is gray), a 1-bit image becomes 0 and 255,
    an opaque alpha channel is dropped, and the orientation tag is applied.
    """
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        pages = len(tiff.pages)
        page: Any = tiff.pages[chosen_frame(frame, pages)]
        check_size((page.imagelength, page.imagewidth, page.samplesperpixel), page.dtype)
        _check_meaning(page)
        _check_pieces(page, file)
        pixels = page.asarray()
        photometric, bits = page.photometric.name, page.bitspersample
        if photometric == "PALETTE":
            pixels = _looked_up(pixels, page.colormap)
        if page.axes == "SYX":
            pixels = np.moveaxis(pixels, 0, -1)
        tag = page.tags.get(ORIENTATION_TAG)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    # 12 bits to a sample come as 16; a bit, or a palette's colours, use all of their type.
    is_whole = bits == 1 or photometric == "PALETTE" or pixels.dtype.kind == "f"
    facts = Facts(
        format="tiff",
        dtype=pixels.dtype.name,
        bits=bits,
        photometric=photometric,
        value_range=full_range(pixels.dtype, None if is_whole else bits),
        frames=pages,
    )
    return opaque(upright(pixels, tag.value if tag else 1)), facts


def frames(file: BinaryIO) -> int:
    """Count the pages."""
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        pages = len(tiff.pages)
    if not 1 <= pages <= MAX_FRAMES:
        raise Refusal(f"holds {pages} pages: export it again.")
    return pages


def _looked_up(pixels: np.ndarray, colormap: np.ndarray) -> np.ndarray:
    """Turn positions in a TIFF colour map (3, entries) into RGB, or gray if all colours are."""
    if colormap.max() < 2**8:  # written as they are, against the standard, which shifts them
        colormap = colormap.astype(np.uint8)
    elif not (colormap % 256).any() or not (colormap % 257).any():  # shifted, or repeated
        colormap = (colormap >> 8).astype(np.uint8)
    colours = np.moveaxis(colormap[:, pixels], 0, -1)
    in_gray = (colours[..., :1] == colours).all()
    return colours[..., :1] if in_gray else colours


def _check_meaning(page: Any) -> None:
    """Refuse a page whose stored numbers are not plain gray or RGB."""
    from tifffile import COMPRESSION, PHOTOMETRIC

    if page.axes not in ("YX", "YXS", "SYX"):
        raise Refusal(f"is a volume ({page.axes}): save each slice as a page or a file of its own.")
    # The JPEG decoder turns YCbCr into RGB by itself.
    jpeg = page.photometric == PHOTOMETRIC.YCBCR and page.compression == COMPRESSION.JPEG
    gray = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)
    if page.photometric not in (*gray, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE) and not jpeg:
        raise Refusal(f"has {page.photometric.name} pixels: convert it to gray or RGB.")


def _check_pieces(page: Any, file: BinaryIO) -> None:
    """Refuse a page whose strips or tiles are not all there, or are not what they should be.

    Those that were never written tifffile reads as zeros; the end of one that was cut off the JPEG
    decoder makes up, and it believes what the JPEG says of its own size.
    """
    from tifffile import COMPRESSION

    if page.compression not in (1, 2, 3, 4, 5, 7, 8, 32773, 32946):
        name = getattr(page.compression, "name", page.compression)
        raise Refusal(f"is compressed with {name}: save it with deflate or LZW, or uncompressed.")
    if math.prod(page.chunks) * page.dtype.itemsize > MAX_BYTES:
        raise Refusal(f"has tiles of more than {MAX_BYTES // 2**20} MiB: save it in smaller ones.")
    size = os.fstat(file.fileno()).st_size
    pieces = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    is_cut = any(count == 0 or offset + count > size for offset, count in pieces)
    if is_cut or len(pieces) != math.prod(page.chunked):
        raise Refusal("is truncated or lacks some of its pixels: export or copy it again.")
    if page.compression == COMPRESSION.JPEG:
        rows, columns = (page.chunks if page.axes != "SYX" else page.chunks[1:])[:2]
        for offset, count in pieces:
            file.seek(offset)
            stated = stated_by_jpeg(file.read(count))
            # A strip may be rounded up to whole blocks of 16, the last one be shorter.
            if stated[0] > rows + 16 or stated[1] > columns + 16:
                raise Refusal("holds a JPEG of another size than its header says: save it anew.")
