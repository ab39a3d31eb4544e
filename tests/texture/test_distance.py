"""Every implementation of the GLCM distance against the dense form in float64."""

from itertools import product

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glcm_mae.texture.binning import Binning
from glcm_mae.texture.comparison import Comparison
from glcm_mae.texture.dense import dense_distance, dense_glcm, soft_assignment
from glcm_mae.texture.fused_cpu import fused_distance
from glcm_mae.texture.patches import Patches
from glcm_mae.texture.sparse import matmul_distance, sparse_distance


def fused(p, t, valid, comparison):
    """Compare patches cut out (G, M, p, q): planes of one patch each."""
    member = torch.arange(valid.numel()).view(valid.shape)
    patches = Patches(member, valid.bool(), (1, 1), tuple(p.shape[2:]))
    value, gradient = fused_distance(p.flatten(0, 1), t.flatten(0, 1), patches, [(comparison, 1)])
    return value, gradient.view(p.shape)


def scattered(p, t, valid, comparison):
    scratch = p.new_zeros(2, len(p), comparison.binning.levels**2)
    distance, gradient = sparse_distance(p, t, valid, comparison, scratch)
    assert not scratch.any(), "the scratch must be zeros again"
    return distance, gradient


IMPLEMENTATIONS = {"fused": fused, "sparse": scattered, "matmul": matmul_distance}


def specification(p, t, valid, comparison):
    p = p.double().requires_grad_()
    distance = dense_distance(p, t.double(), valid.double(), comparison)
    (gradient,) = torch.autograd.grad(distance.sum(), p)
    return distance.detach(), gradient


def assert_agrees(found, expected, scale=0.0, gradient=1e-5):
    distance, slope = found
    assert torch.allclose(distance.double(), expected[0], rtol=1e-6, atol=1e-6 * scale)
    error = (slope.double() - expected[1]).norm() / expected[1].norm().clamp_min(1e-30)
    assert error < gradient


KERNELS = [
    ("sigmoid", 1 / 30),
    ("sigmoid", 1 / 5),
    ("linear", 1.0),
    ("bspline", 1.0),
    ("gaussian", 1.0),
]


@pytest.mark.parametrize("levels", [2, 3, 16, 32, 256])
@pytest.mark.parametrize(("kernel", "bins"), KERNELS)
@pytest.mark.parametrize(("scaled", "normalized"), list(product([False, True], repeat=2)))
def test_fused_agrees_to_1e6_in_value_and_1e5_in_gradient(levels, kernel, bins, scaled, normalized):
    binning = Binning(levels, kernel, bins / levels)
    comparison = Comparison(binning, ((0, 1), (1, -1)), scaled, normalized, (1.0, 3.0))
    p, t = torch.rand(2, 4, 2, 8, 8) * 1.3 - 0.15  # beyond both ends of the range too
    p[0], t[1] = 0.3, 0.7  # constant patches
    p[2, 0], t[2, 0] = 0.0, 1.0  # at the ends
    valid = torch.tensor([[1.0, 1], [1, 0], [1, 1], [1, 0]])
    p[1, 1] = p[3, 1] = 0.0
    assert_agrees(fused(p, t, valid, comparison), specification(p, t, valid, comparison))


@pytest.mark.parametrize("name", ["sparse", "matmul"])
@pytest.mark.parametrize("levels", [2, 32])
@pytest.mark.parametrize(("kernel", "bins"), KERNELS)
@pytest.mark.parametrize(("scaled", "normalized"), list(product([False, True], repeat=2)))
def test_tensor_forms_agree(name, levels, kernel, bins, scaled, normalized):
    binning = Binning(levels, kernel, bins / levels)
    comparison = Comparison(binning, ((0, 1), (2, 1)), scaled, normalized, (2.0, 1.0))
    p, t = torch.rand(2, 3, 2, 8, 8) * 1.3 - 0.15
    valid = torch.tensor([[1.0, 1], [1, 0], [1, 1]])
    expected = specification(p, t, valid, comparison)
    # These sum in float32: what counts is the error against the size of the matrices themselves.
    scale = float(dense_glcm(t, valid, comparison).square().mean())
    assert_agrees(IMPLEMENTATIONS[name](p, t, valid, comparison), expected, scale, 2e-5)


@settings(max_examples=60, deadline=None)
@given(
    levels=st.integers(2, 256),
    kernel=st.sampled_from(KERNELS),
    side=st.sampled_from([4, 5, 8, 16, 32]),
    offset=st.tuples(st.integers(-3, 3), st.integers(-3, 3)).filter(lambda o: o != (0, 0)),
    form=st.tuples(st.booleans(), st.booleans()),
    seed=st.integers(0, 2**31),
    eight_bit=st.booleans(),
)
@example(42, ("gaussian", 1.0), 4, (3, 3), (False, False), 0, False)
@example(97, ("gaussian", 1.0), 4, (1, 2), (True, False), 0, False)  # hardly any slope
@example(3, ("sigmoid", 1 / 30), 4, (-2, 3), (False, False), 0, True)  # hardly any distance
def test_fused_agrees_on_random_settings(levels, kernel, side, offset, form, seed, eight_bit):
    name, bins = kernel
    comparison = Comparison(Binning(levels, name, bins / levels), (offset,), *form)
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(2, 1, side, side, generator=generator)
    t = torch.rand(2, 1, side, side, generator=generator)
    if eight_bit and name != "linear":  # linear has kinks on which two-sided slopes differ
        p, t = (p * 255).round() / 255, (t * 255).round() / 255
    valid = torch.ones(2, 1)
    expected = specification(p, t, valid, comparison)
    # A normal kernel on pairs that nowhere overlap has next to no slope, and that is made of its
    # tails, of which 1e-9 is dropped. Where pairs overlap the slope is about `common`.
    common = levels * expected[0].norm()
    gradient = 1e-5 + 3e-8 * float(common / expected[1].norm().clamp_min(1e-30))
    # Of GLCMs that are nearly alike it is a small difference of rounded cells.
    scale = 1e-9 + 1e-4 * float(expected[0].max())
    assert_agrees(fused(p, t, valid, comparison), expected, scale, gradient)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_range_in_any_units(name):
    # Intensities in Hounsfield units give the distance of the same image on [0, 1].
    p, t = torch.rand(2, 3, 1, 8, 8)
    valid = torch.ones(3, 1)
    unit = Comparison(Binning(16, "gaussian"), ((0, 1),))
    hounsfield = Comparison(Binning(16, "gaussian", value_range=(-1000.0, 1000.0)), ((0, 1),))
    run = IMPLEMENTATIONS[name]
    a, b = run(p, t, valid, unit), run(p * 2000 - 1000, t * 2000 - 1000, valid, hounsfield)
    assert torch.allclose(a[0], b[0], rtol=1e-4)
    assert torch.allclose(a[1], b[1] * 2000, rtol=1e-2, atol=1e-5)


def test_mirrored_terms_equal_folding():
    # phi_k(2 low - x) = phi_{-1-k}(x): the identity on which the fast forms rest.
    binning = Binning(8, "sigmoid", 0.1)
    x = torch.linspace(0, 1, 101, dtype=torch.float64)
    bins, weight, _ = binning.taps(x)
    folded = torch.zeros(101, 8, dtype=torch.float64).scatter_add_(1, bins, weight)
    assert torch.allclose(folded, soft_assignment(x, binning), atol=3e-9)


@settings(max_examples=50, deadline=None)
@given(
    levels=st.integers(4, 256),
    kernel=st.sampled_from(KERNELS),
    value=st.floats(-2, 3, allow_nan=False, width=32),
)
def test_weights_of_a_pixel_sum_to_one(levels, kernel, value):
    name, bins = kernel
    binning = Binning(levels, name, min(bins / levels, 0.04))
    weight = binning.taps(torch.tensor([value], dtype=torch.float64)).weight
    assert weight.sum().item() == pytest.approx(1, abs=1e-8)
    assert (weight > -1e-12).all()


def test_threads_give_the_same_bits():
    p, t = torch.rand(2, 7, 1, 16, 16)
    comparison, valid = Comparison(Binning(64, "sigmoid"), ((0, 1),)), torch.ones(7, 1)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = fused(p, t, valid, comparison)
        torch.set_num_threads(3)
        three = fused(p, t, valid, comparison)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one[0], three[0])
    assert torch.equal(one[1], three[1])
