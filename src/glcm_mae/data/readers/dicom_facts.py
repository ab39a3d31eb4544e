"""From a DICOM header to facts: rescaling, windows, spacing, of the whole file or of one frame."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .facts import Facts, Lookup, Window, full_range
from .refusal import Refusal

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["GRAY", "KEYWORDS", "PHOTOMETRIC", "facts_of", "number_of", "photometric_of", "table_of"]

GRAY = ("MONOCHROME1", "MONOCHROME2")
PHOTOMETRIC = (
    *GRAY,
    "PALETTE COLOR",
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_ICT",
    "YBR_RCT",
)
# PS3.3 C.11.1.1.2; US stands for unspecified.
_UNITS = ("OD", "HU", "US", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT")
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_COLORS = ("Red", "Green", "Blue")

# All that is ever read of a header, besides the pixels.
KEYWORDS = (
    "Modality",
    "ImagerPixelSpacing",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "ModalityLUTSequence",
    "VOILUTSequence",
    *(f"{color}PaletteColorLookupTableDescriptor" for color in _COLORS),
    *(f"{color}PaletteColorLookupTableData" for color in _COLORS),
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)


def facts_of(header: Dataset, frame: int, dtype: np.dtype, is_little_endian: bool) -> Facts:
    """Collect what a header says about the pixels of one frame.

    Parameters
    ----------
    header : Dataset
        The elements `KEYWORDS`, or some of them.
    frame : int
        Which frame, for a header that describes each (functional groups, PS3.3 C.7.6.16).
    dtype : np.dtype
        Type of the decoded samples.
    is_little_endian : bool
        Byte order of the file's tables.

    Returns
    -------
    Facts

    Raises
    ------
    Refusal
        An element that decides what the values mean is not what it must be.
    """
    photometric = photometric_of(header)
    width = 8 * dtype.itemsize
    bits = min(number_of(header, "BitsStored", default=width), width)
    common: dict[str, Any] = {
        "format": "dicom",
        "dtype": dtype.name,
        "bits": bits,
        "photometric": photometric,
        "value_range": full_range(dtype, bits),
        "frames": number_of(header, "NumberOfFrames", default=1) or 1,
        "spacing": _spacing(header, frame),
    }
    if photometric not in GRAY:
        return Facts(**common)
    rescale = _macro(header, frame, "PixelValueTransformationSequence")
    voi = _macro(header, frame, "FrameVOILUTSequence")
    facts = Facts(
        **common,
        slope=_finite(rescale, "RescaleSlope", 1.0),
        intercept=_finite(rescale, "RescaleIntercept", 0.0),
        unit=_unit(header, rescale),
        modality_lut=_lookup(header, "ModalityLUTSequence", is_little_endian),
        windows=_windows(voi),
    )
    voi_lut = _lookup(voi, "VOILUTSequence", is_little_endian)
    return replace(facts, voi_lut=_with_sign(voi_lut, facts) if voi_lut is not None else None)


def photometric_of(header: Dataset) -> str:
    """Read the photometric interpretation, one of `PHOTOMETRIC`."""
    photometric = str(header.get("PhotometricInterpretation", ""))
    if photometric not in PHOTOMETRIC:
        raise Refusal("has no photometric interpretation that is read here: export it again.")
    return photometric


def number_of(header: Dataset, keyword: str, default: int | None = None) -> int:
    """Read an element that must be one whole number."""
    value = header.get(keyword)
    if value in (None, "") and default is not None:
        return default
    try:
        return int(value)
    except (TypeError, ValueError):
        raise Refusal(f"has no {keyword} that is a number: export it again.") from None


def table_of(data: object, entries: int, is_little_endian: bool) -> np.ndarray:
    """Read the entries (n,) of a lookup table, which lie in bytes or in pairs of them."""
    if not isinstance(data, bytes):
        return np.array(data, dtype=np.uint16).reshape(-1)
    if len(data) in (entries, entries + 1):  # padded to an even length
        return np.frombuffer(data, np.uint8, entries).astype(np.uint16)
    return np.frombuffer(data, "<u2" if is_little_endian else ">u2").astype(np.uint16)


def _macro(header: Dataset, frame: int, name: str) -> Dataset:
    """Find the item that describes a frame: its own, the shared one, or the whole header."""
    each = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    for group in (*each[frame : frame + 1], *shared[:1]):
        item = group.get(name)
        if item:
            return item[0]
    return header


def _numbers(header: Dataset, keyword: str) -> list[float]:
    """Read an element of finite numbers; none if it is not that."""
    try:
        value = header.get(keyword)
        values = [] if value in (None, "") else np.atleast_1d(np.array(value, float)).tolist()
    except (TypeError, ValueError):
        return []
    return values if all(math.isfinite(number) for number in values) else []


def _finite(header: Dataset, keyword: str, default: float) -> float:
    if header.get(keyword) in (None, ""):
        return default
    numbers = _numbers(header, keyword)
    if len(numbers) != 1 or (keyword == "RescaleSlope" and numbers[0] == 0):
        raise Refusal(f"has no {keyword} that is a number: export it again.")
    return numbers[0]


def _unit(header: Dataset, rescale: Dataset) -> str:
    """Name the unit: what the header says, else Hounsfield for a CT that is rescaled."""
    stated = str(rescale.get("RescaleType") or "")
    if stated:
        return stated if stated in _UNITS else "US"
    return "HU" if header.get("Modality") == "CT" and "RescaleIntercept" in rescale else "US"


def _windows(header: Dataset) -> tuple[Window, ...]:
    function = str(header.get("VOILUTFunction") or "LINEAR")
    if function not in _FUNCTIONS:
        return ()
    least = 1 if function == "LINEAR" else 0
    pairs = zip(_numbers(header, "WindowCenter"), _numbers(header, "WindowWidth"), strict=False)
    return tuple(
        Window(center, width, function)
        for center, width in pairs
        if width >= least and width > 0
    )  # fmt: skip


def _lookup(header: Dataset, name: str, is_little_endian: bool) -> Lookup | None:
    """Read the first table of a sequence (PS3.3 C.11.1 and C.11.2)."""
    items = header.get(name)
    if not items:
        return None
    entries, first, bits = (int(number) for number in items[0].LUTDescriptor)
    entries = entries or 2**16  # 0 stands for what 16 bits cannot say
    values = table_of(items[0].LUTData, entries, is_little_endian)
    if len(values) < entries or not 1 <= bits <= 16:
        raise Refusal(f"has a damaged table in its {name}: export it again.")
    return Lookup(first, values[:entries], bits)


def _with_sign(table: Lookup, facts: Facts) -> Lookup:
    """Take a first input that no value reaches for a negative one.

    An implicit transfer syntax does not tell whether it is signed; pydicom goes by the stored
    pixels, but the table is of values after rescaling (PS3.3 C.11.2.1.1).
    """
    if facts.modality_lut is not None or facts.value_range is None:
        return table
    reached = [facts.slope * end + facts.intercept for end in facts.value_range]
    if min(reached) < 0 and table.first > max(reached) and table.first >= 2**15:
        return replace(table, first=table.first - 2**16)
    return table


def _spacing(header: Dataset, frame: int) -> tuple[float, float] | None:
    measures = _macro(header, frame, "PixelMeasuresSequence")
    for source, keyword in ((measures, "PixelSpacing"), (header, "ImagerPixelSpacing")):
        numbers = _numbers(source, keyword)
        if len(numbers) == 2 and min(numbers) > 0:
            return numbers[0], numbers[1]
    return None
