"""Looking up the colours of a PALETTE COLOR image (DICOM PS3.3 C.7.6.3.1.5 and C.7.6.3.1.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .dicom_facts import table_of
from .facts import Lookup
from .refusal import Refusal

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["looked_up"]


def looked_up(indices: np.ndarray, header: Dataset, is_little_endian: bool) -> np.ndarray:
    """Turn indices (H, W) into colours (H, W, 3), or gray (H, W, 1) if all of them are.

    Parameters
    ----------
    indices : np.ndarray
        Stored values.
    header : Dataset
        With the tables of red, green and blue.
    is_little_endian : bool
        Byte order of the tables.

    Returns
    -------
    np.ndarray
        uint8 or uint16, as the tables' entries.

    Raises
    ------
    Refusal
        There are no tables, or they are segmented or damaged.
    """
    tables = [_table(header, color, is_little_endian) for color in ("Red", "Green", "Blue")]
    dtype = np.uint8 if tables[0].bits == 8 else np.uint16
    colours = np.stack([table(indices).astype(dtype) for table in tables], axis=-1)
    in_gray = (colours[..., :1] == colours).all()
    return colours[..., :1] if in_gray else colours


def _table(header: Dataset, color: str, is_little_endian: bool) -> Lookup:
    descriptor = header.get(f"{color}PaletteColorLookupTableDescriptor")
    data = header.get(f"{color}PaletteColorLookupTableData")
    if descriptor is None or data is None:
        raise Refusal("has no palette, or one in segments: convert it to RGB.")
    entries, first, bits = (int(number) for number in descriptor)
    entries = entries or 2**16
    values = table_of(data, entries, is_little_endian)
    if len(values) < entries or bits not in (8, 16):
        raise Refusal("has a damaged palette: export it again.")
    if bits == 8 and values.max() > 255:
        values = values >> 8  # 8 bits in the upper half of 16
    return Lookup(first, values[:entries], bits)
