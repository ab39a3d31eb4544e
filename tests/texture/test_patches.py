"""Patches cut out of planes and laid back, and the compiled loop that reads them where they lie."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glcm_mae.texture import GLCMLoss, PairKernelLoss
from glcm_mae.texture import distance as distance_module
from glcm_mae.texture.binning import Binning
from glcm_mae.texture.comparison import Comparison
from glcm_mae.texture.fused_cpu import fused_distance
from glcm_mae.texture.patches import Patches
from glcm_mae.texture.pooling import group_patches


def removed_patches(mask, grid, shape, pool):
    groups = group_patches(mask, grid, pool)
    return Patches(groups.member, groups.valid, grid, shape)


@pytest.mark.parametrize("pool", ["patch", "image", 2])
def test_what_is_cut_out_and_pasted_are_the_removed_patches(pool):
    planes = torch.rand(3, 6, 20)  # patches of 2 x 5 on a grid of 3 x 4
    mask = (torch.rand(3, 12) < 0.6).float()
    patches = removed_patches(mask, (3, 4), (2, 5), pool)
    pasted = patches.paste(patches.cut(planes), len(planes))
    seen = mask.view(3, 3, 1, 4, 1).expand(3, 3, 2, 4, 5).reshape(3, 6, 20)
    assert torch.equal(pasted, planes * seen)


def test_patches_are_cut_in_the_order_of_their_group():
    planes = torch.arange(32.0).view(2, 4, 4)
    member, valid = torch.tensor([[7, 0]]), torch.tensor([[True, True]])
    cut = Patches(member, valid, (2, 2), (2, 2)).cut(planes)
    assert cut.tolist() == [[[[26, 27], [30, 31]], [[0, 1], [4, 5]]]]


LOSSES = {
    "glcm": lambda pool, channels: GLCMLoss(
        8, [(0, -1), (-2, 3)], pool=pool, channels=channels, patch_size=4
    ),
    "scaled": lambda pool, channels: GLCMLoss(
        16, kernel="sigmoid", scaled=True, pool=pool, channels=channels, patch_size=4
    ),
    "several": lambda pool, channels: GLCMLoss((4, 16), pool=pool, channels=channels, patch_size=4),
    "pairs": lambda pool, channels: PairKernelLoss(0.1, pool=pool, channels=channels, patch_size=4),
}


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(LOSSES)),
    pool=st.sampled_from(["patch", "image", 2]),
    channels=st.sampled_from(["all", "first", "luminance"]),
    images=st.integers(1, 3),
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    share=st.sampled_from([0.0, 0.5, 1.0]),
    strided=st.sampled_from(["no", "channels last", "every other column", "one for all"]),
    spoilt=st.sampled_from([None, float("nan"), float("inf")]),
    spoilt_image=st.sampled_from(["prediction", "target"]),
    seed=st.integers(0, 2**31),
)
@example("glcm", "image", "all", 2, (2, 3), 0.5, "channels last", float("nan"), "prediction", 0)
def test_read_where_they_lie_they_give_what_they_give_cut_out(
    name, pool, channels, images, grid, share, strided, spoilt, spoilt_image, seed
):
    generator = torch.Generator().manual_seed(seed)
    shape = images, 3, 4 * grid[0], 4 * grid[1]
    p, t = torch.rand(2, *shape, dtype=torch.float64, generator=generator)
    if strided == "channels last":
        p, t = (x.contiguous(memory_format=torch.channels_last) for x in (p, t))
    elif strided == "every other column":
        p, t = (x.repeat_interleave(2, dim=-1)[..., ::2] for x in (p, t))
    elif strided == "one for all":
        t = t[:1, :1, :1].expand(shape)
    if spoilt is not None:
        p, t = p.clone(), t.clone()
        (p if spoilt_image == "prediction" else t)[0, 0, 0, 0] = spoilt  # removed or kept
    mask = (torch.rand(images, grid[0] * grid[1], generator=generator) < share).float()
    loss = LOSSES[name](pool, channels)

    def measured():
        own = p.detach().requires_grad_()
        value = loss(own, t, mask)
        return value.detach(), *torch.autograd.grad(value, own)

    found = measured()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(distance_module, "runs_compiled", lambda _: False)
        expected = measured()
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8, equal_nan=True)


COMPARISON = [(Comparison(Binning(8), ((1, 2),)), 1.0)]


def test_patches_need_not_be_square(monkeypatch):
    planes = torch.rand(2, 2, 6, 20, dtype=torch.float64)  # patches of 2 x 5 on a grid of 3 x 4
    patches = removed_patches((torch.rand(2, 12) < 0.6).float(), (3, 4), (2, 5), "image")
    found = distance_module.glcm_distance(*planes, patches, COMPARISON)
    monkeypatch.setattr(distance_module, "runs_compiled", lambda _: False)
    expected = distance_module.glcm_distance(*planes, patches, COMPARISON)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize(
    ("height", "member", "valid"),
    [(8, 4, True), (8, -1, True), (4, 0, True), (8, 0, False)],
)
def test_what_lies_outside_the_planes_is_refused(height, member, valid):
    patches = Patches(torch.tensor([[member]]), torch.tensor([[valid]]), (2, 2), (4, 4))
    planes = torch.rand(2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"prediction is|patches -?[0-9]+ to"):
        fused_distance(planes[0], planes[1, :, :height], patches, COMPARISON)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_float32(dtype):
    p, t = torch.rand(2, 2, 1, 8, 8).to(dtype)
    loss = GLCMLoss(8, patch_size=4)
    assert torch.equal(loss(p, t), loss(p.float(), t.float()))


def test_views_of_complex_images():
    p, imaginary = torch.rand(2, 2, 1, 8, 8)
    seen = torch.complex(p, -imaginary).conj().imag  # a view with its sign to be turned
    loss = GLCMLoss(8, patch_size=4)
    assert torch.equal(loss(p, seen), loss(p, imaginary))
    assert torch.equal(loss(seen, p), loss(imaginary, p))
