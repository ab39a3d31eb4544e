"""Small valid files of every format, and DICOM written element by element."""

import bz2
import gzip
import io
import zlib
from collections.abc import Callable, Mapping

import h5py
import imagecodecs
import nibabel
import numpy as np
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

SECRET = "Xanthippe"  # a patient's name: must never be seen outside the file

RAMP16 = np.arange(65536, dtype=np.uint16).reshape(256, 256)


def dicom(pixels: np.ndarray, syntax: str = ExplicitVRLittleEndian, **elements: object) -> bytes:
    """A DICOM file of one image (H, W) or (H, W, 3), or of frames (N, H, W), and any elements.

    `PixelData` takes the place of the uncompressed pixels: bytes, or a list of codestreams.
    """
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.PatientName = SECRET
    dataset.PatientID = SECRET
    is_color = pixels.shape[-1] == 3 and pixels.ndim == 3
    frames = 1 if pixels.ndim == 2 or is_color else len(pixels)
    bits = 8 * pixels.dtype.itemsize
    dataset.SamplesPerPixel = 3 if is_color else 1
    dataset.PhotometricInterpretation = "RGB" if is_color else "MONOCHROME2"
    dataset.NumberOfFrames = frames
    dataset.Rows, dataset.Columns = (pixels.shape if frames == 1 else pixels.shape[1:])[:2]
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if is_color:
        dataset.PlanarConfiguration = 0
    data = elements.pop("PixelData", pixels.tobytes())
    dataset.PixelData = encapsulate(data) if isinstance(data, list) else data
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def item(**elements: object) -> Dataset:
    """An item of a DICOM sequence."""
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def rle(pixels: np.ndarray) -> bytes:
    """The RLE codestream of an image (H, W)."""
    width = pixels.dtype.itemsize
    planes = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(-1).view(np.uint8)
    segments = [
        imagecodecs.packbits_encode(planes.reshape(-1, width)[:, byte].tobytes())
        for byte in range(width)
    ]
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    starts = np.zeros(16, "<u4")
    starts[0] = width
    starts[1 : width + 1] = 64 + np.cumsum([0, *map(len, segments[:-1])])
    return starts.tobytes() + b"".join(segments)


def nifti(voxels: np.ndarray, affine: np.ndarray | None = None, **fields: object) -> bytes:
    """A .nii file; fields are set in its header."""
    affine = np.eye(4) if affine is None else affine
    image = nibabel.Nifti1Image(voxels, affine, dtype=voxels.dtype)
    image.header.set_xyzt_units("mm")
    data = image.to_bytes()
    header = nibabel.Nifti1Header(data[:348], check=False)
    for name, value in fields.items():  # after it is written, which would mend them
        header[name] = value
    return header.binaryblock + data[348:]


def nrrd(voxels: np.ndarray, affine: np.ndarray | None = None, **fields: object) -> bytes:
    """A .nrrd file as ITK writes them; fields, _ for a blank, are set in it, or left out by None.

    The affine is to the right, forward and up; what it says is written for `space`.
    """
    space = fields.pop("space", "left-posterior-superior")
    words = {
        "type": ITK_TYPES[voxels.dtype.str[1:]][0],
        "dimension": voxels.ndim,
        "space": space,
        "sizes": " ".join(map(str, voxels.shape)),
        "endian": "big" if voxels.dtype.str[0] == ">" else "little",
        "encoding": "raw",
    }
    if voxels.ndim == 3:
        is_left, is_back = ("left" in str(space) or space == "LAS"), "posterior" in str(space)
        signs = np.array([-1 if is_left else 1, -1 if is_back else 1, 1])
        affine = np.eye(4) if affine is None else affine
        vectors = [
            "(" + ",".join(repr(float(number)) for number in signs * vector) + ")"
            for vector in affine[:3].T
        ]
        words["space directions"] = " ".join(vectors[:3])
        words["kinds"] = "domain domain domain"
        words["space origin"] = vectors[3]
    words.update({name.replace("_", " "): word for name, word in fields.items()})
    lines = [f"{name}: {word}" for name, word in words.items() if word is not None]
    data = voxels.tobytes(order="F")
    packed = {"gzip": gzip.compress, "bzip2": bz2.compress}.get(str(words["encoding"]), bytes)(data)
    return "\n".join(["NRRD0004", "# a comment", *lines, "", ""]).encode() + packed


def metaimage(voxels: np.ndarray, affine: np.ndarray | None = None, **fields: object) -> bytes:
    """A .mha file as ITK writes them; fields are set in it, or left out by None.

    Colours are the first axis of the voxels, and `ElementNumberOfChannels` says so.
    """
    sizes = voxels.shape[1:] if fields.get("ElementNumberOfChannels") else voxels.shape
    affine = np.diag([-1.0, -1, 1, 1]) @ (np.eye(4) if affine is None else affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    matrix, origin, sides = np.eye(len(sizes)), np.zeros(len(sizes)), np.ones(len(sizes))
    if len(sizes) > 2:
        matrix[:3, :3], origin[:3], sides[:3] = (affine[:3, :3] / spacing).T, affine[:3, 3], spacing
    words = {
        "ObjectType": "Image",
        "NDims": len(sizes),
        "BinaryData": True,
        "BinaryDataByteOrderMSB": voxels.dtype.str[0] == ">",
        "CompressedData": False,
        "TransformMatrix": " ".join(repr(float(number)) for number in matrix.ravel()),
        "Offset": " ".join(repr(float(number)) for number in origin),
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": " ".join(repr(float(number)) for number in sides),
        "DimSize": " ".join(map(str, sizes)),
        "ElementType": ITK_TYPES[voxels.dtype.str[1:]][1],
        **fields,
    }
    lines = [f"{name} = {word}" for name, word in words.items() if word is not None]
    lines += [] if "ElementDataFile" in fields else ["ElementDataFile = LOCAL"]
    data = voxels.tobytes(order="F")
    packed = zlib.compress(data) if words["CompressedData"] is True else data
    return "\n".join([*lines, ""]).encode() + packed


ITK_TYPES = {
    "i1": ("signed char", "MET_CHAR"),
    "u1": ("unsigned char", "MET_UCHAR"),
    "i2": ("short", "MET_SHORT"),
    "u2": ("unsigned short", "MET_USHORT"),
    "i4": ("int", "MET_INT"),
    "u4": ("unsigned int", "MET_UINT"),
    "i8": ("long long int", "MET_LONG_LONG"),
    "u8": ("unsigned long long int", "MET_ULONG_LONG"),
    "f4": ("float", "MET_FLOAT"),
    "f8": ("double", "MET_DOUBLE"),
}


def npy(array: np.ndarray) -> bytes:
    return _written(lambda stream: np.save(stream, array))


def npz(arrays: Mapping[str, np.ndarray], compressed: bool = True) -> bytes:
    save = np.savez_compressed if compressed else np.savez
    return _written(lambda stream: save(stream, **arrays))


def medmnist(shape: tuple[int, ...] = (28, 28), tasks: int = 1) -> dict[str, np.ndarray]:
    """The arrays of a MedMNIST file of 6, 2 and 3 images."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, images in (("train", 6), ("val", 2), ("test", 3)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (images, *shape), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(images * tasks).reshape(-1, tasks) % 3).astype("u1")
    return arrays


def hdf5(array: np.ndarray, **options: object) -> bytes:
    def write(stream: io.BytesIO) -> None:
        with h5py.File(stream, "w") as file:
            file.create_dataset("images", data=array, **options)

    return _written(write)


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    return _written(lambda stream: tifffile.imwrite(stream, pixels, **options))


def pillow(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    return _written(lambda stream: Image.fromarray(pixels).save(stream, kind, **options))


def samples() -> dict[str, bytes]:
    """A file of each format and compression, by name; what they show is nearly the same."""
    pixels = (np.random.default_rng(0).integers(0, 3, (24, 32)) * 40).astype(np.uint8)
    deep = pixels.astype(np.uint16) * 257
    color = np.stack([pixels] * 3, axis=-1)
    frames = np.stack([deep, deep + 1])
    return {
        "png": pillow(pixels, "PNG"),
        "png 16": imagecodecs.png_encode(deep),
        "png palette": _written(
            lambda stream: Image.fromarray(pixels).convert("P").save(stream, "PNG")
        ),
        "jpeg": pillow(pixels, "JPEG"),
        "webp": pillow(color, "WEBP", lossless=True),
        "bmp": pillow(pixels, "BMP"),
        "tiff": tiff(deep, rowsperstrip=8),
        "tiff deflate": tiff(deep, compression="deflate"),
        "tiff lzw": tiff(pixels, compression="lzw", rowsperstrip=8),
        "tiff jpeg": tiff(color, compression="jpeg", photometric="rgb"),
        "tiff pages": tiff(frames, photometric="minisblack"),
        "tiff float": tiff(pixels.astype(np.float32)),
        "dicom": dicom(deep),
        "dicom signed": dicom(
            deep.astype(np.int16), RescaleSlope=2, RescaleIntercept=-1024, RescaleType="HU",
            WindowCenter=[40, 50], WindowWidth=[400, 500],
        ),
        "dicom frames": dicom(frames),
        "dicom color": dicom(color),
        "dicom deflated": dicom(deep, DeflatedExplicitVRLittleEndian),
        "dicom rle": dicom(deep, RLELossless, PixelData=[rle(deep)]),
        "dicom jpeg": dicom(pixels, JPEGBaseline8Bit, PixelData=[pillow(pixels, "JPEG")]),
        "dicom jpeg lossless": dicom(
            deep, JPEGLosslessSV1,
            PixelData=[imagecodecs.jpeg8_encode(deep, lossless=True, bitspersample=16)],
        ),
        "dicom jpeg-ls": dicom(deep, JPEGLSLossless, PixelData=[imagecodecs.jpegls_encode(deep)]),
        "dicom jpeg 2000": dicom(
            deep, JPEG2000Lossless,
            PixelData=[imagecodecs.jpeg2k_encode(deep, codecformat="j2k", reversible=True)],
        ),
        "dicom palette": dicom(
            pixels,
            PhotometricInterpretation="PALETTE COLOR",
            **{f"{name}PaletteColorLookupTableDescriptor": [256, 0, 8] for name in COLORS},
            **{f"{name}PaletteColorLookupTableData": bytes(range(256)) for name in COLORS},
        ),
        "dicom tables": dicom(
            deep,
            ModalityLUTSequence=[item(LUTDescriptor=[4, 0, 16], ModalityLUTType="US",
                                      LUTData=np.array([1, 2, 3, 4], "<u2").tobytes())],
            VOILUTSequence=[item(LUTDescriptor=[4, 1, 8], LUTData=bytes([0, 9, 99, 255]))],
        ),
        "nifti": nifti(np.stack([deep.T] * 3, axis=-1).astype(np.int16)),
        "nifti gz": gzip.compress(nifti(np.stack([deep.T] * 3, axis=-1).astype(np.int16))),
        "nrrd": nrrd(np.stack([deep.T] * 3, axis=-1)),
        "nrrd gz": nrrd(np.stack([deep.T] * 3, axis=-1), encoding="gzip"),
        "nrrd bz2": nrrd(pixels.T, encoding="bzip2", space=None),
        "nrrd color": nrrd(np.stack([pixels.T] * 3), space=None, kinds="RGB-color domain domain",
                           space_directions=None, space_origin=None),
        "metaimage": metaimage(np.stack([deep.T] * 3, axis=-1)),
        "metaimage zlib": metaimage(np.stack([deep.T] * 3, axis=-1), CompressedData=True),
        "metaimage color": metaimage(np.stack([pixels.T] * 3), ElementNumberOfChannels=3),
        "npy": npy(frames),
        "npz": npz({"images": frames}),
        "npz stored": npz({"images": frames}, compressed=False),
        "npz medmnist": npz(medmnist()),
        "hdf5": hdf5(frames),
        "hdf5 gzip": hdf5(frames, chunks=(1, 8, 32), compression="gzip", shuffle=True),
    }  # fmt: skip


COLORS = ("Red", "Green", "Blue")


def _written(write: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()
