"""A data set becomes one tensor; every change to the pixels was asked for by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch.nn import functional as F

from glcm_mae.data import (
    Record,
    UnreadableImage,
    content_hash,
    file_hashes,
    images,
    load_images,
    read_image,
)
from glcm_mae.errors import UserError

from .readers.samples import dicom


def record(folder: Path, name: str, pixels: np.ndarray) -> Record:
    if name.endswith(".tif"):
        tifffile.imwrite(folder / name, pixels)
    else:
        Image.fromarray(pixels).save(folder / name)
    return Record(folder / name, None, name, None)


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape).astype(dtype)


def test_values_are_scaled_by_the_range_of_the_type(tmp_path: Path) -> None:
    eight = record(tmp_path, "8.png", np.array([[0, 51, 255]], np.uint8))
    sixteen = record(tmp_path, "16.png", np.array([[0, 13107, 65535]], np.uint16))
    for one in (eight, sixteen):
        loaded = load_images([one], image_size=(1, 3))
        assert loaded.pixels.dtype == torch.float32
        torch.testing.assert_close(loaded.pixels, torch.tensor([[[[0, 0.2, 1]]]]))


def test_a_window_clamps_in_stored_units(tmp_path: Path) -> None:
    ramp = np.array([[0, 100, 200, 300, 400]])
    for name, dtype in (("16.png", np.uint16), ("float.tif", np.float32)):
        one = record(tmp_path, name, ramp.astype(dtype))
        loaded = load_images([one], image_size=(1, 5), window=(100, 300))
        torch.testing.assert_close(loaded.pixels[0, 0], torch.tensor([[0, 0, 0.5, 1, 1]]))


def test_order_and_account(tmp_path: Path) -> None:
    records = [record(tmp_path, f"{n}.png", np.full((4, 4), n, np.uint8)) for n in range(70)]
    calls: list[int] = []
    loaded = load_images(records, image_size=(4, 4), progress=calls.append)
    torch.testing.assert_close(loaded.pixels[:, 0, 0, 0] * 255, torch.arange(70.0))
    assert calls == list(range(1, 71))
    assert loaded.kept.tolist() == list(range(70))
    assert loaded.skipped == []
    assert loaded.hashes == file_hashes(records)


def test_more_than_the_memory_holds_is_refused_at_the_first_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the middle, by the system, without a word."""
    monkeypatch.setattr("glcm_mae.data.memory.memory_left", lambda: 70 * 4 * 4 * 4 * 3.0)
    gray = record(tmp_path, "gray.png", noise(4, 4))
    rgb = record(tmp_path, "rgb.png", noise(4, 4, 3))
    assert len(load_images([rgb] * 70, image_size=(4, 4)).pixels) == 70
    read: list[int] = []
    with pytest.raises(UserError, match=r"^71 images of 3 x 4 x 4 .* MiB.*color gray") as error:
        load_images([rgb] * 71, image_size=(4, 4), progress=read.append)
    assert read == []
    with pytest.raises(UserError, match=r"^211 images of 1 x 4 x 4") as error:
        load_images([gray] * 211, image_size=(4, 4))
    assert "color" not in str(error.value)
    assert load_images([rgb] * 71, image_size=(4, 4), keep=False).kept[-1] == 70


def test_threads_are_let_go_where_an_image_stops_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread once closed the reading that it was part of, with a traceback on stderr."""
    opened = []
    in_threads = images._in_threads

    def kept(*what: Any) -> Any:
        opened.append(in_threads(*what))
        return opened[-1]

    monkeypatch.setattr(images, "_in_threads", kept)
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").write_bytes(b"torn")
    with pytest.raises(UnreadableImage):
        load_images([Record(tmp_path / f"{n}.png", None, n, None) for n in "ab"], (8, 8))
    assert opened[0].gi_frame is None  # closed


def test_color(tmp_path: Path) -> None:
    gray = record(tmp_path, "gray.png", noise(4, 5))
    rgb = record(tmp_path, "rgb.png", noise(4, 5, 3))
    both = [gray, rgb, gray]
    loaded = load_images(both, image_size=(4, 5), color="gray")
    as_gray = loaded.pixels
    assert loaded.lost_color.tolist() == [False, True, False]
    stored = noise(4, 5, 3) / 255
    luminance = 0.299 * stored[..., 0] + 0.587 * stored[..., 1] + 0.114 * stored[..., 2]
    np.testing.assert_allclose(as_gray[1, 0].numpy(), luminance, atol=1e-6)
    loaded = load_images(both, image_size=(4, 5), color="rgb")
    as_rgb = loaded.pixels
    assert not loaded.lost_color.any()
    assert torch.equal(as_rgb[0], as_gray[0].expand(3, -1, -1))
    np.testing.assert_allclose(as_rgb[1].numpy(), np.moveaxis(stored, -1, 0), atol=1e-6)
    assert load_images([rgb], image_size=(4, 5)).pixels.shape == (1, 3, 4, 5)
    with pytest.raises(UserError, match=r"2 gray .*gray\.png.* 1 RGB .*rgb\.png.*set data\.color"):
        load_images(both, image_size=(4, 5))


def test_white_stays_within_range(tmp_path: Path) -> None:
    white = record(tmp_path, "white.png", np.full((33, 47, 3), 255, np.uint8))
    pixels = load_images([white], image_size=(19, 23), color="gray", resize="stretch").pixels
    assert pixels.max() <= 1
    torch.testing.assert_close(pixels, torch.ones(1, 1, 19, 23))


def test_resize_none_changes_nothing_and_refuses_other_sizes(tmp_path: Path) -> None:
    fits, odd = record(tmp_path, "a.png", noise(6, 8)), record(tmp_path, "odd.png", noise(5, 8))
    loaded = load_images([fits], image_size=(6, 8))
    np.testing.assert_array_equal((loaded.pixels * 255).round().numpy()[0, 0], noise(6, 8))
    with pytest.raises(
        UserError,
        match=r"odd\.png has 5 x 8 pixels .*instead of 6 x 8: set data\.resize to crop, pad,",
    ):
        load_images([fits, odd], image_size=(6, 8))


def test_what_is_not_kept_is_refused_alike(tmp_path: Path) -> None:
    Image.new("L", (8, 6)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 6)).save(tmp_path / "b.png")
    a, b = (Record(tmp_path / name, None, name, None) for name in ("a.png", "b.png"))
    checked = load_images([a], (6, 8), keep=False)
    assert checked.pixels.shape == (0, 1, 6, 8)
    assert checked.hashes == load_images([a], (6, 8)).hashes
    with pytest.raises(UserError, match="not alike, 1 gray"):
        load_images([a, b], (6, 8), keep=False)


def test_resize_geometry(tmp_path: Path) -> None:
    # A wide image whose left, middle and right thirds differ.
    thirds = np.repeat(np.array([[50, 100, 200]], np.uint8), [8, 8, 8], axis=1).repeat(8, axis=0)
    wide = record(tmp_path, "wide.png", thirds)
    crop = load_images([wide], image_size=(8, 8), resize="crop").pixels[0, 0] * 255
    torch.testing.assert_close(crop, torch.full((8, 8), 100.0))
    pad = load_images([wide], image_size=(24, 24), resize="pad").pixels[0, 0] * 255
    torch.testing.assert_close(pad[8:16], torch.from_numpy(thirds).float())
    assert pad[:8].sum() == pad[16:].sum() == 0
    stretch = load_images([wide], image_size=(3, 3), resize="stretch").pixels[0, 0] * 255
    assert stretch[1, 0] < stretch[1, 1] < stretch[1, 2]


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3), (37, 41), (128, 127)])
def test_every_shape_comes_to_size(tmp_path: Path, resize: str, shape: tuple[int, int]) -> None:
    one = record(tmp_path, "a.png", np.full(shape, 255, np.uint8))
    pixels = load_images([one], image_size=(16, 24), resize=resize).pixels  # type: ignore[arg-type]
    assert pixels.shape == (1, 1, 16, 24)
    assert pixels.max() == pytest.approx(1)
    if resize != "pad":
        assert pixels.min() == pytest.approx(1)


def test_downsampling_is_antialiased(tmp_path: Path) -> None:
    checkers = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    one = record(tmp_path, "a.png", checkers)
    pixels = load_images([one], image_size=(16, 16), resize="stretch").pixels
    torch.testing.assert_close(pixels, torch.full((1, 1, 16, 16), 0.5), atol=0.03, rtol=0)


def test_types_that_share_no_range(tmp_path: Path) -> None:
    eight = record(tmp_path, "8.png", noise(4, 4))
    sixteen = record(tmp_path, "16.png", noise(4, 4, dtype=np.uint16))
    floating = record(tmp_path, "f.tif", noise(4, 4, dtype=np.float32))
    with pytest.raises(
        UserError, match=r"1 images hold uint16 .*16\.png.*1 images hold uint8 .*data\.window"
    ):
        load_images([eight, sixteen], image_size=(4, 4))
    with pytest.raises(UserError, match=r"f\.tif holds floating-point .*set data\.window"):
        load_images([floating], image_size=(4, 4))
    loaded = load_images([eight, sixteen, floating], image_size=(4, 4), window=(0, 255))
    assert torch.equal(loaded.pixels[0], loaded.pixels[1])
    assert torch.equal(loaded.pixels[0], loaded.pixels[2])


def test_unreadable_files_stop_or_are_reported(tmp_path: Path) -> None:
    good = [record(tmp_path, f"{n}.png", noise(4, 4 + n)) for n in range(2)]
    bad = Record(tmp_path / "bad.png", None, "bad", None)
    bad.path.write_bytes(b"hello")
    records = [bad, *good]
    with pytest.raises(UnreadableImage, match=r"bad\.png is not a PNG"):
        load_images(records, image_size=(4, 4), resize="pad")
    loaded = load_images(records, image_size=(4, 4), resize="pad", on_error="skip")
    assert loaded.pixels.shape == (2, 1, 4, 4)
    assert loaded.kept.tolist() == [1, 2]
    assert loaded.hashes == file_hashes(good)
    ((name, reason),) = loaded.skipped
    assert name == str(bad.path)
    assert "not a PNG" in reason
    with pytest.raises(UserError, match=r"None of the 2 images can be read; the first: .*bad\.png"):
        load_images([bad, bad], image_size=(4, 4), on_error="skip")
    with pytest.raises(UnreadableImage, match="bad"):
        file_hashes(records)


def test_the_hash_is_of_the_pixels_and_not_of_the_file(tmp_path: Path) -> None:
    pixels = noise(4, 6)
    records = [
        record(tmp_path, "a.png", pixels),
        record(tmp_path, "b.bmp", pixels),
        record(tmp_path, "c.png", pixels.reshape(6, 4)),
        record(tmp_path, "d.png", pixels.astype(np.uint16)),
    ]
    hashes = file_hashes(records)
    assert hashes[0] == hashes[1] == content_hash(read_image(records[0].path)[0])
    assert len(set(hashes)) == 3


def dicom_record(folder: Path, name: str, pixels: np.ndarray, **elements: object) -> Record:
    (folder / name).write_bytes(dicom(pixels, **elements))
    return Record(folder / name, None, name, None)


def test_no_setting_mixes_polarities(tmp_path: Path) -> None:
    ramp = np.array([[0, 51, 255]], np.uint8)
    plain = dicom_record(tmp_path, "2.dcm", ramp)
    negative = dicom_record(tmp_path, "1.dcm", ramp, PhotometricInterpretation="MONOCHROME1")
    with pytest.raises(
        UserError, match=r"1\.dcm stores white as 0 \(MONOCHROME1\): set data\.invert_monochrome1"
    ):
        load_images([plain, negative], image_size=(1, 3))
    both = load_images([plain, negative], image_size=(1, 3), invert_monochrome1=True)
    torch.testing.assert_close(both.pixels[0, 0], torch.tensor([[0, 0.2, 1]]))
    torch.testing.assert_close(both.pixels[1, 0], torch.tensor([[1, 0.8, 0]]))
    # The fingerprint is of what is stored.
    assert both.hashes[0] == both.hashes[1] == content_hash(ramp[None])


def test_windows_are_in_the_real_unit(tmp_path: Path) -> None:
    stored = np.array([[0, 1024, 1424]], np.uint16)
    ct = dicom_record(tmp_path, "ct.dcm", stored, Modality="CT", RescaleSlope=1,
                      RescaleIntercept=-1024, WindowCenter=0, WindowWidth=801)  # fmt: skip
    loaded = load_images([ct], image_size=(1, 3), window=(-400, 400))
    torch.testing.assert_close(loaded.pixels[0, 0], torch.tensor([[0, 0.5, 1]]))
    bone = load_images([ct], image_size=(1, 3), window="bone").pixels[0, 0]
    torch.testing.assert_close(bone, torch.tensor([[0, 500 / 1800, 0.5]]))
    own = load_images([ct], image_size=(1, 3), window="file").pixels[0, 0]
    torch.testing.assert_close(own, torch.tensor([[0, 400.5 / 800, 1]]))
    with pytest.raises(UserError, match=r"ct\.dcm holds values that its header rescales .*: set"):
        load_images([ct], image_size=(1, 3))
    png = record(tmp_path, "a.png", noise(4, 4))
    with pytest.raises(UserError, match=r"a\.png is no CT in Hounsfield units"):
        load_images([png], image_size=(4, 4), window="lung")
    with pytest.raises(UserError, match=r"a\.png has no window of its own"):
        load_images([png], image_size=(4, 4), window="file")
    with pytest.raises(UserError, match=r"data\.window is .liver.: set it to two numbers or"):
        load_images([png], image_size=(4, 4), window="liver")  # type: ignore[arg-type]


def test_the_full_range_is_that_of_the_stored_bits(tmp_path: Path) -> None:
    twelve = {"BitsStored": 12, "HighBit": 11}
    one = dicom_record(tmp_path, "12.dcm", np.array([[0, 4095]], np.uint16), **twelve)
    torch.testing.assert_close(load_images([one], (1, 2)).pixels[0, 0], torch.tensor([[0.0, 1.0]]))
    other = dicom_record(tmp_path, "16.dcm", np.array([[0, 4095]], np.uint16))
    with pytest.raises(
        UserError, match=r"uint16 values from 0 to 4095 .*uint16 values from 0 to 65535 .*no full"
    ):
        load_images([one, other], (1, 2))


def test_frames_are_loaded_by_number(tmp_path: Path) -> None:
    frames = np.stack([np.full((4, 4), value, np.uint8) for value in (0, 51, 255)])
    path = dicom_record(tmp_path, "cine.dcm", frames).path
    records = [Record(path, None, "p", None, frame) for frame in (2, 1)]
    pixels = load_images(records, image_size=(4, 4)).pixels
    torch.testing.assert_close(pixels[:, 0, 0, 0], torch.tensor([1, 0.2]))
    missing = Record(path, None, "p", None, 3)
    loaded = load_images([records[0], missing], image_size=(4, 4), on_error="skip")
    assert loaded.skipped == [(f"{path}#3", "has no frame 3: it holds 3, counted from 0.")]


def test_setting_mistakes(tmp_path: Path) -> None:
    one = [record(tmp_path, "a.png", noise(4, 4))]
    with pytest.raises(UserError, match="no images to load"):
        load_images([], image_size=(4, 4))
    with pytest.raises(UserError, match=r"data\.image_size is 0 x 4"):
        load_images(one, image_size=(0, 4))
    for window in ((5, 5), (5, 1), (0, float("nan")), (0, float("inf"))):
        with pytest.raises(UserError, match=r"data\.window"):
            load_images(one, image_size=(4, 4), window=window)
    for setting in ("color", "resize", "on_error"):
        with pytest.raises(UserError, match=rf"data\.{setting} is 'x': set it to one of"):
            load_images(one, image_size=(4, 4), **{setting: "x"})


def of_pixels(folder: Path, name: str, pixels: np.ndarray, *sides: float) -> Record:
    more = {"PixelSpacing": list(sides)} if sides else {}
    (folder / name).write_bytes(dicom(pixels, **more))
    return Record(folder / name, None, name, None)


def test_images_are_brought_to_one_scale_and_keep_it(tmp_path: Path) -> None:
    """What is 12 x 8 mm is 12 x 8 pixels, however many it was made of."""
    scene = torch.rand(1, 1, 6, 4, generator=torch.Generator().manual_seed(0))
    shown = {}
    for name, height, width in (("coarse", 12, 8), ("fine", 48, 32), ("oblong", 24, 32)):
        pixels = F.interpolate(scene, (height, width), mode="nearest")[0, 0] * 255
        sides = 12 / height, 8 / width
        one = of_pixels(tmp_path, name, pixels.numpy().astype(np.uint8), *sides)
        loaded = load_images([one], (14, 5), "auto", "center", spacing=1.0)
        shown[name] = loaded.pixels[0, 0]
    for image in shown.values():
        assert image.shape == (14, 5)
        assert image[0].max() == image[-1].max() == 0  # filled above and below
        assert image[1].min() > 0  # cut on both sides
        torch.testing.assert_close(image, shown["coarse"], atol=0.15, rtol=0)
    whole = load_images([one], (12, 8), "auto", "none", spacing=1.0).pixels
    assert torch.equal(whole[0, 0, :, 2:7], shown["oblong"][1:13])


def test_center_changes_no_pixel(tmp_path: Path) -> None:
    pixels = noise(9, 6)
    loaded = load_images([record(tmp_path, "a.png", pixels)], (6, 8), resize="center").pixels[0, 0]
    stored = torch.from_numpy(pixels) / 255
    torch.testing.assert_close(loaded[:, 1:7], stored[2:8])  # of an odd rest, less is cut first
    assert loaded[:, 0].max() == loaded[:, 7].max() == 0


@pytest.mark.parametrize(
    ("resize", "spacing", "said"),
    [
        ("crop", 1.0, r"data\.spacing is 1 mm, and data\.resize crop would scale .*center"),
        ("center", 0.0, r"data\.spacing is 0: set it above 0"),
        ("center", float("inf"), r"data\.spacing is inf"),
        ("none", 1.0, r"a\.dcm has 8 x 4 pixels at 1 mm .* instead of 4 x 4: set .* to center"),
        ("center", 1.0, r"b\.dcm does not tell the size of its pixels"),
    ],
)
def test_a_scale_that_cannot_be_had(tmp_path: Path, resize: Any, spacing: float, said: str) -> None:
    told = of_pixels(tmp_path, "a.dcm", noise(4, 4), 2, 1)
    untold = of_pixels(tmp_path, "b.dcm", noise(4, 4))
    with pytest.raises(UserError, match=said):
        load_images([told, untold], (4, 4), resize=resize, spacing=spacing)
