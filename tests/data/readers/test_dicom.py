"""DICOM: stored values as they are, their meaning as facts, and errors that quote no value."""

import dataclasses
import io
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    HEVCMP51,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    RLELossless,
)

from glcm_mae.data import UnreadableImage, count_frames, read_image
from glcm_mae.data.readers import Window

from . import samples
from .samples import SECRET, dicom, item

NOISE = np.random.default_rng(0).integers(0, 4096, (24, 32), dtype=np.uint16)


def write(folder: Path, data: bytes) -> Path:
    path = folder / "scan.dcm"
    path.write_bytes(data)
    return path


def edited(data: bytes, **elements: object) -> bytes:
    """The same file with other elements; None removes one."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32])
def test_stored_values_are_not_rescaled(tmp_path: Path, dtype: type) -> None:
    ends = np.iinfo(dtype)
    stored = np.array([[ends.min, ends.max, 1], [2, 3, 4]], dtype)
    data = dicom(
        stored, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400,
        PhotometricInterpretation="MONOCHROME1",
    )  # fmt: skip
    pixels, facts = read_image(write(tmp_path, data))
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels[0], stored)
    assert facts.value_range == (ends.min, ends.max)
    assert (facts.slope, facts.intercept, facts.white_is_zero) == (2, -1024, True)
    assert facts.windows == (Window(40, 400),)


def test_facts(tmp_path: Path) -> None:
    data = dicom(
        NOISE, BitsStored=12, HighBit=11, Modality="CT", RescaleSlope="1", RescaleIntercept="-1024",
        WindowCenter=["40", "-600"], WindowWidth=["400", "1500"], VOILUTFunction="LINEAR_EXACT",
        PixelSpacing=["0.5", "0.75"],
    )  # fmt: skip
    _, facts = read_image(write(tmp_path, data))
    assert (facts.format, facts.dtype, facts.bits) == ("dicom", "uint16", 12)
    assert facts.value_range == (0, 4095)
    assert (facts.unit, facts.photometric, facts.spacing) == ("HU", "MONOCHROME2", (0.5, 0.75))
    assert facts.windows == (Window(40, 400, "LINEAR_EXACT"), Window(-600, 1500, "LINEAR_EXACT"))
    assert facts.is_rescaled


def test_nothing_in_the_facts_comes_from_free_text(tmp_path: Path) -> None:
    data = dicom(NOISE, RescaleSlope=1, RescaleIntercept=0, RescaleType=SECRET,
                 VOILUTFunction=SECRET, WindowCenter=1, WindowWidth=2, Modality=SECRET)  # fmt: skip
    _, facts = read_image(write(tmp_path, data))
    assert SECRET not in repr(dataclasses.asdict(facts))
    assert (facts.unit, facts.windows) == ("US", ())


@pytest.mark.parametrize(
    ("modality", "rescale_type", "unit"),
    [("CT", None, "HU"), ("CT", "HU", "HU"), ("CT", "US", "US"), ("MR", None, "US"),
     ("PT", "HU", "HU")],
)  # fmt: skip
def test_the_unit(tmp_path: Path, modality: str, rescale_type: str | None, unit: str) -> None:
    more = {} if rescale_type is None else {"RescaleType": rescale_type}
    data = dicom(NOISE, Modality=modality, RescaleSlope=1, RescaleIntercept=0, **more)
    assert read_image(write(tmp_path, data))[1].unit == unit


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_a_table_that_begins_below_0_does_so_in_every_syntax(tmp_path: Path, syntax: str) -> None:
    table = item(LUTDescriptor=[4, -1024, 8], LUTData=bytes([0, 9, 99, 255]))
    table["LUTDescriptor"].VR = "SS"
    data = dicom(NOISE, syntax, BitsStored=12, HighBit=11, RescaleSlope=1, RescaleIntercept=-1024,
                 VOILUTSequence=[table])  # fmt: skip
    _, facts = read_image(write(tmp_path, data))
    assert facts.voi_lut is not None
    assert facts.voi_lut.first == -1024


def test_tables(tmp_path: Path) -> None:
    _, facts = read_image(write(tmp_path, samples.samples()["dicom tables"]))
    assert facts.modality_lut is not None
    assert facts.voi_lut is not None
    assert facts.modality_lut(np.array([0, 1, 2, 3, 4000])).tolist() == [1, 2, 3, 4, 4]
    assert facts.voi_lut(np.array([-5, 1, 2, 3, 4, 5])).tolist() == [0, 0, 9, 99, 255, 255]
    assert (facts.modality_lut.bits, facts.voi_lut.bits) == (16, 8)


@pytest.mark.parametrize("with_own", [True, False])
def test_enhanced_files_describe_each_frame(tmp_path: Path, with_own: bool) -> None:
    def group(slope: float, center: float, spacing: float) -> Dataset:
        return item(
            PixelValueTransformationSequence=[
                item(RescaleSlope=slope, RescaleIntercept=1, RescaleType="HU")
            ],
            FrameVOILUTSequence=[item(WindowCenter=center, WindowWidth=10)],
            PixelMeasuresSequence=[item(PixelSpacing=[spacing, spacing])],
        )

    data = dicom(
        np.stack([NOISE, NOISE + 1]),
        SharedFunctionalGroupsSequence=[item() if with_own else group(7, 70, 0.7)],
        **({"PerFrameFunctionalGroupsSequence": [group(2, 20, 0.2), group(3, 30, 0.3)]}
           if with_own else {}),
    )  # fmt: skip
    path = write(tmp_path, data)
    for frame, wanted in ((0, 2), (1, 3)):
        pixels, facts = read_image(path, frame)
        np.testing.assert_array_equal(pixels[0], NOISE + frame)
        wanted = wanted if with_own else 7
        assert (facts.slope, facts.intercept, facts.unit) == (wanted, 1, "HU")
        assert facts.windows == (Window(wanted * 10, 10),)
        assert facts.spacing == (wanted / 10, wanted / 10)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless])
def test_frames(tmp_path: Path, syntax: str, dtype: type) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 5, 7)).astype(dtype)
    streams = {"PixelData": [samples.rle(frame) for frame in frames]}
    path = write(tmp_path, dicom(frames, syntax, **(streams if syntax == RLELossless else {})))
    assert count_frames(path) == 3
    for frame in range(3):
        pixels, facts = read_image(path, frame)
        np.testing.assert_array_equal(pixels[0], frames[frame])
        assert facts.frames == 3
    with pytest.raises(UnreadableImage, match="holds 3 frames: name one of them, 0 to 2"):
        read_image(path)


@pytest.mark.parametrize("depth", [8, 16])
def test_palettes(tmp_path: Path, depth: int) -> None:
    indices = np.array([[0, 1, 2]], np.uint8)
    tables = {"Red": [9, 50, 8], "Green": [9, 60, 8], "Blue": [9, 70, 8]}
    dtype = "u1" if depth == 8 else "<u2"

    def palette(tables: dict[str, list[int]]) -> bytes:
        return dicom(
            indices,
            PhotometricInterpretation="PALETTE COLOR",
            **{f"{c}PaletteColorLookupTableDescriptor": [3, 0, depth] for c in tables},
            **{f"{c}PaletteColorLookupTableData": np.array(t, dtype).tobytes()
               for c, t in tables.items()},
        )  # fmt: skip

    pixels, facts = read_image(write(tmp_path, palette(tables)))
    np.testing.assert_array_equal(pixels[:, 0], [tables[c] for c in samples.COLORS])
    assert (facts.dtype, facts.value_range) == (f"uint{depth}", (0, 2**depth - 1))
    gray, _ = read_image(write(tmp_path, palette({c: [9, 50, 8] for c in samples.COLORS})))
    np.testing.assert_array_equal(gray, [[[9, 50, 8]]])


def test_ybr_becomes_rgb(tmp_path: Path) -> None:
    ybr = np.array([[[76, 85, 255], [255, 128, 128]]], np.uint8)  # red and white, ITU-R BT.601
    data = dicom(ybr, PhotometricInterpretation="YBR_FULL")
    pixels, facts = read_image(write(tmp_path, data))
    np.testing.assert_allclose(pixels[:, 0].T, [[255, 0, 0], [255, 255, 255]], atol=2)
    assert facts.photometric == "YBR_FULL"


def test_overlays_and_unused_bits_are_left_out(tmp_path: Path) -> None:
    # Old scanners keep an overlay in the bits above those of the pixels.
    data = dicom(NOISE | 0x8000, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(read_image(write(tmp_path, data))[0][0], NOISE)


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLSLossless, JPEG2000Lossless])
def test_a_codestream_of_another_size_is_not_decoded(tmp_path: Path, syntax: str) -> None:
    # It would be decoded to the size that it says itself: up to 65,535 squared.
    large = np.zeros((300, 400), np.uint8)
    streams = {
        JPEGBaseline8Bit: lambda: samples.pillow(large, "JPEG"),
        JPEGLSLossless: lambda: imagecodecs.jpegls_encode(large),
        JPEG2000Lossless: lambda: imagecodecs.jpeg2k_encode(large, codecformat="j2k"),
    }
    data = dicom(np.zeros((24, 32), np.uint8), syntax, PixelData=[streams[syntax]()])
    with pytest.raises(UnreadableImage, match="of another size than its header says"):
        read_image(write(tmp_path, data))


def test_12_bit_jpeg(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint16) * 60
    stream = imagecodecs.jpeg8_encode(smooth, level=100, bitspersample=12)
    data = dicom(smooth, JPEGExtended12Bit, BitsStored=12, HighBit=11, PixelData=[stream])
    pixels, _ = read_image(write(tmp_path, data))
    assert np.abs(pixels[0].astype(int) - smooth).max() <= 4


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_without_preamble_and_file_meta(tmp_path: Path, syntax: str) -> None:
    dataset = pydicom.dcmread(io.BytesIO(dicom(NOISE, syntax)))
    stream = io.BytesIO()
    del dataset.file_meta
    dataset.preamble = None
    dataset.Modality = "CT"
    pydicom.dcmwrite(
        stream, dataset, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True
    )
    assert stream.getvalue()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_image(write(tmp_path, stream.getvalue()))[0][0], NOISE)


def test_big_endian(tmp_path: Path) -> None:
    data = dicom(NOISE, ExplicitVRBigEndian, PixelData=NOISE.astype(">u2").tobytes())
    pixels, _ = read_image(write(tmp_path, data))
    assert pixels.dtype.isnative
    np.testing.assert_array_equal(pixels[0], NOISE)


def cases() -> dict[str, tuple[bytes, str]]:
    """Broken or hostile files, and a key word of what is said of them."""
    whole = dicom(NOISE)
    jpeg = samples.pillow(NOISE.astype(np.uint8), "JPEG")
    gray8 = np.zeros((24, 32), np.uint8)
    return {
        "cut in the pixels": (whole[:-100], "truncated or damaged"),
        "cut in the header": (whole[:400], "without pixels"),
        "no pixels": (edited(whole, PixelData=None), "without pixels"),
        "too few pixels": (dicom(NOISE, PixelData=bytes(100)), "fewer bytes of pixels"),
        "gigantic": (dicom(NOISE, Rows=65535, Columns=65535), "65535 x 65535 pixels, more than"),
        "too wide": (dicom(NOISE, Rows=9000, Columns=9000, BitsAllocated=64), "more than 512 MiB"),
        "no rows": (dicom(NOISE, Rows=0), "has no pixels"),
        "many frames": (dicom(NOISE, NumberOfFrames=2**31 - 1), "claims more than"),
        "frames that are not there": (dicom(NOISE, NumberOfFrames=2), "fewer bytes of pixels"),
        "samples": (dicom(NOISE, SamplesPerPixel=4), "4 samples of 16 bits"),
        "bits": (dicom(NOISE, BitsStored=17), "more bits than its type"),
        "photometric": (dicom(NOISE, PhotometricInterpretation=SECRET), "photometric"),
        "slope": (dicom(NOISE, RescaleSlope=0, RescaleIntercept=1), "no RescaleSlope"),
        "segmented palette": (
            dicom(gray8, PhotometricInterpretation="PALETTE COLOR"), "no palette, or one in segm"
        ),
        "unknown codec": (dicom(NOISE, HEVCMP51, PixelData=[b"\0" * 16]), "not read here"),
        "cut jpeg": (dicom(gray8, JPEGBaseline8Bit, PixelData=[jpeg[:-200]]), "cut off"),
        "no jpeg": (dicom(gray8, JPEGBaseline8Bit, PixelData=[b"\0" * 99 + b"\xff\xd9"]),
                    "without a header"),
        "plain pixels, said to be jpeg": (
            whole.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"), "compressed where"
        ),
    }  # fmt: skip


@pytest.mark.parametrize("kind", cases())
def test_what_is_broken_gets_one_sentence(
    tmp_path: Path, kind: str, recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]
) -> None:
    data, said = cases()[kind]
    path = write(tmp_path, data)
    recwarn.clear()
    with pytest.raises(UnreadableImage) as caught:
        read_image(path, 0)
    message = str(caught.value)
    assert message.startswith(f"{path} ")
    assert said in message
    assert SECRET not in message
    assert caught.value.__cause__ is None  # a traceback would print pydicom's message
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def test_warnings_of_pydicom_quote_no_values(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    # pydicom warns of both, with the value.
    path = write(tmp_path, edited(dicom(NOISE), SpecificCharacterSet=SECRET, WindowCenter=1))
    path.write_bytes(path.read_bytes().replace(b"\2\0DS\0", b"\2\0DX\0"))
    with pytest.warns(UserWarning, match=SECRET):
        pydicom.dcmread(path)
    caplog.clear()
    recwarn.clear()
    read_image(path)
    assert not recwarn.list
    assert not caplog.records


def test_a_jpeg_ls_stream_without_an_end_is_refused_at_once(tmp_path: Path) -> None:
    # Found by fuzzing: CharLS looks for the end of such a stream for about ten seconds.
    stream = imagecodecs.jpegls_encode(NOISE)
    data = dicom(NOISE, JPEGLSLossless, PixelData=[stream[:100] + b"\0" * 12])
    with pytest.raises(UnreadableImage, match="cut off"):
        read_image(write(tmp_path, data))
