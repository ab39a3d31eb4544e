"""Time and memory of the texture loss on a GPU: against the dense form, and in a training step.

    python benchmarks/texture_loss_gpu.py [--repeats 10]

The first table has loss forward and backward on 224 x 224 images (16 x 16 patches, 2 offsets, 256
levels, sigmoid of a thirtieth of a bin), at the largest batch whose dense form
(`glcm_mae.texture.dense`) the memory holds. "kernel" is the CUDA kernel alone, without cutting and
sorting patches; its rate is that of the least bytes that must move (prediction and target are read,
the gradient is written), beside the rate of a plain copy. Where it falls short of the copy, the
accesses to scattered cells limit it: how many there are a second stands beside it.

The second table has a pre-training step of ViT-B/16 in bf16, 256 images, made as `pretrain` makes
it but on images that lie on the device, without a texture term and with one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from glcm_mae.models import Loss
from glcm_mae.settings import (
    DataSettings,
    HardwareSettings,
    ModelSettings,
    ObjectiveSettings,
    OptimizerSettings,
    TextureSettings,
)
from glcm_mae.texture import Binning, GLCMLoss
from glcm_mae.texture.comparison import Comparison
from glcm_mae.texture.dense import dense_distance
from glcm_mae.texture.offsets import pair_views
from glcm_mae.training.encoders import encoder_config
from glcm_mae.training.fabric import launch
from glcm_mae.training.pretraining import assemble
from glcm_mae.training.state import set_up
from glcm_mae.training.step import Plan, make_step

OFFSETS = ((0, 1), (1, 0))
PATCH = 16


class Cost(NamedTuple):
    """Median seconds of a step, and the most bytes that it held beside what was there before."""

    seconds: float
    peak: int


def measure(step: Callable[[], object], repeats: int, device: torch.device) -> Cost:
    """Run a step until it is warm, then time it, each run by itself."""
    on_gpu = device.type == "cuda"
    wait = torch.cuda.synchronize if on_gpu else (lambda: None)
    for _ in range(2):
        step()
    wait()
    before = torch.cuda.memory_allocated() if on_gpu else 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        wait()
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() - before if on_gpu else 0
    return Cost(statistics.median(seconds), peak)


def make_images(batch: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Prediction, which takes a gradient, and target: (B, 1, size, size) each."""
    generator = torch.Generator(device).manual_seed(0)
    target = torch.rand(batch, 1, size, size, generator=generator, device=device)
    noise = torch.randn(target.shape, generator=generator, device=device)
    return (target + 0.1 * noise).requires_grad_(), target


def cut(images: Tensor) -> Tensor:
    """Cut (B, 1, H, W) into groups of one patch: (B * N, 1, p, p)."""
    tiles = images.unflatten(-1, (-1, PATCH)).unflatten(-3, (-1, PATCH))  # (B, 1, y, p, x, p)
    return tiles.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def dense_step(comparison: Comparison, prediction: Tensor, target: Tensor) -> None:
    """Forward and backward of the dense form."""
    prediction.grad = None
    p, t = cut(prediction), cut(target)
    valid = p.new_ones(len(p), 1)
    dense_distance(p, t, valid, comparison).mean().backward()


def loss_step(loss: GLCMLoss, prediction: Tensor, target: Tensor) -> None:
    """Forward and backward of the loss as users call it."""
    prediction.grad = None
    loss(prediction, target).backward()


def largest_batch(comparison: Comparison, size: int, device: torch.device, most: int) -> int:
    """Most images, up to ``most``, whose dense form fits into the memory, to an eighth."""
    held, out = 0, most + 1
    batch = 1
    while batch < out and out - held > max(1, held // 8):
        try:
            dense_step(comparison, *make_images(batch, size, device))
            held = batch
            batch = min(2 * batch, (held + out) // 2)
        except torch.cuda.OutOfMemoryError:
            out = batch
            batch = (held + out) // 2
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return held


def entries_per_pair(comparison: Comparison, patches: Tensor) -> float:
    """Mean number of cells that a pair of pixels adds to, by the kernel's own rule."""
    weight = comparison.binning.taps(patches[:64].detach()).weight.movedim(-1, 2)
    first, second = pair_views(weight, comparison.offsets[0])
    matters = first[:, :, :, None] * second[:, :, None] >= 1e-9  # (G, M, T, T, h, w)
    return float(matters.sum() / matters[:, :, 0, 0].numel())


def compare_with_dense(
    repeats: int, device: torch.device, size: int = 224, levels: int = 256, most: int = 4096
) -> None:
    """Print the first table."""
    comparison = Comparison(Binning(levels, "sigmoid"), OFFSETS)
    batch = largest_batch(comparison, size, device, most)
    images = make_images(batch, size, device)
    p, t = (cut(x.detach()) for x in images)
    rows = {"dense": measure(lambda: dense_step(comparison, *images), 3, device)}
    if device.type == "cuda":
        torch.cuda.empty_cache()
    loss = GLCMLoss(levels, OFFSETS, "sigmoid")
    rows["loss"] = measure(lambda: loss_step(loss, *images), repeats, device)
    if device.type == "cuda":
        from glcm_mae.texture.fused_cuda import fused_distance

        ones = torch.ones(len(p), dtype=torch.int64, device=device)
        kernel = measure(lambda: fused_distance(p, t, ones, comparison), repeats, device)
        rows["kernel"] = kernel

    print(f"\n{batch} images of {size} x {size}, {levels} levels, sigmoid of a thirtieth of a bin")
    print(f"{'form':10}{'ms':>10}{'times':>10}{'peak MiB':>12}{'memory':>10}")
    dense = rows["dense"]
    for name, cost in rows.items():
        times, memory = dense.seconds / cost.seconds, dense.peak / max(1, cost.peak)
        print(f"{name:10}{1e3 * cost.seconds:>10.2f}{times:>10.0f}", end="")
        print(f"{cost.peak / 2**20:>12.1f}{memory:>10.0f}")
    show_limits(comparison, p, rows.get("kernel", rows["loss"]), device)


def show_limits(comparison: Comparison, patches: Tensor, cost: Cost, device: torch.device) -> None:
    """Print how fast the bytes move that must, and how fast scattered cells are met."""
    block = torch.rand(2**28 if device.type == "cuda" else 2**20, device=device)
    copy = measure(block.clone, 10, device)
    rate = 3 * patches.nbytes / cost.seconds
    copied = 2 * block.nbytes / copy.seconds
    print(f"least bytes: {3 * patches.nbytes / 2**20:.1f} MiB, {rate / 1e9:.1f} GB/s, "
          f"{100 * rate / copied:.2f}% of a copy's {copied / 1e9:.0f} GB/s")  # fmt: skip
    height, width = patches.shape[-2:]
    pairs = sum((height - abs(dy)) * (width - abs(dx)) for dy, dx in comparison.offsets)
    entries = entries_per_pair(comparison, patches)
    # Of prediction and target: scattered, gathered and cleared.
    accesses = 6 * entries * pairs * len(patches)
    print(f"scattered cells: {entries:.2f} a pair of pixels, {accesses / 1e6:.0f} million "
          f"accesses, {accesses / cost.seconds / 1e9:.1f} billion a second")  # fmt: skip


TEXTURES = {
    "none": None,
    "256 sigmoid": TextureSettings(levels=256, kernel="sigmoid", channels="first"),
    "256 sigmoid scaled": TextureSettings(
        levels=256, kernel="sigmoid", channels="first", scaled=True
    ),
    "32 bspline": TextureSettings(levels=32, kernel="bspline", channels="first"),
    "32 gaussian": TextureSettings(levels=32, kernel="gaussian", channels="first"),
}


def training_step(
    texture: TextureSettings | None, model: ModelSettings, batch: int, size: int, accelerator: str
) -> Callable[[], object]:
    """Make the function that makes one pre-training step on images in the device's memory."""
    torch.manual_seed(0)
    objective = ObjectiveSettings(mse=1.0, glcm_prediction=0.0)
    if texture is not None:
        objective.glcm, objective.texture = 1.0, texture
    data = DataSettings("", image_size=size)
    config = encoder_config(model, data, 3, torch.full((3,), 0.5), torch.full((3,), 0.25))
    pretraining = assemble(config, model, objective, 0.75, (0.0, 1.0))
    fabric = launch(HardwareSettings(accelerator, precision="bf16"))
    optimizing = OptimizerSettings(epochs=1000, batch_size=batch)
    wrapped, optimizer = set_up(fabric, pretraining, optimizing, None)
    wrapped.train()
    plan = Plan(batch, optimizing, seed=0)
    images = torch.rand(batch, 3, size, size, device=fabric.device)

    def loss_of(members: Tensor) -> Loss:
        return wrapped(images[members.to(images.device)])

    return lambda: make_step(fabric, wrapped, optimizer, plan, 0, loss_of)


def share_of_a_step(
    repeats: int,
    device: torch.device,
    model: ModelSettings,
    batch: int = 256,
    size: int = 224,
) -> None:
    """Print the second table."""
    print(f"\npre-training step, {model.size}/{model.patch_size}, bf16, {batch} images of "
          f"3 x {size} x {size}, 75% removed, first channel compared")  # fmt: skip
    print(f"{'texture term':22}{'ms':>10}{'share':>10}{'peak MiB':>12}{'more':>10}")
    without = None
    for name, texture in TEXTURES.items():
        accelerator = "gpu" if device.type == "cuda" else "cpu"
        held = torch.cuda.memory_allocated() if device.type == "cuda" else 0
        step = training_step(texture, model, batch, size, accelerator)
        cost = measure(step, repeats, device)
        if device.type == "cuda":  # with weights and images: what a training occupies
            cost = cost._replace(peak=torch.cuda.max_memory_allocated() - held)
        del step
        without = without or cost
        share = 1 - without.seconds / cost.seconds
        more = cost.peak / max(1, without.peak) - 1
        print(f"{name:22}{1e3 * cost.seconds:>10.1f}{share:>10.1%}", end="")
        print(f"{cost.peak / 2**20:>12.0f}{more:>10.1%}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("texture_loss_gpu.py finds no CUDA device: run it on a machine with one, or "
                 "benchmarks/texture_loss.py for the CPU.")  # fmt: skip
    device = torch.device("cuda")
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    compare_with_dense(args.repeats, device)
    torch.cuda.empty_cache()
    share_of_a_step(args.repeats, device, ModelSettings("vit-b", PATCH))


if __name__ == "__main__":
    main()
