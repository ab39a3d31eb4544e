"""Every file that pydicom ships: read as pydicom reads it, or refused in one clear sentence."""

import os
import re
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_color_lut

from glcm_mae.data import UnreadableImage, count_frames, read_image

FOLDER = Path(pydicom.__file__).parent / "data/test_files"

# What pydicom reads only with decoders that are not free (GPL), or not at all: shape, type, and the
# least and greatest value, as decoded by openjpeg and libjpeg-turbo.
READ_BEYOND_PYDICOM = {
    "GDCMJ2K_TextGBR.dcm": ((3, 400, 400), "uint8", 0, 255),
    "JPEG-lossy.dcm": ((1, 1024, 256), "uint16", 0, 264),
    "JPGExtended.dcm": ((1, 1024, 256), "uint16", 0, 264),
    "SC_rgb_jpeg_gdcm.dcm": ((3, 100, 100), "uint8", 0, 255),
}
REFUSED = {
    "JPEG2000-embedded-sequence-delimiter.dcm": "truncated or damaged",
    "MR_truncated.dcm": "truncated or damaged",
    "badVR.dcm": "has no NumberOfFrames that is a number",
    "meta_missing_tsyntax.dcm": "has no Rows that is a number",
    "nested_priv_SQ.dcm": "has no Rows that is a number",
    "zipMR.gz": "is no NIfTI file",
}
NOT_DICOM = ("txt", "README", "json", "dump", "icc", "no_meta.dcm")


def files() -> list[str]:
    found = [Path(folder, name) for folder, _, names in os.walk(FOLDER) for name in names]
    return sorted(path.relative_to(FOLDER).as_posix() for path in found)


def frames_by_pydicom(path: Path) -> np.ndarray | None:
    """All frames (N, C, H, W), or None where pydicom finds no pixels or cannot decode them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(path, force=True)
            pixels = dataset.pixel_array
        except Exception:
            return None
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, dataset)
    frames = int(dataset.get("NumberOfFrames") or 1)
    shape = frames, dataset.Rows, dataset.Columns, -1
    return np.moveaxis(pixels.reshape(shape), -1, 1)


def test_each_is_read_as_pydicom_reads_it_or_refused(recwarn: pytest.WarningsRecorder) -> None:
    outcomes = {"read": 0, "read beyond pydicom": 0, "refused": 0, "without pixels": 0}
    for name in files():
        path = FOLDER / name
        theirs = frames_by_pydicom(path)
        recwarn.clear()
        try:
            ours = np.stack([read_image(path, k)[0] for k in range(count_frames(path))])
        except UnreadableImage as error:
            message, cause = str(error), error.__cause__
            assert cause is None, name
            assert theirs is None, name
            assert message.startswith(f"{path} "), name
            assert "\n" not in message, name
            if "without pixels" in message:
                outcomes["without pixels"] += 1
            elif any(name.endswith(end) for end in NOT_DICOM):
                assert "is not a PNG" in message, name
            else:
                assert re.search(REFUSED[Path(name).name], message), (name, message)
                outcomes["refused"] += 1
        else:
            if theirs is None:
                shape, dtype, least, greatest = READ_BEYOND_PYDICOM[name]
                assert (ours[0].shape, ours.dtype.name) == (shape, dtype), name
                assert (ours.min(), ours.max()) == (least, greatest), name
                outcomes["read beyond pydicom"] += 1
            else:
                assert ours.dtype == theirs.dtype.newbyteorder("="), name
                np.testing.assert_array_equal(ours, theirs, err_msg=name)
                outcomes["read"] += 1
        assert not recwarn.list, name
    assert outcomes == {
        "read": 86, "read beyond pydicom": 4, "refused": 6, "without pixels": 71,
    }  # fmt: skip


def test_the_middle_of_a_lossless_file_has_the_colours_that_it_shows() -> None:
    # JPEG lossless, which pydicom cannot decode here: bars of pure colours, as the same picture
    # shows uncompressed.
    pixels, _ = read_image(FOLDER / "SC_rgb_jpeg_gdcm.dcm")
    plain, _ = read_image(FOLDER / "SC_rgb_rle.dcm")
    np.testing.assert_array_equal(pixels, plain)
