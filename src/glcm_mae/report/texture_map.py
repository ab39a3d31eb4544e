"""A picture of an image beside the map of a texture feature, or the map's bare values."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from glcm_mae.files import write_atomically
from glcm_mae.measurement import FeatureMap
from glcm_mae.settings import TextureMapSettings

from .figures import png

__all__ = ["MAP_ENDINGS", "draw_map", "unit_of", "write_map"]

MAP_ENDINGS = (".png", ".npy", ".tif", ".tiff")
"""Endings of the files that a map can be written to."""

_PANEL = 2.9  # inches: the two panels and their scale fill the text width of a paper
_POWERS = {  # of the gray level, in features that have a unit
    **dict.fromkeys(("joint_average", "difference_average", "sum_average", "dissimilarity"), 1),
    **dict.fromkeys(("joint_variance", "difference_variance", "sum_variance", "contrast"), 2),
    **dict.fromkeys(("autocorrelation", "cluster_tendency"), 2),
    "cluster_shade": 3,
    "cluster_prominence": 4,
}


def unit_of(feature: str) -> str:
    """Tell the unit of a feature.

    Parameters
    ----------
    feature : str
        One of `glcm_mae.texture.FEATURE_NAMES`.

    Returns
    -------
    str
        "bits", a power of "gray levels", or "" for a number without a unit.

    Examples
    --------
    >>> unit_of("joint_entropy"), unit_of("contrast"), unit_of("correlation")
    ('bits', 'gray levels²', '')
    """
    if feature.endswith("entropy"):
        return "bits"
    return ("", "gray levels", "gray levels²", "gray levels³", "gray levels⁴")[
        _POWERS.get(feature, 0)
    ]


def write_map(found: FeatureMap, settings: TextureMapSettings) -> None:
    """Write a map as its file's ending says: a picture, or the values in float32.

    Parameters
    ----------
    found : FeatureMap
        The image and the map.
    settings : TextureMapSettings
        What it is a map of, and the file.

    Raises
    ------
    UserError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> found = FeatureMap(np.eye(8), np.ones((8, 8), np.float32), levels=32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_map(found, TextureMapSettings(image="a.png", out=f"{folder}/map.npy"))
    ...     np.load(f"{folder}/map.npy").shape
    (8, 8)
    """
    path = Path(settings.out)
    buffer = io.BytesIO()
    if path.suffix.lower() == ".png":
        buffer.write(draw_map(found, settings))
    elif path.suffix.lower() == ".npy":
        np.save(buffer, found.values)
    else:
        import tifffile

        tifffile.imwrite(buffer, found.values, photometric="minisblack", metadata=None)
    write_atomically(path, buffer.getvalue())


def draw_map(found: FeatureMap, settings: TextureMapSettings) -> bytes:
    """Draw an image and, beside it in the same size, the map of a feature with its scale.

    The image runs from black to white over the range that was measured, or else over its own. The
    map's scale runs from its 2nd to its 98th percentile, beyond which the scale's pointed ends
    stand: a burnt-in letter would take nearly all of it otherwise.

    Parameters
    ----------
    found : FeatureMap
        The image, and the map; where the map is NaN it is gray.
    settings : TextureMapSettings
        What it is a map of.

    Returns
    -------
    bytes
        A PNG of 300 dots an inch.

    Examples
    --------
    >>> found = FeatureMap(np.eye(8), np.ones((8, 8), np.float32), levels=32)
    >>> draw_map(found, TextureMapSettings(image="a.png", out="map.png"))[1:4]
    b'PNG'
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from mpl_toolkits.axes_grid1 import ImageGrid  # type: ignore[import-untyped]

    height, width = found.image.shape
    tall = min(2.0, height / width)  # a strip is drawn narrow, not on a page of its own length
    rows, columns = (1, 2) if tall > 0.5 else (2, 1)
    figure = Figure(figsize=(_PANEL * columns + 1.0, _PANEL * tall * rows + 0.8 * rows))
    grid = ImageGrid(
        figure, 111, (rows, columns), axes_pad=(0.2, 0.35), cbar_mode="single", cbar_pad=0.1,
        cbar_size=0.12,
    )  # fmt: skip
    own = float(found.image.min()), float(found.image.max())
    # An open end lies where the image ends.
    low, high = (np.clip(end, *own) if np.isinf(end) else end for end in settings.range or own)
    grid[0].imshow(found.image, cmap="gray", vmin=low, vmax=high)
    viridis = colormaps["viridis"].with_extremes(bad="0.6")
    ends = np.nanpercentile(found.values, (2, 98)) if np.isfinite(found.values).any() else (0, 1)
    values = np.ma.masked_invalid(found.values)
    drawn = grid[1].imshow(values, cmap=viridis, vmin=ends[0], vmax=ends[1])
    feature, size = settings.feature.replace("_", " "), settings.window_size
    grid[1].set_title(
        f"{feature}, {size} × {size} pixels\n{_binning(found, settings)}", fontsize=8, loc="left"
    )
    for axes in grid:
        axes.set_xlabel("x (pixels)", fontsize=8)
        axes.set_ylabel("y (pixels)", fontsize=8)
        axes.tick_params(labelsize=7)
    bar = grid.cbar_axes[0].colorbar(drawn, extend="both")
    bar.set_label(unit_of(settings.feature), fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return png(figure, dpi=300, bbox_inches="tight")


def _binning(found: FeatureMap, settings: TextureMapSettings) -> str:
    """Say how gray levels were made: maps of other levels do not compare."""
    parts = [settings.binning.replace("_", " "), f"{found.levels} levels"]
    if settings.range is not None:
        parts.append(f"{settings.range[0]:g} to {settings.range[1]:g}")
    if settings.bin_width is not None:
        parts.append(f"{settings.bin_width:g} wide")
    return ", ".join(parts)
