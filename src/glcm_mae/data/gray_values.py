"""The gray values of a set of images: counted, compared, and brought to another set's scale."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glcm_mae.data.memory import in_memory
from glcm_mae.data.pixels import Pixels

__all__ = [
    "GRAY_VALUES",
    "Counts",
    "count_gray_values",
    "gray_value_distance",
    "match_gray_values",
]

_PER_BYTE = 16  # 8-bit values lie on a level; what resizing puts between them, near one
_LEVELS = 255 * _PER_BYTE + 1

GRAY_VALUES: NDArray[np.float64] = np.linspace(0, 1, _LEVELS)
"""The values (L,), from 0 to 1, at which gray values are counted."""

Counts = NDArray[np.int64]
"""How often each of `GRAY_VALUES` occurs (C, L), channel by channel."""


def count_gray_values(images: Iterable[Tensor]) -> Counts:
    """Count how often each gray value occurs in a set of images.

    Parameters
    ----------
    images : iterable of Tensor, (C, H, W)
        One or more in [0, 1]: a tensor (N, C, H, W) is one.

    Returns
    -------
    ndarray of int64, (C, L)
        For each channel, how many pixels lie nearest to each of `GRAY_VALUES`.

    Examples
    --------
    >>> counts = count_gray_values(torch.tensor([0.0, 0.2, 0.2, 1.0]).view(1, 1, 2, 2))
    >>> occurring = counts[0].nonzero()[0]
    >>> GRAY_VALUES[occurring].round(3).tolist(), counts[0, occurring].tolist()
    ([0.0, 0.2, 1.0], [1, 2, 1])
    """
    return reduce(np.add, map(_counted, images))


def gray_value_distance(counts: Counts, others: Counts) -> float:
    """Say how far the gray values of two sets are apart (Kolmogorov and Smirnov's distance).

    Parameters
    ----------
    counts, others : ndarray of int64, (C, L)
        Of the two sets, from `count_gray_values`.

    Returns
    -------
    float
        The largest difference, over values and channels, between the shares of pixels that are
        at most so bright: 0 for sets with equal histograms, 1 for sets without a common range.

    Examples
    --------
    >>> dark, bright = torch.full((1, 1, 4, 4), 0.2), torch.full((1, 1, 4, 4), 0.8)
    >>> gray_value_distance(count_gray_values(dark), count_gray_values(bright))
    1.0
    """
    shares, theirs = (
        np.cumsum(found, axis=1) / found.sum(axis=1, keepdims=True) for found in (counts, others)
    )
    return float(np.abs(shares - theirs).max())


def match_gray_values(pixels: Pixels, reference: Counts, source: Counts | None = None) -> Tensor:
    """Bring a set of images to the scale of another set by one rising curve for all its pixels.

    The curve sends each gray value to that of the same rank in the other set (histogram
    specification; Gonzalez and Woods, *Digital Image Processing*, section 3.3), so that what a
    scanner's gain or an export has done to gray values alone is undone, whatever it was, and what
    tells one image of the set from another stays. It cannot know why two sets differ: where one
    has other patients in the main (more fat, more lesions), that difference is taken away, too.

    The least and the greatest value of each set, as a rule background and what is cut off, are
    sent to each other and not counted, for their share tells how an image is framed. A channel that
    has one value throughout stays as it is.

    Parameters
    ----------
    pixels : Tensor or Picked
        Images (N, C, H, W) in [0, 1], of one source: from a single image the curve would take
        what makes it another than the rest.
    reference : ndarray of int64, (C, L)
        Of the other set, from `count_gray_values`. Channels are matched one by one.
    source : ndarray of int64, (C, L), optional
        Likewise of all images of this source. Default: of these.

    Returns
    -------
    Tensor, (N, C, H, W)
        float32, in [0, 1].

    Raises
    ------
    ValueError
        If the sets have other numbers of channels.
    UserError
        If the result takes more memory than is left.

    Examples
    --------
    >>> study = torch.rand(20, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> brighter = 0.3 + 0.7 * study**0.8
    >>> matched = match_gray_values(brighter, count_gray_values(study))
    >>> bool((matched - study).abs().max() < 0.002)
    True
    """
    if len(reference) != pixels.shape[1]:
        raise ValueError(
            f"the images have {pixels.shape[1]} channel(s) and the reference {len(reference)}: "
            "read both alike."
        )
    matched = in_memory(tuple(pixels.shape), "match fewer at a time")
    source = count_gray_values(pixels) if source is None else source
    curves = [_curve(*both) for both in zip(source, reference, strict=True)]
    for image, result in zip(pixels, matched, strict=True):
        for channel, to, curve in zip(image, result, curves, strict=True):
            to.copy_(channel if curve is None else _bent(channel, *curve))
    return matched


def _counted(image: Tensor) -> Counts:
    levels = (image * (_LEVELS - 1)).round().long().flatten(1)  # (C, H * W)
    return np.stack([torch.bincount(of, minlength=_LEVELS).numpy() for of in levels])


def _bent(channel: Tensor, values: NDArray[np.float64], sent: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.interp(channel.numpy(), values, sent))


def _curve(
    counts: NDArray[np.int64], reference: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Find the points of the curve: values that occur (K,), and those that they are sent to.

    None where a single value occurs, which has no rank.
    """
    if np.count_nonzero(counts) == 1:
        return None
    (low, *values, high), ranks = _ranks(counts)
    (their_low, *theirs, their_high), their_ranks = _ranks(reference)
    if not theirs or not values:
        sent = np.interp(values, (low, high), (their_low, their_high))
    else:
        sent = np.interp(ranks, their_ranks, theirs)
    points = np.array([low, *values, high])
    return points, np.array([their_low, *sent, their_high])


def _ranks(counts: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the values that occur (K,), and the ranks in [0, 1] of those between the ends (K - 2,).

    The rank of a value is the share of pixels below it and half of those that have it, so that
    sets with equal histograms are sent to themselves.
    """
    occurring = np.flatnonzero(counts)
    ends = occurring[[0, -1]]  # of a reference of a single value twice the same
    inner = occurring[1:-1]
    n = counts[inner]
    ranks = (np.cumsum(n) - n / 2) / max(n.sum(), 1)
    return GRAY_VALUES[[ends[0], *inner, ends[1]]], ranks
