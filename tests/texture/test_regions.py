"""Runs of pairs against a walk over all pixels, and work shared among threads."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glcm_mae.texture.regions import in_threads, regions

SIDES = st.integers(1, 5)
STEPS = st.integers(-5, 5)


@given(st.tuples(SIDES, SIDES, SIDES), st.lists(st.tuples(STEPS, STEPS, STEPS), min_size=1))
def test_runs_hold_every_pair_once(shape, offsets):
    area = regions(torch.zeros(shape).int(), 2, offsets, None)
    runs, ends = area.runs()
    depth, height, width = shape
    for o, (dz, dy, dx) in enumerate(offsets):
        expected = [
            ((z * height + y) * width + x, ((z + dz) * height + y + dy) * width + x + dx)
            for z in range(max(0, -dz), depth - max(0, dz))
            for y in range(max(0, -dy), height - max(0, dy))
            for x in range(max(0, -dx), width - max(0, dx))
        ]
        found = [
            (start + k, start + k + step)
            for start, length, step in runs[ends[o] : ends[o + 1]].tolist()
            for k in range(length)
        ]
        assert found == expected


@pytest.mark.parametrize("failing", range(3))
def test_what_fails_in_any_thread_is_raised(failing):
    def work(part):
        if part.start == failing:
            raise RuntimeError("broken")

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with pytest.raises(RuntimeError, match="broken"):
            in_threads(work, 3)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 3, 100, 784])
def test_threads_share_all_of_the_work_in_order(count, threads):
    parts = []
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        in_threads(parts.append, count)
    finally:
        torch.set_num_threads(before)
    parts.sort(key=lambda part: part.start)
    assert [k for part in parts for k in range(part.start, part.stop)] == list(range(count))
