"""Patients that stand in DICOM headers alone."""

from pathlib import Path

import numpy as np
import pytest

from glcm_mae.data import Manifest, holdout, read_manifest
from glcm_mae.data.persons import header_groups
from glcm_mae.errors import UserError

from ..audit.sets import write_dicom

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)


def scans(folder: Path, persons: list[str], side: str = "") -> Manifest:
    for number, person in enumerate(persons):
        path = folder / side.format(number) / "ab"[number % 2] / f"{number}.dcm"
        write_dicom(path, PIXELS + number, **({"PatientID": person} if person else {}))
    return read_manifest(folder)


def test_images_of_one_person_are_one_group(tmp_path: Path) -> None:
    manifest = scans(tmp_path, ["7", "7", "8", "8", "", ""])
    groups = dict(
        zip([r.path.stem for r in manifest.records], header_groups(manifest), strict=True)
    )
    assert groups["0"] == groups["1"]
    assert groups["2"] == groups["3"]
    assert len(set(groups.values())) == 4


@pytest.mark.parametrize("person", ["", "ANONYMOUS"])
def test_one_identifier_for_all_tells_nobody_apart(tmp_path: Path, person: str) -> None:
    assert header_groups(scans(tmp_path, [person] * 4)) is None


def test_a_drawn_split_holds_them_together(tmp_path: Path) -> None:
    persons = [f"P{number // 4}" for number in range(24)]
    manifest = scans(tmp_path, persons)
    for fold in range(3):
        split = holdout(manifest, 3, fold, seed=0)
        sides = [
            {persons[int(manifest.records[n].path.stem)] for n in side}
            for side in (split.train, split.val, split.test)
        ]
        assert sum(map(len, sides)) == 6


def test_a_given_split_that_parts_them_is_refused(tmp_path: Path) -> None:
    for side in ("train", "test"):
        scans(tmp_path / side, [f"P{number // 2}" for number in range(12)])
    with pytest.raises(UserError, match="or of one patient by DICOM headers"):
        holdout(read_manifest(tmp_path), 3, 0, seed=0)
