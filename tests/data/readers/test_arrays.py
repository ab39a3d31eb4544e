"""NumPy and HDF5 arrays: images are counted where it is clear how, and nothing is unpickled."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from glcm_mae.data import UnreadableImage, count_frames, read_image, read_manifest
from glcm_mae.data.readers import arrays as arrays_module

from .samples import hdf5, medmnist, npy, npz

STACK = np.random.default_rng(0).integers(0, 65536, (5, 7, 9), dtype=np.uint16)


def write(folder: Path, data: bytes, name: str = "images") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


WAYS = {
    "npy": npy,
    "npz": lambda array: npz({"x": array}),
    "npz stored": lambda array: npz({"x": array}, compressed=False),
    "hdf5": hdf5,
    "hdf5 gzip": lambda array: hdf5(
        array, chunks=(1, *array.shape[1:]), compression="gzip", shuffle=True, fletcher32=True
    ),
    "hdf5 odd chunks": lambda array: hdf5(
        array, chunks=tuple(max(1, n - 1) for n in array.shape), compression="gzip"
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "f4", "f8", ">u2"])
def test_each_image_of_a_stack(tmp_path: Path, way: str, dtype: str) -> None:
    stack = STACK.astype(dtype)
    path = write(tmp_path, WAYS[way](stack))
    assert count_frames(path) == 5
    for frame in range(5):
        pixels, facts = read_image(path, frame)
        np.testing.assert_array_equal(pixels[0], stack[frame])
        assert pixels.dtype == np.dtype(dtype).newbyteorder("=")
    assert facts.frames == 5


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("shape", "frames", "wanted"),
    [
        ((7, 9), 1, (1, 7, 9)),
        ((7, 9, 3), 1, (3, 7, 9)),
        ((7, 9, 1), 1, (1, 7, 9)),
        ((1, 7, 9), 1, (1, 7, 9)),
        ((4, 7, 9), 4, (1, 7, 9)),
        ((4, 7, 9, 3), 4, (3, 7, 9)),
        ((4, 3, 7, 9), 4, (3, 7, 9)),
        ((4, 1, 7, 9), 4, (1, 7, 9)),
    ],
)
def test_shapes(
    tmp_path: Path, way: str, shape: tuple[int, ...], frames: int, wanted: tuple[int, ...]
) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    path = write(tmp_path, WAYS[way](array))
    assert count_frames(path) == frames
    pixels, _ = read_image(path, frames - 1)
    assert pixels.shape == wanted
    last = array[-1] if frames > 1 else array
    assert sorted(pixels.ravel().tolist()) == last.ravel().tolist()
    assert pixels[0, 0, 1] - pixels[0, 0, 0] == (3 if shape[-1] == 3 else 1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("channels", [2, 4])
def test_channels_that_are_no_colours_are_no_images_in_a_row(
    tmp_path: Path, way: str, channels: int
) -> None:
    path = write(tmp_path, WAYS[way](np.zeros((40, 30, channels), np.uint8)))
    with pytest.raises(UnreadableImage, match=f"one image of {channels} channels, or 40 that are"):
        read_image(path, 0)


def test_fortran_order_and_booleans(tmp_path: Path) -> None:
    path = write(tmp_path, npy(np.asfortranarray(STACK)))
    np.testing.assert_array_equal(read_image(path, 3)[0][0], STACK[3])
    pixels, facts = read_image(write(tmp_path, npy(np.eye(3, dtype=bool))))
    np.testing.assert_array_equal(pixels[0], np.eye(3) * 255)
    assert facts.bits == 1


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3), (3, 28)])
def test_medmnist_counts_through_its_splits(tmp_path: Path, shape: tuple[int, ...]) -> None:
    arrays = medmnist(shape)
    path = write(tmp_path, npz(arrays), "pathmnist.npz")
    assert count_frames(path) == 11
    images = np.concatenate([arrays[f"{split}_images"] for split in ("train", "val", "test")])
    for frame, image in enumerate(images):
        pixels, facts = read_image(path, frame)
        np.testing.assert_array_equal(pixels, np.moveaxis(image.reshape(*shape[:2], -1), -1, 0))
    assert facts.frames == 11


def test_medmnist_is_a_labelled_set_with_its_splits(tmp_path: Path) -> None:
    arrays = medmnist()
    path = write(tmp_path, npz(arrays), "pathmnist.npz")
    manifest = read_manifest(path)
    assert manifest.classes == ("0", "1", "2")
    labels = [arrays[f"{split}_labels"][:, 0] for split in ("train", "val", "test")]
    assert manifest.labels.tolist() == np.concatenate(labels).tolist()
    assert [r.split for r in manifest.records] == ["train"] * 6 + ["val"] * 2 + ["test"] * 3
    assert [r.name for r in manifest.records] == [f"{path}#{frame}" for frame in range(11)]
    assert len(set(manifest.patients.tolist())) == 11
    assert not manifest.has_patients
    manifest.write(tmp_path / "manifest.csv")
    again = read_manifest(tmp_path / "manifest.csv", may_cross=True)
    assert [(r.name, r.label, r.split) for r in again.records] == [
        (r.name, r.label, r.split) for r in manifest.records
    ]


def test_medmnist_labels_that_are_many_or_odd(tmp_path: Path) -> None:
    several = read_manifest(write(tmp_path, npz(medmnist(tasks=14)), "chestmnist.npz"))
    assert several.classes == ()
    arrays = medmnist()
    arrays["train_labels"] = np.full((6, 1), 10, np.uint8)
    ten = read_manifest(write(tmp_path, npz(arrays), "many.npz"))
    assert ten.classes == ("00", "01", "02", "10")  # in the order of the numbers
    arrays["val_labels"] = arrays["val_labels"][:1]
    with pytest.raises(UnreadableImage, match="val labels that do not fit"):
        read_manifest(write(tmp_path, npz(arrays), "odd.npz"))
    with pytest.raises(UnreadableImage, match="is no MedMNIST file"):
        read_manifest(write(tmp_path, npz({"x": STACK}), "other.npz"))


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder / "unpickled"),)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    objects = np.array([[Bomb(tmp_path)]], dtype=object)
    stream = io.BytesIO()
    np.save(stream, objects, allow_pickle=True)
    for data in (stream.getvalue(), npz({"x": objects})):
        with pytest.raises(UnreadableImage, match="pickled objects, which could run code"):
            read_image(write(tmp_path, data))
    with pytest.raises(UnreadableImage, match="is not a PNG"):
        read_image(write(tmp_path, pickle.dumps(Bomb(tmp_path))))
    assert not (tmp_path / "unpickled").exists()


def test_an_error_quotes_nothing_of_a_header(tmp_path: Path) -> None:
    # Found by fuzzing, with a header that ran on into a DICOM file: NumPy quotes what it cannot
    # parse.
    with pytest.raises(UnreadableImage, match="truncated or damaged") as caught:
        read_image(write(tmp_path, header("(2, 24, 32), Xanthippe")))
    assert "Xanthippe" not in str(caught.value)
    assert caught.value.__cause__ is None


def zipped(name: str, data: bytes, kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as archive:
        archive.writestr(name, data)
    return stream.getvalue()


def test_a_zip_that_points_elsewhere_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = write(tmp_path / "in", zipped("../../outside.npy", npy(STACK)))
    np.testing.assert_array_equal(read_image(path, 1)[0][0], STACK[1])
    assert sorted(found.name for found in tmp_path.rglob("*")) == ["images", "in"]


def header(shape: str, dtype: str = "<u2") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text


def broken() -> dict[str, tuple[bytes, str]]:
    whole = npz({"x": STACK}, compressed=False)
    return {
        "cut npy": (npy(STACK)[:-1], "truncated"),
        "empty": (npy(np.zeros((0, 4, 4))), "truncated or holds nothing"),
        "gigantic npy": (header("(1000000, 1000000)") + bytes(64), "truncated"),
        "code in the header": (header("__import__('os').abort()"), "truncated or damaged"),
        "empty hdf5": (hdf5(np.zeros((0, 4, 4), np.uint8)), "holds no images"),  # by fuzzing
        "one axis": (npy(STACK.ravel()), "save images as height, width"),
        "five axes": (npy(np.zeros((1, 1, 1, 1, 1))), "save images as height, width"),
        "three ways": (npy(STACK[:3]), "three gray images or the channels of one"),
        "text": (npy(np.array([["a"]])), "no numbers"),
        "int64": (npy(STACK.astype(int)), "stores int64 values"),
        "nan": (npy(np.full((2, 2), np.nan)), "NaN"),
        "cut npz": (whole[:-30], "truncated"),
        "cut npz member": (whole.replace(b"PK\1\2", b"PK\1\3"), "truncated or damaged"),
        "two arrays": (npz({"x": STACK, "y": STACK}), "holds 2 arrays"),
        "no arrays": (zipped("a.txt", b"x"), "holds 0 arrays"),
        "lzma": (zipped("x.npy", npy(STACK), zipfile.ZIP_LZMA), "packed in another way"),
        "two datasets": (hdf5_of(x=STACK, y=STACK), "holds 2 arrays"),
        "no datasets": (hdf5_of(y=np.arange(3)), "holds 0 arrays"),
        "cut hdf5": (hdf5(STACK)[:-200], "truncated or damaged"),
        "lzf": (hdf5(STACK, compression="lzf"), "another filter than gzip"),
        "text in hdf5": (hdf5(np.array([[b"a"]])), "no numbers"),
    }


def hdf5_of(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, array in arrays.items():
            file[f"group/{name}"] = array
    return stream.getvalue()


@pytest.mark.parametrize("kind", broken())
def test_what_is_broken_gets_one_sentence(tmp_path: Path, kind: str) -> None:
    data, said = broken()[kind]
    with pytest.raises(UnreadableImage, match=f"images .*{said}"):
        read_image(write(tmp_path, data), 0)


def test_hdf5_leads_to_no_other_file(tmp_path: Path) -> None:
    write(tmp_path, hdf5(STACK), "other.h5")
    with h5py.File(tmp_path / "links.h5", "w") as file:
        file["away"] = h5py.ExternalLink("other.h5", "images")
        file["loop"] = h5py.SoftLink("/loop")
        file["up"] = file["/"]
    with pytest.raises(UnreadableImage, match="holds 0 arrays"):
        read_image(tmp_path / "links.h5", 0)
    layout = h5py.VirtualLayout((5, 7, 9), "u2")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "images", (5, 7, 9))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
    (tmp_path / "raw").write_bytes(STACK.tobytes())
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("images", (5, 7, 9), "u2", external=str(tmp_path / "raw"))
    for name in ("virtual.h5", "external.h5"):
        with pytest.raises(UnreadableImage, match="takes its numbers from other files"):
            read_image(tmp_path / name, 0)


def test_large_compressed_arrays_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays_module, "MAX_BYTES", STACK.nbytes)
    with pytest.raises(UnreadableImage, match=r"save it with numpy\.savez in place"):
        read_image(write(tmp_path, npz({"x": STACK})), 0)
    # Stored plainly, it is read in place, whatever its size.
    path = write(tmp_path, npz({"x": STACK}, compressed=False))
    np.testing.assert_array_equal(read_image(path, 4)[0][0], STACK[4])
