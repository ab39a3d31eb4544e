import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from glcm_mae.errors import UserError
from glcm_mae.evaluation import (
    Predictions,
    calls_at_threshold,
    compare_arms,
    evaluate,
    format_comparison,
    holm,
    weighted_metrics,
)
from glcm_mae.evaluation.crossed import t_quantile

CLASSES = ("benign", "malignant", "normal")
N, FOLDS = 90, 3


def arm(strength=1.0, seeds=(0, 1, 2), k=2, images_each=1, shift=0, **changes):
    """Images are as hard in every arm; validation images of a fold are its test images, shifted."""
    rng = np.random.default_rng(0)
    n_patients = N // images_each
    patients = np.repeat(np.arange(n_patients), images_each)
    labels = rng.integers(0, k, n_patients)[patients]
    hard = rng.normal(size=(N, k))
    scores = np.concatenate(
        [
            strength * np.eye(k)[labels]
            + hard
            + 0.3 * np.random.default_rng([int(100 * strength), s]).normal(size=(N, k))
            for s in seeds
        ]
    )
    n_seeds = len(seeds)
    columns = {
        "paths": [f"{i}.png" for i in range(N)] * n_seeds,
        "patients": [f"p{p}" for p in patients] * n_seeds,
        "labels": np.tile(labels, n_seeds),
        "classes": CLASSES[:k],
        "probabilities": np.exp(scores) / np.exp(scores).sum(1, keepdims=True),
        "folds": np.tile((patients + shift) % FOLDS, n_seeds),
        "seeds": np.repeat(seeds, N),
    }
    return Predictions(**(columns | changes))


def shuffled(table, seed):
    rows = np.random.default_rng(seed).permutation(len(table.paths))
    return Predictions(
        paths=[table.paths[row] for row in rows],
        patients=[table.patients[row] for row in rows],
        labels=table.labels[rows],
        classes=table.classes,
        probabilities=table.probabilities[rows],
        folds=table.folds[rows],
        seeds=table.seeds[rows],
    )


def arms_of(result, comparison=0):
    return result["comparisons"][comparison]["arms"]


@pytest.fixture(scope="module")
def result():
    tables = {"mse": arm(0.5), "texture": arm(1.5), "features": arm(1.0, seeds=(0,))}
    validation = {"mse": arm(0.5, shift=1), "texture": arm(1.5, shift=1)}
    return compare_arms(tables, validation, "mse", n_resamples=300)


def test_values_are_the_mean_over_seeds_of_the_metrics_within_folds(result):
    table = arm(1.5)
    of_seeds = [
        weighted_metrics(
            table.labels[rows],
            table.probabilities[rows],
            np.ones((1, len(rows))),
            classes=table.classes,
            folds=table.folds[rows],
        )
        for rows in table.rows_of_seeds()
    ]
    expected = {name: np.mean([m[name] for m in of_seeds], axis=0) for name in of_seeds[0]}
    texture = arms_of(result)["texture"]
    for name in ("auroc", "pooled_auroc", "accuracy", "macro_f1", "brier", "ece", "sensitivity"):
        assert texture["metrics"][name]["value"] == pytest.approx(expected[name][0]), name
    assert texture["metrics"]["f1"]["value"] == pytest.approx(expected["f1/malignant"][0])
    for number in texture["metrics"].values():
        assert number["low"] <= number["value"] <= number["high"]
    calls = calls_at_threshold(table, arm(1.5, shift=1), "malignant")
    found = np.mean(
        [calls.is_called[(table.seeds == s) & (table.labels == 1)].mean() for s in range(3)]
    )
    assert texture["metrics"]["sensitivity_at_threshold"]["value"] == pytest.approx(found)
    assert texture["thresholds"] == calls.to_json()


def test_baselines_do_not_make_arms_harder_to_tell():
    tables = {"mse": arm(0.5), "texture": arm(1.5), "pixels": arm(1.0), "histogram": arm(0.8)}
    plain, apart = (
        arms_of(compare_arms(tables, {}, "mse", n_resamples=40, baselines=baselines))
        for baselines in ((), ("pixels", "histogram"))
    )
    for metric in ("auroc", "accuracy"):
        found = {name: apart[name]["tests"][metric] for name in tables if name != "mse"}
        assert {name: test["n_tests"] for name, test in found.items()} == {
            "texture": 1, "pixels": 2, "histogram": 2,
        }  # fmt: skip
        assert found["texture"]["p_holm"] == found["texture"]["p"]
        assert plain["texture"]["tests"][metric]["n_tests"] == 3
        assert sorted(t["p_holm"] for n, t in found.items() if n != "texture") == pytest.approx(
            sorted(holm([found["pixels"]["p"], found["histogram"]["p"]]))
        )


def test_differences_and_tests_are_about_the_same_numbers(result):
    arms = arms_of(result)
    for name in ("texture", "features"):
        for metric, number in arms[name]["differences"].items():
            values = [arms[a]["metrics"][metric]["value"] for a in (name, "mse")]
            assert number["value"] == pytest.approx(values[0] - values[1])
            freedom = number["degrees_of_freedom"] or math.inf
            known = t_quantile(0.975, freedom) + t_quantile(0.8, freedom)
            assert number["smallest"] == pytest.approx(known * number["standard_error"])
        test = arms[name]["tests"]["auroc"]
        assert test["difference"] == pytest.approx(arms[name]["differences"]["auroc"]["value"])
        assert test["n_tests"] == 2
        assert test["p"] <= test["p_holm"] <= 2 * test["p"]
    texture = arms["texture"]["differences"]["auroc"]
    assert 0 < texture["low"] < texture["value"] < texture["high"]
    width = texture["high"] - texture["low"]
    reach = t_quantile(0.975, texture["degrees_of_freedom"]) * texture["standard_error"]
    assert width == pytest.approx(2 * reach)
    assert arms["texture"]["tests"]["auroc"]["p"] < 0.01
    assert "differences" not in arms["mse"]
    assert "tests" not in arms["mse"]


def test_what_decides_is_tested_over_seeds(result):
    tests = {name: arms_of(result)[name]["tests"] for name in ("texture", "features")}
    for metric in ("auroc", "accuracy"):
        for name, of_arm in tests.items():
            test = of_arm[f"{metric}_over_seeds"]
            number = arms_of(result)[name]["differences"][metric]
            freedom = number["degrees_of_freedom"] or math.inf
            t = number["value"] / number["standard_error"]
            assert test["p"] == pytest.approx(2 * stats.t.sf(abs(t), freedom))
            assert (test["n_tests"], test["not_valid"]) == (2, None)
        p_values = [of_arm[f"{metric}_over_seeds"]["p"] for of_arm in tests.values()]
        corrected = [of_arm[f"{metric}_over_seeds"]["p_holm"] for of_arm in tests.values()]
        assert corrected == pytest.approx(list(holm(p_values)))
    rows = [line.split("|") for line in format_comparison(result).splitlines()]
    header = next(row for row in rows if len(row) > 5 and row[4].strip() == "DeLong")
    assert [cell.strip() for cell in header[1:-1]] == [
        *("arm", "AUROC", "p", "DeLong", "smallest", "accuracy", "p", "McNemar", "smallest")
    ]
    texture = next(row for row in rows if row[1:] and row[1].strip() == "texture")
    over_seeds, of_patients = (
        tests["texture"][name]["p_holm"] for name in ("auroc_over_seeds", "auroc")
    )
    for cell, p in ((texture[3], over_seeds), (texture[4], of_patients)):
        assert cell.strip() == ("<0.001" if p < 0.001 else f"{p:.3f}")


def test_arms_that_differ_by_the_same_everywhere_have_no_p():
    perfect = arm(probabilities=np.eye(2)[arm().labels])
    collapsed = arm(probabilities=np.full((3 * N, 2), 0.5))
    result = compare_arms({"a": collapsed, "b": perfect}, {}, "a", n_resamples=40)
    test = arms_of(result)["b"]["tests"]["auroc_over_seeds"]
    assert (test["p"], test["p_holm"], test["n_tests"]) == (None, None, 0)
    assert "Not valid: the arms differ by the same for all patients and seeds." in (
        format_comparison(result)
    )


def test_one_seed_beside_several_is_told(result):
    assert "What another training of these would change is in no interval." in (
        format_comparison(result)
    )


def test_sizes_and_settings_are_told(result):
    assert (result["n_images"], result["n_patients"]) == (90, 90)
    assert (result["n_folds"], result["n_seeds"]) == (3, 3)
    assert [arm["n_seeds"] for arm in arms_of(result).values()] == [3, 3, 1]
    assert result["settings"] == {
        "reference": "mse",
        "positive": "malignant",
        "n_resamples": 300,
        "seed": 0,
        "confidence": 0.95,
        "within_folds": True,
    }
    assert result["patients"] == "every patient has one image"
    assert [(c["task"], c["unit"]) for c in result["comparisons"]] == [
        ("malignant against benign", "image")
    ]
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_an_arm_without_validation_has_no_threshold(result):
    features = arms_of(result)["features"]
    assert features["thresholds"] is None
    assert "sensitivity_at_threshold" not in features["metrics"]
    assert "sensitivity_at_threshold" not in features["differences"]


@given(st.integers(0, 10_000))
@settings(max_examples=5, deadline=None)
def test_the_order_of_rows_does_not_matter(seed):
    tables = {"mse": arm(0.5), "texture": arm(1.5)}
    first = compare_arms(tables, {}, "mse", n_resamples=40)
    turned = {name: shuffled(table, seed) for name, table in tables.items()}
    assert compare_arms(turned, {}, "mse", n_resamples=40) == first


def test_an_arm_against_itself_differs_by_exactly_nothing():
    result = compare_arms({"a": arm(), "b": arm()}, {}, "a", n_resamples=50)
    other = arms_of(result)["b"]
    for number in other["differences"].values():
        assert (number["value"], number["low"], number["high"]) == (0, 0, 0)
        assert (number["standard_error"], number["smallest"]) == (None, None)  # not: none at all
    assert {test["p_holm"] for test in other["tests"].values()} == {1}


def test_the_other_reference_turns_the_signs():
    tables = {"a": arm(0.5), "b": arm(1.0)}
    forward = arms_of(compare_arms(tables, {}, "a", n_resamples=100))["b"]
    backward = arms_of(compare_arms(tables, {}, "b", n_resamples=100))["a"]
    for metric, number in forward["differences"].items():
        turned = backward["differences"][metric]
        assert turned["value"] == pytest.approx(-number["value"])
        assert (turned["low"], turned["high"]) == pytest.approx((-number["high"], -number["low"]))
    for metric, test in forward["tests"].items():
        assert backward["tests"][metric]["p"] == pytest.approx(test["p"])


def _against_the_rest(table, name):
    index = table.classes.index(name)
    case = table.probabilities[:, index]
    return replace(
        table,
        labels=(table.labels == index).astype(int),
        classes=(f"not {name}", name),
        probabilities=np.stack([1 - case, case], axis=1),
    )


def test_one_class_against_the_rest_is_measured_as_evaluate_measures_it(tmp_path):
    table = arm(0.5, k=3, seeds=(0,))
    result = compare_arms({"a": table, "b": arm(1.5, k=3)}, {}, "a", "malignant", n_resamples=40)
    table.write(tmp_path / "predictions.csv")
    alone = evaluate(tmp_path / "predictions.csv", n_resamples=40)["by_image"]
    measured = result["comparisons"][1]["arms"]["a"]["metrics"]
    for name, number in alone["per_class"]["malignant"].items():
        assert measured[name]["value"] == pytest.approx(number["value"]), name
    called = table.probabilities.argmax(1) == table.classes.index("malignant")
    is_case = table.labels == table.classes.index("malignant")
    assert measured["accuracy"]["value"] == pytest.approx((called == is_case).mean())


def test_three_classes_are_also_compared_as_one_against_the_rest():
    tables = {"mse": arm(0.5, k=3), "texture": arm(1.5, k=3)}
    validation = {name: arm(s, k=3, shift=1) for name, s in (("mse", 0.5), ("texture", 1.5))}
    result = compare_arms(tables, validation, "mse", positive="malignant", n_resamples=40)
    everything, malignant = result["comparisons"]
    assert (everything["task"], everything["positive"]) == ("all classes", None)
    assert malignant["task"] == "malignant against the rest"
    assert malignant["classes"] == ["not malignant", "malignant"]
    assert everything["class_counts"]["malignant"] == malignant["class_counts"]["malignant"]
    assert everything["arms"]["mse"]["thresholds"] is None
    assert len(malignant["arms"]["mse"]["thresholds"]) == 9
    two = {name: _against_the_rest(table, "malignant") for name, table in tables.items()}
    alone = compare_arms(two, {}, "mse", n_resamples=40)
    for test in ("auroc", "auroc_over_seeds"):
        of_two = arms_of(alone)["texture"]["tests"][test]
        assert malignant["arms"]["texture"]["tests"][test] == of_two
    assert len(compare_arms(tables, {}, "mse", n_resamples=40)["comparisons"]) == 1


def test_by_patient_where_patients_have_several_images():
    tables = {"mse": arm(0.5, images_each=3), "texture": arm(1.5, images_each=3)}
    validation = {"mse": arm(0.5, images_each=3, shift=1), "texture": None}
    result = compare_arms(tables, validation, "mse", n_resamples=40)
    assert [comparison["unit"] for comparison in result["comparisons"]] == ["image", "patient"]
    assert result["patients"] == "probabilities are averaged over the images of a patient"
    averaged = {name: table.by_patient() for name, table in tables.items()}
    alone = compare_arms(averaged, {}, "mse", n_resamples=40)
    for metric, number in arms_of(alone)["texture"]["differences"].items():
        assert arms_of(result, 1)["texture"]["differences"][metric] == number
    assert sum(result["comparisons"][1]["class_counts"].values()) == 30


def test_one_seed_and_no_folds():
    tables = {name: arm(s, seeds=(0,), folds=None) for name, s in (("a", 0.5), ("b", 1.5))}
    result = compare_arms(tables, {}, "a", n_resamples=40)
    assert (result["n_folds"], result["n_seeds"]) == (None, 1)
    assert "pooled_auroc" not in arms_of(result)["b"]["metrics"]
    text = format_comparison(result)
    assert "One seed: nothing here tells how far another training would differ." in text
    assert "within folds" not in text
    assert "would also train" not in text


def test_one_fold_is_none():
    one = np.zeros(N, np.int64)
    tables = {name: arm(s, seeds=(0,), folds=one) for name, s in (("a", 0.5), ("b", 1.5))}
    text = format_comparison(compare_arms(tables, {}, "a", n_resamples=40))
    assert "; no folds; 1 seed." in text
    assert "within folds" not in text
    assert "would also train" not in text


def _models(*strengths, times=1):
    """Models of a fold each, asked once for each of several seeds as which they stand."""
    one = [arm(strength, seeds=(0,), folds=None) for strength in strengths] * times
    return Predictions(
        paths=one[0].paths * len(one),
        patients=one[0].patients * len(one),
        labels=np.concatenate([model.labels for model in one]),
        classes=CLASSES[:2],
        probabilities=np.concatenate([model.probabilities for model in one]),
        seeds=np.repeat(np.arange(len(one)), N),
    )


def test_models_that_are_repeated_for_each_seed_tell_nothing_more():
    found = {
        (times, grouped): compare_arms(
            {
                "features": _models(0.1, 0.5, 3.0, times=times),
                "mse": arm(1.0, seeds=tuple(range(3 * times)), folds=None),
            },
            {},
            "mse",
            n_resamples=200,
            seed_of_model={n: n // 3 for n in range(3 * times)} if grouped else None,
        )
        for times in (2, 6)
        for grouped in (False, True)
    }
    assert [result["n_seeds"] for result in found.values()] == [6, 2, 18, 6]

    def width(times, grouped):
        auroc = arms_of(found[times, grouped])["features"]["metrics"]["auroc"]
        return auroc["high"] - auroc["low"]

    beside = compare_arms(
        {
            "features": _models(0.1, 0.5, 3.0, times=2),
            "mse": arm(1.0, seeds=tuple(range(6)), folds=None),
        },
        {},
        "mse",
        n_resamples=200,
        baselines=("features",),
        seed_of_model={n: n // 3 for n in range(6)},
    )
    assert [of["n_seeds"] for of in arms_of(beside).values()] == [1, 2]
    assert "One seed stands for all in: features." in format_comparison(beside)
    assert width(6, False) < 0.7 * width(2, False)  # as if each time were other models
    assert width(6, True) == pytest.approx(width(2, True))
    of_mse = [arms_of(result)["mse"]["metrics"]["auroc"]["value"] for result in found.values()]
    assert of_mse[0] == pytest.approx(of_mse[1])
    assert of_mse[2] == pytest.approx(of_mse[3])


def test_folds_that_patients_are_not_drawn_within_are_not_said_to_be_drawn_within():
    folds = np.where(np.arange(N) == 0, 0, 1 + np.arange(N) % 2)  # the first has one patient
    tables = {name: arm(s, seeds=(0,), folds=folds) for name, s in (("a", 0.5), ("b", 1.5))}
    text = format_comparison(compare_arms(tables, {}, "a", n_resamples=40))
    assert "resamples of patients, the same for all arms" in text
    assert "Not in them: that other patients would also train the models." in text
    assert "- 1 fold has no " in text


def test_a_class_missing_everywhere_is_none_and_no_error():
    labels = np.zeros(270, int)
    tables = {"a": arm(0.5, labels=labels), "b": arm(1.5, labels=labels)}
    result = json.loads(json.dumps(compare_arms(tables, {}, "a", n_resamples=40), allow_nan=False))
    other = arms_of(result)["b"]
    assert other["metrics"]["auroc"]["value"] is None
    assert other["differences"]["auroc"]["smallest"] is None
    assert other["tests"]["auroc"]["p_holm"] is None
    assert other["differences"]["accuracy"]["low"] is not None
    text = format_comparison(result)
    assert "- 3 folds have no malignant and no say in its AUROC." in text
    assert "- Not valid: a class is missing in every fold." in text


def test_errors_name_the_arm_and_the_setting():
    tables = {"mse": arm(), "texture": arm(1.5)}
    with pytest.raises(UserError, match="arm 'texture': 30 patients are both in the validation"):
        compare_arms(tables, {"texture": arm(1.5, folds=arm().folds)}, "mse", n_resamples=40)
    with pytest.raises(UserError, match="positive='cyst' is not a class: choose one of 'benign'"):
        compare_arms(tables, {}, "mse", positive="cyst")
    with pytest.raises(UserError, match="n_resamples=0 is too small"):
        compare_arms(tables, {}, "mse", n_resamples=0)


def test_tables_hold_every_arm_and_number(result):
    text = format_comparison(json.loads(json.dumps(result)))
    lines = text.splitlines()
    assert lines[0] == "### malignant against benign, by image (38 benign, 52 malignant)"
    assert lines[2] == "Difference to mse:"
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    for table in tables:
        assert len({len(line) for line in table}) == 1
        assert len({line.count("|") for line in table}) == 1
    values = [table for table in tables if table[2].startswith("| mse")]
    assert all(len(table) == 5 for table in values)
    assert all(len(table) == 4 for table in tables if table not in values)
    number = arms_of(result)["texture"]["metrics"]["auroc"]
    assert f"{number['value']:.3f} [{number['low']:.3f}, {number['high']:.3f}]" in values[0][3]
    assert "no threshold" in text
    for note in (
        "- 90 images of 90 patients (every patient has one image); 3 folds; 3 seeds.",
        "- In brackets: 95% intervals for other patients and other seeds (Obuchowski and ",
        "from 300 resamples of patients, within folds, the same for all arms, seed 0.",
        "- One seed stands for all in: features.",
    ):
        assert note in text


def test_names_do_not_break_the_table():
    result = compare_arms({"a|b": arm(), "c\nd": arm(1.5)}, {}, "a|b", n_resamples=40)
    lines = format_comparison(result).splitlines()
    assert any(line.startswith("| c d ") for line in lines)
    assert any(line.startswith("| a/b ") for line in lines)


@pytest.mark.parametrize("positive", CLASSES[:2])
def test_where_both_classes_score_alike_the_decision_is_that_of_evaluate(positive, tmp_path):
    tied = arm(seeds=(0,), probabilities=np.full((N, 2), 0.5))
    tied.write(tmp_path / "predictions.csv")
    alone = evaluate(tmp_path / "predictions.csv", n_resamples=40, positive=positive)
    tables = {"mse": tied, "texture": arm(seeds=(0,))}
    beside = compare_arms(tables, {}, "mse", positive=positive, n_resamples=40)
    metrics = beside["comparisons"][0]["arms"]["mse"]["metrics"]
    for name in ("sensitivity", "specificity", "auroc"):
        assert metrics[name]["value"] == alone["by_image"]["overall"][name]["value"]


def test_what_is_undefined_has_no_interval():
    no_cases = np.where(np.arange(N) < N - 2, 0, 1)  # fold 0 has none, nor have its thresholds
    table = arm(seeds=(0, 1), labels=np.tile(no_cases, 2))
    validation = arm(seeds=(0, 1), labels=np.tile(no_cases, 2), shift=1)
    found = compare_arms({"a": table, "b": table}, {"a": validation}, "a", n_resamples=50)
    numbers = [
        number
        for comparison in found["comparisons"]
        for one in comparison["arms"].values()
        for number in one["metrics"].values()
    ]
    assert any(number["value"] is None for number in numbers)
    assert all(number["low"] is None for number in numbers if number["value"] is None)
