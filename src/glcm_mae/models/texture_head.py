"""Texture prediction: a linear head that names the texture of patches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glcm_mae.texture import FEATURE_NAMES, Binning, glcm_features, soft_glcm
from glcm_mae.texture.offsets import Offset, check_offsets

from .patches import patchify

Scope = Literal["patch", "image"] | int
Descriptor = Literal["glcm", "haralick", "both"]


class TextureHead(nn.Module):
    """Predicts the texture around each patch from its decoder token.

    The texture is a soft GLCM, and what is asked of it a descriptor: the square root of its
    entries (which evens out the variance of counts), its Haralick features (`haralick`), or both,
    standardised entry by entry with the mean and deviation of the training images. Asking for a
    hand-made feature of the hidden patch follows Wei et al. 2022 (MaskFeat, with HOG).

    Parameters
    ----------
    width : int
        Width of the decoder's tokens.
    binning : Binning
        Levels, kernel, bandwidth and range of the GLCM.
    offsets : tuple of (dy, dx)
        Pixel offsets.
    in_chans : int
        Channels of the images, each with GLCMs of its own.
    patch_size : int
        Side of a patch.
    grid : (int, int)
        Patches per column and row.
    scope : "patch", "image" or int
        Over which patches the GLCM is taken: the patch asked for alone; all of the image; or a
        block of scope x scope patches with that one in its middle, cut off at the image's border
        (odd; 1 is the patch alone). The GLCM is the mean of these patches' GLCMs: as in
        texture reconstruction, no pixel pair reaches across a patch's border. One patch is too
        small a sample of its texture: M patches have an M-th of the scatter. They may have been
        kept, so a part of a wide scope can be seen by the encoder: what is asked for is then the
        texture of the place, and no longer a guess of the patch's own noise.
    descriptor : {"glcm", "haralick", "both"}
        What is predicted. Of "both", each counts half, however many entries it has.
    relative : bool
        Whether each patch's mean gray value is first brought to the middle of the range. The GLCM
        of gray values as they are is mostly a matter of how bright a patch is, which the squared
        error asks for already: on breast ultrasound the mean alone explains 93% of the variance of
        the entries.
    whitened : bool
        Whether each principal direction of the descriptor counts alike, instead of each entry.
        Entries go up and down together, so that a few directions hold most of their variance.
    kept : bool
        Whether the texture of the kept patches is asked for, too. That of a removed patch can be
        guessed only so far as its surroundings tell it; that of a kept one the encoder sees, and
        has to work out, for the decoder gets a narrow projection of its tokens and no pixels.

    Raises
    ------
    ValueError
        If an offset reaches across a patch, or there is no such scope or descriptor.

    References
    ----------
    Wei, Fan, Xie, Wu, Yuille, Feichtenhofer, "Masked Feature Prediction for Self-Supervised Visual
    Pre-Training", CVPR 2022, arXiv 2112.09133.

    Examples
    --------
    >>> images = torch.rand(2, 1, 32, 32)
    >>> offsets = ((0, 1), (1, 0))
    >>> head = TextureHead(64, Binning(8), offsets, in_chans=1, patch_size=8, grid=(4, 4))
    >>> head.fit(images)
    >>> mask = torch.ones(2, 16)  # all 16 patches of both were removed
    >>> head.loss(torch.rand(2, 16, 64), images, mask).shape
    torch.Size([])
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        width: int,
        binning: Binning,
        offsets: tuple[Offset, ...],
        in_chans: int,
        patch_size: int,
        grid: tuple[int, int],
        *,
        scope: Scope = 3,
        descriptor: Descriptor = "glcm",
        relative: bool = True,
        whitened: bool = False,
        kept: bool = False,
    ) -> None:
        super().__init__()
        check_offsets(offsets, patch_size, patch_size)
        _check_scope(scope, grid)
        if descriptor not in get_args(Descriptor):
            raise ValueError(
                f"descriptor is {descriptor!r}: choose one of {', '.join(get_args(Descriptor))}."
            )
        self.binning, self.offsets, self.patch_size = binning, offsets, patch_size
        self.grid, self.scope, self.relative, self.whitened = grid, scope, relative, whitened
        self.kept = kept
        self.descriptors = ("glcm", "haralick") if descriptor == "both" else (descriptor,)
        per_matrix = {"glcm": binning.levels**2, "haralick": len(_HARALICK)}
        self.entries = [in_chans * len(offsets) * per_matrix[name] for name in self.descriptors]
        self.linear = nn.Linear(width, sum(self.entries))
        self.register_buffer("mean", torch.zeros(sum(self.entries)))
        self.register_buffer("deviation", torch.ones(sum(self.entries)))
        if whitened:
            for i, n in enumerate(self.entries):
                self.register_buffer(f"whitening{i}", torch.eye(n))

    def describe(self, images: Tensor, asked: Tensor) -> Tensor:
        """Texture around the patches asked for: (B, C, H, W), (B, N) to (R, entries)."""
        matrices = self._matrices(images, asked)
        parts = [_DESCRIBE[name](matrices).flatten(1) for name in self.descriptors]
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Take mean and deviation of the entries from a sample of training images (B, C, H, W)."""
        every = images.new_ones(1, math.prod(self.grid)).bool()
        texture = torch.cat([self.describe(image, every) for image in images.split(1)])
        self.mean.copy_(texture.mean(dim=0))
        deviation = texture.std(dim=0, correction=0)
        # What hardly ever changes would get a target of hundreds where it once does.
        floored = [
            part.clamp_min(0.1 * part.max() + 1e-6) for part in deviation.split(self.entries)
        ]
        self.deviation.copy_(torch.cat(floored))
        if self.whitened:
            for i, part in enumerate(self._standardised(texture)):
                self.get_buffer(f"whitening{i}").copy_(_whitening(part))

    def targets(self, images: Tensor, asked: Tensor) -> list[Tensor]:
        """Standardise what `describe` says, one tensor a descriptor: (R, its entries)."""
        parts = self._standardised(self.describe(images, asked))
        if not self.whitened:
            return parts
        return [part @ self.get_buffer(f"whitening{i}") for i, part in enumerate(parts)]

    def loss(self, tokens: Tensor, images: Tensor, mask: Tensor) -> Tensor:
        """Mean squared error of the standardised textures asked for; 0 if there are none.

        Parameters
        ----------
        tokens : Tensor, (B, N, width)
            The decoder's.
        images : Tensor, (B, C, H, W)
            In [0, 1].
        mask : Tensor, (B, N)
            1 where a patch was removed.

        Returns
        -------
        Tensor
            A scalar.
        """
        asked = torch.ones_like(mask, dtype=torch.bool) if self.kept else mask.bool()
        with torch.no_grad():
            targets = self.targets(images, asked)
        predictions = self.linear(tokens[asked].float()).split(self.entries, dim=1)
        errors = [
            F.mse_loss(p, t, reduction="sum") / max(1, t.numel())
            for p, t in zip(predictions, targets, strict=True)
        ]
        return torch.stack(errors).mean()

    def _standardised(self, texture: Tensor) -> list[Tensor]:
        standard = (texture - self.mean) / self.deviation
        return list(standard.split(self.entries, dim=1))

    def _matrices(self, images: Tensor, asked: Tensor) -> Tensor:
        """Soft GLCMs over the scope of each patch asked for: (R, C, O, L, L)."""
        patches = patchify(images, self.patch_size)  # (B, N, p * p * C)
        if self.scope in ("patch", 1):
            return self._matrix_of_each(patches[asked])
        each = self._matrix_of_each(patches.flatten(0, 1)).unflatten(0, asked.shape)
        if self.scope == "image":
            return each.mean(dim=1)[asked.nonzero()[:, 0]]
        return _mean_around(each, self.grid, int(self.scope))[asked]

    def _matrix_of_each(self, patches: Tensor) -> Tensor:
        """Soft GLCM of each patch: (M, p * p * C) to (M, C, O, L, L)."""
        pixels = patches.unflatten(-1, (self.patch_size, self.patch_size, -1)).movedim(-1, 1)
        if self.relative:
            pixels = pixels - pixels.mean(dim=(2, 3), keepdim=True) + self.binning.middle
        return soft_glcm(pixels, self.binning, self.offsets)


# Haralick's first 13 features in his order, by IBSI's names; the power that brings each to the unit
# of gray levels (a variance to a deviation); and the most that this can be with L levels.
_HARALICK: dict[str, tuple[float, Callable[[int], float]]] = {
    "angular_second_moment": (0.5, lambda L: 1.0),
    "contrast": (0.5, lambda L: L - 1),
    "correlation": (1.0, lambda L: 1.0),
    "joint_variance": (0.5, lambda L: (L - 1) / 2),
    "inverse_difference_moment": (1.0, lambda L: 1.0),
    "sum_average": (1.0, lambda L: 2 * L),
    "sum_variance": (0.5, lambda L: L - 1),
    "sum_entropy": (1.0, lambda L: math.log2(2 * L - 1)),
    "joint_entropy": (1.0, lambda L: 2 * math.log2(L)),
    "difference_variance": (0.5, lambda L: (L - 1) / 2),
    "difference_entropy": (1.0, lambda L: math.log2(L)),
    "information_correlation_1": (1.0, lambda L: 1.0),
    "information_correlation_2": (1.0, lambda L: 1.0),
}


def haralick(matrices: Tensor) -> Tensor:
    """Compute the first 13 of Haralick's 14 features, brought to one scale.

    They are IBSI's, of each matrix and its transpose together, in the order of Haralick et al.
    1973. The four variances and the angular second moment are replaced by their roots: squares are
    skewed, and the few patches with an edge would rule a squared error. Each is then divided by the
    most that it can be with L levels, so that all lie between 0 and 1 (the correlation and the
    first information correlation between -1 and 1). IBSI's further features are these under a
    second name, or close to one of them, or third and fourth powers of gray levels.

    Parameters
    ----------
    matrices : Tensor, (..., L, L)
        Counts or frequencies, of any sum above 0.

    Returns
    -------
    Tensor of float32, (..., 13)
        Finite, of constant patches too.

    References
    ----------
    Haralick, Shanmugam, Dinstein, "Textural Features for Image Classification", IEEE Trans. SMC
    3(6), 1973.

    Examples
    --------
    >>> chance = torch.full((4, 4), 1 / 16)  # all pairs of 4 levels equally often
    >>> features = haralick(chance)
    >>> features[0].item(), features[8].item()  # root of the angular second moment, joint entropy
    (0.25, 1.0)
    """
    levels = matrices.shape[-1]
    features = glcm_features(matrices + matrices.mT)  # (..., 25)
    scaled = [
        features[..., FEATURE_NAMES.index(name)] ** power / most(levels)
        for name, (power, most) in _HARALICK.items()
    ]
    return torch.stack(scaled, dim=-1).float()


_DESCRIBE: dict[str, Callable[[Tensor], Tensor]] = {"glcm": torch.sqrt, "haralick": haralick}


def _whitening(texture: Tensor) -> Tensor:
    """Matrix (E, E) after which the principal directions of texture (M, E) count alike.

    Directions with less than a thousandth of the first one's variance stay below the others: what
    they hold is noise. The mean square of all entries together becomes 1.
    """
    covariance = texture.T.double() @ texture.double() / len(texture)
    variances, directions = torch.linalg.eigh(covariance)  # ascending
    divisors = variances.clamp_min(1e-3 * variances[-1] + 1e-12)
    shares = variances.clamp_min(0) / divisors
    scale = (shares.mean() + 1e-12).rsqrt()
    return (directions * divisors.rsqrt() * scale).float()


def _mean_around(each: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Mean over the block around each patch, cut off at the border: (B, N, ...) to the same."""
    squares = each.flatten(2).unflatten(1, grid).permute(0, 3, 1, 2)  # (B, entries, y, x)
    means = F.avg_pool2d(squares, side, 1, side // 2, count_include_pad=False)
    return means.permute(0, 2, 3, 1).reshape(each.shape)


def _check_scope(scope: Scope, grid: tuple[int, int]) -> None:
    if scope in ("patch", "image"):
        return
    if not isinstance(scope, int) or scope < 1 or scope % 2 == 0:
        raise ValueError(f"scope is {scope!r}: choose patch, image, or an odd number of patches.")
    if scope >= 2 * max(grid):  # then the block around any patch holds all of them, and to spare
        raise ValueError(
            f"scope is {scope}, but the image has {grid[0]} x {grid[1]} patches: choose image."
        )
