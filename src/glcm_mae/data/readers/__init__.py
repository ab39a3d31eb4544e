"""Reading one image of a file: its pixels exactly as stored, or an error that names the file."""

from __future__ import annotations

import stat
from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar, get_args

import numpy as np

from . import arrays, dicom, hdf5, metaimage, nifti, nrrd, raster, tiff
from .facts import Facts, Lookup, Window
from .grid import Grid, Plane, are_alike
from .quiet import quieten
from .refusal import Refusal, UnreadableImage, one_line

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = [
    "IMAGE_SUFFIXES",
    "Facts",
    "Grid",
    "Lookup",
    "Plane",
    "UnreadableImage",
    "Window",
    "are_alike",
    "count_frames",
    "is_image",
    "is_medmnist",
    "is_volume",
    "one_line",
    "read_dicom_header",
    "read_grid",
    "read_image",
    "read_medmnist_labels",
    "without_ending",
]

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"),
    *(".dcm", ".dicom", ".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"),
    *(".npy", ".npz", ".h5", ".hdf5"),
)
"""Endings (lower case) of the files that are looked for in folders, beside DICOM of any name.

Those of headers whose pixels lie in another file (.nhdr, .mhd) are among them, so that who has such
files is told what to do, and none is left out in silence.
"""

_T = TypeVar("_T")
_STORED = ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")


class _Format(NamedTuple):
    """A family of formats: how its files begin, and who reads them."""

    starts: Callable[[bytes], bool]
    read: Callable[..., tuple[np.ndarray, Facts]]
    frames: Callable[..., int]
    grid: Callable[[BinaryIO], Grid | None] | None = None  # of volumes, which have planes


def _begins(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics)


def _is_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


_FORMATS = (
    _Format(dicom.is_dicom, dicom.read, dicom.frames),  # first: its preamble may be a TIFF header
    _Format(_begins(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM"), raster.read, raster.frames),
    _Format(_is_webp, raster.read, raster.frames),
    _Format(_begins(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), tiff.read, tiff.frames),
    _Format(nifti.is_nifti, nifti.read, nifti.frames, nifti.grid),
    _Format(nrrd.is_nrrd, nrrd.read, nrrd.frames, nrrd.grid),
    _Format(metaimage.is_metaimage, metaimage.read, metaimage.frames, metaimage.grid),
    _Format(_begins(b"\x93NUMPY"), arrays.read_npy, arrays.frames_of_npy),
    _Format(_begins(b"PK\3\4"), arrays.read_npz, arrays.frames_of_npz),
    _Format(hdf5.is_hdf5, hdf5.read, hdf5.frames),
)
_HEAD = 4096


def read_image(
    path: str | Path, frame: int | None = None, plane: Plane = "axial", *, finite: bool = True
) -> tuple[np.ndarray, Facts]:
    """Read one image without changing a stored value.

    The format is told from the content, not from the file's ending.

    Parameters
    ----------
    path : str or Path
        The file.
    frame : int, optional
        Which image of a file that holds several, counted from 0.
    plane : {"axial", "coronal", "sagittal"}
        How a volume (NIfTI, NRRD, MetaImage) is cut into slices.
    finite : bool
        Whether NaN and infinity are refused; else who reads must look for them.

    Returns
    -------
    np.ndarray
        Pixels (C, H, W), C = 1 (gray) or 3 (RGB), of the stored type: an integer of 8 to 32 bits,
        or floating-point.
    Facts
        What the file says about them.

    Raises
    ------
    UnreadableImage
        The file is missing, truncated, damaged, of another format, larger than 89 million
        pixels or 512 MiB, holds several frames and none is named, or would need a choice that is
        the user's: CMYK colour, transparency, another pixel type, NaN or infinity.
    ValueError
        If the frame is no whole number, or there is no such plane.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("L", (4, 3), color=7).save(f"{folder}/scan.png")
    ...     pixels, facts = read_image(f"{folder}/scan.png")
    >>> pixels.shape, str(pixels.dtype), int(pixels.max()), facts.format
    ((1, 3, 4), 'uint8', 7, 'png')
    """
    if frame is not None and not isinstance(frame, Integral):
        raise ValueError(f"frame is {frame!r}: give a whole number, or None.")
    _check_plane(plane)
    return _with_reader(
        Path(path),
        lambda file, form: _checked(*form.read(file, frame, **_options(form, plane)), finite),
    )


def count_frames(path: str | Path, plane: Plane = "axial") -> int:
    """Count the images of a file without decoding them.

    Parameters
    ----------
    path : str or Path
        The file.
    plane : {"axial", "coronal", "sagittal"}
        How a volume (NIfTI, NRRD, MetaImage) is cut into slices.

    Returns
    -------
    int
        1 or more.

    Raises
    ------
    UnreadableImage
        The file is no image.
    ValueError
        If there is no such plane.

    Examples
    --------
    >>> import tempfile
    >>> import tifffile
    >>> with tempfile.NamedTemporaryFile(suffix=".tif") as file:
    ...     tifffile.imwrite(file.name, np.zeros((5, 8, 8), np.uint8), photometric="minisblack")
    ...     count_frames(file.name)
    5
    """
    _check_plane(plane)
    return _with_reader(Path(path), lambda file, form: form.frames(file, **_options(form, plane)))


def read_grid(path: str | Path) -> Grid | None:
    """Read where the voxels of a volume lie: of NIfTI, NRRD or MetaImage.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    Grid or None
        None for a file of another format, or of images that lie nowhere in space.

    Raises
    ------
    UnreadableImage
        The file cannot be opened, or is damaged.

    Examples
    --------
    >>> import tempfile
    >>> import nibabel
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     volume = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.eye(4))
    ...     nibabel.save(volume, f"{folder}/ct.nii.gz")
    ...     read_grid(f"{folder}/ct.nii.gz").shape
    (4, 5, 6)
    """
    return _with_reader(Path(path), lambda file, form: form.grid(file) if form.grid else None)


def is_volume(path: Path) -> bool:
    """Tell by its name whether a file may be a volume, whose slices are counted in a plane.

    Examples
    --------
    >>> is_volume(Path("ct.nii.gz")), is_volume(Path("cine.dcm"))
    (True, False)
    """
    return path.name.lower().endswith((".nii", ".nii.gz", ".nrrd", ".mha"))


def without_ending(path: Path) -> str:
    """Give a file's name without the ending that makes it an image.

    Examples
    --------
    >>> without_ending(Path("set/p1.2.nii.gz"))
    'p1.2'
    """
    endings = [end for end in IMAGE_SUFFIXES if path.name.lower().endswith(end)]
    return path.name[: -len(max(endings, key=len))] if endings else path.name


def is_image(path: Path) -> bool:
    """Tell whether a file of a folder is taken for an image.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bool
        Whether it is a file, or a link to one that is gone, that has one of `IMAGE_SUFFIXES`, or,
        since scanners give none, a file that begins as DICOM does; the index of a DICOM medium is
        left out.

    Examples
    --------
    >>> is_image(Path("nowhere.png"))
    False
    """
    leads_nowhere = path.is_symlink() and not path.exists()  # an image that is missing
    if not (path.is_file() or leads_nowhere) or path.name == "DICOMDIR":
        return False
    if path.name.lower().endswith(IMAGE_SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def is_medmnist(path: str | Path) -> bool:
    """Say whether a .npz is a MedMNIST file, and not one array of images.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    bool

    Raises
    ------
    UnreadableImage
        The file cannot be opened, or is damaged.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".npz") as file:
    ...     np.savez(file, image=np.zeros((4, 4)))
    ...     is_medmnist(file.name)
    False
    """
    return _with_reader(Path(path), lambda file, form: arrays.is_medmnist(file))


def read_medmnist_labels(path: str | Path) -> dict[str, np.ndarray]:
    """Read the labels of a MedMNIST .npz (Yang et al., Scientific Data 2023).

    Parameters
    ----------
    path : str or Path
        The file. `read_image` counts its images through "train", then "val", then "test".

    Returns
    -------
    dict of str to np.ndarray
        For each of these parts, labels (n, tasks) of its n images.

    Raises
    ------
    UnreadableImage
        The file is no MedMNIST file, or damaged.

    Examples
    --------
    >>> import tempfile
    >>> arrays = {}
    >>> for split in ("train", "val", "test"):
    ...     arrays[f"{split}_images"] = np.zeros((2, 28, 28), np.uint8)
    ...     arrays[f"{split}_labels"] = np.array([[0], [1]], np.uint8)
    >>> with tempfile.NamedTemporaryFile(suffix=".npz") as file:
    ...     np.savez_compressed(file, **arrays)
    ...     read_medmnist_labels(file.name)["test"].tolist()
    [[0], [1]]
    """
    return _with_reader(Path(path), lambda file, form: arrays.medmnist_labels(file))


def read_dicom_header(path: str | Path) -> Dataset | None:
    """Read what a DICOM file says before its pixels, within the bounds of `read_image`.

    Names and numbers of patients are among it: nothing of it may be written anywhere.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    pydicom.Dataset or None
        None for a file of another format. An element is decoded, and may raise, when it is looked
        at.

    Raises
    ------
    UnreadableImage
        The file cannot be opened, or is damaged.

    Examples
    --------
    >>> from pydicom.data import get_testdata_file
    >>> read_dicom_header(get_testdata_file("CT_small.dcm")).Modality
    'CT'
    """

    def header_of(file: BinaryIO, form: _Format) -> Dataset | None:
        return dicom.read_header(file, None) if form.starts is dicom.is_dicom else None

    return _with_reader(Path(path), header_of)


def _check_plane(plane: str) -> None:
    if plane not in get_args(Plane):
        raise ValueError(f"plane is {plane!r}: choose one of {', '.join(get_args(Plane))}.")


def _options(form: _Format, plane: Plane) -> dict[str, Plane]:
    return {"plane": plane} if form.grid else {}


def _with_reader(path: Path, use: Callable[[BinaryIO, _Format], _T]) -> _T:
    """Open a file, tell its format, and let every way in which it is bad name the file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would block, a device never end
            raise Refusal("cannot be opened (it is no file).")
        file = path.open("rb")
    except Refusal as refusal:
        raise UnreadableImage(path, str(refusal)) from None
    except OSError as error:
        raise UnreadableImage(path, f"cannot be opened ({error.strerror}).") from error
    quieten()
    with file:
        try:
            return use(file, _format_of(file))
        except Refusal as refusal:
            raise UnreadableImage(path, str(refusal)) from None
        except MemoryError:
            raise UnreadableImage(
                path, "needs more memory than there is: cut it into tiles or save it smaller."
            ) from None
        except Exception:
            # Decoders raise errors of many kinds on a damaged file (zlib.error, struct.error, ...),
            # which may quote what stands in it.
            raise UnreadableImage(
                path, "is truncated or damaged: export or copy it again."
            ) from None


def _format_of(file: BinaryIO) -> _Format:
    head = file.read(_HEAD)
    file.seek(0)
    if not head:
        raise Refusal("is empty: export or copy it again.")
    for form in _FORMATS:
        if form.starts(head):
            return form
    raise Refusal(
        "is not a PNG, JPEG, TIFF, WebP, BMP, DICOM, NIfTI, NRRD, MetaImage, NumPy or HDF5 file: "
        "convert it to one of these, or remove it."
    )


def _checked(pixels: np.ndarray, facts: Facts, finite: bool) -> tuple[np.ndarray, Facts]:
    """Bring pixels (H, W, samples) to (C, H, W), or refuse what `read_image` does not promise."""
    if pixels.size == 0:
        raise Refusal("has no pixels: export or copy it again.")
    if pixels.shape[-1] not in (1, 3):
        raise Refusal(f"has {pixels.shape[-1]} channels: save it in gray or RGB.")
    if pixels.dtype.newbyteorder("=") not in [np.dtype(name) for name in _STORED]:
        raise Refusal(
            f"stores {pixels.dtype} values: save it as integers of 8 to 32 bits or floating-point."
        )
    if finite and pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise Refusal("holds NaN or infinite values: replace them before you save it.")
    stored = np.moveaxis(pixels, -1, 0)
    return np.array(stored, dtype=pixels.dtype.newbyteorder("="), order="C"), facts
