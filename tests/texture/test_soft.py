"""The soft GLCM."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import forward_ad

from glcm_mae.texture import (
    FEATURE_NAMES,
    Binning,
    glcm_features,
    graycomatrix,
    image_features,
    soft_glcm,
)
from glcm_mae.texture.binning import NOISE
from glcm_mae.texture.dense import soft_assignment
from glcm_mae.texture.offsets import pair_views

FORMS = ("compiled", "tensors")


def by_definition(patches, binning, offsets, inside=None, normalized=True):
    """Soft GLCMs as the formula stands: (..., p, q) to (..., O, L, L)."""
    inside = torch.ones_like(patches) if inside is None else inside.to(patches)
    phi = soft_assignment(patches, binning).movedim(-1, 0)  # (L, ..., p, q)
    matrices = []
    for offset in offsets:
        a, b = pair_views(phi, offset)
        counts = torch.stack(pair_views(inside, offset)).prod(dim=0)
        matrix = torch.einsum("...yx,i...yx,j...yx->...ij", counts, a, b)
        pairs = counts.sum(dim=(-2, -1))[..., None, None]
        frequencies = (matrix / pairs.clamp_min(1)).masked_fill(pairs == 0, torch.nan)
        matrices.append(frequencies if normalized else matrix)
    return torch.stack(matrices, dim=-3)


def test_a_sharp_soft_glcm_is_the_hard_one():
    codes = torch.randint(0, 8, (3, 12, 12))
    centres = (codes + 0.5) / 8
    soft = soft_glcm(centres, Binning(8, "sigmoid", 1e-3), normalized=False)
    assert torch.allclose(soft, graycomatrix(codes, 8).float(), atol=1e-3)


@pytest.mark.parametrize("normalized", [False, True])
def test_symmetric_counts_both_directions(normalized):
    codes = torch.randint(0, 8, (3, 12, 12))
    soft = soft_glcm((codes + 0.5) / 8, Binning(8, "linear"), symmetric=True, normalized=normalized)
    hard = graycomatrix(codes, 8, symmetric=True, normed=normalized)
    assert torch.allclose(soft.double(), hard.double(), atol=1e-3)


@pytest.mark.usefixtures("form")
def test_soft_glcm_gradcheck():
    patches = torch.rand(2, 5, 5, dtype=torch.float64, requires_grad=True)
    for kernel in ("sigmoid", "gaussian", "linear", "bspline"):
        binning = Binning(4, kernel, 0.1)
        torch.autograd.gradcheck(lambda x, b=binning: soft_glcm(x, b), patches, atol=1e-6)


@pytest.fixture(params=FORMS)
def form(request, monkeypatch):
    """Compute in either way."""
    compute_by(request.param, monkeypatch)


def compute_by(form, monkeypatch):
    if form == "tensors":
        monkeypatch.setattr("glcm_mae.texture.soft.runs_compiled", lambda _: False)


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None)
@given(
    st.sampled_from(list(NOISE)),
    st.integers(2, 40) | st.sampled_from([99, 128]),
    st.floats(0.02, 0.5),
    st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)).filter(any), min_size=1, max_size=3),
    st.sampled_from([None, 0.2, 0.8]),
    st.booleans(),
    st.integers(0, 2**20),
)
def test_matrices_and_gradient_are_those_of_the_definition(
    form, kernel, levels, bandwidth, offsets, share_inside, normalized, seed
):
    generator = torch.Generator().manual_seed(seed)
    patches = torch.rand(3, 5, 6, generator=generator, dtype=torch.float64) * 1.2 - 0.1
    inside = None
    if share_inside is not None:
        inside = torch.rand(3, 5, 6, generator=generator) < share_inside
    binning, found = Binning(levels, kernel, bandwidth), []
    patches.requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        compute_by(form, patch)
        found.append(soft_glcm(patches, binning, offsets, mask=inside, normalized=normalized))
    found.append(by_definition(patches, binning, offsets, inside, normalized))
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-6, equal_nan=True)
    toward = torch.randn(found[0].shape, generator=generator, dtype=torch.float64)
    slopes = [
        torch.autograd.grad((m.nan_to_num() * toward).sum(), patches, retain_graph=True)[0]
        for m in found
    ]
    # Compiled, pieces of B-splines may end between nodes: see `weights_cpu`.
    close = 1e-4 if kernel == "bspline" else 1e-7
    torch.testing.assert_close(*slopes, atol=close / bandwidth, rtol=1e-6)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("mask", [None, torch.ones(3, 4).index_fill(0, torch.tensor([1]), 0)])
@pytest.mark.parametrize("binning", [Binning(4), Binning(4, "bspline", 0.3)], ids=str)
def test_second_derivatives_are_not_lost(mask, binning):
    patches = torch.rand(1, 3, 4, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradgradcheck(
        lambda x: soft_glcm(x, binning, [(0, 1)], mask=mask), patches, atol=1e-5
    )


@pytest.mark.usefixtures("form")
def test_transforms_of_functions_see_through():
    patches = torch.rand(3, 5, 6, dtype=torch.float64, requires_grad=True)

    def energy(x):
        return soft_glcm(x, Binning(4)).square().sum()

    (slope,) = torch.autograd.grad(energy(patches), patches)
    alike = functools.partial(torch.testing.assert_close, atol=1e-8, rtol=1e-6)
    alike(torch.func.grad(energy)(patches.detach()), slope)
    alike(torch.func.vmap(torch.func.grad(energy))(patches.detach()), slope)
    one_by_one = torch.func.vmap(lambda x: soft_glcm(x, Binning(4)))(patches.detach())
    alike(one_by_one, soft_glcm(patches.detach(), Binning(4)))
    mask = (torch.rand(3, 5, 6) < 0.7).float()
    each = torch.func.vmap(lambda x, m: soft_glcm(x, Binning(4), mask=m))(patches.detach(), mask)
    alike(each, soft_glcm(patches.detach(), Binning(4), mask=mask))


@pytest.mark.usefixtures("form")
def test_many_gradients_can_be_asked_for_at_once():
    patches = torch.rand(6, 6, dtype=torch.float64, requires_grad=True)
    matrices = functools.partial(soft_glcm, binning=Binning(4))
    one_by_one = torch.autograd.functional.jacobian(matrices, patches)
    at_once = torch.autograd.functional.jacobian(matrices, patches, vectorize=True)
    torch.testing.assert_close(at_once, one_by_one, atol=1e-7, rtol=1e-6)
    entries = matrices(patches).flatten()
    by_vmap = torch.func.vmap(
        lambda toward: torch.autograd.grad(entries, patches, toward, retain_graph=True)[0]
    )(torch.eye(len(entries), dtype=torch.float64))
    torch.testing.assert_close(by_vmap.view(at_once.shape), one_by_one, atol=1e-7, rtol=1e-6)


def test_derivatives_inside_of_autocast_are_as_exact():
    patches = torch.rand(2, 8, 8, requires_grad=True)

    def slope():
        energy = soft_glcm(patches, Binning(4)).square().sum()
        return torch.autograd.grad(energy, patches, create_graph=True)[0]

    expected = slope()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(slope(), expected, atol=1e-8, rtol=1e-4)


@pytest.mark.usefixtures("form")
def test_a_gradient_of_any_strides_is_taken():
    patches = torch.rand(2, 5, 6, requires_grad=True)
    matrices = soft_glcm(patches, Binning(4))
    toward = torch.rand(4, 4, 2, 2).permute(3, 2, 1, 0)
    found = [
        torch.autograd.grad(matrices, patches, slope, retain_graph=True)[0]
        for slope in (toward, toward.contiguous())
    ]
    assert torch.equal(*found)
    (matrices,) = soft_glcm(patches[:1], Binning(4))
    matrices.sum().backward()  # whose gradient is one number, expanded
    assert patches.grad.isfinite().all()


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("bandwidth", [None, 0.3])
@pytest.mark.parametrize(
    ("kernel", "levels"),
    [("gaussian", 8), ("linear", 8), ("bspline", 8), ("gaussian", 16), ("gaussian", 32)],
)
def test_looked_up_weights_are_close_enough(kernel, levels, bandwidth):
    patches = torch.rand(200, 8, 8) * 1.2 - 0.1
    binning = Binning(levels, kernel, bandwidth)
    exact = by_definition(patches, binning, [(0, 1), (1, 0)])
    assert torch.allclose(soft_glcm(patches, binning), exact, atol=1e-6)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(
    "binning", [Binning(16), Binning(8, bandwidth=0.07), Binning(16, "bspline", 0.3)], ids=str
)
def test_no_entry_is_negative(binning):
    constant = torch.linspace(0, 1, 2001)[:, None, None].expand(-1, 3, 3)
    assert soft_glcm(constant, binning).min() >= 0


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("differentiated", [False, True])
def test_nan_is_not_swallowed(differentiated):
    patches = torch.rand(200, 8, 8)  # so many that weights are looked up
    patches[0, 3, 3] = float("nan")
    patches[1, 3, 3] = float("inf")
    matrices = soft_glcm(patches.requires_grad_(differentiated), Binning(4))
    assert matrices[:2].isnan().all()
    assert matrices[2:].isfinite().all()


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("kernel", NOISE)
def test_nan_reaches_the_gradient_of_its_patch_alone(kernel):
    patches = torch.rand(2, 8, 8)
    patches[0, 3, 3] = float("nan")
    patches.requires_grad_()
    matrices = soft_glcm(patches, Binning(8, kernel, 0.2))
    (matrices * torch.rand_like(matrices)).sum().backward()
    assert patches.grad[0].isnan().sum() >= 63
    assert patches.grad[1].isfinite().all()


def test_large_finite_values_are_not_taken_for_infinity():
    assert soft_glcm(torch.full((8, 8), 3e38), Binning(4)).isfinite().all()


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("kernel", NOISE)
def test_levels_of_numpy_do_not_overflow(kernel):
    patches = torch.rand(3, 8, 8)
    binning = Binning(np.uint8(200), kernel)
    assert torch.equal(soft_glcm(patches, binning), soft_glcm(patches, Binning(200, kernel)))
    with pytest.raises(ValueError, match=r"levels is 8\.5"):
        Binning(8.5)


@pytest.mark.parametrize(("kernel", "bandwidth"), [("gaussian", 0.9), ("bspline", 0.3)])
def test_double_precision_is_exact_without_a_gradient(kernel, bandwidth):
    patches = torch.rand(200, 8, 8, dtype=torch.float64)  # so many that weights are looked up
    binning = Binning(64, kernel, bandwidth)
    exact = by_definition(patches, binning, [(0, 1), (1, 0)])
    torch.testing.assert_close(soft_glcm(patches, binning), exact, rtol=1e-9, atol=1e-12)


def test_parts_that_are_done_at_a_time_do_not_show(monkeypatch):
    patches = torch.rand(3, 7, 8, 8)
    whole = soft_glcm(patches, Binning(4))
    monkeypatch.setattr("glcm_mae.texture.soft.runs_compiled", lambda _: False)
    monkeypatch.setattr("glcm_mae.texture.soft_tensors._CHUNK", 2 * 64 * 4)  # two patches
    assert torch.allclose(soft_glcm(patches, Binning(4)), whole, atol=1e-6)
    assert torch.allclose(soft_glcm(patches[0, 0], Binning(4)), whole[0, 0], atol=1e-6)


@pytest.mark.usefixtures("form")
def test_patches_need_not_be_contiguous():
    patches = torch.rand(8, 8, 3, 5).permute(2, 3, 1, 0)
    assert torch.equal(soft_glcm(patches, Binning(4)), soft_glcm(patches.contiguous(), Binning(4)))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_counts_of_every_precision(dtype):
    patches = torch.rand(20, 6, 9, dtype=torch.float64).to(dtype)
    exact = by_definition(patches.double(), Binning(5), [(0, 1), (1, 0)], normalized=False)
    counts = soft_glcm(patches, Binning(5), normalized=False)
    assert counts.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.allclose(counts.double(), exact, atol=1e-3)


@pytest.mark.usefixtures("form")
def test_an_empty_batch_has_no_matrices():
    assert soft_glcm(torch.rand(0, 5, 8, 8), Binning(4)).shape == (0, 5, 2, 4, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_no_matrix(dtype):
    black = torch.zeros(300, 300, requires_grad=True)  # more pairs than float16 can count
    noise = torch.rand(64, 64, requires_grad=True)
    for image in (black, noise):
        expected = soft_glcm(image, Binning(8, "linear"))
        with torch.autocast("cpu", dtype):
            assert torch.equal(soft_glcm(image, Binning(8, "linear")), expected)
            assert torch.allclose(soft_glcm(image.detach(), Binning(8, "linear")), expected)


def test_forward_derivatives_are_not_lost():
    image, tangent = torch.rand(2, 8, 8, dtype=torch.float64)
    binning = Binning(4, "gaussian")
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(image, tangent)
        slope = forward_ad.unpack_dual(soft_glcm(dual, binning)).tangent
    ahead, behind = (soft_glcm(image + step * tangent, binning) for step in (1e-6, -1e-6))
    assert torch.allclose(slope, (ahead - behind) / 2e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_whole_numbers_are_refused(dtype):
    with pytest.raises(ValueError, match="bring them to floating point"):
        soft_glcm(torch.ones(8, 8).to(dtype), Binning(4))


def test_what_is_no_image_or_no_binning_is_named():
    with pytest.raises(ValueError, match=r"patches are \(9,\): they must be \(\.\.\., H, W\)"):
        soft_glcm(torch.rand(9), Binning(8))
    with pytest.raises(TypeError, match=r"binning is 8: give a Binning"):
        soft_glcm(torch.rand(9, 9), 8)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("normalized", [False, True])
def test_in_a_region_pairs_count_whose_pixels_are_both_inside(normalized):
    codes, mask = torch.randint(0, 8, (3, 12, 12)), torch.rand(3, 12, 12) < 0.7
    patches = ((codes + 0.5) / 8).masked_fill(~mask, torch.nan)
    soft = soft_glcm(patches, Binning(8, "linear"), mask=mask, normalized=normalized)
    hard = graycomatrix(codes, 8, mask=mask, normed=normalized)
    assert torch.allclose(soft.double(), hard.double(), atol=1e-4)


@pytest.mark.usefixtures("form")
def test_a_region_of_everything_is_the_image():
    patches, every = torch.rand(2, 9, 9), torch.ones(9, 9)
    soft = soft_glcm(patches, Binning(8), symmetric=True)
    assert torch.allclose(soft_glcm(patches, Binning(8), mask=every, symmetric=True), soft)


@pytest.mark.usefixtures("form")
def test_the_gradient_stays_inside_the_region():
    patches = torch.rand(6, 6, dtype=torch.float64, requires_grad=True)
    mask = torch.zeros(6, 6)
    mask[1:5, 2:6] = 1
    assert torch.autograd.gradcheck(
        lambda x: soft_glcm(x, Binning(4, "bspline"), mask=mask), patches, atol=1e-6
    )
    soft_glcm(patches, Binning(4), mask=mask).square().sum().backward()
    assert torch.equal(patches.grad != 0, mask.bool())


@pytest.mark.usefixtures("form")
def test_a_map_of_probabilities_is_no_region():
    image, chances = torch.rand(9, 9), torch.rand(9, 9)
    with pytest.raises(ValueError, match=r"mask holds fractions or NaN.*give mask > 0\.5"):
        soft_glcm(image, Binning(4), mask=chances)
    with pytest.raises(ValueError, match="mask holds fractions or NaN"):
        soft_glcm(image, Binning(4), mask=torch.full((9, 9), torch.nan))
    with pytest.raises(ValueError, match="mask has a gradient"):
        soft_glcm(image, Binning(4), mask=chances.round().requires_grad_())
    with pytest.raises(ValueError, match="mask holds fractions or NaN"):
        image_features((image * 7).long(), 8, mask=chances)


@pytest.mark.usefixtures("form")
def test_a_region_without_a_pair_has_no_frequencies():
    mask = torch.zeros(5, 5)
    mask[2, 2] = 1
    assert soft_glcm(torch.rand(5, 5), Binning(4), mask=mask).isnan().all()
    assert not soft_glcm(torch.rand(5, 5), Binning(4), mask=mask, normalized=False).any()


@pytest.mark.usefixtures("form")
def test_an_offset_without_a_pair_spoils_no_other_gradient():
    mask, patches = torch.zeros(5, 5), torch.rand(5, 5, requires_grad=True)
    mask[2] = 1  # a row: pairs to the right, none downwards
    right, down = soft_glcm(patches, Binning(4), mask=mask)
    assert down.isnan().all()
    right.square().sum().backward()
    assert patches.grad[2].isfinite().all()
    assert patches.grad[2].any()


@pytest.mark.parametrize(
    ("kernel", "contrast"),
    [("gaussian", 2.2), ("bspline", 0.7), ("linear", 0.5), ("sigmoid", 0.5)],  # on a bin's edge
)
def test_features_are_those_of_a_blurred_image(kernel, contrast):
    constant = torch.full((9, 9), 0.5)
    features = glcm_features(soft_glcm(constant, Binning(16, kernel), symmetric=True))
    found = features[:, FEATURE_NAMES.index("contrast")]
    assert torch.allclose(found, torch.full_like(found, contrast), atol=0.05)


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        (torch.arange(3), ValueError, "values are torch.int64: bring them to float32"),
        (torch.rand(3).half(), ValueError, "values are torch.float16: bring them to float32"),
        (np.zeros(3), TypeError, "values is a ndarray"),
    ],
)
def test_values_without_weights_are_refused(values, error, words):
    for find in (Binning(4).weights, Binning(4).taps):
        with pytest.raises(error, match=words):
            find(values)
