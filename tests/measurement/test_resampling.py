"""Pixels of another size: against the formulas on the whole image, and by the command."""

import csv
import math
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import map_coordinates
from torch import Tensor

from glcm_mae.cli import main
from glcm_mae.data import UnreadableImage
from glcm_mae.measurement import resampling as module
from glcm_mae.measurement.resampling import resample
from glcm_mae.texture import FEATURE_NAMES, fixed_bin_number, image_features, volume_features

from ..commands import complaint
from ..data.readers.samples import dicom

ORDERS = {"linear": 1, "cubic": 3}
RNG = np.random.default_rng(0)
NOISE = RNG.integers(-100, 200, (9, 8, 5)).astype(np.int16)  # to the right, forward, up
LESION = np.zeros(NOISE.shape, np.uint8)
LESION[1:6, 2:7, 1:4] = 1


def grid(n: int, side: float, wanted: float) -> np.ndarray:
    """Where the new pixels of an axis lie, in old ones, as IBSI's section 2.4 writes it."""
    many = math.ceil(round(n * side / wanted, 4))
    return (n - 1 - wanted / side * (many - 1)) / 2 + wanted / side * np.arange(many)


def whole(
    values: Tensor, inside: Tensor, sides: list[float], wanted: list[float], kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """Resample the whole image; one value after the other."""
    axes = [grid(*axis) for axis in zip(values.shape, sides, wanted, strict=True)]
    places = np.meshgrid(*axes, indexing="ij")
    found, share = (
        map_coordinates(old.double().numpy(), places, order=order, mode="nearest")
        for old, order in ((values, ORDERS[kind]), (inside, 1))
    )
    return found.astype(np.float32), share >= 0.5 - 1e-6


SIDES = st.sampled_from([0.3, 0.7, 0.9765625, 1.0, 3.0])
WANTED = st.sampled_from([0.25, 0.7, 1.0, 2.0, 7.5, 200.0])


@given(
    st.integers(0, 99),
    st.lists(st.integers(1, 7), min_size=2, max_size=3),
    st.data(),
    st.sampled_from(["linear", "cubic"]),
)
@settings(max_examples=150)
def test_a_region_is_what_it_is_in_the_whole_image(
    seed: int, shape: list[int], data: st.DataObject, kind: str
) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(shape, generator=generator)
    inside = torch.rand(shape, generator=generator) < data.draw(st.sampled_from([0.05, 0.5, 1.1]))
    sides, wanted = ([data.draw(one) for _ in shape] for one in (SIDES, WANTED))
    found, region = resample(values, inside, sides, wanted, kind, Path("a.nii"))
    expected, expected_region = whole(values, inside, sides, wanted, kind)
    assert found.dtype == torch.float32
    assert region.dtype == torch.bool
    assert int(region.sum()) == int(expected_region.sum())
    np.testing.assert_allclose(found[region], expected[expected_region], rtol=2e-7, atol=1e-7)
    if inside.any():  # and where its voxels lie to each other
        places, expected_places = region.nonzero().numpy(), np.argwhere(expected_region)
        np.testing.assert_array_equal(places - places[:1], expected_places - expected_places[:1])


def test_a_cubic_spline_needs_no_more_than_its_margin() -> None:
    values = torch.rand(200, 90, generator=torch.Generator().manual_seed(0))
    inside = torch.zeros(200, 90, dtype=torch.bool)
    inside[100:104, 40:50] = True
    found, region = resample(values, inside, (1, 1), (0.6, 0.6), "cubic", Path("a.png"))
    expected, expected_region = whole(values, inside, [1, 1], [0.6, 0.6], "cubic")
    assert found.numel() < 500
    assert np.array_equal(found[region].numpy(), expected[expected_region])


@pytest.mark.parametrize("kind", ["linear", "cubic"])
def test_pixels_of_the_size_that_is_asked_for_stay_as_they_are(kind: str) -> None:
    values, inside = torch.rand(6, 7, 8), torch.rand(6, 7, 8) < 0.5
    found, region = resample(values, inside, (0.7, 0.7, 3), (0.7, 0.7, 3), kind, Path("a.nii"))
    np.testing.assert_allclose(found[region], values[inside], atol=1e-6)


def test_a_share_of_one_half_is_in_the_region_however_it_is_rounded() -> None:
    """Three old voxels of 0.1 mm: the new one's centre lies between the second and the third."""
    inside = torch.tensor([[True, True, False, False]])
    _, region = resample(torch.zeros(1, 4), inside, (1, 0.1), (1, 0.4), "linear", Path("a.png"))
    assert region.tolist() == [[True]]


@pytest.mark.parametrize("kind", ["linear", "cubic"])
@pytest.mark.parametrize("value", [-1000.0, -1024.0, 0.1])
def test_a_constant_region_stays_constant(kind: str, value: float) -> None:
    """Its noise in the last digits once filled all bins, and a range lost a sixth of it."""
    values, inside = torch.full((20, 20, 9), value), torch.ones(20, 20, 9, dtype=torch.bool)
    found, _ = resample(values, inside, (0.977, 0.977, 3), (2, 2, 2), kind, Path("air.nii"))
    assert found.unique().tolist() == [torch.tensor(value).item()]


@pytest.mark.parametrize(
    ("n", "side", "wanted", "many"),
    [(40, 1.1, 1.1, 40), (512, 0.6, 1.2, 256), (100, 0.8, 1.0, 80), (10, 3.0, 0.1, 300)],
)
def test_sides_in_float32_are_those_that_were_meant(
    n: int, side: float, wanted: float, many: int
) -> None:
    values, inside = torch.rand(1, n), torch.ones(1, n, dtype=torch.bool)
    exact, told = (
        resample(values, inside, (1, length), (1, wanted), "linear", Path("a.nii"))[0]
        for length in (side, float(np.float32(side)))
    )
    assert exact.shape == told.shape == (1, many)
    torch.testing.assert_close(exact, told, rtol=0, atol=1e-4)
    if side == wanted:
        assert torch.equal(told, values)


def test_a_region_that_is_empty_stays_empty() -> None:
    nothing = torch.zeros(3, 3, dtype=torch.bool)
    _, region = resample(torch.rand(3, 3), nothing, (1, 1), (2, 2), "linear", Path("a.png"))
    assert not region.any()


def test_a_grid_that_no_memory_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = torch.ones(10, 10, dtype=torch.bool)
    monkeypatch.setattr(module, "memory_left", lambda: 8 * 3 * 200.0)
    resample(torch.rand(10, 10), everywhere, (1, 1), (1, 1), "linear", Path("a.png"))
    with pytest.raises(UnreadableImage, match=r"a\.png would be resampled to 20 x 20, .*--spacing"):
        resample(torch.rand(10, 10), everywhere, (1, 1), (0.5, 0.5), "linear", Path("a.png"))


# --- by the command


@pytest.fixture
def ct(tmp_path: Path) -> list[str]:
    """Voxels of 0.7 x 0.7 x 3 mm and a lesion, as the words of the command."""
    affine = np.diag([-0.7, -0.7, 3, 1])
    for name, voxels in (("ct", NOISE), ("lesion", LESION)):
        nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / f"{name}.nii.gz")
    return [str(tmp_path / "ct.nii.gz"), "--masks", str(tmp_path / "lesion.nii.gz")]


def table(tmp_path: Path, *words: object) -> list[dict[str, str]]:
    out = tmp_path / "features.csv"
    assert main(["features", *map(str, words), "-o", str(out)]) == 0
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(row: dict[str, str]) -> list[float]:
    return [float(row[name]) for name in FEATURE_NAMES]


def as_frames(voxels: np.ndarray) -> Tensor:
    """Slices from the feet on, as readers turn them: the voxels' axes run to the left and back."""
    return torch.from_numpy(voxels.transpose(2, 1, 0).copy())


@pytest.mark.parametrize("kind", ["linear", "cubic"])
@pytest.mark.parametrize("way", ["3d_averaged", "3d_merged", "2d_averaged", "2.5d_merged"])
def test_a_volume(tmp_path: Path, ct: list[str], way: str, kind: str) -> None:
    words = ("--aggregation", way, "--spacing", 1.2, "--interpolation", kind)
    [row] = table(tmp_path, *ct, *words)
    wanted = [1.2 if way.startswith("3d") else 3.0, 1.2, 1.2]
    sides = np.abs(np.array([3.0, 0.7, 0.7])).tolist()
    values, inside = whole(as_frames(NOISE), as_frames(LESION) > 0, sides, wanted, kind)
    region = torch.from_numpy(inside)
    codes = fixed_bin_number(torch.from_numpy(values), 32, mask=region, ndim=3)
    expected = volume_features(codes, 32, way, mask=region).tolist()
    assert numbers(row) == pytest.approx(expected, rel=1e-9)
    assert row["pixels"] == str(int(region.sum()))
    assert (row["spacing"], row["interpolation"]) == ("1.2", kind)


def test_a_unit_that_is_not_named_is_told(
    tmp_path: Path, ct: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = "1 file(s), such as " + ct[0] + ", name no unit"
    table(tmp_path, *ct, "--aggregation", "3d_merged", "--spacing", 1)
    assert said in capsys.readouterr().err  # nibabel writes none
    table(tmp_path, *ct, "--aggregation", "3d_merged")
    assert "name no unit" not in capsys.readouterr().err
    image = nibabel.load(ct[0])
    image.header.set_xyzt_units("mm")
    nibabel.save(nibabel.Nifti1Image(NOISE, image.affine, image.header), ct[0])
    table(tmp_path, *ct, "--aggregation", "3d_merged", "--spacing", 1)
    assert "name no unit" not in capsys.readouterr().err


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_slices_of_any_plane_are_resampled_in_it(
    tmp_path: Path, ct: list[str], plane: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = table(tmp_path, ct[0], "--plane", plane, "--spacing", 1)
    assert "squares" not in capsys.readouterr().err
    right, forward, up = math.ceil(9 * 0.7), math.ceil(8 * 0.7), 15
    shape = {"axial": (forward, right), "coronal": (up, right), "sagittal": (up, forward)}[plane]
    assert {row["pixels"] for row in rows} == {str(math.prod(shape))}


def test_values_are_rounded_after_resampling_and_outliers_left_out_before_the_range_counts(
    tmp_path: Path, ct: list[str]
) -> None:
    words = ("--aggregation", "3d_merged", "--spacing", 1.2, "--round_values", "true")
    more = ("--outliers", 1.5, "--range", "0,inf", "--levels", 16)
    [row] = table(tmp_path, *ct, *words, *more)
    values, inside = whole(
        as_frames(NOISE), as_frames(LESION) > 0, [3, 0.7, 0.7], [1.2] * 3, "linear"
    )
    values = np.rint(values)
    found = values[inside]
    near = np.abs(values - found.mean()) <= 1.5 * found.std()
    kept = inside & near & (values >= 0)
    assert 0 < kept.sum() < (inside & near).sum() < inside.sum()
    assert row["left_out"] == str(int(inside.sum() - kept.sum()))
    region = torch.from_numpy(kept)
    codes = fixed_bin_number(torch.from_numpy(values), 16, mask=region, ndim=3)
    expected = volume_features(codes, 16, "3d_merged", mask=region).tolist()
    assert numbers(row) == pytest.approx(expected, rel=1e-9)
    assert (row["round_values"], row["outliers"]) == ("True", "1.5")


def test_dicom_slices_tell_their_pixels(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 200, (6, 9)).astype(np.uint8)
    (tmp_path / "a.dcm").write_bytes(dicom(pixels, PixelSpacing=[1.0, 0.5]))
    [row] = table(tmp_path, tmp_path / "a.dcm", "--spacing", 0.8)
    everywhere = torch.ones(6, 9, dtype=torch.bool)
    values, _ = whole(torch.from_numpy(pixels), everywhere, [1.0, 0.5], [0.8, 0.8], "linear")
    codes = fixed_bin_number(torch.from_numpy(values), 32)
    assert numbers(row) == pytest.approx(image_features(codes, 32).tolist(), rel=1e-9)


def test_images_that_do_not_tell_their_pixels_are_refused_or_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set").mkdir()
    Image.fromarray(NOISE[..., 0].astype(np.uint8)).save(tmp_path / "set/a.png")
    (tmp_path / "set/b.dcm").write_bytes(
        dicom(NOISE[..., 0].astype(np.uint8), PixelSpacing=[1.0, 0.5])
    )
    words = ["features", str(tmp_path / "set"), "-o", str(tmp_path / "a.csv"), "--spacing", "1"]
    assert "a.png does not tell the size of its pixels" in complaint(capsys, *words)
    [row] = table(tmp_path, tmp_path / "set", "--spacing", 1, "--on_error", "skip")
    assert row["path"].endswith("b.dcm")


def test_frames_that_do_not_tell_how_far_apart_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = NOISE.transpose(2, 0, 1).astype(np.uint8)
    (tmp_path / "a.dcm").write_bytes(dicom(frames, PixelSpacing=[1.0, 0.5]))
    words = [str(tmp_path / "a.dcm"), "--spacing", "1"]
    ask = ["features", *words, "-o", str(tmp_path / "a.csv"), "--aggregation", "3d_merged"]
    assert "does not tell how far apart its slices are" in complaint(capsys, *ask)
    [row] = table(tmp_path, *words, "--aggregation", "2d_averaged")
    assert row["pixels"] == str(5 * 9 * 4)


def test_what_is_not_finite_outside_a_mask_is_not_mixed_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voxels = NOISE.astype(np.float32)
    voxels[0, 0, 0] = np.nan
    for name, of in (("ct", voxels), ("lesion", LESION)):
        nibabel.save(nibabel.Nifti1Image(of, np.diag([0.7, 0.7, 3, 1])), tmp_path / f"{name}.nii")
    words = [str(tmp_path / "ct.nii"), "--masks", str(tmp_path / "lesion.nii")]
    table(tmp_path, *words)
    ask = ["features", *words, "-o", str(tmp_path / "a.csv"), "--spacing", "1"]
    assert "which resampling would mix in" in complaint(capsys, *ask)


def test_a_region_too_small_for_the_new_grid_holds_no_pixel(
    tmp_path: Path, ct: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    marked = LESION.copy()
    marked[8, 7, 4] = 2
    nibabel.save(
        nibabel.Nifti1Image(marked, np.diag([-0.7, -0.7, 3, 1])), tmp_path / "lesion.nii.gz"
    )
    large, small = table(tmp_path, *ct, "--aggregation", "3d_merged", "--spacing", 2)
    assert int(large["pixels"]) > 9
    assert small["pixels"] == "0"
    assert all(map(math.isnan, numbers(small)))
    assert "1 measured. 1 hold no pixel pair" in capsys.readouterr().out


def test_a_volume_that_no_memory_holds_is_skipped(
    tmp_path: Path, ct: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """As of a header that says metres; the table of all others was lost."""
    (tmp_path / "set").mkdir()
    for name, unit in (("a", "mm"), ("b", "meter"), ("c", "mm")):
        image = nibabel.Nifti1Image(NOISE, np.diag([0.7, 0.7, 3, 1]))
        image.header.set_xyzt_units(unit)
        nibabel.save(image, tmp_path / f"set/{name}.nii")
    words = [str(tmp_path / "set"), "--aggregation", "3d_merged", "--spacing", "1"]
    said = complaint(capsys, "features", *words, "-o", str(tmp_path / "a.csv"))
    assert "b.nii would be resampled to 15000 x 5600 x 6300" in said
    rows = table(tmp_path, *words, "--on_error", "skip")
    assert [Path(row["path"]).name for row in rows] == ["a.nii", "c.nii"]
    assert "b.nii: would be resampled" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tilt", "way", "refused"),
    [
        ((0, 0.4, 3), "3d_merged", True),  # from slice to slice
        ((0, 0.4, 3), "2.5d_merged", False),
        ((0, 0.02, 3), "3d_merged", False),
    ],
)
def test_axes_that_do_not_stand_at_right_angles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tilt: Any, way: str, refused: bool
) -> None:
    affine = np.diag([0.7, 0.7, 3, 1])
    affine[:3, 2] = tilt
    nibabel.save(nibabel.Nifti1Image(NOISE, affine), tmp_path / "a.nii")
    words = [str(tmp_path / "a.nii"), "--aggregation", way, "--spacing", "1"]
    if refused:
        said = complaint(capsys, "features", *words, "-o", str(tmp_path / "a.csv"))
        assert "do not stand at right angles" in said
        table(tmp_path, *words[:-2])
    else:
        table(tmp_path, *words)


def test_what_left_all_values_out_is_named(
    tmp_path: Path, ct: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for words, said in (
        (["--range", "900,999"], "because all their values lie beyond --range:"),
        (["--outliers", "1e-9"], "because all their values lie beyond --outliers:"),
        (["--range", "-9,9", "--outliers", "1e-9"], "beyond --range or --outliers:"),
    ):
        main(["features", *ct, "-o", str(tmp_path / "a.csv"), "--aggregation", "3d_merged", *words])
        assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--spacing", "0"], "spacing is 0: set it above 0"),
        (["--spacing", ".inf"], "spacing is inf: set it above 0"),
        (["--spacing", ".nan"], "spacing is nan: set it above 0"),
        (["--interpolation", "cubic"], "interpolation cubic is for resampling: give --spacing"),
        (["--outliers", "-1"], "outliers is -1: set it above 0"),
        (["--round_values", "true", "--window", "0,100"], "round_values is for values in their"),
    ],
)
def test_settings_that_make_no_sense(
    ct: list[str], words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in complaint(capsys, "features", *ct, "-o", "a.csv", *words)
