"""Whether a mask is that of its image: its frames, its format, its place in space."""

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from nibabel.orientations import inv_ornt_aff
from PIL import Image

from glcm_mae.cli import main
from glcm_mae.texture import FEATURE_NAMES

from ..commands import complaint
from ..data.readers.samples import metaimage, nrrd

RNG = np.random.default_rng(0)
AFFINE = np.array([[-0.7, 0, 0, 90], [0, -0.7, 0, 80], [0, 0, 3, -300], [0, 0, 0, 1]])
CT = RNG.integers(-100, 200, (8, 9, 5)).astype(np.int16)
LESIONS = np.zeros(CT.shape, np.uint8)
LESIONS[1:5, 2:6, 1:3], LESIONS[5:8, 4:9, 2:5] = 1, 2


def volume(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def stack(path: Path, frames: int) -> Path:
    pixels = np.ones((frames, 9, 8), np.uint8)
    if path.suffix == ".npy":
        np.save(path, pixels)
    else:
        tifffile.imwrite(path, pixels, photometric="minisblack")
    return path


def rows(tmp_path: Path, image: Path, mask: Path, way: str) -> list[list[str]]:
    out = tmp_path / "features.csv"
    words = ["features", str(image), "--masks", str(mask), "-o", str(out), "--aggregation", way]
    assert main(words) == 0
    with out.open(newline="") as file:
        return [
            [row["region"], *(row[name] for name in FEATURE_NAMES)] for row in csv.DictReader(file)
        ]


def refusal(capsys: pytest.CaptureFixture[str], image: Path, mask: Path, *words: object) -> str:
    out = image.parent / "x.csv"
    said = complaint(capsys, "features", image, "--masks", mask, "-o", out, *words)
    assert not out.exists()
    return said


@pytest.mark.parametrize("way", ["averaged", "2.5d_merged"])
def test_a_series_of_masks_is_refused(way, tmp_path, capsys):
    image = volume(tmp_path / "ct.nii.gz", CT)
    series = np.stack([LESIONS == 1, LESIONS == 2], axis=-1).astype(np.uint8)
    mask = volume(tmp_path / "lesions.nii.gz", series)
    said = refusal(capsys, image, mask, "--aggregation", way)
    assert f"{image} is one volume and its mask {mask} a series of 2" in said
    assert "lesions numbered 1, 2, ..., or a file for each lesion" in said


def test_one_volume_with_a_fourth_axis_is_one_volume(tmp_path):
    image = volume(tmp_path / "ct.nii.gz", CT)
    expected = rows(tmp_path, image, volume(tmp_path / "m.nii.gz", LESIONS), "3d_merged")
    mask = volume(tmp_path / "m4.nii.gz", LESIONS[..., None])
    assert rows(tmp_path, image, mask, "3d_merged") == expected


def test_of_a_series_and_one_mask_the_image_is_blamed(tmp_path, capsys):
    image = volume(tmp_path / "ct.nii.gz", np.stack([CT, CT], axis=-1))
    mask = volume(tmp_path / "lesions.nii.gz", LESIONS)
    said = refusal(capsys, image, mask, "--aggregation", "3d_merged")
    assert f"{image} is a series of 2 volumes and its mask {mask} one volume" in said
    assert "save each volume of the image as a file of its own" in said


@pytest.mark.parametrize("ending", ["tif", "npy"])
@pytest.mark.parametrize("way", ["merged", "2.5d_merged"])
@pytest.mark.parametrize("frames", [1, 4, 6])
def test_a_mask_of_more_or_fewer_frames_is_refused(ending, way, frames, tmp_path, capsys):
    image = stack(tmp_path / f"image.{ending}", 5)
    mask = stack(tmp_path / f"mask.{ending}", frames)
    said = refusal(capsys, image, mask, "--aggregation", way)
    assert f"{image} holds 5 frames and its mask {mask} {frames}: give a mask with one" in said


def test_a_stack_of_masks_for_one_image_is_refused(tmp_path, capsys):
    Image.new("L", (8, 9), 5).save(tmp_path / "a.png")
    said = refusal(capsys, tmp_path / "a.png", stack(tmp_path / "mask.tif", 3))
    assert f"a.png holds 1 frame and its mask {tmp_path}/mask.tif 3" in said


@pytest.mark.parametrize("ending", ["tif", "npy"])
def test_a_volume_goes_with_a_volume_alone(ending, tmp_path, capsys):
    image = volume(tmp_path / "ct.nii.gz", CT)
    other = stack(tmp_path / f"stack.{ending}", 5)
    said = refusal(capsys, image, other)
    assert f"{image} is a volume in space, whose slices are turned on reading, and its" in said
    assert f"mask {other} is none" in said
    assert "save the mask as NIfTI, NRRD or MetaImage, on the image's grid" in said
    said = refusal(capsys, other, volume(tmp_path / "lesions.nii.gz", LESIONS))
    assert f"{other} is no volume in space and its mask {tmp_path}/lesions.nii.gz is one" in said


def test_dicom_slices_with_a_volume_as_mask_are_to_be_converted(tmp_path, capsys):
    from pydicom.data import get_testdata_file

    image = Path(get_testdata_file("CT_small.dcm"))
    mask = volume(tmp_path / "lesions.nii.gz", LESIONS)
    said = complaint(capsys, "features", image, "--masks", mask, "-o", tmp_path / "x.csv")
    assert "convert the image's series to NIfTI first, as dcm2niix does" in said


WRITERS = {"nrrd": nrrd, "mha": metaimage}


@pytest.mark.parametrize("image_ending", ["nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize("mask_ending", ["nii.gz", "nrrd", "mha"])
def test_a_volume_and_its_mask_may_be_of_any_two_formats(image_ending, mask_ending, tmp_path):
    image, mask = (volume(tmp_path / f"{k}.nii.gz", v) for k, v in (("ct", CT), ("m", LESIONS)))
    turned = np.array([[2, 0, 1], [-1, 1, -1]], float).T
    voxels, affine = (
        nibabel.apply_orientation(LESIONS, turned),
        AFFINE @ inv_ornt_aff(turned, CT.shape),
    )
    others = [image, mask]
    if image_ending in WRITERS:
        others[0] = tmp_path / f"ct.{image_ending}"
        others[0].write_bytes(WRITERS[image_ending](CT, AFFINE))
    if mask_ending in WRITERS:
        others[1] = tmp_path / f"m.{mask_ending}"
        others[1].write_bytes(WRITERS[mask_ending](voxels, affine))
    for way in ("averaged", "3d_merged"):
        assert rows(tmp_path, *others, way) == rows(tmp_path, image, mask, way)


@pytest.mark.parametrize("ending", WRITERS)
def test_a_mask_of_another_format_that_lies_elsewhere_is_refused(ending, tmp_path, capsys):
    image, mask = volume(tmp_path / "ct.nii.gz", CT), tmp_path / f"m.{ending}"
    elsewhere = AFFINE.copy()
    elsewhere[0, 3] += 0.35
    mask.write_bytes(WRITERS[ending](LESIONS, elsewhere))
    said = refusal(capsys, image, mask)
    assert f"{image} lies elsewhere in space than its mask {mask} (its middle 87.55" in said


def test_a_flat_nrrd_goes_with_a_flat_mask(tmp_path):
    flat, mask = tmp_path / "us.nrrd", tmp_path / "mask.png"
    flat.write_bytes(nrrd(CT[:, :, 0], space=None))
    Image.fromarray(LESIONS[:, :, 1].T).save(mask)
    (row,) = rows(tmp_path, flat, mask, "averaged")
    other = stack(tmp_path / "other.npy", 1)
    np.save(other, CT[:, :, 0].T)
    assert rows(tmp_path, other, mask, "averaged") == [row]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 0, 2]])
@pytest.mark.parametrize("flips", [[-1, 1, 1], [1, -1, -1]])
def test_a_mask_whose_axes_run_otherwise_is_read(order, flips, tmp_path):
    image = volume(tmp_path / "ct.nii.gz", CT)
    turned = np.array([order, flips], float).T
    voxels = nibabel.apply_orientation(LESIONS, turned)
    mask = volume(tmp_path / "turned.nii.gz", voxels, AFFINE @ inv_ornt_aff(turned, CT.shape))
    same = volume(tmp_path / "same.nii.gz", LESIONS)
    for way in ("averaged", "3d_merged"):
        assert rows(tmp_path, image, mask, way) == rows(tmp_path, image, same, way)


@pytest.mark.parametrize("shift", [0.005, -0.02])  # mm, of 0.7
def test_a_rounded_affine_is_the_same(shift, tmp_path):
    image = volume(tmp_path / "ct.nii.gz", CT)
    rounded = AFFINE.copy()
    rounded[:3, 3] += shift
    mask = volume(tmp_path / "rounded.nii.gz", LESIONS, rounded)
    assert len(rows(tmp_path, image, mask, "3d_merged")) == 2


def test_a_mask_of_another_grid_is_refused(tmp_path, capsys):
    image = volume(tmp_path / "ct.nii.gz", CT)
    elsewhere, coarser, turned = AFFINE.copy(), AFFINE @ np.diag([2, 2, 1, 1]), AFFINE.copy()
    elsewhere[0, 3] += 0.35
    turned[:2, :2] = 0.7 * np.array([[-0.9, 0.43589], [-0.43589, -0.9]])
    middle = (np.array(CT.shape) - 1) / 2
    turned[:3, 3] += (AFFINE - turned)[:3, :3] @ middle
    for name, affine, said in (
        ("elsewhere", elsewhere, "(its middle 87.55, 77.2, -294 mm against 87.9, 77.2, -294)"),
        ("coarser", coarser, "(voxels 0.7 x 0.7 x 3 mm against 1.4 x 1.4 x 3; its middle"),
        ("turned", turned, "(its axes point elsewhere)"),
    ):
        mask = volume(tmp_path / f"{name}.nii.gz", LESIONS, affine)
        told = refusal(capsys, image, mask)
        assert f"{image} lies elsewhere in space than its mask {mask} {said}" in told
    mask = volume(tmp_path / "longer.nii.gz", np.concatenate([LESIONS, LESIONS], axis=2))
    told = refusal(capsys, image, mask)
    assert "has 8 x 9 x 5 voxels and its mask 8 x 9 x 10" in told
    assert "resample" in told
    told = refusal(capsys, image, mask, "--on_error", "skip")
    assert told.startswith("None of the 5 images can be read; the first: ")
