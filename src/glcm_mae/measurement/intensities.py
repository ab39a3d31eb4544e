"""From stored samples to the values that are measured: one channel, in the file's real unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from glcm_mae.data import Facts, UnreadableImage
from glcm_mae.data.windows import Unscalable, rescaled, unit_range
from glcm_mae.settings import MeasurementSettings

__all__ = ["intensities"]

_LUMINANCE = (299, 587, 114)  # thousandths, ITU-R BT.601


def intensities(
    stored: np.ndarray, facts: Facts, settings: MeasurementSettings, path: Path
) -> np.ndarray:
    """Bring an image to the values whose texture is measured.

    Without a window these are the stored values in their real unit (after rescale slope and
    intercept: Hounsfield for CT); with one they run from 0 to 1.

    Parameters
    ----------
    stored : np.ndarray
        Pixels (C, H, W) as `read_image` gives them.
    facts : Facts
        What their file says.
    settings : MeasurementSettings
        Window, colour and polarity.
    path : Path
        Its file, for the error.

    Returns
    -------
    np.ndarray
        (H, W), floating-point.

    Raises
    ------
    UnreadableImage
        The image has colour or stores white as 0 and the settings do not say what to do, or the
        window does not fit it.

    Examples
    --------
    >>> facts = Facts("png", "uint8", 8, "RGB", (0, 255))
    >>> red = np.array([[[250]], [[0]], [[0]]], np.uint8)
    >>> intensities(red, facts, MeasurementSettings(color="gray"), Path("a.png")).tolist()
    [[74.75]]
    """
    if len(stored) == 3 and settings.color != "gray":
        raise UnreadableImage(
            path,
            "is a colour image: give --color gray to measure its luminance (ITU-R BT.601), or "
            "leave it out.",
        )
    if facts.white_is_zero and not settings.invert_monochrome1:
        raise UnreadableImage(
            path,
            f"stores white as 0 ({facts.photometric}): give --invert_monochrome1 true to have such "
            "images inverted, so that a higher value is brighter in all of them.",
        )
    values = _scaled(stored, facts, settings, path)
    return _luminance(values) if len(values) == 3 else values[0]


def _scaled(
    stored: np.ndarray, facts: Facts, settings: MeasurementSettings, path: Path
) -> np.ndarray:
    if settings.window is not None:
        try:
            return unit_range(stored, facts, settings.window)
        except Unscalable as reason:
            raise UnreadableImage(
                path, f"{reason}: give two numbers as --window [LOW,HIGH]."
            ) from None
    values = rescaled(stored, facts)
    if not facts.white_is_zero:
        return values
    if facts.value_range is None:
        raise UnreadableImage(
            path,
            "stores white as 0 in floating-point values, which have no range to invert them in: "
            "give one as --window [LOW,HIGH].",
        )
    ends = rescaled(np.array(facts.value_range), facts)
    return (ends.sum() - values).astype(values.dtype)


def _luminance(values: np.ndarray) -> np.ndarray:
    """Weigh the channels in whole numbers, so that a gray pixel keeps its exact value.

    With weights such as 0.299, a pixel of 100, 100, 100 could become 99.999..., one bin lower.
    """
    weighted = sum(w * c for w, c in zip(_LUMINANCE, values.astype(np.float64), strict=True))
    gray: np.ndarray = weighted / 1000
    return gray
