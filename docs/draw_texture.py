"""Draw the pictures of docs/texture.md into docs/.

    python docs/draw_texture.py

Needs scikit-image (the extra `test`) for one photograph of grass.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from skimage import data, filters
from skimage.transform import resize
from torch import Tensor
from torch.nn import functional as F

from glcm_mae.data import make_phantom
from glcm_mae.texture import (
    Binning,
    GLCMLoss,
    PairKernelLoss,
    TransportLoss,
    graycomatrix,
    quantize,
)
from glcm_mae.texture.dense import soft_assignment

HERE = Path(__file__).parent
BLUE, ORANGE, GREEN, GRAY = "#2166ac", "#d6604d", "#1b7837", "#666666"


def from_image_to_glcm() -> Figure:
    """Three textures of one histogram, and their GLCMs."""
    phantom = make_phantom(1, 1, size=128, seed=3)
    figure, axes = plt.subplots(3, 3, figsize=(8.4, 8.2), layout="constrained")
    for column, (image, label) in enumerate(zip(phantom.images, phantom.labels, strict=True)):
        codes = quantize(torch.from_numpy(image / 255.0), 32)
        glcm = graycomatrix(codes, 32, [(0, 1)], symmetric=True, normed=True)[0]
        top, middle, bottom = axes[:, column]
        top.imshow(image, cmap="gray")
        top.set_title(label)
        top.set_axis_off()
        middle.hist(codes.flatten(), bins=np.arange(33) - 0.5, color=GRAY)
        middle.set_xlabel("gray level")
        middle.set_ylim(0, 2600)
        bottom.imshow(glcm.clamp_min(1e-5).log10(), cmap="magma", vmin=-4.5, vmax=-1.8)
        bottom.set_xlabel("level of the pixel to the right")
    axes[1, 0].set_ylabel("pixels")
    axes[2, 0].set_ylabel("level of a pixel")
    return figure


def kernels() -> Figure:
    """How a pixel is shared between bins, and how the shares change with its value."""
    width, x = 1 / 8, torch.linspace(0, 1, 4001, dtype=torch.float64)
    shown = {
        "sigmoid, a thirtieth of a bin": Binning(8, "sigmoid"),
        "linear, one bin": Binning(8, "linear"),
        "B-spline, one bin": Binning(8, "bspline"),
        "Gaussian, one bin": Binning(8, "gaussian"),
    }
    figure, axes = plt.subplots(2, 4, figsize=(11, 4.4), sharex=True, layout="constrained")
    for (name, binning), (top, bottom) in zip(shown.items(), axes.T, strict=True):
        phi = soft_assignment(x, binning)
        slope = torch.gradient(phi, spacing=(x,), dim=0)[0] * width
        for k in range(8):
            strong = k == 3
            style = {"color": BLUE if strong else "#cccccc", "zorder": 2 + strong}
            top.plot(x, phi[:, k], **style)
            if strong:
                bottom.plot(x, slope[:, k], **style)
        top.set_title(name, fontsize=10)
        top.set_ylim(-0.03, 1.05)
        bottom.set_xlabel("value of the pixel")
        bottom.axhline(0, color="#cccccc", linewidth=0.8, zorder=1)
        for edge in np.arange(9) * width:
            bottom.axvline(edge, color="#eeeeee", linewidth=0.8, zorder=0)
    axes[0, 0].set_ylabel("weight of the bin")
    axes[1, 0].set_ylabel("slope, per bin width")
    return figure


def gradients() -> Figure:
    """Descent directions at a blurred photograph."""
    target = resize(data.grass() / 255.0, (224, 224), anti_aliasing=True)
    blurred = filters.gaussian(target, sigma=2)
    t, b = (torch.from_numpy(x).float()[None, None] for x in (target, blurred))
    losses = {
        "MSE": F.mse_loss,
        "sigmoid 256, w/30": GLCMLoss(256, kernel="sigmoid"),
        "Gaussian, 32 levels": GLCMLoss(32),
        "pair kernel, 0.1": PairKernelLoss(0.1),
        "transport": TransportLoss(),
    }
    figure, axes = plt.subplots(1, 7, figsize=(14.5, 2.8), layout="constrained")
    view = slice(60, 124), slice(60, 124)
    for ax, image, name in zip(axes, (target, blurred), ("target", "blurred"), strict=False):
        ax.imshow(image[view], cmap="gray", vmin=0, vmax=1)
        ax.set_title(name, fontsize=10)
    for ax, (name, loss) in zip(axes[2:], losses.items(), strict=True):
        way = _descent(loss, b, t)
        cosine = float(F.cosine_similarity(way.flatten(), (t - b).flatten(), dim=0))
        limit = float(way.abs().quantile(0.995))
        ax.imshow(way[0, 0][view], cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.set_title(f"{name}\ncosine {max(cosine, 0.0):.2f}", fontsize=10)
    for ax in axes:
        ax.set_axis_off()
    return figure


def reach() -> Figure:
    """Distance of two constant patches, by how far their gray levels lie apart."""
    apart = torch.linspace(0, 0.6, 241)
    p = (0.2 + apart)[:, None, None, None].expand(-1, 1, 16, 16)
    t = torch.full_like(p, 0.2)
    losses = {
        "sigmoid 256, w/30": (GLCMLoss(256, kernel="sigmoid", reduction="none"), ORANGE),
        "Gaussian, 32 levels": (GLCMLoss(32, reduction="none"), BLUE),
        "pair kernel, 0.1": (PairKernelLoss(0.1, reduction="none"), GREEN),
        "transport": (TransportLoss(reduction="none"), GRAY),
    }
    figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
    for name, (loss, color) in losses.items():
        value = loss(p, t)[:, 0]
        ax.plot(apart, value / value.max(), label=name, color=color)
    ax.set_xlabel("difference of the gray levels of two constant patches")
    ax.set_ylabel("loss, as a share of its greatest")
    ax.legend(frameon=False)
    return figure


def _descent(loss: object, x: Tensor, target: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x, target), x)  # type: ignore[operator]
    return -gradient


def main() -> None:
    """Write every picture."""
    for draw in (from_image_to_glcm, kernels, gradients, reach):
        figure = draw()
        figure.savefig(
            HERE / f"texture-{draw.__name__.replace('_', '-')}.png", dpi=110, bbox_inches="tight"
        )
        plt.close(figure)


if __name__ == "__main__":
    main()
