"""Two loops over a block of a matrix that numba would leave scalar, as vector instructions.

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

LANES = 16
"""Rows and columns of a block."""

_FAST = ("contract", "reassoc")
_intrinsic: Any = extending.intrinsic  # takes the typing context off the arguments


@_intrinsic
def add_outer(typing, matrix, place, stride, weight, first, second, share):
    """Add to a block of a matrix the outer product of two windows.

    ``matrix[place + i * stride + j] += share * weight[first + i] * weight[second + j]`` for i and j
    below 16; arrays of one type, read as flat and without a check of their ends.
    """
    arguments = matrix, types.intp, types.intp, weight, types.intp, types.intp, matrix.dtype

    def generate(context, builder, signature, arguments):
        v = _Vectors(context, builder, signature.args[0].dtype)
        matrix, place, stride, weight, first, second, share = arguments
        cells = v.address(signature.args[0], matrix, place)
        ones = v.address(signature.args[3], weight, first)
        others = v.load(v.address(signature.args[3], weight, second))
        others = v.multiply(v.spread(share), others)
        for i in range(LANES):
            one = v.spread(builder.load(v.after(ones, i)))
            v.store(v.multiply_add(one, others, v.load(cells)), cells)
            cells = builder.gep(cells, [stride])
        return context.get_dummy_value()

    return types.void(*arguments), generate


@_intrinsic
def add_products(typing, out, weight, first, second, matrix, place, stride, share):
    """Add a block of a matrix times each of two windows to the other's place; return both times it.

    With ``cell[i, j] = share * matrix[place + i * stride + j]`` for i and j below 16,
    ``out[first + i]`` gets the sum over j of ``cell[i, j] * weight[second + j]`` and
    ``out[second + j]`` that over i of ``cell[i, j] * weight[first + i]``. The two places must not
    overlap. Arrays as in `add_outer`.
    """
    arguments = (
        *(out, weight, types.intp, types.intp),
        *(matrix, types.intp, types.intp, matrix.dtype),
    )

    def generate(context, builder, signature, arguments):
        v = _Vectors(context, builder, signature.args[0].dtype)
        out, weight, first, second, matrix, place, stride, share = arguments
        cells = v.address(signature.args[4], matrix, place)
        ones = v.address(signature.args[1], weight, first)
        others = v.load(v.address(signature.args[1], weight, second))
        scaled = v.multiply(v.spread(share), others)
        along, across = [], v.zeros
        for i in range(LANES):
            row = v.load(cells)
            across = v.multiply_add(v.spread(builder.load(v.after(ones, i))), row, across)
            along.append(v.sum(v.multiply(row, scaled)))
            cells = builder.gep(cells, [stride])
        across = v.multiply(across, v.spread(share))
        target = v.address(signature.args[0], out, second)
        v.store(builder.fadd(v.load(target), across, flags=_FAST), target)
        target = v.address(signature.args[0], out, first)
        for i, added in enumerate(along):
            number = v.after(target, i)
            builder.store(builder.fadd(builder.load(number), added, flags=_FAST), number)
        return v.sum(v.multiply(across, others))

    return matrix.dtype(*arguments), generate


class _Vectors:
    """Instructions on 16 numbers at a time."""

    def __init__(self, context, builder, dtype):
        self.context, self.builder = context, builder
        self.number = context.get_data_type(dtype)
        self.vector = ir.VectorType(self.number, LANES)
        self.zeros = ir.Constant(self.vector, [0.0] * LANES)
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
        everywhere = ir.Constant(ir.VectorType(lane, LANES), [0] * LANES)
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
        name = f"llvm.vector.reduce.fadd.v{LANES}f{self.bits}"
        reduce = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(reduce, [ir.Constant(self.number, 0.0), vector], fastmath=_FAST)
