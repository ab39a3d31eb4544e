"""NIfTI: whatever the order of its axes, a slice is shown as radiologists see it."""

import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest
import tifffile

from glcm_mae.data import UnreadableImage, count_frames, read_grid, read_image
from glcm_mae.data.readers import unpacked

from .samples import nifti

# A head whose voxels tell where they are: 100 x + 10 y + z, x to the right, y forward, z up.
SHAPE = 4, 5, 6
HEAD = (100 * np.arange(4)[:, None, None] + 10 * np.arange(5)[:, None] + np.arange(6)).astype("i2")
PLANES = ("axial", "coronal", "sagittal")


def write(folder: Path, data: bytes) -> Path:
    path = folder / "scan"
    path.write_bytes(data)
    return path


def stored(axes: tuple[int, ...], flips: tuple[bool, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The head with its axes in another order and direction, and the affine that says so."""
    spacing = (1.0, 2.0, 3.0)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for voxel_axis, axis in enumerate(axes):
        affine[axis, voxel_axis] = -spacing[axis] if flips[voxel_axis] else spacing[axis]
    voxels = HEAD.transpose(axes)[tuple(np.s_[:: -1 if flip else 1] for flip in flips)]
    return np.ascontiguousarray(voxels), affine


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_up_is_up_and_right_is_left(tmp_path: Path, axes: tuple[int, int, int]) -> None:
    x, y, z = (slice(None, None, -1),) * 3
    upright = {
        "axial": (2, lambda k: HEAD[x, y, k].T, (2.0, 1.0)),  # rows from front to back
        "coronal": (1, lambda k: HEAD[x, k, z].T, (3.0, 1.0)),  # rows from top to bottom
        "sagittal": (0, lambda k: HEAD[k, y, z].T, (3.0, 2.0)),
    }
    for flips in itertools.product([False, True], repeat=3):
        voxels, affine = stored(axes, flips)
        path = write(tmp_path, nifti(voxels, affine))
        for plane, (normal, wanted, spacing) in upright.items():
            assert count_frames(path, plane) == SHAPE[normal]
            for frame in range(SHAPE[normal]):
                pixels, facts = read_image(path, frame, plane)
                np.testing.assert_array_equal(pixels[0], wanted(frame))
            assert facts.spacing == pytest.approx(spacing)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_a_grid_is_the_same_whatever_the_order_of_the_axes(tmp_path, axes) -> None:
    for flips in itertools.product([False, True], repeat=3):
        voxels, affine = stored(axes, flips)
        grid = read_grid(write(tmp_path, gzip.compress(nifti(voxels, affine))))
        assert grid is not None
        assert (grid.shape, grid.volumes, grid.sides) == (SHAPE, 1, (1.0, 2.0, 3.0))
        assert (grid.pixel("coronal"), grid.square_planes) == ((3.0, 1.0), [])
        np.testing.assert_array_equal(grid.affine[:3, :3], np.diag([1, 2, 3]))
        # Where the first voxel to the right, front and head lies, by the file's own affine.
        first = [SHAPE[axis] - 1 if flip else 0 for axis, flip in zip(axes, flips, strict=True)]
        np.testing.assert_array_equal(grid.affine[:3, 3], (affine @ [*first, 1])[:3])


@pytest.mark.parametrize(("unit", "scale"), [(1, 1000.0), (2, 1.0), (3, 0.001), (0, 1.0)])
def test_a_grid_is_in_millimetres(tmp_path: Path, unit: int, scale: float) -> None:
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = 4.0
    grid = read_grid(write(tmp_path, nifti(HEAD, affine, xyzt_units=unit)))
    assert grid is not None
    assert grid.sides == pytest.approx((scale, 2 * scale, 3 * scale))
    assert grid.affine[0, 3] == pytest.approx(4 * scale)


def test_a_grid_is_read_from_the_header_alone(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 99, (50, 50, 50), dtype=np.int16)
    path = write(tmp_path, gzip.compress(nifti(noise))[:9000])
    grid = read_grid(path)
    assert grid is not None
    assert grid.shape == (50, 50, 50)
    with pytest.raises(UnreadableImage, match="truncated or damaged"):
        read_image(path, 0)
    tifffile.imwrite(tmp_path / "scan", noise[0])
    assert read_grid(path) is None


def test_the_corners_of_an_axial_slice(tmp_path: Path) -> None:
    pixels, _ = read_image(write(tmp_path, nifti(HEAD)), 2)
    assert pixels[0, 0, 0] == 342  # upper left: the patient's right (x = 3), in front (y = 4)
    assert pixels[0, -1, -1] == 2  # lower right: left, behind


def test_stored_values_stay_and_the_rescaling_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, nifti(HEAD, scl_slope=2, scl_inter=-1024))
    pixels, facts = read_image(path, 0)
    assert pixels.dtype == np.int16
    assert (facts.slope, facts.intercept) == (2, -1024)
    for slope in (0, np.nan):  # both mean: none
        _, facts = read_image(write(tmp_path, nifti(HEAD, scl_slope=slope, scl_inter=5)), 0)
        assert not facts.is_rescaled


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
def test_types(tmp_path: Path, dtype: str) -> None:
    pixels, facts = read_image(write(tmp_path, nifti(HEAD.astype(dtype))), 3)
    assert pixels.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(pixels[0], HEAD.astype(dtype)[::-1, ::-1, 3].T)
    assert facts.bits == 8 * np.dtype(dtype).itemsize


def test_colour(tmp_path: Path) -> None:
    rgb = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    voxels = np.zeros((3, 2, 1), rgb)
    voxels["R"], voxels["B"] = 7, 9
    pixels, facts = read_image(write(tmp_path, nifti(voxels)))
    assert pixels.shape == (3, 2, 3)
    np.testing.assert_array_equal(pixels[:, 0, 0], [7, 0, 9])
    assert facts.photometric == "RGB"


def test_a_series_of_volumes_and_a_single_slice(tmp_path: Path) -> None:
    series = np.stack([HEAD, HEAD + 1000], axis=-1)
    path = write(tmp_path, nifti(series))
    assert count_frames(path) == 12
    np.testing.assert_array_equal(read_image(path, 8)[0], read_image(path, 2)[0] + 1000)
    # A file of one slice has but one plane, whichever is asked for.
    path = write(tmp_path, nifti(HEAD[:, 2:3]))
    for plane in PLANES:
        np.testing.assert_array_equal(read_image(path, None, plane)[0][0], HEAD[::-1, 2, ::-1].T)


def test_gzipped_files_are_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, gzip.compress(nifti(HEAD)))
    opened = []
    unpack = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda *a: opened.append(1) or unpack(*a))
    slices = [read_image(path, frame)[0][0] for frame in range(6)]
    np.testing.assert_array_equal(np.stack(slices, axis=-1), HEAD[::-1, ::-1].transpose(1, 0, 2))
    assert len(opened) == 1
    write(tmp_path, gzip.compress(nifti(HEAD + 1)))  # the same name, another content
    np.testing.assert_array_equal(read_image(path, 0)[0][0], slices[0] + 1)
    assert len(unpacked._kept) == 1


def broken() -> dict[str, tuple[bytes, str]]:
    whole = nifti(HEAD)
    return {
        "cut": (whole[:-10], "truncated"),
        "cut header": (whole[:348], "truncated|damaged|no NIfTI"),
        "pair": (whole.replace(b"n+1\0", b"ni1\0"), "half of a pair"),
        "gzipped text": (gzip.compress(b"hello" * 100), "is no NIfTI file"),
        "cut gzip": (gzip.compress(whole)[:-20], "truncated or damaged"),
        "no orientation": (nifti(HEAD, qform_code=0, sform_code=0), "how the patient lies"),
        "flat affine": (nifti(HEAD, srow_x=np.zeros(4), sform_code=2), "affine is singular"),
        "no affine": (nifti(HEAD, srow_x=[np.nan] * 4, sform_code=2), "affine is singular"),
        "gigantic": (nifti(HEAD, dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]), "truncated"),
        "negative": (nifti(HEAD, dim=[3, 4, -5, 6, 1, 1, 1, 1]), "no volume"),
        "five axes": (nifti(np.zeros((2, 2, 2, 2, 2), np.int16)), "no volume"),
        "slope": (nifti(HEAD, scl_slope=np.inf), "slope or intercept"),
        "complex": (nifti(HEAD.astype(np.complex64)), "stores complex64"),
        "int64": (nifti(HEAD.astype(np.int64)), "stores int64 values: save it as integers of 8"),
        "nan": (nifti(np.full((2, 2, 2), np.nan, np.float32)), "NaN"),
    }


@pytest.mark.parametrize("kind", broken())
def test_what_is_broken_gets_one_sentence(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data, said = broken()[kind]
    with pytest.raises(UnreadableImage, match=f"scan .*({said})"):
        read_image(write(tmp_path, data), 0)
    assert capfd.readouterr() == ("", "")
