"""What the gradient of each texture loss teaches: its direction, and where it leads.

    python benchmarks/texture_gradients.py [--steps 200] [--rates 0.003 0.01]

Three gray images of scikit-image (camera, brick, grass; 224 x 224) are blurred (Gaussian, two
pixels). First the gradient of each loss at the blurred image: its norm against that of MSE, the
share of pixels that carry it (its squared norm's participation ratio), and its cosine to the way
back to the target. Then Adam on the pixels from the blurred image, the best of the given learning
rates by GLCM distance, means over the images: GLCM distance (half the L1 distance of exact
per-patch GLCMs at 24 levels, which no form uses), contrast (median over patches of the ratio of
standard deviations; 1 is right), SSIM, PSNR, and milliseconds of
processor time a step. Between the two, the norms of the losses as they come, by patch size: a
loss's weight beside a squared error is about one over that. Ends with the machine.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from skimage import data, filters
from skimage.metrics import structural_similarity
from skimage.transform import resize
from torch import Tensor
from torch.nn import functional as F

from glcm_mae.texture import GLCMLoss, PairKernelLoss, TransportLoss, graycomatrix, quantize

PATCH = 16
SIDES = (8, 16, 32, 56)
Loss = Callable[[Tensor, Tensor], Tensor]


class Form(NamedTuple):
    """A loss, and how it changes as the steps go on."""

    loss: Loss
    anneal: Callable[[float], None] = lambda progress: None


def forms() -> dict[str, Form]:
    """Make all forms anew: an annealed one ends where another began."""
    annealed = PairKernelLoss(0.1)
    return {
        "MSE": Form(F.mse_loss),
        "sigmoid 256, w/30 (paper)": Form(GLCMLoss(256, kernel="sigmoid")),
        "sigmoid 256, w/5": Form(GLCMLoss(256, kernel="sigmoid", bandwidth=1 / 256 / 5)),
        "linear 32": Form(GLCMLoss(32, kernel="linear")),
        "B-spline 32": Form(GLCMLoss(32, kernel="bspline")),
        "Gaussian 32": Form(GLCMLoss(32)),
        "Gaussian 16": Form(GLCMLoss(16)),
        "Gaussian 8+16+32+64": Form(GLCMLoss((8, 16, 32, 64))),
        "pair kernel 0.03": Form(PairKernelLoss(0.03)),
        "pair kernel 0.1 to 0.01": Form(annealed, lambda p: annealed.anneal(0.1 * 0.1**p)),
        "transport": Form(TransportLoss()),
    }


AS_THEY_COME: dict[str, Callable[..., Loss]] = {
    "GLCMLoss()": GLCMLoss,
    "GLCMLoss((8, 16, 32, 64))": partial(GLCMLoss, (8, 16, 32, 64)),
    "GLCMLoss(normalized=True)": partial(GLCMLoss, normalized=True),
    "PairKernelLoss()": PairKernelLoss,
    "TransportLoss()": TransportLoss,
}


def images() -> list[tuple[Tensor, Tensor]]:
    """Targets and their blurred versions, (1, 1, 224, 224) in [0, 1] each."""
    pairs = []
    for load in (data.camera, data.brick, data.grass):
        target = resize(load() / 255.0, (224, 224), anti_aliasing=True)
        blurred = filters.gaussian(target, sigma=2)
        pairs.append(tuple(torch.from_numpy(x).float()[None, None] for x in (target, blurred)))
    return pairs


def patches(image: Tensor) -> Tensor:
    """Cut (1, 1, H, W) into (N, p, p)."""
    return F.unfold(image, PATCH, stride=PATCH)[0].T.unflatten(1, (PATCH, PATCH))


def describe_gradient(form: Form, target: Tensor, blurred: Tensor) -> tuple[float, float, float]:
    """Norm against MSE's, participation ratio, and cosine of the descent to the target."""
    x = blurred.clone().requires_grad_()
    (g,) = torch.autograd.grad(form.loss(x, target), x)
    (reference,) = torch.autograd.grad(F.mse_loss(x, target), x)
    spread = g.square().sum() ** 2 / g.pow(4).sum() / g.numel()
    cosine = F.cosine_similarity(-g.flatten(), (target - blurred).flatten(), dim=0)
    return float(g.norm() / reference.norm()), float(spread), float(cosine)


def descend(form: Form, target: Tensor, blurred: Tensor, steps: int, rate: float) -> Tensor:
    """Adam on the pixels from the blurred image."""
    x = blurred.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=rate)
    for step in range(steps):
        form.anneal(step / max(1, steps - 1))
        optimizer.zero_grad()
        form.loss(x, target).backward()
        optimizer.step()
    return x.detach()


def glcm_distance(image: Tensor, target: Tensor, levels: int = 24) -> float:
    """Half the L1 distance of the exact GLCMs of patches: 0 alike, 1 disjoint."""
    a, b = (
        graycomatrix(quantize(patches(x.clamp(0, 1)), levels), levels, normed=True)
        for x in (image, target)
    )
    return float((a - b).abs().sum(dim=(-2, -1)).mean() / 2)


def score(image: Tensor, target: Tensor) -> list[float]:
    """GLCM distance, contrast, SSIM, PSNR."""
    contrast = patches(image).std(dim=(1, 2)) / patches(target).std(dim=(1, 2))
    similarity = structural_similarity(
        image[0, 0].numpy(), target[0, 0].numpy(), data_range=1.0, gaussian_weights=True
    )
    psnr = -10 * torch.log10(F.mse_loss(image, target))
    return [glcm_distance(image, target), float(contrast.median()), similarity, float(psnr)]


def main() -> None:
    """Print three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.003, 0.01])
    args = parser.parse_args()
    pairs = images()
    print(f"{'gradient at the blurred image':30}{'norm / MSE':>12}{'pixels':>10}{'cosine':>10}")
    for name, form in forms().items():
        norm, spread, cosine = np.mean([describe_gradient(form, *p) for p in pairs], axis=0)
        print(f"{name:30}{norm:12.3g}{spread:10.2f}{cosine:10.2f}")
    print(f"\n{'norm / MSE, by patch size':30}{''.join(f'{side:>10}' for side in SIDES)}")
    for name, make in AS_THEY_COME.items():
        forms_of = [Form(make(patch_size=side)) for side in SIDES]
        norms = [np.mean([describe_gradient(form, *p)[0] for p in pairs]) for form in forms_of]
        print(f"{name:30}{''.join(f'{norm:10.2g}' for norm in norms)}")
    print(f"\n{'pixels from blur':30}{'GLCM':>8}{'contrast':>10}{'SSIM':>8}{'PSNR':>8}{'ms':>8}")
    start = np.mean([score(blurred, target) for target, blurred in pairs], axis=0)
    print(f"{'start':30}{start[0]:8.3f}{start[1]:10.2f}{start[2]:8.3f}{start[3]:8.1f}")
    for name in forms():
        rows, seconds = [], []
        for rate in args.rates:
            began = time.process_time()
            ends = [(descend(forms()[name], *p, args.steps, rate), p[0]) for p in pairs]
            seconds.append((time.process_time() - began) / args.steps / len(pairs))
            rows.append(np.mean([score(image, target) for image, target in ends], axis=0))
        best = min(rows, key=lambda row: row[0])
        print(
            f"{name:30}{best[0]:8.3f}{best[1]:10.2f}{best[2]:8.3f}{best[3]:8.1f}"
            f"{1e3 * statistics.median(seconds):8.1f}",
            flush=True,
        )
    print(f"\n{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
