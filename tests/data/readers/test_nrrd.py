"""NRRD: what its axes are, where it lies, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from glcm_mae.data import UnreadableImage, count_frames, read_grid, read_image

from .samples import SECRET, nrrd

HEAD = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
UPRIGHT = HEAD[::-1, ::-1]  # axial slices of it, transposed


def write(folder: Path, data: bytes) -> Path:
    path = folder / "scan"
    path.write_bytes(data)
    return path


def of_lines(*lines: str, data: bytes = HEAD.tobytes(order="F")) -> bytes:
    return "\n".join(["NRRD0005", *lines, "", ""]).encode() + data


SLICER = (
    "# Complete NRRD file format specification at:",
    "# http://teem.sourceforge.net/nrrd/format.html",
    "type: short",
    "dimension: 3",
    "space: left-posterior-superior",
    "sizes: 4 5 6",
    "space directions: (0.5,0,0) (0,0.5,0) (0,0,2)",
    "kinds: domain domain domain",
    "endian: little",
    "encoding: raw",
    "space origin: (-10,-20,30)",
)


def test_a_file_as_3d_slicer_writes_it(tmp_path: Path) -> None:
    path = write(tmp_path, of_lines(*SLICER))
    pixels, facts = read_image(path, 2)
    np.testing.assert_array_equal(pixels[0], HEAD[:, :, 2].T)  # right to left, front to back
    assert (facts.format, facts.bits, facts.spacing, facts.frames) == ("nrrd", 16, (0.5, 0.5), 6)
    grid = read_grid(path)
    assert grid is not None
    assert (grid.shape, grid.volumes, grid.sides) == ((4, 5, 6), 1, (0.5, 0.5, 2.0))
    # The voxel that is farthest to the left, back and feet, to the right, forward and up.
    np.testing.assert_array_equal(grid.affine[:3, 3], [10 - 1.5, 20 - 2, 30])


@pytest.mark.parametrize(
    "lines",
    [
        ["Type: Short", "Space: LPS", "Sizes: 4 5 6", "Encoding: RAW"],
        ["space directions: (0.5, 0, 0) (0, 0.5, 0) (0, 0, 2)", "space origin: (-10, -20, 30)"],
        ["type:=CT", "sizes:=large", "type:=CT", "data file:=of yesterday"],  # keys, no fields
        ["# a comment: (", "content: Röntgen", "no field at all", "empty:"],
        [line + "\r" for line in SLICER],
    ],
)
def test_other_ways_to_write_the_same(lines: list[str], tmp_path: Path) -> None:
    names = {line.split(":")[0].lower() for line in lines if ":=" not in line}
    kept = [line for line in SLICER if line.split(":")[0] not in names]
    path = write(tmp_path, of_lines(*kept, *lines))
    np.testing.assert_array_equal(read_image(path, 2)[0][0], HEAD[:, :, 2].T)
    grid, other = read_grid(path), read_grid(write(tmp_path, of_lines(*SLICER)))
    np.testing.assert_array_equal(grid.affine, other.affine)


def test_a_header_that_is_no_unicode(tmp_path: Path) -> None:
    data = of_lines("content: ?", "patient:=?", *SLICER).replace(b"?", b"R\xf6ntgen \xff")
    np.testing.assert_array_equal(read_image(write(tmp_path, data), 2)[0][0], HEAD[:, :, 2].T)


@pytest.mark.parametrize(
    ("units", "scale"),
    [('"mm" "mm" "mm"', 1), ('"cm" "cm" "cm"', 10), ('"m" "m" "m"', 1000), ('"" "" ""', 1),
     ('"µm" "µm" "µm"', 0.001), ('"Micron" "Micron" "Micron"', 0.001), ("", 1)],
)  # fmt: skip
def test_units(units: str, scale: float, tmp_path: Path) -> None:
    path = write(tmp_path, nrrd(HEAD, np.diag([1.0, 2, 3, 1]), space_units=units))
    assert read_image(path, 0)[1].spacing == pytest.approx((2 * scale, scale))
    assert read_grid(path).sides == pytest.approx((scale, 2 * scale, 3 * scale))


@pytest.mark.parametrize("units", ['"furlong" "furlong" "furlong"', '"mm" "mm" "cm"'])
def test_of_a_unit_that_is_none_no_spacing_is_told(units: str, tmp_path: Path) -> None:
    path = write(tmp_path, nrrd(HEAD, space_units=units))
    assert read_image(path, 0)[1].spacing is None
    assert read_grid(path).sides == (1, 1, 1)


@pytest.mark.parametrize("kinds", ["list domain domain domain", "domain domain domain time"])
def test_a_series_of_volumes(kinds: str, tmp_path: Path) -> None:
    voxels = np.stack([HEAD, HEAD + 1000], axis=0 if kinds.startswith("list") else 3)
    directions = ["(1,0,0)", "(0,1,0)", "(0,0,1)"]
    directions.insert(0 if kinds.startswith("list") else 3, "none")
    fields = {"kinds": kinds, "space_directions": " ".join(directions), "space_origin": "(0,0,0)"}
    path = write(tmp_path, nrrd(voxels, **fields))
    assert count_frames(path) == 12
    assert read_grid(path).volumes == 2
    np.testing.assert_array_equal(read_image(path, 8)[0][0], HEAD[:, :, 2].T + 1000)


def test_a_space_that_has_time(tmp_path: Path) -> None:
    series = np.stack([HEAD, HEAD + 1000], axis=-1)
    path = write(
        tmp_path,
        nrrd(
            series,
            space="left-posterior-superior-time",
            space_directions="(1,0,0,0) (0,1,0,0) (0,0,2,0) (0,0,0,5)",
            space_origin="(1,2,3,0)",
            space_units='"mm" "mm" "mm" "s"',
        ),
    )
    np.testing.assert_array_equal(read_image(path, 8)[0][0], HEAD[:, :, 2].T + 1000)
    grid = read_grid(path)
    assert (grid.volumes, grid.sides) == (2, (1, 1, 2))
    assert grid.affine[2, 3] == 3


@pytest.mark.parametrize("kind", ["RGB-color", "3-color", "vector"])
@pytest.mark.parametrize("place", [0, 2])
def test_colour(kind: str, place: int, tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    kinds = ["domain", "domain"]
    kinds.insert(place, kind)
    voxels = np.moveaxis(stored, -1, place)
    none = dict.fromkeys(("space", "space_directions", "space_origin"))
    path = write(tmp_path, nrrd(voxels, kinds=" ".join(kinds), **none))
    pixels, facts = read_image(path)
    np.testing.assert_array_equal(pixels, stored.transpose(2, 1, 0))
    assert (facts.photometric, facts.frames, facts.spacing) == ("RGB", 1, None)


@pytest.mark.parametrize(
    ("lines", "spacing"),
    [
        ([], None),
        (["spacings: 0.5 0.7"], (0.7, 0.5)),
        (["spacings: 0.5 0.7", 'units: "cm" "cm"'], (7, 5)),
        (["spacings: 0.5 NaN"], None),
        (["space dimension: 2", "space directions: (-0.5,0) (0,0.7)"], (0.7, 0.5)),
    ],
)
def test_an_image_of_two_axes_is_shown_as_stored(lines, spacing, tmp_path) -> None:
    flat = np.arange(20, dtype=np.uint8).reshape(4, 5)
    header = "dimension: 2", "sizes: 5 4", "type: uint8", "encoding: raw"
    path = write(tmp_path, of_lines(*header, *lines, data=flat.tobytes()))
    for plane in ("axial", "coronal", "sagittal"):
        pixels, facts = read_image(path, None, plane)
        np.testing.assert_array_equal(pixels[0], flat)
        assert facts.spacing == (spacing and pytest.approx(spacing))
    assert read_grid(path) is None


def test_frames_of_two_axes(tmp_path: Path) -> None:
    cine = np.arange(40, dtype=np.uint8).reshape(2, 4, 5)
    header = "dimension: 3", "sizes: 5 4 2", "type: uint8", "encoding: raw"
    path = write(tmp_path, of_lines(*header, "kinds: domain domain time", data=cine.tobytes()))
    assert count_frames(path, "coronal") == 2
    np.testing.assert_array_equal(read_image(path, 1)[0][0], cine[1])


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1)])
def test_an_image_of_one_row_or_column(shape: tuple[int, int], tmp_path: Path) -> None:
    flat = np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)
    path = write(tmp_path, nrrd(flat.T, space=None))
    for plane in ("axial", "coronal", "sagittal"):
        np.testing.assert_array_equal(read_image(path, None, plane)[0][0], flat)


LAYERS = {
    "kinds": "list domain domain domain",
    "space_directions": "none (1,0,0) (0,1,0) (0,0,1)",
    "space_origin": "(0,0,0)",
}


def segmentation(layers: int) -> bytes:
    voxels = np.stack([(HEAD % 3).astype(np.uint8)] * layers)
    data = nrrd(voxels, **LAYERS)
    keys = f"\nSegment0_ID:=Segment_1\nSegment0_LabelValue:=1\nSegment0_Name:={SECRET}\n\n"
    return data.replace(b"\n\n", keys.encode(), 1)


def test_a_segmentation_of_one_layer_is_labels(tmp_path: Path) -> None:
    path = write(tmp_path, segmentation(1))
    assert count_frames(path) == 6
    np.testing.assert_array_equal(read_image(path, 2)[0][0], HEAD[:, :, 2].T % 3)
    assert read_grid(path).volumes == 1


def broken() -> dict[str, tuple[bytes, str]]:
    whole = nrrd(HEAD)
    damaged = "is truncated or damaged"
    return {
        "layers": (segmentation(2), "is a segmentation in 2 layers: save each segment as a file"),
        "detached": (
            b"NRRD0004\ntype: short\ndata file: /etc/passwd\n",
            "keeps its voxels in another file: save it as .nrrd",
        ),
        "list of files": (
            b"NRRD0004\ntype: short\nData File: LIST\na.raw\nb.raw",
            "keeps its voxels in another file",
        ),
        "no end": (whole[:60], "header that does not end"),
        "no type": (nrrd(HEAD, type=None), "header without type, dimension, sizes or encoding"),
        "no sizes": (nrrd(HEAD, sizes=None), "header without type, dimension, sizes"),
        "no encoding": (nrrd(HEAD, encoding=None), "header without type, dimension, sizes"),
        "no dimension": (nrrd(HEAD, dimension=None), "header without type, dimension, sizes"),
        "no endian": (nrrd(HEAD, endian=None), "does not say the order of its bytes"),
        "unknown type": (nrrd(HEAD, type="block"), "values of an unknown type"),
        "unknown encoding": (nrrd(HEAD, encoding="hex"), "as text, or packed in an unknown way"),
        "unknown endian": (nrrd(HEAD, endian=SECRET), "does not say the order of its bytes"),
        "skip": (nrrd(HEAD, byte_skip=-1), "skips what stands before its voxels"),
        "lines": (nrrd(HEAD, line_skip=2), "skips what stands before its voxels"),
        "no space": (nrrd(HEAD, space=None), "does not say how the patient lies"),
        "no patient": (nrrd(HEAD, space="scanner-xyz"), "does not say how the patient lies"),
        "space of ITK": (
            nrrd(
                np.stack([HEAD, HEAD], axis=-1),
                space=None, space_dimension=4, kinds="domain domain domain domain",
                space_directions="(1,0,0,0) (0,1,0,0) (0,0,1,0) (0,0,0,1)",
            ),
            "does not say how the patient lies",
        ),
        "no directions": (nrrd(HEAD, space_directions=None), "does not say how the patient lies"),
        "flat": (nrrd(HEAD, space_directions="(1,0,0) (2,0,0) (0,0,1)"), "affine is singular"),
        "nan": (nrrd(HEAD, space_directions="(1,0,0) (0,nan,0) (0,0,1)"), "that is no length"),
        "infinite": (nrrd(HEAD, space_origin="(1,0,1e999)"), "that is no length"),
        "words": (nrrd(HEAD, space_directions=f"({SECRET},0,0) (0,1,0) (0,0,1)"), damaged),
        "short vectors": (nrrd(HEAD, space_directions="(1,0) (0,1) (0,1)"), damaged),
        "few vectors": (nrrd(HEAD, space_directions="(1,0,0) (0,1,0)"), damaged),
        "few kinds": (nrrd(HEAD, kinds="domain domain"), damaged),
        "unlike dimension": (nrrd(HEAD, dimension=2), damaged),
        "no number": (nrrd(HEAD, sizes="4 5 six"), damaged),
        "no whole number": (nrrd(HEAD, sizes="4 5 6.5"), damaged),
        "zero": (nrrd(HEAD, sizes="4 5 0"), damaged),
        "negative": (nrrd(HEAD, sizes="4 -5 -6"), damaged),
        "larger": (nrrd(HEAD, sizes="4 5 7"), damaged),
        "gigantic": (nrrd(HEAD, sizes="99999999 99999999 99999999"), damaged),
        "gigantic gz": (
            nrrd(HEAD, sizes="2000 2000 2000", encoding="gzip"),
            "unpacks to more than 512 MiB: save it without compression",
        ),
        "no gzip": (nrrd(HEAD).replace(b"raw", b"gzip"), damaged),
        "one axis": (nrrd(np.arange(9, dtype="u1"), space=None), "is no volume"),
        "four axes": (nrrd(np.zeros((2, 2, 2, 2), "u1"), space=None), "is no volume"),
        "two series": (
            nrrd(np.zeros((2, 2, 2, 2), "u1"), kinds="list domain domain time"), "is no volume"
        ),
        "unknown axis": (
            nrrd(np.stack([HEAD] * 3), **{**LAYERS, "kinds": None}),
            "does not say what one of its axes is",
        ),
        "four colours": (
            nrrd(np.stack([HEAD] * 4), **{**LAYERS, "kinds": "vector domain domain domain"}),
            "has 4 channels: save it in gray or RGB",
        ),
        "not a number": (nrrd(np.full((2, 2, 2), np.nan, np.float32)), "NaN"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", broken())
def test_what_is_broken_gets_one_sentence(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data, said = broken()[kind]
    with pytest.raises(UnreadableImage, match=f"scan .*({said})") as caught:
        read_image(write(tmp_path, data), 0)
    assert SECRET not in str(caught.value)
    assert capfd.readouterr() == ("", "")
