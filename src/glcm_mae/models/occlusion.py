"""Which patches a classifier goes by: what becomes of its answer where they are left out.

An image is not painted over, as in the occlusion maps of Zeiler and Fergus (2014), which a network
has never seen: a vision transformer takes an image without some of its tokens as it is (Jain et
al. 2022, "Missingness bias in model debugging"), and one pre-trained as a masked autoencoder has
seen little else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Classify = Callable[[Tensor, Tensor | None], Tensor]
"""Maps images (B, C, H, W) and the patches to keep (B, K), or None for all, to logits."""


def log_odds(logits: Tensor, classes: Tensor) -> Tensor:
    """Logarithm of p / (1 - p) of one class of each image.

    Parameters
    ----------
    logits : Tensor, (B, K)
        Of K classes, 2 or more.
    classes : Tensor of int64, (B,)
        Which is meant.

    Returns
    -------
    Tensor, (B,)

    Examples
    --------
    >>> log_odds(torch.tensor([[0.0, 2.0], [0.0, 2.0]]), torch.tensor([1, 0])).tolist()
    [2.0, -2.0]
    """
    own = logits.gather(1, classes[:, None])
    others = logits.scatter(1, classes[:, None], -torch.inf)
    return own[:, 0] - others.logsumexp(dim=1)


@torch.no_grad()
def occlusion_maps(
    classify: Classify, images: Tensor, grid: tuple[int, int], classes: Tensor, window: int
) -> Tensor:
    """By how much the log-odds of a class fall where a square of patches is left out.

    The square goes over all places; a patch gets the mean over those that hold it.

    Parameters
    ----------
    classify : callable
        See `Classify`.
    images : Tensor, (B, C, H, W)
        The images.
    grid : (int, int)
        Patches per column and row.
    classes : Tensor of int64, (B,)
        The class of each image that is asked about.
    window : int
        Side of the square in patches: odd, and not so wide that it covers an image.

    Returns
    -------
    Tensor, (B, rows, columns)
        Above 0 where a patch speaks for the class, below where it speaks against.
    """
    reach = window // 2
    whole = log_odds(classify(images, None), classes)
    fall = images.new_zeros(len(images), *grid)
    times = images.new_zeros(grid)
    for row, column in itertools.product(*map(range, grid)):
        square = tuple(slice(max(0, at - reach), at + reach + 1) for at in (row, column))
        kept = torch.ones(grid, dtype=torch.bool)
        kept[square] = False
        keep = kept.flatten().nonzero()[:, 0].to(images.device).expand(len(images), -1)
        change = whole - log_odds(classify(images, keep), classes)
        fall[:, *square] += change[:, None, None]
        times[square] += 1
    return fall / times


@torch.no_grad()
def log_odds_without(
    classify: Classify, images: Tensor, classes: Tensor, order: Tensor, shares: Sequence[float]
) -> Tensor:
    """Log-odds of a class where the first patches of an order are left out.

    If a map is right, its order makes them fall sooner than a random one: the test of Samek et al.
    (2017), here without patches that are painted over.

    Parameters
    ----------
    classify : callable
        See `Classify`.
    images : Tensor, (B, C, H, W)
        The images.
    classes : Tensor of int64, (B,)
        The class of each image that is asked about.
    order : Tensor of int64, (B, N)
        The patches, those first that are left out first.
    shares : sequence of float
        Shares of the patches that are left out, in [0, 1): one patch at least stays.

    Returns
    -------
    Tensor, (B, len(shares))
    """
    n = order.shape[1]
    counts = [min(round(share * n), n - 1) for share in shares]
    odds = [log_odds(classify(images, order[:, count:]), classes) for count in counts]
    return torch.stack(odds, dim=1)
