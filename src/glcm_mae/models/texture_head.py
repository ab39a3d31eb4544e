"""Texture prediction: a linear head that names the texture of patches."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glcm_mae.texture import Binning, soft_glcm
from glcm_mae.texture.offsets import Offset, check_offsets

from .descriptors import OF_PIXELS, Descriptor, n_entries, of_matrices
from .patches import patchify

Scope = Literal["patch", "image"] | int


class TextureHead(nn.Module):
    """Predicts the texture around each patch from its decoder token.

    The texture is a soft GLCM, and what is asked of it a descriptor: the square root of its
    entries (which evens out the variance of counts), its Haralick features (`haralick`), or both,
    standardised entry by entry with the mean and deviation of the training images. Asking for a
    hand-made feature of the hidden patch follows Wei et al. 2022 (MaskFeat), whose histograms of
    oriented gradients can be asked for, too, to tell what is owed to the GLCM and what to asking.

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
    descriptor : {"glcm", "haralick", "both", "histogram", "hog", "deviation"}
        What is predicted. Of "both" (the GLCM and Haralick's features), each counts half, however
        many entries it has. To compare with: "histogram", the GLCM's margin, which tells how often
        a gray level is there and not beside which other; "hog" (see `gradient_cells`); and
        "deviation", of the gray values in a patch, a single number. For the last two binning,
        offsets and relative mean nothing.
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
        If an offset reaches across a patch, there is no such scope or descriptor, or a patch of odd
        side has no two cells for hog.

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
        if descriptor == "hog" and patch_size % 2:
            raise ValueError(f"patch_size is {patch_size}: for hog choose an even one.")
        self.descriptors = ("glcm", "haralick") if descriptor == "both" else (descriptor,)
        self.entries = [
            in_chans * n_entries(name, binning.levels, len(offsets)) for name in self.descriptors
        ]
        self.linear = nn.Linear(width, sum(self.entries))
        self._is_fitted = False
        self.register_buffer("mean", torch.full((sum(self.entries),), torch.nan))
        self.register_buffer("deviation", torch.ones(sum(self.entries)))
        if whitened:
            for i, n in enumerate(self.entries):
                self.register_buffer(f"whitening{i}", torch.eye(n))

    def describe(self, images: Tensor, asked: Tensor) -> Tensor:
        """Texture around the patches asked for: (B, C, H, W), (B, N) to (R, entries)."""
        if self.descriptors[0] in OF_PIXELS:
            averaged, finished = OF_PIXELS[self.descriptors[0]]
            return finished(self._over_scope(averaged(images, self.patch_size), asked))
        matrices = self._matrices(images, asked)
        return torch.cat([of_matrices(name, matrices) for name in self.descriptors], dim=1)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Take mean and deviation of the entries from a sample of training images.

        Needed before `loss`, unless a state is loaded that holds them.

        Parameters
        ----------
        images : Tensor of float, (B, C, H, W)
            On the scale of the binning's range, of the size that the grid says.

        Raises
        ------
        ValueError
            If they are none, of another size, whole numbers, or hold NaN or infinity.

        Warns
        -----
        UserWarning
            If most of what is binned lies beyond the range.
        """
        self._check_sample(images)
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
        self._check_fitted()
        parts = self._standardised(self.describe(images, asked))
        if not self.whitened:
            return parts
        whitenings = [self.get_buffer(f"whitening{i}") for i in range(len(parts))]
        return [part @ own.to(part.dtype) for part, own in zip(parts, whitenings, strict=True)]

    def loss(self, tokens: Tensor, images: Tensor, mask: Tensor) -> Tensor:
        """Mean squared error of the standardised textures asked for; 0 if there are none.

        Of no less precision inside of an autocast.

        Parameters
        ----------
        tokens : Tensor, (B, N, width)
            The decoder's.
        images : Tensor, (B, C, H, W)
            On the scale of the binning's range.
        mask : Tensor, (B, N)
            1 where a patch was removed.

        Returns
        -------
        Tensor
            A scalar.

        Raises
        ------
        RuntimeError
            If neither `fit` was called nor a state loaded.
        """
        with torch.autocast(tokens.device.type, enabled=False):
            return self._loss(tokens, images, mask)

    def _loss(self, tokens: Tensor, images: Tensor, mask: Tensor) -> Tensor:
        asked = torch.ones_like(mask, dtype=torch.bool) if self.kept else mask.bool()
        with torch.no_grad():
            targets = self.targets(images, asked)
        own = tokens[asked].to(self.linear.weight.dtype)
        predictions = self.linear(own).split(self.entries, dim=1)
        errors = [
            F.mse_loss(p.float(), t.float(), reduction="sum") / max(1, t.numel())
            for p, t in zip(predictions, targets, strict=True)
        ]
        return torch.stack(errors).mean()

    def _check_sample(self, images: Tensor) -> None:
        sides = tuple(n * self.patch_size for n in self.grid)
        if images.ndim != 4 or not len(images) or images.shape[-2:] != sides:
            raise ValueError(
                f"images are {tuple(images.shape)}: give (B, C, {sides[0]}, {sides[1]}), one or "
                "more, as grid and patch_size say."
            )
        if not images.is_floating_point():
            raise ValueError(f"images are {images.dtype}: bring them to floating point.")
        if not images.isfinite().all():
            raise ValueError("images hold NaN or infinity, which have no texture: leave them out.")
        if self.descriptors[0] in OF_PIXELS:  # which have no range
            return
        low, high = self.binning.value_range
        pixels = self._pixels(patchify(images, self.patch_size).flatten(0, 1))
        if 2 * int(((pixels < low) | (pixels > high)).sum()) > pixels.numel():
            warnings.warn(
                f"most of the gray values that are binned lie beyond ({low:g}, {high:g}), and "
                "count as its ends or little more: if that is not meant, give a Binning of your "
                "images' range.",
                stacklevel=3,
            )

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._is_fitted = False  # as that state is, which may be none's

    def _check_fitted(self) -> None:
        # Looked up once: on a GPU each look waits for all that is under way.
        self._is_fitted = self._is_fitted or not bool(self.mean.isnan().any())
        if not self._is_fitted:
            raise RuntimeError(
                "the texture head knows no mean and deviation of its targets: call "
                "head.fit(training_images) before the first loss, or load a state that has them."
            )

    def _standardised(self, texture: Tensor) -> list[Tensor]:
        standard = (texture - self.mean) / self.deviation
        return list(standard.split(self.entries, dim=1))

    def _matrices(self, images: Tensor, asked: Tensor) -> Tensor:
        """Soft GLCMs over the scope of each patch asked for: (R, C, O, L, L)."""
        patches = patchify(images, self.patch_size)  # (B, N, p * p * C)
        if self.scope in ("patch", 1):
            return self._matrix_of_each(patches[asked])
        each = self._matrix_of_each(patches.flatten(0, 1)).unflatten(0, asked.shape)
        return self._over_scope(each, asked)

    def _over_scope(self, each: Tensor, asked: Tensor) -> Tensor:
        """Mean over the scope of each patch asked for: (B, N, ...) to (R, ...)."""
        if self.scope in ("patch", 1):
            return each[asked]
        if self.scope == "image":
            return each.mean(dim=1)[asked.nonzero()[:, 0]]
        return _mean_around(each, self.grid, int(self.scope))[asked]

    def _matrix_of_each(self, patches: Tensor) -> Tensor:
        """Soft GLCM of each patch: (M, p * p * C) to (M, C, O, L, L)."""
        return soft_glcm(self._pixels(patches), self.binning, self.offsets)

    def _pixels(self, patches: Tensor) -> Tensor:
        """Gray values as they are binned: (M, p * p * C) to (M, C, p, p)."""
        pixels = patches.unflatten(-1, (self.patch_size, self.patch_size, -1)).movedim(-1, 1)
        if not self.relative:
            return pixels
        return pixels - pixels.mean(dim=(2, 3), keepdim=True) + self.binning.middle


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
