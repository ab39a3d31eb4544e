"""Manifests built from patterns, headers and layouts; patients as codes."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glcm_mae.data.listing import build_manifest
from glcm_mae.data.pseudonyms import pseudonym, read_key
from glcm_mae.errors import UserError

from ..audit.sets import write_dicom
from .test_layouts import touch

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)


def rows(folder: Path, **settings) -> list[tuple[str, str | None, str, str | None]]:
    manifest, _ = build_manifest(folder, folder.parent / "out/manifest.csv", **settings)
    return [
        (r.path.relative_to(folder).as_posix(), r.label, r.patient, r.split)
        for r in manifest.records
    ]


def test_a_pattern_names_class_patient_and_split(tmp_path: Path) -> None:
    touch(tmp_path, "x/train/ill_p1_a.png", "x/train/well_p2.PNG", "y/test/ill_p3.png")
    touch(tmp_path, "x/.hidden/ill_p9.png", "x/train/._ill_p1.png", "x/notes.txt")
    pattern = r"(?P<split>train|test)/(?P<label>[a-z]+)_(?P<patient>p\d+)"
    assert rows(tmp_path, pattern=pattern) == [
        ("x/train/ill_p1_a.png", "ill", "p1", "train"),
        ("x/train/well_p2.PNG", "well", "p2", "train"),
        ("y/test/ill_p3.png", "ill", "p3", "test"),
    ]
    assert [split for *_, split in rows(tmp_path, pattern=pattern, official_split=False)] == [
        None,
        None,
        None,
    ]


def test_only_what_the_pattern_names_is_taken(tmp_path: Path) -> None:
    touch(tmp_path, "ill/p1.png")
    manifest, told = build_manifest(tmp_path, "m.csv", pattern=r"(?P<label>\w+)/")
    assert (manifest.records[0].label, manifest.has_patients) == ("ill", False)
    assert told == "1 images: ill 1."
    manifest, _ = build_manifest(tmp_path, "m.csv", pattern=r"(?P<patient>p\d)")
    assert (manifest.records[0].label, manifest.records[0].patient) == (None, "p1")


def test_left_out_files_are_gone(tmp_path: Path) -> None:
    touch(tmp_path, "ill/1.png", "ill/1_mask.png")
    assert [row[0] for row in rows(tmp_path, leave_out=r"_mask\.png$")] == ["ill/1.png"]
    with pytest.raises(UserError, match="no images left: mend leave_out"):
        rows(tmp_path, leave_out=".")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pattern": "("}, "pattern is no regular expression"),
        ({"leave_out": "["}, "leave_out is no regular expression"),
        ({"pattern": r"(?P<id>\d)"}, "names id: name one or more of label, patient and split"),
        ({"pattern": r"\d"}, "names no group"),
        ({"pattern": r"(?P<patient>q\d)"}, r"a/1.png does not fit pattern .* --leave_out"),
        ({"pattern": r"(?P<patient>q?)"}, "does not fit"),
        ({"pattern": r"(?P<split>a)"}, "names the split 'a'.*one of train, val, test"),
        ({"layout": "busi", "pattern": "(?P<label>a)"}, "leave pattern, columns and dicom"),
        ({"layout": "busi", "dicom_patients": True}, "leave pattern, columns and dicom"),
        ({"dicom_patients": True}, "name its file with --key_file"),
        ({"columns": {"path": "file"}}, "columns are those of a CSV, and .* is none"),
        ({"rename": {"b": "ill"}}, "names the class 'b', which .* its classes are a"),
        ({"rename": {"a": ""}}, "no images left: mend rename"),
    ],
)
def test_mistakes_get_a_sentence(tmp_path: Path, settings: dict, words: str) -> None:
    touch(tmp_path, "a/1.png")
    with pytest.raises(UserError, match=words):
        rows(tmp_path, **settings)


def test_classes_get_other_names_are_joined_and_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "Cancer/1.png", "malign/2.png", "Other/3.png", "benign/4.png")
    names = {"Cancer": "malignant", "malign": "malignant", "Other": ""}
    manifest, told = build_manifest(tmp_path, "m.csv", rename=names)
    assert manifest.classes == ("benign", "malignant")
    assert told == "3 images: benign 1, malignant 2."


def test_a_table_of_another_make_is_translated(tmp_path: Path) -> None:
    touch(tmp_path, "images/im7.png", "images/im8.png", "images/im9.png")
    table = tmp_path / "clinical.csv"
    table.write_text("id;dx;age;site\n7;1;51;A\n7;1;52;A\n8;0;60;B\n9;0;61;B\n")
    columns = {"path": "images/im{id}.png", "label": "dx", "patient": "{site}-{id}"}
    manifest, told = build_manifest(table, "m.csv", columns=columns, rename={"1": "ill"})
    assert [(r.path.name, r.label, r.patient) for r in manifest.records] == [
        ("im7.png", "ill", "A-7"),
        ("im8.png", "0", "B-8"),
        ("im9.png", "0", "B-9"),
    ]
    assert told == "3 images of 3 patients: 0 2, ill 1."
    settings = {"columns": columns, "pattern": r"images/(?P<label>im\d)", "leave_out": "im9"}
    manifest, _ = build_manifest(table, "m.csv", **settings)
    assert [(r.label, r.patient) for r in manifest.records] == [("im7", "A-7"), ("im8", "B-8")]


def test_patients_of_headers_become_codes(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    for number, patient in enumerate(["ID77", "ID78", "ID77"]):
        write_dicom(folder / "ill" / f"{number}.dcm", PIXELS, PatientID=patient)
    settings = {"dicom_patients": True, "key_file": str(tmp_path / "keys/secret")}
    first = rows(folder, **settings)
    codes = [patient for *_, patient, _ in first]
    assert codes[0] == codes[2] != codes[1]
    assert all(len(code) == 16 and code[:2] != "77" for code in codes)
    assert rows(folder, **settings) == first
    assert rows(folder, **{**settings, "key_file": str(tmp_path / "other")}) != first
    assert codes[0] == pseudonym("ID77", (tmp_path / "keys/secret").read_bytes())


def test_two_hospitals_may_use_one_number(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    for name, issuer in (("a", "North"), ("b", "South"), ("c", "North")):
        path = folder / "ill" / f"{name}.dcm"
        write_dicom(path, PIXELS, PatientID="7", IssuerOfPatientID=issuer)
    codes = [row[2] for row in rows(folder, dicom_patients=True, key_file=str(tmp_path / "k"))]
    assert codes[0] == codes[2] != codes[1]


def test_a_header_without_a_patient_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    write_dicom(folder / "ill" / "0.dcm", PIXELS)
    key = str(tmp_path / "secret")
    with pytest.raises(UserError, match=r"0.dcm has no PatientID"):
        rows(folder, dicom_patients=True, key_file=key)
    Image.new("L", (4, 4)).save(folder / "ill" / "1.png")
    with pytest.raises(UserError, match=r"1.png is no DICOM file: leave it out"):
        rows(folder, dicom_patients=True, key_file=key, leave_out="0.dcm")


def test_a_key_also_hides_patients_of_a_pattern(tmp_path: Path) -> None:
    touch(tmp_path / "set", "p1.png", "p2.png")
    found = rows(tmp_path / "set", pattern=r"(?P<patient>p\d)", key_file=str(tmp_path / "key"))
    assert not {"p1", "p2"} & {row[2] for row in found}


def test_without_patients_a_key_hides_nothing(tmp_path: Path) -> None:
    touch(tmp_path / "set", "a/p1.png")
    _, _, patient, _ = rows(tmp_path / "set", key_file=str(tmp_path / "key"))[0]
    assert patient.endswith("p1.png")


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    place = tmp_path / "home/key"
    key = read_key(place, tmp_path / "study/m.csv")
    assert place.stat().st_mode & 0o777 == 0o600
    assert read_key(place, tmp_path / "study/m.csv") == key
    assert read_key(tmp_path / "home/key2", tmp_path / "study/m.csv") != key
    if os.name == "posix":
        place.chmod(0o640)
        with pytest.raises(UserError, match="can be read by others: run chmod 600"):
            read_key(place, tmp_path / "study/m.csv")


@pytest.mark.parametrize("place", ["study/key", "study/deep/key", "study/../study/key"])
def test_the_key_stays_away_from_the_manifest(tmp_path: Path, place: str) -> None:
    with pytest.raises(UserError, match="would lie beside"):
        read_key(tmp_path / place, tmp_path / "study/m.csv")
    assert not (tmp_path / place).exists()


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hospital")
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(UserError, match="holds 8 characters, too few"):
        read_key(tmp_path / "key", tmp_path / "study/m.csv")


def test_patients_on_two_sides_are_told(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "train/NORMAL/IM-0115-0001.jpeg",
        "test/NORMAL/IM-0115-0002.jpeg",
        "train/PNEUMONIA/person1_virus_1.jpeg",
        "test/PNEUMONIA/person2_virus_1.jpeg",
    )
    _, told = build_manifest(tmp_path, "m.csv", layout="chest_xray")
    assert "1 patient(s) stand on two sides" in told
    assert "--official_split false" in told
    _, told = build_manifest(tmp_path, "m.csv", layout="chest_xray", official_split=False)
    assert "two sides" not in told


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    try:
        os.close(os.open(os.fsencode(tmp_path) + b"/p1_\xff.png", os.O_CREAT))
    except OSError:
        pytest.skip("this file system takes no such names")
    with pytest.raises(UserError, match="no text in UTF-8: rename it"):
        build_manifest(str(tmp_path), "out.csv", pattern=r"(?P<patient>p\d+)")
