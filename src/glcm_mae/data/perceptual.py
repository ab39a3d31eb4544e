"""Fingerprints that survive re-encoding: to know an image again without keeping it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from glcm_mae.data.symmetries import SYMMETRIES, Symmetry
from glcm_mae.data.thumbnails import band

__all__ = [
    "APART",
    "alike_in_hashes",
    "hash_distances",
    "have_copies",
    "is_perceptual_hash",
    "perceptual_hashes",
]

_POINTS = 17  # of a thumbnail's band, along both axes
_STEPS = 2 * _POINTS * (_POINTS - 1)  # between neighbours, to the right and down
_NOTHING = "0" * (_STEPS // 2)  # no step up or down, in the digits of a hash
_FLAT = 0.1  # of the band's deviation: a smaller step is neither up nor down
_LEAST = 160  # of 544 steps must be up or down: small bodies on black are too much alike
# Chosen on 903 chest X-rays and 780 breast ultrasound images (`benchmarks/near_duplicates.py`): two
# images of which none is a copy of the other are 0.40 apart or more, 98 of 100 JPEGs 0.07 or less.
# Steps of the gray values themselves, as libraries hash them, tell less: by 12 x 12 of them,
# different chest X-rays differ in 7 of 100 bits or more, copies in up to 7, for all chests are
# bright and dark in the same places.
APART = 0.25
_ROWS = 256  # bounds the memory and changes no result


def perceptual_hashes(thumbnails: Tensor) -> list[str]:
    """Write down where images become brighter and darker, after Wong, Bern and Goldberg (2002).

    Of the `band` of a thumbnail, at 17 x 17 points, each step to the right and down is up, down or
    flat: 1,088 bits. Brightness, contrast and size are gone, and compression changes few of them.

    Parameters
    ----------
    thumbnails : Tensor
        (N, SIDE, SIDE), of `thumbnail`.

    Returns
    -------
    list of str
        272 hexadecimal digits each; "" for an image of too few steps to be told from another.

    References
    ----------
    Wong, Bern, Goldberg, "An image signature for any kind of image", ICIP 2002.

    Examples
    --------
    >>> from glcm_mae.data.thumbnails import thumbnail
    >>> scene = np.random.default_rng(0).random((80, 80))
    >>> small = [thumbnail(gray) for gray in (scene, 100 + 20 * scene, 0 * scene)]
    >>> one, same, flat = perceptual_hashes(torch.stack(small))
    >>> len(one), one == same, flat
    (272, True, '')
    """
    size = (_POINTS, _POINTS)
    points = F.interpolate(band(thumbnails)[:, None], size, mode="bilinear", antialias=True)[:, 0]
    steps = torch.cat([points.diff(dim=2).flatten(1), points.diff(dim=1).flatten(1)], dim=1)
    bits = torch.cat([steps > _FLAT, steps < -_FLAT], dim=1).numpy()  # (N, 1088)
    packed = np.packbits(bits, axis=1)
    enough = bits.sum(axis=1) >= _LEAST
    return [row.tobytes().hex() if told else "" for row, told in zip(packed, enough, strict=True)]


def is_perceptual_hash(text: str) -> bool:
    """Whether a text is one of `perceptual_hashes`.

    Examples
    --------
    >>> is_perceptual_hash(272 * "0"), is_perceptual_hash(""), is_perceptual_hash("0")
    (True, True, False)
    """
    return re.fullmatch(rf"([0-9a-f]{{{len(_NOTHING)}}})?", text) is not None


def have_copies(hashes: Sequence[str], others: Sequence[str]) -> np.ndarray:
    """Tell which images have a copy among others: re-encoded, resized, brightened or mirrored.

    A copy is what is no more than 0.25 apart (`hash_distances`). A crop of more than 1% on each
    side hides it: within one set, `near_duplicates` finds those, too. A million pairs take some
    30 ms of one core, or a quarter of a second where all images are much alike.

    Parameters
    ----------
    hashes, others : sequence of str
        Of `perceptual_hashes`; "" is a copy of nothing.

    Returns
    -------
    np.ndarray
        (N,) bool.

    Examples
    --------
    >>> scenes = torch.randn(3, 64, 64)
    >>> others = perceptual_hashes(torch.cat([scenes[:1].flip(2), scenes[1:2]]))
    >>> have_copies(perceptual_hashes(scenes), others).tolist()
    [True, True, False]
    """
    found = np.zeros(len(hashes), dtype=bool)
    for _, row, _ in alike_in_hashes(hashes, others):
        found[row] = True
    return found


def alike_in_hashes(
    hashes: Sequence[str], others: Sequence[str] | None = None
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Find the pairs of images that are no more than 0.25 apart (`hash_distances`).

    Nearly all pairs are told apart without trying eight symmetries: of each hash, the bits that
    symmetries put in each other's place are sorted, and two images share no more in any pose than
    their sorted hashes do.

    Parameters
    ----------
    hashes : sequence of str
        Of `perceptual_hashes`; "" is alike to nothing.
    others : sequence of str, optional
        What they are compared with. Default: the hashes themselves, each pair once.

    Yields
    ------
    done : int
        How many of the hashes were looked at.
    row, column : Tensor of int64, (P,)
        The pairs found since the last time, sorted: positions in ``hashes`` and in ``others``.

    Examples
    --------
    >>> one, other = perceptual_hashes(torch.randn(2, 64, 64))
    >>> [(done, row, column)] = alike_in_hashes([one, other, one])
    >>> done, row.tolist(), column.tolist()
    (3, [0], [2])
    """
    against = hashes if others is None else others
    theirs = torch.empty(len(against), 2 * _STEPS)
    for start in range(0, len(against), _ROWS):
        theirs[start : start + _ROWS] = _sorted(_unpacked(against[start : start + _ROWS]))
    counts = theirs.sum(dim=1)  # (M,)
    for start in range(0, len(hashes), _ROWS):
        some = hashes[start : start + _ROWS]
        first = start if others is None else 0
        ours = _sorted(_unpacked(some))  # (R, 1088)
        count = ours.sum(dim=1, keepdim=True) + counts[first:]  # (R, M)
        at_least = _jaccard(ours @ theirs[first:].T, count)
        near = torch.nonzero((at_least <= APART).any(dim=0)).flatten() + first
        apart = hash_distances(some, [against[n] for n in near.tolist()])
        row, column = torch.nonzero(apart <= APART, as_tuple=True)
        row, column = row + start, near[column]
        if others is None:
            later = row < column
            row, column = row[later], column[later]
        yield start + len(some), row, column


def hash_distances(hashes: Sequence[str], others: Sequence[str]) -> Tensor:
    """Measure how far images are apart, in that of the square's eight symmetries that is nearest.

    Jaccard's distance: of the steps that either image has, the share that the two do not share.

    Parameters
    ----------
    hashes, others : sequence of str
        Of `perceptual_hashes`; "" is 1 from all.

    Returns
    -------
    Tensor
        (N, M) float32, 0 for copies to 1.

    Examples
    --------
    >>> scene = torch.randn(1, 64, 64)
    >>> hash_distances(perceptual_hashes(scene), perceptual_hashes(scene.mT)).tolist()
    [[0.0]]
    """
    ours, theirs = _unpacked(hashes), _unpacked(others)
    count = ours.sum(dim=1, keepdim=True) + theirs.sum(dim=1)  # (N, M)
    shared = torch.zeros_like(count)
    for symmetry in SYMMETRIES:
        shared = torch.maximum(shared, _posed(ours, symmetry) @ theirs.T)
    return _jaccard(shared, count)


def _jaccard(shared: Tensor, count: Tensor) -> Tensor:
    """Distance of sets that have so many bits in common, and counted one by one so many.

    Both are written over: of 256 images and 30,000, each matrix more takes 30 MB.
    """
    return shared.div_(count.sub_(shared).clamp_min_(1)).neg_().add_(1)


def _unpacked(hashes: Sequence[str]) -> Tensor:
    """Bits (N, 1088) as float32, of which a product of matrices counts the shared ones."""
    whole = "".join(text or _NOTHING for text in hashes)
    packed = np.frombuffer(bytes.fromhex(whole), dtype=np.uint8).reshape(len(hashes), _STEPS // 4)
    return torch.from_numpy(np.unpackbits(packed, axis=1)).float()


def _posed(bits: Tensor, symmetry: Symmetry) -> Tensor:
    """Turn what was written down of images (N, 1088) as their pixels would be."""
    signs = bits[:, :_STEPS] - bits[:, _STEPS:]
    right = signs[:, : _STEPS // 2].view(-1, _POINTS, _POINTS - 1)
    down = signs[:, _STEPS // 2 :].view(-1, _POINTS - 1, _POINTS)
    if symmetry.transposed:
        right, down = down, right
    right, down = symmetry(right), symmetry(down)
    if symmetry.flipped_columns:
        right = -right
    if symmetry.flipped_rows:
        down = -down
    steps = torch.cat([right.flatten(1), down.flatten(1)], dim=1)
    return torch.cat([steps > 0, steps < 0], dim=1).float()


def _sorted(bits: Tensor) -> Tensor:
    """Sort the bits (N, 1088) of each orbit: those that symmetries put in each other's place."""
    member, orbit, rank = _orbits()
    return ((bits @ member)[:, orbit] > rank).float()


@cache
def _orbits() -> tuple[Tensor, Tensor, Tensor]:
    """Tell which bits are of which orbit (1088, K); of each bit, its orbit and its rank in it."""
    single = torch.eye(2 * _STEPS)
    places = torch.stack([_posed(single, symmetry).argmax(dim=1) for symmetry in SYMMETRIES])
    _, orbit = places.amin(dim=0).unique(return_inverse=True)  # (1088,), 0 to K - 1
    member = F.one_hot(orbit).float()  # (1088, K)
    rank = (member.cumsum(dim=0) - member)[torch.arange(2 * _STEPS), orbit]
    return member, orbit, rank
