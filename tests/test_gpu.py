"""What must hold on a GPU too."""

import pytest
import torch

from glcm_mae.data import Augment, make_phantom, write_phantom
from glcm_mae.settings import (
    DataSettings,
    HardwareSettings,
    ModelSettings,
    ObjectiveSettings,
    OptimizerSettings,
    PretrainSettings,
)
from glcm_mae.texture import Binning, GLCMLoss, graycomatrix, soft_glcm
from glcm_mae.texture.comparison import Comparison
from glcm_mae.texture.dense import dense_distance
from glcm_mae.training.pretrain import pretrain

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("pool", ["patch", 2, "image"])
@pytest.mark.parametrize(("levels", "kernel"), [(256, "sigmoid"), (32, "gaussian"), (32, "linear")])
def test_the_loss_is_that_of_the_cpu(levels, kernel, pool):
    p, t = torch.rand(2, 3, 1, 64, 64)
    mask = (torch.rand(3, 16) < 0.75).float()
    loss = GLCMLoss(levels, kernel=kernel, pool=pool)
    results = []
    for device in ("cpu", "cuda"):
        x = p.to(device).requires_grad_()
        value = loss(x, t.to(device), mask.to(device))
        value.backward()
        results.append((value.item(), x.grad.cpu()))
    (cpu, cpu_slope), (gpu, gpu_slope) = results
    assert gpu == pytest.approx(cpu, rel=1e-5)
    assert (gpu_slope - cpu_slope).norm() < 1e-4 * cpu_slope.norm()


def cuda_kernel():
    pytest.importorskip("triton")
    from glcm_mae.texture import fused_cuda

    return fused_cuda


def specification(p, t, counts, comparison):
    """Distance and gradient of the dense form in float64, on the CPU."""
    p, t, counts = p.cpu().double().requires_grad_(), t.cpu().double(), counts.cpu()
    valid = (torch.arange(p.shape[1]) < counts[:, None]).double()
    distance = dense_distance(p, t, valid, comparison)
    (gradient,) = torch.autograd.grad(distance.sum(), p)
    return distance.detach(), gradient


KERNELS = [("sigmoid", 1 / 30), ("sigmoid", 1 / 5), ("linear", 1), ("bspline", 1), ("gaussian", 1)]


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize(("scaled", "normalized"), [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize(("kernel", "bins"), KERNELS)
@pytest.mark.parametrize("levels", [16, 64, 256])
def test_the_kernel_agrees_with_the_dense_form(
    levels, kernel, bins, scaled, normalized, deterministic, monkeypatch
):
    fused = cuda_kernel()
    binning = Binning(levels, kernel, bins / levels)
    if not fused.supports(binning):
        pytest.skip("too wide a kernel for this form")
    form = {"scaled": bool(scaled), "normalized": bool(normalized), "weights": (3.0, 1.0)}
    comparison = Comparison(binning, ((0, 1), (2, -1)), **form)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: deterministic)
    p, t = torch.rand(2, 8, 3, 16, 16, device="cuda") * 1.3 - 0.15
    p[0], t[1] = 0.3, 0.7  # constant patches: many threads add to few cells
    p[2], t[2] = 0.0, 1.0  # at the ends
    counts = torch.tensor([3, 1, 2, 1, 2, 3, 1, 2], device="cuda")
    distance, gradient = fused.fused_distance(p, t, counts, comparison)
    expected = specification(p, t, counts, comparison)
    assert torch.allclose(distance.cpu().double(), expected[0], rtol=1e-5)
    error = (gradient.cpu().double() - expected[1]).flatten(1).norm(dim=1)
    assert (error <= 1e-4 * expected[1].flatten(1).norm(dim=1) + 1e-9).all()


@pytest.mark.parametrize(("levels", "kernel"), [(256, "sigmoid"), (32, "bspline")])
def test_programs_wait_where_they_must(levels, kernel):
    # Far more groups than programs: a cell read too early or cleared too late shows in some group.
    fused = cuda_kernel()
    comparison = Comparison(Binning(levels, kernel), ((0, 1), (1, 0)))
    few = torch.rand(2, 50, 1, 16, 16, device="cuda")
    ones = torch.ones(50, dtype=torch.int64, device="cuda")
    expected, slope = fused.fused_distance(*few, ones, comparison)  # each its own program
    for _ in range(5):
        distance, gradient = fused.fused_distance(
            *few.repeat(1, 400, 1, 1, 1), ones.repeat(400), comparison
        )
        assert torch.allclose(distance.view(400, 50), expected, rtol=1e-5)
        error = (gradient.view(400, *slope.shape) - slope).flatten(1).norm(dim=1)
        assert (error < 1e-4 * slope.norm()).all()


@pytest.mark.parametrize("levels", [32, 256])
def test_the_scratch_is_zeros_again(levels):
    fused = cuda_kernel()
    comparison = Comparison(Binning(levels, "bspline"), ((0, 1), (1, 1)), scaled=True)
    p, t = torch.rand(2, 500, 1, 16, 16, device="cuda")
    p[7], t[9] = float("nan"), float("inf")
    ones = torch.ones(500, dtype=torch.int64, device="cuda")
    for dtype in (torch.float32, torch.int64):
        scratch = torch.zeros(66, 2 * levels**2, dtype=dtype, device="cuda")
        fused._launch(p, t, ones, comparison, scratch)
        assert not scratch.any()


@pytest.mark.parametrize("pool", ["patch", "image"])
def test_deterministic_runs_give_the_same_bits(pool):
    p, t = torch.rand(2, 8, 1, 224, 224, device="cuda")
    loss = GLCMLoss(32, kernel="bspline", pool=pool, scaled=True)

    def run():
        x = p.clone().requires_grad_()
        value = loss(x, t)
        value.backward()
        return value.detach(), x.grad

    torch.use_deterministic_algorithms(True)
    try:
        runs = [run() for _ in range(4)]
    finally:
        torch.use_deterministic_algorithms(False)
    for value, slope in runs[1:]:
        assert torch.equal(value, runs[0][0])
        assert torch.equal(slope, runs[0][1])
    value, slope = run()
    assert value.item() == pytest.approx(runs[0][0].item(), rel=1e-5)
    assert (slope - runs[0][1]).norm() < 1e-5 * slope.norm()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_compared_in_float32(dtype):
    p, t = torch.rand(2, 2, 1, 32, 32, device="cuda").to(dtype)
    loss = GLCMLoss(64, kernel="bspline")
    x = p.clone().requires_grad_()
    value = loss(x, t)
    value.backward()
    assert value.dtype == torch.float32
    assert x.grad.dtype == dtype
    assert value.item() == pytest.approx(loss(p.float(), t.float()).item(), rel=1e-5)


def test_a_batch_needs_its_gradient_and_a_scratch_that_does_not_grow():
    fused = cuda_kernel()
    comparison = Comparison(Binning(256, "sigmoid"), ((0, 1), (1, 0)))
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    for n in (1_000, 50_000):
        p, t = torch.rand(2, n, 1, 16, 16, device="cuda")
        ones = torch.ones(n, dtype=torch.int64, device="cuda")
        fused.fused_distance(p[:8], t[:8], ones[:8], comparison)  # compiles
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        fused.fused_distance(p, t, ones, comparison)
        peak = torch.cuda.max_memory_allocated() - before
        assert peak < p.nbytes + 1.5 * cache + 2**21


def test_pixels_without_a_gray_level_harm_no_other_group():
    fused = cuda_kernel()
    comparison = Comparison(Binning(256, "sigmoid"), ((0, 1),))
    p, t = torch.rand(2, 600, 1, 16, 16, device="cuda")
    ones = torch.ones(600, dtype=torch.int64, device="cuda")
    clean, slope = fused.fused_distance(p, t, ones, comparison)
    for value in (float("nan"), float("inf"), -float("inf"), 3e38):
        spoilt = p.clone()
        spoilt[5] = value
        distance, gradient = fused.fused_distance(spoilt, t, ones, comparison)
        kept = torch.arange(600, device="cuda") != 5
        assert torch.allclose(distance[kept], clean[kept], rtol=1e-5)
        assert (gradient[kept] - slope[kept]).norm() < 1e-5 * slope[kept].norm()


def test_glcms_are_those_of_the_cpu():
    codes, patches = torch.randint(0, 16, (4, 20, 20)), torch.rand(4, 20, 20)
    assert torch.equal(graycomatrix(codes.cuda(), 16).cpu(), graycomatrix(codes, 16))
    soft = soft_glcm(patches.cuda(), Binning(16)).cpu()
    assert torch.allclose(soft, soft_glcm(patches, Binning(16)), atol=1e-6)


def test_augmentation_stays_on_the_device():
    batch = torch.rand(4, 1, 32, 32, device="cuda")
    augment = Augment((32, 32), flip=True, erase=0.5)
    assert augment(batch).device.type == "cuda"


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_pre_training_runs(tmp_path, precision):
    manifest = write_phantom(make_phantom(6, 2, size=16), tmp_path / "data")
    run = pretrain(
        PretrainSettings(
            DataSettings(str(manifest), image_size=16),
            str(tmp_path / "run"),
            ModelSettings("vit-ti", 8, 32, 1, 2, 32, 1, 2),
            ObjectiveSettings(ssim=1.0, glcm=1.0, balance="gradient_norm"),
            optimizer=OptimizerSettings(epochs=2, batch_size=8),
            hardware=HardwareSettings("gpu", precision=precision),
        )
    )
    assert (run / "encoder.safetensors").exists()
