"""Reading medical images: files, manifests, splits without leaks, augmentation, a phantom."""

from glcm_mae.data.augment import Augment
from glcm_mae.data.gray_values import count_gray_values, gray_value_distance, match_gray_values
from glcm_mae.data.images import LoadedImages, content_hash, file_hashes, load_images
from glcm_mae.data.manifest import Manifest, Record, patients_on_two_sides, read_manifest
from glcm_mae.data.phantom import Phantom, Texture, make_phantom, write_phantom
from glcm_mae.data.readers import (
    IMAGE_SUFFIXES,
    Facts,
    Grid,
    Plane,
    UnreadableImage,
    are_alike,
    count_frames,
    is_medmnist,
    is_volume,
    one_line,
    read_dicom_header,
    read_grid,
    read_image,
    without_ending,
)
from glcm_mae.data.splits import (
    Split,
    grouped_folds,
    holdout,
    kept_together,
    manifest_folds,
    with_split,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "Augment",
    "Facts",
    "Grid",
    "LoadedImages",
    "Manifest",
    "Phantom",
    "Plane",
    "Record",
    "Split",
    "Texture",
    "UnreadableImage",
    "are_alike",
    "content_hash",
    "count_frames",
    "count_gray_values",
    "file_hashes",
    "gray_value_distance",
    "grouped_folds",
    "holdout",
    "is_medmnist",
    "is_volume",
    "kept_together",
    "load_images",
    "make_phantom",
    "manifest_folds",
    "match_gray_values",
    "one_line",
    "patients_on_two_sides",
    "read_dicom_header",
    "read_grid",
    "read_image",
    "read_manifest",
    "with_split",
    "without_ending",
    "write_phantom",
]
