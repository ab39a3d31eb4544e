"""GLCMLoss: the squared difference of soft co-occurrence matrices, as a module of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from .binning import Binning, KernelName
from .comparison import Comparison, offset_weights
from .distance import glcm_distance
from .offsets import Offset
from .patch_loss import Channels, PatchLoss, Reduction
from .patches import Distance, Patches
from .pooling import Pool


class GLCMLoss(PatchLoss):
    """Squared difference of the soft gray-level co-occurrence matrices of two images.

    Images are cut into patches; the GLCMs of the prediction's and the target's removed patches,
    alone or pooled, are compared cell by cell, and the mean over cells and offsets is averaged
    over groups of patches. Runs in float32 (float64 for float64 input) whatever the autocast.
    Gradient flows to the prediction only. It grows with the square of a patch's area: at 16 x 16
    pixels and 32 levels it is some 300 times that of a mean squared error.

    Parameters
    ----------
    levels : int or sequence of int
        Number of gray levels L, 2 to 4,096. The cost hardly depends on it up to 256. Several
        numbers compare the images at as many bandwidths: the losses are averaged after each has
        been multiplied by its L^2 over the largest, which makes them sums over cells of equal
        worth. A wide kernel's gradient points the right way from far off, but tells no two
        textures apart that differ in detail; a narrow one's does, and from far off has no
        direction: the sum has both.
    offsets : sequence of (dy, dx)
        Pixel offsets, smaller than a patch.
    kernel : {"gaussian", "bspline", "linear", "sigmoid"}
        How a pixel is shared between bins; see `Binning`.
    bandwidth : float, optional
        Width of the kernel in intensity units. Default: one bin, or a thirtieth of a bin for
        "sigmoid". This, not ``levels``, decides what the loss teaches: below 0.03 of the range
        (one bin of 32) the gradient has no direction. Not with several numbers of levels.
    value_range : (float, float)
        Ends of the gray scale. Values beyond count as the end and get no gradient: a decoder that
        starts out there learns nothing by this loss alone. At an end itself there is none either,
        for kernels are mirrored there; it grows to its full strength within a bandwidth.
    weights : sequence of float, optional
        How much each offset counts. Default: all alike.
    scaled : bool
        Damp the cells that flat regions fill: G becomes G (S - G) / S, S the sum of G.
    normalized : bool
        Compare GLCMs that sum to one instead of counts: the loss becomes smaller by the square of
        the number of pairs, 57,600 of 16 x 16 pixels, and its gradient hardly depends on the patch
        size any more.
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
    >>> import torch
    >>> loss = GLCMLoss(levels=32, patch_size=16)
    >>> target = torch.rand(2, 1, 32, 32)
    >>> loss(target, target).item() < 1e-30
    True
    >>> prediction = torch.full_like(target, 0.5, requires_grad=True)
    >>> loss(prediction, target, mask=torch.tensor([[1, 0, 0, 1], [0, 0, 1, 1]])).backward()
    >>> prediction.grad[0, :, :16, 16:].abs().max().item()  # a kept patch
    0.0

    The paper's equation (its released code adds ``scaled=True``), and the sum over several
    bandwidths:

    >>> paper = GLCMLoss(256, [(0, 1), (1, 0)], "sigmoid", channels="first")
    >>> several = GLCMLoss((8, 16, 32, 64))
    """

    def __init__(
        self,
        levels: int | Sequence[int] = 32,
        offsets: Sequence[Offset] = ((0, 1), (1, 0)),
        kernel: KernelName = "gaussian",
        bandwidth: float | None = None,
        value_range: tuple[float, float] = (0.0, 1.0),
        *,
        weights: Sequence[float] | None = None,
        scaled: bool = False,
        normalized: bool = False,
        pool: Pool = "patch",
        channels: Channels = "all",
        patch_size: int = 16,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(offsets, pool, channels, patch_size, reduction)
        scales = np.ravel(levels).tolist()
        if not scales or not all(isinstance(n, int) for n in scales):
            raise ValueError(f"levels is {levels!r}: give a number of gray levels, or several.")
        if len(scales) > 1 and bandwidth is not None:
            raise ValueError("bandwidth goes with one number of levels: leave one of them out.")
        self.levels = tuple(scales)
        self.kernel = kernel
        self.weights = offset_weights(weights, len(self.offsets))
        self.scaled, self.normalized = scaled, normalized
        self.comparisons = tuple(
            Comparison(
                Binning(n, kernel, bandwidth, value_range),
                self.offsets,
                scaled,
                normalized,
                self.weights,
            )
            for n in scales
        )
        self.value_range = self.comparisons[0].binning.value_range

    @property
    def bandwidth(self) -> tuple[float, ...]:
        """The kernel's at each of `levels`, in intensity units; `anneal` changes that of one."""
        return tuple(comparison.binning.scale for comparison in self.comparisons)

    def anneal(self, bandwidth: float) -> None:
        """Change the bandwidth, as a schedule does between steps.

        It is no part of ``state_dict``: what goes on with a training sets it again.

        Parameters
        ----------
        bandwidth : float
            In intensity units, above 0.

        Raises
        ------
        ValueError
            If the loss has several numbers of levels, each of a bandwidth of its own.
        """
        if len(self.comparisons) > 1:
            raise ValueError("bandwidth goes with one number of levels: leave one of them out.")
        (comparison,) = self.comparisons
        assert isinstance(comparison.binning, Binning)
        binning = replace(comparison.binning, bandwidth=bandwidth)
        self.comparisons = (replace(comparison, binning=binning),)

    def compare(self, prediction: Tensor, target: Tensor, patches: Patches) -> Distance:
        """Compare groups of patches; see `PatchLoss.compare`."""
        most = max(self.levels)
        worth = [(levels / most) ** 2 / len(self.levels) for levels in self.levels]
        weighted = list(zip(self.comparisons, worth, strict=True))
        return glcm_distance(prediction, target, patches, weighted)

    def extra_repr(self) -> str:
        """Name the settings when the module is printed."""
        bandwidths = ", ".join(f"{bandwidth:.4g}" for bandwidth in self.bandwidth)
        return (
            f"levels={list(self.levels)}, offsets={self.offsets}, kernel={self.kernel!r}, "
            f"bandwidth=[{bandwidths}], value_range={self.value_range}, weights={self.weights}, "
            f"scaled={self.scaled}, normalized={self.normalized}, {self.shared_repr()}"
        )
