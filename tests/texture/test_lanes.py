"""The vector loops against the same sums in NumPy."""

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from glcm_mae.texture.lanes import LANES, add_outer, contract, put_cubics  # noqa: E402

STRIDE = 21
AT, FIRST, SECOND = 5, 16, 48


@numba.njit
def outer(matrix, weight, share):
    add_outer(matrix, AT, STRIDE, weight, FIRST, SECOND, share)


@numba.njit
def contracted(matrix, weight, slope):
    return contract(matrix, AT, STRIDE, weight, slope, FIRST, SECOND)


@numba.njit
def cubics(values, slopes, pieces, fraction, per_step):
    put_cubics(values, slopes, FIRST, pieces, AT, STRIDE, fraction, per_step)


def block(matrix):
    """View the block that the loops work on."""
    size = matrix.itemsize
    strides = (STRIDE * size, size)
    return np.lib.stride_tricks.as_strided(matrix[AT:], (LANES, LANES), strides)


@pytest.fixture(params=[np.float32, np.float64])
def arrays(request):
    rng = np.random.default_rng(0)
    matrix, weight = (rng.normal(size=n).astype(request.param) for n in (400, 64))
    return matrix, weight, 10 * float(np.finfo(request.param).eps)


def test_outer_product_is_added_to_the_block_alone(arrays):
    matrix, weight, error = arrays
    expected = matrix.copy()
    one, other = weight[FIRST : FIRST + LANES], weight[SECOND : SECOND + LANES]
    block(expected)[:] += 0.5 * np.outer(one, other)
    outer(matrix, weight, matrix.dtype.type(0.5))
    np.testing.assert_allclose(matrix, expected, rtol=error, atol=error)


def test_a_block_is_contracted_with_weights_and_with_the_slopes_of_either(arrays):
    matrix, weight, error = arrays
    slope = weight[::-1].copy()
    cell = block(matrix)
    (one, other), (one_slope, other_slope) = (
        (values[FIRST : FIRST + LANES], values[SECOND : SECOND + LANES])
        for values in (weight, slope)
    )
    expected = one @ cell @ other, one_slope @ cell @ other, one @ cell @ other_slope
    np.testing.assert_allclose(contracted(matrix, weight, slope), expected, rtol=1000 * error)


def test_cubics_and_their_slopes_are_evaluated_in_place(arrays):
    pieces, weight, error = arrays
    f, per_step = (pieces.dtype.type(number) for number in (0.3, 2.0))
    c, d, e, g = (pieces[AT + k * STRIDE :][:LANES] for k in range(4))
    values, slopes = np.zeros_like(weight), np.zeros_like(weight)
    cubics(values, slopes, pieces, f, per_step)
    here = slice(FIRST, FIRST + LANES)
    expected = c + d * f + e * f**2 + g * f**3
    np.testing.assert_allclose(values[here], expected, rtol=10 * error, atol=10 * error)
    expected = (d + 2 * e * f + 3 * g * f**2) * per_step
    np.testing.assert_allclose(slopes[here], expected, rtol=10 * error, atol=10 * error)
    for out in (values, slopes):
        assert not np.delete(out, np.arange(*here.indices(len(out)))).any()
