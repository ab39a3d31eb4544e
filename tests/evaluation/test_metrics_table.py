"""Metrics in the terminal: every number in its column, and what cannot be trusted below."""

import json

import numpy as np
import pytest

from glcm_mae.evaluation import Predictions, evaluate, format_table


@pytest.fixture
def measured(tmp_path):
    def measure(classes, images_each, probabilities=None):
        n = 10 * len(classes)
        labels = np.repeat(np.arange(n) % len(classes), images_each)
        if probabilities is None:
            scores = np.random.default_rng(0).random((len(labels), len(classes)))
            scores += 0.5 * np.eye(len(classes))[labels]
            probabilities = scores / scores.sum(axis=1, keepdims=True)
        paths = [f"{i}.png" for i in range(len(labels))]
        file = tmp_path / "predictions.csv"
        for name, prefix in (("predictions.csv", "p"), ("validation.csv", "v")):
            patients = [f"{prefix}{i // images_each}" for i in range(len(labels))]
            table = Predictions(paths, patients, labels, classes, probabilities)
            table.write(file.with_name(name))
        return json.loads(json.dumps(evaluate(file, n_resamples=50)))

    return measure


def shown(number):
    return f"{number['value']:.3f} [{number['low']:.3f}, {number['high']:.3f}]"


def test_each_class_has_a_column(measured):
    metrics = measured(("cyst", "fat", "solid\nmass"), 3)
    lines = format_table(metrics).splitlines()
    for unit, title in (("by_image", "by image"), ("by_patient", "by patient")):
        top = next(i for i, line in enumerate(lines) if line.startswith(f"{title}  "))
        assert lines[top].split() == [*title.split(), "overall", "cyst", "fat", "solid", "mass"]
        found = metrics[unit]
        columns = [found["overall"], *found["per_class"].values()]
        auroc = ["auroc", *(shown(column["auroc"]) for column in columns)]
        assert [cell.strip() for cell in lines[top + 1].split("  ") if cell.strip()] == auroc
        f1 = next(line for line in lines[top:] if line.startswith("f1 "))
        assert f1[: lines[top].index("cyst")].split() == ["f1"]  # of classes alone
        assert f1.endswith(shown(found["per_class"]["solid\nmass"]["f1"]))
        told = lines.index(f"{title}, each class at the threshold of validation images:")
        called = found["at_threshold"]["cyst"]["metrics"]["sensitivity"]
        assert lines[told + 2].startswith("sensitivity ")
        assert shown(called) in lines[told + 2]
    assert "Intervals: 95%, 50 resamples of patients, seed 0." in lines


def test_a_class_may_be_named_overall(measured):
    metrics = measured(("good", "overall"), 1)
    lines = format_table(metrics).splitlines()
    assert lines[0].split() == ["by", "image", "overall", "good", "overall"]
    brier = next(line for line in lines if line.startswith("brier"))
    found = metrics["by_image"]
    columns = (found["overall"], *found["per_class"].values())
    assert [cell.strip() for cell in brier.split("  ") if cell.strip()] == [
        *("brier", *(shown(column["brier"]) for column in columns))
    ]


def test_many_classes_stand_below_each_other(measured):
    names = tuple("abcdefghi")
    lines = format_table(measured(names, 1)).splitlines()
    heads = [line.split()[2:] for line in lines if line.startswith("by image  ")]
    assert heads == [["overall", "a", "b", "c"], ["d", "e", "f", "g"], ["h", "i"]]
    numbers = [line for line in lines if "[" in line]
    assert max(map(len, numbers)) < 110


def test_intervals_without_width_are_warned_of(measured):
    labels = np.arange(30) % 3
    text = format_table(measured(("a", "b", "c"), 1, np.eye(3)[labels]))
    assert "1.000 [1.000, 1.000]" in text
    assert "An interval of no width means that the resamples cannot tell" in text
