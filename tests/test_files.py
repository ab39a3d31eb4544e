"""Files are written whole or not at all."""

import csv
import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glcm_mae.errors import UserError
from glcm_mae.files import csv_text, keep_inputs, whole_file, write_atomically

_cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(st.lists(st.tuples(_cells, _cells)))
@settings(deadline=None)
def test_any_text_in_a_table_is_read_back(rows):
    # Python before 3.13 leaves a carriage return bare where rows end in a line feed alone.
    text = csv_text(("a", "b"), rows)
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["a", "b"], *map(list, rows)]
    assert text.startswith("a,b\n")


def test_text_and_bytes(tmp_path):
    write_atomically(tmp_path / "a" / "text", "α\n")
    write_atomically(tmp_path / "a" / "bytes", b"\x00\xff")
    assert (tmp_path / "a" / "text").read_bytes() == "α\n".encode()
    assert (tmp_path / "a" / "bytes").read_bytes() == b"\x00\xff"
    assert len(list((tmp_path / "a").iterdir())) == 2


def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path):
    path = tmp_path / "checkpoint.pt"
    write_atomically(path, "old")
    # The device that is always full stands where the unfinished file would.
    (tmp_path / f".checkpoint.pt.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"No space left on device.*before it is intact: make room"):
        write_atomically(path, "new" * 100_000)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="run"):
        write_atomically(tmp_path / "file" / "run.txt", "x")


def test_a_file_written_piece_by_piece_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"old")
    with whole_file(path) as file:
        file.write(b"new ")
        assert path.read_bytes() == b"old"
        file.write(b"rows")
    assert path.read_bytes() == b"new rows"
    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.write(b"half" if 1 / 0 else b"")
    assert path.read_bytes() == b"new rows"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_an_input_is_not_written_over_by_any_name(tmp_path):
    (tmp_path / "scan.png").write_bytes(b"pixels")
    (tmp_path / "link.png").symlink_to("scan.png")
    keep_inputs(tmp_path / "map.png", [tmp_path / "scan.png"])
    for name in ("scan.png", "link.png", "../" + tmp_path.name + "/scan.png"):
        with pytest.raises(UserError, match="which is read: give another name"):
            keep_inputs(tmp_path / name, [tmp_path / "scan.png"])
