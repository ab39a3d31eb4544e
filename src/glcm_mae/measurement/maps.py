"""A map of one feature: its value in a window around each pixel of an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from glcm_mae.data import count_frames, one_line, read_image
from glcm_mae.errors import UserError
from glcm_mae.measurement.checks import check_distance, check_settings
from glcm_mae.measurement.gray_levels import gray_levels
from glcm_mae.measurement.intensities import intensities
from glcm_mae.settings import TextureMapSettings
from glcm_mae.texture import FEATURE_NAMES, directions, texture_map

__all__ = ["FeatureMap", "feature_map"]


@dataclass(frozen=True)
class FeatureMap:
    """An image and a feature around each of its pixels.

    Parameters
    ----------
    image : np.ndarray
        (H, W), the intensities that were measured.
    values : np.ndarray
        (H, W) float32; NaN where no pixel pair lies in the window.
    levels : int
        Number of gray levels.

    Examples
    --------
    >>> FeatureMap(np.zeros((4, 4)), np.zeros((4, 4), np.float32), levels=32).levels
    32
    """

    image: np.ndarray
    values: np.ndarray
    levels: int


def feature_map(settings: TextureMapSettings) -> FeatureMap:
    """Read an image and compute the map of a feature.

    Parameters
    ----------
    settings : TextureMapSettings
        The image, how it is read and binned, the feature and the window.

    Returns
    -------
    FeatureMap

    Raises
    ------
    UserError
        A setting is out of range, the image cannot be read as the settings say, or no pixel pair
        is left to measure.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.effect_noise((20, 16), 50).save(f"{folder}/a.png")
    ...     found = feature_map(TextureMapSettings(image=f"{folder}/a.png", out="a.npy"))
    >>> found.values.shape
    (16, 20)
    """
    s = settings
    check_settings(s)
    check_distance(s.distance)
    if s.feature not in FEATURE_NAMES:
        raise UserError(f"feature is {s.feature!r}: set it to one of {', '.join(FEATURE_NAMES)}.")
    if s.window_size < 3 or s.window_size % 2 == 0:
        raise UserError(
            f"window_size is {s.window_size}: set it to an odd number of pixels, 3 or more, so "
            "that the window has a pixel in its middle."
        )
    if s.distance >= s.window_size:
        raise UserError(
            f"distance is {s.distance}, which reaches across a window of {s.window_size} pixels: "
            "set window_size higher."
        )
    path = _one_image(s)
    name = one_line(path)
    stored, facts = read_image(path, s.frame, s.plane)
    image = intensities(stored, facts, s, path)
    if s.window_size > max(image.shape):
        raise UserError(
            f"window_size is {s.window_size} and {name} has {image.shape[0]} x {image.shape[1]} "
            "pixels: set a window that the image holds."
        )
    values = torch.from_numpy(image)
    codes, inside, levels = gray_levels(values, torch.ones_like(values, dtype=torch.bool), s, name)
    steps = [(dy, dx) for dy, dx in directions(2, s.distance)]
    found = texture_map(codes, levels, s.feature, s.window_size, offsets=steps, mask=inside)
    if found.isnan().all():
        raise UserError(
            f"{name} holds no pixel pair to measure: set --range to values that it has, or give an "
            "image of more pixels."
        )
    return FeatureMap(image, found.numpy(), levels)


def _one_image(settings: TextureMapSettings) -> Path:
    path = Path(settings.image)
    if path.is_dir():
        raise UserError(f"{path} is a folder: give one image.")
    if settings.frame is None and path.exists() and (n := count_frames(path, settings.plane)) > 1:
        raise UserError(f"{one_line(path)} holds {n} images: give one as --frame, 0 to {n - 1}.")
    return path
