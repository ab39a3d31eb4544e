"""Every 16-bit value survives reading and cropping, bit by bit, in every format that holds it."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from glcm_mae.data import Record, load_images, read_image

from .samples import RAMP16, dicom, hdf5, metaimage, nifti, npy, npz, nrrd, rle, tiff

RAMP = np.tile(RAMP16, (1, 2))  # 256 x 512, so that there is something to crop
CODECS = {
    JPEGLosslessSV1: lambda x: imagecodecs.jpeg8_encode(x, lossless=True, bitspersample=16),
    JPEGLSLossless: imagecodecs.jpegls_encode,
    JPEG2000Lossless: lambda x: imagecodecs.jpeg2k_encode(x, codecformat="j2k", reversible=True),
    RLELossless: rle,
}
FORMATS = {
    "png": lambda: imagecodecs.png_encode(RAMP),
    "tiff": lambda: tiff(RAMP),
    "tiff big endian": lambda: tiff(RAMP, byteorder=">"),
    "tiff lzw": lambda: tiff(RAMP, compression="lzw", predictor=True),
    "tiff deflate": lambda: tiff(RAMP, compression="deflate", tile=(64, 64)),
    "tiff packbits": lambda: tiff(RAMP, compression="packbits"),
    "dicom": lambda: dicom(RAMP),
    "dicom implicit": lambda: dicom(RAMP, ImplicitVRLittleEndian),
    "dicom big endian": lambda: dicom(
        RAMP, ExplicitVRBigEndian, PixelData=RAMP.astype(">u2").tobytes()
    ),
    "dicom deflated": lambda: dicom(RAMP, DeflatedExplicitVRLittleEndian),
    **{
        f"dicom {syntax.keyword}": lambda syntax=syntax: dicom(
            RAMP, syntax, PixelData=[CODECS[syntax](RAMP)]
        )
        for syntax in CODECS
    },
    "nifti": lambda: nifti(RAMP[::-1, ::-1].T[..., None]),
    "nrrd": lambda: nrrd(RAMP[::-1, ::-1].T[..., None]),
    "nrrd big endian": lambda: nrrd(RAMP.T.astype(">u2"), space=None, encoding="gzip"),
    "metaimage": lambda: metaimage(RAMP.T),
    "metaimage zlib": lambda: metaimage(
        RAMP[::-1, ::-1].T[..., None].astype(">u2"), CompressedData=True
    ),
    "npy": lambda: npy(RAMP),
    "npz": lambda: npz({"image": RAMP}),
    "hdf5": lambda: hdf5(RAMP, chunks=(100, 100), compression="gzip", shuffle=True),
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_value_survives(tmp_path: Path, form: str) -> None:
    path = tmp_path / "ramp"
    path.write_bytes(FORMATS[form]())
    pixels, facts = read_image(path)
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels[0], RAMP)
    assert (facts.bits, facts.value_range) == (16, (0, 65535))
    # Without a resize float32 holds 16 bits exactly; so it does where the middle is cut out.
    record = Record(path, None, "p", None)
    cropped = load_images([record], image_size=(256, 256), resize="crop").pixels[0, 0]
    back = np.rint(cropped.numpy().astype(np.float64) * 65535).astype(np.uint16)
    np.testing.assert_array_equal(back, RAMP[:, 128:384])


def test_signed_values_survive_a_window(tmp_path: Path) -> None:
    signed = RAMP16.view(np.int16)
    path = tmp_path / "ramp"
    path.write_bytes(dicom(signed, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024))
    pixels, facts = read_image(path)
    np.testing.assert_array_equal(pixels[0], signed)
    assert facts.value_range == (-32768, 32767)
    window = (-32768.0 - 1024, 32767.0 - 1024)
    scaled = load_images([Record(path, None, "p", None)], (256, 256), window=window).pixels[0, 0]
    back = np.rint(scaled.numpy().astype(np.float64) * 65535 - 32768).astype(np.int16)
    np.testing.assert_array_equal(back, signed)
