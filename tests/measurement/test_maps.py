"""`glcm-mae texture-map`: its values against the library, and users' mistakes."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from glcm_mae.cli import main
from glcm_mae.texture import directions, fixed_bin_number, fixed_bin_size, texture_map

from ..commands import complaint


@pytest.fixture
def pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """An image a.png in the present folder."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (24, 30)).astype(np.uint8)
    Image.fromarray(pixels).save("a.png")
    return torch.from_numpy(pixels)


def test_the_default_is_local_entropy(pixels):
    assert main(["texture-map", "a.png", "-o", "map.npy"]) == 0
    found = np.load("map.npy")
    assert found.dtype == np.float32
    expected = texture_map(fixed_bin_number(pixels, 32), 32, "joint_entropy", 15)
    assert np.array_equal(found, expected.numpy())


@pytest.mark.parametrize("ending", ["tif", "TIFF"])
def test_another_feature_and_binning(ending, pixels):
    words = ["--feature", "contrast", "--window_size", "7", "--distance", "2"]
    words += ["--binning", "fixed_bin_size", "--bin_width", "20", "--range", "[50,200]"]
    assert main(["texture-map", "a.png", "-o", f"map.{ending}", *words]) == 0
    inside = (pixels >= 50) & (pixels <= 200)
    codes, levels = fixed_bin_size(pixels, 20, 50, mask=inside)
    steps = directions(2, 2)
    expected = texture_map(codes, levels, "contrast", 7, offsets=steps, mask=inside)  # type: ignore
    found = tifffile.imread(f"map.{ending}")
    assert found.dtype == np.float32
    assert np.array_equal(found, expected.numpy(), equal_nan=True)


def test_a_frame_of_a_file(pixels):
    other = pixels.flip(0)
    frames = np.stack([other.numpy(), pixels.numpy()])
    tifffile.imwrite("frames.tif", frames, photometric="minisblack")
    assert main(["texture-map", "frames.tif", "--frame", "1", "-o", "one.npy"]) == 0
    assert main(["texture-map", "a.png", "-o", "two.npy"]) == 0
    assert np.array_equal(np.load("one.npy"), np.load("two.npy"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nowhere.png -o x.png", "nowhere.png cannot be opened (No such file or directory)."),
        (". -o x.png", ". is a folder: give one image."),
        ("frames.tif -o x.png", "frames.tif holds 2 images: give one as --frame, 0 to 1."),
        ("frames.tif -o x.png --frame 5", "frames.tif has no frame 5"),
        ("a.png -o x.jpg", "out is x.jpg: give it a name that ends in .png or .npy or .tif"),
        ("a.png -o deep/x.png", "there is no folder deep"),
        ("a.png -o x.png --window_size 8", "window_size is 8: set it to an odd number"),
        ("a.png -o x.png --window_size 1", "window_size is 1: set it to an odd number"),
        ("a.png -o x.png --window_size 2001", "window_size is 2001 and a.png has "),
        ("a.png -o x.png --window_size 5 --distance 5", "distance is 5, which reaches across"),
        ("a.png -o x.png --feature entropy", "feature is 'entropy': set it to one of joint_max"),
        ("colour.png -o x.png", "colour.png is a colour image: give --color gray"),
        ("a.png -o x.png --binning range", "binning range needs the range"),
        ("a.png -o x.png --range [300,400]", "a.png holds no pixel pair to measure: set --range"),
    ],
)
def test_mistakes_get_one_sentence(words, said, pixels, capsys):
    tifffile.imwrite("frames.tif", torch.stack([pixels] * 2).numpy(), photometric="minisblack")
    Image.new("RGB", (9, 9), (9, 8, 7)).save("colour.png")
    assert said in complaint(capsys, "texture-map", *words.split())
    assert not Path("x.png").exists()
