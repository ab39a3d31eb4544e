"""Patients that stand in DICOM headers alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glcm_mae.cli import main
from glcm_mae.data import Manifest, Record, holdout, persons, read_manifest
from glcm_mae.errors import UserError

from ..audit.sets import write_dicom

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)


def scans(folder: Path, names: list[str], side: str = "") -> Manifest:
    for number, person in enumerate(names):
        path = folder / side.format(number) / "ab"[number % 2] / f"{number}.dcm"
        write_dicom(path, PIXELS + number, **({"PatientID": person} if person else {}))
    return read_manifest(folder)


def test_images_of_one_person_are_one_group(tmp_path: Path) -> None:
    manifest = scans(tmp_path, ["7", "7", "8", "8", "", ""])
    groups = {record.path.stem: record.patient for record in manifest.records}
    assert groups["0"] == groups["1"]
    assert groups["2"] == groups["3"]
    assert len(set(groups.values())) == 4


@pytest.mark.parametrize("person", ["", "ANONYMOUS"])
def test_one_identifier_for_all_tells_nobody_apart(tmp_path: Path, person: str) -> None:
    manifest = scans(tmp_path, [person] * 4)
    assert not manifest.tells_patients
    assert len(set(manifest.patients.tolist())) == 4


def test_a_drawn_split_holds_them_together(tmp_path: Path) -> None:
    names = [f"P{number // 4}" for number in range(24)]
    manifest = scans(tmp_path, names)
    for fold in range(3):
        split = holdout(manifest, 3, fold, seed=0)
        sides = [
            {names[int(manifest.records[n].path.stem)] for n in side}
            for side in (split.train, split.val, split.test)
        ]
        assert sum(map(len, sides)) == 6


def test_a_given_split_that_parts_them_is_refused(tmp_path: Path) -> None:
    for side in ("train", "test"):
        scans(tmp_path / side, [f"P{number // 2}" for number in range(12)])
    with pytest.raises(UserError, match=r"6 patient\(s\), by DICOM headers, on two sides"):
        holdout(read_manifest(tmp_path), 3, 0, seed=0)


def test_a_person_is_one_patient_whose_name_tells_nothing(tmp_path: Path) -> None:
    manifest = scans(tmp_path, ["7", "8", "7", "8", "9", ""])
    patients = {r.path.stem: Path(r.patient).stem for r in manifest.records}
    assert patients == {"0": "0", "2": "0", "4": "4", "1": "1", "3": "1", "5": "5"}
    assert not manifest.has_patients
    manifest.write(tmp_path / "manifest.csv")
    assert ",patient," in (tmp_path / "manifest.csv").read_text()
    again = read_manifest(tmp_path / "manifest.csv")
    assert again.patients.tolist() == manifest.patients.tolist()


def test_a_header_is_read_once_for_all_frames_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_dicom(tmp_path / "cine.dcm", PIXELS, PatientID="7", NumberOfFrames=4)
    write_dicom(tmp_path / "other.dcm", PIXELS, PatientID="8")
    asked = []
    read = persons.dicom_patient
    monkeypatch.setattr(persons, "dicom_patient", lambda path: asked.append(path) or read(path))
    frames = tuple(Record(path, None, str(path), None, frame) for frame in range(300))
    other = Record(tmp_path / "other.dcm", None, "other.dcm", None)
    found = persons.with_persons([*frames, other])
    assert asked == [path, tmp_path / "other.dcm"]
    assert len({record.person for record in found}) == 2
    assert len(found) == 301


def test_images_of_a_group_count_as_one_and_nobody_is_known(tmp_path: Path) -> None:
    for name in "abc":
        Image.fromarray(PIXELS).save(tmp_path / f"{name}.png")
    table = tmp_path / "manifest.csv"
    table.write_text("path,copy_group\na.png,group 0\nb.png,group 0\nc.png,group 1\n")
    manifest = read_manifest(table)
    assert manifest.patients.tolist() == ["group 0", "group 0", "group 1"]
    assert not manifest.has_patients
    assert persons.identities(manifest) == [(), (), ()]
    table.write_text("path,copy_group,patient\na.png,group 0,p\n")
    with pytest.raises(UserError, match="has the columns patient and copy_group"):
        read_manifest(table)


def test_groups_are_the_last_word_on_who_counts_as_one(tmp_path: Path) -> None:
    manifest = scans(tmp_path, ["7", "7", "8", "8"])
    apart = [replace(record, patient=record.name) for record in manifest.records]
    replace(manifest, records=tuple(apart), has_groups=True).write(tmp_path / "all.csv")
    again = read_manifest(tmp_path / "all.csv")
    assert len(set(again.patients)) == 4
    assert len(set(persons.identities(again))) == 2


def test_an_identifier_that_all_share_counts_only_if_doubtful(tmp_path: Path) -> None:
    manifest = scans(tmp_path, ["7", "7"])
    assert persons.identities(manifest) == [(), ()]
    [first, second] = persons.identities(manifest, doubtful=True)
    assert first == second != ()
    [known, *_] = persons.identities(
        replace(manifest, records=(replace(manifest.records[0], patient="7"),), has_patients=True)
    )
    assert first == known  # a manifest's names are often those of the headers


def test_frames_of_a_file_are_known_again_but_not_those_of_medmnist(tmp_path: Path) -> None:
    np.savez(tmp_path / "stack.npz", np.stack([PIXELS, PIXELS]))
    sides = {
        f"{side}_{what}": np.zeros((2, 28, 28) if what == "images" else (2, 1), np.uint8)
        for side in ("train", "val", "test")
        for what in ("images", "labels")
    }
    np.savez(tmp_path / "mnist.npz", **sides)
    frames = [
        Record(tmp_path / name, None, "group 0", None, frame)
        for name in ("stack.npz", "mnist.npz")
        for frame in (0, 1)
    ]
    found = persons.identities(Manifest(tuple(frames), (), has_patients=False))
    assert found[0] == found[1] != ()
    assert found[2:] == [(), ()]


def test_a_split_keeps_the_groups_of_a_manifest(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ["path,label,copy_group"]
    for n in range(24):
        Image.fromarray(rng.integers(0, 255, (32, 32), np.uint8)).save(tmp_path / f"{n}.png")
        rows.append(f"{n}.png,{'ab'[n // 2 % 2]},group {n // 2}")
    (tmp_path / "groups.csv").write_text("\n".join(rows))
    words = [str(tmp_path / name) for name in ("groups.csv", "split.csv")]
    assert main(["data", "split", words[0], "--folds", "3", "--out", words[1]]) == 0
    before, after = map(read_manifest, words)
    assert after.patients.tolist() == before.patients.tolist()
    assert after.has_groups
    assert not after.tells_patients
    listed = str(tmp_path / "listed.csv")
    assert main(["data", "manifest", words[0], "--rename", "a=first", "--out", listed]) == 0
    assert read_manifest(listed).patients.tolist() == before.patients.tolist()
