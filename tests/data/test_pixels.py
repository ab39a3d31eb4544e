"""Some images of many are taken without a copy of them all, and never handed out to be written."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glcm_mae.data.pixels import Picked, PixelFile, pick
from glcm_mae.errors import UserError

PIXELS = torch.arange(6 * 2 * 3.0).view(6, 2, 1, 3)


@given(st.lists(st.integers(0, 5), max_size=8), st.integers(1, 9))
def test_picked_images_are_those_of_a_copy(rows: list[int], size: int) -> None:
    picked, copy = pick(PIXELS, np.array(rows, dtype=np.int64)), PIXELS[rows]
    assert picked.shape == copy.shape
    assert len(picked) == len(copy)
    assert torch.equal(picked[:], copy)
    assert torch.equal(picked[::2], copy[::2])
    assert [part.tolist() for part in picked.split(size)] == [
        part.tolist() for part in copy.split(size) if len(part) or not len(copy)
    ]
    assert [image.tolist() for image in picked] == copy.tolist()
    at = torch.arange(len(rows) - 1, -1, -1)
    for index in (at, at.numpy(), at.tolist()):
        assert torch.equal(picked[index], copy[at])


def test_some_of_some() -> None:
    some = pick(pick(PIXELS, np.array([5, 1, 3])), np.array([2, 0]))
    assert torch.equal(some[:], PIXELS[[3, 5]])
    assert isinstance(some.stored, torch.Tensor)
    assert some.stored.data_ptr() == PIXELS.data_ptr()  # no copy


@pytest.mark.parametrize("index", [0, -1, torch.tensor(1), slice(0, 2), [0, 1]])
def test_what_is_taken_may_be_written_to(index: object) -> None:
    stored = PIXELS.clone()
    Picked(stored, np.arange(6))[index].zero_()
    assert torch.equal(stored, PIXELS)


def test_a_position_beyond_the_last_is_refused() -> None:
    with pytest.raises(IndexError):
        pick(PIXELS, np.array([0]))[1]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "pixels.npy", PIXELS.numpy())
    return tmp_path / "pixels.npy"


@given(rows=st.lists(st.integers(0, 5), max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_gives_what_memory_gives(file: Path, rows: list[int]) -> None:
    stored = PixelFile(file)
    assert stored.shape == PIXELS.shape
    taken = stored[torch.tensor(rows, dtype=torch.int64)]
    assert taken.dtype == torch.float32
    assert torch.equal(taken, PIXELS[rows])
    some = Picked(stored, np.array(rows, dtype=np.int64))
    assert torch.equal(some[:], PIXELS[rows])
    assert [image.tolist() for image in some] == PIXELS[rows].tolist()


@pytest.mark.parametrize("left", [0, 5, 128, 200])
def test_a_file_that_is_not_whole_is_refused(file: Path, left: int) -> None:
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(UserError, match=f"pixels.npy is damaged .*: remove {file.parent}"):
        PixelFile(file)


def test_a_file_that_is_cut_off_later_is_refused(file: Path) -> None:
    stored = PixelFile(file)
    file.write_bytes(file.read_bytes()[:-1])
    assert torch.equal(stored[torch.arange(5)], PIXELS[:5])
    with pytest.raises(UserError, match="it has been cut off"):
        stored[torch.arange(6)]


def test_a_file_that_is_removed_later_is_told(file: Path) -> None:
    stored = PixelFile(file)
    file.unlink()
    with pytest.raises(UserError, match=r"pixels\.npy can no longer be read .*--resume true"):
        stored[torch.arange(1)]


@pytest.mark.parametrize(
    "array", [np.zeros((2, 1, 2, 2)), np.zeros((2, 2), np.float32), np.array([None])]
)
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "other.npy", array)
    with pytest.raises(UserError, match=r"other\.npy is damaged"):
        PixelFile(tmp_path / "other.npy")
