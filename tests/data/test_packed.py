"""Packed images are those that would be read, whatever has become of files and pack since."""

import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from glcm_mae.data import LoadedImages, Record, UnreadableImage, load_images, read_manifest
from glcm_mae.data import packed as module
from glcm_mae.data.memory import Room
from glcm_mae.errors import UserError

WAY = {"image_size": (8, 8), "resize": "pad", "color": "gray"}


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Five images, one of them in colours, of three sizes."""
    rng = np.random.default_rng(0)
    shapes = [(8, 8), (9, 5), (8, 8, 3), (4, 12), (8, 8)]
    for n, shape in enumerate(shapes):
        Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8)).save(tmp_path / f"{n}.png")
    return [Record(tmp_path / f"{n}.png", None, str(n), None) for n in range(len(shapes))]


class Reader:
    """Reads images and counts how often it is asked."""

    def __init__(self, folder: Path, on_error: Any = "stop") -> None:
        self.folder, self.on_error, self.asked = folder, on_error, [0]

    def read(self, records: list[Record], room: Room | None = None) -> LoadedImages:
        more = {} if room is None else {"room": room}
        return load_images(records, (8, 8), "gray", "pad", None, self.on_error, **more)

    def __call__(self, records: list[Record], way: dict[str, Any] = WAY) -> LoadedImages:
        def load(room: Room) -> LoadedImages:
            self.asked[0] += 1
            return self.read(records, room)

        may_skip = self.on_error == "skip"
        return module.packed(self.folder, way, records, load, may_skip=may_skip)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path / "cache")


def check_same(found: LoadedImages, read: LoadedImages) -> None:
    assert torch.equal(found.pixels[:], read.pixels[:])
    assert found.kept.tolist() == read.kept.tolist()
    assert found.skipped == read.skipped
    assert found.hashes == read.hashes
    assert found.perceptual == read.perceptual
    assert found.lost_color.tolist() == read.lost_color.tolist()


def test_first_and_later_readings_are_the_same(records: list[Record], reader: Reader) -> None:
    for _ in range(2):
        check_same(reader(records), reader.read(records))
    assert reader.asked == [1]


def test_a_pack_serves_every_part_in_any_order(records: list[Record], reader: Reader) -> None:
    reader(records)
    for rows in ([3, 0], [2], [4, 3, 2, 1, 0], [1, 1]):
        part = [records[n] for n in rows]
        check_same(reader(part), reader.read(part))
    assert reader.asked == [1]


def test_who_comes_while_another_reads_waits_and_takes_its_pack(
    records: list[Record], reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = threading.Event()

    def slowly(room: Room) -> LoadedImages:
        begun.set()
        while "waiting" not in capsys.readouterr().err:
            time.sleep(0.01)
        return reader.read(records, room)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(module.packed, reader.folder, WAY, records, slowly)
        begun.wait(10)
        check_same(reader(records), first.result(10))
    assert reader.asked == [0]


def test_where_there_are_no_locks_each_may_read(
    records: list[Record],
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @contextmanager
    def unlocked(path: Path, if_busy: object) -> Iterator[Exception]:
        path.parent.mkdir(exist_ok=True)
        yield OSError("no locks here")

    def meanwhile(room: Room) -> LoadedImages:
        loaded = reader.read(records, room)
        check_same(reader(records), loaded)  # another process begins later and ends before
        return loaded

    monkeypatch.setattr(module, "locked", unlocked)
    for _ in range(2):
        check_same(module.packed(reader.folder, WAY, records, meanwhile), reader.read(records))
    assert reader.asked == [1]
    assert "cannot be locked (no locks here)" in capsys.readouterr().err


def test_a_larger_set_is_packed_anew(records: list[Record], reader: Reader) -> None:
    reader(records[:3])
    check_same(reader(records), reader.read(records))
    reader(records[2:])
    assert reader.asked == [2]


def test_other_tools_open_it(records: list[Record], reader: Reader) -> None:
    reader(records)
    (pack,) = reader.folder.glob("*/")
    stored = np.load(pack / "pixels.array")
    assert torch.equal(torch.from_numpy(stored), reader.read(records).pixels[:])
    assert json.loads((pack / "way.json").read_text())["resize"] == "pad"
    table = (pack / "images.csv").read_text()
    assert "png" not in table  # no name


def test_another_way_of_reading_is_another_pack(records: list[Record], reader: Reader) -> None:
    reader(records)
    reader(records, {**WAY, "resize": "crop"})
    assert reader.asked == [2]


def test_auto_is_the_colour_that_it_found(records: list[Record], reader: Reader) -> None:
    gray = [record for n, record in enumerate(records) if n != 2]
    reader(gray, {**WAY, "color": "auto"})
    for color, asked in (("auto", 1), ("gray", 1), ("rgb", 2)):
        reader(gray, {**WAY, "color": color})
        assert reader.asked == [asked]
    reader(gray[1:], {**WAY, "color": "gray"})
    assert reader.asked == [2]


def test_gray_is_not_auto(records: list[Record], reader: Reader) -> None:
    reader(records)
    reader(records, {**WAY, "color": "auto"})
    assert reader.asked == [2]


def test_another_version_of_the_code_reads_anew(
    records: list[Record], reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader(records)
    monkeypatch.setattr(module, "_code", lambda: {"torch": "other"})
    reader(records)
    assert reader.asked == [2]


def _overwrite(records: list[Record]) -> None:
    Image.new("L", (8, 8), 7).save(records[0].path)


def _overwrite_with_the_same_size_and_time(records: list[Record]) -> None:
    path = records[0].path
    before = path.stat()
    content = bytearray(path.read_bytes())
    Image.new("L", (8, 8), 7).save(path)
    padded = path.read_bytes().ljust(len(content), b"\0")
    path.write_bytes(padded)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def _swap_names(records: list[Record]) -> None:
    one, other = records[0].path, records[4].path
    for path in (one, other):
        os.utime(path, (0, 0))
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


@pytest.mark.parametrize(
    "change", [_overwrite, _overwrite_with_the_same_size_and_time, _swap_names]
)
def test_a_changed_file_is_read_anew(records: list[Record], reader: Reader, change: Any) -> None:
    reader(records)
    change(records)
    check_same(reader(records), reader.read(records))
    assert reader.asked == [2]


def test_unreadable_images_are_skipped_again_or_refused(
    records: list[Record], tmp_path: Path
) -> None:
    records[1].path.write_bytes(b"no image")
    skipping, stopping = (Reader(tmp_path / "cache", on) for on in ("skip", "stop"))
    for _ in range(2):
        check_same(skipping(records), skipping.read(records))
    check_same(skipping(records[1:3]), skipping.read(records[1:3]))
    assert skipping.asked == [1]
    with pytest.raises(UnreadableImage):
        stopping(records)
    check_same(stopping(records[2:]), stopping.read(records[2:]))
    assert stopping.asked == [1]
    with pytest.raises(UserError, match="None of the 1 images can be read") as with_cache:
        skipping(records[1:2])
    with pytest.raises(UserError) as without:
        skipping.read(records[1:2])
    assert str(with_cache.value) == str(without.value)
    assert not list(stopping.folder.glob(".*.tmp"))


def test_what_cannot_be_packed_leaves_nothing(records: list[Record], reader: Reader) -> None:
    def fail(room: Room) -> LoadedImages:
        room((5, 1, 8, 8))
        raise UserError("they differ")

    with pytest.raises(UserError, match="they differ"):
        module.packed(reader.folder, WAY, records, fail)
    assert [path.suffix for path in reader.folder.iterdir()] == [".lock"]
    check_same(reader(records), reader.read(records))


def test_a_killed_reading_is_cleared_away(records: list[Record], reader: Reader) -> None:
    reader(records)
    (pack,) = reader.folder.glob("*/")
    unfinished = pack.with_name(f".{pack.name}.tmp")  # as it was called while it was made
    pack.rename(unfinished)
    (unfinished / "way.json").unlink()
    check_same(reader(records), reader.read(records))
    assert not unfinished.exists()


@pytest.mark.parametrize("file", ["way.json", "images.csv"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"{", b"\xff\xfe", b"image,b\n1\n"])
def test_a_damaged_table_is_told_and_read_anew(
    records: list[Record],
    reader: Reader,
    file: str,
    content: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reader(records)
    (pack,) = reader.folder.glob("*/")
    (pack / file).write_bytes(content)
    for _ in range(2):
        check_same(reader(records), reader.read(records))
    assert reader.asked == [2]
    assert capsys.readouterr().err == f"{pack} is damaged and not used: remove it\n"  # once


def test_a_table_that_is_missing_is_damage(
    records: list[Record], reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    reader(records)
    (table,) = reader.folder.glob("*/images.csv")
    table.unlink()
    check_same(reader(records), reader.read(records))
    assert f"{table.parent} is damaged" in capsys.readouterr().err


def test_other_sets_are_not_waited_for(records: list[Record], reader: Reader) -> None:
    reader(records[:2])

    def load(room: Room) -> LoadedImages:
        with ThreadPoolExecutor() as pool:  # meanwhile, in other processes
            for part in (records[:2], records[3:]):
                check_same(pool.submit(reader, part).result(10), reader.read(part))
        return reader.read(records, room)

    module.packed(reader.folder, WAY, records, load)
    assert reader.asked == [2]


def test_an_error_in_reading_is_not_told_as_one_of_the_folder(
    records: list[Record], reader: Reader
) -> None:
    def fail(room: Room) -> LoadedImages:
        raise OSError("of an image")

    with pytest.raises(OSError, match="of an image"):
        module.packed(reader.folder, WAY, records, fail)


def test_damaged_pixels_are_refused(records: list[Record], reader: Reader) -> None:
    reader(records)
    (pixels,) = reader.folder.glob("*/pixels.array")
    pixels.write_bytes(pixels.read_bytes()[:-4])
    with pytest.raises(UserError, match=f"remove {pixels.parent}"):
        reader(records)


def test_a_full_disk_is_told_before_any_image_is_read(
    records: list[Record], reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(UserError, match=r"5 images of 1 x 8 x 8 values take 0\.0 MiB, of which"):
        reader(records)


def test_pixels_of_another_set_are_damage(records: list[Record], reader: Reader) -> None:
    reader(records)
    (pixels,) = reader.folder.glob("*/pixels.array")
    for shape in ((5, 1, 8, 4), (5, 1, 16, 16), (4, 1, 8, 8), (6, 1, 8, 8)):
        with pixels.open("wb") as file:
            np.save(file, np.zeros(shape, np.float32))
        with pytest.raises(UserError, match=f"it holds {shape[0]} images of {shape[2]} x "):
            reader(records)


def test_no_scan_takes_a_pack_for_images(
    records: list[Record], reader: Reader, tmp_path: Path
) -> None:
    """A cache that lay among listed images was audited, and trained on, as if it were some."""
    within = Reader(tmp_path / "set/a/cache")
    within.folder.parent.mkdir(parents=True)
    for record in records:
        record.path.rename(tmp_path / "set/a" / record.path.name)
    moved = [Record(tmp_path / "set/a" / r.path.name, None, r.patient, None) for r in records]
    within(moved)
    assert list(within.folder.glob("*/pixels.array"))
    found = read_manifest(tmp_path / "set").records
    assert sorted(record.path for record in found) == [record.path for record in moved]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_closed_folder_is_told(records: list[Record], tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(UserError, match="closed/cache cannot be written"):
        Reader(tmp_path / "closed/cache")(records)


def test_a_file_in_its_place_is_told(records: list[Record], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for cache in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(UserError, match=f"the cache {cache} is no folder"):
            Reader(cache)(records)
