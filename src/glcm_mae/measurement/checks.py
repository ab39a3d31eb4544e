"""What is wrong with settings, said before the first image is read."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from glcm_mae.errors import UserError
from glcm_mae.settings import FeaturesSettings, MeasurementSettings
from glcm_mae.texture.inputs import MAX_LEVELS

__all__ = ["check_distance", "check_features", "check_settings"]


def check_settings(settings: MeasurementSettings) -> None:
    """Refuse settings that are out of range or contradict each other.

    Parameters
    ----------
    settings : MeasurementSettings
        What the user gave.

    Raises
    ------
    UserError
        Naming the setting.

    Examples
    --------
    >>> check_settings(MeasurementSettings(levels=0))
    Traceback (most recent call last):
    ...
    glcm_mae.errors.UserError: levels is 0: set it from 1 to 65,536.
    """
    s = settings
    if not 1 <= s.levels <= MAX_LEVELS:
        raise UserError(f"levels is {s.levels}: set it from 1 to {MAX_LEVELS:,}.")
    if isinstance(s.window, Sequence) and not isinstance(s.window, str):
        _check_window(s.window)
    if s.range is not None:
        _check_range(s.range, s.binning)
    if s.has_bin_width:
        if s.bin_width is None:
            raise UserError(
                f"binning {s.binning} needs the width of a bin: give --bin_width, in the unit of "
                "the values."
            )
        if not (s.bin_width > 0 and isfinite(s.bin_width)):
            raise UserError(f"bin_width is {s.bin_width}: set it above 0.")
        if s.window is not None and s.bin_width >= 1:
            raise UserError(
                f"bin_width is {s.bin_width:g}, but a window makes all values 0 to 1: give a share "
                "of that, or --range in place of --window."
            )
    elif s.bin_width is not None:
        raise UserError(
            f"bin_width is {s.bin_width:g}, which binning {s.binning} does not use: give --binning "
            "fixed_bin_size, or leave it out."
        )
    if s.binning == "range" and s.range is None and s.window is None:
        raise UserError(
            "binning range needs the range that is cut into bins: give --range [LOW,HIGH], in the "
            "unit of the values."
        )


def check_features(settings: FeaturesSettings) -> None:
    """Refuse settings of the table of features as `check_settings` does, and its own.

    Parameters
    ----------
    settings : FeaturesSettings
        What the user gave.

    Raises
    ------
    UserError
        Naming the setting.

    Examples
    --------
    >>> check_features(FeaturesSettings(images="a.png", out="a.csv", spacing=0))
    Traceback (most recent call last):
    ...
    glcm_mae.errors.UserError: spacing is 0: set it above 0, in mm.
    """
    check_settings(settings)
    s = settings
    for distance in s.distances:
        check_distance(distance)
    if len(set(s.distances)) < max(1, len(s.distances)):
        raise UserError(f"distance is {s.distances}: give one or more, none of them twice.")
    if s.spacing is not None and not (s.spacing > 0 and isfinite(s.spacing)):
        raise UserError(f"spacing is {s.spacing:g}: set it above 0, in mm.")
    if s.spacing is None and s.interpolation != "linear":
        raise UserError(
            f"interpolation {s.interpolation} is for resampling: give --spacing, in mm, or leave "
            "it out."
        )
    if s.outliers is not None and not s.outliers > 0:
        raise UserError(f"outliers is {s.outliers:g}: set it above 0, in standard deviations.")
    if s.round_values and s.window is not None:
        raise UserError(
            "round_values is for values in their unit, and a window makes them 0 to 1: leave one "
            "of them out."
        )


def check_distance(distance: int) -> None:
    """Refuse a distance at which there are no pairs of pixels.

    Parameters
    ----------
    distance : int
        In pixels.

    Raises
    ------
    UserError
        If it is below 1.

    Examples
    --------
    >>> check_distance(0)
    Traceback (most recent call last):
    ...
    glcm_mae.errors.UserError: distance is 0: set it to 1 pixel or more.
    """
    if distance < 1:
        raise UserError(f"distance is {distance}: set it to 1 pixel or more.")


def _check_window(ends: Sequence[float]) -> None:
    if not (_are_finite(ends) and ends[0] < ends[1]):
        raise UserError(f"window is {list(ends)}: give two finite numbers, the lower one first.")


def _check_range(ends: Sequence[float], binning: str) -> None:
    """Refuse what is no range, or open where values are counted from its end or scaled by it."""
    given = f"range is {list(ends)}"
    if not ends[0] < ends[1]:
        raise UserError(f"{given}: give two numbers, the lower one first.")
    if binning == "range" and not _are_finite(ends):
        raise UserError(f"{given}, which binning range cuts into bins: give two finite numbers.")
    if binning == "fixed_bin_size" and not isfinite(ends[0]):
        raise UserError(f"{given}, at whose lower end the first bin starts: give a finite one.")


def _are_finite(ends: Sequence[float]) -> bool:
    return all(map(isfinite, ends))
