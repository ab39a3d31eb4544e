"""Finding images that are copies of others: the same pixels, or the same picture changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from glcm_mae.data.groups import joined_groups
from glcm_mae.data.images import content_hash, is_constant
from glcm_mae.data.manifest import Manifest, Record
from glcm_mae.data.perceptual import alike_in_hashes, perceptual_hashes
from glcm_mae.data.readers import Plane, UnreadableImage, read_image
from glcm_mae.data.record import file_by_file
from glcm_mae.data.registration import agreement, register
from glcm_mae.data.symmetries import POSES, SYMMETRIES, WINDOWS
from glcm_mae.data.thumbnails import SIDE, band, luminance, thumbnail

__all__ = ["NearDuplicate", "Progress", "copy_groups", "duplicate_groups", "near_duplicates"]

Progress = Callable[[str, int], None]
"""Takes what is being done, such as "comparing images", and with how many images it is done."""

# Both chosen on pairs made from a chest X-ray set (`benchmarks/near_duplicates.py`): copies cut by
# 5% had cosines from 0.67, distinct images' best seldom reached 0.5; registered copies agreed by
# 0.85 and more, the most similar distinct images by 0.75.
_CANDIDATE = 0.5
AGREEMENT = 0.78

_SIDE = 16  # of the descriptor
_COARSE = 32  # side at which registration starts
_PRIOR = 100  # images' worth of "every direction varies alike" added to the set's own covariance
_RIDGE = 0.1  # of the mean variance: below it, a direction is noise and not turned up further
# Blocks: they bound the memory and change no result.
_ROWS, _COLUMNS, _PAIRS, _PART = 2048, 64, 64, 256


@dataclass(frozen=True)
class NearDuplicate:
    """Two images that show the same picture.

    Parameters
    ----------
    first, second : int
        Their positions, first < second.
    agreement : float
        Normalised cross-correlation of their structure, registered where they do not lie alike.
    turned : bool
        Whether one is mirrored or turned against the other.

    Examples
    --------
    >>> NearDuplicate(3, 9, agreement=0.97, turned=True).second
    9
    """

    first: int
    second: int
    agreement: float
    turned: bool


def near_duplicates(thumbnails: Tensor, progress: Progress | None = None) -> list[NearDuplicate]:
    """Find pairs that differ by resizing, re-encoding, mirroring, brightness or a slight crop.

    Two steps. First every image is described by 256 numbers: its `band` at 16 x 16 pixels, with
    what all images of the set share removed by whitening with the set's own covariance (the
    outline of a chest or of a scan sector tells nothing about a copy). The description is
    compared with those of all images under the eight symmetries of the square, whole and in five
    windows, by matrix products. Then the few pairs that are alike are registered (scale and shift
    along both axes) and correlated at 64 x 64 pixels; at 0.78 and above they count as copies.
    Where one scene is most of the set, as the frames of a long clip, it is itself what all images
    share: so pairs whose perceptual hashes are those of copies are correlated before, as they lie.

    Time grows with the square of the number of images: about a second of one core for 1,000, half
    a minute for 10,000, ten minutes for 50,000. Memory is some 6 KB an image beside its thumbnail.

    Parameters
    ----------
    thumbnails : Tensor
        (N, SIDE, SIDE), of `thumbnail`. Those without a perceptual hash match nothing: constant
        ones, and bodies that fill less than about a sixth of a black image, such as the end slices
        of a head, whose outlines are alike in all.
    progress : callable, optional
        Called now and then.

    Returns
    -------
    list of NearDuplicate
        Sorted by position. Of identical images every pair is listed.

    Examples
    --------
    >>> scenes = torch.randn(3, 64, 64)
    >>> copies = near_duplicates(torch.cat([scenes, scenes[1:2].flip(-1)]))
    >>> [(pair.first, pair.second, pair.turned) for pair in copies]
    [(1, 3, True)]
    """
    hashes = [text for part in thumbnails.split(_PART) for text in perceptual_hashes(part)]
    structured = torch.tensor([n for n, text in enumerate(hashes) if text], dtype=torch.int64)
    images = thumbnails
    if len(structured) < len(thumbnails):  # else not copied: 16 KB an image
        images = thumbnails[structured]
    if len(images) < 2:
        return []
    found: dict[tuple[int, int], NearDuplicate] = {}

    def looked_at(
        look: Callable[[Tensor], Tensor], fixed: Tensor, moving: Tensor, poses: list[int]
    ) -> tuple[Tensor, Tensor]:
        """Show both images of pairs, (P, H, H) twice, the second ones in their poses."""
        # In one batch, for a convolution of a single image differs in the last digits.
        first, second = look(images[torch.cat([fixed, moving])]).split(len(fixed))
        return first, _turned(second, poses)

    def keep(fixed: Tensor, moving: Tensor, poses: list[int], correlations: Tensor) -> None:
        pairs = zip(structured[fixed].tolist(), structured[moving].tolist(), strict=True)
        for (one, other), pose, correlation in zip(
            pairs, poses, correlations.tolist(), strict=True
        ):
            key = (min(one, other), max(one, other))
            if correlation >= max(AGREEMENT, found[key].agreement if key in found else 0.0):
                turned = POSES[pose].symmetry != POSES[0].symmetry
                found[key] = NearDuplicate(*key, correlation, turned)

    told = [text for text in hashes if text]
    for pairs in _in_blocks(_alike_in_hashes(images, told, progress)):
        keep(*pairs, agreement(*looked_at(band, *pairs), _placed(pairs[2])))
    known = set(found)  # registering takes longest
    for pairs in _in_blocks(_unlike(known, structured, _candidates(images, progress))):
        place = register(*looked_at(_coarse, *pairs), _placed(pairs[2]), steps=8)
        seen = looked_at(band, *pairs)
        keep(*pairs, agreement(*seen, register(*seen, place, steps=6)))
    return [found[key] for key in sorted(found)]


def duplicate_groups(manifest: Manifest, progress: Progress | None = None) -> np.ndarray:
    """Group the images of a data set that are copies or near-copies of each other.

    Parameters
    ----------
    manifest : Manifest
        The data set. An image that cannot be read is a group of its own.
    progress : callable, optional
        Called after each image that was read, and now and then as they are compared.

    Returns
    -------
    np.ndarray
        Group (N,) int64 of each image, numbered from 0.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from glcm_mae.data.manifest import read_manifest
    >>> rng = np.random.default_rng(0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     scenes = [Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8)) for _ in "ab"]
    ...     for name, scene in zip("abc", [*scenes, scenes[0].resize((96, 96))]):
    ...         scene.save(Path(folder, f"{name}.png"))
    ...     duplicate_groups(read_manifest(folder)).tolist()
    [0, 1, 0]
    """
    small = torch.zeros(len(manifest), SIDE, SIDE)
    hashes = [""] * len(manifest)
    look = partial(_looked_at, manifest.plane)
    order = file_by_file(manifest.records)
    with ThreadPoolExecutor(2) as pool:  # decoding holds no lock
        looks = pool.map(look, [manifest.records[n] for n in order])
        for done, (n, (digest, image)) in enumerate(zip(order, looks, strict=True), start=1):
            small[n], hashes[n] = image, digest
            if progress is not None:
                progress("reading images", done)
    return copy_groups(hashes, near_duplicates(small, progress))


def copy_groups(hashes: Sequence[str], pairs: Sequence[NearDuplicate]) -> np.ndarray:
    """Find the groups of images that are linked by equal pixels or by pairs.

    Parameters
    ----------
    hashes : sequence of str
        `content_hash` of each of N images; "" for one that could not be read, and for a constant
        one: the empty end slices of two volumes are no copies.
    pairs : sequence of NearDuplicate
        What `near_duplicates` found among them.

    Returns
    -------
    np.ndarray
        Group (N,) int64 of each image.

    Examples
    --------
    >>> copy_groups(["e3", "07", "e3", "", ""], [NearDuplicate(1, 3, 0.9, turned=False)]).tolist()
    [0, 1, 0, 1, 2]
    """
    unread = [digest or f"unread {number}" for number, digest in enumerate(hashes)]
    return joined_groups(unread, links=[(pair.first, pair.second) for pair in pairs])


def _looked_at(plane: Plane, record: Record) -> tuple[str, Tensor]:
    try:
        pixels, facts = read_image(record.path, record.frame, plane)
    except UnreadableImage:
        return "", torch.zeros(SIDE, SIDE)
    digest = "" if is_constant(pixels) else content_hash(pixels)
    return digest, thumbnail(luminance(pixels), facts.white_is_zero)


def _candidates(
    images: Tensor, progress: Progress | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield pairs worth a closer look: positions (P,), (P,), and the pose (P,) of the second."""
    described = _by_parts(_described, images)  # (N, 256)
    whiten = _whitening(described)
    fixed = whiten(described)
    # Written over again and again: to be given as much anew takes half as long as to fill it.
    space = torch.empty(min(_ROWS, len(images)) * len(POSES) * min(_COLUMNS, len(images)))
    for start in range(0, len(images), _COLUMNS):
        block = images[start : start + _COLUMNS]
        parts = [_described(window(block)).unflatten(1, (_SIDE, _SIDE)) for window in WINDOWS]
        # Mirroring an image mirrors its band. In the order of POSES: (V, B, 256)
        posed = torch.stack(
            [whiten(turn(part).flatten(1)) for part in parts for turn in SYMMETRIES]
        )
        for top in range(0, len(images), _ROWS):
            rows = fixed[top : top + _ROWS]
            shape = len(rows), len(posed), len(block)
            cosine = space[: math.prod(shape)].view(len(rows), -1)
            cosine = torch.mm(rows, posed.flatten(0, 1).T, out=cosine).view(shape)
            # The poses of the few pairs alone: to find the best of all takes ten times as long.
            row, column = torch.nonzero(cosine.amax(1) >= _CANDIDATE, as_tuple=True)
            apart = row + top != column + start
            row, column = row[apart], column[apart]
            if len(row):
                yield row + top, column + start, cosine[row, :, column].argmax(1)
        if progress is not None:
            progress("comparing images", start + len(block))


def _alike_in_hashes(
    images: Tensor, hashes: Sequence[str], progress: Progress | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield pairs as `_candidates` does, whatever else is in the set."""
    plain = F.normalize(_by_parts(_described, images), dim=1)  # (N, 256)
    for done, row, column in alike_in_hashes(hashes):
        if len(row):
            square = plain[column].unflatten(1, (_SIDE, _SIDE))  # (P, 16, 16)
            cosines = [(plain[row] * turn(square).flatten(1)).sum(1) for turn in SYMMETRIES]
            yield row, column, torch.stack(cosines).argmax(0)
        if progress is not None:
            progress("comparing fingerprints", done)


def _unlike(
    known: Collection[tuple[int, int]],
    places: Tensor,
    candidates: Iterator[tuple[Tensor, Tensor, Tensor]],
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Leave out the pairs that are known already, by the places of their images."""
    for row, column, pose in candidates:
        one, other = places[row], places[column]
        keys = zip(
            torch.minimum(one, other).tolist(), torch.maximum(one, other).tolist(), strict=True
        )
        new = torch.tensor([key not in known for key in keys])
        if new.any():
            yield row[new], column[new], pose[new]


def _placed(poses: Sequence[int]) -> Tensor:
    """Where each pose's window lies: (P, 4)."""
    return torch.tensor([POSES[pose].placement() for pose in poses])


def _whitening(descriptions: Tensor) -> Callable[[Tensor], Tensor]:
    """Learn what the images of a set have in common; return the function that takes it out.

    Few images say little about a covariance, so it is shrunk towards the identity, and the mean
    towards 0, as if `_PRIOR` images without any common structure were in the set.
    """
    n = len(descriptions)
    mean = descriptions.sum(0) / (n + _PRIOR)
    centred = descriptions - mean
    variance, directions = torch.linalg.eigh((centred.T @ centred / n).double())
    ridge = max(_RIDGE, _PRIOR / n) * variance.clamp_min(0).mean()
    matrix = (directions / (variance.clamp_min(0) + ridge).sqrt()).float()  # (256, 256)

    return lambda rows: F.normalize((rows - mean) @ matrix, dim=1)


def _described(images: Tensor) -> Tensor:
    """Band of images (N, H, H) at 16 x 16 pixels: (N, 256)."""
    return band(_resized(images, _SIDE)).flatten(1)


def _coarse(images: Tensor) -> Tensor:
    return band(_resized(images, _COARSE))


def _by_parts(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Apply a function to a few images at a time: its intermediate results are large."""
    return torch.cat([function(part) for part in images.split(_PART)])


def _resized(images: Tensor, side: int) -> Tensor:
    return F.interpolate(images[:, None], (side, side), mode="bilinear", antialias=True)[:, 0]


def _turned(images: Tensor, poses: Sequence[int]) -> Tensor:
    """Apply to each image (P, H, H) the symmetry of its pose."""
    pairs = zip(images, poses, strict=True)
    return torch.stack([POSES[pose].symmetry(image) for image, pose in pairs])


def _in_blocks(
    candidates: Iterator[tuple[Tensor, Tensor, Tensor]],
) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
    for block in candidates:
        for fixed, moving, pose in zip(*(part.split(_PAIRS) for part in block), strict=True):
            yield fixed, moving, pose.tolist()
