"""Runs of pairs against a walk over all pixels."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from glcm_mae.texture.regions import regions

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
