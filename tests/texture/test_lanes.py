"""The vector loops against the same sums in NumPy."""

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from glcm_mae.texture.lanes import SIZES, add_outer, contract, put_cubics, take_squares  # noqa: E402

STRIDE = 21
AT, FIRST, SECOND = 5, 16, 48


def loops(rows, lanes):
    """Compile the four loops for blocks of one size."""

    @numba.njit
    def outer(matrix, weight, share):
        add_outer(rows, lanes, matrix, AT, STRIDE, weight, FIRST, SECOND, share)

    @numba.njit
    def contracted(matrix, weight, slope):
        return contract(rows, lanes, matrix, AT, STRIDE, weight, slope, FIRST, SECOND)

    @numba.njit
    def cubics(values, slopes, pieces, fraction, per_step):
        put_cubics(lanes, values, slopes, FIRST, pieces, AT, STRIDE, fraction, per_step)

    @numba.njit
    def taken(matrix):
        return take_squares(rows, lanes, matrix, AT, STRIDE)

    return outer, contracted, cubics, taken


LOOPS = {size: loops(*size) for size in SIZES.items()}


def block(matrix, size):
    """View the block that the loops work on."""
    strides = (STRIDE * matrix.itemsize, matrix.itemsize)
    return np.lib.stride_tricks.as_strided(matrix[AT:], size, strides)


@pytest.fixture(params=[np.float32, np.float64])
def arrays(request):
    rng = np.random.default_rng(0)
    matrix, weight = (rng.normal(size=n).astype(request.param) for n in (400, 64))
    return matrix, weight, 10 * float(np.finfo(request.param).eps)


@pytest.mark.parametrize("size", LOOPS, ids=str)
def test_outer_product_is_added_to_the_block_alone(arrays, size):
    matrix, weight, error = arrays
    expected = matrix.copy()
    rows, lanes = size
    one, other = weight[FIRST : FIRST + rows], weight[SECOND : SECOND + lanes]
    block(expected, size)[:] += 0.5 * np.outer(one, other)
    LOOPS[size][0](matrix, weight, matrix.dtype.type(0.5))
    np.testing.assert_allclose(matrix, expected, rtol=error, atol=error)


@pytest.mark.parametrize("size", LOOPS, ids=str)
def test_a_block_is_contracted_with_the_weights_of_one_and_the_slopes_of_the_other(arrays, size):
    matrix, weight, error = arrays
    slope = weight[::-1].copy()
    cell = block(matrix, size)
    rows, lanes = size
    (one, other), (one_slope, other_slope) = (
        (values[FIRST : FIRST + rows], values[SECOND : SECOND + lanes])
        for values in (weight, slope)
    )
    expected = one_slope @ cell @ other, one @ cell @ other_slope
    found = LOOPS[size][1](matrix, weight, slope)
    np.testing.assert_allclose(found, expected, rtol=1000 * error)


@pytest.mark.parametrize("size", LOOPS, ids=str)
def test_cubics_and_their_slopes_are_evaluated_in_place(arrays, size):
    pieces, weight, error = arrays
    _, lanes = size
    f, per_step = (pieces.dtype.type(number) for number in (0.3, 2.0))
    c, d, e, g = (pieces[AT + k * STRIDE :][:lanes] for k in range(4))
    values, slopes = np.zeros_like(weight), np.zeros_like(weight)
    LOOPS[size][2](values, slopes, pieces, f, per_step)
    here = slice(FIRST, FIRST + lanes)
    expected = c + d * f + e * f**2 + g * f**3
    np.testing.assert_allclose(values[here], expected, rtol=10 * error, atol=10 * error)
    expected = (d + 2 * e * f + 3 * g * f**2) * per_step
    np.testing.assert_allclose(slopes[here], expected, rtol=10 * error, atol=10 * error)
    for out in (values, slopes):
        assert not np.delete(out, np.arange(*here.indices(len(out)))).any()


@pytest.mark.parametrize("size", LOOPS, ids=str)
def test_the_squares_of_the_block_alone_are_taken(arrays, size):
    matrix, _, error = arrays
    expected = matrix.copy()
    cell = block(expected, size)
    squares = np.square(cell).sum()
    cell[:] = 0
    assert LOOPS[size][3](matrix) == pytest.approx(squares, rel=10 * error)
    np.testing.assert_array_equal(matrix, expected)
