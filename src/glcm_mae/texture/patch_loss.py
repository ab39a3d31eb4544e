"""What all texture losses share: cutting patches, grouping them, and averaging over the groups."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .inputs import check_side, check_tensors, warn_caller
from .offsets import Offset, check_offsets
from .patches import Distance, Patches
from .pooling import Pool, group_patches, place_of_patch
from .transforming import is_transforming
from .untraced import untraced

Channels = Literal["first", "all", "luminance"]
Reduction = Literal["mean", "sum", "none"]

# Rec. 601 luma, as Pillow uses for gray. (scikit-image has Rec. 709's: 0.2125, 0.7154, 0.0721.)
_LUMA = (0.299, 0.587, 0.114)

# What a loss is made of, some of it worked into what a call looks at.
_SETTINGS = (
    *("offsets", "pool", "channels", "patch_size", "reduction", "value_range", "weights"),
    *("levels", "kernel", "bandwidth", "scaled", "normalized", "directions"),
)

# Pixels that are compared at a time: working memory does not grow with the batch. A GPU wants more
# at once, and has the room.
_CHUNK, _CHUNK_OF_GPU = 2**20, 2**24


class PatchLoss(nn.Module, ABC):
    """A distance between the textures of two images' removed patches, averaged.

    Runs in float32 (float64 for float64 input) whatever the autocast; gradient flows to the
    prediction only, and only once: a second derivative by it raises an error. Besides its input a
    call holds the gradient and a working memory that does not grow with the batch, but, where
    texture is pooled, with a group: on a CPU by about 0.4 kB a pixel of the largest and thread.

    Parameters
    ----------
    offsets : sequence of (dy, dx)
        Pixel offsets, smaller than a patch.
    pool : "patch", "image" or int
        Over what texture is pooled before it is compared: one patch, all removed patches of the
        image, or a block of pool x pool patches.
    channels : {"all", "first", "luminance"}
        Which channels are compared: each, the first, or the Rec. 601 luma of RGB.
    patch_size : int
        Side of a patch, in pixels.
    reduction : {"mean", "sum", "none"}
        Over the groups with a removed patch: their mean, their sum, or (B, n_groups) with zeros
        for groups without one.

    Attributes
    ----------
    value_range : (float, float) or None
        Ends of the gray scale, of a loss that has one.

    Raises
    ------
    ValueError
        If a setting is out of its range, or does not fit the images.
    AttributeError
        If one is set anew, which would change a part of the loss at most.
    """

    value_range: tuple[float, float] | None = None
    # How far beyond an end a value still has a gradient, in widths of the range.
    _reach_beyond = 0.0
    _knows_scale = False

    def __init__(
        self,
        offsets: Sequence[Offset],
        pool: Pool,
        channels: Channels,
        patch_size: int,
        reduction: Reduction,
    ) -> None:
        super().__init__()
        patch_size = check_side(patch_size)
        self.offsets = check_offsets(offsets, patch_size, patch_size)
        _check_choice("channels", channels, ("all", "first", "luminance"))
        _check_choice("reduction", reduction, ("mean", "sum", "none"))
        if pool not in ("patch", "image") and not (isinstance(pool, Integral) and pool > 0):
            raise ValueError(f"pool is {pool!r}: give 'patch', 'image' or a number of patches.")
        self.pool: Pool = pool if isinstance(pool, str) else int(pool)
        self.channels = channels
        self.patch_size = patch_size
        self.reduction = reduction

    def __setattr__(self, name: str, value: Any) -> None:
        is_made = name in self.__dict__ or isinstance(getattr(type(self), name, None), property)
        if is_made and name in _SETTINGS:
            anneal = " (a bandwidth changes by anneal)" * hasattr(self, "anneal")
            raise AttributeError(
                f"{name} is part of how {type(self).__name__} was made: make a new one{anneal}."
            )
        super().__setattr__(name, value)

    @abstractmethod
    def compare(self, prediction: Tensor, target: Tensor, patches: Patches) -> Distance:
        """Compare groups of patches.

        Parameters
        ----------
        prediction, target : Tensor of float32 or float64, (B, H, W)
            Planes; no gradient is recorded.
        patches : Patches
            What of them is compared.

        Returns
        -------
        Distance
        """

    def shared_repr(self) -> str:
        """Name the settings that all losses have, for ``extra_repr``."""
        names = ("pool", "channels", "patch_size", "reduction")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)

    @untraced
    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compare the textures of two batches of images.

        Parameters
        ----------
        prediction, target : Tensor of float, (B, C, H, W)
            Images on the scale of ``value_range``.
        mask : Tensor, (B, N), optional
            1 where a patch is removed, 0 where it is kept; N patches in row order, as
            ``flatten(1)`` has those of a grid (B, rows, columns). Default: all. Of pixels that
            count, `patches_within` makes one.

        Returns
        -------
        Tensor
            A scalar, or (B, n_groups) for reduction "none". Without a removed patch: 0. NaN if a
            removed patch holds NaN or infinity, and so is the gradient of all pixels of its group.

        Raises
        ------
        TypeError, ValueError
            If these are no tensors or on several devices, their shapes do not fit each other or the
            patch size, they stand in the wrong order, or the mask holds more than 0 and 1.
        RuntimeError
            Inside of a transform of `torch.func`.

        Warns
        -----
        UserWarning
            At the first call, if more than a tenth of the targets' values lie beyond
            ``value_range``, they take up less than a hundredth of it, or no predicted value has a
            gradient.
        """
        if is_transforming():
            raise RuntimeError(
                "torch.func cannot see into the texture losses: take torch.autograd.grad in place "
                "of grad, and in place of vmap a batch, with reduction none."
            )
        grid = self._check_shapes(prediction, target, mask)
        if not self._knows_scale:
            self._check_scale(prediction, target.detach())
        if mask is None:
            mask = prediction.new_ones(len(prediction), grid[0] * grid[1])
        place, n_groups = place_of_patch(grid, self.pool, mask.device)
        removed = torch.zeros(len(mask), n_groups, dtype=torch.int64, device=mask.device)
        removed.index_add_(1, place, (mask != 0).long())
        distance: Tensor = _Compared.apply(prediction, target.detach(), mask, self, n_groups)
        if self.reduction == "none":
            return distance
        total = distance.sum()
        return total if self.reduction == "sum" else total / (removed > 0).sum().clamp_min(1)

    def _check_shapes(
        self, prediction: Tensor, target: Tensor, mask: Tensor | None
    ) -> tuple[int, int]:
        """Return the patches per column and row."""
        check_tensors(prediction=prediction, target=target, mask=mask)
        if prediction.ndim != 4 or prediction.shape != target.shape:
            raise ValueError(
                f"prediction is {tuple(prediction.shape)} and target {tuple(target.shape)}: "
                "both must be (B, C, H, W) and alike."
            )
        devices = {str(given.device) for given in (prediction, target, mask) if given is not None}
        if len(devices) > 1:
            raise ValueError(
                f"prediction, target and mask are on {' and '.join(sorted(devices))}: bring them to"
                " one device."
            )
        if not (prediction.is_floating_point() and target.is_floating_point()):
            raise ValueError(
                f"prediction is {prediction.dtype} and target {target.dtype}: bring both to "
                "floating point on the scale of value_range."
            )
        if torch.is_grad_enabled() and target.requires_grad and not prediction.requires_grad:
            raise ValueError(
                "target has a gradient and prediction has none: the order is (prediction, target), "
                "and no gradient flows to the target."
            )
        if not target.shape[1]:
            raise ValueError(f"images are {tuple(target.shape)}: they have no channel.")
        height, width = target.shape[-2:]
        if not height or not width or height % self.patch_size or width % self.patch_size:
            if target.shape[-1] in (1, 3) and target.shape[1] > 4:
                remedy = "if their channels stand last, bring them forward by .movedim(-1, 1)"
            else:
                remedy = (
                    "crop them, choose a patch_size that divides both sides, or pad them and leave "
                    "the patches with padding out by the mask that patches_within makes"
                )
            raise ValueError(
                f"images of {height}x{width} pixels do not divide into patches of "
                f"{self.patch_size}: {remedy}."
            )
        if self.channels == "luminance" and target.shape[1] not in (1, 3):
            raise ValueError(
                f"channels='luminance' needs 1 or 3 channels, not {target.shape[1]}: "
                "choose 'all' or 'first'."
            )
        grid = height // self.patch_size, width // self.patch_size
        expected = (len(target), grid[0] * grid[1])
        if mask is not None and mask.shape != expected:
            raise ValueError(
                f"mask is {tuple(mask.shape)}: it must be {expected}, (B, N), with 1 or 0 for each "
                f"patch of {self.patch_size} pixels squared, row by row. Of a grid of patches, "
                "mask.flatten(1) is that; of pixels, patches_within makes it."
            )
        if mask is not None and not ((mask == 0) | (mask == 1)).all():
            raise ValueError(
                "mask holds more than 0 (kept) and 1 (removed): mask > 0 makes it one of these."
            )
        return grid

    def _check_scale(self, prediction: Tensor, target: Tensor) -> None:
        """Tell those whose images are on another scale, which no gradient would tell them."""
        if self.value_range is None or not target.numel():
            return
        self._knows_scale = True
        low, high = self.value_range
        width = high - low
        beyond = float(((target < low) | (target > high)).double().mean())
        spread = float(target.amax() - target.amin())
        ends = low - self._reach_beyond * width, high + self._reach_beyond * width
        if beyond > 0.1:
            warn_caller(
                f"{beyond:.0%} of the first targets' values lie beyond value_range "
                f"{self.value_range}, and count as its end or little more: if that is not meant, "
                "give the range of your images."
            )
        elif 0 < spread < 0.01 * width:
            warn_caller(
                f"the first targets' values differ by {spread:.3g} at most, of a value_range "
                f"{self.value_range}: if that is not meant, give the range of your images."
            )
        if prediction.requires_grad and not ((prediction > ends[0]) & (prediction < ends[1])).any():
            warn_caller(
                f"no value of the first predictions lies within value_range {self.value_range}, at "
                "whose ends the gradient ends: end the network in a sigmoid, say, or begin with a "
                "squared error."
            )


class _Compared(torch.autograd.Function):
    """Distances (B, n_groups); the gradient is computed along with them and kept."""

    @staticmethod
    def forward(
        ctx: Any, prediction: Tensor, target: Tensor, mask: Tensor, loss: PatchLoss, n_groups: int
    ) -> Tensor:
        ctx.loss, ctx.dtype = loss, prediction.dtype
        dtype = torch.float64 if prediction.dtype == torch.float64 else torch.float32
        gradient = torch.empty_like(prediction, dtype=dtype, memory_format=torch.contiguous_format)
        pixels = _CHUNK if prediction.device.type == "cpu" else _CHUNK_OF_GPU
        images = max(1, pixels // max(1, prediction[:1].numel()))
        # Filled part by part: what a part leaves behind would lie between the pieces of memory that
        # it has freed, and the next part would ask for more.
        distance = gradient.new_zeros(len(prediction), n_groups)
        with torch.autocast(prediction.device.type, enabled=False):
            for start in range(0, len(prediction), images):
                part = slice(start, start + images)
                p, t = (images[part].to(dtype).resolve_neg() for images in (prediction, target))
                _compare_images(loss, p, t, mask[part], distance[part], gradient[part])
        ctx.save_for_backward(gradient, prediction)
        return distance

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        gradient, prediction = ctx.saved_tensors  # (B, C, H, W)
        if torch.is_grad_enabled():  # somebody may differentiate what is returned
            gradient = _Once.apply(gradient, prediction)
        size = ctx.loss.patch_size
        grid = gradient.shape[-2] // size, gradient.shape[-1] // size
        place, _ = place_of_patch(grid, ctx.loss.pool, gradient.device)
        by_patch = upstream[0][:, place].view(-1, 1, grid[0], 1, grid[1], 1)
        tiles = gradient.view(*gradient.shape[:2], grid[0], size, grid[1], size)
        return (tiles * by_patch).view_as(gradient).to(ctx.dtype), None, None, None, None


class _Once(torch.autograd.Function):
    """A gradient as a function of the prediction, by which it has no derivative here.

    Without it a second derivative would be 0, and nobody would know.
    """

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, prediction: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[None, None]:
        raise RuntimeError(
            "the texture losses can be differentiated once: leave them out of what is "
            "differentiated twice (a gradient penalty, a Hessian)."
        )


def _compare_images(
    loss: PatchLoss,
    prediction: Tensor,
    target: Tensor,
    mask: Tensor,
    distance: Tensor,
    gradient: Tensor,
) -> None:
    """Fill the distances (B, n_groups) of a few images and their gradient (B, C, H, W)."""
    size = loss.patch_size
    grid = prediction.shape[-2] // size, prediction.shape[-1] // size
    groups = group_patches(mask, grid, loss.pool)
    patches = Patches(groups.member, groups.valid, grid, (size, size))
    mixing = _mixing(loss.channels, prediction)  # (C', C)
    by_group = prediction.new_zeros(len(groups.owner))
    if loss.channels == "first":
        gradient[:, 1:] = 0
    for mix in mixing:
        found = loss.compare(_plane(prediction, mix), _plane(target, mix), patches)
        by_group += found.value
        for channel in mix.nonzero()[:, 0].tolist():
            torch.mul(found.gradient, mix[channel] / len(mixing), out=gradient[:, channel])
    distance.view(-1)[groups.owner] = by_group / len(mixing)


def _mixing(channels: Channels, images: Tensor) -> Tensor:
    """Return the share of each of C channels in each of the C' planes compared: (C', C)."""
    n_channels = images.shape[1]
    if channels == "luminance" and n_channels == 3:
        return images.new_tensor([_LUMA])
    every = torch.eye(n_channels, dtype=images.dtype, device=images.device)
    return every[:1] if channels == "first" else every


def _plane(images: Tensor, mix: Tensor) -> Tensor:
    """Mix the channels into one: (B, C, H, W) to (B, H, W)."""
    used = mix.nonzero()[:, 0].tolist()
    return images[:, used[0]] if len(used) == 1 else torch.einsum("bchw,c->bhw", images, mix)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}: choose one of {', '.join(choices)}.")
