"""Counting pixel pairs as compiled loops for the CPU (numba).

Volumes are read, some at a time, from memory of any type and strides into a scratch of the thread;
then the cells of their pairs are listed, run by run (`Regions.runs`), and counted. Only the reading
is compiled anew for each type. Threads share nothing but the input and write apart.
"""

from __future__ import annotations

# mypy: allow-untyped-defs
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .compiling import compiled
from .memory import stack
from .regions import Regions
from .threads import in_threads

OUTSIDE = -1  # the gray level of what lies outside the region of interest

# Pixels that a thread reads before it counts them: few enough to stay in its cache.
_CHUNK = 2**17

# Matrices of at most _FEW pairs are sorted _COLUMNS at a time: twice as fast as by digits. A longer
# column takes more steps a pair, and fewer columns as many steps.
_FEW, _COLUMNS = 256, 64


@compiled
def _load(memory, starts, strides, mask, mask_starts, mask_strides, shape, levels, images):
    """Read volumes into ``images`` (n, D * H * W), OUTSIDE where masked; False if out of range."""
    depth, height, width = shape
    masked = len(mask) > 0
    # Rows that follow one another in memory are read as one.
    follow = not masked and strides[1] == width * strides[2]
    rows, length = (1, height * width) if follow else (height, width)
    in_range = True
    for n in range(len(starts)):
        image = images[n]
        for z in range(depth):
            for y in range(rows):
                row = image[(z * rows + y) * length : (z * rows + y + 1) * length]
                line = memory[starts[n] + z * strides[0] + y * strides[1] :]
                if masked:
                    inside = mask[mask_starts[n] + z * mask_strides[0] + y * mask_strides[1] :]
                    in_range &= _read_inside(line, strides[2], inside, mask_strides[2], levels, row)
                elif strides[2] == 1:  # compiled apart: it reads many at a time
                    in_range &= _read(line, 1, levels, row)
                else:
                    in_range &= _read(line, strides[2], levels, row)
    return in_range


@compiled
def _read(line, step, levels, row):
    in_range = True
    for x in range(len(row)):
        code = np.int64(line[x * step])
        in_range &= (code >= 0) & (code < levels)  # without a branch
        row[x] = code
    return in_range


@compiled
def _read_inside(line, step, inside, mask_step, levels, row):
    in_range = True
    for x in range(len(row)):
        code = np.int64(line[x * step])
        is_inside = inside[x * mask_step]
        in_range &= (not is_inside) | ((code >= 0) & (code < levels))
        row[x] = code if is_inside else OUTSIDE
    return in_range


@compiled
def _fill_matrices(images, masked, levels, pairs, symmetric, cells, matrices):
    """Fill (n, O, L * L) with counts."""
    for n in range(len(images)):
        image = images[n]  # an iterator's would be of any strides, and read one by one
        for o in range(matrices.shape[1]):
            matrix = matrices[n, o]
            matrix[:] = 0  # this brings it into the cache, where counting is fast
            listed = _list_cells(image, masked, levels, pairs, o, symmetric, cells)
            for k in range(listed):
                matrix[cells[k]] += 1


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
def _list_cells(image, masked, side, pairs, o, symmetric, cells):
    """Write down the cell of every pair of an offset, i * side + j; return how many there are."""
    runs, ends = pairs
    n, side = 0, np.uint32(side)
    for turned in range(2 if symmetric else 1):
        for r in range(ends[o], ends[o + 1]):
            start, length, step = runs[r, 0], runs[r, 1], runs[r, 2]
            one, other = (start + step, start) if turned else (start, start + step)
            first, second = image[one : one + length], image[other : other + length]
            if masked:
                for x in range(length):
                    if first[x] != OUTSIDE and second[x] != OUTSIDE:
                        cells[n] = np.uint32(first[x]) * side + np.uint32(second[x])
                        n += 1
            else:
                own = cells[n : n + length]
                for x in range(length):
                    own[x] = np.uint32(first[x]) * side + np.uint32(second[x])
                n += length
    return n


@compiled
def _fill_one_by_one(images, masked, bits, pairs, symmetric, cells, listed, entries):
    """Fill the cells of all pairs, sorted (n, O, P), how many (n, O), and how many differ (n, O).

    A cell is here the first level, followed by the second one in ``bits`` bits.
    """
    spare = np.empty(cells.shape[2], cells.dtype)
    ends_in_spare = len(range(0, 2 * bits, 8)) % 2 == 1
    for n in range(len(images)):
        image = images[n]
        for o in range(cells.shape[1]):
            own = cells[n, o]
            keys, other = (spare, own) if ends_in_spare else (own, spare)
            n_cells = _list_cells(image, masked, 1 << bits, pairs, o, symmetric, keys)
            radix_sort(keys, other, n_cells, 2 * bits)
            listed[n, o], entries[n, o] = n_cells, _different(own[:n_cells])


@compiled
def _fill_side_by_side(images, masked, bits, pairs, symmetric, cells, listed, entries):
    """Do as `_fill_one_by_one` for many images of few pairs: each matrix is sorted in a column."""
    columns = np.empty((cells.shape[2], min(_COLUMNS, len(images))), cells.dtype)
    for o in range(cells.shape[1]):
        for start in range(0, len(images), _COLUMNS):
            end = min(start + _COLUMNS, len(images))
            for n in range(start, end):
                column = columns[:, n - start]
                n_cells = _list_cells(images[n], masked, 1 << bits, pairs, o, symmetric, column)
                column[n_cells:] = -1  # without a sign the largest number: it ends up last
                listed[n, o] = n_cells
            _sort_columns(columns)
            for n in range(start, end):
                cells[n, o] = columns[:, n - start]
                entries[n, o] = _different(cells[n, o, : listed[n, o]])


@compiled
def _sort_columns(keys):
    """Sort each column by Batcher's merge exchange, whose steps are the same whatever the order.

    Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M.
    """
    n, top = len(keys), 1
    while 2 * top < n:
        top *= 2
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            for i in range(n - d):
                if i & p == r:
                    _order(keys[i], keys[i + d])
            if q == p:
                break
            q, r, d = q // 2, p, q - p
        p //= 2


@compiled
def _order(first, second):
    for x in range(len(first)):
        a, b = first[x], second[x]
        first[x], second[x] = min(a, b), max(a, b)


@compiled
def _different(ordered):
    """Count the different ones of sorted cells."""
    count = min(1, len(ordered))
    for k in range(1, len(ordered)):
        count += ordered[k] != ordered[k - 1]
    return count


@compiled
def _write_entries(cells, listed, entries, bits, grid, ends, indices, values):
    """Count equal ones of sorted cells (M, P) into indices (g + 2, E) and values (E,).

    ``grid`` (g, M) says where in the batch a matrix stands, ``ends`` (M,) where its entries end.
    """
    places = len(grid)
    for place in range(places):  # one row after the other: faster than all rows at once
        for m in range(len(ends)):
            indices[place, ends[m] - entries[m] : ends[m]] = grid[place, m]
    for m in range(len(ends)):
        own = slice(ends[m] - entries[m], ends[m])
        first, second, counts = indices[places, own], indices[places + 1, own], values[own]
        ordered = cells[m]
        last, begin = -1, 0
        for k in range(listed[m]):  # without a branch, which would be guessed wrong
            cell = np.int64(ordered[k])
            is_new = k == 0 or cell != ordered[k - 1]
            last += is_new
            begin = k if is_new else begin
            first[last] = cell >> bits
            second[last] = cell & ((1 << bits) - 1)
            counts[last] = k + 1 - begin  # one more than it was would have to wait for that


def count_dense(
    regions: Regions, symmetric: bool, dtype: torch.dtype, out: Tensor | None = None
) -> Tensor:
    """Count as `glcm_mae.texture.hard.scatter_dense`, on as many threads as torch uses."""
    shape = regions.lead.numel(), len(regions.offsets), regions.levels**2
    room = _room(regions, symmetric)
    # numpy's memory lies on large pages, several times faster to touch first than torch's.
    matrices = np.empty(shape, _numpy_type(dtype)) if out is None else out.view(shape).numpy()

    pairs = regions.runs()

    def count(images: NDArray[np.int32], part: slice) -> None:
        cells = np.empty(room, np.uint32)
        _fill_matrices(*seen(regions, images), pairs, symmetric, cells, matrices[part])

    for_all(regions, count)
    return torch.from_numpy(matrices)


def count_sparse(
    regions: Regions, symmetric: bool, dtype: torch.dtype, grid: Tensor
) -> tuple[Tensor, Tensor]:
    """Count as `glcm_mae.texture.hard.unique_cells`, on as many threads as torch uses."""
    n, n_offsets = regions.lead.numel(), len(regions.offsets)
    room, bits = _room(regions, symmetric), (regions.levels - 1).bit_length()
    cells = np.empty((n, n_offsets, room), np.uint16 if bits <= 8 else np.uint32)
    listed, entries = np.empty((2, n, n_offsets), np.int64)
    pairs = regions.runs()

    def count(images: NDArray[np.int32], part: slice) -> None:
        beside = room <= _FEW and len(images) >= _COLUMNS // 2
        fill = _fill_side_by_side if beside else _fill_one_by_one
        own = cells[part], listed[part], entries[part]
        fill(images, regions.masked, bits, pairs, symmetric, *own)

    for_all(regions, count)
    matrices, places, all_entries = n * n_offsets, grid.numpy(), entries.reshape(-1)
    all_cells, all_listed = cells.reshape(matrices, room), listed.reshape(-1)
    ends = all_entries.cumsum()
    total = int(ends[-1]) if matrices else 0
    indices = np.empty((len(places) + 2, total), np.int64)
    values = np.empty(total, _numpy_type(dtype))

    def write(part: slice) -> None:
        _write_entries(
            all_cells[part], all_listed[part], all_entries[part], bits,
            places[:, part], ends[part], indices, values,
        )  # fmt: skip

    in_threads(write, matrices)
    return torch.from_numpy(indices), torch.from_numpy(values)


def for_all(regions: Regions, work: Callable[[NDArray[np.int32], slice], None]) -> None:
    """Call ``work(images, part)`` for all volumes, on as many threads as torch uses.

    ``images`` (n, D * H * W) holds the gray levels of the volumes ``part`` of the batch, and -1
    outside the region of interest.
    """
    codes = stack(regions.codes)
    shape = tuple(regions.codes.shape[-3:])
    area = regions.codes.shape[-3:].numel()
    no_mask = torch.zeros(len(codes.starts), 0, 1, 1, dtype=torch.bool, device="cpu")
    mask = stack(no_mask if regions.mask is None else regions.mask)
    step = max(1, _CHUNK // max(1, area))

    def thread(part: slice) -> None:
        images = np.empty((min(step, part.stop - part.start), area), np.int32)
        for start in range(part.start, part.stop, step):
            now = slice(start, min(start + step, part.stop))
            own = images[: now.stop - now.start]
            if not _load(
                codes.memory, codes.starts[now], codes.strides,
                mask.memory, mask.starts[now], mask.strides, shape, regions.levels, own,
            ):  # fmt: skip
                raise regions.out_of_range()
            work(own, now)

    in_threads(thread, len(codes.starts))


def seen(regions: Regions, images: NDArray[np.int32]) -> tuple[Any, ...]:
    """Give what every loop takes first: volumes, if there is a mask, and L."""
    return images, regions.masked, regions.levels


def _room(regions: Regions, symmetric: bool) -> int:
    """Most pairs that a matrix has."""
    return max(map(regions.pairs, regions.offsets)) * (2 if symmetric else 1)


def _numpy_type(dtype: torch.dtype) -> np.dtype[Any]:
    return torch.empty(0, dtype=dtype, device="cpu").numpy().dtype
