"""PairKernelLoss: the texture loss without bins."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .comparison import Comparison, offset_weights
from .distance import glcm_distance
from .grid import GaussianGrid
from .inputs import check_range
from .offsets import Offset
from .patch_loss import Channels, PatchLoss, Reduction
from .patches import Distance, Patches
from .pooling import Pool


class PairKernelLoss(PatchLoss):
    """Kernel distance between the pixel pairs of two images: a GLCM with infinitely many levels.

    The pixel pairs of a patch, one offset apart, are points in a plane of two gray levels. The loss
    is the squared maximum mean discrepancy between the prediction's points and the target's with
    the kernel ``exp(-|u - v|^2 / 4 b^2)``: each predicted pair is drawn towards the true ones
    around it and pushed off the predicted ones. It is what `GLCMLoss` with a Gaussian kernel of
    bandwidth ``b`` becomes as the levels become infinitely many, has no bins whose edges could
    favour a gray level, and reaches a few ``b`` far: pairs that lie further from all true ones are
    not drawn. Begin wide, so that far pairs are drawn in, and narrow it, so that details are told
    apart (`anneal`).

    It lies between 0 and 2 whatever the patch size. Evaluated on a grid (`GaussianGrid`) in a time
    that grows with the number of pairs, not with its square; values up to half the range beyond
    its ends take part, further ones count as lying there and get no gradient.

    Parameters
    ----------
    bandwidth : float
        ``b``, in intensity units; 0.0005 of the range or more.
    offsets, pool, channels, patch_size, reduction
        As in `GLCMLoss`.
    value_range : (float, float)
        Ends of the gray scale.
    weights : sequence of float, optional
        How much each offset counts. Default: all alike.

    Raises
    ------
    ValueError
        If a setting is out of its range, or does not fit the images.

    References
    ----------
    Gretton, Borgwardt, Rasch, Schölkopf, Smola, "A Kernel Two-Sample Test", JMLR 13, 2012.

    Examples
    --------
    >>> import torch
    >>> loss = PairKernelLoss(bandwidth=0.1)
    >>> dark, bright = torch.full((1, 1, 16, 16), 0.2), torch.full((1, 1, 16, 16), 0.3)
    >>> round(loss(dark, bright).item(), 4)  # 2 - 2 exp(-2 (0.1)^2 / 4 (0.1)^2)
    0.7869
    >>> loss.anneal(0.01)
    >>> round(loss(dark, bright).item(), 4)
    2.0
    """

    value_range: tuple[float, float]
    _reach_beyond = 0.5

    def __init__(
        self,
        bandwidth: float = 0.05,
        offsets: Sequence[Offset] = ((0, 1), (1, 0)),
        value_range: tuple[float, float] = (0.0, 1.0),
        *,
        weights: Sequence[float] | None = None,
        pool: Pool = "patch",
        channels: Channels = "all",
        patch_size: int = 16,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(offsets, pool, channels, patch_size, reduction)
        self.value_range = check_range(value_range)
        self.weights = offset_weights(weights, len(self.offsets))
        self.anneal(bandwidth)

    def anneal(self, bandwidth: float) -> None:
        """Change the bandwidth, as a schedule does between steps.

        It is no part of ``state_dict``: what goes on with a training sets it again.

        Parameters
        ----------
        bandwidth : float
            In intensity units; 0.0005 of the range or more.
        """
        grid = GaussianGrid(bandwidth, self.value_range)
        # The grid's matrices count pairs; the discrepancy is between means over pairs.
        size = self.patch_size
        pairs = [(size - abs(dy)) * (size - abs(dx)) for dy, dx in self.offsets]
        parts = tuple(w / n**2 for w, n in zip(self.weights, pairs, strict=True))
        self._bandwidth = grid.bandwidth
        self.comparison = Comparison(grid, self.offsets, weights=parts)
        self._unit = sum(parts) * (grid.levels / grid.mass) ** 2

    @property
    def bandwidth(self) -> float:
        """The kernel's, in intensity units; `anneal` changes it."""
        return self._bandwidth

    def compare(self, prediction: Tensor, target: Tensor, patches: Patches) -> Distance:
        """Compare groups of patches; see `PatchLoss.compare`."""
        return glcm_distance(prediction, target, patches, [(self.comparison, self._unit)])

    def extra_repr(self) -> str:
        """Name the settings when the module is printed."""
        return (
            f"bandwidth={self.bandwidth:.4g}, offsets={self.offsets}, "
            f"value_range={self.value_range}, weights={self.weights}, {self.shared_repr()}"
        )
