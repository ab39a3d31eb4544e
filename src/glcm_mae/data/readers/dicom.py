"""DICOM, through pydicom: one frame of the pixels, and what the header says about them.

Nothing of the header but the elements listed here is ever looked at, and none of their values is
quoted: names and numbers of patients stand beside them.
"""

from __future__ import annotations

import functools
import io
import math
import os
import struct
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from .capped import CappedFile
from .codestream import check_frame, decoder_of
from .dicom_facts import GRAY, KEYWORDS, facts_of, number_of, photometric_of
from .facts import Facts, full_range
from .limits import MAX_BYTES, MAX_FRAMES, check_size, chosen_frame
from .palette import looked_up
from .refusal import Refusal

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

_IMPLICIT = "1.2.840.10008.1.2"
_EXPLICIT = "1.2.840.10008.1.2.1"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"

_PIXEL_KEYWORDS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}
_UNDEFINED = 0xFFFFFFFF
_ITEM = 8  # bytes of the header of an encapsulated frame

_DAMAGED = "is a truncated or damaged DICOM file: export or copy it again."
_LONG_VRS = (b"OB", b"OW", b"OF", b"OD", b"UN")


def read(file: BinaryIO, frame: int | None) -> tuple[np.ndarray, Facts]:
    """Decode one frame: stored values (H, W, samples), and what the header says about them.

    Slope, windows and MONOCHROME1 are told by the facts and applied to nothing; overlays are
    left out. Colours come as RGB: YBR is converted, a palette is looked up.
    """
    try:
        image = _open(file)
        return _decode(image, chosen_frame(frame, image.frames))
    except Refusal:
        raise
    except Exception:
        # Not even as the cause: pydicom's own messages quote what stands in the file.
        raise Refusal(_DAMAGED) from None


def frames(file: BinaryIO) -> int:
    """Count the frames."""
    try:
        return _open(file).frames
    except Refusal:
        raise
    except Exception:
        raise Refusal(_DAMAGED) from None


def is_dicom(head: bytes) -> bool:
    """Tell from its first bytes whether a file is DICOM, with the preamble of PS3.10 or without."""
    if head[128:132] == b"DICM":
        return True
    # Without a preamble the file begins with an element of group 2 or 8: its tag, then in explicit
    # form two capital letters, else a length that cannot be large.
    if head[:2] not in (b"\2\0", b"\x08\0", b"\0\2", b"\0\x08") or len(head) < 8:
        return False
    if head[4:6].isalpha() and head[4:6].isupper():
        return True
    return head[3] < 0x20 and 0 < int.from_bytes(head[4:8], "little") < 1024


@dataclass(frozen=True)
class _Image:
    """A DICOM file that is open at the value of its pixel data."""

    file: CappedFile
    header: Dataset
    syntax: str
    keyword: str
    vr: str
    is_encapsulated: bool
    start: int
    length: int
    frames: int

    @functools.cached_property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns, samples of a frame."""
        rows, columns = number_of(self.header, "Rows"), number_of(self.header, "Columns")
        return rows, columns, number_of(self.header, "SamplesPerPixel")

    @functools.cached_property
    def bits(self) -> int:
        """Bits of a sample as it lies in the file."""
        return number_of(self.header, "BitsAllocated")


def read_header(file: BinaryIO, tags: list[BaseTag | int] | None) -> Dataset:
    """Read the elements before the pixels, within bounds: those listed, or all.

    Elements are decoded when they are looked at, each by itself.
    """
    return _header(file, tags)[1]


def _header(file: BinaryIO, tags: list[BaseTag | int] | None) -> tuple[CappedFile, Dataset, str]:
    """Read the header: the file, inflated and open behind it, the elements, and the syntax."""
    from pydicom.filereader import read_dataset, read_preamble

    capped = CappedFile(file)
    read_preamble(capped, force=True)  # type: ignore[arg-type]
    syntax = _transfer_syntax(capped)
    if syntax == _DEFLATED:
        capped, syntax = CappedFile(io.BytesIO(_inflated(capped.read()))), _EXPLICIT
    header = read_dataset(
        capped,  # type: ignore[arg-type]
        is_implicit_VR=syntax == _IMPLICIT,
        is_little_endian=syntax != _BIG_ENDIAN,
        stop_when=lambda tag, vr, length: tag in _PIXEL_KEYWORDS,
        specific_tags=tags,
    )
    return capped, header, syntax


def _open(file: BinaryIO) -> _Image:
    """Read the header up to the pixels, and check that they can be there."""
    capped, header, syntax = _header(file, _tags())
    keyword, vr, length = _pixel_element(capped, is_little_endian=syntax != _BIG_ENDIAN)
    image = _Image(
        file=capped,
        header=header,
        syntax=syntax,
        keyword=keyword,
        vr=vr,
        is_encapsulated=length == _UNDEFINED,
        start=capped.tell(),
        length=length,
        frames=_number_of_frames(header),
    )
    _check_room(image)
    return image


@functools.cache
def _tags() -> list[BaseTag | int]:
    from pydicom.tag import Tag

    return [Tag(keyword) for keyword in KEYWORDS]


def _transfer_syntax(file: CappedFile) -> str:
    """Read the file meta information and say how the rest is written, or guess it as is usual."""
    from pydicom.filereader import read_dataset

    start = file.tell()
    group = file.read(2)
    file.seek(start)
    if group == b"\2\0":
        meta = read_dataset(
            file,  # type: ignore[arg-type]
            is_implicit_VR=False,
            is_little_endian=True,
            stop_when=lambda tag, vr, length: tag >> 16 != 2,
        )
        syntax = meta.get("TransferSyntaxUID")
        if syntax:
            return str(syntax)
    start = file.tell()
    first = file.read(6)
    file.seek(start)
    if not first[4:6].isalpha():
        return _IMPLICIT
    return _EXPLICIT if first[1:2] == b"\0" else _BIG_ENDIAN


def _inflated(data: bytes) -> bytes:
    """Inflate what follows the file meta information (PS3.5 A.5), within bounds."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(data, MAX_BYTES)
    if inflater.unconsumed_tail:
        raise Refusal(f"inflates to more than {MAX_BYTES // 2**20} MiB: save it uncompressed.")
    if not inflater.eof:
        raise Refusal(_DAMAGED)
    return inflated


def _pixel_element(file: CappedFile, is_little_endian: bool) -> tuple[str, str, int]:
    """Read the head of the pixel data element: its keyword, type and length."""
    order = "<" if is_little_endian else ">"
    head = file.read(8)
    if len(head) < 8:
        raise Refusal("is a DICOM file without pixels: leave it out.")
    group, element = struct.unpack(f"{order}HH", head[:4])
    vr = head[4:6]
    if vr in _LONG_VRS:
        (length,) = struct.unpack(f"{order}L", file.read(4))
    else:
        vr = b"OW"
        (length,) = struct.unpack(f"{order}L", head[4:])
    return _PIXEL_KEYWORDS[group << 16 | element], vr.decode(), length


def _number_of_frames(header: Dataset) -> int:
    frames = number_of(header, "NumberOfFrames", default=1) or 1
    if not 1 <= frames <= MAX_FRAMES:
        raise Refusal(f"claims more than {MAX_FRAMES:,} frames: export it again.")
    return frames


def _check_room(image: _Image) -> None:
    """Refuse an image too large to decode, or larger than the file that holds it."""
    rows, columns, samples = image.shape
    bits = image.bits
    if min(rows, columns) < 1:
        raise Refusal("has no pixels: export or copy it again.")
    if samples not in (1, 3) or bits not in (1, 8, 16, 32, 64):
        raise Refusal(f"stores {samples} samples of {bits} bits a pixel: save it in gray or RGB.")
    if not 1 <= number_of(image.header, "BitsStored", default=bits) <= bits:
        raise Refusal("stores more bits than its type has: export it again.")
    stored = number_of(image.header, "BitsStored", default=bits)
    if number_of(image.header, "HighBit", default=stored - 1) != stored - 1:
        raise Refusal("stores its bits shifted (HighBit): export it again with the lowest bit 0.")
    if samples == 1 and photometric_of(image.header) not in (*GRAY, "PALETTE COLOR"):
        raise Refusal("has one sample a pixel and a photometric interpretation of three: export "
                      "it again.")  # fmt: skip
    check_size((rows, columns, samples), np.dtype(f"u{max(bits // 8, 1)}"))
    left = image.file.left
    if image.is_encapsulated:
        needed, given = image.frames * _ITEM, left
    else:
        needed, given = _native_bytes(image, image.frames), min(image.length, left)
        if image.length > left:
            raise Refusal(_DAMAGED)
    if given < needed:
        raise Refusal(f"holds fewer bytes of pixels than its {image.frames} frame(s) of {rows} x "
                      f"{columns} pixels take: export or copy it again.")  # fmt: skip


def _native_bytes(image: _Image, frames: int) -> int:
    """Count the bytes of uncompressed frames (PS3.5 8.1.1 and 8.2)."""
    values = frames * math.prod(image.shape)
    if image.header.get("PhotometricInterpretation") == "YBR_FULL_422":
        values = values // 3 * 2
    return math.ceil(values * image.bits / 8)


def _decode(image: _Image, frame: int) -> tuple[np.ndarray, Facts]:
    from pydicom.pixels.utils import as_pixel_options
    from pydicom.uid import UID

    header = image.header
    options: dict[str, Any] = as_pixel_options(header)
    options.update(
        number_of_frames=image.frames,
        pixel_keyword=image.keyword,
        pixel_vr=image.vr,
        transfer_syntax_uid=UID(image.syntax),
    )
    decoder = decoder_of(image.syntax)
    if image.is_encapsulated != decoder.is_encapsulated:
        raise Refusal("says of its pixels that they are compressed where they are not, or not "
                      "where they are: export it again.")  # fmt: skip
    if image.is_encapsulated:
        _check_codestream(image, frame, options)
    image.file.seek(image.start, os.SEEK_SET)
    pixels, _ = decoder.as_array(image.file, index=frame, validate=True, **options)  # type: ignore[arg-type]
    pixels = pixels.reshape(image.shape)
    facts = facts_of(header, frame, pixels.dtype, is_little_endian=image.syntax != _BIG_ENDIAN)
    if facts.photometric == "PALETTE COLOR":
        pixels = looked_up(pixels[..., 0], header, is_little_endian=image.syntax != _BIG_ENDIAN)
        facts = replace(facts, dtype=pixels.dtype.name, value_range=full_range(pixels.dtype))
    return pixels, facts


def _check_codestream(image: _Image, frame: int, options: dict[str, Any]) -> None:
    from pydicom.encaps import get_frame

    image.file.seek(image.start, os.SEEK_SET)
    data = get_frame(
        image.file,
        frame,
        number_of_frames=image.frames,
        extended_offsets=options.get("extended_offsets"),
    )
    check_frame(image.syntax, data, *image.shape)
