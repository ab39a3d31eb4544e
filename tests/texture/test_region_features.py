"""Features of images and volumes: IBSI's published values, and the compiled loop on matrices."""

import itertools
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glcm_mae.texture import (
    FEATURE_NAMES,
    directions,
    fixed_bin_number,
    glcm_features,
    graycomatrix,
    image_features,
    texture_map,
    volume_features,
    windows,
)
from glcm_mae.texture.region_features import VolumeAggregation
from glcm_mae.texture.regions import Regions

PHANTOM = json.loads((Path(__file__).parent / "ibsi_digital_phantom.json").read_text("utf-8"))
AGGREGATIONS = get_args(VolumeAggregation)


@pytest.fixture(params=["compiled", "tensor"])
def form(request, monkeypatch):
    """Run a test with the compiled loop, and with the tensor form in its place."""
    if request.param == "tensor":
        monkeypatch.setattr(Regions, "compiled", False)
    return request.param


@pytest.fixture(scope="module", params=["compiled", "tensor"])
def phantom_features(request):
    volume, mask = (torch.tensor(PHANTOM[name]) for name in ("image", "mask"))
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "tensor":
            patch.setattr(Regions, "compiled", False)
        return {
            aggregation: volume_features(volume - 1, 6, aggregation, mask=mask)
            for aggregation in AGGREGATIONS
        }


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("feature", FEATURE_NAMES)
def test_the_digital_phantom_has_ibsis_published_values(phantom_features, feature, aggregation):
    found = phantom_features[aggregation][FEATURE_NAMES.index(feature)].item()
    assert float(f"{found:.3g}") == PHANTOM["features"][feature][aggregation]


def test_one_slice_is_an_image():
    slice_, mask = (torch.tensor(PHANTOM[name])[1] for name in ("image", "mask"))
    for aggregation, of_volume in (("averaged", "2d_averaged"), ("merged", "2d_slice_merged")):
        found = image_features(slice_ - 1, 6, aggregation=aggregation, mask=mask)
        expected = volume_features((slice_ - 1)[None], 6, of_volume, mask=mask[None])
        assert torch.equal(found, expected)


def by_matrices(images, levels, offsets, merged, mask):
    matrices = graycomatrix(images, levels, offsets, symmetric=True, mask=mask)
    return glcm_features(matrices.sum(dim=-3, keepdim=True) if merged else matrices)


def assert_alike(found, expected):
    """Agree to rounding; the last feature is the root of a difference of entropies."""
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.allclose(found[..., :-1], expected[..., :-1], 1e-9, 1e-8, equal_nan=True)
    assert torch.allclose(found[..., -1], expected[..., -1], 1e-6, 1e-6, equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    levels=st.integers(1, 300),
    used=st.integers(1, 300),
    distance=st.integers(1, 3),
    merged=st.booleans(),
    masked=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_the_compiled_loop_equals_matrices(
    height, width, levels, used, distance, merged, masked, seed
):
    """With few pixels for their range of levels it sorts pairs, else it counts a triangle."""
    generator = torch.Generator().manual_seed(seed)
    used = min(used, levels)
    lowest = int(torch.randint(0, levels - used + 1, (), generator=generator))
    images = lowest + torch.randint(0, used, (2, height, width), generator=generator)
    mask = torch.rand(2, height, width, generator=generator) < 0.8 if masked else None
    offsets = directions(2, distance)
    found = image_features(
        images, levels, offsets, aggregation="merged" if merged else "separate", mask=mask
    )
    expected = by_matrices(images, levels, offsets, merged, mask)
    assert_alike(found, expected.squeeze(-2) if merged else expected)


@pytest.mark.parametrize("kind", ["random", "constant", "two halves", "checkerboard"])
@pytest.mark.parametrize("levels", [2, 16, 256])
def test_special_images(kind, levels):
    image = {
        "random": torch.randint(0, levels, (40, 40)),
        "constant": torch.full((40, 40), levels - 1),
        "two halves": (torch.arange(40) // 20).expand(40, 40) * (levels - 1),
        "checkerboard": (torch.arange(40)[:, None] + torch.arange(40)) % 2,
    }[kind].to(torch.uint8)
    found = image_features(image, levels, aggregation="separate")
    assert_alike(found, by_matrices(image, levels, directions(2), False, None))
    assert found.isfinite().all()


@pytest.mark.parametrize("aggregation", ["averaged", "merged"])
def test_65536_levels(aggregation):
    """Spread over 65,536 levels, an image keeps what does not depend on the levels' values."""
    small = torch.randint(0, 60, (2, 30, 30))
    spread = (small * 1110).to(torch.uint16)
    few = image_features(small, 65_536, aggregation=aggregation)
    many = image_features(spread, 65_536, aggregation=aggregation)
    reference = image_features(small, 60, aggregation=aggregation)
    for name in FEATURE_NAMES:
        k = FEATURE_NAMES.index(name)
        if not name.startswith("normalised"):
            assert torch.allclose(few[:, k], reference[:, k]), name
        if "entropy" in name or name in ("joint_maximum", "angular_second_moment", "correlation"):
            assert torch.allclose(many[:, k], reference[:, k]), name
    contrast = FEATURE_NAMES.index("contrast")
    assert torch.allclose(many[:, contrast], reference[:, contrast] * 1110**2)


@pytest.mark.usefixtures("form")
def test_windows_of_a_batch_are_features_of_their_copies():
    images = torch.randint(0, 16, (2, 20, 24), dtype=torch.uint8)
    before = images.clone()
    cuts = windows(images, 8, 4)
    assert_alike(image_features(cuts, 16), image_features(cuts.clone(), 16))
    assert image_features(cuts, 16).shape == (2, 4, 5, 25)
    assert torch.equal(images, before)


@pytest.mark.usefixtures("form")
def test_means_leave_out_offsets_without_a_pair():
    column = torch.randint(0, 4, (12, 1))
    expected = image_features(column, 4, [(1, 0)])
    assert torch.equal(image_features(column, 4), expected)
    assert image_features(column, 4, aggregation="separate").isnan().all(dim=-1).sum() == 3
    mask = torch.zeros(3, 6, 6)
    mask[1] = 1
    volume = torch.randint(0, 4, (3, 6, 6))
    for aggregation, way in (("2d_averaged", "averaged"), ("2d_slice_merged", "merged")):
        found = volume_features(volume, 4, aggregation, mask=mask)
        assert torch.allclose(found, image_features(volume[1], 4, aggregation=way))


@pytest.mark.usefixtures("form")
def test_nothing_to_count():
    assert image_features(torch.zeros(0, 5, 5, dtype=torch.int32), 4).shape == (0, 25)
    assert image_features(torch.zeros(3, 1, 1, dtype=torch.int32), 4).isnan().all()
    assert image_features(torch.zeros(2, 0, 5, dtype=torch.int32), 4).isnan().all()
    empty = image_features(torch.full((5, 5), 99), 4, mask=torch.zeros(5, 5))
    assert empty.isnan().all()
    for aggregation in AGGREGATIONS:
        assert volume_features(torch.zeros(1, 1, 1).int(), 4, aggregation).isnan().all()


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("distance", [1, 2])
def test_batches_of_volumes(aggregation, distance):
    volumes, mask = torch.randint(0, 6, (2, 3, 4, 6, 5)), torch.rand(2, 3, 4, 6, 5) < 0.8
    found = volume_features(volumes, 6, aggregation, distance=distance, mask=mask)
    for n in itertools.product(range(2), range(3)):
        one = volume_features(volumes[n], 6, aggregation, distance=distance, mask=mask[n])
        assert_alike(found[n], one)


def test_aggregations_are_sums_and_means_of_matrices():
    volume = torch.randint(0, 5, (3, 8, 8))
    in_slices = graycomatrix(volume, 5, directions(2, 2), symmetric=True)  # (D, 4, L, L)
    in_space = graycomatrix(volume, 5, directions(3, 2), symmetric=True)  # (13, L, L)
    expected = {
        "2d_averaged": glcm_features(in_slices).mean(dim=(0, 1)),
        "2d_slice_merged": glcm_features(in_slices.sum(dim=1)).mean(dim=0),
        "2.5d_direction_merged": glcm_features(in_slices.sum(dim=0)).mean(dim=0),
        "2.5d_merged": glcm_features(in_slices.sum(dim=(0, 1))),
        "3d_averaged": glcm_features(in_space).mean(dim=0),
        "3d_merged": glcm_features(in_space.sum(dim=0)),
    }
    for aggregation in AGGREGATIONS:
        found = volume_features(volume, 5, aggregation, distance=2)
        assert_alike(found, expected[aggregation])


def test_many_threads_at_once_compute_the_same():
    images = fixed_bin_number(torch.rand(6, 30, 30), 64)
    expected = image_features(images, 64)
    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(image_features, images, 64) for _ in range(8)]
        assert all(torch.equal(x.result(), expected) for x in found)


@pytest.mark.usefixtures("form")
def test_bad_input_is_named():
    image = torch.zeros(4, 4, dtype=torch.long)
    for call, message in (
        (lambda: image_features(image + 4, 4), "outside 0 to 3"),
        (lambda: image_features(image.float(), 4), "quantize them"),
        (lambda: image_features(image, 4, aggregation="mean"), "choose one of averaged"),
        (lambda: volume_features(image[None], 4, "3d"), "choose one of 2d_averaged"),
        (lambda: volume_features(image, 4), "volumes are .4, 4.: they must be .*D, H, W"),
        (lambda: volume_features(image, 4, "2d_averaged"), "volumes are .4, 4."),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_the_tensor_form_names_its_limit(monkeypatch):
    monkeypatch.setattr(Regions, "compiled", False)
    with pytest.raises(ValueError, match="beyond 4096 levels"):
        image_features(torch.zeros(4, 4, dtype=torch.long), 65_536)


def test_a_large_image_is_exact():
    """Entropy of counts beyond the table of logarithms."""
    image = torch.zeros(300, 300, dtype=torch.uint8)
    image[:, 150:] = 1
    values = image_features(image, 2, [(1, 0)])
    assert values[FEATURE_NAMES.index("joint_entropy")] == pytest.approx(1, abs=1e-12)
    assert values[FEATURE_NAMES.index("information_correlation_2")] == pytest.approx(
        math.sqrt(1 - math.exp(-2))
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("levels", [32, 256])
def test_a_gpu_computes_as_the_cpu_does(levels):
    images = torch.randint(0, levels, (9, 50, 60), dtype=torch.uint8)
    found = image_features(images.cuda(), levels).cpu()
    assert_alike(found, image_features(images, levels))
    for aggregation in AGGREGATIONS:
        expected = volume_features(images, levels, aggregation)
        assert_alike(volume_features(images.cuda(), levels, aggregation).cpu(), expected)


@pytest.mark.parametrize(
    "measure",
    [
        lambda x, offsets: image_features(x, 8, offsets),
        lambda x, offsets: texture_map(x, 8, window=3, offsets=offsets),
    ],
)
def test_images_take_no_offsets_of_volumes(measure):
    with pytest.raises(ValueError, match=r"must all be \(dy, dx\) here"):
        measure(torch.zeros(9, 9, 9, dtype=torch.uint8), directions(3))


def test_a_distance_is_whole():
    with pytest.raises(ValueError, match=r"distance is 1\.5"):
        volume_features(torch.zeros(9, 9, 9, dtype=torch.uint8), 8, distance=1.5)
