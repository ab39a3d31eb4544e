"""No patient is on two sides, every image is on one, every fold has every class."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from glcm_mae.data import (
    Manifest,
    Record,
    grouped_folds,
    holdout,
    kept_together,
    read_manifest,
    with_split,
)
from glcm_mae.errors import UserError


def make_manifest(rows: list[tuple[str | None, str, str | None]]) -> Manifest:
    records = tuple(
        Record(Path(f"{number}.png"), label, patient, split)
        for number, (label, patient, split) in enumerate(rows)
    )
    return Manifest(records, tuple(sorted({r.label for r in records if r.label})), True)


def sample(
    images: int = 60, patients: int = 30, split: Callable[[int], str | None] | None = None
) -> Manifest:
    """Two classes, patients of several images each."""
    rows = []
    for number in range(images):
        patient = number % patients
        rows.append(("ab"[patient % 2], f"p{patient}", split(patient) if split else None))
    return make_manifest(rows)


@settings(max_examples=60, deadline=None)
@given(
    images=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 14)), min_size=6, max_size=60),
    folds=st.integers(2, 4),
    seed=st.integers(0, 3),
)
def test_folds_partition_and_keep_groups_and_classes(
    images: list[tuple[str, int]], folds: int, seed: int
) -> None:
    labels = np.array([label for label, _ in images])
    groups = np.array([group for _, group in images])
    try:
        fold_of = grouped_folds(labels, groups, folds, seed)
    except UserError:
        return  # too few groups of a class, or unlucky: not every input can be dealt
    assert fold_of.shape == labels.shape
    assert fold_of.dtype == np.int64
    for group in set(groups.tolist()):
        assert len(set(fold_of[groups == group].tolist())) == 1
    for label in set(labels.tolist()):
        assert set(fold_of[labels == label].tolist()) == set(range(folds))
    np.testing.assert_array_equal(fold_of, grouped_folds(labels, groups, folds, seed))


def test_folds_hold_like_shares_of_each_class() -> None:
    labels = np.repeat(["common", "rare"], [80, 20])
    fold_of = grouped_folds(labels, np.arange(100), folds=5, seed=0)
    assert np.bincount(fold_of[labels == "common"]).tolist() == [16] * 5
    assert np.bincount(fold_of[labels == "rare"]).tolist() == [4] * 5
    assert (fold_of != grouped_folds(labels, np.arange(100), folds=5, seed=1)).any()


def test_a_class_of_too_few_patients_is_named() -> None:
    labels = np.array(["a"] * 6 + ["rare"] * 6)
    groups = np.array([*range(6), 6, 6, 6, 7, 7, 7])
    with pytest.raises(UserError, match=r"Class rare has 2 .* too few for 3 folds: set folds"):
        grouped_folds(labels, groups, folds=3, seed=0)
    with pytest.raises(UserError, match="Class b has 1 patient"):
        grouped_folds(np.array(["a", "a", "b"]), np.arange(3), folds=2, seed=0)
    with pytest.raises(UserError, match="folds is 1"):
        grouped_folds(labels, groups, folds=1, seed=0)


def test_a_class_that_misses_a_fold_is_named() -> None:
    # Patient 0 and 1 hold both classes, so that balance pulls the classes apart.
    rng = np.random.default_rng(0)
    absent = 0
    for _ in range(200):
        labels = rng.choice(["a", "b"], 12)
        groups = rng.integers(0, 5, 12)
        try:
            grouped_folds(labels, groups, folds=3, seed=0)
        except UserError as error:
            absent += "is absent from fold" in str(error)
    assert absent > 0


@settings(max_examples=40, deadline=None)
@given(
    patients=st.lists(st.integers(0, 20), min_size=9, max_size=50),
    labelled=st.booleans(),
    folds=st.integers(3, 5),
    seed=st.integers(0, 3),
)
def test_no_patient_crosses_a_holdout(
    patients: list[int], labelled: bool, folds: int, seed: int
) -> None:
    rows = [("ab"[p % 2] if labelled else None, f"p{p}", None) for p in patients]
    manifest = make_manifest(rows)
    tested: list[int] = []
    for fold in range(folds):
        try:
            split = holdout(manifest, folds, fold, seed)
        except UserError:
            return  # too few patients of a class
        sides = [split.train, split.val, split.test]
        assert sorted(np.concatenate(sides).tolist()) == list(range(len(patients)))
        held = [set(manifest.patients[side].tolist()) for side in sides]
        assert all(held)
        assert not held[0] & held[1] | held[0] & held[2] | held[1] & held[2]
        assert np.array_equal(split.val, holdout(manifest, folds, (fold + 1) % folds, seed).test)
        tested += split.test.tolist()
    assert sorted(tested) == list(range(len(patients)))


def test_a_given_split_is_used() -> None:
    sides = ["train", "val", "test"]
    manifest = sample(split=lambda patient: sides[patient % 3])
    split = holdout(manifest, folds=3, fold=0, seed=0)
    for side in sides:
        assert {manifest.records[i].split for i in getattr(split, side)} == {side}


def test_a_missing_validation_part_is_drawn_from_train() -> None:
    manifest = sample(split=lambda patient: "test" if patient < 10 else "train")
    parts = [holdout(manifest, folds=4, fold=fold, seed=0) for fold in range(4)]
    train = [i for i, record in enumerate(manifest.records) if record.split == "train"]
    assert sorted(np.concatenate([part.val for part in parts]).tolist()) == train
    for part in parts:
        assert {manifest.records[i].split for i in part.test} == {"test"}
        assert sorted([*part.train, *part.val]) == train
        assert not set(manifest.patients[part.train]) & set(manifest.patients[part.val])
        assert set(manifest.labels[part.val].tolist()) == {0, 1}


def test_holdout_mistakes() -> None:
    manifest = sample()
    with pytest.raises(UserError, match="folds is 2: set it to 3 or more"):
        holdout(manifest, folds=2, fold=0, seed=0)
    for fold in (-1, 5):
        with pytest.raises(UserError, match=f"fold is {fold}: with 5 folds set it to 0 to 4"):
            holdout(manifest, folds=5, fold=fold, seed=0)
    with pytest.raises(UserError, match="1 of 2 images have no label"):
        holdout(make_manifest([("a", "p", None), (None, "q", None)]), folds=3, fold=0, seed=0)
    with pytest.raises(UserError, match="Class a has 2 patient"):
        holdout(make_manifest([("a", "p", None), ("a", "q", None)]), folds=3, fold=0, seed=0)
    with pytest.raises(UserError, match="no test images"):
        holdout(sample(split=lambda patient: "train"), folds=3, fold=0, seed=0)
    with pytest.raises(UserError, match="no train images"):
        holdout(sample(split=lambda patient: "test"), folds=3, fold=0, seed=0)
    with pytest.raises(UserError, match="Only some images have a split"):
        holdout(sample(split=lambda p: None if p else "train"), folds=3, fold=0, seed=0)
    crossing = [("a", "p1", "train"), ("a", "p1", "test"), ("a", "p2", "val")]
    with pytest.raises(UserError, match=r"1 patient.* two sides: give"):
        holdout(make_manifest(crossing), folds=3, fold=0, seed=0)


def test_groups_join_patients_in_a_holdout() -> None:
    """Patients 0 and 2 share a copy: they move together, over every seed."""
    manifest = sample(images=40, patients=20)
    groups = np.array([0 if p == "p2" else int(p[1:]) for p in manifest.patients])
    parted = 0
    for seed in range(8):
        split = holdout(manifest, folds=4, fold=0, seed=seed, groups=groups)
        sides = np.empty(40, dtype="<U5")
        for name in ("train", "val", "test"):
            sides[getattr(split, name)] = name
        assert len(set(sides[groups == 0])) == 1
        plain = holdout(manifest, folds=4, fold=0, seed=seed)
        parted += any(
            len(set(groups[side]) & {0}) and not {"p0", "p2"} <= set(manifest.patients[side])
            for side in (plain.train, plain.val, plain.test)
        )
    assert parted  # by patient alone they would have been parted


def test_copies_across_a_given_split_are_refused() -> None:
    sides = ["train", "val", "test"]
    manifest = sample(split=lambda patient: sides[patient % 3])
    groups = np.arange(len(manifest))
    groups[1] = groups[0]
    with pytest.raises(
        UserError, match=r"puts 1 group\(s\) of copies, .*on two sides: .* data check"
    ):
        holdout(manifest, folds=3, fold=0, seed=0, groups=groups)


def test_a_drawn_validation_part_keeps_groups_together() -> None:
    manifest = sample(split=lambda patient: "test" if patient < 6 else "train")
    groups = np.array([int(p[1:]) // 4 for p in manifest.patients])  # patients 4 to 7 are one group
    groups[manifest.patients == "p4"] = groups[manifest.patients == "p5"] = 99
    for fold in range(3):
        split = holdout(manifest, folds=3, fold=fold, seed=0, groups=groups)
        assert not set(groups[split.train]) & set(groups[split.val])


def test_too_few_groups_are_called_so() -> None:
    manifest = sample(images=12, patients=12)
    groups = np.array([0 if label == 0 else n for n, label in enumerate(manifest.labels)])
    with pytest.raises(UserError, match=r"Class a has 1 group\(s\) of patients and copies, too"):
        holdout(manifest, folds=3, fold=0, seed=0, groups=groups)


def test_a_split_is_written_into_the_records() -> None:
    manifest = sample()
    split = holdout(manifest, folds=3, fold=1, seed=0)
    written = with_split(manifest, split)
    for side in ("train", "val", "test"):
        assert {written.records[n].split for n in getattr(split, side)} == {side}
    assert [r.path for r in written.records] == [r.path for r in manifest.records]
    again = holdout(written, folds=5, fold=4, seed=9)
    np.testing.assert_array_equal(again.test, split.test)
    np.testing.assert_array_equal(again.val, split.val)


def test_a_patient_and_copies_are_kept_together(tmp_path):
    rng = np.random.default_rng(0)
    scenes = [Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8)) for _ in range(9)]
    for number, scene in enumerate(scenes):
        scene.save(tmp_path / f"p{number}_a.png")
    ImageOps.mirror(scenes[0]).save(tmp_path / "p8_b.png")  # so patients 0 and 8 are one group
    manifest = read_manifest(tmp_path, patient_regex=r"^(p\d)")
    groups = kept_together(manifest)
    assert len(set(groups.tolist())) == 8
    names = [record.path.name for record in manifest.records]
    for fold in range(3):
        split = holdout(manifest, 3, fold, 0, groups)
        sides = [
            {names.index(name) in side for name in ("p0_a.png", "p8_a.png", "p8_b.png")}
            for side in (split.train, split.val, split.test)
        ]
        assert all(len(side) == 1 for side in sides)
