"""What a file says about its pixels, and nothing about whose they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Facts", "Lookup", "Window"]


@dataclass(frozen=True)
class Window:
    """A VOI window of a DICOM file: which values its maker wants to see.

    Parameters
    ----------
    center, width : float
        In the unit of the values after rescaling.
    function : str
        "LINEAR", "LINEAR_EXACT" or "SIGMOID" (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Examples
    --------
    >>> Window(40, 400)
    Window(center=40, width=400, function='LINEAR')
    """

    center: float
    width: float
    function: str = "LINEAR"


@dataclass(frozen=True, eq=False)
class Lookup:
    """A lookup table of a DICOM file (DICOM PS3.3 C.11.1.1.1 and C.11.2.1.1).

    Parameters
    ----------
    first : int
        The input that takes the first entry; inputs below take it too, those beyond the last
        entry take the last.
    values : np.ndarray
        The entries (n,) uint16.
    bits : int
        Bits of an entry.

    Examples
    --------
    >>> table = Lookup(10, np.array([0, 5, 7], np.uint16), bits=3)
    >>> table(np.array([3, 11, 99])).tolist()
    [0, 5, 7]
    """

    first: int
    values: np.ndarray
    bits: int

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Look integers up: an array of any shape gives one of the same shape."""
        places = inputs.astype(np.int64) - self.first
        return self.values[places.clip(0, len(self.values) - 1)]


@dataclass(frozen=True)
class Facts:
    """What a file says about one image's pixels.

    No field can hold anything that identifies a patient: all are numbers, or words from a fixed
    list.

    Parameters
    ----------
    format : str
        "png", "jpeg", "webp", "bmp", "tiff", "dicom", "nifti", "nrrd", "metaimage", "npy", "npz" or
        "hdf5".
    dtype : str
        NumPy's name of the stored type.
    bits : int
        Bits stored per sample: 12 for most radiographs, in a 16-bit type.
    photometric : str
        What the samples mean, in the format's own word: DICOM's photometric interpretation as
        stored ("MONOCHROME1", "YBR_FULL_422"), TIFF's ("MINISWHITE"), else Pillow's mode ("L",
        "RGB", "P").
    value_range : (float, float) or None
        The least and greatest value that the stored bits can hold; None for floating-point.
    frames : int
        Images in the file.
    slope, intercept : float
        What turns stored values into `unit`: slope * stored + intercept.
    unit : str or None
        DICOM's word for it, "HU" (Hounsfield) or "US" (unspecified) for most; None for formats
        that have no units.
    spacing : (float, float) or None
        Distance of two rows and of two columns in mm.
    modality_lut : Lookup or None
        What turns stored values into the modality's in place of slope and intercept.
    windows : tuple of Window
        The file's own windows, in its order.
    voi_lut : Lookup or None
        The file's own first lookup table in place of a window.

    Examples
    --------
    >>> facts = Facts("dicom", "uint16", bits=12, photometric="MONOCHROME1", value_range=(0, 4095))
    >>> facts.white_is_zero, facts.is_rescaled
    (True, False)
    """

    format: str
    dtype: str
    bits: int
    photometric: str
    value_range: tuple[float, float] | None
    frames: int = 1
    slope: float = 1.0
    intercept: float = 0.0
    unit: str | None = None
    spacing: tuple[float, float] | None = None
    modality_lut: Lookup | None = None
    windows: tuple[Window, ...] = ()
    voi_lut: Lookup | None = None

    @property
    def white_is_zero(self) -> bool:
        """Whether the least stored value shall be shown white (MONOCHROME1, MINISWHITE)."""
        return self.photometric in ("MONOCHROME1", "MINISWHITE")

    @property
    def is_rescaled(self) -> bool:
        """Whether the file says that its stored values are not yet in their real unit."""
        return self.modality_lut is not None or (self.slope, self.intercept) != (1.0, 0.0)


def full_range(dtype: np.dtype, bits: int | None = None) -> tuple[float, float] | None:
    """Tell the least and greatest value that so many bits of a type can hold.

    Parameters
    ----------
    dtype : np.dtype
        The stored type.
    bits : int, optional
        Bits in use. Default: all of the type.

    Returns
    -------
    (float, float) or None
        None for floating-point.

    Examples
    --------
    >>> full_range(np.dtype("uint16"), 12), full_range(np.dtype("int16")), full_range(np.dtype("f"))
    ((0.0, 4095.0), (-32768.0, 32767.0), None)
    """
    if dtype.kind not in "iu":
        return None
    bits = bits or 8 * dtype.itemsize
    if dtype.kind == "i":
        return -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    return 0.0, 2.0**bits - 1
