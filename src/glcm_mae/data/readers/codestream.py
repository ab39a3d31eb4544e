"""Decoding one compressed frame of a DICOM file, after its own header has been believed less.

A codestream (JPEG, JPEG-LS, JPEG 2000) states its size a second time. A decoder allocates by that
statement, so it must agree with the DICOM header, which has been checked.

pydicom decodes JPEG baseline (Pillow) and JPEG-LS (pyjpegls). What it has no free decoder for, or a
slow one, is added here: JPEG 2000 (openjpeg), JPEG lossless and 12-bit JPEG (libjpeg-turbo) and RLE
(PackBits), the last two in imagecodecs.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING

import numpy as np

from .refusal import Refusal

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import Decoder, DecodeRunner

__all__ = ["check_frame", "decoder_of", "stated_by_jpeg"]

# DICOM PS3.5 A.4, by family.
RLE = "1.2.840.10008.1.2.5"
_JPEG_8 = "1.2.840.10008.1.2.4.50"
_JPEG_12 = "1.2.840.10008.1.2.4.51"
_JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_OWN = (RLE, _JPEG_12, *_JPEG_LOSSLESS, *_JPEG_2000)
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_PYDICOMS = (*_NATIVE, _JPEG_8, *_JPEG_LS)

# pydicom asks these of a module of decoders.
DECODER_DEPENDENCIES = dict.fromkeys(_OWN, ("imagecodecs", "openjpeg"))

_END = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000 alike
_PADDING = 16
_RLE_HEADER = 64
_RLE_SLACK = 128  # a segment is padded; at most one run too many


def is_available(uid: str) -> bool:
    """Tell pydicom whether `decode` takes a transfer syntax."""
    return uid in _OWN


@functools.cache
def decoder_of(uid: str) -> Decoder:
    """Find the decoder of a transfer syntax.

    Parameters
    ----------
    uid : str
        The transfer syntax.

    Returns
    -------
    Decoder
        pydicom's, or one of pydicom's kind that uses `decode`.

    Raises
    ------
    Refusal
        There is none.
    """
    from pydicom.pixels.decoders.base import Decoder, get_decoder
    from pydicom.uid import UID

    if uid in _OWN:
        # A decoder of our own: adding to pydicom's would change it for the whole process.
        decoder = Decoder(UID(uid))
        decoder.add_plugin("glcm_mae", (__name__, "decode"))
        return decoder
    if uid not in _PYDICOMS:
        raise Refusal(
            "is compressed in a way that is not read here (its transfer syntax is none of JPEG, "
            "JPEG-LS, JPEG 2000, RLE and deflated): decompress it with your DICOM tools."
        )
    return get_decoder(UID(uid))


def check_frame(uid: str, data: bytes, rows: int, columns: int, samples: int) -> None:
    """Refuse a compressed frame that says another size than the DICOM header.

    Parameters
    ----------
    uid : str
        The transfer syntax.
    data : bytes
        The codestream.
    rows, columns, samples : int
        The size in the DICOM header.

    Raises
    ------
    Refusal
        They differ, or the codestream is none.
    """
    if uid == RLE:
        return
    # Of a stream that is cut off, decoders make up the rest, and CharLS looks for it for seconds.
    if data.rfind(_END) < len(data) - _PADDING:
        raise Refusal("holds compressed pixels that are cut off: export or copy it again.")
    stated = _stated_by_jpeg_2000(data) if uid in _JPEG_2000 else stated_by_jpeg(data)
    if stated != (rows, columns, samples):
        raise Refusal("holds compressed pixels of another size than its header says: export it "
                      "again.")  # fmt: skip


def decode(data: bytes, runner: DecodeRunner) -> bytes:
    """Decode one frame, for pydicom.

    Parameters
    ----------
    data : bytes
        The codestream.
    runner : DecodeRunner
        What the DICOM header says, and takes what the decoder makes of it.

    Returns
    -------
    bytes
        The samples, little endian.
    """
    uid = str(runner.transfer_syntax)
    if uid == RLE:
        return _decode_rle(data, runner)
    if uid in _JPEG_2000:
        return _decode_jpeg_2000(data, runner)
    return _decode_jpeg(data, runner)


def _decode_rle(data: bytes, runner: DecodeRunner) -> bytes:
    """Unpack DICOM's RLE (PS3.5 annex G): a PackBits segment for each byte of each sample."""
    import imagecodecs

    pixels = runner.rows * runner.columns
    width = runner.bits_allocated // 8
    count, *starts = struct.unpack("<16L", data[:_RLE_HEADER])
    if count != runner.samples_per_pixel * width:
        raise ValueError("another number of RLE segments than the header says")
    ends = [*starts[1:count], len(data)]
    planes = np.empty((runner.samples_per_pixel, pixels, width), np.uint8)
    for number, (start, end) in enumerate(zip(starts, ends, strict=False)):
        segment = imagecodecs.packbits_decode(data[start:end], out=pixels + _RLE_SLACK)
        if len(segment) < pixels:
            raise ValueError("an RLE segment is short")
        sample, byte = divmod(number, width)  # the most significant byte comes first
        planes[sample, :, width - 1 - byte] = np.frombuffer(segment, np.uint8, pixels)
    runner.set_option("planar_configuration", 1)
    return planes.tobytes()


def _decode_jpeg_2000(data: bytes, runner: DecodeRunner) -> bytes:
    from openjpeg.utils import decode_pixel_data

    if runner.photometric_interpretation in ("YBR_ICT", "YBR_RCT"):
        runner.set_option("photometric_interpretation", "RGB")  # openjpeg undoes the transform
    precision = runner.get_option("j2k_precision", runner.bits_stored)
    runner.set_option("bits_allocated", 8 if precision <= 8 else 16 if precision <= 16 else 32)
    return bytes(decode_pixel_data(data, version=2))


def _decode_jpeg(data: bytes, runner: DecodeRunner) -> bytes:
    import imagecodecs

    # The same colour space in and out: pydicom turns YCbCr into RGB where the header says so.
    color = "GRAYSCALE" if runner.samples_per_pixel == 1 else "RGB"
    samples = imagecodecs.jpeg8_decode(data, colorspace=color, outcolorspace=color)
    runner.set_option("bits_allocated", 8 * samples.dtype.itemsize)
    runner.set_option("planar_configuration", 0)
    return samples.tobytes()


def _stated_by_jpeg_2000(data: bytes) -> tuple[int, int, int]:
    from openjpeg.utils import get_parameters

    stated = get_parameters(data)
    return int(stated["rows"]), int(stated["columns"]), int(stated["samples_per_pixel"])


def stated_by_jpeg(data: bytes) -> tuple[int, int, int]:
    """Read the frame header (SOF) of a JPEG or JPEG-LS codestream (ITU-T T.81 B.2.2).

    Parameters
    ----------
    data : bytes
        The codestream.

    Returns
    -------
    (int, int, int)
        Rows, columns and samples.

    Raises
    ------
    Refusal
        There is none.
    """
    place = 2
    while place + 10 <= len(data):
        marker = data[place : place + 2]
        if marker == b"\xff\xff":  # fill
            place += 1
            continue
        (length,) = struct.unpack(">H", data[place + 2 : place + 4])
        if marker[0] != 0xFF or length < 2:
            break
        if marker[1] == 0xF7 or (0xC0 <= marker[1] <= 0xCF and marker[1] not in (0xC4, 0xC8, 0xCC)):
            rows, columns, samples = struct.unpack(">HHB", data[place + 5 : place + 10])
            return rows, columns, samples
        place += 2 + length
    raise Refusal("holds compressed pixels without a header: export or copy it again.")
