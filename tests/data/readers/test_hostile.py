"""Files made to harm are refused at once, within the stated memory, and leave nothing behind."""

import io
import json
import os
import struct
import subprocess
import sys
import textwrap
import zipfile
import zlib
from pathlib import Path

import h5py
import imagecodecs
import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from glcm_mae.data import UnreadableImage, count_frames, read_image

from .samples import dicom, metaimage, nifti, npy, nrrd, pillow, tiff
from .test_raster import png

MIB = 2**20


def zeros(mebibytes: int, wbits: int = zlib.MAX_WBITS) -> bytes:
    """So many MiB of zeros, deflated."""
    packer = zlib.compressobj(1, wbits=wbits)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(mebibytes)) + packer.flush()


def chunk_bomb() -> bytes:
    """An HDF5 chunk of 2 MiB that inflates to 256: packed it is no larger than it may be."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        images = file.create_dataset(
            "images", (1, 1024, 2048), "u1", chunks=(1, 1024, 2048), compression="gzip"
        )
        images.id.write_direct_chunk((0, 0, 0), zeros(256))
    return stream.getvalue()


def deflated_dicom() -> bytes:
    whole = dicom(np.zeros((8, 8), np.uint16), DeflatedExplicitVRLittleEndian)
    start = whole.index(b"1.2.840.10008.1.2.1.99") + 22
    return whole[:start] + zeros(64, -zlib.MAX_WBITS)


def lying_zip(claimed: int) -> bytes:
    """A .npz whose one member says that it is of another size than it is."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy(np.zeros((1, 2500, 5000), np.uint8)))
    return stream.getvalue().replace(struct.pack("<L", 12_500_128), struct.pack("<L", claimed))


def many_members() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(5000):
            archive.writestr(f"{number:0200d}", b"")
    return stream.getvalue()


def rle_bomb() -> bytes:
    segment = b"\x81\0" * 500_000  # two bytes unpack to 128
    frame = struct.pack("<16L", 1, 64, *[0] * 14) + segment
    return dicom(np.zeros((8, 8), np.uint8), RLELossless, PixelData=[frame])


def wrong_length() -> bytes:
    data = bytearray(dicom(np.zeros((8, 8), np.uint16)))
    place = data.index(b"\xe0\x7f\x10\0OW")
    data[place + 8 : place + 12] = struct.pack("<L", 0xFFFFFFF0)
    return bytes(data)


def long_element() -> bytes:
    """A header element that is read says that it is 4 GiB long."""
    table = {"RedPaletteColorLookupTableData": bytes(8)}
    data = bytearray(dicom(np.zeros((8, 8), np.uint16), **table))
    place = data.index(b"\x28\0\x01\x12OW")
    data[place + 8 : place + 12] = struct.pack("<L", 0xFFFFFFF0)
    return bytes(data)


def large_jpeg_in_tiff() -> bytes:
    gray = np.zeros((64, 64), np.uint8)
    data = tiff(gray, compression="jpeg")
    frame = b"\xff\xc0\0\x0b\x08" + struct.pack(">HH", 64, 64)
    assert frame in data
    return data.replace(frame, b"\xff\xc0\0\x0b\x08" + struct.pack(">HH", 65500, 65500))


def large_tiles() -> bytes:
    data = tiff(np.zeros((32, 32), np.uint16), tile=(16, 16), compression="deflate")
    for tag in (322, 323):
        entry = struct.pack("<HHL", tag, 4, 1)
        place = data.index(entry) + len(entry)
        data = data[:place] + struct.pack("<L", 65520) + data[place + 4 :]
    return data


BOMBS = {
    "png header": lambda: png([b"\0"], 60_000, 8, 0).replace(
        struct.pack(">LL", 60_000, 1), struct.pack(">LL", 60_000, 60_000)
    ),
    "bmp header": lambda: pillow(np.zeros((8, 8), np.uint8), "BMP").replace(
        struct.pack("<LL", 8, 8), struct.pack("<LL", 60_000, 60_000)
    ),
    "tiff header": lambda: tiff(np.zeros((64, 64), np.uint8), compression="deflate").replace(
        struct.pack("<HHLL", 256, 4, 1, 64), struct.pack("<HHLL", 256, 4, 1, 2**31)
    ),
    "jpeg in tiff": large_jpeg_in_tiff,
    "tiles": large_tiles,
    "png 16": lambda: imagecodecs.png_encode(np.zeros((4, 4), np.uint16)).replace(
        struct.pack(">LL", 4, 4), struct.pack(">LL", 2**31 - 1, 2**31 - 1)
    ),
    "gzip": lambda: b"\x1f\x8b\x08" + bytes(7) + zeros(64, -zlib.MAX_WBITS) + bytes(8),
    "hdf5 chunk": chunk_bomb,
    "deflated dicom": deflated_dicom,
    "zip that says too little": lambda: lying_zip(100),
    "zip that says too much": lambda: lying_zip(2**31),
    "zip of many": many_members,
    "rle": rle_bomb,
    "wrong length": wrong_length,
    "long element": long_element,
    "nifti": lambda: nifti(np.zeros((4, 4, 4), np.int16), dim=[3, 30000, 30000, 30000, 1, 1, 1, 1]),
    "nrrd": lambda: nrrd(np.zeros((4, 4, 4), np.int16), sizes="30000 30000 30000"),
    "nrrd gz": lambda: nrrd(np.zeros((4, 4, 4), "i2"), sizes="2000 2000 2000", encoding="gzip"),
    "nrrd header": lambda: b"NRRD0004\n" + b"a:=b\n" * (8 * MIB),
    "nrrd line": lambda: b"NRRD0004\n" + bytes(40 * MIB),
    "nrrd axes": lambda: nrrd(np.zeros((4, 4), "u1"), sizes="1 " * 200_000, dimension=200_000),
    "nrrd digits": lambda: nrrd(np.zeros((4, 4), "u1"), sizes="9" * 500_000 + " 4"),
    "metaimage": lambda: metaimage(np.zeros((4, 4, 4), "i2"), DimSize="30000 30000 30000"),
    "metaimage zlib": lambda: metaimage(
        np.zeros((4, 4, 4), "i2"), DimSize="2000 2000 2000", CompressedData=True
    ),
    "npy": lambda: npy(np.zeros((4, 4), np.int16)).replace(b"(4, 4)", b"(9**9,4)"),
}
LIMIT = 16  # MiB in place of 512, so that the test is quick: what is taken is in proportion

READ = """
    import json, resource, sys, time
    from glcm_mae.data import UnreadableImage, count_frames, read_image

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    import imagecodecs, h5py, nibabel, pydicom, tifffile, PIL.Image, openjpeg.utils
    from glcm_mae.data.readers import arrays, capped, dicom, hdf5, limits, nifti, tiff, voxels
    for module in (arrays, capped, dicom, hdf5, limits, nifti, tiff, voxels):
        module.MAX_BYTES = LIMIT * 2**20
    report = {}
    for name, path in json.load(sys.stdin).items():
        before, start = peak(), time.perf_counter()
        for read in (lambda: count_frames(path), lambda: read_image(path, 0)):
            try:
                read()
                said = ""
            except UnreadableImage as error:
                said = str(error)
        report[name] = said, peak() - before, time.perf_counter() - start
    print(json.dumps(report))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_bombs_are_refused_within_the_stated_memory(tmp_path: Path) -> None:
    paths = {}
    for name in BOMBS:
        path = tmp_path / name
        path.write_bytes(BOMBS[name]())
        paths[name] = str(path)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(READ).replace("LIMIT", str(LIMIT))],
        input=json.dumps(paths), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    for name, (said, mebibytes, seconds) in json.loads(done.stdout).items():
        assert said.startswith(paths[name]), (name, said)
        assert mebibytes < 4 * LIMIT, (name, mebibytes)
        assert seconds < 10, (name, seconds)
    assert done.stderr == ""
    assert sorted(found.name for found in tmp_path.iterdir()) == sorted(BOMBS)


def test_what_is_no_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    places = [tmp_path, tmp_path / "pipe.png", tmp_path / "loop.png", Path("/dev/zero")]
    for place in places:
        for read in (read_image, count_frames):
            with pytest.raises(UnreadableImage, match="cannot be opened"):
                read(place)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(pillow(np.zeros((2, 2), np.uint8), "PNG"))

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # as root, which tests may run as, all is permitted
    with pytest.raises(UnreadableImage, match=r"a\.png cannot be opened \(Permission denied\)"):
        read_image(path)


@pytest.mark.parametrize(
    "name", ["a\nb,c.png", "胸部 X線.png", "tab\t\x1b[31m.png", "\udcff\udcfe.png"]
)
def test_names(tmp_path: Path, name: str) -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    path = tmp_path / name
    path.write_bytes(pillow(pixels, "PNG"))
    np.testing.assert_array_equal(read_image(path)[0][0], pixels)
    path.write_bytes(b"hello")
    with pytest.raises(UnreadableImage) as caught:
        read_image(path)
    message = str(caught.value)
    assert message.isprintable()
    assert message.encode()  # no bytes that are no text


def test_too_little_memory_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from glcm_mae.data.readers import raster

    path = tmp_path / "a.png"
    path.write_bytes(pillow(np.zeros((2, 2), np.uint8), "PNG"))

    def none_left(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(raster, "_pillow_pixels", none_left)
    with pytest.raises(UnreadableImage, match="needs more memory than there is"):
        read_image(path)
