"""Time and peak memory of the texture loss: as published, as specified, as it runs.

    python benchmarks/texture_loss.py [--images 4] [--size 224] [--repeats 5] [--noise]
    python benchmarks/texture_loss.py --forms  # the other losses alone

Simulated ultrasound is compared with a blurred and noisy version of itself or, with --noise, white
noise with white noise: the worst case, in which every patch fills the whole gray scale. Each form
runs forward and backward on the same images, in a process of its own so that peak memory is its
own; the ratios are against the form that runs. "published" writes the soft assignment of every
pixel pair out anew, as the code released with arXiv 2507.10869 does; "dense" is the package's
specification (`glcm_mae.texture.dense`), which shares the assignments between pairs.

Torch's threads sleep while they wait (OMP_WAIT_POLICY=passive, unless the environment says
otherwise). By default they spin for some milliseconds after each of its operations, on the cores
that the loop's threads are to run on.

A second table has the memory of the form that runs for batches of any size; of it, the gradient
that is kept for the backward pass and the one that is handed on take as much as the images each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from glcm_mae.data import make_phantom
from glcm_mae.texture import GLCMLoss, PairKernelLoss, TransportLoss, windows
from glcm_mae.texture.dense import dense_distance, soft_assignment
from glcm_mae.texture.offsets import pair_views
from glcm_mae.texture.patch_loss import PatchLoss
from glcm_mae.texture.pooling import group_patches

FORMS = ("published", "dense", "runs")
OTHERS: dict[str, PatchLoss] = {
    "sigmoid 256 (paper)": GLCMLoss(256, kernel="sigmoid"),
    "sigmoid 256, scaled": GLCMLoss(256, kernel="sigmoid", scaled=True),
    "linear 32": GLCMLoss(32, kernel="linear"),
    "B-spline 32": GLCMLoss(32, kernel="bspline"),
    "Gaussian 32": GLCMLoss(32),
    "Gaussian 32, image": GLCMLoss(32, pool="image"),
    "Gaussian 8": GLCMLoss(8),
    "Gaussian 8+16+32+64": GLCMLoss((8, 16, 32, 64)),
    "pair kernel 0.05": PairKernelLoss(0.05),
    "transport": TransportLoss(),
}


def published(prediction: Tensor, target: Tensor, loss: GLCMLoss) -> Tensor:
    """Plain loss with a dense map for either end of every pair, as the released code computes."""
    total = prediction.new_zeros(())
    for offset in loss.comparisons[0].offsets:
        matrices = []
        for patches in (prediction, target):
            ends = [x.flatten(1) for x in pair_views(patches, offset)]  # (P, Q) twice
            first, second = (soft_assignment(x, loss.comparisons[0].binning) for x in ends)
            matrices.append(first.mT @ second)
        total = total + (matrices[0] - matrices[1]).square().mean()
    return total / len(loss.comparisons[0].offsets)


def make_images(images: int, size: int, noise: bool) -> tuple[Tensor, Tensor]:
    """Target and prediction, (B, 1, H, W) each."""
    if noise:
        target = torch.rand(images, 1, size, size)
        return target, target + 0.1 * torch.randn_like(target)
    seen = torch.from_numpy(make_phantom(1, 2, size).images)[torch.arange(images) % 6]
    target = seen[:, None].float() / 255
    blurred = torch.nn.functional.avg_pool2d(target, 5, 1, 2)
    return target, blurred + 0.05 * torch.randn_like(target)


def run(
    form: str, levels: int, images: int, size: int, repeats: int, noise: bool
) -> dict[str, float]:
    """Median seconds and peak MiB above the inputs of one form."""
    torch.manual_seed(0)
    loss = GLCMLoss(levels, kernel="sigmoid")
    target, prediction = make_images(images, size, noise)
    prediction.requires_grad_()
    grid = size // 16, size // 16
    groups = group_patches(torch.ones(images, grid[0] * grid[1]), grid, "patch")

    def forward() -> Tensor:
        if form == "runs":
            return loss(prediction, target)
        p, t = (_patches(x)[groups.member] for x in (prediction, target))
        if form == "published":
            return published(p[:, 0], t[:, 0], loss)
        return dense_distance(p, t, groups.valid.float(), loss.comparisons[0]).mean()

    def step() -> float:
        prediction.grad = None
        start = time.perf_counter()
        forward().backward()
        return time.perf_counter() - start

    small = torch.rand(1, 1, 16, 16, requires_grad=True)
    loss(small, torch.rand(1, 1, 16, 16)).backward()  # reads the compiled loop from disk
    base = _reset_peak()
    seconds = [step() for _ in range(repeats * (5 if form == "runs" else 1))]
    return {"seconds": statistics.median(seconds), "mib": (_memory("VmHWM") - base) / 1024}


def print_others(images: int, size: int, repeats: int, noise: bool) -> None:
    """Print the median milliseconds of every loss, forward and backward, in turns."""
    torch.manual_seed(0)
    target, prediction = make_images(images, size, noise)
    prediction.requires_grad_()
    seconds: dict[str, list[float]] = {name: [] for name in OTHERS}
    for _ in range(repeats + 1):  # the first reads the compiled loops from disk
        for name, loss in OTHERS.items():
            start = time.perf_counter()
            loss(prediction, target).backward()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(taken[1:]) for name, taken in seconds.items()}
    for name, median in medians.items():
        print(f"{name:24}{1000 * median:>8.1f} ms{median / medians['Gaussian 32']:>8.2f}")


def _patches(images: Tensor) -> Tensor:
    """Cut (B, 1, H, W) into (B * N, p, p)."""
    return windows(images[:, 0], 16).flatten(0, 2)


def _reset_peak() -> int:
    """Forget the process's memory peak so far; return its memory now, in KiB (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--noise", action="store_true")
    parser.add_argument("--forms", action="store_true", help="time the other losses alone")
    parser.add_argument("--one", nargs=2, metavar=("FORM", "LEVELS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        form, levels = args.one
        print(json.dumps(run(form, int(levels), args.images, args.size, args.repeats, args.noise)))
        return
    if args.forms:
        print_others(args.images, args.size, args.repeats, args.noise)
        return
    print(f"{args.images} images of {args.size} x {args.size}, 16 x 16 patches, 2 offsets, sigmoid "
          f"of a thirtieth of a bin, {torch.get_num_threads()} threads "
          f"(OMP_WAIT_POLICY={os.environ['OMP_WAIT_POLICY']}),\n"
          f"forward and backward, median of {args.repeats}")  # fmt: skip
    print(f"{'levels':8}{'form':12}{'seconds':>10}{'times':>10}{'peak MiB':>12}")
    for levels in (32, 256):
        rows = {form: _in_own_process(form, levels) for form in FORMS}
        for form, row in rows.items():
            ratio = row["seconds"] / rows["runs"]["seconds"]
            print(f"{levels:<8}{form:12}{row['seconds']:>10.4f}{ratio:>10.1f}{row['mib']:>12.1f}")
    print(
        f"\n{'batch':8}{'images MiB':>12}{'seconds':>10}{'peak MiB':>12}{'without gradients':>20}"
    )
    for images in (4, 16, 64, 256):
        row = _in_own_process("runs", 256, "--images", str(images), "--repeats", "1")
        own = images * args.size**2 * 4 / 2**20
        rest = row["mib"] - 2 * own
        print(f"{images:<8}{own:>12.1f}{row['seconds']:>10.3f}{row['mib']:>12.1f}{rest:>20.1f}")


def _in_own_process(form: str, levels: int, *more: str) -> dict[str, float]:
    command = [sys.executable, *sys.argv, *more, "--one", form, str(levels)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    if "OMP_WAIT_POLICY" not in os.environ:  # is read where torch is imported: start anew
        environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    main()
