"""Small data sets on disk, with what an audit shall find in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.scenes import make_scenes


def write_set(folder: Path, per_class: int = 6, size: int = 64) -> Path:
    """Write two classes of distinct images, patients p0, p1, ... in the file names."""
    scenes = make_scenes(2 * per_class, size)
    for number, scene in enumerate(scenes):
        place = folder / ("benign" if number % 2 else "malignant")
        place.mkdir(parents=True, exist_ok=True)
        scene.save(place / f"p{number}_a.png")
    return folder


def write_dicom(path: Path, pixels: np.ndarray, **attributes: object) -> Path:
    """Write 8-bit pixels (H, W) as an uncompressed DICOM file."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    header = Dataset()
    header.SOPClassUID = SecondaryCaptureImageStorage
    header.SOPInstanceUID = generate_uid()
    header.Rows, header.Columns = pixels.shape
    header.SamplesPerPixel, header.PixelRepresentation = 1, 0
    header.BitsAllocated = header.BitsStored = 8
    header.HighBit = 7
    header.PhotometricInterpretation = "MONOCHROME2"
    header.PixelData = pixels.astype(np.uint8).tobytes()
    for name, value in attributes.items():
        setattr(header, name, value)
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path


def flipped_copy(source: Path, target: Path) -> None:
    """Save an image mirrored under another name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.open(source).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(target)
