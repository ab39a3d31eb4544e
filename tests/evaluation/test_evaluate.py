import json
import subprocess
import sys

import numpy as np
import pytest

import glcm_mae
from glcm_mae.errors import UserError
from glcm_mae.evaluation import (
    Predictions,
    compute_metrics,
    evaluate,
    format_table,
    patient_bootstrap,
    sensitive_threshold,
    specific_threshold,
    youden_threshold,
)

CLASSES = ("benign", "malignant", "normal")


def predictions(images_each=3, n_patients=40, **changes):
    rng = np.random.default_rng(0)
    n = n_patients * images_each
    labels = np.repeat(rng.integers(0, 3, n_patients), images_each)
    scores = rng.random((n, 3)) + 0.7 * np.eye(3)[labels]
    columns = {
        "paths": [f"{i}.png" for i in range(n)],
        "patients": [f"patient {i // images_each}" for i in range(n)],
        "labels": labels,
        "classes": CLASSES,
        "probabilities": scores / scores.sum(1, keepdims=True),
    }
    return Predictions(**(columns | changes))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "predictions.csv"


def test_by_image_and_by_patient(file):
    table = predictions()
    table.write(file)
    metrics = evaluate(file, n_resamples=200, seed=3)
    for unit, rows in (("by_image", table), ("by_patient", table.by_patient())):
        of_unit = metrics[unit]
        expected = compute_metrics(rows.labels, rows.probabilities, classes=CLASSES)
        intervals = patient_bootstrap(
            rows.labels, rows.probabilities, rows.patients, n_resamples=200, seed=3
        )
        auroc = of_unit["overall"]["auroc"]
        assert auroc == {
            "value": expected["auroc"],
            "low": intervals["auroc"].low,
            "high": intervals["auroc"].high,
            "n_images": 120,
            "n_patients": 40,
        }
        f1 = of_unit["per_class"]["malignant"]["f1"]
        assert f1["value"] == expected["f1/malignant"]
        assert [*of_unit["per_class"]] == list(CLASSES)
        assert sum(map(sum, of_unit["confusion_matrix"])) == len(rows.labels)
        assert [*of_unit["class_counts"].values()] == [*map(sum, of_unit["confusion_matrix"])]
    assert metrics["by_patient"]["class_counts"] != metrics["by_image"]["class_counts"]
    assert metrics["patients"] == "probabilities are averaged over the images of a patient"


def test_confusion_matrix_has_a_row_per_true_class(file):
    labels = [0, 0, 1]
    paths = ["a", "b", "c"]
    Predictions(paths, paths, labels, CLASSES, np.eye(3)[[0, 2, 1]]).write(file)
    of_image = evaluate(file, n_resamples=40)["by_image"]
    assert of_image["confusion_matrix"] == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert of_image["class_counts"] == {"benign": 2, "malignant": 1, "normal": 0}


def test_writes_what_it_returns_with_all_that_made_it(file):
    predictions().write(file)
    metrics = evaluate(file, n_resamples=40, seed=7)
    assert json.loads((file.parent / "metrics.json").read_text("utf-8")) == metrics
    assert metrics["glcm_mae"] == glcm_mae.__version__
    assert metrics["settings"] == {
        "predictions": "predictions.csv",
        "positive": None,
        "threshold": None,
        "interval": "percentiles of a bootstrap that resamples patients",
        "confidence": 0.95,
        "n_resamples": 40,
        "seed": 7,
    }
    assert evaluate(file, n_resamples=40, seed=7) == metrics
    assert "patient 1" not in json.dumps(metrics)


def test_out_is_where_it_writes(file, tmp_path):
    predictions().write(file)
    evaluate(file, tmp_path / "new" / "m.json", n_resamples=40)
    assert (tmp_path / "new" / "m.json").exists()
    assert not (tmp_path / "metrics.json").exists()
    with pytest.raises(UserError, match=r"cannot be written \(Is a directory\)"):
        evaluate(file, tmp_path / "new", n_resamples=40)


def test_one_image_per_patient_is_said_and_not_repeated(file):
    predictions(images_each=1).write(file)
    metrics = evaluate(file, n_resamples=40)
    assert metrics["patients"] == "every patient has one image"
    assert metrics["by_patient"] is None
    text = format_table(metrics)
    assert "by patient" not in text
    assert "40 images, 40 patients: every patient has one image." in text


def test_patients_of_two_classes_are_said_and_images_still_measured(file):
    predictions(labels=np.arange(120) % 3).write(file)
    metrics = evaluate(file, n_resamples=40)
    assert metrics["patients"] == (
        "40 of them have images of more than one class, so there are no metrics by patient"
    )
    assert metrics["by_patient"] is None
    assert metrics["by_image"]["overall"]["auroc"]["value"] > 0


def test_one_class_is_null_in_json_and_undefined_in_the_table(file):
    predictions(labels=np.zeros(120, int)).write(file)
    metrics = evaluate(file, n_resamples=40)
    auroc = json.loads((file.parent / "metrics.json").read_text())["by_image"]["overall"]["auroc"]
    assert auroc == {
        "value": None,
        "low": None,
        "high": None,
        "undefined": 40,
        "n_images": 120,
        "n_patients": 40,
    }
    text = format_table(metrics)
    assert "undefined  " in text
    assert "Up to 40 resamples lacked a class" in text


def test_positive_class_is_chosen_and_recorded(file):
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8], [0.8, 0.2]])
    Predictions(list("abcde"), list("abcde"), [0, 0, 1, 1, 1], CLASSES[:2], p).write(file)
    default = evaluate(file, n_resamples=40)
    chosen = evaluate(file, n_resamples=40, positive="benign")
    assert default["settings"]["positive"] == "malignant"
    assert chosen["settings"]["positive"] == "benign"
    of_class = default["by_image"]["per_class"]
    assert default["by_image"]["overall"]["sensitivity"] == of_class["malignant"]["sensitivity"]
    assert chosen["by_image"]["overall"]["sensitivity"] == of_class["benign"]["sensitivity"]
    with pytest.raises(UserError, match="positive='normal' is not a class"):
        evaluate(file, positive="normal")


def test_seeds_are_averaged_and_folds_counted(file):
    of_each = np.repeat(np.arange(40) % 5, 3)
    one = predictions(folds=of_each)
    double = {
        name: np.concatenate([getattr(one, name)] * 2).tolist()
        for name in ("paths", "patients", "labels", "probabilities")
    }
    predictions(**double, seeds=np.repeat([0, 1], 120), folds=np.tile(of_each, 2)).write(file)
    both = evaluate(file, n_resamples=50)
    one.write(file)
    single = evaluate(file, n_resamples=50)
    assert (both["n_seeds"], both["n_folds"]) == (2, 5)
    assert both["n_images"] == 120
    for unit in ("by_image", "by_patient"):
        for name, number in single[unit]["overall"].items():
            assert both[unit]["overall"][name]["value"] == pytest.approx(number["value"]), name
        assert both[unit]["class_counts"] == single[unit]["class_counts"]


def test_seeds_are_never_ranked_against_each_other(file):
    malignant = np.array([0.1, 0.2, 0.8, 0.9])  # each seed ranks well on a scale of its own
    Predictions(
        ["a", "b"] * 2, ["a", "b"] * 2, [0, 1] * 2, CLASSES[:2],
        np.stack([1 - malignant, malignant], axis=1), seeds=[7, 7, 8, 8],
    ).write(file)  # fmt: skip
    assert evaluate(file, n_resamples=40)["by_image"]["overall"]["auroc"]["value"] == 1


def test_intervals_of_several_seeds_are_for_other_seeds_too(file):
    one = predictions()
    reach = {}
    for name, better in (("same", 0.0), ("other", 0.1)):
        of_seeds = []
        for seed in range(3):
            scores = one.probabilities + seed * better * np.eye(3)[one.labels]
            of_seeds.append(scores / scores.sum(1, keepdims=True))
        predictions(
            paths=one.paths * 3,
            patients=one.patients * 3,
            labels=np.tile(one.labels, 3),
            probabilities=np.concatenate(of_seeds),
            seeds=np.repeat([0, 1, 2], 120),
        ).write(file)
        found = evaluate(file, n_resamples=200)
        accuracy = found["by_image"]["overall"]["accuracy"]
        reach[name] = accuracy["value"] - accuracy["low"]
        assert "Obuchowski" in found["settings"]["interval"]
        assert "Intervals: 95% for other patients and other seeds, 200 " in format_table(found)
    one.write(file)
    alone = evaluate(file, n_resamples=200)
    accuracy = alone["by_image"]["overall"]["accuracy"]
    assert reach["same"] == pytest.approx(accuracy["value"] - accuracy["low"], rel=0.2)
    assert reach["other"] > 1.5 * reach["same"]


def validated(file, n_patients=40, **changes):
    """Write images of two folds, each tested by one model and validating the other."""
    folds = np.repeat(np.arange(n_patients) % 2, 3)
    predictions(folds=folds, **changes).write(file)
    predictions(folds=1 - folds, **changes).write(file.with_name("validation.csv"))
    return folds


def test_thresholds_come_from_validation_images_of_the_same_fold(file):
    folds = validated(file)
    metrics = evaluate(file, n_resamples=50)
    table = predictions()
    for unit, rows in (("by_image", table), ("by_patient", table.by_patient())):
        of_rows = folds if unit == "by_image" else folds[::3]
        at_threshold = metrics[unit]["at_threshold"]
        assert [*at_threshold] == list(CLASSES)
        for c, name in enumerate(CLASSES):
            case, score = rows.labels == c, rows.probabilities[:, c]
            by_hand = [youden_threshold(case[of_rows != f], score[of_rows != f]) for f in (0, 1)]
            called = score >= np.array(by_hand)[of_rows]
            of_class = at_threshold[name]
            assert [row["threshold"] for row in of_class["thresholds"]] == by_hand
            assert of_class["metrics"]["sensitivity"]["value"] == called[case].mean()
            assert of_class["metrics"]["specificity"]["value"] == (~called)[~case].mean()
            assert of_class["metrics"]["sensitivity"]["low"] <= called[case].mean()
    assert (
        metrics["settings"]["threshold"] == "Youden's J on validation.csv, for each fold and seed"
    )
    text = format_table(json.loads(json.dumps(metrics)))
    assert "by patient, each class at the threshold of validation images:" in text
    assert "or at a threshold: Youden's J on validation.csv" in text
    assert "auroc and auprc rank images within folds; pooled_auroc ranks all of them." in text


def test_two_classes_have_one_threshold_and_without_validation_none(file):
    labels = np.repeat(np.arange(40) % 2, 3)
    p = np.random.default_rng(1).random(120)
    two = {"labels": labels, "classes": CLASSES[:2], "probabilities": np.stack([1 - p, p], 1)}
    validated(file, **two)
    assert [*evaluate(file, n_resamples=40)["by_image"]["at_threshold"]] == ["malignant"]
    chosen = evaluate(file, n_resamples=40, positive="benign")
    assert [*chosen["by_image"]["at_threshold"]] == ["benign"]
    file.with_name("validation.csv").unlink()
    metrics = evaluate(file, n_resamples=40)
    assert metrics["by_image"]["at_threshold"] is None
    assert "no validation.csv gives a threshold" in format_table(metrics)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sensitivity", "that finds 0.9 of the cases"),
        ("specificity", "that leaves 0.9 of the others alone"),
    ],
)
def test_a_share_asked_for_is_had_on_validation_images(file, name, words):
    validated(file)
    evaluate(file, n_resamples=40)
    told = file.with_name("metrics.json").read_text()
    metrics = evaluate(file, n_resamples=40, **{name: 0.9})
    assert file.with_name("metrics.json").read_text() == told
    assert json.loads(file.with_name(f"metrics-{name}-0.9.json").read_text()) == metrics
    found = metrics["by_image"]["at_threshold"]["benign"]["thresholds"]
    folds, table = np.repeat(np.arange(40) % 2, 3), predictions()
    choose = {"sensitivity": sensitive_threshold, "specificity": specific_threshold}[name]
    by_hand = [
        choose(table.labels[folds != f] == 0, table.probabilities[folds != f, 0], 0.9)
        for f in (0, 1)
    ]
    assert [row["threshold"] for row in found] == by_hand
    assert all(row[f"validation_{name}"] >= 0.9 for row in found)
    page = format_table(metrics)
    assert f" half-way between two scores {words} on validation.csv, for each fold" in page
    assert f"{min(by_hand):.3f} to {max(by_hand):.3f}" in page


def test_a_share_needs_validation_images(file):
    predictions().write(file)
    with pytest.raises(UserError, match=r"there is no .*validation.csv, on whose images"):
        evaluate(file, sensitivity=0.9)


def test_mixed_patients_in_validation_leave_no_metrics_by_patient(file):
    predictions().write(file)
    changes = {"labels": np.arange(120) % 3, "patients": [f"v{i // 3}" for i in range(120)]}
    predictions(**changes).write(file.with_name("validation.csv"))
    metrics = evaluate(file, n_resamples=40)
    assert metrics["by_patient"] is None
    assert metrics["patients"].startswith("40 of those in the validation table have images of more")
    assert metrics["by_image"]["at_threshold"]["benign"]["thresholds"][0]["threshold"] > 0


def test_import_is_light():
    heavy = "{'torch', 'sklearn', 'scipy', 'pandas', 'matplotlib'}"
    code = f"import sys, glcm_mae.evaluation; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_what_a_study_tells_of_patients_holds_when_its_table_is_measured_again(file):
    predictions(images_each=2).write(file)
    (file.parent / "about.json").write_text('{"patients": "copies count as one"}')
    metrics = evaluate(file, n_resamples=40)
    assert metrics["patients"] == "copies count as one"
    assert metrics["by_patient"] is None


def test_seeds_of_different_images_are_refused(file):
    Predictions(["a", "b", "a"], ["a", "b", "a"], [0, 1, 0], CLASSES[:2], np.eye(2)[[0, 1, 0]],
                seeds=[0, 0, 1]).write(file)  # fmt: skip
    with pytest.raises(
        UserError, match=r"predictions\.csv: row 3: the image is not predicted under each of the 2"
    ):
        evaluate(file, n_resamples=40)


def test_seeds_may_have_different_numbers_of_folds(file):
    table = predictions()
    n = len(table.paths)
    twice = Predictions(
        table.paths * 2, table.patients * 2, np.tile(table.labels, 2), table.classes,
        np.tile(table.probabilities, (2, 1)),
        folds=[int(patient.split()[-1]) % 2 for patient in table.patients] + [0] * n,
        seeds=[0] * n + [1] * n,
    )  # fmt: skip
    twice.write(file)
    assert "pooled_auroc" not in evaluate(file, n_resamples=40)["by_image"]["overall"]
