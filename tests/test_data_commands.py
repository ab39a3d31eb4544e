"""The commands data check, data split and data manifest, as one types them."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from glcm_mae.cli import main
from glcm_mae.data import read_manifest

from .audit.sets import flipped_copy, write_dicom, write_set
from .data.readers.samples import nifti
from .data.scenes import make_scenes

PATIENT = ["--patient_regex", r"^p\d+"]


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve distinct images and a mirrored copy that another patient is said to have."""
    folder = write_set(tmp_path_factory.mktemp("leaking") / "set")
    flipped_copy(folder / "benign/p1_a.png", folder / "benign/p90_a.png")
    return folder


def test_the_exit_code_says_whether_a_split_would_leak(leaking, tmp_path, capsys):
    clean = write_set(tmp_path / "clean")
    code, out, _ = run(capsys, "data", "check", clean, *PATIENT)
    assert (code, "No leak found" in out) == (0, True)
    code, out, _ = run(capsys, "data", "check", leaking, *PATIENT)
    assert (code, "A split by patient would leak" in out) == (1, True)
    code, out, err = run(capsys, "data", "check", tmp_path / "nowhere")
    assert (code, out) == (2, "")
    assert "nowhere does not exist" in err


def test_images_that_cannot_be_read_are_not_said_to_be_without_copies(tmp_path, capsys):
    clean = write_set(tmp_path / "set")
    first = next(clean.glob("*/*.png"))
    first.write_bytes(b"torn")
    code, out, _ = run(capsys, "data", "check", clean, *PATIENT)
    assert (code, "1 image(s) could not be read, and may be copies" in out) == (0, True)
    for image in clean.glob("*/*.png"):
        image.write_bytes(b"torn")
    code, out, _ = run(capsys, "data", "check", clean, *PATIENT)
    assert (code, "Whether a split would leak is unknown" in out) == (2, True)


def test_check_writes_its_report(leaking, tmp_path, capsys):
    code, out, _ = run(capsys, "data", "check", leaking, "-o", tmp_path / "audit")
    assert code == 1
    assert str(tmp_path / "audit/audit.html") in out
    audit = json.loads((tmp_path / "audit/audit.json").read_text())
    assert audit["source"] == str(leaking)
    assert audit["leaks"]
    (tmp_path / "file").touch()
    code, _, err = run(capsys, "data", "check", leaking, "-o", tmp_path / "file")
    assert (code, "is a file: choose a folder" in err) == (2, True)


def test_a_split_made_here_passes_the_check(leaking, tmp_path, capsys):
    out_csv = tmp_path / "split.csv"
    code, out, _ = run(capsys, "data", "split", leaking, "-o", out_csv, "--folds", 3, *PATIENT)
    assert code == 0
    assert "13 images in 12 groups" in out
    assert "1 images copies of others" in out
    code, out, _ = run(capsys, "data", "check", out_csv, "--folds", 3)
    assert (code, "No leak found" in out) == (0, True)
    manifest = read_manifest(out_csv)
    side = {record.path.stem: record.split for record in manifest.records}
    assert side["p1_a"] == side["p90_a"]
    assert set(side.values()) == {"train", "val", "test"}
    again = tmp_path / "again.csv"
    assert "images copies of others), seed 0." in out_of_split(capsys, leaking, again, *PATIENT)
    kept = out_of_split(capsys, out_csv, again, "--seed", 4)
    assert f"on the sides that {out_csv} gives." in kept
    assert "seed" not in kept


def out_of_split(capsys, images, out_csv, *more):
    code, out, _ = run(capsys, "data", "split", images, "-o", out_csv, "--folds", 3, *more)
    assert code == 0
    return out


def test_a_split_by_dicom_headers_passes_the_check(tmp_path, capsys):
    scenes = [np.asarray(scene) for scene in make_scenes(24, 64)]
    for number, scene in enumerate(scenes):
        path = tmp_path / "set" / "ab"[number % 2] / f"{number}.dcm"
        write_dicom(path, scene, PatientID=f"SECRET{number // 4}")
    out_csv = tmp_path / "split.csv"
    code, out, _ = run(capsys, "data", "split", tmp_path / "set", "-o", out_csv, "--folds", 3)
    assert (code, "in 6 groups" in out, "6 patients by DICOM headers" in out) == (0, True, True)
    assert "SECRET" not in out + out_csv.read_text()
    code, out, _ = run(capsys, "data", "check", out_csv, "--folds", 3)
    assert (code, "patients cross split" in out) == (0, False)


def test_a_report_does_not_go_among_the_images(leaking, capsys):
    code, _, err = run(capsys, "data", "check", leaking, "-o", leaking / "audit")
    assert (code, "in the folder of images" in err) == (2, True)
    assert not (leaking / "audit").exists()


def test_names_that_a_csv_would_change_are_refused(tmp_path, capsys):
    folder = write_set(tmp_path / "set")
    (folder / "benign").rename(folder / "benign ")
    code, _, err = run(capsys, "data", "split", folder, "-o", tmp_path / "split.csv")
    assert (code, "'benign ' begins or ends with a space" in err) == (2, True)
    assert not (tmp_path / "split.csv").exists()


def test_check_reports_what_training_refuses(leaking, tmp_path, capsys):
    """A manifest whose split parts copies and patients is audited, not refused."""
    rows = ["path,label,patient,split"]
    for number, path in enumerate(sorted(leaking.glob("*/*.png"))):
        side = "test" if path.stem == "p90_a" else "train"
        patient = "same" if path.stem in ("p0_a", "p90_a") else f"q{number}"
        rows.append(f"{path},{path.parent.name},{patient},{side}")
    (tmp_path / "m.csv").write_text("\n".join(rows))
    code, out, _ = run(capsys, "data", "check", tmp_path / "m.csv")
    assert code == 1
    assert "The given split leaks" in out
    assert "copies cross split" in out
    assert "patients cross split" in out


def test_folds_test_every_image_once(leaking, tmp_path, capsys):
    words = ["data", "split", leaking, "-o", tmp_path / "m.csv", "--method", "kfold", *PATIENT]
    assert run(capsys, *words, "--folds", 3)[0] == 0
    files = sorted(tmp_path.glob("*.csv"))
    assert [file.name for file in files] == [f"m-fold{n}.csv" for n in range(3)]
    tested = [r.path.name for f in files for r in read_manifest(f).records if r.split == "test"]
    assert sorted(tested) == sorted(path.name for path in leaking.glob("*/*.png"))
    first = [file.read_bytes() for file in files]
    assert run(capsys, *words, "--folds", 3)[0] == 0
    assert [file.read_bytes() for file in files] == first
    assert run(capsys, *words, "--folds", 3, "--seed", 1)[0] == 0
    assert [file.read_bytes() for file in files] != first


def test_a_given_split_is_kept(leaking, tmp_path, capsys):
    csv = tmp_path / "m.csv"
    run(capsys, "data", "split", leaking, "-o", csv, "--folds", 3, *PATIENT)
    code, _, _ = run(capsys, "data", "split", csv, "-o", tmp_path / "n.csv", "--seed", 5)
    assert code == 0
    assert (tmp_path / "n.csv").read_bytes() == csv.read_bytes()
    code, _, err = run(capsys, "data", "split", csv, "-o", tmp_path / "k.csv", "--method", "kfold")
    assert (code, "gives a split, which folds would override" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--folds", "7"], r"Class \w+ has 6 group\(s\) of patients and copies, too few"),
        (["--folds", "2"], "folds is 2: set it to 3 or more"),
        (["--fold", "9"], "fold is 9"),
        (["--seed", "-1"], "seed is -1"),
        (["--out", "split.txt"], "ends in .csv"),
    ],
)
def test_what_cannot_be_split_is_refused(leaking, tmp_path, capsys, words, sentence):
    import re

    given = ["data", "split", leaking, *PATIENT, "--out", tmp_path / "m.csv", *words]
    code, out, err = run(capsys, *given)
    assert (code, out) == (2, "")
    assert re.search(sentence, err)
    assert not (tmp_path / "m.csv").exists()


def test_a_manifest_of_a_known_set_goes_on_to_the_split(tmp_path, capsys):
    folder = write_set(tmp_path / "set", per_class=4)
    (folder / "normal").mkdir()
    for number, path in enumerate(sorted(folder.glob("benign/*.png"))):
        flipped_copy(path, folder / f"normal/normal ({number})_mask.png")
        path.rename(folder / f"normal/normal ({number}).png")
    for path in sorted(folder.glob("malignant/*.png"))[:2]:
        path.rename(folder / "benign" / path.name)
    csv = tmp_path / "m.csv"
    code, out, _ = run(capsys, "data", "manifest", folder, "-o", csv, "--layout", "busi")
    assert code == 0
    assert "lists 8 images: benign 2, malignant 2, normal 4. Next: glcm-mae data check" in out
    assert len(read_manifest(csv)) == 8


def test_a_manifest_of_dicom_headers_holds_no_identifier(tmp_path, capsys):
    for number in range(4):
        path = tmp_path / "set" / "ab"[number % 2] / f"{number}.dcm"
        write_dicom(path, np.full((8, 8), number), PatientID=f"SECRET{number // 2}")
    words = ["data", "manifest", tmp_path / "set", "-o", tmp_path / "study/m.csv"]
    words += ["--dicom_patients", "true"]
    code, _, err = run(capsys, *words)
    assert (code, "--key_file" in err) == (2, True)
    code, out, _ = run(capsys, *words, "--key_file", tmp_path / "key")
    assert code == 0
    assert "4 images of 2 patients" in out
    text = (tmp_path / "study/m.csv").read_text()
    assert "SECRET" not in text + out
    patients = read_manifest(tmp_path / "study/m.csv").patients.tolist()
    assert len(set(patients)) == 2
    code, _, err = run(capsys, *words, "--key_file", tmp_path / "study/key")
    assert (code, "would lie beside" in err) == (2, True)


def test_a_manifest_of_coronal_slices_goes_on_as_it_says(tmp_path, capsys):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.nii").write_bytes(nifti(np.zeros((4, 5, 6), np.int16)))
    csv = tmp_path / "m.csv"
    words = ["data", "manifest", tmp_path / "set", "--out", csv, "--plane", "coronal"]
    code, out, _ = run(capsys, *words)
    assert (code, "lists 5 images" in out) == (0, True)
    assert out.endswith(f"Next: glcm-mae data check {csv} --plane coronal\n")
    assert run(capsys, *shlex.split(out.partition("Next: glcm-mae ")[2]))[0] == 0


def test_a_manifest_is_not_written_over_the_one_it_is_made_of(leaking, tmp_path, capsys):
    listed = tmp_path / "set.csv"
    assert run(capsys, "data", "manifest", leaking, "--out", listed)[0] == 0
    before = listed.read_text()
    code, _, err = run(capsys, "data", "manifest", listed, "--out", listed)
    assert (code, "which is read: give another name" in err) == (2, True)
    assert listed.read_text() == before


def test_folds_are_not_written_over_the_manifest_they_are_dealt_from(leaking, tmp_path, capsys):
    listed = tmp_path / "set-fold2.csv"
    assert run(capsys, "data", "manifest", leaking, "--out", listed)[0] == 0
    before = listed.read_text()
    words = ["data", "split", listed, "--method", "kfold", "--folds", 3]
    code, _, err = run(capsys, *words, "--out", tmp_path / "set.csv")
    assert (code, f"out would write over {listed}, which is read" in err) == (2, True)
    assert (listed.read_text(), list(tmp_path.iterdir())) == (before, [listed])


def test_a_table_and_names_of_classes_are_given_as_pairs(tmp_path, capsys):
    write_set(tmp_path / "set")
    table = tmp_path / "set/table.csv"
    rows = [
        f"{path.relative_to(table.parent)},{path.stem[:2]}" for path in table.parent.glob("*/*.png")
    ]
    table.write_text("\n".join(["file,who", *rows]))
    pairs = ["--columns", "path=file,label={who}", "--rename", "p1=first,p2="]
    code, _, _ = run(capsys, "data", "manifest", table, "--out", tmp_path / "m.csv", *pairs)
    manifest = read_manifest(tmp_path / "m.csv")
    assert (code, "first" in manifest.classes, {"p1", "p2"} & set(manifest.classes)) == (
        0,
        True,
        set(),
    )
    for wrong, words in (("first", "'first'"), ("p1=a,p1=b", "'p1=b' twice"), ("=a", "'=a'")):
        code, _, err = run(
            capsys,
            "data",
            "manifest",
            table,
            "--out",
            tmp_path / "m.csv",
            *pairs[:2],
            "--rename",
            wrong,
        )
        assert (code, f"rename says {words}: say NAME=VALUE" in err) == (2, True)


def test_missing_files_are_listed_by_the_audit(tmp_path, capsys):
    folder = write_set(tmp_path / "set")
    rows = [f"{path.relative_to(folder)},{path.stem[:2]}" for path in folder.glob("*/*.png")]
    (folder / "m.csv").write_text("\n".join(["path,patient", *rows, "gone.png,p9"]))
    code, out, _ = run(capsys, "data", "check", folder / "m.csv")
    assert (code, "gone.png" in out) == (0, True)
