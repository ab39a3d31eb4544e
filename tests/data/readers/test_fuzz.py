"""Whatever is done to a file, it is read or refused: no other error, no crash, no value quoted."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glcm_mae.data import UnreadableImage, count_frames, read_image

from .samples import SECRET, samples

SAMPLES = samples()
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), st.floats(0, 1), st.integers(0, 7)),
        st.tuples(
            st.just("set"), st.floats(0, 1), st.sampled_from([0, 1, 2**16, 2**31, 2**32 - 1])
        ),
        st.tuples(st.just("cut"), st.floats(0, 1), st.none()),
        st.tuples(st.just("splice"), st.floats(0, 1), st.sampled_from(sorted(SAMPLES))),
        st.tuples(st.just("repeat"), st.floats(0, 1), st.integers(1, 64)),
    ),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, edits: list[tuple[str, float, object]]) -> bytes:
    for kind, share, more in edits:
        place = int(share * max(len(data) - 1, 0))
        if not data:
            break
        if kind == "flip":
            data = data[:place] + bytes([data[place] ^ 1 << more]) + data[place + 1 :]
        elif kind == "set":
            data = data[:place] + more.to_bytes(4, "little") + data[place + 4 :]
        elif kind == "cut":
            data = data[:place]
        elif kind == "splice":
            data = data[:place] + SAMPLES[more][place:]
        else:
            data = data[:place] + data[place : place + more] + data[place:]
    return data


@pytest.mark.parametrize("kind", SAMPLES)
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(edits=EDITS)
def test_a_file_is_read_or_refused(kind: str, edits: list[tuple[str, float, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(edited(SAMPLES[kind], edits))
        try:
            frames = count_frames(path)
            assert frames >= 1
            pixels, facts = read_image(path, frames - 1)
        except UnreadableImage as error:
            message = str(error)
        else:
            assert pixels.ndim == 3
            assert pixels.shape[0] in (1, 3)
            assert pixels.flags.c_contiguous
            assert pixels.flags.writeable
            assert np.isfinite(pixels).all()
            message = f"{path} {facts!r}."
        assert message.startswith(f"{path} ")
        assert message.endswith(".")
        assert message.isprintable()
        assert SECRET not in message


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_samples_themselves_are_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(SAMPLES[kind])
    pixels, facts = read_image(path, 0)
    assert facts.format == kind.split()[0]
    assert pixels.shape[1:] == ((28, 28) if "medmnist" in kind else (24, 32))
