"""`glcm-mae features` against the library called by hand, scikit-image, and users' mistakes."""

import csv
import math
import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.feature import graycomatrix, graycoprops

from glcm_mae import __version__
from glcm_mae.cli import main
from glcm_mae.data import Facts
from glcm_mae.measurement import samples
from glcm_mae.measurement.intensities import intensities
from glcm_mae.settings import MeasurementSettings
from glcm_mae.texture import (
    FEATURE_NAMES,
    directions,
    fixed_bin_number,
    fixed_bin_size,
    image_features,
    quantize,
    volume_features,
)

from ..commands import complaint
from ..test_docs import programs

Capsys = pytest.CaptureFixture[str]
RNG = np.random.default_rng(0)


def noise(*shape: int, dtype: type = np.uint8, high: int = 256) -> np.ndarray:
    return RNG.integers(0, high, shape).astype(dtype)


def save(path: Path, pixels: np.ndarray) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def measured(tmp_path: Path, images: Path | str, *words: object) -> list[dict[str, str]]:
    """Run the command and read its table."""
    out = tmp_path / "features.csv"
    assert main(["features", str(images), "-o", str(out), *map(str, words)]) == 0
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(row: dict[str, str]) -> list[float]:
    return [float(row[name]) for name in FEATURE_NAMES]


def by_hand(codes: torch.Tensor, levels: int = 32, **how: object) -> list[float]:
    return image_features(codes, levels, **how).tolist()  # type: ignore[arg-type]


# --- what stands in the table


def test_a_folder_of_classes(tmp_path):
    pixels = {
        name: save(tmp_path / "set" / name, noise(20, 24))
        for name in ("a/2.png", "a/10.png", "b/1.png")
    }
    rows = measured(tmp_path, tmp_path / "set")
    assert [row["path"] for row in rows] == [
        str(tmp_path / "set" / name) for name in ("a/10.png", "a/2.png", "b/1.png")
    ]
    assert [row["label"] for row in rows] == ["a", "a", "b"]
    settings = ("binning", "levels", "distance", "aggregation", "glcm_mae")
    assert list(rows[0]) == ["path", "label", "pixels", *settings, *FEATURE_NAMES]
    assert rows[0]["pixels"] == "480"
    assert [rows[0][name] for name in settings] == [
        *("fixed_bin_number", "32", "1", "averaged", __version__)
    ]
    for row, name in zip(rows, ("a/10.png", "a/2.png", "b/1.png"), strict=True):
        # Equal to the last bit: a float64 is written with all its digits.
        assert numbers(row) == by_hand(fixed_bin_number(torch.from_numpy(pixels[name]), 32))


def test_how_many_pixels_are_measured_stands_in_the_table(tmp_path):
    pixels = save(tmp_path / "set/p1_a.png", noise(20, 24))
    mask = save(tmp_path / "masks/p1_a.png", (np.arange(480).reshape(20, 24) % 3).astype(np.uint8))
    save(tmp_path / "set/p1_b.png", pixels)
    save(tmp_path / "masks/p1_b.png", mask)
    words = ("--masks", tmp_path / "masks", "--range", "[0,99]")
    rows = measured(tmp_path, tmp_path / "set", *words)
    inside = [int(((mask == region) & (pixels < 100)).sum()) for region in (1, 2)]
    assert [int(row["pixels"]) for row in rows] == inside * 2
    assert [int(row["left_out"]) for row in rows] == [160 - n for n in inside] * 2
    words = (*words, "--per", "patient", "--patient_regex", "^p1")
    rows = measured(tmp_path, tmp_path / "set", *words)
    assert [int(row["pixels"]) for row in rows] == [2 * n for n in inside]


def test_images_of_several_depths_on_one_scale_are_told(tmp_path, capsys):
    save(tmp_path / "set/a.png", noise(20, 24))
    save(tmp_path / "set/b.png", noise(20, 24, dtype=np.uint16, high=4000))
    measured(tmp_path, tmp_path / "set")
    assert "bits" not in capsys.readouterr().err
    measured(tmp_path, tmp_path / "set", "--binning", "fixed_bin_size", "--bin_width", 25)
    assert "images of 8 and 16 bits are measured on one scale" in capsys.readouterr().err


def test_masks_that_may_not_be_meant_are_told(tmp_path, capsys):
    for name in "ab":
        save(tmp_path / f"set/{name}.png", noise(20, 24))
    smooth = save(tmp_path / "mask.png", np.arange(480).reshape(20, 24).astype(np.uint8) // 8)
    measured(tmp_path, tmp_path / "set", "--masks", tmp_path / "mask.png")
    said = capsys.readouterr().err
    assert f"has {len(np.unique(smooth)) - 1} regions, each number one" in said
    assert "mask.png is used for all 2 files" in said


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_one_array_is_an_image_file(ending, tmp_path):
    pixels = noise(5, 12, 10)
    (np.save if ending == "npy" else np.savez)(tmp_path / f"stack.{ending}", pixels)
    rows = measured(tmp_path, tmp_path / f"stack.{ending}")
    save(tmp_path / "set/1.png", pixels[1])
    assert [row["frame"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert rows[1]["joint_entropy"] == measured(tmp_path, tmp_path / "set")[0]["joint_entropy"]


def test_scikit_image_finds_the_same_contrast(tmp_path):
    pixels = save(tmp_path / "a.png", noise(24, 24))
    words = ("--binning", "range", "--range", "[0,256]", "--levels", 16)
    (row,) = measured(tmp_path, tmp_path / "a.png", *words)
    angles = [0, math.pi / 4, math.pi / 2, 3 * math.pi / 4]
    matrices = graycomatrix(pixels // 16, [1], angles, 16, symmetric=True, normed=True)
    assert float(row["contrast"]) == pytest.approx(graycoprops(matrices, "contrast").mean())


def test_an_image_without_a_pair_is_nan(tmp_path, capsys):
    save(tmp_path / "set" / "a.png", noise(1, 1))
    save(tmp_path / "set" / "b.png", noise(9, 9))
    first, second = measured(tmp_path, tmp_path / "set")
    assert {first[name] for name in FEATURE_NAMES} == {"NaN"}  # as R reads it, too
    assert not any(math.isnan(value) for value in numbers(second))
    assert capsys.readouterr().out.startswith("1 measured. 1 hold no pixel pair")


def test_where_no_image_has_a_pair_the_code_says_so(tmp_path, capsys):
    save(tmp_path / "set" / "a.png", noise(9, 9))
    words = ["features", str(tmp_path / "set"), "-o", str(tmp_path / "f.csv"), "--distance", "50"]
    assert main(words) == 2
    assert capsys.readouterr().out.startswith("0 measured. 1 hold no pixel pair")


def test_names_with_commas_and_quotes_are_read_back(tmp_path):
    name = 'a, "b".png'
    save(tmp_path / "set" / name, noise(9, 9))
    (row,) = measured(tmp_path, tmp_path / "set")
    assert row["path"] == str(tmp_path / "set" / name)


# --- how gray levels come about


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        ("--levels 8", lambda x: (fixed_bin_number(x, 8), 8, None)),
        (
            "--binning fixed_bin_size --bin_width 25 --distance 2",
            lambda x: (*fixed_bin_size(x, 25, 0.0), None),
        ),
        (
            "--binning fixed_bin_size --bin_width 25 --range [40,200]",
            lambda x: (
                *fixed_bin_size(x, 25, 40.0, mask=(x >= 40) & (x <= 200)),
                (x >= 40) & (x <= 200),
            ),
        ),
        (
            "--binning pyradiomics --bin_width 25 --range [40,200]",
            lambda x: (
                *fixed_bin_size(x, 25, 25.0, mask=(x >= 40) & (x <= 200)),
                (x >= 40) & (x <= 200),
            ),
        ),
        (
            "--levels 8 --range [40,200]",
            lambda x: (
                fixed_bin_number(x, 8, mask=(x >= 40) & (x <= 200)),
                8,
                (x >= 40) & (x <= 200),
            ),
        ),
        (
            "--binning range --window [50,100] --levels 8",
            lambda x: (quantize(x, 8, (50, 100)), 8, None),
        ),
    ],
)
@pytest.mark.parametrize("aggregation", ["averaged", "merged"])
def test_binning(words, codes, aggregation, tmp_path):
    pixels = torch.from_numpy(save(tmp_path / "a.png", noise(20, 20)))
    (row,) = measured(tmp_path, tmp_path / "a.png", *words.split(), "--aggregation", aggregation)
    levels, count, mask = codes(pixels)
    distance = int(row["distance"])
    steps = directions(2, distance)
    expected = image_features(levels, count, steps, aggregation=aggregation, mask=mask)
    assert numbers(row) == expected.tolist()
    assert (row["levels"], row["aggregation"]) == (str(count), aggregation)
    assert distance == (2 if "--distance" in words else 1)
    assert (row.get("range_low"), row.get("range_high")) == (
        ("40.0", "200.0") if "--range" in words else (None, None)
    )
    assert row.get("bin_width") == ("25.0" if "--bin_width" in words else None)


def test_values_are_measured_in_their_real_unit(tmp_path):
    stored = noise(12, 12, 1, dtype=np.int16, high=2000)
    image = nibabel.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(2.0, -1000.0)
    nibabel.save(image, tmp_path / "ct.nii.gz")
    hounsfield = torch.from_numpy(stored[:, :, 0] * 2.0 - 1000)
    words = ("--binning", "fixed_bin_size", "--bin_width", 50, "--range", "[-1000,400]")
    (row,) = measured(tmp_path, tmp_path / "ct.nii.gz", *words)
    shown = torch.rot90(hounsfield.flip(0), 1)  # any turn: the mean over 4 directions is the same
    inside = shown <= 400
    codes, levels = fixed_bin_size(shown, 50, -1000, mask=inside)
    assert numbers(row) == pytest.approx(by_hand(codes, levels, mask=inside))


def test_colour_images_are_measured_by_luminance_if_one_says_so(tmp_path, capsys):
    gray = save(tmp_path / "gray.png", noise(16, 16))
    save(tmp_path / "colour.png", np.stack([gray] * 3, axis=-1))
    words = ("--color", "gray", "--binning", "fixed_bin_size", "--bin_width", 1)
    assert numbers(measured(tmp_path, tmp_path / "gray.png", *words)[0]) == numbers(
        measured(tmp_path, tmp_path / "colour.png", *words)[0]
    )
    assert "colour.png is a colour image: give --color gray" in complaint(
        capsys, "features", tmp_path / "colour.png", "-o", tmp_path / "x.csv"
    )


@given(st.integers(0, 65535))
@settings(max_examples=50, deadline=None)
def test_the_luminance_of_gray_is_that_gray(value):
    pixels = np.full((3, 1, 1), value, np.uint16)
    facts = Facts("tiff", "uint16", 16, "RGB", (0, 65535))
    found = intensities(pixels, facts, MeasurementSettings(color="gray"), "a.tif")
    assert found.item() == value


def test_white_is_zero_is_inverted_if_one_says_so(tmp_path, capsys):
    pixels = noise(16, 16, high=100)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
    save(tmp_path / "inverse.png", 255 - pixels)
    words = ("--binning", "range", "--range", "[0,255]")
    refused = complaint(capsys, "features", tmp_path / "a.tif", "-o", tmp_path / "x.csv")
    assert "stores white as 0" in refused
    assert "--invert_monochrome1" in refused
    (row,) = measured(tmp_path, tmp_path / "a.tif", *words, "--invert_monochrome1", "true")
    assert numbers(row) == numbers(measured(tmp_path, tmp_path / "inverse.png", *words)[0])


# --- masks


@pytest.fixture
def marked(tmp_path: Path) -> tuple[Path, torch.Tensor, torch.Tensor]:
    """A set of two images, the second without a region."""
    regions = np.zeros((20, 24), np.uint8)
    regions[2:9, 3:11], regions[10:18, 4:20] = 7, 255
    pixels = save(tmp_path / "set" / "a.png", noise(20, 24))
    save(tmp_path / "set" / "b.png", noise(20, 24))
    save(tmp_path / "masks" / "a.png", regions)
    save(tmp_path / "masks" / "b.png", regions * 0)
    return tmp_path / "set", torch.from_numpy(pixels), torch.from_numpy(regions)


def test_each_number_of_a_mask_is_a_region(marked, tmp_path):
    images, pixels, regions = marked
    rows = measured(tmp_path, images, "--masks", tmp_path / "masks")
    assert [row["region"] for row in rows] == ["7", "255", ""]
    for row, number in zip(rows, (7, 255), strict=False):
        inside = regions == number
        expected = by_hand(fixed_bin_number(pixels, 32, mask=inside), mask=inside)
        assert numbers(row) == pytest.approx(expected, rel=1e-13)
    assert all(math.isnan(value) for value in numbers(rows[2]))


def test_masks_named_by_a_pattern_are_no_images(marked, tmp_path):
    images, *_ = marked
    expected = [numbers(row) for row in measured(tmp_path, images, "--masks", tmp_path / "masks")]
    for name in ("a", "b"):
        (tmp_path / "masks" / f"{name}.png").rename(images / f"{name}_mask.png")
    rows = measured(tmp_path, images, "--masks", "{folder}/{name}_mask.png")
    np.testing.assert_array_equal([numbers(row) for row in rows], expected)


def test_one_mask_file_for_one_image(marked, tmp_path):
    images, *_ = marked
    rows = measured(tmp_path, images / "a.png", "--masks", tmp_path / "masks" / "a.png")
    assert [row["region"] for row in rows] == ["7", "255"]


def test_a_manifest_may_name_the_masks(marked, tmp_path, capsys):
    images, *_ = marked
    expected = [numbers(row) for row in measured(tmp_path, images, "--masks", tmp_path / "masks")]
    for name in ("a", "b"):
        (tmp_path / "masks" / f"{name}.png").rename(tmp_path / "masks" / f"drawn on {name}.png")
    source = tmp_path / "set.csv"
    rows = [f"set/{name}.png,masks/drawn on {name}.png" for name in ("a", "b")]
    source.write_text("\n".join(["path,mask", *rows]))
    found = measured(tmp_path, source)
    assert [row["region"] for row in found] == ["7", "255", ""]
    np.testing.assert_array_equal([numbers(row) for row in found], expected)
    say = "features", source, "-o", tmp_path / "again.csv"
    said = complaint(capsys, *say, "--masks", tmp_path / "masks")
    assert said.startswith(f"{source} has a column mask and masks is {tmp_path / 'masks'}: remove")
    (tmp_path / "masks/drawn on b.png").unlink()
    assert f"b.png has no mask {tmp_path / 'masks/drawn on b.png'}: " in complaint(capsys, *say)
    assert len(measured(tmp_path, source, "--on_error", "skip")) == 2
    source.write_text("\n".join(["path,mask", rows[0], "set/b.png,"]))
    assert "names no mask of 1 of 2 images (column mask)" in complaint(capsys, *say)


def test_mask_folders_mirror_class_folders(tmp_path):
    for name in ("x/1.png", "y/1.png"):
        save(tmp_path / "set" / name, noise(8, 8))
        save(tmp_path / "masks" / name, np.full((8, 8), ord(name[0]), np.uint8))
    rows = measured(tmp_path, tmp_path / "set", "--masks", tmp_path / "masks")
    assert [(row["label"], row["region"]) for row in rows] == [("x", "120"), ("y", "121")]


def test_wrong_masks(marked, tmp_path, capsys):
    images, _, regions = marked
    words = ("features", images, "-o", tmp_path / "x.csv", "--masks")
    masks = tmp_path / "masks"
    cases = [
        (
            "a.png",
            np.zeros((20, 23), np.uint8),
            "a.png has 20 x 24 pixels (height x width) and its mask 20 x 23",
        ),
        ("a.png", np.zeros((20, 24, 3), np.uint8) + np.uint8([1, 2, 3]), "a.png has colours"),
    ]
    for name, mask, said in cases:
        save(masks / name, mask)
        assert said in complaint(capsys, *words, masks), said
    Image.fromarray(regions.numpy()).save(masks / "a.png", format="jpeg")
    assert "a.png is a JPEG" in complaint(capsys, *words, masks)
    (masks / "a.png").write_bytes(b"no image")
    assert f"{masks / 'a.png'} is not a PNG" in complaint(capsys, *words, masks)
    tifffile.imwrite(masks / "a.png", regions.numpy() / np.float32(2))
    assert "holds fractions" in complaint(capsys, *words, masks)
    (masks / "a.png").unlink()
    said = complaint(capsys, *words, masks)
    assert f"{images / 'a.png'} has no mask {masks / 'a.png'}" in said
    assert "is its own mask" in complaint(capsys, *words, images)
    assert "masks is nowhere, which is no folder" in complaint(capsys, *words, "nowhere")
    assert not (tmp_path / "x.csv").exists()


def test_an_open_range_has_no_other_end(tmp_path):
    save(tmp_path / "a.png", noise(20, 20))
    words = ("--binning", "fixed_bin_size", "--bin_width", 25, "--range")
    (closed,) = measured(tmp_path, tmp_path / "a.png", *words, "40,255")
    for end in ("40,inf", "[40,inf]", "[40, .inf]"):
        (row,) = measured(tmp_path, tmp_path / "a.png", *words, end)
        assert numbers(row) == numbers(closed)
        assert row["range_high"] == "inf"
    (below,) = measured(tmp_path, tmp_path / "a.png", "--range", "-inf,99")
    assert numbers(below) == numbers(measured(tmp_path, tmp_path / "a.png", "--range", "-5,99")[0])


def test_each_of_a_patients_folders_holds_an_image_and_its_mask(tmp_path):
    for patient in ("pat01", "pat02"):
        save(tmp_path / "set" / patient / "image.png", noise(20, 24))
        save(tmp_path / "set" / patient / "mask.png", np.full((20, 24), 3, np.uint8))
    rows = measured(tmp_path, tmp_path / "set", "--masks", "{folder}/mask.png")
    assert [(row["label"], row["region"]) for row in rows] == [("pat01", "3"), ("pat02", "3")]
    assert {Path(row["path"]).name for row in rows} == {"image.png"}
    table = tmp_path / "manifest.csv"
    table.write_text("path,patient\nset/pat01/image.png,p1\nset/pat02/image.png,p2\n")
    words = ("--masks", "{folder}/mask.png", "--per", "patient")
    assert [row["patient"] for row in measured(tmp_path, table, *words)] == ["p1", "p2"]


def test_a_mask_without_an_image_is_told(tmp_path, capsys):
    save(tmp_path / "set/pat01/image.png", noise(20, 24))
    for patient in ("pat01", "pat02"):
        save(tmp_path / "set" / patient / "mask.png", np.full((20, 24), 3, np.uint8))
    words = ("features", tmp_path / "set", "-o", tmp_path / "x.csv")
    said = complaint(capsys, *words, "--masks", "{folder}/mask.png")
    assert "pat02/mask.png is its own mask" in said
    assert "and no other image's" in said


def test_regions_beyond_the_range_are_told(marked, tmp_path, capsys):
    images, *_ = marked
    words = ["features", str(images), "-o", str(tmp_path / "x.csv"), "--range", "300,400"]
    assert main([*words, "--masks", str(tmp_path / "masks")]) == 2  # nothing is measured
    assert "3 hold no pixel pair, 2 of them because all their values lie beyond --range" in (
        capsys.readouterr().out
    )


def test_an_image_given_as_the_mask_is_told(marked, tmp_path, capsys):
    images, *_ = marked
    mask, out = tmp_path / "masks" / "a.png", tmp_path / "x.csv"
    main(["features", str(mask), "-o", str(out), "--masks", str(images / "a.png")])
    assert "are image and mask swapped?" in capsys.readouterr().err
    tifffile.imwrite(tmp_path / "hounsfield.tif", noise(20, 24).astype(np.int16) - 100)
    words = ("features", mask, "-o", out, "--masks", tmp_path / "hounsfield.tif")
    said = complaint(capsys, *words)
    assert "hounsfield.tif holds negative numbers" in said
    assert "swapped" in said


def test_images_with_wrong_masks_are_skipped_and_told(marked, tmp_path, capsys):
    images, _, regions = marked
    masks = tmp_path / "masks"
    for name in ("wrong.png", "unread.png", "without.png", "zz.png"):
        save(images / name, noise(20, 24))
    save(masks / "wrong.png", np.zeros((20, 23), np.uint8))
    save(masks / "zz.png", regions.numpy().astype(np.uint8))
    (masks / "unread.png").write_bytes(b"no image")
    words = ("--masks", str(masks), "--on_error", "skip")
    rows = measured(tmp_path, images, *words)
    assert {Path(row["path"]).name for row in rows} == {"a.png", "b.png", "zz.png"}
    told = capsys.readouterr().err
    assert "wrong.png: has 20 x 24 pixels (height x width) and its mask 20 x 23" in told
    assert f"unread.png: has a mask {masks}/unread.png that is not a PNG" in told
    assert f"without.png: has a mask {masks}/without.png that cannot be opened" in told


def test_what_is_wrong_with_one_file_is_skipped(marked, tmp_path, capsys):
    images, _, regions = marked
    masks, gray = tmp_path / "masks", regions.numpy().astype(np.uint8)
    colour = np.stack([gray, gray, gray + 1], axis=-1)
    wrong = {
        "colour": (noise(20, 24, 3), gray, "colour.png: is a colour image"),
        "painted": (
            noise(20, 24),
            colour,
            f"painted.png: has a mask {masks}/painted.png that has colours",
        ),
    }
    for name, (pixels, mask, _) in wrong.items():
        save(images / f"{name}.png", pixels)
        save(masks / f"{name}.png", mask)
    for name, mask, said in (
        (
            "half",
            gray / np.float32(2),
            f"half.png: has a mask {masks}/half.png that holds fractions",
        ),
        (
            "below",
            gray.astype(np.int16) - 9,
            f"below.png: has a mask {masks}/below.png that holds neg",
        ),
    ):
        save(images / f"{name}.png", noise(20, 24))
        tifffile.imwrite(masks / f"{name}.png", mask)
        wrong[name] = (gray, gray, said)
    save(images / "jpeg.png", noise(20, 24))
    Image.fromarray(gray).save(masks / "jpeg.png", format="jpeg")
    rows = measured(tmp_path, images, "--masks", masks, "--on_error", "skip")
    assert {Path(row["path"]).name for row in rows} == {"a.png", "b.png"}
    out, told = capsys.readouterr()
    assert "5 skipped, named above." in out
    for _, _, said in wrong.values():
        assert f"skipped {images}/{said}" in told
    assert f"jpeg.png: has a mask {masks}/jpeg.png that is a JPEG" in told


def test_a_series_of_volumes_is_skipped(tmp_path, capsys):
    for name, shape in (("one", (6, 6, 3)), ("series", (6, 6, 3, 2))):
        place = tmp_path / f"set/{name}.nii.gz"
        place.parent.mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(noise(*shape), np.eye(4)), place)
    words = ("--aggregation", "3d_merged", "--on_error", "skip")
    assert len(measured(tmp_path, tmp_path / "set", *words)) == 1
    out, told = capsys.readouterr()
    assert "series.nii.gz: holds a series of volumes" in told
    assert "1 skipped" in out
    words = ("features", tmp_path / "set", "-o", tmp_path / "x.csv", *words)
    assert "bin_width" in complaint(capsys, *words, "--bin_width", "5")  # a setting: for all


# --- patients


def manifest(folder: Path, rows: list[str]) -> Path:
    path = folder / "manifest.csv"
    path.write_text("\n".join(["path,label,patient", *rows]) + "\n")
    return path


def test_per_patient_is_the_mean_over_images(tmp_path):
    for number in range(4):
        save(tmp_path / f"{number}.png", noise(9, 9) if number else noise(1, 1))
    rows = ["0.png,x,p1", "1.png,x,p1", "2.png,x,p2", "3.png,y,p2"]
    images = manifest(tmp_path, rows)
    single = [numbers(row) for row in measured(tmp_path, images)]
    first, second = measured(tmp_path, images, "--per", "patient")
    # The image without a pair does not count; a patient of two classes has no label.
    assert [first[name] for name in ("patient", "label", "images")] == ["p1", "x", "1"]
    assert [second[name] for name in ("patient", "label", "images")] == ["p2", "", "2"]
    assert "path" not in first
    assert numbers(first) == single[1]
    assert numbers(second) == pytest.approx(np.mean(single[2:], axis=0).tolist())


def test_per_patient_and_region(marked, tmp_path):
    images, *_ = marked
    words = ("--masks", tmp_path / "masks", "--patient_regex", r"png", "--per", "patient")
    rows = measured(tmp_path, images, *words)  # both images are of patient "png"
    assert [(row["region"], row["images"]) for row in rows] == [("7", "1"), ("255", "1")]


def test_patients_must_be_known(tmp_path, capsys):
    save(tmp_path / "set" / "a.png", noise(9, 9))
    words = ("features", tmp_path / "set", "-o", tmp_path / "x.csv", "--per", "patient")
    assert "does not tell patients" in complaint(capsys, *words)


# --- volumes


@pytest.fixture
def volume(tmp_path: Path) -> tuple[Path, torch.Tensor]:
    pixels = noise(5, 12, 14)
    tifffile.imwrite(tmp_path / "volume.tif", pixels, photometric="minisblack")
    return tmp_path / "volume.tif", torch.from_numpy(pixels)


def test_volumes_slice_by_slice(volume, tmp_path):
    path, pixels = volume
    rows = measured(tmp_path, path)
    assert [row["frame"] for row in rows] == [str(n) for n in range(5)]
    for row, image in zip(rows, pixels, strict=True):
        assert numbers(row) == by_hand(fixed_bin_number(image, 32))


@pytest.mark.parametrize(("thickness", "way", "warned"), [
    (5.0, "3d_merged", True), (1.0, "3d_merged", False), (5.0, "2.5d_merged", False),
])  # fmt: skip
def test_voxels_that_are_no_cubes_are_told(tmp_path, capsys, thickness, way, warned):
    place = tmp_path / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(noise(6, 6, 4), np.diag([1, 1, thickness, 1])), place)
    assert len(measured(tmp_path, place, "--aggregation", way)) == 1
    told = capsys.readouterr().err
    said = f"1 file has voxels that are no cubes ({place}: 1 x 1 x 5 mm)"
    assert (said in told) is warned
    assert ("or give --aggregation 2.5d_merged --plane axial" in told) is warned


def test_pixels_that_are_no_squares_are_told_once(tmp_path, capsys):
    for name in ("a", "b"):  # acquired in sagittal slices, 3 mm apart
        place = tmp_path / f"set/{name}.nii.gz"
        place.parent.mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(noise(4, 6, 6), np.diag([3, 0.7, 0.7, 1])), place)
    for way in ("averaged", "2.5d_merged", "2d_averaged"):
        measured(tmp_path, tmp_path / "set", "--aggregation", way)
        told = capsys.readouterr().err
        assert told.count("pixels that are no squares") == 1
        assert f"2 files have pixels that are no squares ({tmp_path}/set/a.nii.gz: 0.7 x 3" in told
        assert "or give --plane sagittal, whose pixels are squares" in told
        measured(tmp_path, tmp_path / "set", "--aggregation", way, "--plane", "sagittal")
        assert "squares" not in capsys.readouterr().err
    measured(tmp_path, tmp_path / "set", "--aggregation", "3d_merged")
    assert "2.5d_merged --plane sagittal" in capsys.readouterr().err


def test_without_a_plane_of_squares_there_is_resampling(tmp_path, capsys):
    place = tmp_path / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(noise(6, 6, 4), np.diag([1, 2, 3, 1])), place)
    for way in ("merged", "3d_merged"):
        measured(tmp_path, place, "--aggregation", way)
        assert capsys.readouterr().err.strip().endswith("one: resample them (--spacing)")


def test_the_program_of_the_docs_finds_what_the_command_writes(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "texture.md"
    (program,) = (text for text in programs(page) if "lesions" in text)
    found: dict = {}
    exec(program, found)
    affine = np.diag([-0.7, -0.7, 3, 1])  # as scanners have it: x runs to the left, y to the back
    for name in ("ct", "lesions"):
        voxels = found[name].astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / f"{name}.nii.gz")
    words = ("--masks", tmp_path / "lesions.nii.gz", "--aggregation", "2.5d_merged")
    words = (*words, "--binning", "fixed_bin_size", "--bin_width", 25, "--range", "-1000,400")
    rows = measured(tmp_path, tmp_path / "ct.nii.gz", *words)
    assert [row["region"] for row in rows] == ["1", "2"] == [str(n) for n in found["table"]]
    for row, features in zip(rows, found["table"].values(), strict=True):
        assert numbers(row) == pytest.approx(list(features.values()), rel=1e-12)


@pytest.mark.parametrize("way", ["merged", "2.5d_merged", "3d_averaged"])
def test_several_distances_are_rows_as_of_a_run_each(way, volume, tmp_path, capsys):
    path, pixels = volume
    masks = tmp_path / "mask.tif"
    regions = np.arange(pixels.numel()).reshape(pixels.shape) // 40 % 3
    tifffile.imwrite(masks, regions.astype(np.uint8), photometric="minisblack")
    words = (tmp_path, path, "--aggregation", way, "--masks", masks)
    together = measured(*words, "--distance", "[1,4,2]")
    assert [row["distance"] for row in together] == ["1", "4", "2"] * (len(together) // 3)
    assert capsys.readouterr().out.startswith(f"{len(together)} rows measured.")
    for n, distance in enumerate((1, 4, 2)):
        assert measured(*words, "--distance", distance) == together[n::3]


def test_a_patient_has_a_row_for_each_distance_and_region(tmp_path):
    for name in ("p1_a", "p1_b", "p2_a"):
        save(tmp_path / f"set/{name}.png", noise(12, 14))
        save(
            tmp_path / f"masks/{name}.png", (np.arange(168).reshape(12, 14) // 84 + 1).astype("u1")
        )
    words = (tmp_path, tmp_path / "set", "--masks", tmp_path / "masks", "--per", "patient")
    words = (*words, "--patient_regex", "^p[0-9]", "--distance")
    together = measured(*words, "[4,2]")
    told = [(row["patient"], row["region"], row["distance"]) for row in together]
    assert told == [(p, r, d) for p in ("p1", "p2") for r in "12" for d in "42"]
    for n, distance in enumerate((4, 2)):
        assert measured(*words, distance) == together[n::2]


def test_a_distance_without_a_pair_is_a_row_of_nan(tmp_path, capsys):
    save(tmp_path / "a.png", noise(9, 9))
    near, far = measured(tmp_path, tmp_path / "a.png", "--distance", "[1,9]")
    assert not any(map(math.isnan, numbers(near)))
    assert all(map(math.isnan, numbers(far)))
    said = capsys.readouterr().out
    assert said.startswith("1 rows measured. 1 rows hold no pixel pair: theirs are NaN.")


@pytest.mark.parametrize("way", ["2d_averaged", "2.5d_merged", "3d_averaged", "3d_merged"])
def test_volumes_as_a_whole(way, volume, tmp_path):
    path, pixels = volume
    (row,) = measured(tmp_path, path, "--aggregation", way, "--distance", 2)
    codes = fixed_bin_number(pixels, 32, ndim=3)
    assert numbers(row) == volume_features(codes, 32, way, distance=2).tolist()
    assert "frame" not in row
    assert row["aggregation"] == way


def test_a_volume_is_read_by_its_content_however_it_is_packed(tmp_path):
    image = np.random.default_rng(0).random((8, 8, 3)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), tmp_path / "ct.nii.gz")
    words = ("--aggregation", "3d_merged")
    (named,) = measured(tmp_path, tmp_path / "ct.nii.gz", *words)
    (tmp_path / "ct.nii.gz").rename(tmp_path / "ct.nii")
    (misnamed,) = measured(tmp_path, tmp_path / "ct.nii", *words)
    assert numbers(misnamed) == numbers(named)


def test_a_single_slice_is_no_volume(tmp_path, capsys):
    save(tmp_path / "slices" / "a.png", noise(12, 12))
    words = ("-o", tmp_path / "x.csv", "--aggregation", "3d_merged")
    assert "is one slice and no volume" in complaint(
        capsys, "features", tmp_path / "slices", *words
    )


def test_a_mask_of_white_for_0_is_refused(marked, tmp_path, capsys):
    images, _, regions = marked
    inverted = 255 * (regions == 0).numpy().astype(np.uint8)
    tifffile.imwrite(tmp_path / "mask.tif", inverted, photometric="miniswhite")
    words = ("-o", tmp_path / "x.csv", "--masks", tmp_path / "mask.tif")
    assert "says that white is 0" in complaint(capsys, "features", images / "a.png", *words)


def test_what_lies_outside_a_mask_may_be_nan(tmp_path, capsys):
    place, mask = tmp_path / "ct.npy", tmp_path / "mask.png"
    values = noise(12, 12).astype(np.float32)
    inside = np.zeros((12, 12), np.uint8)
    inside[2:9, 3:10] = 1
    save(mask, inside)
    np.save(place, values)
    ways = (["--binning", "range", "--range", "[0,255]"], ["--window", "[0,255]"], [])
    for words in ways:
        np.save(place, values)
        (whole,) = measured(tmp_path, place, "--masks", mask, *words)
        np.save(place, np.where(inside, values, np.nan))
        (holed,) = measured(tmp_path, place, "--masks", mask, *words)
        assert numbers(holed) == numbers(whole)
    values[5, 5] = np.inf
    np.save(place, values)
    told = complaint(capsys, "features", str(place), "-o", "x.csv", "--masks", str(mask))
    assert "ct.npy holds NaN or infinite values inside its mask: leave them out" in told
    assert "replace them" in complaint(
        capsys, "features", str(place), "-o", str(tmp_path / "x.csv")
    )


def test_masks_of_volumes(volume, tmp_path):
    path, pixels = volume
    regions = np.zeros((5, 12, 14), np.uint8)
    regions[1:4, 2:9, 3:11] = 1
    tifffile.imwrite(tmp_path / "mask.tif", regions, photometric="minisblack")
    inside = torch.from_numpy(regions) > 0
    words = ("--masks", tmp_path / "mask.tif")
    (row,) = measured(tmp_path, path, *words, "--aggregation", "3d_merged")
    codes = fixed_bin_number(pixels, 32, mask=inside, ndim=3)
    expected = volume_features(codes, 32, "3d_merged", mask=inside)
    assert numbers(row) == pytest.approx(expected.tolist(), rel=1e-13)
    assert [row["region"] for row in measured(tmp_path, path, *words)] == ["", "1", "1", "1", ""]


def test_the_last_volumes_mask_is_looked_at_before_the_first_is_read(tmp_path, capsys, monkeypatch):
    for folder, shift in (("set", 0.0), ("masks", 5.0)):
        (tmp_path / folder).mkdir()
        for name in ("a", "b", "c"):
            affine = np.eye(4)
            affine[0, 3] = shift * (name == "c")
            voxels = np.arange(6**3, dtype=np.int16).reshape(6, 6, 6)
            nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / folder / f"{name}.nii.gz")

    def read(*_: object, **__: object) -> None:
        raise AssertionError("a volume was read")

    monkeypatch.setattr(samples, "read_image", read)
    words = "features", tmp_path / "set", "--masks", tmp_path / "masks", "-o", tmp_path / "out.csv"
    assert "c.nii.gz lies elsewhere in space than its mask" in complaint(capsys, *words)


def test_a_volume_has_no_gaps_and_one_size(volume, tmp_path, capsys):
    path, _ = volume
    listed = tmp_path / "frames.csv"
    listed.write_text(f"path,frame\n{path.name},0\n{path.name},2\n")
    words = ("-o", tmp_path / "x.csv", "--aggregation", "3d_merged")
    assert "do not follow each other" in complaint(capsys, "features", listed, *words)
    with tifffile.TiffWriter(tmp_path / "pages.tif") as file:
        file.write(noise(8, 8))
        file.write(noise(8, 9))
    assert "different sizes" in complaint(capsys, "features", tmp_path / "pages.tif", *words)
    nibabel.save(nibabel.Nifti1Image(noise(6, 6, 3, 2), np.eye(4)), tmp_path / "time.nii.gz")
    assert "series of volumes" in complaint(capsys, "features", tmp_path / "time.nii.gz", *words)


# --- many images, and some that cannot be read


def test_unreadable_images_stop_or_are_skipped(tmp_path, capsys):
    save(tmp_path / "set" / "a.png", noise(9, 9))
    save(tmp_path / "set" / "c.png", noise(9, 9))
    (tmp_path / "set" / "b.png").touch()
    out = tmp_path / "features.csv"
    out.write_text("from before\n")
    said = complaint(capsys, "features", tmp_path / "set", "-o", out)
    assert f"{tmp_path / 'set' / 'b.png'} is empty" in said
    assert out.read_text() == "from before\n"  # whole or not at all
    assert {path.name for path in tmp_path.iterdir()} == {"set", "features.csv"}
    rows = measured(tmp_path, tmp_path / "set", "--on_error", "skip")
    assert [Path(row["path"]).name for row in rows] == ["a.png", "c.png"]
    assert f"skipped {tmp_path / 'set' / 'b.png'}: is empty" in capsys.readouterr().err
    for name in ("a", "c"):
        (tmp_path / "set" / f"{name}.png").write_bytes(b"")
    words = ("features", tmp_path / "set", "-o", out, "--on_error", "skip")
    assert "None of the 3 images can be read; the first: " in complaint(capsys, *words)


def test_memory_does_not_grow_with_the_images(tmp_path):
    peaks = []
    for count in (8, 64):
        pixels = noise(count, 128, 128)
        tifffile.imwrite(tmp_path / "many.tif", pixels, photometric="minisblack")
        tracemalloc.start()
        measured(tmp_path, tmp_path / "many.tif")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    images = (peaks[1] - peaks[0]) / (128 * 128 * 4)  # as float32
    assert images < 14  # of 56 more


# --- what users get wrong


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nowhere.png -o x.csv", "nowhere.png does not exist: give an image, a folder or a CSV"),
        ("empty -o x.csv", "empty holds no images"),
        ("a.txt -o x.csv", "a.txt is not a PNG"),
        ("a.png -o x.xlsx", "out is x.xlsx: give it a name that ends in .csv."),
        ("a.png -o deep/x.csv", "there is no folder deep: make it first."),
        ("a.png -o folder.csv", "out is folder.csv, which is a folder"),
        ("a.png -o x.csv --binning fixed_bin_size", "needs the width of a bin: give --bin_width"),
        ("a.png -o x.csv --binning pyradiomics", "binning pyradiomics needs the width of a bin"),
        ("a.png -o x.csv --binning pyradiomics --bin_width 1e-9", "more than 65,536 bins"),
        ("a.png -o x.csv --bin_width 5", "bin_width is 5, which binning fixed_bin_number does not"),
        ("a.png -o x.csv --binning fixed_bin_size --bin_width 0", "bin_width is 0.0: set it above"),
        ("a.png -o x.csv --binning fixed_bin_size --bin_width 1e-9", "more than 65,536 bins"),
        ("signed.tif -o x.csv --binning fixed_bin_size --bin_width 5", "holds values below 0"),
        ("a.png -o x.csv --binning range", "binning range needs the range"),
        ("a.png -o x.csv --range [9,3]", "range is [9.0, 3.0]: give two numbers, the lower"),
        ("a.png -o x.csv --range 9,9", "range is [9.0, 9.0]: give two numbers, the lower"),
        ("a.png -o x.csv --binning range --range 0,inf", "range is [0.0, inf], which binning"),
        (
            "a.png -o x.csv --binning fixed_bin_size --bin_width 5 --range=-inf,9",
            "range is [-inf, 9.0], at whose lower end the first bin starts: give a finite one.",
        ),
        ("a.png -o x.csv --window [3,3]", "window is [3.0, 3.0]: give two finite numbers"),
        ("a.png -o x.csv --window lung", "a.png is no CT in Hounsfield units"),
        ("a.png -o x.csv --levels 0", "levels is 0: set it from 1 to 65,536."),
        ("a.png -o x.csv --distance 0", "distance is 0: set it to 1 pixel or more."),
        ("a.png -o x.csv --distance [2,0]", "distance is 0: set it to 1 pixel or more."),
        ("a.png -o x.csv --distance [2,1,2]", "distance is [2, 1, 2]: give one or more, none of"),
        ("a.png -o x.csv --distance []", "distance is []: give one or more, none of them twice."),
        ("a.png -o x.csv --binning bins", "--binning takes fixed_bin_number | fixed_bin_size"),
        ("a.png -o x.csv --patient_regex p", "a.png is one image: leave patient_regex out"),
        ("-o x.csv", "features needs --images"),
        ("a.png", "features needs --out"),
    ],
)
def test_mistakes_get_one_sentence(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(Path("a.png"), noise(9, 9))
    Path("a.txt").write_text("no image")
    Path("empty").mkdir()
    Path("folder.csv").mkdir()
    tifffile.imwrite("signed.tif", noise(9, 9).astype(np.int16) - 100)
    assert said in complaint(capsys, "features", *words.split())
    assert not Path("x.csv").exists()
