"""Which images, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Size = int | tuple[int, int]


@dataclass
class DataSettings:
    """Which images, and how they are read.

    Parameters
    ----------
    images : str
        A folder (class-per-folder, or unlabelled images), a manifest (CSV with the columns path,
        frame, label, patient, split; only path is needed), or a MedMNIST .npz.
    image_size : int or (int, int)
        Height and width in pixels that the network sees.
    resize : str
        How images of other sizes get there: none (refuse), crop (keep the aspect ratio, cut), pad
        (keep it, fill with zeros), stretch, center (keep the scale, cut and fill).
    spacing : float, optional
        Millimetres that a pixel shall measure, of files that tell their own: images are brought to
        that scale first, with resize center. Default: none, pixels as they are.
    color : str
        auto (as stored; all must be alike), gray (luminance), rgb.
    window : (float, float) or str, optional
        Values that become 0 and 1, in the file's real unit (Hounsfield for CT); or lung,
        soft_tissue or bone; or file, the DICOM file's own first window. Default: the full range of
        the stored bits.
    invert_monochrome1 : bool
        Invert the images that store white as 0 (DICOM's MONOCHROME1); without it they are refused.
    plane : str
        How volumes (NIfTI, NRRD, MetaImage) are cut into slices: axial, coronal, sagittal.
    patient_regex : str, optional
        Finds the patient in a file's name (its first group, or the whole match).
    folds : int
        Folds, grouped by patient and stratified by class, where the manifest gives no split.
    fold : int, optional
        The fold that is held out for testing; the next one is for validation. Default: none is
        held out (pretrain uses all images, probe tests each fold in turn, finetune fold 0). Where
        the manifest gives a split, its test part is held out instead.
    split_seed : int
        Seed of the folds: the same in every stage that belongs together.
    on_error : str
        stop at the first unreadable image, or skip and report it.
    cache : str, optional
        A folder for the images as they were read, four bytes a value: later stages that read them
        alike take them from there, and they need not fit into memory. Default: none, in memory.
    """

    images: str
    image_size: Size = 224
    resize: Literal["none", "crop", "pad", "stretch", "center"] = "none"
    spacing: float | None = None
    color: Literal["auto", "gray", "rgb"] = "auto"
    window: tuple[float, float] | Literal["lung", "soft_tissue", "bone", "file"] | None = None
    invert_monochrome1: bool = False
    plane: Literal["axial", "coronal", "sagittal"] = "axial"
    patient_regex: str | None = None
    folds: int = 5
    fold: int | None = None
    split_seed: int = 0
    on_error: Literal["stop", "skip"] = "stop"
    cache: str | None = None


def height_and_width(size: Size) -> tuple[int, int]:
    """Read an image size given as one number or as two.

    Parameters
    ----------
    size : int or (int, int)
        Side of a square, or height and width.

    Returns
    -------
    (int, int)
        Height and width.

    Examples
    --------
    >>> height_and_width(224), height_and_width((128, 256))
    ((224, 224), (128, 256))
    """
    return (size, size) if isinstance(size, int) else (size[0], size[1])
