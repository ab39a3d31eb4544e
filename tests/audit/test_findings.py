"""Damaged, odd and too few images; copies, conflicts and what crosses a split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glcm_mae.audit.findings import Finding, class_findings, image_findings
from glcm_mae.audit.inspection import Look
from glcm_mae.audit.leaks import leak_findings
from glcm_mae.data import Facts, Manifest, Record

FACTS = Facts("png", "uint8", 8, "L", (0, 255))
DEEP = Facts("png", "uint16", 16, "I;16", (0, 65535))
NEGATIVE = Facts("dicom", "uint8", 8, "MONOCHROME1", (0, 255))


def manifest_of(rows: list[tuple[str | None, str, str | None]], known: bool = True) -> Manifest:
    records = tuple(Record(Path(f"{n}.png"), *row) for n, row in enumerate(rows))
    return Manifest(records, tuple(sorted({row[0] for row in rows if row[0]})), known)


def kinds(findings: list[Finding]) -> dict[str, Finding]:
    found = {finding.kind: finding for finding in findings}
    assert len(found) == len(findings)
    return found


def test_images_that_cannot_be_used() -> None:
    good = Look(shape=(1, 64, 64), facts=FACTS)
    looks = [
        good,
        Look("is empty: export or copy it again."),
        Look("is truncated or damaged (x): export or copy it again."),
        Look(shape=(1, 64, 64), facts=FACTS, constant=True),
        Look(shape=(1, 64, 31), facts=FACTS),
    ]
    found = kinds(image_findings(looks))
    images = {kind: found[kind].images for kind in ("empty", "unreadable", "constant", "small")}
    assert images == {"empty": (1,), "unreadable": (2,), "constant": (3,), "small": (4,)}
    assert image_findings([good] * 3) == []


@pytest.mark.parametrize(
    ("odd", "kind", "words"),
    [
        (Look(shape=(1, 64, 64), facts=DEEP), "mixed bit depth", r"11 of 8 bits .* 1 of 16 bits"),
        (Look(shape=(3, 64, 64), facts=FACTS), "mixed channels", "11 gray, 1 RGB.*data.color"),
        (Look(shape=(1, 64, 80), facts=FACTS), "mixed size", "11 of 64 x 64, 1 of 64 x 80"),
        (Look(shape=(1, 64, 64), facts=NEGATIVE), "mixed polarity", "1 with white as 0"),
    ],
)
def test_the_odd_one_out_is_named(odd: Look, kind: str, words: str) -> None:
    import re

    found = kinds(image_findings([Look(shape=(1, 64, 64), facts=FACTS)] * 11 + [odd]))
    assert set(found) == {kind}
    assert found[kind].images == (11,)
    assert re.search(words, found[kind].text)


def test_pixels_of_several_sizes_are_noted() -> None:
    fine, coarse = (
        Look(shape=(1, 64, 64), facts=replace(FACTS, spacing=(mm, mm))) for mm in (0.7, 0.9)
    )
    untold = Look(shape=(1, 64, 64), facts=FACTS)
    found = kinds(image_findings([fine] * 11 + [coarse, untold]))
    assert set(found) == {"mixed scale"}
    assert found["mixed scale"].level == "note"
    assert "11 of 0.7 x 0.7 mm a pixel, 1 of 0.9 x 0.9 mm" in found["mixed scale"].text
    assert "set data.spacing" in found["mixed scale"].text
    assert image_findings([fine, untold] * 9) == []


def test_where_half_differ_none_is_odd() -> None:
    gray, rgb = (Look(shape=(channels, 64, 64), facts=FACTS) for channels in (1, 3))
    assert kinds(image_findings([gray, rgb] * 5))["mixed channels"].images == ()


def test_classes_labels_and_patients() -> None:
    rows = [("a", str(n), None) for n in range(6)] + [("b", "x", None)] * 6 + [(None, "y", None)]
    manifest = manifest_of(rows)
    groups = np.array([*range(6), *[6] * 6, 7])
    found = kinds(class_findings(manifest, groups, folds=5))
    assert set(found) == {"unlabelled", "small class"}
    assert found["unlabelled"].images == (12,)
    assert "Class 'b' has 1 independent" in found["small class"].text
    lone = kinds(class_findings(manifest_of([("a", str(n), None) for n in range(9)], False),
                                np.arange(9), folds=5))  # fmt: skip
    assert set(lone) == {"one class", "no patients"}
    assert class_findings(manifest_of([(None, str(n), None) for n in range(9)]),
                          np.arange(9), folds=5) == []  # fmt: skip


def test_exact_and_near_copies_and_conflicts() -> None:
    rows = [
        ("a", "p", None),
        ("b", "p", None),
        ("a", "p", None),
        ("a", "q", None),
        (None, "q", None),
    ]
    found = kinds(
        leak_findings(manifest_of(rows), ["x", "x", "y", "z", "w"], np.array([0, 0, 0, 1, 1]))
    )
    assert found["exact copies"].groups == ((0, 1),)
    assert found["near copies"].groups == ((0, 1, 2), (3, 4))
    assert found["label conflict"].groups == ((0, 1, 2),)
    assert not any(finding.leaks for finding in found.values())  # all copies are of one patient


def test_unreadable_images_are_no_copies() -> None:
    rows = [("a", str(n), None) for n in range(3)]
    assert leak_findings(manifest_of(rows), ["", "", ""], np.arange(3)) == []


def test_a_leak_without_a_split_is_a_copy_of_two_patients() -> None:
    rows = [("a", "p", None), ("a", "q", None)]
    for known in (True, False):
        manifest = manifest_of(rows, known)
        found = kinds(leak_findings(manifest, ["x", "y"], np.array([0, 0])))
        assert [k for k, finding in found.items() if finding.leaks] == ["copies cross patients"]


@pytest.mark.parametrize(
    ("rows", "groups", "leaking"),
    [
        ([("a", "p", "train"), ("a", "q", "test")], [0, 0], ["copies cross split"]),
        ([("a", "p", "train"), ("a", "q", "train")], [0, 0], []),
        ([("a", "p", "train"), ("a", "p", "test")], [0, 1], ["patients cross split"]),
        ([("a", "p", "val"), ("a", "q", "test")], [0, 1], []),
    ],
)
def test_a_leak_of_a_given_split(
    rows: list[tuple[str, str, str]], groups: list[int], leaking: list[str]
) -> None:
    digests = [str(n) for n in range(len(rows))]
    found = leak_findings(manifest_of(rows), digests, np.array(groups))
    assert [finding.kind for finding in found if finding.leaks] == leaking


def test_images_named_as_masks_of_others_are_told() -> None:
    names = (
        "a.png",
        "a_mask.png",
        "a_mask_1.png",
        "b-Seg.png",
        "b.png",
        "unmask.png",
        "c_mask.png",
        "v.nii.gz",
        "v_seg.nii.gz",
    )
    records = tuple(Record(Path("set", name), "x", name, None) for name in names)
    manifest = Manifest(records, ("x",), has_patients=False)
    found = kinds(class_findings(manifest, np.arange(len(names)), folds=3))
    assert found["masks"].images == (1, 2, 3, 8)


def test_patients_of_several_classes_are_told() -> None:
    rows = [
        ("a", "p", None),
        ("b", "p", None),
        ("a", "q", None),
        ("a", "q", None),
        (None, "q", None),
    ]
    found = kinds(class_findings(manifest_of(rows), np.arange(len(rows)), folds=1))
    assert found["mixed patients"].groups == ((0, 1),)
    assert found["mixed patients"].text.startswith("1 of 2 patients have images of more than one")
    assert "mixed patients" not in kinds(
        class_findings(manifest_of(rows, known=False), np.arange(len(rows)), folds=1)
    )


def test_names_written_alike_are_told() -> None:
    rows = [("a", "001", None), ("A", "1", None), ("b", "1.0", None), ("b", "P7", None)]
    found = kinds(class_findings(manifest_of(rows), np.arange(4), folds=1))
    assert found["patients written alike"].text.startswith("3 patients are written like another")
    assert found["classes written alike"].text.startswith("2 classes are")
    rows = [("a", "10", None), ("b", "100", None), ("b", "1", None), ("a", "v1.01", None)]
    assert "alike" not in " ".join(kinds(class_findings(manifest_of(rows), np.arange(4), 1)))
