"""Windows of any width in blocks of the sizes that vector instructions work off.

A window is as wide as a block of `SIZES`, or a whole number of the largest (`whole_blocks`). The
arguments are those of `glcm_mae.texture.lanes`, and ``width``, a window's.
"""

from __future__ import annotations

# mypy: allow-untyped-defs
import math

from .compiling import written_out
from .lanes import LANES, SIZES, add_outer, clear, contract, put_cubics


def whole_blocks(span: int) -> int:
    """Round the width of a window up to a size that blocks fill."""
    fitting = [size for size in SIZES if size >= span]
    return min(fitting, default=math.ceil(span / LANES) * LANES)


@written_out
def add_outer_blocks(matrix, place, stride, weight, first, second, share, width):
    """Add to a matrix the outer product of two windows."""
    if width == 2:
        add_outer(2, matrix, place, stride, weight, first, second, share)
    elif width == 4:
        add_outer(4, matrix, place, stride, weight, first, second, share)
    elif width == 8:
        add_outer(8, matrix, place, stride, weight, first, second, share)
    else:
        for i in range(0, width, LANES):
            for j in range(0, width, LANES):
                at = place + i * stride + j
                add_outer(LANES, matrix, at, stride, weight, first + i, second + j, share)


@written_out
def contract_blocks(matrix, place, stride, weight, slope, first, second, width):
    """Sum a matrix, weighted by two windows; and again with the slopes of either."""
    if width == 2:
        return contract(2, matrix, place, stride, weight, slope, first, second)
    if width == 4:
        return contract(4, matrix, place, stride, weight, slope, first, second)
    if width == 8:
        return contract(8, matrix, place, stride, weight, slope, first, second)
    value, by_first, by_second = 0.0, 0.0, 0.0
    for i in range(0, width, LANES):
        for j in range(0, width, LANES):
            at = place + i * stride + j
            v, f, s = contract(LANES, matrix, at, stride, weight, slope, first + i, second + j)
            value, by_first, by_second = value + v, by_first + f, by_second + s
    return value, by_first, by_second


@written_out
def clear_blocks(matrix, place, stride, width):
    """Put zeros back where `add_outer_blocks` has written."""
    if width == 2:
        clear(2, matrix, place, stride)
    elif width == 4:
        clear(4, matrix, place, stride)
    elif width == 8:
        clear(8, matrix, place, stride)
    else:
        for i in range(0, width, LANES):
            for j in range(0, width, LANES):
                clear(LANES, matrix, place + i * stride + j, stride)


@written_out
def put_cubics_blocks(values, slopes, at, pieces, place, width, fraction, per_step):
    """Evaluate a window's cubics and their slopes."""
    if width == 2:
        put_cubics(2, values, slopes, at, pieces, place, width, fraction, per_step)
    elif width == 4:
        put_cubics(4, values, slopes, at, pieces, place, width, fraction, per_step)
    elif width == 8:
        put_cubics(8, values, slopes, at, pieces, place, width, fraction, per_step)
    else:
        for i in range(0, width, LANES):
            put_cubics(LANES, values, slopes, at + i, pieces, place + i, width, fraction, per_step)
