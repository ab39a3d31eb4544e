"""Pictures of what a masked autoencoder redraws, and of the texture it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from glcm_mae.files import write_atomically
from glcm_mae.models import spread_mask
from glcm_mae.texture import graycomatrix, quantize
from glcm_mae.texture.offsets import Offset
from glcm_mae.training.pretraining import Pretraining

from .figures import png, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DRAWN_LEVELS = 32
_MEASURED_LEVELS = 16  # with more, two samples of one texture are already far apart
_OFFSETS: tuple[Offset, ...] = ((0, 1), (1, 0))


@dataclass(frozen=True)
class Redrawn:
    """Images and what a model made of them.

    Parameters
    ----------
    images, drawn : Tensor, (B, C, H, W)
        True images in [0, 1], and the same with the removed patches redrawn.
    mask : Tensor, (B, N)
        1 where a patch was removed.
    patch_size : int
        Side of a patch.
    """

    images: Tensor
    drawn: Tensor
    mask: Tensor
    patch_size: int

    @property
    def removed(self) -> Tensor:
        """The mask of every pixel, (B, 1, H, W)."""
        height, width = self.images.shape[-2:]
        return spread_mask(
            self.mask, self.patch_size, (height // self.patch_size, width // self.patch_size)
        )

    def patches(self, images: Tensor) -> Tensor:
        """Cut the removed patches out of the first channel: (R, p, p)."""
        p = self.patch_size
        squares = images[:, 0].unflatten(-1, (-1, p)).unflatten(-3, (-1, p))  # (B, y, p, x, p)
        return squares.transpose(2, 3).flatten(1, 2)[self.mask.bool()]


@torch.no_grad()
def redraw(model: Pretraining, images: Tensor, mask_ratio: float, seed: int) -> Redrawn:
    """Hide patches of images and let a pre-trained model redraw them.

    Parameters
    ----------
    model : Pretraining
        A pre-trained model.
    images : Tensor, (B, C, H, W)
        In [0, 1].
    mask_ratio : float
        Share of patches removed.
    seed : int
        Fixes the masks.

    Returns
    -------
    Redrawn
    """
    grid = model.mae.encoder.grid
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(len(images), grid[0] * grid[1], generator=generator)
    out = model.mae(model.objective.normalize(images), mask_ratio, noise)
    drawn = model.objective.redraw(images, out).clamp(0, 1)
    return Redrawn(images, drawn, out.mask, model.mae.encoder.patch_size)


def kept_texture(redrawn: Redrawn) -> dict[str, float]:
    """Measure what of the removed patches' texture the redrawn ones keep.

    Parameters
    ----------
    redrawn : Redrawn
        Images and what a model made of them.

    Returns
    -------
    dict of str to float
        ``contrast``: median over the removed patches of their local contrast (standard deviation
        of the pixels) over the true patch's; 1 is perfect. ``glcm_distance``: half the sum of
        absolute differences of the pooled exact GLCMs (16 levels, offsets (0, 1) and (1, 0)) of
        all removed patches of an image, mean over images; 0 is perfect, 1 the worst. Two samples
        of one texture differ by a few tenths, the more the fewer pixels there are.
    """
    true, drawn = (redrawn.patches(x) for x in (redrawn.images, redrawn.drawn))
    deviations = [x.flatten(1).std(dim=1) for x in (true, drawn)]
    textured = deviations[0] > 1e-6  # a flat patch has no contrast to keep
    ratio = deviations[1][textured] / deviations[0][textured]
    counts = redrawn.mask.sum(dim=1).long().tolist()
    matrices = [_matrices(x, _MEASURED_LEVELS).split(counts) for x in (true, drawn)]
    distances = [
        0.5 * (_frequencies(a) - _frequencies(b)).abs().sum() / len(_OFFSETS)
        for a, b in zip(*matrices, strict=True)
    ]
    return {
        "contrast": float(ratio.median()) if len(ratio) else float("nan"),
        "glcm_distance": float(torch.stack(distances).mean()),
    }


def draw_reconstructions(redrawn: Redrawn, path: Path) -> None:
    """Write a picture: input, masked, redrawn, and the GLCMs of input and redrawn.

    One row an image. The GLCMs are those of the removed patches alone, on a logarithmic scale that
    the two of a row share; where the redrawn one shrinks to the diagonal, texture was lost.

    Parameters
    ----------
    redrawn : Redrawn
        Images and what a model made of them.
    path : Path
        The PNG to write.
    """
    from matplotlib.figure import Figure

    n = len(redrawn.images)
    titles = ("input", "masked", "redrawn", "GLCM of hidden patches", "the same, redrawn")
    figure = Figure(figsize=(2.4 * len(titles), 2.4 * n + 0.4), layout="constrained")
    axes = figure.subplots(n, len(titles), squeeze=False)
    masked = torch.where(redrawn.removed > 0, 0.5, redrawn.images)
    counts = redrawn.mask.sum(dim=1).long().tolist()
    glcms = [
        [
            _frequencies(part).mean(dim=0)
            for part in _matrices(redrawn.patches(x), _DRAWN_LEVELS).split(counts)
        ]
        for x in (redrawn.images, redrawn.drawn)
    ]
    for row in range(n):
        for column, pictures in enumerate((redrawn.images, masked, redrawn.drawn)):
            show_image(axes[row, column], pictures[row])
        peak = float(glcms[0][row].max())
        for column, matrices in enumerate(glcms, start=3):
            _show_matrix(axes[row, column], matrices[row], peak)
    for column, title in enumerate(titles):
        axes[0, column].set_title(title)
    write_atomically(path, png(figure, dpi=110))


def _matrices(patches: Tensor, levels: int) -> Tensor:
    """Exact GLCMs (R, O, L, L) of patches (R, p, p)."""
    return graycomatrix(quantize(patches, levels), levels, _OFFSETS)


def _frequencies(matrices: Tensor) -> Tensor:
    """Pool the counts of an image's patches: (R, O, L, L) to (O, L, L), each offset's sum 1."""
    counts = matrices.sum(dim=0).double()
    return counts / counts.sum(dim=(-2, -1), keepdim=True)


def _show_matrix(axes: Axes, matrix: Tensor, peak: float) -> None:
    shown = np.log10(np.maximum(matrix.numpy(), peak * 1e-4))
    axes.imshow(
        shown, cmap="magma", vmin=np.log10(peak) - 4, vmax=np.log10(peak), extent=(0, 1, 1, 0)
    )
    axes.set_xticks([0, 1])
    axes.set_yticks([0, 1])
    axes.set_xlabel("second pixel", labelpad=-8)
    axes.set_ylabel("first pixel", labelpad=-8)
