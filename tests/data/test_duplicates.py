"""Copies are found whatever was done to them, and other images are left alone."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from glcm_mae.data import duplicates, make_phantom, read_manifest
from glcm_mae.data.duplicates import copy_groups, duplicate_groups, near_duplicates
from glcm_mae.data.groups import joined_groups
from glcm_mae.data.registration import agreement, register
from glcm_mae.data.symmetries import POSES, SYMMETRIES, WINDOWS
from glcm_mae.data.thumbnails import SIDE, band, luminance, thumbnail

from .scenes import make_scenes

Picture = Image.Image


def jpeg(image: Picture) -> Picture:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=50)
    return Image.open(file)


def cut(image: Picture, left: float, top: float, right: float, bottom: float) -> Picture:
    width, height = image.size
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return image.crop(tuple(round(edge) for edge in box))


def marked(image: Picture) -> Picture:
    image = image.copy()
    draw = ImageDraw.Draw(image)
    for x, y in ((50, 60), (80, 75)):
        draw.line((x - 4, y, x + 4, y), fill=255)
        draw.line((x, y - 4, x, y + 4), fill=255)
    draw.text((60, 100), "2.1 CM", fill=255)
    return image


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "half the size": lambda i: i.resize((i.width // 2, i.height // 2)),
    "another aspect ratio": lambda i: i.resize((i.width * 2, i.height)),
    "jpeg": jpeg,
    "mirrored": lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": lambda i: i.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "turned": lambda i: i.transpose(Image.Transpose.ROTATE_90),
    "transposed": lambda i: i.transpose(Image.Transpose.TRANSVERSE),
    "cropped at a corner": lambda i: cut(i, 0.05, 0.05, 0, 0),
    "cropped at one side": lambda i: cut(i, 0, 0, 0.05, 0),
    "cropped all round": lambda i: cut(i, 0.05, 0.05, 0.05, 0.05),
    "brighter": lambda i: i.point([min(255, int(v * 1.2 + 20)) for v in range(256)]),
    "darker": lambda i: i.point([int(v * 0.6) for v in range(256)]),
    "marked": marked,
    "everything": lambda i: jpeg(
        cut(i.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 0, 0.03, 0.02, 0)
        .resize((90, 90))
        .point([int(v * 0.8) for v in range(256)])
    ),
}


def small(images: list[Picture]) -> torch.Tensor:
    return torch.stack([thumbnail(np.asarray(image)) for image in images])


@pytest.fixture(scope="module")
def scenes() -> list[Picture]:
    """Simulated tissue in one frame."""
    return make_scenes(32)


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_nothing_else(scenes: list[Picture], change: str) -> None:
    copies = [CHANGES[change](image) for image in scenes]
    found = near_duplicates(small(scenes + copies))
    wanted = {(n, n + len(scenes)) for n in range(len(scenes))}
    assert {(pair.first, pair.second) for pair in found} == wanted
    turned = change in ("mirrored", "upside down", "turned", "transposed", "everything")
    assert {pair.turned for pair in found} == {turned}
    assert min(pair.agreement for pair in found) >= duplicates.AGREEMENT


@pytest.mark.parametrize("change", ["half the size", "jpeg", "turned", "cropped at a corner"])
def test_speckle_of_one_histogram(change: str) -> None:
    """The phantom's images differ in fine grain alone, and the grain must still match."""
    images = [Image.fromarray(image) for image in make_phantom(6, 1, size=96).images]
    found = near_duplicates(small(images + [CHANGES[change](image) for image in images]))
    assert [(pair.first, pair.second) for pair in found] == [(n, n + 18) for n in range(18)]


def test_the_shared_frame_alone_makes_no_copy() -> None:
    frames = make_scenes(40, seed=1)
    assert near_duplicates(small(frames)) == []


def test_few_images_are_enough(scenes: list[Picture]) -> None:
    pair = [scenes[0], CHANGES["cropped at a corner"](scenes[0])]
    assert len(near_duplicates(small(pair))) == 1
    assert near_duplicates(small(scenes[:2])) == []
    assert near_duplicates(small(scenes[:1])) == []
    assert near_duplicates(torch.zeros(0, SIDE, SIDE)) == []


def test_a_set_that_is_half_copies_of_one_image(scenes: list[Picture]) -> None:
    """The whitening learns from the set: many copies must not teach it to overlook them."""
    copies = [jpeg(scenes[0].resize((side, side))) for side in range(100, 130)]
    found = near_duplicates(small(scenes[:20] + copies))
    assert len(found) == 31 * 30 // 2
    assert {n for pair in found for n in (pair.first, pair.second)} == {0, *range(20, 50)}


def test_constant_images_match_nothing(scenes: list[Picture]) -> None:
    flat = [Image.new("L", (32, 32), value) for value in (0, 9, 9)]
    assert near_duplicates(small([*flat, scenes[0]])) == []


def test_end_slices_join_no_volumes(tmp_path: Path) -> None:
    """Empty slices are equal to the bit, and small bodies are alike in all heads."""
    yy, xx = np.mgrid[:64, :64] - 31.5
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        slices = []
        for radius in (0, 8, 30):
            body = 90 * (yy**2 + (xx * 1.1) ** 2 < radius**2)
            noise = np.kron(rng.normal(0, 30, (16, 16)), np.ones((4, 4)))
            slices.append(np.clip(body + noise * (body > 0), 0, 255).astype(np.uint8))
        tifffile.imwrite(tmp_path / f"{name}.tif", np.stack(slices), photometric="minisblack")
    listed = tmp_path / "volumes.csv"
    listed.write_text("path,label\n" + "".join(f"{name}.tif,ill\n" for name in "abc"))
    manifest = read_manifest(listed)
    assert len(manifest) == 9
    assert sorted(duplicate_groups(manifest).tolist()) == list(range(9))


def test_a_scene_that_is_most_of_the_set_is_found_in_all_its_frames(scenes: list[Picture]) -> None:
    rng = np.random.default_rng(0)
    still = np.asarray(scenes[0], dtype=float)
    frames = [
        Image.fromarray(np.clip(still + rng.normal(0, 12, still.shape), 0, 255).astype(np.uint8))
        for _ in range(200)
    ]
    found = near_duplicates(small([*frames, *scenes[1:9]]))
    links = [(pair.first, pair.second) for pair in found]
    groups = joined_groups(np.arange(208), links=links)
    assert len(np.unique(groups[:200])) == 1
    assert len(np.unique(groups)) == 9


def test_blocks_change_nothing(scenes: list[Picture], monkeypatch: pytest.MonkeyPatch) -> None:
    images = small([*scenes[:9], *(CHANGES["mirrored"](scene) for scene in scenes[3:9])])
    whole = near_duplicates(images)
    for name in ("_ROWS", "_COLUMNS", "_PAIRS", "_PART"):
        monkeypatch.setattr(duplicates, name, 4)
    parts = near_duplicates(images)
    assert [(p.first, p.second) for p in parts] == [(p.first, p.second) for p in whole]
    assert len(whole) == 6
    np.testing.assert_allclose(
        [p.agreement for p in parts], [p.agreement for p in whole], atol=1e-4
    )


def test_the_structure_of_images_is_not_kept(
    scenes: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of all took 20 KB an image: it is found again for the few that are looked at closely."""
    looked_at: list[int] = []

    def counted(images: torch.Tensor) -> torch.Tensor:
        looked_at.append(len(images) * (images.shape[-1] > 16))
        return band(images)

    monkeypatch.setattr(duplicates, "band", counted)
    assert near_duplicates(small(scenes)) == []
    assert sum(looked_at) < len(scenes)
    copies = [CHANGES["cropped all round"](scene) for scene in scenes[:2]]
    assert len(near_duplicates(small([*scenes, *copies]))) == 2


def test_groups_of_files(tmp_path: Path, scenes: list[Picture]) -> None:
    """Depth, polarity and format do not hide a copy; a broken file stands alone."""
    first, second = np.asarray(scenes[0]), np.asarray(scenes[1])
    Image.fromarray(first).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", first.astype(np.uint16) * 200, photometric="minisblack")
    tifffile.imwrite(tmp_path / "c.tif", 255 - first, photometric="miniswhite")
    Image.fromarray(second).convert("RGB").save(tmp_path / "d.png")
    Image.fromarray(second).save(tmp_path / "e.jpg", quality=50)
    (tmp_path / "f.png").touch()
    (tmp_path / "g.png").touch()
    told: list[tuple[str, int]] = []
    groups = duplicate_groups(read_manifest(tmp_path), lambda *progress: told.append(progress))
    assert groups.tolist() == [0, 0, 0, 1, 1, 2, 3]
    assert told[:7] == [("reading images", number) for number in range(1, 8)]
    assert told[7:] == [("comparing fingerprints", 5), ("comparing images", 5)]


def test_equal_pixels_are_one_group_even_without_structure() -> None:
    assert copy_groups(["00", "00", ""], []).tolist() == [0, 0, 1]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=25),
    data=st.data(),
)
def test_joined_groups_are_the_connected_components(rows: list[tuple[int, int]], data) -> None:
    positions = st.integers(0, len(rows) - 1)
    links = data.draw(st.lists(st.tuples(positions, positions), max_size=4))
    found = joined_groups([a for a, _ in rows], [b for _, b in rows], links=links)
    # The oracle: give everyone the least number among those it touches until nothing changes.
    group = list(range(len(rows)))
    touching = links + [
        (i, j)
        for i in range(len(rows))
        for j in range(i)
        if rows[i][0] == rows[j][0] or rows[i][1] == rows[j][1]
    ]
    for _ in rows:
        for i, j in touching:
            group[i] = group[j] = min(group[i], group[j])
    order = {first: number for number, first in enumerate(dict.fromkeys(group))}
    assert found.tolist() == [order[g] for g in group]


@pytest.mark.parametrize("pose", range(len(POSES)))
def test_a_pose_says_where_its_window_lies(pose: int) -> None:
    """Sampling the turned image at the placement shows the turned window."""
    torch.manual_seed(0)
    image = torch.nn.functional.interpolate(torch.rand(1, 1, 6, 6), (64, 64), mode="bicubic")[0]
    seen = POSES[pose]
    window = seen.symmetry(seen.window(image))
    resized = torch.nn.functional.interpolate(window[None], (64, 64), mode="bilinear")[0]
    placement = torch.tensor([seen.placement()])
    assert agreement(resized - 0.5, seen.symmetry(image) - 0.5, placement).item() > 0.995


def test_the_symmetries_are_eight_and_windows_lie_inside() -> None:
    image = torch.arange(9).view(3, 3)
    assert len({tuple(turn(image).flatten().tolist()) for turn in SYMMETRIES}) == 8
    assert all(window(torch.zeros(64, 64)).shape[0] <= 64 for window in WINDOWS)
    assert WINDOWS[0](image).equal(image)
    assert SYMMETRIES[0](image).equal(image)


def test_registration_finds_a_crop(scenes: list[Picture]) -> None:
    scene = scenes[0]
    part = cut(scene, 0.04, 0.0, 0.0, 0.02)  # x from 0.04 to 1, y from 0 to 0.98
    fixed, moving = band(small([part]))[:1], band(small([scene]))[:1]
    start = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    found = register(fixed, moving, start, steps=20)[0]
    torch.testing.assert_close(found, torch.tensor([0.98, 0.96, -0.02, 0.04]), atol=0.01, rtol=0)
    before, after = agreement(fixed, moving, start), agreement(fixed, moving, found[None])
    assert before < 0.7 < 0.9 < after


def test_agreement_needs_an_overlap() -> None:
    image = torch.rand(1, 16, 16) - 0.5
    assert agreement(image, image, torch.tensor([[1.0, 1.0, 0.9, 0.0]])).item() == 0.0


def test_thumbnails_do_not_depend_on_the_scale_of_the_values() -> None:
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 255, (90, 70)).astype(np.float64)
    wanted = thumbnail(gray)
    for same in (gray * 1e20, gray * 1e-6 + 1e3, gray.astype(np.uint16) * 7):
        torch.testing.assert_close(thumbnail(same), wanted, atol=1e-3, rtol=0)
    torch.testing.assert_close(thumbnail(255 - gray, inverted=True), wanted, atol=1e-5, rtol=0)
    assert not thumbnail(np.full((8, 8), 7)).any()


def test_luminance_is_the_gray_of_gray() -> None:
    gray = np.arange(6, dtype=np.uint16).reshape(1, 2, 3)
    np.testing.assert_array_equal(luminance(gray), gray[0])
    np.testing.assert_allclose(luminance(np.repeat(gray, 3, axis=0)), gray[0], rtol=1e-6)


@pytest.mark.parametrize("value", [-np.finfo(np.float64).max, np.finfo(np.float64).max])
def test_a_value_beyond_float32_hides_no_copies_of_others(value):
    rng = np.random.default_rng(0)
    scenes = rng.normal(size=(6, 1, 64, 64)) * 50 + 100
    odd = scenes[:1].copy()
    odd[0, 0, 0, 0] = value
    odder = odd.copy()
    odder[0, 0, 0, 1] = -value  # its range is no finite number
    images = [*scenes, *scenes[..., ::-1], *odd, *odder]
    small = torch.stack([thumbnail(luminance(image)) for image in images])
    assert small.isfinite().all()
    found = {(pair.first, pair.second) for pair in near_duplicates(small)}
    assert {(number, number + 6) for number in range(1, 6)} <= found
