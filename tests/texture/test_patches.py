"""Patches cut out of planes and laid back, and the compiled loop that reads them where they lie."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glcm_mae.texture import GLCMLoss, PairKernelLoss
from glcm_mae.texture import distance as distance_module
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
    "glcm": lambda pool, channels: GLCMLoss(8, pool=pool, channels=channels, patch_size=4),
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
    seed=st.integers(0, 2**31),
)
@example("glcm", "image", "all", 2, (2, 3), 0.5, "channels last", float("nan"), 0)
def test_read_where_they_lie_they_give_what_they_give_cut_out(
    name, pool, channels, images, grid, share, strided, spoilt, seed
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
        p = p.clone()
        p[0, 0, 0, 0] = spoilt
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
