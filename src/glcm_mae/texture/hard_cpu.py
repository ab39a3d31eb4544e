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
def _list_cells(image, masked, levels, pairs, o, symmetric, cells):
    """Write down the cell of every pair of an offset; return how many there are."""
    runs, ends = pairs
    n, side = 0, np.uint32(levels)
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
def _fill_entries(images, masked, levels, pairs, symmetric, cells, counts, used):
    """Fill sorted cells and their counts (n, O, P), and how many each matrix has (n, O)."""
    listed = np.empty(cells.shape[2], np.uint32)
    spare = np.empty(cells.shape[2], np.uint32)
    bits = 0
    while (levels * levels - 1) >> bits:
        bits += 1
    for n in range(len(images)):
        image = images[n]
        for o in range(cells.shape[1]):
            n_cells = _list_cells(image, masked, levels, pairs, o, symmetric, listed)
            keys = radix_sort(listed, spare, n_cells, bits)
            last = -1
            for k in range(n_cells):  # without a branch, which would be guessed wrong
                is_new = k == 0 or keys[k] != keys[k - 1]
                last += is_new
                cells[n, o, last] = keys[k]
                counts[n, o, last] = (0 if is_new else counts[n, o, last]) + 1
            used[n, o] = last + 1


@compiled
def _write_entries(cells, counts, used, levels, grid, ends, indices, values):
    """Gather the entries of matrices (M, P) into indices (g + 2, E) and values (E,).

    ``grid`` (g, M) says where in the batch a matrix stands, ``ends`` (M,) where its entries end.
    """
    places = len(grid)
    for m in range(len(used)):
        own = slice(ends[m] - used[m], ends[m])
        for place in range(places):
            indices[place, own] = grid[place, m]
        first, second = indices[places, own], indices[places + 1, own]
        for k in range(used[m]):
            # A quotient of whole numbers below 2^32 is never rounded up to the next one.
            first[k] = np.int64(float(cells[m, k]) / levels)
            second[k] = cells[m, k] - first[k] * levels
        values[own] = counts[m, : used[m]]


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
    room = _room(regions, symmetric)
    cells = np.empty((n, n_offsets, room), np.uint32)
    counts = np.empty((n, n_offsets, room), _numpy_type(dtype))
    used = np.empty((n, n_offsets), np.int64)
    pairs = regions.runs()

    def count(images: NDArray[np.int32], part: slice) -> None:
        own = cells[part], counts[part], used[part]
        _fill_entries(*seen(regions, images), pairs, symmetric, *own)

    for_all(regions, count)
    matrices, flat_used, places = n * n_offsets, used.reshape(-1), grid.numpy()
    flat_cells, flat_counts = cells.reshape(matrices, room), counts.reshape(matrices, room)
    ends = flat_used.cumsum()
    entries = int(ends[-1]) if matrices else 0
    indices = np.empty((len(places) + 2, entries), np.int64)
    values = np.empty(entries, counts.dtype)

    def write(part: slice) -> None:
        _write_entries(
            flat_cells[part], flat_counts[part], flat_used[part], regions.levels,
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
