"""MetaImage: where it lies, what its channels are, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from glcm_mae.data import UnreadableImage, count_frames, read_grid, read_image

from .samples import SECRET, metaimage

HEAD = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


def write(folder: Path, data: bytes) -> Path:
    path = folder / "scan"
    path.write_bytes(data)
    return path


ITK = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 0 1 0 0 0 1 1 0 0
Offset = 7 8 9
CenterOfRotation = 0 0 0
AnatomicalOrientation = AIR
ElementSpacing = 0.5 2 3
DimSize = 4 5 6
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""


def test_a_file_as_itk_writes_it(tmp_path: Path) -> None:
    path = write(tmp_path, ITK.encode() + HEAD.tobytes(order="F"))
    # Its first axis runs to the back, the second up, the third to the left.
    pixels, facts = read_image(path, 1)
    np.testing.assert_array_equal(pixels[0], HEAD[:, 1, :])
    assert (facts.format, facts.spacing, facts.frames) == ("metaimage", (0.5, 3.0), 5)
    np.testing.assert_array_equal(read_image(path, 0, "coronal")[0][0], HEAD[3, ::-1, :])
    np.testing.assert_array_equal(read_image(path, 0, "sagittal")[0][0], HEAD[:, ::-1, 5].T)
    grid = read_grid(path)
    assert (grid.shape, grid.sides) == ((6, 4, 5), (3.0, 0.5, 2.0))
    np.testing.assert_array_equal(grid.affine[:3, 3], [-7 - 15, -8 - 1.5, 9])


@pytest.mark.parametrize(
    "edits",
    [
        {"ObjectType = Image\n": ""},
        {" = ": "="},
        {"\n": "\r\n"},
        {"TransformMatrix": "Rotation", "Offset": "Position"},
        {"TransformMatrix": "Orientation", "Offset": "Origin"},
        {"AnatomicalOrientation = AIR\n": "", "CenterOfRotation = 0 0 0\n": ""},
        {"BinaryData = True\n": "", "BinaryDataByteOrderMSB = False\n": ""},
        {"ObjectType": "Comment = Röntgen\nObjectType", "MET_SHORT": "MET_SHORT_ARRAY"},
    ],
)
def test_other_ways_to_write_the_same(edits: dict[str, str], tmp_path: Path) -> None:
    text = ITK
    for old, new in edits.items():
        text = text.replace(old, new)
    path = write(tmp_path, text.encode() + HEAD.tobytes(order="F"))
    np.testing.assert_array_equal(read_image(path, 1)[0][0], HEAD[:, 1, :])
    np.testing.assert_array_equal(read_grid(path).affine[:3, 3], [-7 - 15, -8 - 1.5, 9])


def test_a_header_that_is_no_unicode(tmp_path: Path) -> None:
    text = ITK.replace("ObjectType", "Comment = ?\nObjectType").encode()
    data = text.replace(b"?", b"R\xf6ntgen \xff") + HEAD.tobytes(order="F")
    np.testing.assert_array_equal(read_image(write(tmp_path, data), 1)[0][0], HEAD[:, 1, :])


def test_a_long_has_four_bytes(tmp_path: Path) -> None:
    path = write(tmp_path, metaimage(HEAD.astype("i4"), ElementType="MET_LONG"))
    np.testing.assert_array_equal(read_image(path, 2)[0][0], HEAD[::-1, ::-1, 2].T)


@pytest.mark.parametrize("name", ["BinaryDataByteOrderMSB", "ElementByteOrderMSB"])
def test_big_endian(name: str, tmp_path: Path) -> None:
    fields = {"BinaryDataByteOrderMSB": None, name: True}
    path = write(tmp_path, metaimage(HEAD.astype(">i2"), **fields))
    np.testing.assert_array_equal(read_image(path, 2)[0][0], HEAD[::-1, ::-1, 2].T)


@pytest.mark.parametrize(("unit", "scale"), [("mm", 1), ("cm", 10), ("um", 0.001)])
def test_units(unit: str, scale: float, tmp_path: Path) -> None:
    path = write(tmp_path, metaimage(HEAD, np.diag([1.0, 2, 3, 1]), DistanceUnits=unit))
    assert read_image(path, 0)[1].spacing == pytest.approx((2 * scale, scale))
    assert read_grid(path).sides == pytest.approx((scale, 2 * scale, 3 * scale))


@pytest.mark.parametrize("fields", [{"ElementSpacing": None}, {"DistanceUnits": "?"}])
def test_without_a_unit_or_a_spacing_none_is_told(fields, tmp_path) -> None:
    path = write(tmp_path, metaimage(HEAD, **fields))
    assert read_image(path, 0)[1].spacing is None
    assert read_grid(path).sides == (1, 1, 1)


def test_a_series_of_volumes(tmp_path: Path) -> None:
    series = np.stack([HEAD, HEAD + 1000], axis=-1)
    path = write(tmp_path, metaimage(series, np.diag([-1.0, -2, 3, 1])))
    assert count_frames(path) == 12
    assert (read_grid(path).volumes, read_grid(path).sides) == (2, (1, 2, 3))
    np.testing.assert_array_equal(read_image(path, 8)[0][0], HEAD[:, :, 2].T + 1000)


@pytest.mark.parametrize("compressed", [False, True])
def test_colour(compressed: bool, tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype=np.uint8)
    fields = {"ElementNumberOfChannels": 3, "CompressedData": compressed}
    pixels, facts = read_image(write(tmp_path, metaimage(stored, **fields)))
    np.testing.assert_array_equal(pixels, stored.transpose(0, 2, 1))
    assert (facts.photometric, facts.frames) == ("RGB", 1)
    volume = np.stack([stored, stored + 1], axis=-1)
    pixels, facts = read_image(write(tmp_path, metaimage(volume, **fields)), 1)
    np.testing.assert_array_equal(pixels, (stored + 1)[:, ::-1, ::-1].transpose(0, 2, 1))
    assert facts.frames == 2


def test_an_image_of_two_axes_is_shown_as_stored(tmp_path: Path) -> None:
    flat = np.arange(20, dtype=np.uint8).reshape(4, 5)
    path = write(tmp_path, metaimage(flat.T, TransformMatrix=None, ElementSpacing="0.5 0.7"))
    for plane in ("axial", "coronal", "sagittal"):
        pixels, facts = read_image(path, None, plane)
        np.testing.assert_array_equal(pixels[0], flat)
        assert facts.spacing == (0.7, 0.5)
    assert read_grid(path) is None


def broken() -> dict[str, tuple[bytes, str]]:
    whole = metaimage(HEAD)
    damaged = "is truncated or damaged"
    wide = np.zeros((2, 2, 2, 2, 2), "u1")
    return {
        "detached": (
            metaimage(HEAD, ElementDataFile="/etc/passwd"),
            "keeps its voxels in another file: save it as .mha",
        ),
        "list of files": (
            metaimage(HEAD, ElementDataFile="LIST")[:-100],
            "keeps its voxels in another file",
        ),
        "no end": (whole[:60], "header that does not end"),
        "no sizes": (metaimage(HEAD, DimSize=None), "header without NDims, DimSize or ElementType"),
        "no axes": (metaimage(HEAD, NDims=None), "header without NDims, DimSize or ElementType"),
        "no type": (metaimage(HEAD, ElementType=None), "header without NDims, DimSize"),
        "unknown type": (metaimage(HEAD, ElementType="MET_STRING"), "values of an unknown type"),
        "text": (metaimage(HEAD, BinaryData=False), "holds its voxels as text"),
        "skip": (metaimage(HEAD, HeaderSize=-1), "skips what stands before its voxels"),
        "no matrix": (metaimage(HEAD, TransformMatrix=None), "does not say how the patient lies"),
        "flat": (metaimage(HEAD, TransformMatrix="1 0 0 1 0 0 0 0 1"), "affine is singular"),
        "no length": (metaimage(HEAD, ElementSpacing="0 1 1"), "ElementSpacing that is no length"),
        "negative": (metaimage(HEAD, ElementSpacing="1 -1 1"), "ElementSpacing that is no length"),
        "nan": (metaimage(HEAD, Offset="0 nan 0"), "that is no length"),
        "infinite": (metaimage(HEAD, ElementSpacing="1 1 1e999"), "that is no length"),
        "words": (metaimage(HEAD, Offset=f"0 0 {SECRET}"), damaged),
        "short matrix": (metaimage(HEAD, TransformMatrix="1 0 0 1"), damaged),
        "short spacing": (metaimage(HEAD, ElementSpacing="1 1"), damaged),
        "short offset": (metaimage(HEAD, Offset="1 1"), damaged),
        "unlike axes": (metaimage(HEAD, NDims=2), damaged),
        "no number": (metaimage(HEAD, DimSize="4 5 six"), damaged),
        "zero": (metaimage(HEAD, DimSize="4 5 0"), damaged),
        "no channels": (metaimage(HEAD, ElementNumberOfChannels=0), damaged),
        "larger": (metaimage(HEAD, DimSize="4 5 7"), damaged),
        "gigantic": (metaimage(HEAD, DimSize="99999999 99999999 99999999"), damaged),
        "gigantic zlib": (
            metaimage(HEAD, DimSize="2000 2000 2000", CompressedData=True),
            "unpacks to more than 512 MiB: save it without compression",
        ),
        "no zlib": (metaimage(HEAD, CompressedData="True"), damaged),
        "one axis": (metaimage(HEAD[0, 0], NDims=1), "is no volume"),
        "five axes": (metaimage(wide), "is no volume"),
        "four colours": (
            metaimage(np.stack([HEAD] * 4), ElementNumberOfChannels=4),
            "has 4 channels: save it in gray or RGB",
        ),
        "not a number": (metaimage(np.full((2, 2, 2), np.nan, np.float32)), "NaN"),
    }


@pytest.mark.parametrize("kind", broken())
def test_what_is_broken_gets_one_sentence(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data, said = broken()[kind]
    with pytest.raises(UnreadableImage, match=f"scan .*({said})") as caught:
        read_image(write(tmp_path, data), 0)
    assert SECRET not in str(caught.value)
    assert capfd.readouterr() == ("", "")
