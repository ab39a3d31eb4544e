"""PNG, JPEG, WebP, BMP and TIFF come out exactly as stored, or not at all."""

import contextlib
import io
import pickle
import re
import struct
import tempfile
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from glcm_mae.data import IMAGE_SUFFIXES, UnreadableImage, count_frames, read_image
from glcm_mae.data.readers import limits
from glcm_mae.errors import UserError

RAMP16 = np.arange(65536, dtype=np.uint16).reshape(256, 256)
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def png(rows: list[bytes], width: int, depth: int, colour: int, extra: bytes = b"") -> bytes:
    """A PNG written by hand, for the kinds no library here writes."""
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    ends = chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + ends


def pixels_of(path: Path, frame: int | None = None) -> np.ndarray:
    return read_image(path, frame)[0]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def write_tiff(path: Path, pixels: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, pixels, **options)
    return path


@settings(max_examples=25, deadline=None)
@given(pixels=hnp.arrays(np.uint16, st.one_of(SHAPES, SHAPES.map(lambda hw: (*hw, 3)))))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_exact_in_gray_and_rgb(suffix: str, pixels: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image" + suffix)
        if suffix == ".png":
            path.write_bytes(imagecodecs.png_encode(pixels))
        else:
            tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
        read = pixels_of(path)
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, np.moveaxis(pixels.reshape(*pixels.shape[:2], -1), -1, 0))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_every_16_bit_value_survives(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ramp{suffix}"
    Image.fromarray(RAMP16).save(path)
    np.testing.assert_array_equal(pixels_of(path)[0], RAMP16)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_8_bits_are_exact(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"image{suffix}")
    read = pixels_of(tmp_path / f"image{suffix}")
    assert read.dtype == np.uint8
    assert read.flags.c_contiguous
    assert read.flags.writeable
    np.testing.assert_array_equal(read, np.moveaxis(pixels.reshape(5, 7, -1), -1, 0))


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_jpeg(tmp_path: Path, mode: str, channels: int) -> None:
    Image.new(mode, (9, 8), color="gray").save(tmp_path / "image.jpg")
    read = pixels_of(tmp_path / "image.jpg")
    assert read.shape == (channels, 8, 9)
    np.testing.assert_array_equal(read, 128)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_tiff_layouts(tmp_path: Path, byteorder: str, planar: str, dtype: type) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (5, 7, 3)).astype(dtype)
    stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    path = write_tiff(
        tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, byteorder=byteorder
    )
    read = pixels_of(path)
    assert read.dtype == dtype
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, np.moveaxis(pixels, -1, 0))


def test_jpeg_in_tiff_becomes_rgb(tmp_path: Path) -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    path = write_tiff(tmp_path / "a.tif", red, photometric="rgb", compression="jpeg")
    assert tifffile.TiffFile(path).pages[0].photometric == tifffile.PHOTOMETRIC.YCBCR
    np.testing.assert_allclose(pixels_of(path)[:, 0, 0], [255, 0, 0], atol=3)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_palettes_become_colour_or_gray(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    image.putpalette([9, 9, 9, 50, 60, 70, 8, 8, 8])
    image.save(tmp_path / f"colour{suffix}")
    np.testing.assert_array_equal(
        pixels_of(tmp_path / f"colour{suffix}")[:, 0].T, [[9] * 3, [50, 60, 70], [8] * 3]
    )
    image.putpalette([9, 9, 9, 50, 50, 50, 8, 8, 8])
    image.save(tmp_path / f"gray{suffix}")
    np.testing.assert_array_equal(pixels_of(tmp_path / f"gray{suffix}"), [[[9, 50, 8]]])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_1_bit_becomes_0_and_255(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(np.eye(3, dtype=bool)).save(tmp_path / f"mask{suffix}")
    np.testing.assert_array_equal(pixels_of(tmp_path / f"mask{suffix}")[0], np.eye(3) * 255)


def test_transparent_colour_of_a_16_bit_png(tmp_path: Path) -> None:
    rows = [struct.pack(">HH", 1, 256)]
    unused = png(rows, 2, 16, 0, extra=chunk(b"tRNS", struct.pack(">H", 7)))
    np.testing.assert_array_equal(pixels_of(write(tmp_path / "a.png", unused)), [[[1, 256]]])
    used = png(rows, 2, 16, 0, extra=chunk(b"tRNS", struct.pack(">H", 256)))
    with pytest.raises(UnreadableImage, match="transparent"):
        pixels_of(write(tmp_path / "b.png", used))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("samples", [2, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_alpha_is_dropped_if_opaque(
    tmp_path: Path, suffix: str, samples: int, dtype: type[np.unsignedinteger]
) -> None:
    path = tmp_path / f"image{suffix}"
    pixels = np.full((3, 4, samples), 5, dtype)

    def save() -> None:
        if suffix == ".png":
            path.write_bytes(imagecodecs.png_encode(pixels))
        else:
            photometric = "rgb" if samples == 4 else "minisblack"
            extra = ["unassalpha"]
            tifffile.imwrite(
                path, pixels, photometric=photometric, extrasamples=extra, planarconfig="contig"
            )

    pixels[..., -1] = np.iinfo(dtype).max
    save()
    read = pixels_of(path)
    assert read.shape == (samples - 1, 3, 4)
    assert (read == 5).all()
    pixels[1, 1, -1] -= 1
    save()
    with pytest.raises(UnreadableImage, match="transparent: save it without an alpha channel"):
        pixels_of(path)


@pytest.mark.parametrize(
    ("suffix", "palette"),
    [(".png", False), (".jpg", False), (".tif", False), (".png", True), (".tif", True)],
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_shows_what_a_viewer_shows(
    tmp_path: Path, suffix: str, palette: bool, orientation: int
) -> None:
    quadrants = np.kron(np.array([[0, 80, 160], [200, 120, 40]]), np.ones((8, 8))).astype(np.uint8)
    image = Image.fromarray(quadrants)
    if palette:
        image = image.convert("P")
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"image{suffix}"
    options = {"quality": 100} if suffix == ".jpg" else {}
    image.save(path, exif=exif, **options)
    upright = {
        1: quadrants,
        2: np.fliplr(quadrants),
        3: np.rot90(quadrants, 2),
        4: np.flipud(quadrants),
        5: quadrants.T,
        6: np.rot90(quadrants, -1),
        7: np.rot90(quadrants, 2).T,
        8: np.rot90(quadrants),
    }[orientation]
    np.testing.assert_array_equal(pixels_of(path)[0], upright)


def test_pages_are_frames(tmp_path: Path) -> None:
    pages = np.random.default_rng(0).integers(0, 65536, (4, 5, 7), dtype=np.uint16)
    path = write_tiff(tmp_path / "pages.tif", pages, photometric="minisblack")
    assert count_frames(path) == 4
    for frame in range(4):
        np.testing.assert_array_equal(pixels_of(path, frame)[0], pages[frame])
    assert read_image(path, 0)[1].frames == 4
    with pytest.raises(UnreadableImage, match="holds 4 frames: name one of them, 0 to 3, in the"):
        pixels_of(path)
    for frame in (4, -1):
        with pytest.raises(UnreadableImage, match=r"has no frame .*: it holds 4, counted from 0"):
            pixels_of(path, frame)


@pytest.mark.parametrize("dtype", ["i1", "i2", "u4", "i4", "f2", "f4", "f8"])
def test_wide_and_signed_types_are_exact(tmp_path: Path, dtype: str) -> None:
    ends = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    stored = np.array([[ends.min, 0, 1, ends.max]], dtype)
    pixels, facts = read_image(write_tiff(tmp_path / "a.tif", stored))
    assert pixels.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(pixels[0], stored)
    is_whole = np.dtype(dtype).kind in "iu"
    assert facts.value_range == ((ends.min, ends.max) if is_whole else None)


@pytest.mark.parametrize("bits", [2, 3, 5, 7, 11, 13])
def test_packed_bits_have_the_range_of_their_bits(tmp_path: Path, bits: int) -> None:
    stored = np.array([[0, 1, 2**bits - 2, 2**bits - 1]], np.uint8 if bits < 8 else np.uint16)
    path = write_tiff(tmp_path / "a.tif", stored, bitspersample=bits, photometric="minisblack")
    pixels, facts = read_image(path)
    np.testing.assert_array_equal(pixels[0], stored)
    assert (facts.bits, facts.value_range) == (bits, (0, 2**bits - 1))


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [(256, np.uint8), (257, np.uint8), (1, np.uint8), (200, np.uint16)],
)  # as the standard says, as most write, as some do, and in colours of 16 bits
def test_colour_maps_of_8_and_of_16_bits(tmp_path: Path, scale: int, dtype: type) -> None:
    entries = np.arange(256, dtype=np.uint8).reshape(8, 32)
    colormap = np.tile(np.arange(256) * scale, (3, 1)).astype(np.uint16)
    path = write_tiff(tmp_path / "a.tif", entries, photometric="palette", colormap=colormap)
    pixels, facts = read_image(path)
    assert pixels.dtype == dtype
    wanted = entries.astype(dtype) * (scale if dtype == np.uint16 else 1)
    np.testing.assert_array_equal(pixels[0], wanted)
    assert facts.value_range == (0, np.iinfo(dtype).max)


@pytest.mark.parametrize("transparent", [False, True], ids=["", "a value that no pixel has"])
@pytest.mark.parametrize("bits", [2, 4])
def test_a_png_of_few_bits_is_read_as_stored(tmp_path: Path, bits: int, transparent: bool) -> None:
    stored = np.arange(2**bits - transparent, dtype=np.uint8)[None]
    lines = np.packbits(np.unpackbits(stored[..., None], axis=-1)[..., -bits:].reshape(1, -1))
    header = struct.pack(">IIBBBBB", stored.shape[1], 1, bits, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + lines.tobytes())), (b"IEND", b"")]
    if transparent:
        chunks.insert(1, (b"tRNS", struct.pack(">H", 2**bits - 1)))
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    pixels, facts = read_image(path)
    np.testing.assert_array_equal(pixels[0], stored)
    assert (facts.bits, facts.value_range) == (bits, (0, 2**bits - 1))


def test_what_stores_white_as_0_is_told_and_not_inverted(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", RAMP16, photometric="miniswhite")
    pixels, facts = read_image(path)
    np.testing.assert_array_equal(pixels[0], RAMP16)
    assert facts.photometric == "MINISWHITE"
    assert facts.white_is_zero


def test_webp(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.webp", lossless=True)
    read, facts = read_image(tmp_path / "a.webp")
    np.testing.assert_array_equal(read, np.moveaxis(pixels, -1, 0))
    assert (facts.format, facts.bits, facts.photometric) == ("webp", 8, "RGB")


def test_strips_that_were_never_written_are_no_zeros(tmp_path: Path) -> None:
    # Found by fuzzing: of a page whose height was damaged, the missing strips came as zeros.
    path = write_tiff(tmp_path / "a.tif", RAMP16, rowsperstrip=256)
    with tifffile.TiffFile(path, mode="r+") as opened:
        opened.pages[0].tags["ImageLength"].overwrite(512)
    with pytest.raises(UnreadableImage, match="lacks some of its pixels"):
        pixels_of(path)


def test_a_tiff_without_pages_has_no_frames(tmp_path: Path) -> None:
    # Found by fuzzing: its frames were counted as 0.
    path = write(tmp_path / "a.tif", b"II*\0\0\0\0\0")
    with pytest.raises(UnreadableImage, match="holds 0 pages"):
        count_frames(path)
    with pytest.raises(UnreadableImage, match="has no pixels"):
        pixels_of(path)


def test_the_content_counts_and_not_the_ending(tmp_path: Path) -> None:
    Image.new("L", (3, 2), 4).save(tmp_path / "image.tif")
    path = (tmp_path / "image.tif").rename(tmp_path / "image.png")
    assert pixels_of(path).shape == (1, 2, 3)
    assert all(suffix.startswith(".") for suffix in IMAGE_SUFFIXES)


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that must be refused, and a key word of the reason."""
    noise = np.random.default_rng(0).integers(0, 65536, (64, 64), dtype=np.uint16)
    png16 = imagecodecs.png_encode(noise)
    damaged = bytearray(png16)
    damaged[500] ^= 255
    Image.new("CMYK", (4, 4)).save(folder / "cmyk.jpg")
    Image.new("CMYK", (4, 4)).save(folder / "cmyk.tif")
    Image.fromarray(noise.astype(np.uint8)).save(folder / "whole.jpg")
    jpeg = (folder / "whole.jpg").read_bytes()
    tiff = write_tiff(folder / "whole.tif", noise).read_bytes()
    frames = [Image.new("L", (4, 4), value) for value in (1, 2)]
    frames[0].save(folder / "film.png", save_all=True, append_images=frames[1:])
    sparse = write_tiff(folder / "sparse.tif", noise, compression="deflate")
    with tifffile.TiffFile(sparse, mode="r+") as opened:
        opened.pages[0].tags["StripByteCounts"].overwrite((0,))
    nan = np.array([[1, np.nan]], np.float32)
    return {
        "missing": (folder / "nowhere.png", "cannot be opened"),
        "folder": (folder, "cannot be opened"),
        "empty": (write(folder / "empty.png", b""), "is empty"),
        "text": (write(folder / "text.png", b"hello"), "not a PNG, JPEG, TIFF"),
        "header only": (write(folder / "header.png", png16[:30]), "truncated|damaged"),
        "half png16": (write(folder / "half16.png", png16[:4000]), "truncated"),
        "damaged": (write(folder / "damaged.png", bytes(damaged)), "damaged"),
        "half jpeg": (write(folder / "half.jpg", jpeg[: len(jpeg) // 2]), "truncated"),
        "half tiff": (write(folder / "half.tif", tiff[: len(tiff) // 2]), "truncated"),
        "tiff magic": (write(folder / "magic.tif", tiff[:6]), "truncated"),
        "no pixels": (write(folder / "none.png", png([], 0, 8, 0)), "damaged|no pixels"),
        "cmyk jpeg": (folder / "cmyk.jpg", "CMYK.*convert it to gray or RGB"),
        "cmyk tiff": (folder / "cmyk.tif", "SEPARATED.*convert it to gray or RGB"),
        "film": (folder / "film.png", "animated"),
        "pages": (
            write_tiff(folder / "p.tif", np.zeros((2, 9, 9), np.uint8), photometric="minisblack"),
            "holds 2 frames: name one",
        ),
        "volume": (
            write_tiff(folder / "v.tif", np.zeros((16, 16, 16), np.uint8), volumetric=True,
                       tile=(16, 16, 16)),
            "volume",
        ),
        "sparse": (sparse, "lacks some of its pixels"),
        "channels": (
            write_tiff(folder / "five.tif", np.zeros((4, 4, 5), np.uint8), photometric="rgb",
                       planarconfig="contig"),
            "5 channels",
        ),
        "nan": (write_tiff(folder / "nan.tif", nan), "NaN"),
        "inf": (write_tiff(folder / "inf.tif", nan * 0 + np.inf), "NaN or infinite"),
    }  # fmt: skip


def test_what_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    for kind, (path, reason) in bad_files(tmp_path).items():
        with pytest.raises(UserError) as caught:
            pixels_of(path)
        assert isinstance(caught.value, UnreadableImage), kind
        assert str(caught.value).startswith(str(path)), kind
        assert re.search(reason, str(caught.value)), (kind, str(caught.value))


def whole_files() -> dict[str, bytes]:
    """One file of each format and TIFF compression."""
    pixels = (np.random.default_rng(0).integers(0, 3, (32, 32)) * 40).astype(np.uint8)
    files = {"png16": imagecodecs.png_encode(pixels.astype(np.uint16) * 257)}
    for kind in ("PNG", "JPEG", "BMP"):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, kind)
        files[kind] = stream.getvalue()
    for compression in (None, "deflate", "lzw", "jpeg"):
        stream = io.BytesIO()
        tifffile.imwrite(stream, pixels, compression=compression, rowsperstrip=8)
        files[f"TIFF {compression}"] = stream.getvalue()
    return files


@pytest.mark.parametrize("kind", whole_files())
def test_a_truncated_file_never_gives_wrong_pixels(tmp_path: Path, kind: str) -> None:
    data = whole_files()[kind]
    whole = pixels_of(write(tmp_path / "file", data))
    for length in {*range(0, len(data), len(data) // 40), *range(len(data) - 10, len(data))}:
        cut = write(tmp_path / "cut", data[:length])
        # A few last bytes hold no pixels.
        with contextlib.suppress(UnreadableImage):
            np.testing.assert_array_equal(pixels_of(cut), whole)


@pytest.mark.parametrize("kind", whole_files())
def test_a_damaged_file_is_no_crash(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        data = bytearray(whole_files()[kind])
        data[rng.integers(0, len(data))] ^= 1 << int(rng.integers(0, 8))
        with contextlib.suppress(UnreadableImage):
            read_image(write(tmp_path / "file", bytes(data)))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_decompression_bomb_is_not_decoded(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_PIXELS", 11)
    Image.new("L", (4, 3)).save(tmp_path / f"bomb{suffix}")
    with pytest.raises(UnreadableImage, match="4 x 3 pixels, more than 11: cut it into tiles"):
        pixels_of(tmp_path / f"bomb{suffix}")


def test_the_error_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(UnreadableImage(Path("a.png"), "is empty.")))
    assert str(error) == "a.png is empty."


def test_of_a_phones_picture_the_first_is_read(tmp_path: Path) -> None:
    first, depth = (Image.new("RGB", (16, 12), color) for color in ("white", "black"))
    first.save(tmp_path / "phone.jpg", "MPO", save_all=True, append_images=[depth])
    pixels, _ = read_image(tmp_path / "phone.jpg")
    assert pixels.shape == (3, 12, 16)
    assert pixels.min() > 250


@pytest.mark.parametrize("frame", [1.5, "1"])
def test_a_frame_that_is_no_number_is_no_damage_of_the_file(tmp_path, frame):
    Image.new("L", (4, 3)).save(tmp_path / "scan.png")
    with pytest.raises(ValueError, match=r"frame is .*: give a whole number"):
        read_image(tmp_path / "scan.png", frame)


@pytest.mark.parametrize(
    "read", [lambda path: read_image(path, plane="ax"), lambda path: count_frames(path, "ax")]
)
def test_a_plane_that_there_is_not_is_named(tmp_path, read):
    Image.new("L", (4, 3)).save(tmp_path / "scan.png")
    with pytest.raises(ValueError, match="plane is 'ax': choose one of axial, coronal, sagittal"):
        read(tmp_path / "scan.png")
