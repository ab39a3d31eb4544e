import os
import stat

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glcm_mae.errors import UserError
from glcm_mae.evaluation import Predictions, read_predictions

HEADER = "path,patient,label,p_benign,p_malignant"
GOOD = "a.png,p1,benign,0.75,0.25"


def table(**changes):
    columns = {
        "paths": ("a", "b", "c"),
        "patients": ("1", "1", "2"),
        "labels": np.array([0, 0, 1]),
        "classes": ("benign", "malignant"),
        "probabilities": np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]]),
    }
    return Predictions(**(columns | changes))


def assert_same(a, b):
    assert (a.paths, a.patients, a.classes) == (b.paths, b.patients, b.classes)
    for name in ("labels", "probabilities", "folds", "seeds"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def refusal(tmp_path, *lines):
    file = tmp_path / "predictions.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_predictions(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    return message.removeprefix(f"{file}: ")


@pytest.mark.parametrize(
    "classes",
    [("a,b", 'quo"te', "new\nline"), ("良性", "злокачественный", " p_ "), ("\r\n", "0", "é/ü")],
)
def test_round_trip_with_odd_names(tmp_path, classes):
    written = table(
        classes=classes,
        paths=("x, y.png", "z\n.png", "乳房.png"),
        probabilities=np.array([[0.1, 0.2, 0.7], [1 / 3, 1 / 3, 1 / 3], [1, 0, 1e-17]]),
        folds=[0, 0, 1],
        seeds=[-1, 5, 2**62],
    )
    written.write(tmp_path / "new" / "predictions.csv")
    assert_same(written, read_predictions(tmp_path / "new" / "predictions.csv"))


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)


@given(st.lists(words, min_size=2, max_size=4, unique=True), words, st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_round_trip_of_any_text(tmp_path_factory, classes, patient, p):
    probabilities = np.zeros((1, len(classes)))
    probabilities[0, :2] = p, 1 - p
    written = Predictions((patient,), (patient,), [1], classes, probabilities)
    file = tmp_path_factory.mktemp("table") / "predictions.csv"
    written.write(file)
    assert_same(written, read_predictions(file))


def test_columns_in_any_order_and_foreign_ones_ignored(tmp_path):
    file = tmp_path / "predictions.csv"
    text = "p_b,note,seed,label,p_a,path,patient\n0.25,hello,3,a,0.75,x.png,1\n\n"
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())  # as Excel saves
    read = read_predictions(file)
    assert read.classes == ("b", "a")
    assert read.labels.tolist() == [1]
    assert read.seeds.tolist() == [3]
    assert read.folds is None


def test_float32_and_lists_are_converted():
    p = np.array([[0.1, 0.9]] * 3, dtype=np.float32)
    made = table(probabilities=p, labels=[0, 0, 1], paths=["a", "b", "c"])
    assert made.probabilities.dtype == np.float64
    assert made.labels.dtype == np.int64
    assert made.paths == ("a", "b", "c")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "the file is empty: give a predictions.csv."),
        ([HEADER], "there are no predictions: give a row an image, or remove the file."),
        (
            ["path,p_a,p_b", "x,1,0"],
            "has no column patient, label, but 'path', 'p_a', 'p_b': its first line must name the "
            "columns, separated by commas.",
        ),
        (
            ["path;patient;label;p_a;p_b", "x;1;a;0,25;0,75"],
            "has no column path, patient, label, but 'path;patient;label;p_a;p_b': its first line "
            "must name the columns, separated by commas.",
        ),
        (["path,patient,label,p_a,p_a", "x,1,a,1,0"], "has the column 'p_a' twice: keep one."),
        (
            ["path,patient,label,p_a", "x,1,a,1"],
            "the number of probability columns is 1: give one column p_<class> for each of two or "
            "more classes.",
        ),
        (
            ["path,patient,label,p_,p_a", "x,1,a,0,1"],
            "a class has no name or the name of another: give each its own.",
        ),
        (
            [HEADER, GOOD, "b.png,p1,benign,0.75"],
            "row 3: the number of cells is not that of the header, 5: complete the row.",
        ),
        (
            [HEADER, GOOD, "b.png,p1,normal,0.75,0.25"],
            "row 3: the label 'normal' has no column 'p_normal': correct the label or add the "
            "column (there are 'benign', 'malignant').",
        ),
        (
            [HEADER, GOOD, "b.png,p1,benign,high,0.25"],
            "row 3: 'p_benign' is not a number: correct it.",
        ),
        (
            [HEADER, GOOD, "b.png,p1,benign,nan,0.25"],
            "row 3: a probability is not a finite number: look in the log of the run for a loss "
            "that became NaN.",
        ),
        (
            [HEADER, "b.png,p1,benign,1.5,-0.5"],
            "row 2: a probability lies outside 0 to 1: write the softmax of the scores.",
        ),
        (
            [HEADER, GOOD, "b.png,p1,benign,0.75,0.252"],
            "row 3: the probabilities do not sum to 1 (within 0.001): write the softmax of the "
            "scores.",
        ),
        (
            [HEADER, "b.png,,benign,0.75,0.25"],
            "row 2: the patient is empty: name the patient, or repeat the path where it is "
            "unknown.",
        ),
        (
            [HEADER, GOOD, GOOD],
            "row 3: the path has occurred before: keep one row per image (and per seed, with a "
            "column seed); of images that validate several folds, the row of one.",
        ),
        (
            [HEADER + ",seed", GOOD + ",0", "a.png,p1,malignant,0.75,0.25,1"],
            "row 3: the image has another label or patient under an earlier seed: give it the "
            "same.",
        ),
        (
            [HEADER + ",fold", GOOD + ",0", "b.png,p1,benign,0.75,0.25,1"],
            "row 3: the patient is tested in another fold as well, so a model was trained on a "
            "patient it is tested on: split by patient.",
        ),
        (
            [HEADER + ",fold", GOOD + ",first"],
            "row 2: 'fold' is not a whole number: correct it.",
        ),
        (
            [HEADER + ",seed", GOOD + "," + "9" * 30],
            "row 2: 'seed' is not a whole number: correct it.",
        ),
    ],
)
def test_refusals_name_the_file_and_the_row(tmp_path, lines, message):
    assert refusal(tmp_path, *lines) == message


def test_refusals_never_show_a_path_or_a_patient(tmp_path):
    row = "/data/JANE DOE.png,JANE DOE,benign,0.75,0.2"
    assert "JANE" not in refusal(tmp_path, HEADER, row)
    assert "JANE" not in refusal(tmp_path, HEADER, row.replace("0.2", "0.25"), row)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"none.csv: cannot be read \(No such file"):
        read_predictions(tmp_path / "none.csv")
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)"):
        read_predictions(tmp_path)
    latin = tmp_path / "latin.csv"
    latin.write_bytes(HEADER.encode() + "\na,1,bénigne,1,0".encode("latin-1"))
    with pytest.raises(UserError, match="is not CSV in UTF-8"):
        read_predictions(latin)
    assert "is not CSV in UTF-8" in refusal(tmp_path, HEADER, '"a"b,1,benign,1,0')


def test_the_same_path_may_return_with_another_seed(tmp_path):
    table(paths=("a", "a", "c"), seeds=[0, 1, 0]).write(tmp_path / "p.csv")
    read = read_predictions(tmp_path / "p.csv")
    assert (read.n_images, read.n_patients) == (2, 2)


@pytest.mark.parametrize("name", ["patients", "labels", "folds", "seeds"])
def test_shapes_that_disagree(name):
    with pytest.raises(ValueError, match=f"3 paths need {name}"):
        table(**{name: [1, 0]})
    with pytest.raises(ValueError, match="probabilities of shape"):
        table(probabilities=np.ones((3, 3)) / 3)
    with pytest.raises(UserError, match="row 4: the label is not one of the classes"):
        table(labels=[0, 1, 2])


def test_by_patient_averages_the_images_of_each_patient():
    patients = table(folds=[4, 4, 5]).by_patient()
    assert patients.paths == patients.patients == ("1", "2")
    np.testing.assert_allclose(patients.probabilities, [[0.75, 0.25], [0.3, 0.7]])
    assert patients.labels.tolist() == [0, 1]
    assert patients.folds.tolist() == [4, 5]
    assert patients.seeds is None


def test_by_patient_keeps_seeds_apart():
    patients = table(
        paths=("a", "a", "b"), patients=("1", "1", "1"), labels=[0, 0, 0], seeds=[0, 1, 0]
    ).by_patient()
    assert patients.paths == ("1", "1")
    assert patients.seeds.tolist() == [0, 1]
    np.testing.assert_allclose(patients.probabilities, [[0.6, 0.4], [0.6, 0.4]])


def test_by_patient_refuses_patients_of_two_classes():
    mixed = table(patients=("1", "2", "2"))
    assert mixed.n_mixed_patients == 1
    with pytest.raises(UserError, match="1 of 2 patients have images of more than one class"):
        mixed.by_patient()


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "predictions.csv"
    table().write(file)
    before = file.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, fail)
            with pytest.raises(UserError, match="cannot be written"):
                table(labels=[1, 1, 1]).write(file)
        assert file.read_bytes() == before
        assert [f.name for f in tmp_path.iterdir()] == ["predictions.csv"]


def test_others_may_read_what_was_written(tmp_path):
    (tmp_path / "plain").touch()
    table().write(tmp_path / "p.csv")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "p.csv")}
    assert len(modes) == 1


def of_patients(patients, **changes):
    n = len(patients)
    table = {"paths": range(n), "patients": patients, "labels": [0, 1] * (n // 2)}
    table |= {"classes": ("benign", "malignant"), "probabilities": [[0.5, 0.5]] * n}
    return Predictions(**(table | changes))


def test_numbers_may_name_patients_and_the_text_of_a_number_is_the_same_patient():
    assert of_patients(np.arange(4)).patients == ("0", "1", "2", "3")
    assert of_patients([1, "1", 1, "1"]).n_patients == 1


@pytest.mark.parametrize("missing", [None, float("nan"), np.float64("nan"), pd.NA, pd.NaT, ""])
def test_a_missing_patient_is_refused(missing):
    with pytest.raises(UserError, match="row 3: the patient is empty"):
        of_patients(["a", missing, "b", "c"])


@pytest.mark.parametrize("name", ["labels", "folds", "seeds"])
@pytest.mark.parametrize(
    "values",
    [
        [0.9, 1.0],
        [float("nan"), 1],
        [float("inf"), 1],
        [1e300, 1],
        [2**63, 1],
        ["0", "1"],
        [None, 1],
    ],
)
def test_what_is_no_whole_number_is_refused(name, values):
    with pytest.raises(ValueError, match=f"{name} must be whole numbers"):
        of_patients(["a", "b"], **{name: values})
