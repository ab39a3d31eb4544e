"""One look at each image: all that the audit needs to know of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from glcm_mae.audit.identifiers import Identifiers, no_identifiers, read_identifiers
from glcm_mae.audit.measurements import measure
from glcm_mae.data import (
    Facts,
    Manifest,
    Plane,
    Record,
    UnreadableImage,
    content_hash,
    read_image,
)
from glcm_mae.data.images import is_constant
from glcm_mae.data.record import file_by_file
from glcm_mae.data.thumbnails import SIDE, luminance, thumbnail

__all__ = ["Look", "inspect", "places"]


@dataclass(frozen=True)
class Look:
    """What one image is.

    Parameters
    ----------
    unreadable : str
        Why it cannot be read; "" if it can. Then the rest is empty.
    shape : tuple of int
        (C, H, W).
    facts : Facts or None
        What the file says about its pixels.
    digest : str
        `content_hash` of the pixels.
    thumbnail : Tensor
        (SIDE, SIDE), for comparing images.
    constant : bool
        Whether all pixels have one value.
    measurements : dict
        What `measure` gives.
    identifiers : Identifiers
        What the file tells of whose image it is.

    Examples
    --------
    >>> Look("is empty: export it again.").digest
    ''
    """

    unreadable: str = ""
    shape: tuple[int, ...] = ()
    facts: Facts | None = None
    digest: str = ""
    thumbnail: Tensor = field(default_factory=lambda: torch.zeros(SIDE, SIDE))
    constant: bool = False
    measurements: dict[str, tuple[float, ...]] = field(default_factory=dict)
    identifiers: Identifiers = field(default_factory=no_identifiers)


def inspect(
    manifest: Manifest,
    progress: Callable[[int], None] | None = None,
    source: str = "",
) -> list[Look]:
    """Read every image of a data set once.

    Memory holds some 20 KB an image beside the one or two that are being read.

    Parameters
    ----------
    manifest : Manifest
        The data set.
    progress : callable, optional
        Called after each image with the number done.
    source : str
        What a report would call the set: it may hold an identifier as well.

    Returns
    -------
    list of Look
        In the manifest's order.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from glcm_mae.data import read_manifest
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("L", (4, 3), 7).save(Path(folder, "a.png"))
    ...     Path(folder, "b.png").touch()
    ...     good, bad = inspect(read_manifest(folder))
    >>> good.shape, good.constant, bad.unreadable
    ((1, 3, 4), True, 'is empty: export or copy it again.')
    """
    looks: dict[int, Look] = {}
    order, named = file_by_file(manifest.records), places(manifest)
    with ThreadPoolExecutor(2) as pool:  # decoding holds no lock
        in_order = pool.map(
            partial(_look, source, manifest.plane),
            [manifest.records[n] for n in order],
            [named[n] for n in order],
        )
        for n, look in zip(order, in_order, strict=True):
            looks[n] = look
            if progress is not None:
                progress(len(looks))
    return [looks[n] for n in range(len(manifest))]


def places(manifest: Manifest) -> list[str]:
    """Name each image by its path below the folder that all share, and its frame.

    Parameters
    ----------
    manifest : Manifest
        The data set.

    Returns
    -------
    list of str

    Examples
    --------
    >>> from pathlib import Path
    >>> records = [Record(Path(name), None, "", None) for name in ("x/a/1.png", "x/b/2.png")]
    >>> places(Manifest(tuple(records), (), False))
    ['a/1.png', 'b/2.png']
    """
    paths = [os.path.abspath(record.path) for record in manifest.records]
    shared = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    return [
        os.path.relpath(path, shared) + ("" if record.frame is None else f"#{record.frame}")
        for path, record in zip(paths, manifest.records, strict=True)
    ]


def _look(source: str, plane: Plane, record: Record, place: str) -> Look:
    identifiers = read_identifiers(record.path, place, source)
    try:
        pixels, facts = read_image(record.path, record.frame, plane)
    except UnreadableImage as error:
        return Look(unreadable=error.reason, identifiers=identifiers)
    return Look(
        shape=pixels.shape,
        facts=facts,
        digest=content_hash(pixels),
        thumbnail=thumbnail(luminance(pixels), facts.white_is_zero),
        constant=is_constant(pixels),
        measurements=measure(pixels, facts, record.path.stat().st_size),
        identifiers=identifiers,
    )
