"""Texture prediction: a linear head that names the texture of patches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glcm_mae.texture import Binning, soft_glcm
from glcm_mae.texture.inputs import as_whole, warn_caller
from glcm_mae.texture.offsets import Offset, check_offsets

from .descriptors import OF_PIXELS, Descriptor, n_entries, of_matrices
from .head_inputs import as_asked, as_grid, as_tokens, check_images
from .patches import patchify

Scope = Literal["patch", "image"] | int

# A deviation that is rounding alone, as of blank images, and what stands in its place: about the
# least that textures have.
_ROUNDING, _INSTEAD = 2e-5, 5e-3


class TextureHead(nn.Module):
    """Predicts the texture around each patch from its token, or its place in a feature map.

    The texture is a soft GLCM, and what is asked of it a descriptor: the square root of its
    entries (which evens out the variance of counts), its Haralick features (`haralick`), or both,
    standardised entry by entry with the mean and deviation of the training images. Asking for a
    hand-made feature of the hidden patch follows Wei et al. 2022 (MaskFeat), whose histograms of
    oriented gradients can be asked for, too, to tell what is owed to the GLCM and what to asking.

    A call is `loss`. In `DistributedDataParallel` the head belongs inside of the wrapped module, or
    is wrapped itself: else every process trains a head of its own. `fit` it before, with the same
    images in each process.

    Parameters
    ----------
    width : int
        Width of the decoder's tokens, or channels of the feature map.
    binning : Binning
        Levels, kernel, bandwidth and range of the GLCM.
    offsets : tuple of (dy, dx)
        Pixel offsets.
    in_chans : int
        Channels of the images, each with GLCMs of its own.
    patch_size : int
        Side of a patch.
    grid : (int, int)
        Patches per column and row: rows, columns.
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
    TypeError, ValueError
        If the binning is none, a size is no whole number, an offset reaches across a patch, there
        is no such scope or descriptor, or a patch of odd side has no two cells for hog.

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
    >>> head.loss(torch.rand(2, 64, 4, 4), images, mask.view(2, 4, 4)).shape  # of a ConvNet
    torch.Size([])
    """

    mean: Tensor
    deviation: Tensor
    _knows_scale = False

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
        width, in_chans = as_whole("width", width), as_whole("in_chans", in_chans)
        patch_size, grid = as_whole("patch_size", patch_size), as_grid(grid)
        if not isinstance(binning, Binning):
            raise TypeError(f"binning is {binning!r}: give a Binning, such as Binning(levels=8).")
        offsets = check_offsets(offsets, patch_size, patch_size)
        _check_scope(scope, grid)
        if descriptor not in get_args(Descriptor):
            raise ValueError(
                f"descriptor is {descriptor!r}: choose one of {', '.join(get_args(Descriptor))}."
            )
        self.binning, self.offsets, self.in_chans = binning, offsets, in_chans
        self.patch_size, self.grid, self.scope = patch_size, grid, scope
        self.relative, self.whitened, self.kept = relative, whitened, kept
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
        """Texture around the patches asked for.

        Parameters
        ----------
        images : Tensor of float, (B, C, H, W)
            On the scale of the binning's range.
        asked : Tensor of bool or 0 and 1, (B, N) or (B, rows, columns)
            1 where a patch is asked for.

        Returns
        -------
        Tensor, (R, entries)
            A row a patch, image by image and in row order. Its entries lie channel by channel, then
            offset by offset: of "glcm" the roots of the GLCM row by row, so that ``(C, O, L, L)``
            is their shape, and of "haralick" the features in his order. (Of "both" the former come
            first, of all channels, then the latter.) "histogram" has (C, L), "hog" (cells, C,
            orientations), "deviation" (C,).

        Raises
        ------
        TypeError, ValueError
            As `loss`.
        """
        self._check_images(images)
        asked = as_asked(asked, len(images), self.patch_size, self.grid)
        if self.descriptors[0] in OF_PIXELS:
            averaged, finished = OF_PIXELS[self.descriptors[0]]
            return finished(self._over_scope(averaged(images, self.patch_size), asked))
        matrices = self._matrices(images, asked)
        return torch.cat([of_matrices(name, matrices) for name in self.descriptors], dim=1)

    def fit(self, images: Tensor | Iterable[Tensor]) -> None:
        """Take mean and deviation of the entries from a sample of training images.

        Needed before `loss`, unless a state is loaded that holds them. Some hundred images suffice,
        of all parts of the data and augmented as in training: ``glcm-mae pretrain`` takes 256. (The
        descriptors of all of them are held until the end.)

        An entry that hardly ever changes gets a tenth of the greatest deviation. Where none changes
        at all, as in blank images, all get 0.005, and nothing is whitened: other images then have
        targets of some tens, and none of millions.

        Parameters
        ----------
        images : Tensor of float, (B, C, H, W), or iterable of such
            On the scale of the binning's range, of the size that the grid says. Batches count as if
            they were one: ``(x for x, _ in loader)`` takes those of a loader with labels.

        Raises
        ------
        TypeError, ValueError
            If they are no tensor, none, of other channels or another size, whole numbers, or hold
            NaN or infinity.

        Warns
        -----
        UserWarning
            If most of what is binned lies beyond the range, or no entry changes.
        """
        texture, beyond = [], []
        with torch.no_grad():
            for image in self._each(images):
                every = image.new_ones(1, math.prod(self.grid)).bool()
                texture.append(self.describe(image, every))
                beyond.append(self._beyond(image))
        if not texture:
            raise ValueError("images hold no batch: give one or more images to fit to.")
        self._take(torch.cat(texture))
        self._knows_scale = self._warn_of_scale(torch.stack(beyond).mean())  # once is enough

    def targets(self, images: Tensor, asked: Tensor) -> list[Tensor]:
        """Standardise what `describe` says, one tensor a descriptor: (R, its entries)."""
        self._check_fitted()
        parts = self._standardised(self.describe(images, asked))
        if not self.whitened:
            return parts
        whitenings = [self.get_buffer(f"whitening{i}") for i in range(len(parts))]
        return [part @ own.to(part.dtype) for part, own in zip(parts, whitenings, strict=True)]

    def loss(self, features: Tensor, images: Tensor, mask: Tensor) -> Tensor:
        """Mean squared error of the standardised textures asked for; 0 if there are none.

        Of no less precision inside of an autocast.

        Parameters
        ----------
        features : Tensor, (B, N, width) or (B, width, rows, columns)
            The decoder's tokens, without a class token, or a feature map.
        images : Tensor of float, (B, C, H, W)
            On the scale of the binning's range.
        mask : Tensor of bool or 0 and 1, (B, N) or (B, rows, columns)
            1 where a patch was removed; N patches in row order.

        Returns
        -------
        Tensor
            A scalar.

        Raises
        ------
        TypeError, ValueError
            If these are no tensors, their shapes do not fit each other or the head, the images are
            whole numbers, or the mask holds more than 0 and 1.
        RuntimeError
            If neither `fit` was called nor a state loaded.

        Warns
        -----
        UserWarning
            At the first call, if most of what is binned lies beyond the range, and `fit` has not
            said so.
        """
        self._check_images(images)
        tokens = as_tokens(features, self.linear.in_features, self.grid, len(images))
        asked = as_asked(mask, len(images), self.patch_size, self.grid)
        if not self._knows_scale and len(images):
            self._knows_scale = True
            self._warn_of_scale(self._beyond(images))
        with torch.autocast(tokens.device.type, enabled=False):
            return self._loss(tokens, images, asked)

    def forward(self, features: Tensor, images: Tensor, mask: Tensor) -> Tensor:
        """Compute `loss`, for what calls modules: hooks, and `DistributedDataParallel`."""
        return self.loss(features, images, mask)

    def predict(self, features: Tensor) -> Tensor:
        """Soft GLCMs that the head predicts around all patches.

        Parameters
        ----------
        features : Tensor, (B, N, width) or (B, width, rows, columns)
            As `loss` takes them.

        Returns
        -------
        Tensor of float32, (B, N, C, O, L, L)
            None is negative; each sums to about 1. As they are asked for: means over the scope and,
            if relative, of gray values about each patch's mean.

        Raises
        ------
        TypeError, ValueError
            If the features are no tensor or of another shape, or the descriptor holds no GLCM.
        RuntimeError
            If neither `fit` was called nor a state loaded.

        Examples
        --------
        >>> head = TextureHead(64, Binning(8), ((0, 1), (1, 0)), 1, patch_size=8, grid=(4, 4))
        >>> head.fit(torch.rand(2, 1, 32, 32))
        >>> head.predict(torch.rand(2, 16, 64)).shape
        torch.Size([2, 16, 1, 2, 8, 8])
        """
        if self.descriptors[0] != "glcm":
            raise ValueError(
                f"the head predicts the descriptor {self.descriptors[0]}, which holds no GLCM: "
                "predict is for glcm and both."
            )
        self._check_fitted()
        tokens = as_tokens(features, self.linear.in_features, self.grid)
        n = self.entries[0]
        with torch.autocast(tokens.device.type, enabled=False):
            predicted = self.linear(tokens.to(self.linear.weight.dtype))[..., :n].flatten(0, 1)
            standard = predicted.float()
            if self.whitened:
                own = self.get_buffer("whitening0").float()
                standard = torch.linalg.solve(own, standard, left=False)
            roots = standard * self.deviation[:n].float() + self.mean[:n].float()
        shape = self.in_chans, len(self.offsets), self.binning.levels, self.binning.levels
        return roots.clamp_min(0).square().view(*tokens.shape[:2], *shape)

    def _loss(self, tokens: Tensor, images: Tensor, removed: Tensor) -> Tensor:
        asked = torch.ones_like(removed) if self.kept else removed
        with torch.no_grad():
            targets = self.targets(images, asked)
        own = tokens[asked].to(self.linear.weight.dtype)
        predictions = self.linear(own).split(self.entries, dim=1)
        errors = [
            F.mse_loss(p.float(), t.float(), reduction="sum") / max(1, t.numel())
            for p, t in zip(predictions, targets, strict=True)
        ]
        return torch.stack(errors).mean()

    def _check_images(self, images: Any) -> None:
        check_images(images, self.in_chans, self.patch_size, self.grid)

    def _each(self, images: Any) -> Iterator[Tensor]:
        """Images of a sample, as (1, C, H, W): one at a time takes little memory."""
        is_one = isinstance(images, Tensor) or not isinstance(images, Iterable)
        for batch in (images,) if is_one else images:
            self._check_images(batch)
            if not len(batch):
                raise ValueError(f"images are {tuple(batch.shape)}: give one or more.")
            if not batch.isfinite().all():
                raise ValueError(
                    "images hold NaN or infinity, which have no texture: leave them out."
                )
            yield from batch.split(1)

    def _take(self, texture: Tensor) -> None:
        """Set mean, deviation and whitening to those of a sample of textures, (M, entries)."""
        self.mean.copy_(texture.mean(dim=0))
        spread = texture.std(dim=0, correction=0).split(self.entries)
        varies = [bool(part.max() > _ROUNDING) for part in spread]
        # What hardly ever changes would get a target of hundreds where it once does.
        floored = [
            part.clamp_min(0.1 * part.max() + 1e-6 if some else _INSTEAD)
            for part, some in zip(spread, varies, strict=True)
        ]
        self.deviation.copy_(torch.cat(floored))
        if self.whitened:
            for i, part in enumerate(self._standardised(texture.to(self.mean.device))):
                own = _whitening(part) if varies[i] else torch.eye(part.shape[1])
                self.get_buffer(f"whitening{i}").copy_(own)
        if not all(varies):
            warn_caller(
                "the texture of all patches of these images is the same, so that there is no "
                "deviation to standardise by: if that is not meant, fit to more of them, or others."
            )

    def _beyond(self, images: Tensor) -> Tensor:
        """Share of what is binned that lies beyond the range."""
        low, high = self.binning.value_range
        pixels = self._pixels(patchify(images, self.patch_size).flatten(0, 1))
        return ((pixels < low) | (pixels > high)).double().mean()

    def _warn_of_scale(self, beyond: Tensor) -> bool:
        """Tell those whose images are on another scale; return whether they were told."""
        if self.descriptors[0] in OF_PIXELS or beyond <= 0.5:  # the former have no range
            return False
        low, high = self.binning.value_range
        warn_caller(
            f"most of the gray values that are binned lie beyond ({low:g}, {high:g}), and count as "
            "its ends or little more: if that is not meant, give a Binning of your images' range."
        )
        return True

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
