"""The vector loops against the same sums in NumPy."""

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from glcm_mae.texture.lanes import LANES, add_outer, add_products  # noqa: E402

STRIDE = 21
AT, FIRST, SECOND = 5, 16, 48


@numba.njit
def outer(matrix, weight, share):
    add_outer(matrix, AT, STRIDE, weight, FIRST, SECOND, share)


@numba.njit
def products(out, weight, matrix, share):
    return add_products(out, weight, FIRST, SECOND, matrix, AT, STRIDE, share)


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


def test_products_go_to_the_other_pixels_place(arrays):
    matrix, weight, error = arrays
    out, expected = np.ones_like(weight), np.ones_like(weight)
    one, other = weight[FIRST : FIRST + LANES], weight[SECOND : SECOND + LANES]
    cell = 0.5 * block(matrix)
    expected[FIRST : FIRST + LANES] += cell @ other
    expected[SECOND : SECOND + LANES] += one @ cell
    value = products(out, weight, matrix, matrix.dtype.type(0.5))
    np.testing.assert_allclose(out, expected, rtol=10 * error, atol=10 * error)
    assert value == pytest.approx(one @ cell @ other, rel=100 * error)
