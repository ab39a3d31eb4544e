"""Images read a second: `read_image` beside the library alone that decodes each format.

    python benchmarks/reading.py [--size 512] [--images 40] [--repeats 7]

Both read the same files from the page cache and give an array (C, H, W); "alone" is what one would
write without checks, facts or frames. The two take turns, image by image, so that a busy machine
slows both; the ratio is that of the medians over repeats. Smoothed noise stands for the images.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import nibabel
import numpy as np
import pydicom
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from glcm_mae.data import read_image


def pillow(path: Path) -> np.ndarray:
    """Read PNG, JPEG, WebP and BMP with Pillow."""
    pixels = np.array(Image.open(path))
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


def tiff(path: Path) -> np.ndarray:
    """Read TIFF with tifffile."""
    return tifffile.imread(path)[None]


def dicom(path: Path) -> np.ndarray:
    """Read DICOM with pydicom."""
    return pydicom.dcmread(path).pixel_array[None]


def nifti(path: Path) -> np.ndarray:
    """Read a volume of one slice with nibabel."""
    return np.ascontiguousarray(nibabel.load(path).dataobj.get_unscaled()[::-1, ::-1, 0].T)[None]


def npy(path: Path) -> np.ndarray:
    """Read .npy with NumPy."""
    return np.load(path)[None]


def picture(size: int, seed: int) -> np.ndarray:
    """12-bit noise that is smooth enough to compress about as a radiograph does."""
    noise = np.random.default_rng(seed).normal(0, 12, (size, size))
    for axis in (0, 1):
        noise = np.cumsum(noise, axis) / np.sqrt(size) * 4
    return np.clip(2048 + noise, 0, 4095).astype(np.uint16)


def dicom_file(pixels: np.ndarray, syntax: str, encode: Callable | None) -> bytes:
    """Write a DICOM file of one image."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    dataset.PatientName = "A^B"
    dataset.Modality = "DX"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW" if pixels.itemsize > 1 else "OB"
    if syntax == RLELossless:
        dataset.compress(RLELossless)
    elif encode is not None:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = encapsulate([encode(pixels)])
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def saved(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    """Write an image with Pillow."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def forms(deep: np.ndarray) -> dict[str, tuple[Callable[[Path], np.ndarray], bytes]]:
    """Each format: who reads it alone, and a file of it."""
    gray = (deep >> 4).astype(np.uint8)
    color = np.stack([gray, 255 - gray, gray // 2], axis=-1)
    stream = io.BytesIO()
    tifffile.imwrite(stream, deep)
    packed = io.BytesIO()
    tifffile.imwrite(packed, deep, compression="deflate", predictor=True)
    array = io.BytesIO()
    np.save(array, deep)
    return {
        "png 8": (pillow, saved(gray, "PNG")),
        "png 16": (pillow, saved(deep, "PNG")),
        "png rgb": (pillow, saved(color, "PNG")),
        "jpeg": (pillow, saved(gray, "JPEG", quality=90)),
        "jpeg rgb": (pillow, saved(color, "JPEG", quality=90)),
        "webp": (pillow, saved(color, "WEBP")),
        "bmp": (pillow, saved(gray, "BMP")),
        "tiff": (tiff, stream.getvalue()),
        "tiff deflate": (tiff, packed.getvalue()),
        "dicom": (dicom, dicom_file(deep, ExplicitVRLittleEndian, None)),
        "dicom jpeg": (
            dicom, dicom_file(gray, JPEGBaseline8Bit, lambda x: saved(x, "JPEG", quality=90))
        ),
        "dicom jpeg-ls": (dicom, dicom_file(deep, JPEGLSLossless, imagecodecs.jpegls_encode)),
        "dicom jpeg 2000": (
            dicom,
            dicom_file(deep, JPEG2000Lossless, lambda x: imagecodecs.jpeg2k_encode(
                x, codecformat="j2k", reversible=True)),
        ),
        "dicom rle": (dicom, dicom_file(deep, RLELossless, None)),
        "nifti": (nifti, nibabel.Nifti1Image(deep[::-1, ::-1].T[..., None], np.eye(4)).to_bytes()),
        "npy": (npy, array.getvalue()),
    }  # fmt: skip


def measure(
    paths: list[Path], alone: Callable[[Path], np.ndarray], repeats: int
) -> tuple[float, float]:
    """Median seconds for all files, alone and with `read_image`."""
    for path in paths:
        np.testing.assert_array_equal(alone(path), read_image(path)[0])
    sums: dict[str, list[float]] = {"alone": [], "here": []}
    for _ in range(repeats):
        spent = dict.fromkeys(sums, 0.0)
        for path in paths:
            for name, read in (("alone", alone), ("here", read_image)):
                start = time.perf_counter()
                read(path)
                spent[name] += time.perf_counter() - start
        for name, seconds in spent.items():
            sums[name].append(seconds)
    return statistics.median(sums["alone"]), statistics.median(sums["here"])


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    print(
        f"{args.images} images of {args.size} x {args.size}, one thread, median of {args.repeats}"
    )
    print(f"{'format':18}{'alone by':>10}{'images/s':>10}{'here':>10}{'time here/alone':>18}")
    pictures = [forms(picture(args.size, seed)) for seed in range(args.images)]
    for name, (alone, _) in pictures[0].items():
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for number, files in enumerate(pictures):
                path = Path(folder, f"{number}.{'nii' if name == 'nifti' else 'img'}")
                path.write_bytes(files[name][1])
                paths.append(path)
            before, here = measure(paths, alone, args.repeats)
        print(f"{name:18}{alone.__name__:>10}{args.images / before:>10.0f}"
              f"{args.images / here:>10.0f}{here / before:>18.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
