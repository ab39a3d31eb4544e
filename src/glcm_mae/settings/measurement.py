"""Texture features and maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass
class MeasurementSettings:
    """How texture is measured: the values and their gray levels.

    Parameters
    ----------
    color : str
        auto (gray images as they are, colour images are refused) or gray (their luminance).
    window : (float, float) or str, optional
        Values that become 0 and 1, those beyond too, in the file's real unit (Hounsfield for CT);
        or lung, soft_tissue or bone; or file, the DICOM file's own first window. Default: the
        values in their real unit, none of them changed.
    invert_monochrome1 : bool
        Invert the images that store white as 0 (DICOM's MONOCHROME1); without it they are refused.
    plane : str
        How volumes (NIfTI, NRRD, MetaImage) are cut into slices: axial, coronal, sagittal.
    binning : str
        fixed_bin_number (the region's own range is cut into levels bins), fixed_bin_size (bins of
        bin_width from the lower end of range, or from 0), pyradiomics (as that by default: bins of
        bin_width from the multiple of it at or below the region's least value), range (range is
        cut into levels bins).
    levels : int
        Number of gray levels, except with a bin_width.
    bin_width : float, optional
        Width of a bin of a fixed size, in the unit of the values.
    range : (float, float), optional
        Values that are measured; pixels beyond are left out of the region. An end may be open:
        -1000,inf. With a window, which runs from 0 to 1, that is the default of binning range.
    """

    color: Literal["auto", "gray"] = "auto"
    window: tuple[float, float] | Literal["lung", "soft_tissue", "bone", "file"] | None = None
    invert_monochrome1: bool = False
    plane: Literal["axial", "coronal", "sagittal"] = "axial"
    binning: Literal["fixed_bin_number", "fixed_bin_size", "pyradiomics", "range"] = (
        "fixed_bin_number"
    )
    levels: int = 32
    bin_width: float | None = None
    range: tuple[float, float] | None = None

    @property
    def has_bin_width(self) -> bool:
        """Whether bins are of a given width, and their number is each region's own."""
        return self.binning in ("fixed_bin_size", "pyradiomics")


@dataclass(kw_only=True)
class FeaturesSettings(MeasurementSettings):
    """Measure the texture of images: the 25 GLCM features of IBSI, as a table.

    Parameters
    ----------
    images : str
        An image, a folder of images, or a manifest (CSV); a file of several images stands for all.
    out : str
        The table to write (CSV).
    masks : str, optional
        Where each image's mask lies: a folder with files of the images' names; or a file, with
        {folder} and {name} for the image's folder and its name without the ending. 0 is outside,
        each other number a region of its own. Masks of others are left out of the images. Default:
        as the column mask of a manifest says, if it has one.
    per : str
        image, or patient: the unweighted mean over each patient's images, of masks with several
        numbers one row for each.
    patient_regex : str, optional
        Finds the patient in a file's name (its first group, or the whole match).
    aggregation : str
        averaged (over the 4 directions) or merged (the pairs of all), slice by slice; or IBSI's
        name of a way over the volume that the images of a file make. The 3-D ways take voxels for
        cubes, the others pixels for squares.
    distance : int or list of int
        Steps between the two pixels of a pair, along each of the 4 directions (13 in the 3-D ways).
        Of several distances, as [1,2,4], each has a row of its own.
    spacing : float, optional
        Side in mm of the pixels (in the 3-D ways: voxels) that images and masks are resampled to
        first, each slice in its plane alone unless the way is 3-D. Default: none, as stored.
    interpolation : str
        How values are resampled: linear or cubic (splines). Masks: linear, cut at one half.
    round_values : bool
        Round values to whole numbers, as Hounsfield units are, after resampling, too.
    outliers : float, optional
        Leave out of a region what lies beyond so many standard deviations from its mean (IBSI: 3).
    on_error : str
        stop at the first image that cannot be read, or whose mask is missing or does not fit, or
        skip and report it.
    """

    images: str
    out: str
    masks: str | None = None
    per: Literal["image", "patient"] = "image"
    patient_regex: str | None = None
    aggregation: Literal[
        "averaged",
        "merged",
        "2d_averaged",
        "2d_slice_merged",
        "2.5d_direction_merged",
        "2.5d_merged",
        "3d_averaged",
        "3d_merged",
    ] = "averaged"
    distance: int | list[int] = 1
    spacing: float | None = None
    interpolation: Literal["linear", "cubic"] = "linear"
    round_values: bool = False
    outliers: float | None = None
    on_error: Literal["stop", "skip"] = "stop"

    @property
    def distances(self) -> list[int]:
        """All distances that are asked for."""
        return [self.distance] if isinstance(self.distance, int) else self.distance

    @property
    def is_volumetric(self) -> bool:
        """Whether the images of a file are measured as one volume."""
        return self.aggregation not in ("averaged", "merged")

    @property
    def is_3d(self) -> bool:
        """Whether pairs reach from slice to slice."""
        return self.aggregation in ("3d_averaged", "3d_merged")


@dataclass(kw_only=True)
class TextureMapSettings(MeasurementSettings):
    """Draw a map of texture: a GLCM feature in a window around each pixel.

    Parameters
    ----------
    image : str
        The image.
    out : str
        The file to write: a picture (.png), or the bare values (.npy, or .tif of 32-bit floats).
    feature : str
        One of IBSI's 25 GLCM features, such as joint_entropy or contrast; of a window's pairs in
        all 4 directions, merged, with the gray levels of the whole image.
    window_size : int
        Side of the window in pixels, odd.
    distance : int
        Steps between the two pixels of a pair, along each of the 4 directions.
    frame : int, optional
        Which image of a file that holds several, counted from 0.
    """

    image: str
    out: str
    feature: str = "joint_entropy"
    window_size: int = 15
    distance: int = 1
    frame: int | None = None
