"""Counting pixel pairs as compiled loops for the CPU (numba).

Each volume is read once into a scratch of its thread, from memory of any type and strides; then its
pairs are counted row by row. Threads share nothing but the input and write apart.
"""

from __future__ import annotations

# mypy: allow-untyped-defs
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from .regions import Regions, in_threads, stack

OUTSIDE = -1  # the gray level of what lies outside the region of interest

compiled: Any = numba.njit(nogil=True, cache=True, error_model="numpy")


@compiled
def load(memory, start, strides, mask, mask_start, mask_strides, shape, levels, image):
    """Read a volume into ``image``, OUTSIDE where masked; return its lowest and highest level.

    The lowest is above the highest in an empty region; the highest is ``levels`` if one is out of
    range.
    """
    depth, height, width = shape
    lowest, highest = np.uint32(levels), np.int32(-1)
    for line in range(depth * height):
        z, y = line // height, line % height
        row = image[line * width : (line + 1) * width]
        here = start + z * strides[0] + y * strides[1]
        if strides[2] == 1:  # compiled apart: it reads many at a time
            _read(memory, here, 1, levels, row)
        else:
            _read(memory, here, strides[2], levels, row)
        if len(mask) > 0:
            here = mask_start + z * mask_strides[0] + y * mask_strides[1]
            for x in range(width):
                if not mask[here + x * mask_strides[2]]:
                    row[x] = OUTSIDE
        for code in row:
            lowest = min(lowest, np.uint32(code))  # OUTSIDE becomes the largest
            highest = max(highest, code)
    return np.int64(lowest), np.int64(highest)


@compiled
def _read(memory, here, step, levels, row):
    for x in range(len(row)):
        code = np.int64(memory[here + x * step])
        row[x] = code if 0 <= code < levels else levels


@compiled
def row_of_pairs(image, shape, offset, row):
    """First and second pixels of the pairs that begin in the ``row``-th row that has any."""
    (_, height, width), (dz, dy, dx) = shape, offset
    rows = height - abs(dy)
    z, y = max(0, -dz) + row // rows, max(0, -dy) + row % rows
    start = (z * height + y) * width + max(0, -dx)
    step = (dz * height + dy) * width + dx
    breadth = width - abs(dx)
    return image[start : start + breadth], image[start + step : start + step + breadth]


@compiled
def count_rows(shape, offset):
    """Count the rows in which pairs begin."""
    depth, height, width = shape
    dz, dy, dx = offset
    if abs(dx) >= width:
        return 0
    return max(0, depth - abs(dz)) * max(0, height - abs(dy))


@compiled
def _count(image, shape, offset, masked, levels, matrix):
    """Add the pairs of one offset to a flat (L * L) matrix."""
    for row in range(count_rows(shape, offset)):
        first, second = row_of_pairs(image, shape, offset, row)
        if masked:
            for x in range(len(first)):
                if first[x] != OUTSIDE and second[x] != OUTSIDE:
                    matrix[np.uintp(first[x] * levels + second[x])] += 1
        else:
            for x in range(len(first)):
                matrix[np.uintp(first[x] * levels + second[x])] += 1


@compiled
def _fill_matrices(
    memory, starts, strides, mask, mask_starts, mask_strides, shape, levels, offsets, symmetric,
    by_copy, matrices,
):  # fmt: skip
    """Fill (N, O, L * L) with counts; False if a gray level is out of range.

    If ``by_copy``, they are counted in a scratch and copied; else ``matrices`` must be zeros.
    """
    image = np.empty(shape[0] * shape[1] * shape[2], np.int32)
    scratch = np.zeros(levels * levels if by_copy else 0, matrices.dtype)
    masked = len(mask) > 0
    for n in range(len(starts)):
        _, highest = load(
            memory, starts[n], strides, mask, mask_starts[n], mask_strides, shape, levels, image
        )
        if highest >= levels:
            return False
        for o in range(len(offsets)):
            matrix = matrices[n, o]
            table = scratch if by_copy else matrix
            dz, dy, dx = offsets[o, 0], offsets[o, 1], offsets[o, 2]
            _count(image, shape, (dz, dy, dx), masked, levels, table)
            if symmetric:
                _count(image, shape, (-dz, -dy, -dx), masked, levels, table)
            if by_copy:
                for cell in range(levels * levels):
                    matrix[cell] = scratch[cell]
                    scratch[cell] = 0
    return True


@compiled
def radix_sort(keys, spare, n, bits):
    """Sort the first ``n`` unsigned keys of ``bits`` bits; return the array that holds them.

    A counting sort by the lowest 8 bits, then the next: n steps a byte, whatever the order.
    """
    places = np.empty(256, np.int64)
    for shift in range(0, bits, 8):
        places[:] = 0
        for k in range(n):
            places[(keys[k] >> np.uint32(shift)) & np.uint32(255)] += 1
        place = 0
        for digit in range(256):
            count = places[digit]
            places[digit] = place
            place += count
        for k in range(n):
            digit = (keys[k] >> np.uint32(shift)) & np.uint32(255)
            spare[places[digit]] = keys[k]
            places[digit] += 1
        keys, spare = spare, keys
    return keys


@compiled
def _list_cells(image, shape, offset, masked, levels, symmetric, cells):
    """Write down the cell of every pair of one offset; return how many there are."""
    n = 0
    for row in range(count_rows(shape, offset)):
        first, second = row_of_pairs(image, shape, offset, row)
        for x in range(len(first)):
            if masked and (first[x] == OUTSIDE or second[x] == OUTSIDE):
                continue
            a, b = np.int64(first[x]), np.int64(second[x])
            cells[n] = a * levels + b
            n += 1
            if symmetric:
                cells[n] = b * levels + a
                n += 1
    return n


@compiled
def _fill_entries(
    memory, starts, strides, mask, mask_starts, mask_strides, shape, levels, offsets, symmetric,
    cells, counts, used,
):  # fmt: skip
    """Fill sorted cells and their counts (N, O, P), and how many each matrix has (N, O)."""
    image = np.empty(shape[0] * shape[1] * shape[2], np.int32)
    listed = np.empty(cells.shape[2], np.uint32)
    spare = np.empty(cells.shape[2], np.uint32)
    masked = len(mask) > 0
    bits = 0
    while (levels * levels - 1) >> bits:
        bits += 1
    for n in range(len(starts)):
        _, highest = load(
            memory, starts[n], strides, mask, mask_starts[n], mask_strides, shape, levels, image
        )
        if highest >= levels:
            return False
        for o in range(len(offsets)):
            offset = (offsets[o, 0], offsets[o, 1], offsets[o, 2])
            pairs = _list_cells(image, shape, offset, masked, levels, symmetric, listed)
            keys = radix_sort(listed, spare, pairs, bits)
            entries = 0
            for k in range(pairs):
                if k == 0 or keys[k] != keys[k - 1]:
                    cells[n, o, entries] = keys[k]
                    counts[n, o, entries] = 0
                    entries += 1
                counts[n, o, entries - 1] += 1
            used[n, o] = entries
    return True


@compiled
def _write_entries(cells, counts, used, levels, grid, ends, indices, values):
    """Gather the entries of matrices (M, P) into indices (g + 2, E) and values (E,).

    ``grid`` (g, M) says where in the batch a matrix stands, ``ends`` (M,) where its entries end.
    """
    places = len(grid)
    for m in range(len(used)):
        entry = ends[m] - used[m]
        for k in range(used[m]):
            for place in range(places):
                indices[place, entry + k] = grid[place, m]
            cell = np.int64(cells[m, k])
            indices[places, entry + k] = cell // levels
            indices[places + 1, entry + k] = cell % levels
            values[entry + k] = counts[m, k]


def count_dense(regions: Regions, symmetric: bool, dtype: torch.dtype) -> Tensor:
    """Count as `glcm_mae.texture.hard.scatter_dense`, on as many threads as torch uses."""
    arguments, n = loop_arguments(regions)
    # Counting in cold memory is slow: where matrices are well filled, a scratch that stays in the
    # cache pays for the copy. numpy's memory lies on large pages, touched when first written to,
    # which is several times faster than torch's.
    by_copy = 4 * regions.codes.shape[-3:].numel() >= regions.levels**2
    allocate = np.empty if by_copy else np.zeros
    matrices = allocate((n, len(regions.offsets), regions.levels**2), _numpy_type(dtype))

    def work(part: slice) -> bool:
        return _fill_matrices(*arguments(part), symmetric, by_copy, matrices[part])

    if not in_threads(work, n):
        raise regions.out_of_range()
    return torch.from_numpy(matrices)


def count_sparse(
    regions: Regions, symmetric: bool, dtype: torch.dtype, grid: Tensor
) -> tuple[Tensor, Tensor]:
    """Count as `glcm_mae.texture.hard.unique_cells`, on as many threads as torch uses."""
    arguments, n = loop_arguments(regions)
    room = max(map(regions.pairs, regions.offsets)) * (2 if symmetric else 1)
    n_offsets = len(regions.offsets)
    cells = np.empty((n, n_offsets, room), np.uint32)
    counts = np.empty((n, n_offsets, room), _numpy_type(dtype))
    used = np.empty((n, n_offsets), np.int64)

    def count(part: slice) -> bool:
        return _fill_entries(*arguments(part), symmetric, cells[part], counts[part], used[part])

    if not in_threads(count, n):
        raise regions.out_of_range()
    matrices, flat_used, places = n * n_offsets, used.reshape(-1), grid.numpy()
    flat_cells, flat_counts = cells.reshape(matrices, room), counts.reshape(matrices, room)
    ends = flat_used.cumsum()
    entries = int(ends[-1]) if matrices else 0
    indices, values = (
        np.empty((len(places) + 2, entries), np.int64),
        np.empty(entries, counts.dtype),
    )

    def write(part: slice) -> bool:
        _write_entries(
            flat_cells[part], flat_counts[part], flat_used[part], regions.levels,
            places[:, part], ends[part], indices, values,
        )  # fmt: skip
        return True

    in_threads(write, matrices)
    return torch.from_numpy(indices), torch.from_numpy(values)


def loop_arguments(regions: Regions) -> tuple[Callable[[slice], tuple[Any, ...]], int]:
    """Give what every loop takes, as a function of the part of the batch, and the batch's size."""
    codes = stack(regions.codes)
    if regions.mask is None:
        mask_memory, mask_starts, mask_strides = np.zeros(0, bool), codes.starts, codes.strides
    else:
        mask = stack(regions.mask)
        mask_memory, mask_starts, mask_strides = mask.memory, mask.starts, mask.strides
    shape = tuple(regions.codes.shape[-3:])
    offsets = np.array(regions.offsets, np.int64)

    def of(part: slice) -> tuple[Any, ...]:
        return (
            codes.memory, codes.starts[part], codes.strides,
            mask_memory, mask_starts[part], mask_strides,
            shape, regions.levels, offsets,
        )  # fmt: skip

    return of, len(codes.starts)


def _numpy_type(dtype: torch.dtype) -> np.dtype[Any]:
    return torch.empty(0, dtype=dtype).numpy().dtype
