"""Which images are measured: one file's, a folder's or a manifest's."""

from __future__ import annotations

from pathlib import Path

from glcm_mae.data import Manifest, Plane, Record, count_frames, is_medmnist, read_manifest
from glcm_mae.errors import UserError

__all__ = ["list_images"]


def list_images(
    source: str | Path,
    patient_regex: str | None = None,
    plane: Plane = "axial",
    may_lack: bool = False,
) -> Manifest:
    """List the images of an image file, a folder or a manifest.

    Parameters
    ----------
    source : str or Path
        An image of any format that `read_image` reads, or what `read_manifest` takes.
    patient_regex : str, optional
        As for `read_manifest`.
    plane : {"axial", "coronal", "sagittal"}
        How volumes (NIfTI, NRRD, MetaImage) are cut into slices.
    may_lack : bool
        As for `read_manifest`.

    Returns
    -------
    Manifest
        An image file's frames are its images; they have no label and no patient.

    Raises
    ------
    UserError
        There are no images, or the file is none.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("L", (4, 3)).save(f"{folder}/a.png")
    ...     len(list_images(f"{folder}/a.png")), len(list_images(folder))
    (1, 1)
    """
    path = Path(source)
    if not path.exists():
        raise UserError(f"{path} does not exist: give an image, a folder or a CSV manifest.")
    ending = path.suffix.lower()
    if path.is_dir() or ending == ".csv" or (ending == ".npz" and is_medmnist(path)):
        return read_manifest(path, patient_regex, plane, may_lack=may_lack)
    if patient_regex is not None:
        raise UserError(f"{path} is one image: leave patient_regex out, or give a folder.")
    frames = count_frames(path, plane)
    numbers = [None] if frames == 1 else range(frames)
    records = tuple(Record(path, None, str(path), None, number) for number in numbers)
    return Manifest(records, (), has_patients=False)
