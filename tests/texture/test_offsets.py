"""Offsets and pair views."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.feature import graycomatrix as reference_matrix

from glcm_mae.texture import directions, offsets_at
from glcm_mae.texture.offsets import check_offsets, pair_views


@settings(max_examples=100, deadline=None)
@given(
    distance=st.one_of(st.integers(0, 12), st.floats(0, 12)),
    angle=st.one_of(st.floats(-6, 6), st.sampled_from([k * math.pi / 12 for k in range(24)])),
)
def test_offsets_are_those_of_scikit_image(distance, angle):
    """Find scikit-image's offset from where the one marked pixel's partner lies."""
    (dy, dx), size = offsets_at([distance], [angle])[0], 27
    levels = np.arange(size * size, dtype=np.uint16).reshape(size, size)
    middle = levels[13, 13]
    row = reference_matrix(levels, [distance], [angle], levels=size * size)[middle, :, 0, 0]
    assert divmod(int(row.argmax()), size) == (13 + dy, 13 + dx)


def test_iterators_are_sequences_as_well():
    assert offsets_at(iter([1, 2]), iter([0.0])) == ((0, 1), (0, 2))


def test_ibsi_counts_steps_along_a_direction():
    angles = [k * math.pi / 4 for k in range(4)]
    assert offsets_at([1, 2], angles, "ibsi") == (
        (0, 1), (1, 1), (1, 0), (1, -1), (0, 2), (2, 2), (2, 0), (2, -2),
    )  # fmt: skip
    assert offsets_at([2], angles) == ((0, 2), (1, 1), (2, 0), (1, -1))
    with pytest.raises(ValueError, match="no multiple"):
        offsets_at([1], [0.5], "ibsi")
    with pytest.raises(ValueError, match="whole number"):
        offsets_at([1.5], [0], "ibsi")
    with pytest.raises(ValueError, match="choose one of"):
        offsets_at([1], [0], "haralick")


@pytest.mark.parametrize(("ndim", "distance"), [(2, 1), (2, 3), (3, 1), (3, 2)])
def test_directions_hold_one_of_each_opposite_two(ndim, distance):
    found = directions(ndim, distance)
    both = set(found) | {tuple(-step for step in offset) for offset in found}
    assert len(both) == 2 * len(found) == 3**ndim - 1
    assert all({abs(step) for step in offset} <= {0, distance} for offset in found)


def test_bad_directions_are_refused():
    with pytest.raises(ValueError, match="2 dimensions, volumes 3"):
        directions(4)
    with pytest.raises(ValueError, match=r"distance is 1\.5: .* whole pixels"):
        directions(2, 1.5)
    with pytest.raises(ValueError, match=r"distance is 0: .* whole pixels"):
        directions(2, 0)
    with pytest.raises(ValueError, match="distance is nan"):
        directions(2, math.nan)


@settings(max_examples=50, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=3, max_size=3),
    offset=st.lists(st.integers(-6, 6), min_size=2, max_size=3),
)
def test_pair_views_hold_every_pair_once(shape, offset):
    pixels = torch.arange(math.prod(shape)).view(shape)
    first, second = pair_views(pixels, tuple(offset))
    places = {tuple(place): int(pixels[tuple(place)]) for place in np.ndindex(*shape)}
    step = (0,) * (3 - len(offset)) + tuple(offset)
    expected = [
        (value, places[moved])
        for place, value in places.items()
        if (moved := tuple(p + s for p, s in zip(place, step, strict=True))) in places
    ]
    assert list(zip(first.flatten().tolist(), second.flatten().tolist(), strict=True)) == expected


def test_offsets_without_a_pair_are_refused():
    check_offsets([(0, 7), (-7, 0)], 8, 8)
    for offsets, message in (([], "empty"), ([(0, 0)], "itself"), ([(8, 0)], "no pixel pair")):
        with pytest.raises(ValueError, match=message):
            check_offsets(offsets, 8, 8)


def test_degrees_are_told_from_radians():
    with pytest.warns(UserWarning, match="more than a whole turn: they are in radians"):
        offsets_at([1], [0, 45, 90, 135])
    offsets_at([1], [-2 * math.pi, 2 * math.pi])


def test_numbers_of_any_library_are_taken():
    expected = offsets_at([1, 2], [0.0, 0.5])
    assert offsets_at(torch.tensor([1, 2]), np.array([0.0, 0.5])) == expected
    assert directions(2.0) == directions(2)


def test_a_word_is_no_offset():
    with pytest.raises(ValueError, match=r"offsets is 'merged': give a sequence of \(dy, dx\)"):
        check_offsets("merged", 8, 8)
