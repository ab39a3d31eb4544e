"""Exact GLCMs against scikit-image, a loop over pixels, and each other."""

import contextlib
import itertools
import math
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.feature import graycomatrix as reference_matrix

from glcm_mae.texture import directions, graycomatrix, image_features, windows
from glcm_mae.texture.regions import Regions, regions

DTYPES = (
    *(torch.uint8, torch.int8, torch.int16, torch.uint16),
    *(torch.int32, torch.uint32, torch.int64, torch.uint64),
)
ANGLES = [k * math.pi / 4 for k in range(8)]


@pytest.fixture(params=["compiled", "tensor"])
def form(request, monkeypatch):
    """Run a test with the compiled loop, and with the tensor form in its place."""
    if request.param == "tensor":
        monkeypatch.setattr(Regions, "compiled", False)
    return request.param


def tensor_form(*args, **kwargs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Regions, "compiled", False)
        return graycomatrix(*args, **kwargs)


def brute_force(image, levels, offset, mask):
    """Count pair by pair; any number of dimensions."""
    matrix = np.zeros((levels, levels), int)
    for place in np.ndindex(*image.shape):
        other = tuple(p + step for p, step in zip(place, offset, strict=True))
        inside = all(0 <= p < size for p, size in zip(other, image.shape, strict=True))
        if inside and mask[place] and mask[other]:
            matrix[image[place], image[other]] += 1
    return matrix


def random_codes(shape, levels, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    largest = min(levels - 1, torch.iinfo(dtype).max)
    return torch.randint(0, largest + 1, shape, generator=generator).to(dtype)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    levels=st.integers(1, 300),
    dtype=st.sampled_from(DTYPES),
    distances=st.lists(st.integers(0, 6), min_size=1, max_size=2),
    angles=st.lists(st.sampled_from(ANGLES), min_size=1, max_size=3),
    symmetric=st.booleans(),
    normed=st.booleans(),
    sparse=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_equals_scikit_image(
    height, width, levels, dtype, distances, angles, symmetric, normed, sparse, seed
):
    image = random_codes((height, width), levels, dtype, seed)
    arguments = {"distances": distances, "angles": angles, "sparse": sparse}
    arguments |= {"symmetric": symmetric, "normed": normed}
    expected = reference_matrix(
        image.numpy().astype(np.int64), distances, angles, levels, symmetric, normed
    )
    expected = torch.from_numpy(expected.astype(np.float64)).permute(2, 3, 0, 1).flatten(0, 1)
    for count in (graycomatrix, tensor_form):
        found = count(image, levels, **arguments)
        assert found.dtype == (torch.float64 if normed else torch.int32)
        found = found.to_dense() if sparse else found
        assert torch.equal(found.double(), expected)


@settings(max_examples=15, deadline=None)
@given(
    levels=st.integers(2, 65_536),
    dtype=st.sampled_from((torch.uint16, torch.int32, torch.int64)),
    symmetric=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_sparse_counts_up_to_65536_levels(levels, dtype, symmetric, seed):
    """Relabelled to the levels that occur, the matrix is a small one of scikit-image's."""
    images = random_codes((2, 9, 7), levels, dtype, seed)
    images[0, :3] = images[0, 0, 0]  # some cells of many pairs
    for count in (graycomatrix, tensor_form):
        found = count(images, levels, [(1, -2)], symmetric=symmetric, sparse=True)
        assert found.shape == (2, 1, levels, levels)
        torch.sparse_coo_tensor(found.indices(), found.values(), found.shape, check_invariants=True)
        assert torch.equal(found.indices().unique(dim=1), found.indices()), "sorted and unique"
        for n, image in enumerate(images.numpy().astype(np.int64)):
            values, small = np.unique(image, return_inverse=True)
            first, second = small.reshape(9, 7)[:-1, 2:], small.reshape(9, 7)[1:, :-2]
            expected = np.zeros((len(values),) * 2, int)
            np.add.at(expected, (first, second), 1)
            expected = expected + expected.T if symmetric else expected
            own = found.indices()[0] == n
            i, j = found.indices()[2:, own].numpy()
            filled = np.zeros_like(expected)
            filled[np.searchsorted(values, i), np.searchsorted(values, j)] = found.values()[own]
            np.testing.assert_array_equal(filled, expected)


@contextlib.contextmanager
def one_thread():
    """Let one thread have all images, so that it has many."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def assert_same_entries(found, expected):
    assert found.is_coalesced()
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert torch.equal(found.indices(), expected.indices())
    assert torch.equal(found.values(), expected.values())


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 140),
    height=st.integers(1, 18),
    width=st.integers(1, 18),
    levels=st.sampled_from((1, 2, 3, 181, 255, 256, 257, 4096, 4097, 65_536)),
    spread=st.sampled_from((1, 2, 20, 65_536)),
    masked=st.booleans(),
    symmetric=st.booleans(),
    normed=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_sparse_counts_of_many_small_images(
    n, height, width, levels, spread, masked, symmetric, normed, seed
):
    """Few are sorted one by one, many side by side; some regions are empty."""
    spread = min(levels, spread)
    images = levels - spread + random_codes((n, width, height), spread, torch.int32, seed).mT
    generator = torch.Generator().manual_seed(seed)
    inside = torch.rand(n, 1, 1, generator=generator) * 1.5 - 0.25
    mask = torch.rand(n, height, width, generator=generator) < inside if masked else None
    arguments = {"mask": mask, "symmetric": symmetric, "normed": normed, "sparse": True}
    offsets = [(0, 1), (1, 0), (2, -1)]
    expected = tensor_form(images, levels, offsets, **arguments)
    assert_same_entries(graycomatrix(images, levels, offsets, **arguments), expected)
    with one_thread():
        assert_same_entries(graycomatrix(images, levels, offsets, **arguments), expected)


@pytest.mark.parametrize("level", [0, 255, 65_535])
@pytest.mark.usefixtures("form")
def test_sparse_counts_of_constant_images_do_not_overflow(level):
    """The largest level's cell is the largest number, which also stands where there is no pair."""
    for shape, dtype in (((100, 16, 16), torch.uint8), ((2, 300, 300), torch.int32)):
        images = torch.full(shape, level, dtype=torch.int32)
        mask = torch.ones(shape, dtype=torch.bool)
        mask[0] = False
        with one_thread():
            found = graycomatrix(images, level + 1, [(0, 1)], mask=mask, sparse=True, dtype=dtype)
        n, height, width = shape
        at = torch.arange(1, n)
        assert torch.equal(
            found.indices(), torch.stack((at, 0 * at, 0 * at + level, 0 * at + level))
        )
        assert torch.equal(found.values(), torch.full((n - 1,), height * (width - 1), dtype=dtype))


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=3),
    levels=st.integers(1, 9),
    offset=st.lists(st.integers(-3, 3), min_size=3, max_size=3),
    seed=st.integers(0, 2**31),
)
def test_masked_and_in_three_dimensions_equals_a_loop_over_pixels(shape, levels, offset, seed):
    offset = tuple(offset[: len(shape)])
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, levels, (2, *shape), generator=generator)
    mask = torch.rand(2, *shape, generator=generator) < 0.7
    expected = [
        brute_force(i.numpy(), levels, offset, m.numpy()) for i, m in zip(image, mask, strict=True)
    ]
    image[~mask] = 99  # what lies outside is not looked at
    for count, sparse in itertools.product((graycomatrix, tensor_form), (False, True)):
        found = count(image, levels, [offset], mask=mask.long(), sparse=sparse)
        found = found.to_dense() if sparse else found
        np.testing.assert_array_equal(found[:, 0].numpy(), expected)


@pytest.mark.usefixtures("form")
def test_one_mask_serves_the_batch():
    images, mask = torch.randint(0, 5, (3, 2, 8, 9)), torch.rand(8, 9) < 0.5
    assert torch.equal(
        graycomatrix(images, 5, mask=mask), graycomatrix(images, 5, mask=mask.expand(3, 2, 8, 9))
    )


VIEWS = {
    "transposed": lambda x: x.mT,
    "every second": lambda x: x[..., 1::2, ::3],
    "windows": lambda x: windows(x, 4, 3),
    "expanded": lambda x: x[0].expand(5, 20, 21),
    "batch transposed": lambda x: x.transpose(0, 1),
    "channels last": lambda x: x.permute(1, 2, 0)[..., None].movedim(2, 0),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.usefixtures("form")
def test_reads_any_strides_and_changes_nothing(view):
    images = torch.randint(0, 6, (3, 20, 21), dtype=torch.uint8)
    before = images.clone()
    seen = VIEWS[view](images)
    for sparse in (False, True):
        found, expected = (
            graycomatrix(x, 6, [(0, 1), (-1, 1)], sparse=sparse) for x in (seen, seen.clone())
        )
        found, expected = (x.to_dense() if sparse else x for x in (found, expected))
        assert torch.equal(found, expected)
        assert found.shape[:-3] == seen.shape[:-2]
    assert torch.equal(images, before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_windows_of_any_type_are_read_in_place(dtype):
    area = regions(windows(torch.zeros(20, 20).to(dtype), 9, 1), 8, [(0, 1)], None)
    assert area.codes.untyped_storage().nbytes() == 20 * 20 * dtype.itemsize


@pytest.mark.parametrize("masked", [False, True])
def test_the_tensor_form_holds_a_part_of_the_images_at_a_time(masked, monkeypatch):
    codes = torch.randint(0, 8, (2, 5, 12, 11))
    mask = codes > 2 if masked else None
    measures = (
        lambda: graycomatrix(codes, 8, mask=mask),
        lambda: image_features(codes, 8, mask=mask),
    )
    monkeypatch.setattr(Regions, "compiled", False)
    at_once = [measure() for measure in measures]
    monkeypatch.setattr("glcm_mae.texture.regions._CHUNK", 3 * 12 * 11)
    for measure, whole in zip(measures, at_once, strict=True):
        torch.testing.assert_close(measure(), whole, rtol=0, atol=0, equal_nan=True)
    sizes = [len(chunk.codes) for _, chunk in regions(codes, 8, [(0, 1)], mask).chunks(1)]
    assert sizes == [3, 3, 3, 1]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.usefixtures("form")
def test_without_pixels_or_pairs_all_is_zero(normed, sparse):
    for shape in ((0, 5, 5), (2, 0, 5, 5), (2, 5, 0), (2, 1, 1), (2, 7, 1)):
        found = graycomatrix(
            torch.zeros(shape, dtype=torch.uint8), 3, [(0, 1), (0, -9)], normed=normed,
            sparse=sparse,
        )  # fmt: skip
        assert found.shape == (*shape[:-2], 2, 3, 3)
        assert not (found.to_dense() if sparse else found).any()


@pytest.mark.usefixtures("form")
def test_a_constant_image_fills_one_cell():
    found = graycomatrix(torch.full((50, 40), 3, dtype=torch.uint8), 5, [(0, 1)])
    assert found[0, 3, 3] == 50 * 39 == found.sum()


def test_many_threads_at_once_count_the_same():
    images = torch.randint(0, 40, (8, 30, 30))
    expected = graycomatrix(images, 40), graycomatrix(images, 40, sparse=True)
    with ThreadPoolExecutor(8) as pool:
        dense = [pool.submit(graycomatrix, images, 40) for _ in range(8)]
        sparse = [pool.submit(graycomatrix, images, 40, sparse=True) for _ in range(8)]
        assert all(torch.equal(x.result(), expected[0]) for x in dense)
        assert all(torch.equal(x.result().values(), expected[1].values()) for x in sparse)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_changes_nothing(threads):
    images, before = torch.randint(0, 9, (5, 12, 12)), torch.get_num_threads()
    expected = graycomatrix(images, 9)
    try:
        torch.set_num_threads(threads)
        assert torch.equal(graycomatrix(images, 9), expected)
        images[-1, 0, 0] = 9
        with pytest.raises(ValueError, match="outside 0 to 8"):
            graycomatrix(images, 9)
    finally:
        torch.set_num_threads(before)


@pytest.mark.usefixtures("form")
def test_counts_do_not_overflow():
    image = torch.zeros(200, 200, dtype=torch.uint8)
    assert graycomatrix(image, 2, symmetric=True).max() == 2 * 199 * 200
    small = graycomatrix(image[:12, :12], 2, dtype=torch.uint8)
    assert (small.dtype, small.max()) == (torch.uint8, 132)
    with pytest.raises(ValueError, match="may reach 264"):
        graycomatrix(image[:12, :12], 2, symmetric=True, dtype=torch.uint8)
    with pytest.raises(ValueError, match="counts can be"):
        graycomatrix(image, 2, dtype=torch.float32)
    volume = torch.zeros(1, dtype=torch.uint8).expand(2000, 2000, 2000)
    with pytest.raises(ValueError, match="may reach 7996000000"):
        graycomatrix(volume, 2, [(0, 0, 1)], dtype=torch.int32)


@pytest.mark.parametrize(
    ("images", "arguments", "message"),
    [
        (torch.rand(4, 4), {}, "quantize them"),
        (torch.zeros(4, 4, dtype=torch.bool), {}, "makes two gray levels"),
        (torch.full((4, 4), 4), {}, "outside 0 to 3"),
        (torch.full((4, 4), 4), {"sparse": True}, "outside 0 to 3"),
        (torch.full((4, 4), -1, dtype=torch.int8), {}, "outside 0 to 3"),
        (torch.full((4, 4), 2**40), {}, "outside 0 to 3"),
        (torch.zeros(4, dtype=torch.long), {}, "need 2 dimensions"),
        (torch.zeros(4, 4, dtype=torch.long), {"offsets": [(0, 0, 1)]}, "need 3 dimensions"),
        (torch.zeros(4, 4, dtype=torch.long), {"offsets": [(0, 1), (0, 0, 1)]}, "must all be"),
        (torch.zeros(4, 4, dtype=torch.long), {"offsets": []}, "is empty"),
        (torch.zeros(4, 4, dtype=torch.long), {"distances": [1]}, "give either"),
        (torch.zeros(4, 4, dtype=torch.long), {"levels": 65_537}, "1 to 65,536"),
        (torch.zeros(4, 4, dtype=torch.long), {"levels": [1]}, "right after the images"),
        (torch.zeros(4, 4, dtype=torch.long), {"convention": "ibsi"}, "says what distances at"),
        (torch.zeros(4, 4, dtype=torch.long), {"distances": 1, "angles": [0]}, "such as \\[1\\]"),
        (torch.zeros(4, 4, dtype=torch.long), {"distances": [1], "angles": [math.nan]}, "finite"),
        (torch.zeros(4, 4, dtype=torch.long), {"offsets": [(0, math.inf)]}, "whole pixels"),
        (torch.zeros(4, 4, dtype=torch.long), {"mask": torch.ones(3, 4)}, "mask is \\(3, 4\\)"),
    ],
)
@pytest.mark.usefixtures("form")
def test_bad_input_is_named(images, arguments, message):
    with pytest.raises(ValueError, match=message):
        graycomatrix(images, **{"levels": 4, **arguments})


def test_what_is_missing_is_named():
    with pytest.raises(TypeError, match="images is a NoneType: give a"):
        graycomatrix(None, 4)
    with pytest.raises(TypeError, match="out is a list"):
        graycomatrix(torch.zeros(4, 4, dtype=torch.long), 4, out=[])


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("number", [np.uint8, np.int16])
@pytest.mark.parametrize("measure", [graycomatrix, image_features])
def test_levels_of_numpy_do_not_overflow(measure, number):
    codes = torch.randint(0, 100, (3, 40, 40))
    assert torch.equal(measure(codes, number(100)), measure(codes, 100))


@pytest.mark.parametrize("sparse", [False, True])
def test_the_default_device_changes_nothing(sparse):
    codes = torch.randint(0, 4, (3, 9, 9))
    expected = graycomatrix(codes, 4, sparse=sparse)
    with torch.device("meta"):
        found = graycomatrix(codes, 4, sparse=sparse)
    assert torch.equal(found.to_dense(), expected.to_dense())


def test_a_negative_level_beside_the_mask_is_not_taken_for_outside():
    """The compiled loop marks pixels outside the region with -1."""
    image = torch.tensor([[0, -1, 0]])
    with pytest.raises(ValueError, match="outside 0 to 3"):
        graycomatrix(image, 4, mask=torch.tensor([[True, True, False]]))


@given(seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_windows_count_as_their_copies_do(seed):
    image = random_codes((17, 13), 8, torch.uint8, seed)
    size = 3 + seed % 5
    cuts = windows(image, size, 1 + seed % 3)
    found = graycomatrix(cuts, 8, [(1, 1)])
    for row, column in itertools.product(*map(range, cuts.shape[:2])):
        expected = graycomatrix(cuts[row, column].clone(), 8, [(1, 1)])
        assert torch.equal(found[row, column], expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_a_gpu_counts_as_the_cpu_does(dtype):
    images, mask = torch.randint(0, 16, (4, 40, 40)), torch.rand(4, 40, 40) < 0.8
    arguments = {"levels": 16, "offsets": directions(2), "symmetric": True}
    seen = images[:, :11, :11].to(dtype)
    for shown, inside in ((seen, None), (seen, mask[:, :11, :11])):
        expected = graycomatrix(shown, mask=inside, dtype=dtype, **arguments)
        on_gpu = None if inside is None else inside.cuda()
        found = graycomatrix(shown.cuda(), mask=on_gpu, dtype=dtype, **arguments)
        assert torch.equal(found.cpu(), expected)
        found = graycomatrix(shown.cuda(), mask=on_gpu, sparse=True, dtype=dtype, **arguments)
        assert torch.equal(found.to_dense().cpu(), expected)


@pytest.mark.usefixtures("form")
def test_out_is_filled_anew():
    out = torch.full((3, 2, 4, 4), 7, dtype=torch.int16)
    for _ in range(2):
        codes = torch.randint(0, 4, (3, 9, 9))
        matrices = graycomatrix(codes, 4, out=out)
        assert matrices is out
        assert torch.equal(out, graycomatrix(codes, 4, dtype=torch.int16))


@pytest.mark.parametrize(
    ("out", "more", "said"),
    [
        (torch.zeros(3, 2, 4, 5, dtype=torch.int32), {}, "it must be contiguous, (3, 2, 4, 4)"),
        (torch.zeros(3, 2, 4, 4, dtype=torch.int32).mT, {}, "it must be contiguous"),
        (torch.zeros(3, 2, 4, 4, dtype=torch.int32), {"sparse": True}, "leave sparse, normed"),
        (torch.zeros(3, 2, 4, 4, dtype=torch.int8), {"dtype": torch.int8}, "in its own type"),
        (torch.zeros(3, 2, 4, 4, dtype=torch.int8), {}, "out is torch.int8"),
        (torch.zeros(3, 2, 4, 4), {}, "out is torch.float32"),
    ],
)
def test_out_that_does_not_fit_is_refused(out, more, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        graycomatrix(torch.zeros(3, 30, 30, dtype=torch.int64), 4, out=out, **more)
