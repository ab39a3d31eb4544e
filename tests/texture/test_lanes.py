"""The vector loops against the same sums in NumPy."""

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from glcm_mae.texture.lanes import SIZES, add_outer, clear, contract, put_cubics  # noqa: E402

STRIDE = 21
AT, FIRST, SECOND = 5, 16, 48


def loops(lanes):
    """Compile the four loops for blocks of one size."""

    @numba.njit
    def outer(matrix, weight, share):
        add_outer(lanes, matrix, AT, STRIDE, weight, FIRST, SECOND, share)

    @numba.njit
    def contracted(matrix, weight, slope):
        return contract(lanes, matrix, AT, STRIDE, weight, slope, FIRST, SECOND)

    @numba.njit
    def cubics(values, slopes, pieces, fraction, per_step):
        put_cubics(lanes, values, slopes, FIRST, pieces, AT, STRIDE, fraction, per_step)

    @numba.njit
    def cleared(matrix):
        clear(lanes, matrix, AT, STRIDE)

    return outer, contracted, cubics, cleared


LOOPS = {lanes: loops(lanes) for lanes in SIZES}


def block(matrix, lanes):
    """View the block that the loops work on."""
    size = matrix.itemsize
    strides = (STRIDE * size, size)
    return np.lib.stride_tricks.as_strided(matrix[AT:], (lanes, lanes), strides)


@pytest.fixture(params=[np.float32, np.float64])
def arrays(request):
    rng = np.random.default_rng(0)
    matrix, weight = (rng.normal(size=n).astype(request.param) for n in (400, 64))
    return matrix, weight, 10 * float(np.finfo(request.param).eps)


@pytest.mark.parametrize("lanes", LOOPS)
def test_outer_product_is_added_to_the_block_alone(arrays, lanes):
    matrix, weight, error = arrays
    expected = matrix.copy()
    one, other = weight[FIRST : FIRST + lanes], weight[SECOND : SECOND + lanes]
    block(expected, lanes)[:] += 0.5 * np.outer(one, other)
    LOOPS[lanes][0](matrix, weight, matrix.dtype.type(0.5))
    np.testing.assert_allclose(matrix, expected, rtol=error, atol=error)


@pytest.mark.parametrize("lanes", LOOPS)
def test_a_block_is_contracted_with_weights_and_with_the_slopes_of_either(arrays, lanes):
    matrix, weight, error = arrays
    slope = weight[::-1].copy()
    cell = block(matrix, lanes)
    (one, other), (one_slope, other_slope) = (
        (values[FIRST : FIRST + lanes], values[SECOND : SECOND + lanes])
        for values in (weight, slope)
    )
    expected = one @ cell @ other, one_slope @ cell @ other, one @ cell @ other_slope
    found = LOOPS[lanes][1](matrix, weight, slope)
    np.testing.assert_allclose(found, expected, rtol=1000 * error)


@pytest.mark.parametrize("lanes", LOOPS)
def test_cubics_and_their_slopes_are_evaluated_in_place(arrays, lanes):
    pieces, weight, error = arrays
    f, per_step = (pieces.dtype.type(number) for number in (0.3, 2.0))
    c, d, e, g = (pieces[AT + k * STRIDE :][:lanes] for k in range(4))
    values, slopes = np.zeros_like(weight), np.zeros_like(weight)
    LOOPS[lanes][2](values, slopes, pieces, f, per_step)
    here = slice(FIRST, FIRST + lanes)
    expected = c + d * f + e * f**2 + g * f**3
    np.testing.assert_allclose(values[here], expected, rtol=10 * error, atol=10 * error)
    expected = (d + 2 * e * f + 3 * g * f**2) * per_step
    np.testing.assert_allclose(slopes[here], expected, rtol=10 * error, atol=10 * error)
    for out in (values, slopes):
        assert not np.delete(out, np.arange(*here.indices(len(out)))).any()


@pytest.mark.parametrize("lanes", LOOPS)
def test_the_block_alone_is_cleared(arrays, lanes):
    matrix, _, _ = arrays
    expected = matrix.copy()
    block(expected, lanes)[:] = 0
    LOOPS[lanes][3](matrix)
    np.testing.assert_array_equal(matrix, expected)
