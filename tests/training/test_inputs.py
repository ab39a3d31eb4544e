from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glcm_mae.data import Manifest, Record, Split, read_manifest
from glcm_mae.errors import UserError
from glcm_mae.training.inputs import (
    check_classes,
    labelled,
    read_images,
    split_of,
    tell_lacking_classes,
)

from . import small


def _write(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("L", (16, 16), 51).save(folder / name)
    return folder


def test_images_come_in_the_order_of_the_manifest(manifest: Path) -> None:
    whole = read_manifest(manifest)
    images = read_images(small.data(manifest), whole.subset([5, 2]), quiet=True)
    assert [record.path.name for record in images.manifest.records] == ["00005.png", "00002.png"]
    stored = np.asarray(Image.open(images.manifest.records[0].path))
    np.testing.assert_allclose(images.pixels[0, 0].numpy() * 255, stored, atol=1e-4)
    assert len(images) == len(images.hashes) == 2


def test_what_a_window_leaves_black_is_told(tmp_path: Path, capsys: Any) -> None:
    _write(tmp_path, ["a/0.png"])
    Image.new("I;16", (16, 16), 4000).save(tmp_path / "a/1.png")
    read_images(small.data(tmp_path, window=(0.0, 4095.0)))
    assert (
        "1 of 2 images have no value above 409.5, 10% of data.window (such as "
        f"{tmp_path / 'a/0.png'})" in capsys.readouterr().err
    )


def test_what_a_window_leaves_white_is_told(tmp_path: Path, capsys: Any) -> None:
    images = _write(tmp_path, ["a/0.png", "a/1.png"])
    read_images(small.data(images, window=(-1000.0, 50.0)))
    said = capsys.readouterr().err
    assert "2 of 2 images have no value below -55, 90% of data.window (such as " in said
    assert "they will be nearly white" in said


def test_what_its_own_file_leaves_black_is_told(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "a").mkdir()
    for name, top in (("0", 4095), ("1", 40_000)):
        Image.new("I;16", (16, 16), top).save(tmp_path / f"a/{name}.png")
    read_images(small.data(tmp_path))
    said = capsys.readouterr().err
    assert "1 of 2 images have no value above 10% of what their files can hold" in said
    assert "set data.window to their range" in said


@pytest.mark.parametrize("quiet", [False, True])
def test_skipped_images_are_named_by_one_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quiet: bool
) -> None:
    _write(tmp_path, ["a.png", "b.png"])
    (tmp_path / "a.png").write_bytes(b"torn")
    images = read_images(small.data(tmp_path, on_error="skip"), quiet=quiet)
    assert [record.path.name for record in images.manifest.records] == ["b.png"]
    assert ("skipped" in capsys.readouterr().err) is not quiet


def test_labels_are_needed_for_every_image(tmp_path: Path) -> None:
    _write(tmp_path, ["a.png", "b.png"])
    with pytest.raises(UserError, match="2 of 2 images without a label"):
        labelled(small.data(tmp_path))


def test_one_class_is_too_few(tmp_path: Path) -> None:
    _write(tmp_path, ["benign/a.png", "benign/b.png"])
    with pytest.raises(UserError, match="'benign' alone"):
        labelled(small.data(tmp_path))


def test_a_class_that_training_lacks_is_named() -> None:
    manifest = small.images().manifest
    check_classes(manifest, np.array([0, 1]))
    with pytest.raises(UserError, match=r"class 'b' has 0 patient\(s\)"):
        check_classes(manifest, np.array([0, 2]))
    with pytest.raises(UserError, match=r"class 'b' has 1 patient\(s\) .* needs 2"):
        check_classes(manifest, np.array([0, 1, 2]), least=2)


def test_classes_that_a_part_lacks_are_told(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = read_manifest(manifest)
    everything = np.arange(len(whole))
    without = np.flatnonzero(whole.labels != whole.classes.index("sparse"))
    tell_lacking_classes(whole, [Split(everything, everything, everything)])
    tell_lacking_classes(whole, [Split(everything, everything[:0], everything)])
    assert capsys.readouterr().err == ""
    tell_lacking_classes(whole, [Split(everything, without, everything)])
    assert capsys.readouterr().err == (
        "no image of class 'sparse' in the val part: what is chosen there, an epoch or a "
        "threshold, is chosen without it\n"
    )
    two = [Split(everything, everything, part) for part in (without, everything)]
    tell_lacking_classes(whole, two)
    assert "'sparse' in 1 of 2 test parts: what is measured" in capsys.readouterr().err


def test_no_other_fold_than_the_split_that_images_give() -> None:
    records = [
        Record(Path(f"{i}.png"), "ab"[i % 2], f"p{i}", ("train", "val", "test")[i % 3])
        for i in range(12)
    ]
    given = Manifest(tuple(records), ("a", "b"), True)
    split = split_of(small.data(Path("m.csv")), given)
    assert split.test.tolist() == [2, 5, 8, 11]
    assert split_of(small.data(Path("m.csv"), fold=0), given).test.tolist() == split.test.tolist()
    with pytest.raises(UserError, match=r"m.csv gives the split, which data.fold 1 does not"):
        split_of(small.data(Path("m.csv"), fold=1), given)
    no_val = [replace(r, split="train" if r.split == "val" else r.split) for r in records]
    vals = [
        split_of(small.data(Path("m.csv"), fold=fold), replace(given, records=tuple(no_val))).val
        for fold in (0, 1)
    ]
    assert vals[0].tolist() != vals[1].tolist()


def test_files_that_are_missing_are_skipped_as_unreadable_ones(tmp_path: Path, capsys: Any) -> None:
    _write(tmp_path, ["a/0.png", "a/1.png", "b/2.png"])
    table = tmp_path / "m.csv"
    table.write_text("path,label\na/0.png,a\nb/2.png,b\na/9.png,a\n")
    data = small.data(table)
    with pytest.raises(UserError, match=r"1 of 3 files that are missing .*on_error"):
        labelled(data)
    skipping = replace(data, on_error="skip")
    images = read_images(skipping, labelled(skipping))
    assert [record.path.name for record in images.manifest.records] == ["0.png", "2.png"]
    assert "skipped" in capsys.readouterr().err
    assert images.skipped == 1


def test_thousands_of_skipped_images_are_not_named_one_by_one(tmp_path: Path, capsys: Any) -> None:
    _write(tmp_path, ["a/good.png"])
    for number in range(25):
        (tmp_path / f"a/{number:02}.png").touch()
    assert read_images(small.data(tmp_path, on_error="skip")).skipped == 25
    *named, last = capsys.readouterr().err.splitlines()[:21]
    assert len({line.split(":")[0] for line in named}) == 20
    assert last.startswith("skipped 25 of 26 images, of which the first 20 are named above")
