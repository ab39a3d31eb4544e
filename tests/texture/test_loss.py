"""GLCMLoss as its users meet it."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from glcm_mae.texture import Binning, GLCMLoss, PairKernelLoss, TransportLoss, patch_loss
from glcm_mae.texture import distance as distance_module
from glcm_mae.texture.comparison import Comparison
from glcm_mae.texture.dense import dense_distance, dense_glcm


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("patch_size", [4, 8, 16, 32])
@pytest.mark.parametrize(
    ("levels", "kernel", "bins"),
    [(256, "sigmoid", 1 / 30), (2, "sigmoid", 1 / 5), (32, "linear", 1)],
)
def test_equals_the_dense_form(channels, patch_size, levels, kernel, bins):
    p, t = torch.rand(2, 2, channels, 32, 64)
    p[0, :, :4, :4] = 1.2
    mask = (torch.rand(2, 32 // patch_size * (64 // patch_size)) < 0.7).float()
    mask[:, 0] = 1
    p.requires_grad_()
    loss = GLCMLoss(levels, kernel=kernel, bandwidth=bins / levels, patch_size=patch_size)
    loss(p, t, mask).backward()

    reference = p.detach().double().requires_grad_()
    total, count = 0.0, 0
    for b in range(2):
        for n in mask[b].nonzero()[:, 0].tolist():
            y, x = divmod(n, 64 // patch_size)
            window = (
                slice(None),
                slice(y * patch_size, (y + 1) * patch_size),
                slice(x * patch_size, (x + 1) * patch_size),
            )
            pair = reference[b][window][:, None], t[b][window][:, None].double()
            ones = torch.ones(channels, 1, dtype=torch.float64)
            total = total + dense_distance(*pair, ones, loss.comparisons[0]).mean()
            count += 1
    expected = total / count
    expected.backward()
    assert loss(p, t, mask).item() == pytest.approx(expected.item(), rel=1e-6)
    error = (p.grad - reference.grad).norm() / reference.grad.norm()
    assert error < 1e-5


def test_gradcheck():
    p, t = torch.rand(2, 1, 1, 8, 8, dtype=torch.float64) * 0.9 + 0.05
    mask = torch.tensor([[1, 0, 1, 1]])
    for pool in ("patch", "image"):
        for scaled, normalized in [(False, False), (True, False), (False, True), (True, True)]:
            loss = GLCMLoss(
                6, kernel="gaussian", patch_size=4, pool=pool, scaled=scaled, normalized=normalized
            )
            torch.autograd.gradcheck(
                lambda x, loss=loss: loss(x, t, mask), p.requires_grad_(), atol=1e-6
            )


@pytest.mark.parametrize("kernel", ["sigmoid", "linear", "bspline"])
def test_gradcheck_of_other_kernels(kernel):
    p, t = torch.rand(2, 1, 1, 4, 4, dtype=torch.float64)
    loss = GLCMLoss(4, kernel=kernel, bandwidth=0.2, patch_size=4)
    torch.autograd.gradcheck(lambda x: loss(x, t), p.requires_grad_(), atol=1e-6)


def test_numba_and_tensor_forms_agree(monkeypatch):
    p, t = torch.rand(2, 2, 3, 32, 32)
    mask = (torch.rand(2, 16) < 0.75).float()
    for pool in ("patch", 2, "image"):
        for kernel in ("sigmoid", "gaussian"):
            loss = GLCMLoss(32, kernel=kernel, patch_size=8, pool=pool, scaled=True)
            with_numba = loss(p, t, mask)
            with monkeypatch.context() as m:
                m.setattr(distance_module, "runs_compiled", lambda _: False)
                without = loss(p, t, mask)
            assert with_numba.item() == pytest.approx(without.item(), rel=1e-5)


def test_pooled_glcm_is_the_mean_over_the_removed_patches():
    p, t = torch.rand(2, 1, 1, 16, 16)
    mask = torch.tensor([[1.0, 0, 0, 1]])
    loss = GLCMLoss(8, patch_size=8, pool="image")
    comparison = Comparison(Binning(8), ((0, 1), (1, 0)))
    one = torch.ones(1, 1)

    def mean_glcm(image):
        corners = image[0, :, :8, :8], image[0, :, 8:, 8:]
        return sum(dense_glcm(c[None], one, comparison) for c in corners) / 2

    expected = (mean_glcm(p) - mean_glcm(t)).square().mean()
    assert loss(p, t, mask).item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_neighbourhood_as_wide_as_the_image_is_the_image():
    p, t = torch.rand(2, 2, 1, 32, 48)
    mask = (torch.rand(2, 24) < 0.6).float()
    wide = GLCMLoss(patch_size=8, pool=6)(p, t, mask)
    assert torch.equal(wide, GLCMLoss(patch_size=8, pool="image")(p, t, mask))


def test_reductions():
    p, t = torch.rand(2, 2, 1, 16, 16)
    mask = torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 1]])
    each = GLCMLoss(patch_size=8, reduction="none")(p, t, mask)
    assert each.shape == (2, 4)
    assert torch.equal(each == 0, mask == 0)
    assert GLCMLoss(patch_size=8, reduction="sum")(p, t, mask).item() == pytest.approx(
        each.sum().item(), rel=1e-6
    )
    assert GLCMLoss(patch_size=8)(p, t, mask).item() == pytest.approx(
        each.sum().item() / 3, rel=1e-6
    )


def test_offsets_count_by_their_weights():
    p, t = torch.rand(2, 1, 1, 16, 16)
    offsets = [(0, 1), (2, -1)]
    right, diagonal = (GLCMLoss(offsets=[o])(p, t) for o in offsets)
    both = GLCMLoss(offsets=offsets, weights=[3, 1])(p, t)
    assert both.item() == pytest.approx((0.75 * right + 0.25 * diagonal).item(), rel=1e-5)
    assert GLCMLoss(offsets=offsets, weights=[1, 0])(p, t).item() == pytest.approx(right.item())


def test_several_levels_count_alike():
    # Raw sums over cells are averaged; the result is on the scale of the largest number of levels.
    p, t = torch.rand(2, 1, 1, 16, 16)
    sums = [n**2 * GLCMLoss(n)(p, t) for n in (8, 16, 64)]
    several = GLCMLoss((8, 16, 64))(p, t)
    assert several.item() == pytest.approx((sum(sums) / 3 / 64**2).item(), rel=1e-5)


def test_gradients_of_each_group_meet_their_upstream():
    # A weighted sum of the groups' distances has the weighted sum of their gradients.
    p, t = torch.rand(2, 2, 1, 32, 32)
    p.requires_grad_()
    each = GLCMLoss(patch_size=8, pool=2, reduction="none")(p, t)
    weights = torch.rand_like(each)
    (together,) = torch.autograd.grad((each * weights).sum(), p, retain_graph=True)
    one_by_one = torch.zeros_like(p)
    for index in torch.cartesian_prod(torch.arange(2), torch.arange(4)).tolist():
        (part,) = torch.autograd.grad(each[tuple(index)], p, retain_graph=True)
        one_by_one += part * weights[tuple(index)]
    assert torch.allclose(together, one_by_one, atol=1e-7)


@pytest.mark.parametrize("channels", ["all", "first", "luminance"])
def test_gradcheck_of_channels(channels):
    p, t = torch.rand(2, 1, 3, 8, 8, dtype=torch.float64) * 0.9 + 0.05
    loss = GLCMLoss(6, patch_size=4, channels=channels)
    torch.autograd.gradcheck(lambda x: loss(x, t), p.requires_grad_(), atol=1e-6)


def test_batches_are_cut_into_chunks_without_a_seam(monkeypatch):
    p, t = torch.rand(2, 5, 2, 16, 16)
    mask = (torch.rand(5, 4) < 0.7).float()
    p.requires_grad_()
    results = []
    for chunk in (2**20, 2 * 16 * 16 * 2):  # all at once, two images at a time
        monkeypatch.setattr(patch_loss, "_CHUNK", chunk)
        value = GLCMLoss(patch_size=8)(p, t, mask)
        results.append((value, *torch.autograd.grad(value, p)))
    assert torch.allclose(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_levels_may_be_of_numpy():
    p, t = torch.rand(2, 1, 1, 16, 16)
    assert torch.equal(GLCMLoss(np.int64(8))(p, t), GLCMLoss(8)(p, t))
    assert torch.equal(GLCMLoss(np.array([8, 16]))(p, t), GLCMLoss((8, 16))(p, t))


def test_channels():
    p, t = torch.rand(2, 1, 3, 16, 16)
    first = GLCMLoss(channels="first")(p, t)
    assert torch.equal(first, GLCMLoss()(p[:, :1], t[:, :1]))
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    gray = GLCMLoss()((p * luma).sum(1, keepdim=True), (t * luma).sum(1, keepdim=True))
    assert torch.allclose(GLCMLoss(channels="luminance")(p, t), gray)


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_finite_on_constant_images(scaled, normalized):
    p = torch.full((1, 1, 16, 16), 0.5, requires_grad=True)
    loss = GLCMLoss(256, kernel="sigmoid", scaled=scaled, normalized=normalized)
    value = loss(p, torch.zeros(1, 1, 16, 16))
    value.backward()
    assert value.isfinite()
    assert p.grad.isfinite().all()


@pytest.mark.parametrize("loss", [GLCMLoss, PairKernelLoss])
def test_a_list_is_a_range_as_well(loss):
    p, t = torch.rand(2, 1, 1, 16, 16)
    as_tuple, as_list = loss(value_range=(0.0, 2.0)), loss(value_range=[0.0, 2.0])
    assert torch.equal(as_list(p, t), as_tuple(p, t))
    as_tensors = loss(value_range=(torch.tensor(0), torch.tensor(2)), bandwidth=torch.tensor(0.125))
    assert torch.equal(as_tensors(p, t), loss(value_range=(0.0, 2.0), bandwidth=0.125)(p, t))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"levels": 1}, "levels is 1"),
        ({"levels": torch.tensor(8.0)}, "give a number of gray levels"),
        ({"kernel": "box"}, "kernel is 'box'"),
        ({"kernel": ["linear"]}, "kernel is ['linear']"),
        ({"bandwidth": 0.0}, "bandwidth is 0.0"),
        ({"bandwidth": float("nan")}, "bandwidth is nan"),
        ({"bandwidth": 1.0}, "it is in intensity units, of which a bin has 0.03125"),
        ({"value_range": (0.0, 255.0), "bandwidth": 300.0}, "of which a bin has 7.96875"),
        ({"value_range": (1.0, 0.0)}, "value_range"),
        ({"value_range": 255}, "value_range is 255: give (low, high)"),
        ({"offsets": []}, "offsets is empty"),
        ({"weights": 1.0}, "weights is (1.0,): give one number for each of the 2 offsets"),
        ({"weights": [1.0]}, "weights is (1.0,): give one number for each of the 2 offsets"),
        ({"weights": [1.0, -1.0]}, "0 or more and not all 0"),
        ({"weights": [0.0, 0.0]}, "0 or more and not all 0"),
        ({"levels": ()}, "levels is (): give a number of gray levels, or several"),
        ({"levels": 32.0}, "levels is 32.0: give a number"),
        ({"patch_size": (16, 16)}, "patch_size is (16, 16): give the side of a square patch"),
        ({"patch_size": 16.0}, "patch_size is 16.0"),
        ({"levels": (8, 16), "bandwidth": 0.1}, "bandwidth goes with one number of levels"),
        ({"offsets": [(0, 0)]}, "pairs a pixel with itself"),
        ({"offsets": [(0, 16)]}, "leaves no pixel pair"),
        ({"pool": "row"}, "pool is 'row'"),
        ({"pool": 0}, "pool is 0"),
        ({"channels": "last"}, "channels is 'last'"),
        ({"reduction": "max"}, "reduction is 'max'"),
    ],
)
def test_bad_settings_are_named(settings, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        GLCMLoss(**settings)


def test_bad_shapes_are_named():
    x = torch.rand(1, 1, 32, 32)
    with pytest.raises(ValueError, match="must be"):
        GLCMLoss()(x, x[:, :, :16])
    with pytest.raises(ValueError, match="do not divide into patches"):
        GLCMLoss(patch_size=12)(x, x)
    with pytest.raises(ValueError, match="images of 0x32 pixels do not divide"):
        GLCMLoss()(x[:, :, :0], x[:, :, :0])
    with pytest.raises(ValueError, match=r"images are \(1, 0, 32, 32\): they have no channel"):
        GLCMLoss()(x[:, :0], x[:, :0])
    with pytest.raises(ValueError, match="are on cpu and meta: bring them to one device"):
        GLCMLoss()(x, x.to("meta"))
    with pytest.raises(ValueError, match="mask is"):
        GLCMLoss()(x, x, torch.ones(1, 3))
    with pytest.raises(ValueError, match="bring both to floating point"):
        GLCMLoss()(x, (x * 255).to(torch.uint8))
    with pytest.raises(ValueError, match="needs 1 or 3 channels"):
        GLCMLoss(channels="luminance")(x.expand(1, 2, 32, 32), x.expand(1, 2, 32, 32))


def test_the_texture_module_stands_alone():
    code = (
        "import sys; from glcm_mae.texture import GLCMLoss; "
        "heavy = {'lightning', 'kornia', 'sklearn', 'numba', 'PIL'} & set(sys.modules); "
        "rooms = [m for m in sys.modules if m.startswith('glcm_mae.') and 'texture' not in m]; "
        "assert not heavy and not rooms, (heavy, rooms)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_threads_do_not_disturb_each_other():
    losses = [GLCMLoss(16), GLCMLoss(64, kernel="sigmoid"), PairKernelLoss(), TransportLoss()]
    p, t = torch.rand(2, 3, 1, 32, 32)

    def run(loss):
        x = p.clone().requires_grad_()
        value = loss(x, t)
        value.backward()
        return value.detach(), x.grad

    alone = [run(loss) for loss in losses]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(run, losses * 3))
    for found, expected in zip(together, alone * 3, strict=True):
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_working_memory_does_not_grow_with_the_batch():
    code = """
import torch
from pathlib import Path
from glcm_mae.texture import GLCMLoss

def mib(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

torch.set_num_threads(2)
loss = GLCMLoss(256, kernel="sigmoid")
warm = torch.rand(1, 1, 16, 16, requires_grad=True)
loss(warm, torch.rand(1, 1, 16, 16)).backward()
target = torch.rand(256, 1, 224, 224)
prediction = target.clone().requires_grad_()
Path("/proc/self/clear_refs").write_text("5")
before = mib("VmRSS")
loss(prediction, target).backward()
print(mib("VmHWM") - before - 2 * target.numel() * 4 / 2**20)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 64  # beside the gradient kept and the gradient handed on


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.bool, torch.int64])
def test_masks_of_whole_numbers(dtype):
    p, t = torch.rand(2, 1, 1, 64, 64)  # 256 patches: one more than uint8 can count
    mask = torch.ones(1, 256)
    loss = GLCMLoss(patch_size=4, pool="image")
    assert torch.equal(loss(p, t, mask.to(dtype)), loss(p, t, mask))


def test_second_derivatives_are_refused_and_not_made_up():
    p, t = torch.rand(2, 1, 1, 16, 16)
    p.requires_grad_()
    for power in (1, 2):
        (slope,) = torch.autograd.grad(GLCMLoss()(p, t) ** power, p, create_graph=True)
        with pytest.raises(RuntimeError, match="can be differentiated once"):
            slope.square().sum().backward()
    with pytest.raises(RuntimeError, match="can be differentiated once"):
        torch.autograd.functional.hessian(lambda image: GLCMLoss()(image, t), p)


def test_the_gradient_may_be_differentiated_by_what_it_is_multiplied_by():
    p, t = torch.rand(2, 1, 1, 16, 16)
    p.requires_grad_()
    weight = torch.tensor(3.0, requires_grad=True)
    (slope,) = torch.autograd.grad(weight * GLCMLoss()(p, t), p, create_graph=True)
    (by_weight,) = torch.autograd.grad(slope.sum(), weight)
    torch.testing.assert_close(by_weight, slope.detach().sum() / 3)
