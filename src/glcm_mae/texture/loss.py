"""GLCMLoss: the texture loss as a module of its own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .binning import Binning, KernelName
from .comparison import Comparison
from .offsets import Offset, check_offsets
from .pooling import Pool, group_patches
from .sparse import matmul_distance, sparse_distance

Channels = Literal["first", "all", "luminance"]
Reduction = Literal["mean", "sum", "none"]

# Rec. 601 luma, as Pillow and scikit-image use for gray.
_LUMA = (0.299, 0.587, 0.114)

# Working memory of one chunk, in numbers: the scratch matrices, and the entries of the pairs.
_CHUNK = 2**21


class GLCMLoss(nn.Module):
    """Squared difference of the soft gray-level co-occurrence matrices of two images.

    Images are cut into patches; the GLCMs of the prediction's and the target's removed patches,
    alone or pooled, are compared cell by cell, and the mean over cells and offsets is averaged
    over groups of patches. Runs in float32 (float64 for float64 input) whatever the autocast.
    Gradient flows to the prediction only.

    Parameters
    ----------
    levels : int
        Number of gray levels L, 2 or more. The cost hardly depends on it.
    offsets : sequence of (dy, dx)
        Pixel offsets, smaller than a patch.
    kernel : {"gaussian", "linear", "sigmoid"}
        How a pixel is shared between bins; see `Binning`.
    bandwidth : float, optional
        Width of the kernel in intensity units. Default: one bin for "gaussian" and "linear", a
        thirtieth of a bin for "sigmoid". This, not ``levels``, decides what the loss teaches:
        below 0.03 of the range the gradient has no direction.
    value_range : (float, float)
        Ends of the gray scale. Values beyond count as the end and get no gradient.
    scaled : bool
        Damp the cells that flat regions fill: G becomes G (S - G) / S, S the sum of G.
    normalized : bool
        Compare GLCMs that sum to one instead of counts.
    pool : "patch", "image" or int
        Over what a GLCM is pooled (averaged) before it is compared: one patch, all removed patches
        of the image, or a block of pool x pool patches.
    channels : {"all", "first", "luminance"}
        Which channels are compared: each, the first (as the paper's code), or the Rec. 601 luma of
        RGB.
    patch_size : int
        Side of a patch, in pixels.
    reduction : {"mean", "sum", "none"}
        Over the groups with a removed patch: their mean, their sum, or (B, n_groups) with zeros
        for groups without one.

    Raises
    ------
    ValueError
        If a setting is out of its range, or does not fit the images.

    References
    ----------
    Madan, Satia, Basu, Gupta, Dutta, Arora, "Focus on Texture: Rethinking Pre-training in Masked
    Autoencoders for Medical Image Classification", MICCAI 2025, arXiv 2507.10869.
    Haralick, Shanmugam, Dinstein, "Textural Features for Image Classification", IEEE Trans. SMC
    3(6), 1973.

    Examples
    --------
    >>> loss = GLCMLoss(levels=32, patch_size=16)
    >>> target = torch.rand(2, 1, 32, 32)
    >>> loss(target, target).item()
    0.0
    >>> prediction = torch.full_like(target, 0.5, requires_grad=True)
    >>> loss(prediction, target, mask=torch.tensor([[1, 0, 0, 1], [0, 0, 1, 1]])).backward()
    >>> prediction.grad[0, :, :16, 16:].abs().max().item()  # a kept patch
    0.0

    The paper's equation (its released code adds ``scaled=True``):

    >>> paper = GLCMLoss(256, [(0, 1), (1, 0)], "sigmoid", channels="first")
    """

    def __init__(
        self,
        levels: int = 32,
        offsets: Sequence[Offset] = ((0, 1), (1, 0)),
        kernel: KernelName = "gaussian",
        bandwidth: float | None = None,
        value_range: tuple[float, float] = (0.0, 1.0),
        *,
        scaled: bool = False,
        normalized: bool = False,
        pool: Pool = "patch",
        channels: Channels = "all",
        patch_size: int = 16,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        pairs = tuple((int(dy), int(dx)) for dy, dx in offsets)
        check_offsets(pairs, patch_size, patch_size)
        binning = Binning(levels, kernel, bandwidth, value_range)
        self.comparison = Comparison(binning, pairs, scaled, normalized)
        _check_choice("channels", channels, ("all", "first", "luminance"))
        _check_choice("reduction", reduction, ("mean", "sum", "none"))
        if pool not in ("patch", "image") and not (isinstance(pool, int) and pool > 0):
            raise ValueError(f"pool is {pool!r}: give 'patch', 'image' or a number of patches.")
        self.pool: Pool = pool
        self.channels = channels
        self.patch_size = patch_size
        self.reduction = reduction

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compare the textures of two batches of images.

        Parameters
        ----------
        prediction, target : Tensor of float, (B, C, H, W)
            Images on the scale of ``value_range``.
        mask : Tensor, (B, N), optional
            1 where a patch is removed; N patches in row order. Default: all.

        Returns
        -------
        Tensor
            A scalar, or (B, n_groups) for reduction "none". Without a removed patch: 0. NaN if a
            removed patch holds NaN or infinity.

        Raises
        ------
        ValueError
            If the shapes do not fit each other or the patch size.
        """
        self._check_shapes(prediction, target, mask)
        size = self.patch_size
        batch, grid = len(prediction), (target.shape[-2] // size, target.shape[-1] // size)
        if mask is None:
            mask = prediction.new_ones(batch, grid[0] * grid[1])
        groups = group_patches(mask, grid, self.pool)
        dtype = torch.float64 if prediction.dtype == torch.float64 else torch.float32
        distance = prediction.new_zeros(len(groups.owner), dtype=dtype)
        with torch.autocast(prediction.device.type, enabled=False):
            planes = self._planes(prediction.to(dtype)), self._planes(target.detach().to(dtype))
            for p, t in zip(*planes, strict=True):  # (B * N, p, p), a channel at a time
                p, t = p[groups.member], t[groups.member]  # (G, M, p, p)
                valid = groups.valid.to(dtype)
                distance = distance + _Distance.apply(p, t, valid, self.comparison)  # (G,)
                distance = distance + _poison(p, groups.valid) + _poison(t, groups.valid)
            distance = distance / len(planes[0])
        if self.reduction == "none":
            out = prediction.new_zeros(batch * groups.n_groups, dtype=dtype)
            return out.index_put((groups.owner,), distance).view(batch, groups.n_groups)
        total = distance.sum()
        return total if self.reduction == "sum" else total / max(1, len(groups.owner))

    def _planes(self, images: Tensor) -> Tensor:
        """Cut the chosen channels into patches: (B, C, H, W) to (C', B * N, p, p)."""
        if self.channels == "first":
            images = images[:, :1]
        elif self.channels == "luminance" and images.shape[1] == 3:
            luma = images.new_tensor(_LUMA)
            images = (images * luma[:, None, None]).sum(dim=1, keepdim=True)
        size = self.patch_size
        patches = images.unflatten(-1, (-1, size)).unflatten(-3, (-1, size))  # (B, C, y, p, x, p)
        return patches.permute(1, 0, 2, 4, 3, 5).flatten(1, 3)

    def _check_shapes(self, prediction: Tensor, target: Tensor, mask: Tensor | None) -> None:
        if prediction.ndim != 4 or prediction.shape != target.shape:
            raise ValueError(
                f"prediction is {tuple(prediction.shape)} and target {tuple(target.shape)}: "
                "both must be (B, C, H, W) and alike."
            )
        if not (prediction.is_floating_point() and target.is_floating_point()):
            raise ValueError(
                f"prediction is {prediction.dtype} and target {target.dtype}: bring both to "
                "floating point on the scale of value_range."
            )
        height, width = target.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"images of {height}x{width} pixels do not divide into patches of "
                f"{self.patch_size}: choose a patch_size that divides both sides."
            )
        if self.channels == "luminance" and target.shape[1] not in (1, 3):
            raise ValueError(
                f"channels='luminance' needs 1 or 3 channels, not {target.shape[1]}: "
                "choose 'all' or 'first'."
            )
        expected = (len(target), height // self.patch_size * (width // self.patch_size))
        if mask is not None and mask.shape != expected:
            raise ValueError(f"mask is {tuple(mask.shape)}: it must be {expected}, (B, N).")

    def extra_repr(self) -> str:
        """Name the settings when the module is printed."""
        c, b = self.comparison, self.comparison.binning
        return (
            f"levels={b.levels}, offsets={c.offsets}, kernel={b.kernel!r}, "
            f"bandwidth={b.scale:.4g}, value_range={b.value_range}, scaled={c.scaled}, "
            f"normalized={c.normalized}, pool={self.pool!r}, channels={self.channels!r}, "
            f"patch_size={self.patch_size}"
        )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}: choose one of {', '.join(choices)}.")


def _poison(groups: Tensor, valid: Tensor) -> Tensor:
    """0 for each group, or NaN where one of its pixels is NaN or infinite and has no gray level."""
    sums = groups.detach().sum(dim=(2, 3))  # (G, M)
    return sums.masked_fill(~valid, 0).sum(dim=1) * 0


class _Distance(torch.autograd.Function):
    """Distance of all groups; the gradient is computed along with it and kept."""

    @staticmethod
    def forward(
        ctx: Any, prediction: Tensor, target: Tensor, valid: Tensor, comparison: Comparison
    ) -> Tensor:
        compare = _compiled_loop if _runs_compiled(prediction) else _in_chunks
        distance, gradient = compare(prediction, target, valid, comparison)
        ctx.save_for_backward(gradient)
        return distance

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0][:, None, None, None], None, None, None


def _runs_compiled(pixels: Tensor) -> bool:
    return pixels.device.type == "cpu" and find_spec("numba") is not None


def _compiled_loop(
    prediction: Tensor, target: Tensor, valid: Tensor, comparison: Comparison
) -> tuple[Tensor, Tensor]:
    from .fused_cpu import fused_distance  # imports numba, which takes half a second

    counts = valid.sum(dim=1).long()
    return fused_distance(prediction, target, counts, comparison)


def _in_chunks(
    prediction: Tensor, target: Tensor, valid: Tensor, comparison: Comparison
) -> tuple[Tensor, Tensor]:
    """Run a tensor form on a bounded number of groups at a time."""
    binning = comparison.binning
    distance, gradient = prediction.new_empty(len(prediction)), torch.empty_like(prediction)
    # Matrix products do L * L steps a pair, scattering T * T slower ones.
    by_matmul = binning.n_taps**2 > binning.levels
    per_pixel = binning.levels if by_matmul else binning.n_taps**2
    per_group = max(prediction[:1].numel() * per_pixel, binning.levels**2, 1)
    step = max(1, min(len(prediction), _CHUNK // per_group))
    scratch = prediction.new_zeros(2, 0 if by_matmul else step, binning.levels**2)
    for start in range(0, len(prediction), step):
        part = slice(start, start + step)
        chunk = prediction[part], target[part], valid[part], comparison
        if by_matmul:
            distance[part], gradient[part] = matmul_distance(*chunk)
        else:
            distance[part], gradient[part] = sparse_distance(*chunk, scratch)
    return distance, gradient
