import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from glcm_mae.data import Manifest, Record, Split
from glcm_mae.data.perceptual import perceptual_hashes
from glcm_mae.errors import UserError
from glcm_mae.training.inputs import Images
from glcm_mae.training.seen import refuse_seen, tell_copies, tells_what_it_saw, write_seen


def _images(
    patients: str, hashes: str, has_patients: bool = True, perceptual: Sequence[str] = ()
) -> Images:
    """One image for each letter."""
    records = tuple(
        Record(Path(f"{h}.png"), "a", p if has_patients else f"{h}.png", None)
        for p, h in zip(patients, hashes, strict=True)
    )
    return Images(
        torch.eye(2).expand(len(hashes), 1, 2, 2),
        Manifest(records, ("a",), has_patients),
        list(hashes),
        list(perceptual) or [""] * len(hashes),
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Has seen the images x and y of the patients A and B, and not z of C."""
    folder = tmp_path / "run"
    write_seen(folder, _images("ABC", "xyz"), np.array([0, 1]), None)
    return folder


def _count(run: Path, images: Images, test: list[int]) -> int | None:
    return refuse_seen(str(run), images, test, allow=True)


def test_what_was_left_out_passes(run: Path) -> None:
    assert refuse_seen(str(run), _images("CDD", "zuv"), [0, 1, 2], allow=False) == 0


@pytest.mark.parametrize(
    ("patients", "hashes"),
    [("A", "u"), ("D", "x")],
    ids=["another image of a patient", "the same pixels under another name"],
)
def test_a_planted_leak_is_refused(run: Path, patients: str, hashes: str) -> None:
    images = _images("C" + patients, "z" + hashes)
    with pytest.raises(UserError, match=r"^1 of 2 test images.*run.*data\.fold.*--allow_seen"):
        refuse_seen(str(run), images, [0, 1], allow=False)
    assert _count(run, images, [0, 1]) == 1
    assert refuse_seen(str(run), images, [0], allow=False) == 0  # only what is tested counts


def test_copies_and_patients_named_alike_are_told_apart(run: Path) -> None:
    told = (
        r"^3 of 3 .*\(1 as they are or as copies, 2 only by a patient or a file of the same name; "
        r"such as x\.png\).*name patients who are other people apart .*patient=siteB-\{patient\}"
    )
    with pytest.raises(UserError, match=told):
        refuse_seen(str(run), _images("AAB", "xuv"), [0, 1, 2], allow=False)
    with pytest.raises(UserError) as error:
        refuse_seen(str(run), _images("D", "x"), [0], allow=False)
    assert "apart" not in str(error.value)


def test_a_copy_of_a_training_image_is_refused(tmp_path: Path) -> None:
    scenes = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    write_seen(
        tmp_path,
        _images("AB", "xy", perceptual=perceptual_hashes(scenes[:2])),
        np.array([0]),
        None,
    )
    mirrored = perceptual_hashes(torch.cat([scenes[:1].flip(2), scenes[1:]]))
    others = _images("CDE", "uvw", perceptual=mirrored)
    with pytest.raises(UserError, match=r"^1 of 3 test images, copies of them.*u\.png.*data split"):
        refuse_seen(str(tmp_path), others, [0, 1, 2], allow=False)
    assert refuse_seen(str(tmp_path), others, [1, 2], allow=False) == 0


def test_copies_on_two_sides_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    scenes = torch.randn(4, 64, 64, generator=torch.Generator().manual_seed(0))
    hashes = perceptual_hashes(torch.cat([scenes, 2 * scenes[1:2].flip(1)]))
    images = _images("ABCDE", "xyzuv", perceptual=hashes)
    parts = [Split(np.array([0, 1, 2]), np.array([3]), np.array([4]))]
    tell_copies(images, parts)
    assert re.match(r"1 of 1 test images have a copy .*v\.png.*data split", capsys.readouterr().err)
    tell_copies(images, [Split(np.array([0, 2]), np.array([3]), np.array([1, 4]))])
    assert capsys.readouterr().err == ""


def test_tables_of_earlier_runs_are_read(run: Path) -> None:
    lines = (run / "seen.csv").read_text().splitlines()
    (run / "seen.csv").write_text("".join(f"{line.rpartition(',')[0]}\n" for line in lines))
    assert _count(run, _images("AC", "xz"), [0, 1]) == 1
    write_seen(run, _images("ABC", "xyz"), np.array([0, 1]), None)  # resumed: completed
    assert (run / "seen.csv").read_text().splitlines() == lines


def test_an_image_counts_once_even_if_its_patient_is_known_too(run: Path) -> None:
    assert _count(run, _images("AABC", "xuyz"), [0, 1, 2, 3]) == 3


def test_file_names_are_no_patients(tmp_path: Path) -> None:
    write_seen(tmp_path, _images("AB", "xy", has_patients=False), np.array([0, 1]), None)
    assert _count(tmp_path, _images("AB", "uv", has_patients=False), [0, 1]) == 0
    assert _count(tmp_path, _images("AB", "uy", has_patients=False), [0, 1]) == 1


def test_no_name_stands_in_the_table(tmp_path: Path) -> None:
    write_seen(tmp_path, _images(["Jane Doe"], ["x"]), np.array([0]), None)  # type: ignore[arg-type]
    text = (tmp_path / "seen.csv").read_text()
    assert "Jane" not in text
    assert "png" not in text
    (row,) = csv.DictReader(text.splitlines())
    assert row["pixels"] == "x"
    assert len(row["patient"]) == 16


def test_what_is_unknown_of_the_first_weights_stays_unknown(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "imagenet.pth").touch()
    for name, before in (("next", tmp_path / "imagenet.pth"), ("after", tmp_path / "next")):
        write_seen(tmp_path / name, _images("E", "w"), np.array([0]), str(before))
        assert _count(tmp_path / name, _images("F", "t"), [0]) is None
        assert "is unknown" in capsys.readouterr().err
        assert _count(tmp_path / name, _images("E", "t"), [0]) == 1  # what is known still counts
        assert not tells_what_it_saw(str(tmp_path / name))
    assert tells_what_it_saw(str(run))


@pytest.mark.parametrize("file", [".", "encoder.safetensors"])
def test_weights_bring_what_they_have_seen(run: Path, tmp_path: Path, file: str) -> None:
    (run / "encoder.safetensors").touch()
    write_seen(tmp_path / "next", _images("E", "w"), np.array([0]), str(run / file))
    assert _count(tmp_path / "next", _images("AEF", "xut"), [0, 1, 2]) == 2


def test_random_weights_have_seen_nothing() -> None:
    assert refuse_seen(None, _images("A", "x"), [0], allow=False) == 0


def test_where_nothing_is_told_nothing_is_claimed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refuse_seen(str(tmp_path), _images("A", "x"), [0], allow=False) is None
    assert "has seen 1 of 1 test images is unknown" in capsys.readouterr().err


def test_a_resumed_run_on_other_images_is_refused(run: Path) -> None:
    write_seen(run, _images("ABC", "xyz"), np.array([0, 1]), None)
    for other in (_images("ABC", "xuz"), _images("ABCD", "xyzu")):
        with pytest.raises(UserError, match="begun on other images"):
            write_seen(run, other, np.arange(len(other) - 1), None)


def test_a_broken_table_is_refused(run: Path) -> None:
    whole = (run / "seen.csv").read_text()
    tables = (
        "a,b\n1,2\n",
        "a,b\n",
        "",
        "pixels,patient\n",
        whole[:-1],
        whole[:-9],
        f"{whole}x,y,zz\n",
    )
    for table in tables:
        (run / "seen.csv").write_text(table)
        with pytest.raises(UserError, match=r"seen\.csv is not a whole table of fingerprints"):
            refuse_seen(str(run), _images("A", "x"), [0], allow=True)


def test_what_is_unknown_is_told_beside_what_is_known(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (run / "seen.csv").open("a") as file:
        file.write("unknown,,\n")
    assert _count(run, _images("DE", "xu"), [0, 1]) == 1
    assert "has seen 1 of 2 test images is unknown" in capsys.readouterr().err


def test_a_black_image_tells_of_nobody(run: Path) -> None:
    images = _images("DE", "xy")
    black = replace(images, pixels=torch.zeros(2, 1, 2, 2))
    assert _count(run, images, [0, 1]) == 2
    assert _count(run, black, [0, 1]) == 0


def test_frames_of_one_file_are_one_patient_where_none_is_known(tmp_path):
    def slices(*frames: int) -> Images:
        path = Path("ct.nii")
        records = tuple(Record(path, "a", str(path), None, frame) for frame in frames)
        hashes = [f"hash {frame}" for frame in frames]
        manifest = Manifest(records, ("a",), False)
        return Images(
            torch.eye(2).expand(len(frames), 1, 2, 2), manifest, hashes, [""] * len(frames)
        )

    write_seen(tmp_path, slices(0, 1), np.array([0, 1]), None)
    assert _count(tmp_path, slices(2, 3), [0, 1]) == 2
    assert "ct.nii" not in (tmp_path / "seen.csv").read_text()


def test_a_run_goes_on_though_its_volumes_have_moved(tmp_path: Path) -> None:
    def slices(path: str) -> Images:
        records = tuple(Record(Path(path), "a", path, None, frame) for frame in (0, 1))
        manifest = Manifest(records, ("a",), has_patients=False)
        return Images(torch.eye(2).expand(2, 1, 2, 2), manifest, ["x", "y"], ["", ""])

    write_seen(tmp_path, slices("before/ct.nii"), np.array([0, 1]), None)
    write_seen(tmp_path, slices("after/ct.nii"), np.array([0, 1]), None)
    other = replace(slices("after/ct.nii"), hashes=["u", "v"])
    assert _count(tmp_path, other, [0, 1]) == 2
