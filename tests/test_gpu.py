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


def test_glcms_are_those_of_the_cpu():
    codes, patches = torch.randint(0, 16, (4, 20, 20)), torch.rand(4, 20, 20)
    assert torch.equal(graycomatrix(codes.cuda(), 16).cpu(), graycomatrix(codes, 16))
    soft = soft_glcm(patches.cuda(), Binning(16)).cpu()
    assert torch.allclose(soft, soft_glcm(patches, Binning(16)), atol=1e-6)


def test_augmentation_stays_on_the_device():
    batch = torch.rand(4, 1, 32, 32, device="cuda")
    assert Augment((32, 32), flip=True)(batch).device.type == "cuda"


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
