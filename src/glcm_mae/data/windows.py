"""From stored values to [0, 1]: rescaling to the real unit, then a window or the full range."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glcm_mae.data.readers import Facts, Lookup, Window

__all__ = ["CT_WINDOWS", "Unscalable", "rescaled", "unit_range"]

CT_WINDOWS = {
    "lung": (-1350.0, 150.0),
    "soft_tissue": (-150.0, 250.0),
    "bone": (-500.0, 1300.0),
}
"""Windows for CT by name: the Hounsfield values that become 0 and 1.

Level and width are -600 and 1500 (lung), 50 and 400 (soft tissue of the abdomen), 400 and 1800
(bone), after Murphy et al., "Windowing (CT)", Radiopaedia.org, doi:10.53347/rID-52108.
"""


class Unscalable(Exception):  # noqa: N818 (named after what is found)
    """Why values cannot come to [0, 1] as asked: a sentence without its subject, the file."""


def rescaled(pixels: np.ndarray, facts: Facts) -> np.ndarray:
    """Turn stored values into their real unit, by the file's own slope and intercept or table.

    Parameters
    ----------
    pixels : np.ndarray
        As `read_image` gives them, of any shape.
    facts : Facts
        What their file says.

    Returns
    -------
    np.ndarray
        Of the same shape: float32 for samples of up to 16 bits, float64 for wider ones, in which
        neither loses a digit of a stored value.

    Examples
    --------
    >>> facts = Facts("dicom", "int16", 16, "MONOCHROME2", None, slope=2, intercept=-1024)
    >>> rescaled(np.array([0, 512], np.int16), facts).tolist()
    [-1024.0, 0.0]
    """
    if facts.modality_lut is not None:
        pixels = facts.modality_lut(pixels)
    values = _as_float(pixels)
    if facts.slope != 1:
        values *= facts.slope
    if facts.intercept != 0:
        values += facts.intercept
    return values


def unit_range(
    pixels: np.ndarray, facts: Facts, window: tuple[float, float] | str | None = None
) -> np.ndarray:
    """Scale stored values to [0, 1], where 1 is what shall be shown white.

    Parameters
    ----------
    pixels : np.ndarray
        As `read_image` gives them, of any shape.
    facts : Facts
        What their file says.
    window : (float, float) or str, optional
        The values, in the real unit (after slope and intercept: Hounsfield for CT), that become 0
        and 1, those beyond are clamped; or a name from `CT_WINDOWS`; or "file" for the file's own
        first lookup table or window (DICOM PS3.3 C.11.2). Without it the full range of the stored
        bits does, and nothing is clamped.

    Returns
    -------
    np.ndarray
        float32, of the same shape. MONOCHROME1 and MINISWHITE images are inverted.

    Raises
    ------
    Unscalable
        There is no full range, no such window in the file, or the values are no Hounsfield units.

    Examples
    --------
    >>> facts = Facts("dicom", "int16", 16, "MONOCHROME2", (-32768, 32767), intercept=-1000)
    >>> unit_range(np.array([400, 1600], np.int16), facts, "lung").tolist()
    [0.5, 1.0]
    """
    if window is None:
        values = _by_full_range(pixels, facts)
    elif window == "file":
        values = _by_own_window(pixels, facts)
    elif isinstance(window, str):
        _check_hounsfield(facts, window)
        values = _linear(rescaled(pixels, facts), *CT_WINDOWS[window])
    else:
        values = _linear(rescaled(pixels, facts), *window)
    if facts.white_is_zero:
        np.subtract(1, values, out=values)
    return values.astype(np.float32, copy=False)


def _as_float(pixels: np.ndarray) -> NDArray[np.floating]:
    """Copy into the least type that holds every value."""
    fits = pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32
    return pixels.astype(np.float32) if fits else pixels.astype(np.float64)


def _by_full_range(pixels: np.ndarray, facts: Facts) -> np.ndarray:
    if facts.value_range is None:
        raise Unscalable("holds floating-point values, which have no full range")
    if facts.is_rescaled:
        raise Unscalable("holds values that its header rescales to a real unit")
    low, high = facts.value_range
    if low < 0:
        raise Unscalable("holds signed values, whose full range no image fills")
    values = _as_float(pixels)
    values /= high
    return values


def _by_own_window(pixels: np.ndarray, facts: Facts) -> np.ndarray:
    values = rescaled(pixels, facts)
    if facts.voi_lut is not None:
        return _looked_up(values, facts.voi_lut)
    if not facts.windows:
        raise Unscalable("has no window of its own")
    window = facts.windows[0]
    if window.function == "SIGMOID":
        # 1 / (1 + exp(-4 z)), which would overflow far below the window.
        return 0.5 + 0.5 * np.tanh(2 * (values - window.center) / window.width)
    return _linear(values, *_ends(window))


def _ends(window: Window) -> tuple[float, float]:
    """Tell the values that become 0 and 1 (DICOM PS3.3 C.11.2.1.2.1 and C.11.2.1.3.2)."""
    if window.function == "LINEAR_EXACT":
        return window.center - window.width / 2, window.center + window.width / 2
    low = window.center - 0.5 - (window.width - 1) / 2
    return low, low + window.width - 1


def _looked_up(values: np.ndarray, table: Lookup) -> np.ndarray:
    entries = table(np.rint(values)).astype(np.float32)
    entries /= 2**table.bits - 1
    return entries


def _linear(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if low == high:  # a window of width 1 is a threshold
        return (values > low).astype(np.float32)
    values -= low
    values /= high - low
    return np.clip(values, 0, 1, out=values)


def _check_hounsfield(facts: Facts, window: str) -> None:
    """Refuse a CT window on values that cannot be Hounsfield units: air is -1000."""
    least = -np.inf if facts.value_range is None else facts.value_range[0]
    if facts.unit == "HU" or (facts.unit is None and least * facts.slope + facts.intercept < 0):
        return
    raise Unscalable(f"is no CT in Hounsfield units, in which the window {window} is given")
