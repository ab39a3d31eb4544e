"""A volume is the same whatever its format, and whatever the order of its axes."""

import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glcm_mae.data import UnreadableImage, count_frames, read_grid, read_image
from glcm_mae.data.readers import is_image, is_volume, without_ending

from .samples import metaimage, nifti, nrrd

PLANES = ("axial", "coronal", "sagittal")
PLAIN: dict[str, Callable[..., bytes]] = {
    "nifti": nifti,
    "nrrd": nrrd,
    "nrrd RAS": lambda *volume: nrrd(*volume, space="right-anterior-superior"),
    "nrrd LAS": lambda *volume: nrrd(*volume, space="LAS"),
    "metaimage": metaimage,
}
FORMATS = {
    **PLAIN,
    "nifti gz": lambda *volume: gzip.compress(nifti(*volume)),
    "nrrd gz": lambda *volume: nrrd(*volume, encoding="gzip"),
    "nrrd bz2": lambda *volume: nrrd(*volume, encoding="bzip2"),
    "metaimage zlib": lambda *volume: metaimage(*volume, CompressedData=True),
}


def random_affine(seed: int, axes: list[int], flips: list[int], tilt: float) -> np.ndarray:
    """An affine whose voxel axes run, but for a tilt, along these axes of the patient."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(np.eye(3) + tilt * rng.normal(size=(3, 3)))
    turn *= np.sign(np.diag(turn))
    affine = np.eye(4)
    affine[:3, :3] = turn[:, axes] * flips * rng.uniform(0.3, 4, 3)
    affine[:3, 3] = 100 * rng.normal(size=3)
    return affine


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    seed=st.integers(0, 99),
    axes=st.permutations(range(3)),
    flips=st.tuples(*[st.sampled_from([-1, 1])] * 3).map(list),
    tilt=st.sampled_from([0.0, 0.1]),
    shape=st.tuples(*[st.integers(2, 5)] * 3),
    dtype=st.sampled_from(["<u1", "<i2", ">i2", "<f4", ">f8"]),
)
def test_every_format_gives_the_same_slices_and_grid(seed, axes, flips, tilt, shape, dtype):
    voxels = np.random.default_rng(seed).integers(0, 99, shape).astype(dtype)
    affine = random_affine(seed, axes, flips, tilt)
    # The same voxels to the right, forward and up: what is read must not depend on the rest.
    upright = voxels[tuple(np.s_[::flip] for flip in flips)].transpose(np.argsort(axes))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "scan")
        for name, write in PLAIN.items():
            path.write_bytes(write(voxels, affine))
            grid = read_grid(path)
            assert grid is not None
            assert grid.shape == upright.shape, name
            ends = np.array(shape) - 1
            first = np.where(np.array(flips) > 0, 0, ends)
            rounding = 1e-3 if "nifti" in name else 1e-9
            for place, voxel in (([0] * 3, first), (np.array(grid.shape) - 1, ends - first)):
                np.testing.assert_allclose(
                    grid.affine @ [*place, 1], affine @ [*voxel, 1], atol=rounding, err_msg=name
                )
            for normal, plane in ((2, "axial"), (1, "coronal"), (0, "sagittal")):
                assert count_frames(path, plane) == upright.shape[normal]
                for frame in range(upright.shape[normal]):
                    pixels, facts = read_image(path, frame, plane)
                    wanted = np.take(upright, frame, axis=normal)[::-1, ::-1].T
                    np.testing.assert_array_equal(pixels[0], wanted, err_msg=name)
                    assert pixels.dtype == voxels.dtype.newbyteorder("=")
                    assert facts.spacing == pytest.approx(grid.pixel(plane), rel=1e-5)


@pytest.mark.parametrize("form", ["nifti", "nrrd", "metaimage"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", "i8", "u8"])
def test_types(tmp_path: Path, form: str, dtype: str) -> None:
    voxels = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path = tmp_path / "scan"
    path.write_bytes(FORMATS[form](voxels))
    if dtype[1:] == "8" and dtype[0] != "f":
        with pytest.raises(UnreadableImage, match="int64 values: save it as integers of 8 to 32"):
            read_image(path, 0)
        return
    pixels, facts = read_image(path, 3)
    assert (pixels.dtype, facts.format, facts.dtype) == (dtype, form, pixels.dtype.name)
    np.testing.assert_array_equal(pixels[0], voxels[::-1, ::-1, 3].T)


@pytest.mark.parametrize("form", ["nrrd gz", "nrrd bz2", "metaimage zlib"])
def test_packed_voxels_are_unpacked_once_and_counted_without(form, tmp_path, monkeypatch):
    from glcm_mae.data.readers.voxels import Voxels

    path = tmp_path / "scan"
    noise = np.random.default_rng(0).integers(0, 99, (9, 9, 9), dtype=np.int16)
    path.write_bytes(FORMATS[form](noise))
    unpacked = []
    unpack = Voxels._unpack
    monkeypatch.setattr(Voxels, "_unpack", lambda self: unpacked.append(1) or unpack(self))
    assert count_frames(path) == 9
    assert not unpacked
    slices = np.stack([read_image(path, frame)[0][0] for frame in range(9)], axis=-1)
    np.testing.assert_array_equal(slices, noise[::-1, ::-1].transpose(1, 0, 2))
    assert len(unpacked) == 1


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("cut", [1, 40, 200])
def test_truncated_voxels(form: str, cut: int, tmp_path: Path) -> None:
    path = tmp_path / "scan"
    noise = np.random.default_rng(0).integers(0, 99, (9, 9, 9), dtype=np.int16)
    path.write_bytes(FORMATS[form](noise)[: -cut - 8])  # 8: the sum behind what is packed
    with pytest.raises(UnreadableImage, match="is truncated or damaged: export or copy it again"):
        read_image(path, 0)


@pytest.mark.parametrize(
    ("form", "place"), [("nrrd gz", -6), ("nrrd bz2", -4), ("metaimage zlib", -2)]
)
def test_a_wrong_checksum_is_found(form: str, place: int, tmp_path: Path) -> None:
    path = tmp_path / "scan"
    noise = np.random.default_rng(0).integers(0, 99, (9, 9, 9), dtype=np.int16)
    data = bytearray(FORMATS[form](noise))
    data[place] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(UnreadableImage, match="is truncated or damaged: export or copy it again"):
        read_image(path, 0)


@pytest.mark.parametrize("form", ["nrrd", "metaimage"])
def test_a_single_slice_has_but_one_plane(form: str, tmp_path: Path) -> None:
    voxels = np.arange(12, dtype=np.int16).reshape(3, 1, 4)
    path = tmp_path / "scan"
    path.write_bytes(FORMATS[form](voxels))
    for plane in PLANES:
        np.testing.assert_array_equal(read_image(path, None, plane)[0][0], voxels[::-1, 0, ::-1].T)


def test_names() -> None:
    names = ["a.nrrd", "a.seg.nrrd", "a.MHA", "a.nhdr", "a.mhd"]
    assert [is_volume(Path(name)) for name in names] == [True, True, True, False, False]
    assert [without_ending(Path(name)) for name in names] == ["a", "a.seg", "a", "a", "a"]


def test_headers_without_voxels_are_not_left_out_in_silence(tmp_path: Path) -> None:
    for name in ("a.nrrd", "a.mha", "a.nhdr", "a.mhd", "a.raw"):
        (tmp_path / name).touch()
    assert [is_image(path) for path in sorted(tmp_path.iterdir())] == [True] * 4 + [False]
