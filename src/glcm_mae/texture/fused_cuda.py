"""The GLCM distance and its gradient as one kernel for CUDA (Triton).

The mathematics is that of `glcm_mae.texture.sparse`. A few programs run on each multiprocessor.
Each owns a scratch of zeros, one cell for each pair of levels, and walks over its share of the
groups, offset by offset:

1. scatter: each pair of pixels adds its entries to their cells, the target's with a minus sign;
2. gather: each pair reads its entries' cells, and sums up loss and gradient;
3. clear: the cells become zeros again.

In between, the threads of a program wait for each other; programs share nothing but the input. What
a group touches of its scratch stays in the L2 cache from the first step to the last: memory sees
prediction and target once, and the gradient once.
"""

from __future__ import annotations

# mypy: allow-untyped-defs, allow-untyped-decorators, allow-incomplete-defs
import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from .binning import Binning
from .comparison import Comparison
from .grid import GaussianGrid
from .offsets import Offset

# Pairs of pixels that a program takes at a time, one a thread.
_TILE = 256

# Threads of all programs on a multiprocessor: half of what it holds, which leaves each 64
# registers.
_THREADS = 1024

# All scratches together, in sizes of the L2 cache. A group touches a small part of its scratch, so
# that more than the cache holds costs less than idle multiprocessors do.
_SCRATCH = 1.5

# An entry is left out if its weight and its part in the gradient are below this: where a kernel's
# own tail ends. A sigmoid of a thirtieth of a bin then has 4.5 entries a pair in place of 9.
_LEAST = tl.constexpr(1e-9)

# The unit of fixed-point sums. 2^31 pairs fit into 64 bits.
_UNIT = tl.constexpr(2.0**-32)


@triton.jit
def _cumulative(t, KERNEL: tl.constexpr):
    """Cumulative distribution of a kernel's noise; see `glcm_mae.texture.binning`."""
    if KERNEL == "sigmoid":
        e = tl.exp(-tl.abs(t))
        value = tl.where(t > 0, 1.0, e) / (1.0 + e)
    elif KERNEL == "linear":
        value = tl.minimum(tl.maximum(t + 0.5, 0.0), 1.0)
    elif KERNEL == "bspline":
        far = tl.maximum(1.5 - tl.abs(t), 0.0)
        tail = far * far * far / 6.0
        middle = 0.5 + t * (0.75 - t * t / 3.0)
        value = tl.where(tl.abs(t) < 0.5, middle, tl.where(t > 0, 1.0 - tail, tail))
    else:
        value = 0.5 + 0.5 * tl.erf(t * 0.7071067811865476)
    return value


@triton.jit
def _density(t, KERNEL: tl.constexpr):
    """Density of a kernel's noise."""
    if KERNEL == "sigmoid":
        e = tl.exp(-tl.abs(t))  # s (1 - s) would lose the digits of a small 1 - s
        value = e / ((1.0 + e) * (1.0 + e))
    elif KERNEL == "linear":
        value = tl.where((t >= -0.5) & (t < 0.5), 1.0, 0.0)
    elif KERNEL == "bspline":
        far = tl.maximum(1.5 - tl.abs(t), 0.0)
        value = tl.where(tl.abs(t) < 0.5, 0.75 - t * t, 0.5 * far * far)
    else:
        value = tl.exp(-0.5 * t * t) * 0.3989422804014327
    return value


@triton.jit
def _place(pixels, at, inside, bins):
    """Find where pixels lie among the bins.

    Returns the first bin that each touches, the number from there to the nearest edge between bins,
    the signed distance from that edge, in bins, and whether the pixel receives gradient.
    """
    low, high, per_width, reach, _ = bins
    x = tl.load(pixels + at, mask=inside, other=0.0).to(tl.float64)
    moves = (x >= low) & (x <= high)
    x = tl.where(x == x, x, low)  # NaN has no bin; whoever calls makes the loss NaN
    # In float64 up to the nearest edge: a float32 position at level 200 would be off by 1e-5 of a
    # bin, which the steep sigmoid multiplies by 30. The small rest fits into float32.
    position = (tl.minimum(tl.maximum(x, low), high) - low) * per_width
    edge = tl.floor(position + 0.5)
    rest = (position - edge).to(tl.float32)
    number = -tl.floor(rest - reach)
    return edge.to(tl.int32) - number.to(tl.int32), number, rest, moves


@triton.jit
def _share(place, tap, bins, KERNEL: tl.constexpr, LEVELS: tl.constexpr, N_TAPS: tl.constexpr):
    """Bin of a tap, the pixel's weight in it, and that weight's slope in bandwidths.

    The outermost edges lie beyond the kernel: there the distribution is 1 and 0.
    """
    first, number, rest, moves = place
    steep = bins[4]  # bandwidths in a bin
    lower, upper = (rest + (number - tap)) * steep, (rest + (number - (tap + 1))) * steep
    begins, ends = tap == 0, tap == N_TAPS - 1
    above = tl.where(begins, 1.0, _cumulative(lower, KERNEL))
    weight = above - tl.where(ends, 0.0, _cumulative(upper, KERNEL))
    density = tl.where(begins, 0.0, _density(lower, KERNEL))
    slope = density - tl.where(ends, 0.0, _density(upper, KERNEL))
    bin = first + tap
    bin = tl.where(bin < 0, -1 - bin, bin)  # mirrored at the ends of the range
    bin = tl.where(bin >= LEVELS, 2 * LEVELS - 1 - bin, bin)
    return bin, weight, tl.where(moves, slope, 0.0)


@triton.jit
def _matters(weight_one, slope_one, weight_two, slope_two):
    """Whether an entry adds to the matrix or to the gradient."""
    one = tl.maximum(weight_one, tl.abs(slope_one))
    return one * tl.maximum(weight_two, tl.abs(slope_two)) >= _LEAST


@triton.jit
def _pairs(start, used, dy, dx, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, TILE: tl.constexpr):
    """Places of the pairs' first pixels in a group, and whether the second is inside the patch."""
    at = start + tl.arange(0, TILE)
    y, x = at // WIDTH % HEIGHT + dy, at % WIDTH + dx
    return at, (at < used) & (y >= 0) & (y < HEIGHT) & (x >= 0) & (x < WIDTH)


@triton.jit
def _scatter(
    cells, pixels, at, step, inside, sign, bins,
    KERNEL: tl.constexpr, LEVELS: tl.constexpr, N_TAPS: tl.constexpr, STRIDE: tl.constexpr,
    FIXED: tl.constexpr,
):  # fmt: skip
    """Add the entries of one image's pairs to the cells."""
    one, two = _place(pixels, at, inside, bins), _place(pixels, at + step, inside, bins)
    for i in range(N_TAPS):
        row, weight_one, slope_one = _share(one, i, bins, KERNEL, LEVELS, N_TAPS)
        for j in tl.static_range(N_TAPS):
            column, weight_two, slope_two = _share(two, j, bins, KERNEL, LEVELS, N_TAPS)
            keep = inside & _matters(weight_one, slope_one, weight_two, slope_two)
            entry = weight_one * weight_two
            if FIXED:
                entry = (entry / _UNIT + 0.5).to(tl.int64)
            # Many threads may add to one cell: their order, and so the rounding, differs from run
            # to run, unless the sum is one of integers.
            cell = cells + (row * LEVELS + column) * STRIDE
            tl.atomic_add(cell, sign * entry, mask=keep, sem="relaxed")


@triton.jit
def _load(cell, keep, unit):
    """Read what other threads have added up: from L2, where atomics happen, never from L1."""
    return tl.load(cell, mask=keep, other=0, cache_modifier=".cg").to(tl.float32) * unit


@triton.jit
def _difference(cells, cell, keep, unit, per_total, SCALED: tl.constexpr):
    """Read the difference D of the compared matrices, and the cells' shares g of the sum S.

    Compared is H(G) = G (1 - g) with g = G / S if scaled, else G; then g is given as 0.
    """
    if SCALED:
        p = _load(cells + cell * 2, keep, unit)
        t = _load(cells + cell * 2 + 1, keep, unit)
        p_damp, t_damp = p * per_total, t * per_total
        difference = p * (1.0 - p_damp) - t * (1.0 - t_damp)
    else:
        difference = _load(cells + cell, keep, unit)
        p_damp, t_damp = 0.0, 0.0
    return difference, p_damp, t_damp


@triton.jit
def _gather(
    cells, pixels, at, step, inside, unit, per_total, bins,
    KERNEL: tl.constexpr, LEVELS: tl.constexpr, N_TAPS: tl.constexpr, SCALED: tl.constexpr,
    IS_TARGET: tl.constexpr,
):  # fmt: skip
    """Sum over each pair's entries what their cells hold.

    Returns the sum of weight times ``D H(G) / G``, of which prediction's minus target's is the sum
    of D^2, and half the derivative of that by either pixel, in bandwidths: (pairs,) each.
    """
    one, two = _place(pixels, at, inside, bins), _place(pixels, at + step, inside, bins)
    value, by_one, by_two = (tl.full(inside.shape, 0.0, tl.float32),) * 3
    for i in range(N_TAPS):
        row, weight_one, slope_one = _share(one, i, bins, KERNEL, LEVELS, N_TAPS)
        for j in tl.static_range(N_TAPS):
            column, weight_two, slope_two = _share(two, j, bins, KERNEL, LEVELS, N_TAPS)
            keep = inside & _matters(weight_one, slope_one, weight_two, slope_two)
            cell = row * LEVELS + column
            difference, p_damp, t_damp = _difference(cells, cell, keep, unit, per_total, SCALED)
            worth = difference * (1.0 - (t_damp if IS_TARGET else p_damp))
            value += weight_one * weight_two * worth
            height = difference * (1.0 - 2.0 * p_damp)  # D dH/dG
            by_one += slope_one * weight_two * height
            by_two += weight_one * slope_two * height
    return value, by_one, by_two


@triton.jit
def _clear(
    cells, pixels, at, step, inside, bins,
    KERNEL: tl.constexpr, LEVELS: tl.constexpr, N_TAPS: tl.constexpr, STRIDE: tl.constexpr,
):  # fmt: skip
    """Put zeros back where `_scatter` has added. Threads that share a cell store the same."""
    one, two = _place(pixels, at, inside, bins), _place(pixels, at + step, inside, bins)
    for i in range(N_TAPS):
        row, weight_one, slope_one = _share(one, i, bins, KERNEL, LEVELS, N_TAPS)
        for j in tl.static_range(N_TAPS):
            column, weight_two, slope_two = _share(two, j, bins, KERNEL, LEVELS, N_TAPS)
            keep = inside & _matters(weight_one, slope_one, weight_two, slope_two)
            for slot in tl.static_range(STRIDE):
                tl.store(cells + (row * LEVELS + column) * STRIDE + slot, 0, mask=keep)


@triton.jit
def _plus(a, b):
    return a + b


@triton.jit
def _squares(
    cells, unit, per_total,
    LEVELS: tl.constexpr, SCALED: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Sum of D^2 over all cells, one after the other."""
    sums = tl.full([TILE], 0.0, tl.float32)
    for start in range(0, LEVELS * LEVELS, TILE):
        cell = start + tl.arange(0, TILE)
        keep = cell < LEVELS * LEVELS
        difference, _, _ = _difference(cells, cell, keep, unit, per_total, SCALED)
        sums += difference * difference
    return tl.reduce(sums, 0, _plus)


@triton.jit
def _clear_all(cells, SIZE: tl.constexpr, TILE: tl.constexpr):
    for start in range(0, SIZE, TILE):
        cell = start + tl.arange(0, TILE)
        tl.store(cells + cell, 0, mask=cell < SIZE)


@triton.jit
def _distance_kernel(
    prediction, target, counts, offsets, distance, gradient, scratch, n_groups, n_offsets, room,
    low: tl.float64, high: tl.float64, per_width: tl.float64, reach, steep,
    value_unit, slope_unit,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, KERNEL: tl.constexpr, LEVELS: tl.constexpr,
    N_TAPS: tl.constexpr, SCALED: tl.constexpr, FIXED: tl.constexpr, SWEEP: tl.constexpr,
    TILE: tl.constexpr,
):  # fmt: skip
    """Fill ``distance`` (G,) and add to the zeros of ``gradient`` (G, M, p, q)."""
    bins = (low, high, per_width, reach, steep)
    STRIDE: tl.constexpr = 2 if SCALED else 1  # two matrices cell by cell, or their difference
    SIZE: tl.constexpr = LEVELS * LEVELS * STRIDE
    program = tl.program_id(0)
    cells = scratch + program.to(tl.int64) * SIZE
    t_cells = cells + (STRIDE - 1)
    t_sign = 1 if SCALED else -1
    for g in range(program, n_groups, tl.num_programs(0)):
        begin = room.to(tl.int64) * g
        p, t, slopes = prediction + begin, target + begin, gradient + begin
        count = tl.load(counts + g).to(tl.int32)
        used = count * HEIGHT * WIDTH
        share = 1.0 / count.to(tl.float32)
        unit = share * _UNIT if FIXED else share
        loss = 0.0
        for o in range(n_offsets):
            dy = tl.load(offsets + 4 * o).to(tl.int32)
            dx = tl.load(offsets + 4 * o + 1).to(tl.int32)
            per_total = tl.load(offsets + 4 * o + 2)
            part = tl.load(offsets + 4 * o + 3)
            step = dy * WIDTH + dx
            for start in range(0, used, TILE):
                at, inside = _pairs(start, used, dy, dx, HEIGHT, WIDTH, TILE)
                _scatter(cells, p, at, step, inside, 1, bins,
                         KERNEL, LEVELS, N_TAPS, STRIDE, FIXED)  # fmt: skip
                _scatter(t_cells, t, at, step, inside, t_sign, bins,
                         KERNEL, LEVELS, N_TAPS, STRIDE, FIXED)  # fmt: skip
            tl.debug_barrier()  # before any cell is read, all are complete

            if SWEEP:
                loss += part * _squares(cells, unit, per_total, LEVELS, SCALED, TILE)
            values = tl.full([TILE], 0.0, tl.float32)
            for start in range(0, used, TILE):
                at, inside = _pairs(start, used, dy, dx, HEIGHT, WIDTH, TILE)
                value, by_one, by_two = _gather(
                    cells, p, at, step, inside, unit, per_total, bins,
                    KERNEL, LEVELS, N_TAPS, SCALED, False)  # fmt: skip
                if not SWEEP:
                    other, _, _ = _gather(
                        cells, t, at, step, inside, unit, per_total, bins,
                        KERNEL, LEVELS, N_TAPS, SCALED, True)  # fmt: skip
                    values += value - other
                # A pixel is the first of one pair and the second of another. Within either store
                # no two threads have the same pixel; the barriers keep the two apart, and this
                # tile's second from the next one's first. So no atomics, and always one order.
                worth = part * share * slope_unit
                old = tl.load(slopes + at, mask=inside, other=0.0)
                tl.store(slopes + at, old + worth * by_one, mask=inside)
                tl.debug_barrier()
                old = tl.load(slopes + at + step, mask=inside, other=0.0)
                tl.store(slopes + at + step, old + worth * by_two, mask=inside)
                tl.debug_barrier()  # after the last tile: all cells are read
            if SWEEP:
                _clear_all(cells, SIZE, TILE)
            else:
                loss += part * share * tl.reduce(values, 0, _plus)
                for start in range(0, used, TILE):
                    at, inside = _pairs(start, used, dy, dx, HEIGHT, WIDTH, TILE)
                    _clear(cells, p, at, step, inside, bins, KERNEL, LEVELS, N_TAPS, STRIDE)
                    _clear(cells, t, at, step, inside, bins, KERNEL, LEVELS, N_TAPS, STRIDE)
            tl.debug_barrier()  # before anything is added, all cells are zeros
        tl.store(distance + g, loss * value_unit)


def supports(binning: Binning | GaussianGrid) -> bool:
    """Whether `fused_distance` takes these bins: whether it is the form to choose.

    It is for kernels of a few bins, ``n_taps ** 2 <= 2 * levels``. By count, one pair of pixels
    costs it up to ``6 n_taps ** 2`` accesses to scattered cells (half as many where whole matrices
    are swept), about one a clock and multiprocessor. `matmul_distance` does ``4 levels ** 2``
    multiply-adds, 128 a clock, and moves some twenty numbers for each of the ``levels`` bins, at 5
    a clock: at 32 levels 160 clocks, as 7 taps do; at 256 levels 3,000, as 22 taps do.

    Parameters
    ----------
    binning : Binning or GaussianGrid
        Levels, kernel, bandwidth and range.

    Returns
    -------
    bool

    Examples
    --------
    >>> supports(Binning(32, "bspline")), supports(Binning(32, "gaussian"))
    (True, False)
    """
    # The rule also keeps kernels so narrow that one mirror brings back what lies beyond an end of
    # the range. Every pixel's weights then sum to one, and S is the number of pairs: the kernel
    # counts on both.
    return isinstance(binning, Binning) and binning.n_taps**2 <= 2 * binning.levels


def fused_distance(
    prediction: Tensor,
    target: Tensor,
    counts: Tensor,
    comparison: Comparison,
) -> tuple[Tensor, Tensor]:
    """`glcm_mae.texture.dense.dense_distance` and its gradient, on the device of the input.

    Sums of float32 depend on the order in which threads come, in their last digits. Under
    `torch.use_deterministic_algorithms` the matrices are summed in 64-bit fixed point instead, and
    two runs give the same bits: each entry is rounded by 1.2e-10 at most, a thousandth of
    float32's own rounding of one pair; the scratch is twice as large.

    Either way the result is off by rounding of the matrices' cells, 6e-8 of their size: relative to
    a distance that is small against the matrices themselves, more.

    Parameters
    ----------
    prediction, target : Tensor of float32 on a CUDA device, (G, M, p, q)
        Groups of patches.
    counts : Tensor of int64, (G,)
        How many of the M patches of a group count: the first ones, 1 or more.
    comparison : Comparison
        How they are compared.

    Returns
    -------
    distance : Tensor, (G,)
    gradient : Tensor, (G, M, p, q)
        Derivative of each group's distance by its own pixels.

    Raises
    ------
    ValueError
        If the input is not float32, a group has 2^30 pixels or more, or `supports` says no.
    """
    if prediction.dtype != torch.float32 or target.dtype != torch.float32:
        raise ValueError(
            f"prediction is {prediction.dtype} and target {target.dtype}: the CUDA kernel computes "
            "in float32; bring both to it, or use sparse_distance."
        )
    if prediction[:1].numel() >= 2**30:
        raise ValueError("a group has 2^30 pixels or more: pool over fewer patches.")
    if not supports(comparison.binning):
        raise ValueError(
            f"{comparison.binning} is too wide a kernel, or has too many levels, for the CUDA "
            "kernel: use matmul_distance or sparse_distance."
        )
    fixed = torch.are_deterministic_algorithms_enabled()
    cells = comparison.binning.levels**2 * (2 if comparison.scaled else 1)
    programs = _n_programs(prediction, cells * (8 if fixed else 4))
    dtype = torch.int64 if fixed else torch.float32
    scratch = torch.zeros(programs, cells, dtype=dtype, device=prediction.device)
    return _launch(prediction, target, counts, comparison, scratch)


def _n_programs(groups: Tensor, scratch_bytes: int) -> int:
    """How many programs run: as many on one multiprocessor as on another, if they are enough."""
    machine = torch.cuda.get_device_properties(groups.device)
    processors = machine.multi_processor_count
    fit = max(1, int(_SCRATCH * machine.L2_cache_size) // scratch_bytes)
    if fit > processors:
        fit = processors * min(fit // processors, _THREADS // _tile(groups))
    return min(len(groups), fit)


def _tile(groups: Tensor) -> int:
    return max(32, min(_TILE, triton.next_power_of_2(groups[:1].numel())))


def _launch(
    prediction: Tensor,
    target: Tensor,
    counts: Tensor,
    comparison: Comparison,
    scratch: Tensor,
) -> tuple[Tensor, Tensor]:
    """Run one program for each row of the scratch: zeros on entry, and zeros again on return.

    Its type says how the matrices are summed, in float32 or in fixed point (int64).
    """
    n_groups, members, height, width = prediction.shape
    prediction, target = prediction.contiguous(), target.contiguous()
    distance, gradient = prediction.new_zeros(n_groups), torch.zeros_like(prediction)
    if prediction.numel() == 0:
        return distance, gradient
    binning, tile = comparison.binning, _tile(prediction)
    assert isinstance(binning, Binning)  # `supports` has seen to it
    room, cells = members * height * width, binning.levels**2
    table = comparison.offsets, comparison.weights, comparison.normalized
    offsets = _offsets(*table, height, width, prediction.device)
    with torch.cuda.device_of(prediction):
        _distance_kernel[(len(scratch),)](
            prediction, target, counts, offsets, distance, gradient, scratch,
            n_groups, len(offsets), room,
            *binning.value_range, 1 / binning.width, binning.reach, binning.width / binning.scale,
            1 / cells, 2 / (binning.scale * cells),
            HEIGHT=height, WIDTH=width, KERNEL=binning.kernel, LEVELS=binning.levels,
            N_TAPS=binning.n_taps, SCALED=comparison.scaled, FIXED=scratch.dtype == torch.int64,
            # Sweeping over a line of 32 cells costs no more than a scattered access to one.
            SWEEP=cells <= 32 * room,
            TILE=tile, num_warps=tile // 32, num_stages=1,
            # All three steps must come to the same entries, bit by bit: no product and sum may be
            # fused in one of them and not in another.
            enable_fp_fusion=False,
        )  # fmt: skip
    return distance, gradient


@functools.lru_cache(maxsize=64)
def _offsets(
    offsets: tuple[Offset, ...],
    weights: tuple[float, ...],
    normalized: bool,
    height: int,
    width: int,
    device: torch.device,
) -> Tensor:
    """Table of the offsets: dy, dx, one over the number of pairs S in a patch, and weight.

    Kept, because the host would wait for the device each time that it wrote it.
    """
    rows = []
    for (dy, dx), weight in zip(offsets, weights, strict=True):
        total = (height - abs(dy)) * (width - abs(dx))
        rows.append((dy, dx, 1 / total, weight / total**2 if normalized else weight))
    return torch.tensor(rows, dtype=torch.float32, device=device)
