"""Texture maps: one feature in a window around each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor

from .features import FEATURE_NAMES
from .inputs import check_ndim, check_tensors, region_of
from .region_features import image_features
from .windows import windows

# Windows whose features are held at a time.
_CHUNK = 2**15


def texture_map(
    images: Tensor,
    levels: int,
    feature: str | Sequence[str] = "joint_entropy",
    window: int = 15,
    *,
    stride: int = 1,
    offsets: Sequence[tuple[int, int]] | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Compute a feature, or several, in a window around each pixel.

    The pairs of all offsets in a window are merged into one symmetric matrix (``aggregation=
    "merged"`` of `glcm_mae.texture.image_features`, which by default averages the offsets' features
    instead). At the border the window is cut off: only pairs inside the image count. Beside the map
    itself, the memory needed does not depend on the height of the image.

    Parameters
    ----------
    images : Tensor of integers, (..., H, W)
        Gray levels in ``[0, levels)``; see `glcm_mae.texture.quantize`.
    levels : int
        Number of gray levels.
    feature : str or sequence of str
        One of ``FEATURE_NAMES``, or several, which take no longer.
    window : int
        Side of the window in pixels, odd.
    stride : int
        Step between windows: 1 gives a value for each pixel, s for the first of every s rows and
        columns.
    offsets : sequence of (dy, dx), optional
        The 4 directions at distance 1 if not given.
    mask : Tensor, broadcastable to ``images``, optional
        Region of interest: a pair counts only where both its pixels' values are not 0.

    Returns
    -------
    Tensor of float32, (..., ceil(H / stride), ceil(W / stride))
        NaN where no pair lies in the window. Of several features (..., F, height, width).

    Raises
    ------
    ValueError
        If the feature is unknown, the window is even or below 3, or the images are not integers in
        range.

    Examples
    --------
    >>> image = torch.zeros(20, 20, dtype=torch.uint8)
    >>> image[:, 10:] = torch.randint(0, 8, (20, 10))
    >>> entropy = texture_map(image, 8, "joint_entropy", window=5)
    >>> entropy.shape, bool(entropy[10, 2] == 0), bool(entropy[10, 17] > 2)
    (torch.Size([20, 20]), True, True)
    """
    check_tensors(images=images, mask=mask)
    check_ndim(2, images=images)
    names = (feature,) if isinstance(feature, str) else tuple(feature)
    if not names:
        raise ValueError("feature is empty: give one name or more.")
    for name in names:
        if name not in FEATURE_NAMES:
            raise ValueError(f"feature is {name!r}: choose one of {', '.join(FEATURE_NAMES)}.")
    if not isinstance(window, int | Integral) or window < 3 or window % 2 == 0:
        raise ValueError(f"window is {window}: it must be odd and 3 or more, to have a centre.")
    if not images.shape[-1] or not images.shape[-2]:
        raise ValueError(f"images are {tuple(images.shape)}: they have no pixel.")
    which, reach = [FEATURE_NAMES.index(name) for name in names], window // 2
    inside = torch.ones_like(images, dtype=torch.bool) if mask is None else region_of(mask, images)
    border = (reach, reach, reach, reach)
    views = [
        windows(torch.nn.functional.pad(x, border), window, stride) for x in (images, inside)
    ]  # (..., h, w, window, window)
    lead, (height, width) = images.shape[:-2], views[0].shape[-4:-2]
    result = images.new_empty((*lead, len(names), height, width), dtype=torch.float32)
    step = max(1, _CHUNK // max(1, lead.numel() * width))
    for start in range(0, height, step):
        rows = [view.narrow(-4, start, min(step, height - start)) for view in views]
        values = image_features(rows[0], levels, offsets, aggregation="merged", mask=rows[1])
        result[..., start : start + step, :] = values[..., which].movedim(-1, -3)
    return result[..., 0, :, :] if isinstance(feature, str) else result
