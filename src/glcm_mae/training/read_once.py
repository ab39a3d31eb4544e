"""The images that were read last, for the next stage that reads the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from glcm_mae.data import LoadedImages, Manifest
from glcm_mae.data.packed import file_states
from glcm_mae.settings import DataSettings

_Key = tuple[object, ...]

_last: list[dict[_Key, LoadedImages]] = []  # empty but within `reading_once`


@contextmanager
def reading_once() -> Iterator[None]:
    """Keep what is read within, until other images are read or it is left.

    The cells of a study read the same images again and again: of 50,000 of 512 x 512 that takes
    minutes each time.

    Examples
    --------
    >>> with reading_once():
    ...     pass
    """
    _last.append({})
    try:
        yield
    finally:
        _last.pop()


def read_once(
    data: DataSettings, manifest: Manifest, read: Callable[[], LoadedImages]
) -> LoadedImages:
    """Read images, or take them from the last reading if it was of the same files in the same way.

    Parameters
    ----------
    data : DataSettings
        How they are read.
    manifest : Manifest
        Which images; labels, patients and sides do not matter.
    read : callable
        Reads them.

    Returns
    -------
    LoadedImages
        Not to be written to.
    """
    if not _last:
        return read()
    known, key = _last[-1], _key(data, manifest)
    if key not in known:
        known.clear()  # before, not after: two of them might not fit
        known[key] = read()
    return known[key]


def _key(data: DataSettings, manifest: Manifest) -> _Key:
    """Tell images from others by their files, as these are now, and by how they are read."""
    way = repr(replace(data, images="", patient_regex=None, fold=None, folds=0, split_seed=0))
    states = file_states(manifest.records)
    return way, *((record.path, record.frame, states[record.path]) for record in manifest.records)
