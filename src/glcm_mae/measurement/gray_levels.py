"""From values to gray levels, by the way of binning that the settings name."""

from __future__ import annotations

from torch import Tensor

from glcm_mae.errors import UserError
from glcm_mae.settings import MeasurementSettings
from glcm_mae.texture import fixed_bin_number, fixed_bin_size, quantize
from glcm_mae.texture.inputs import MAX_LEVELS

__all__ = ["gray_levels", "without_outliers"]


def gray_levels(
    values: Tensor, inside: Tensor, settings: MeasurementSettings, name: str
) -> tuple[Tensor, Tensor, int]:
    """Give the pixels of a region their gray levels.

    Parameters
    ----------
    values : Tensor, (H, W) or (D, H, W)
        Finite values. A volume's own range is that of all its slices.
    inside : Tensor of bool, like ``values``
        The region.
    settings : MeasurementSettings
        How to bin; checked by `check_settings`.
    name : str
        What errors call the image.

    Returns
    -------
    codes : Tensor of int32, like ``values``
        Gray levels in ``[0, levels)``.
    inside : Tensor of bool, like ``values``
        The region without values beyond the range (re-segmentation, IBSI section 2.5).
    levels : int
        Number of gray levels.

    Raises
    ------
    UserError
        Bins of a fixed size do not fit the values.

    References
    ----------
    Zwanenburg, Leger, Vallieres, Lock, "Image biomarker standardisation initiative",
    arXiv 1612.07003, 2016. Of binning pyradiomics: van Griethuysen et al., "Computational radiomics
    system to decode the radiographic phenotype", Cancer Research 77 (2017) e104-e107, as its
    documentation of binWidth says.

    Examples
    --------
    >>> import torch
    >>> values = torch.tensor([[-1000.0, -10.0, 30.0, 64.0, 3000.0]])
    >>> settings = MeasurementSettings(binning="fixed_bin_size", bin_width=25, range=(-50, 400))
    >>> codes, inside, levels = gray_levels(values, values < 9999, settings, "ct.dcm")
    >>> codes[inside].tolist(), levels
    ([1, 3, 4], 5)
    """
    if settings.range is not None:
        low, high = settings.range
        inside = inside & (values >= low) & (values <= high)
    if settings.binning == "fixed_bin_number":
        codes = fixed_bin_number(values, settings.levels, mask=inside, ndim=values.ndim)
        return codes, inside, settings.levels
    if settings.binning == "range":
        ends = (0.0, 1.0) if settings.range is None else (settings.range[0], settings.range[1])
        return quantize(values, settings.levels, ends), inside, settings.levels
    codes, levels = _fixed_size(values, inside, settings, name)
    return codes, inside, levels


def without_outliers(values: Tensor, inside: Tensor, deviations: float) -> Tensor:
    """Leave out of a region what lies far from its mean (outlier filtering, IBSI section 2.5).

    Parameters
    ----------
    values : Tensor, (H, W) or (D, H, W)
        Finite values.
    inside : Tensor of bool, like ``values``
        The region.
    deviations : float
        How many standard deviations of the region's values are not too far.

    Returns
    -------
    Tensor of bool, like ``values``

    Examples
    --------
    >>> import torch
    >>> values = torch.tensor([[1.0, 2.0, 1.0, 2.0, 90.0]])
    >>> without_outliers(values, values < 999, 1.5).tolist()
    [[True, True, True, True, False]]
    """
    found = values[inside].double()
    if not len(found):
        return inside
    furthest = deviations * found.std(correction=0)
    return inside & ((values.double() - found.mean()).abs() <= furthest)


def _fixed_size(
    values: Tensor, inside: Tensor, settings: MeasurementSettings, name: str
) -> tuple[Tensor, int]:
    width = settings.bin_width
    assert width is not None  # as checked
    found = values[inside]
    if not len(found):
        return fixed_bin_size(values, width, 0.0, mask=inside)
    least, greatest = float(found.min()), float(found.max())
    if settings.binning == "pyradiomics":
        first = least - least % width
    else:
        first = 0.0 if settings.range is None else settings.range[0]
    if least < first:
        raise UserError(
            f"{name} holds values below 0, where the first bin starts (the least is {least:g}): "
            "give the values to be measured as --range [LOW,HIGH], and the first bin starts at LOW."
        )
    if (greatest - first) / width >= MAX_LEVELS:
        raise UserError(
            f"{name} reaches {greatest:g}, more than {MAX_LEVELS:,} bins of {width:g} above "
            f"{first:g}: give a wider --bin_width, or a --range."
        )
    return fixed_bin_size(values, width, first, mask=inside)
