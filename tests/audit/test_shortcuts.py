"""A planted shortcut comes first, noise stays at chance, and groups do not help."""

from pathlib import Path

import numpy as np

from glcm_mae.audit.inspection import Look
from glcm_mae.audit.measurements import MEASUREMENTS
from glcm_mae.audit.shortcuts import Shortcut, rank_shortcuts
from glcm_mae.data import Facts, Manifest, Record

FACTS = Facts("png", "uint8", 8, "L", (0, 255))


def ranked(
    labels: np.ndarray, numbers: dict[str, np.ndarray], groups: np.ndarray | None = None
) -> dict[str, Shortcut]:
    """Rank the shortcuts of a made-up set; measurements not given are noise."""
    rng = np.random.default_rng(5)
    records, looks = [], []
    for n, label in enumerate(labels):
        name = None if label < 0 else "abc"[label]
        records.append(Record(Path(f"{n}.png"), name, str(n), None))
        values = {k: tuple(rng.standard_normal(len(parts))) for k, parts in MEASUREMENTS.items()}
        values |= {k: (float(column[n]),) for k, column in numbers.items()}
        looks.append(Look(shape=(1, 8, 8), facts=FACTS, measurements=values))
    classes = tuple(sorted({r.label for r in records if r.label}))
    manifest = Manifest(tuple(records), classes, has_patients=False)
    groups = np.arange(len(labels)) if groups is None else groups
    found = rank_shortcuts(manifest, looks, groups, folds=5, seed=0)
    assert [s.auroc.value for s in found] == sorted((s.auroc.value for s in found), reverse=True)
    return {shortcut.name: shortcut for shortcut in found}


def test_a_planted_shortcut_is_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    sharpness = labels + rng.standard_normal(300)
    found = ranked(labels, {"sharpness": sharpness})
    planted = found["sharpness"].auroc
    truth = 0.760  # of two normal distributions one deviation apart: Phi(1 / sqrt(2))
    assert planted.low < truth < planted.high
    assert found["mean brightness"].auroc.high < 0.65
    assert found["mean brightness"].auroc.low < 0.5
    assert "file format and bits" not in found  # the same in all
    assert list(found)[:2] in (["sharpness", "all together"], ["all together", "sharpness"])


def test_a_relation_that_is_not_monotone_is_found() -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal(300)
    labels = (np.abs(values) > 0.7).astype(int)
    assert ranked(labels, {"aspect ratio": values})["aspect ratio"].auroc.low > 0.9


def test_three_classes_are_each_set_against_the_rest() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 300)
    found = ranked(labels, {"file size": (labels == 1) + 0.01 * rng.standard_normal(300)})
    # The class that stands out is told perfectly, the other two from each other by chance only.
    assert 0.78 < found["file size"].auroc.value < 0.9


def test_what_tells_the_patient_does_not_count() -> None:
    """A number of each patient tells the class of that patient's other images, and of no other's.

    The classes alternate along it: learned from all patients, it tells more than chance; learned
    from the others, it says the opposite.
    """
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(6), 20)
    number = patients + 0.01 * rng.standard_normal(120)
    alone = ranked(patients % 2, {"mean brightness": number})
    assert alone["mean brightness"].auroc.value > 0.6
    together = ranked(patients % 2, {"mean brightness": number}, patients)
    assert together["mean brightness"].auroc.value < 0.5


def test_unlabelled_images_are_left_out_and_hopeless_sets_give_nothing() -> None:
    assert ranked(np.full(10, -1), {}) == {}
    assert ranked(np.zeros(10, int), {}) == {}
    assert ranked(np.array([0] * 9 + [1]), {}) == {}
    labels = np.array([0, 1, -1] * 20)
    assert (
        ranked(labels, {"sharpness": np.where(labels == 1, 1.0, 0)})["sharpness"].auroc.value == 1
    )


def test_few_groups_take_fewer_folds() -> None:
    labels = np.array([0, 1] * 12)
    groups = np.arange(24) % 6  # three groups of each class
    assert ranked(labels, {"sharpness": labels.astype(float)}, groups)["sharpness"].auroc.value == 1
