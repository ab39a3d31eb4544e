"""Loops over windows and blocks of a matrix that numba would leave scalar, as vector instructions.

LLVM unrolls short loops before it looks for vectors in them, so that the outer products of a wide
kernel would take three times as long. Here they are written as operations on LLVM's vectors, which
it has for every processor: where the registers are shorter, it takes several.
"""

from __future__ import annotations

# mypy: allow-untyped-defs
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

SIZES = {2: 2, 3: 4, 4: 4, 8: 8, 13: 16, 16: 16}
"""Columns of a block, by its rows.

Columns come in powers of two, as registers do. Rows need not: a steep sigmoid touches 3 bins and a
Gaussian 13, and each row that is left out is one less to read and write.
"""

LANES = 16
"""Rows and columns of the largest; wider windows are worked off in several."""

_FAST = ("contract", "reassoc")

# Takes the typing context off the arguments; a block's size is part of its argument's type.
_intrinsic: Any = extending.intrinsic(prefer_literal=True)


@_intrinsic
def add_outer(typing, rows, lanes, matrix, place, stride, weight, first, second, share):
    """Add to a block of a matrix the outer product of two windows.

    ``matrix[place + i * stride + j] += share * weight[first + i] * weight[second + j]`` for i below
    ``rows`` and j below ``lanes``; arrays of one type, read as flat and without a check of their
    ends.
    """
    arguments = (
        *(rows, lanes, matrix, types.intp, types.intp),
        *(weight, types.intp, types.intp, matrix.dtype),
    )

    def generate(context, builder, signature, arguments):
        v = _Vectors(context, builder, signature.args[2].dtype, lanes.literal_value)
        _, _, matrix, place, stride, weight, first, second, share = arguments
        cells = v.address(signature.args[2], matrix, place)
        ones = v.address(signature.args[5], weight, first)
        others = v.load(v.address(signature.args[5], weight, second))
        others = v.multiply(v.spread(share), others)
        for i in range(rows.literal_value):
            one = v.spread(builder.load(v.after(ones, i)))
            v.store(v.multiply_add(one, others, v.load(cells)), cells)
            cells = builder.gep(cells, [stride])
        return context.get_dummy_value()

    return types.void(*arguments), generate


@_intrinsic
def take_squares(typing, rows, lanes, matrix, place, stride):
    """Put zeros into a block of a matrix; sum the squares that were there. See `add_outer`."""
    arguments = rows, lanes, matrix, types.intp, types.intp

    def generate(context, builder, signature, arguments):
        v = _Vectors(context, builder, signature.args[2].dtype, lanes.literal_value)
        _, _, matrix, place, stride = arguments
        cells, squares = v.address(signature.args[2], matrix, place), v.zeros
        for _ in range(rows.literal_value):
            row = v.load(cells)
            squares = v.multiply_add(row, row, squares)
            v.store(v.zeros, cells)
            cells = builder.gep(cells, [stride])
        return v.sum(squares)

    return matrix.dtype(*arguments), generate


@_intrinsic
def contract(typing, rows, lanes, matrix, place, stride, weight, slope, first, second):
    """Sum a block of a matrix, weighted by the weights of one window and the slopes of the other.

    With ``cell[i, j] = matrix[place + i * stride + j]`` for i below ``rows`` and j below ``lanes``:
    the sums over i and j of ``cell * slope[first + i] * weight[second + j]`` and of ``cell *
    weight[first + i] * slope[second + j]``. Arrays as in `add_outer`.
    """
    arguments = (
        *(rows, lanes, matrix, types.intp, types.intp),
        *(weight, slope, types.intp, types.intp),
    )

    def generate(context, builder, signature, arguments):
        v = _Vectors(context, builder, signature.args[2].dtype, lanes.literal_value)
        _, _, matrix, place, stride, weight, slope, first, second = arguments
        weights, slopes = (weight, signature.args[5]), (slope, signature.args[6])
        one, one_slope = (v.address(kind, array, first) for array, kind in (weights, slopes))
        cells = v.address(signature.args[2], matrix, place)
        along, along_slope = v.zeros, v.zeros
        for i in range(rows.literal_value):
            row = v.load(cells)
            along = v.multiply_add(v.spread(builder.load(v.after(one, i))), row, along)
            sloped = v.spread(builder.load(v.after(one_slope, i)))
            along_slope = v.multiply_add(sloped, row, along_slope)
            cells = builder.gep(cells, [stride])
        two, two_slope = (
            v.load(v.address(kind, array, second)) for array, kind in (weights, slopes)
        )
        sums = [v.sum(v.multiply(a, b)) for a, b in ((along_slope, two), (along, two_slope))]
        return context.make_tuple(builder, signature.return_type, sums)

    return types.UniTuple(matrix.dtype, 2)(*arguments), generate


@_intrinsic
def put_cubics(typing, lanes, values, slopes, at, pieces, place, size, fraction, per_step):
    """Evaluate ``lanes`` cubics and their slopes at one place.

    With ``c[k] = pieces[place + k * size + i]`` for i below ``lanes``: ``values[at + i]`` becomes
    ``c[0] + c[1] f + c[2] f^2 + c[3] f^3``, f the fraction, and ``slopes[at + i]`` its derivative
    by f times ``per_step``. Arrays as in `add_outer`.
    """
    arguments = (
        *(lanes, values, slopes, types.intp, pieces, types.intp, types.intp),
        *(pieces.dtype, pieces.dtype),
    )

    def generate(context, builder, signature, arguments):
        v = _Vectors(context, builder, signature.args[4].dtype, lanes.literal_value)
        _, values, slopes, at, pieces, place, size, fraction, per_step = arguments
        start, cubics = v.address(signature.args[4], pieces, place), []
        for _ in range(4):
            cubics.append(v.load(start))
            start = builder.gep(start, [size])
        f, (c, d, e, g) = v.spread(fraction), cubics
        ef, gff = v.multiply(e, f), v.multiply(g, v.multiply(f, f))
        value = v.multiply_add(f, builder.fadd(d, builder.fadd(ef, gff, flags=_FAST)), c)
        twice, thrice = (
            v.multiply(v.spread(ir.Constant(v.number, n)), x) for n, x in ((2.0, ef), (3.0, gff))
        )
        slope = builder.fadd(d, builder.fadd(twice, thrice, flags=_FAST), flags=_FAST)
        v.store(value, v.address(signature.args[1], values, at))
        v.store(v.multiply(v.spread(per_step), slope), v.address(signature.args[2], slopes, at))
        return context.get_dummy_value()

    return types.void(*arguments), generate


class _Vectors:
    """Instructions on ``lanes`` numbers at a time."""

    def __init__(self, context, builder, dtype, lanes):
        self.context, self.builder, self.lanes = context, builder, lanes
        self.number = context.get_data_type(dtype)
        self.vector = ir.VectorType(self.number, lanes)
        self.zeros = ir.Constant(self.vector, [0.0] * lanes)
        self.bits = dtype.bitwidth

    def address(self, kind, array, place):
        """Where an element of an array lies."""
        data = self.context.make_array(kind)(self.context, self.builder, array).data
        return self.builder.gep(data, [place])

    def after(self, address, steps):
        """Where the element some steps further on lies."""
        return self.builder.gep(address, [ir.Constant(ir.IntType(64), steps)])

    def load(self, address):
        """Read a vector."""
        loaded = self.builder.load(self._of_vector(address))
        loaded.align = self.bits // 8
        return loaded

    def store(self, vector, address):
        """Write a vector."""
        stored = self.builder.store(vector, self._of_vector(address))
        stored.align = self.bits // 8

    def _of_vector(self, address):
        return self.builder.bitcast(address, self.vector.as_pointer())

    def spread(self, number):
        """Put a number into every lane."""
        lane, empty = ir.IntType(32), ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(empty, number, ir.Constant(lane, 0))
        everywhere = ir.Constant(ir.VectorType(lane, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, empty, everywhere)

    def multiply(self, a, b):
        """Compute ``a * b``."""
        return self.builder.fmul(a, b, flags=_FAST)

    def multiply_add(self, a, b, c):
        """Compute ``a * b + c``."""
        return self.builder.fadd(c, self.multiply(a, b), flags=_FAST)

    def sum(self, vector):
        """Sum over the lanes."""
        kind = ir.FunctionType(self.number, [self.number, self.vector])
        name = f"llvm.vector.reduce.fadd.v{self.lanes}f{self.bits}"
        reduce = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(reduce, [ir.Constant(self.number, 0.0), vector], fastmath=_FAST)
