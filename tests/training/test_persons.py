"""Patients whom DICOM headers alone name: all stages count them in the same way."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glcm_mae.data import Manifest
from glcm_mae.errors import UserError
from glcm_mae.predictions import read_predictions
from glcm_mae.settings import BaselineSettings, EmbedSettings
from glcm_mae.training.baseline import baseline
from glcm_mae.training.embed import embed, write_embedding
from glcm_mae.training.inputs import manifest_of, split_of
from glcm_mae.training.pretrain import pretrain
from glcm_mae.training.probe import grouped_parts, probe

from ..audit.sets import write_dicom
from . import small


def _scans(folder: Path, persons: Sequence[str], seed: int = 0) -> Path:
    """Write three images of each person, who is of the class a or b throughout."""
    rng = np.random.default_rng(seed)
    for number, person in enumerate(persons):
        for n in range(3):
            pixels = rng.integers(0, 255, (16, 16), dtype=np.uint8)
            # Names that a sorted folder lists with persons mixed.
            write_dicom(folder / "ab"[number % 2] / f"{n}-{number}.dcm", pixels, PatientID=person)
    return folder


def _persons(manifest: Manifest, positions: np.ndarray) -> set[str]:
    return {manifest.records[i].path.stem.partition("-")[2] for i in positions}


TWELVE = [f"Jane Doe {n}" for n in range(12)]


def test_folds_of_a_probe_and_of_finetuning_hold_a_person_together(tmp_path: Path) -> None:
    data = small.data(_scans(tmp_path / "dcm", TWELVE))
    manifest = manifest_of(data)
    parts = grouped_parts(manifest, 3, seed=0)
    for part in [*parts, split_of(data, manifest)]:
        sides = [_persons(manifest, side) for side in (part.train, part.val, part.test)]
        assert sum(map(len, sides)) == 12


def test_inner_folds_hold_a_person_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from glcm_mae.training import classifiers

    dealt: list[tuple[np.ndarray, np.ndarray]] = []
    inner_folds = classifiers.inner_folds

    def noted(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
        dealt.append((groups, inner_folds(labels, groups, seed)))
        return dealt[-1][1]

    monkeypatch.setattr(classifiers, "inner_folds", noted)
    settings = BaselineSettings(
        small.data(_scans(tmp_path / "dcm", TWELVE)), str(tmp_path / "run"), kind="histogram"
    )
    baseline(settings)
    assert dealt
    for groups, folds in dealt:
        assert len(groups) == 3 * len(set(groups))
        for group in set(groups):
            assert len(set(folds[groups == group])) == 1


def test_tables_name_persons_by_a_file_and_hold_no_identifier(tmp_path: Path) -> None:
    run = probe(small.probing(small.data(_scans(tmp_path / "dcm", TWELVE)), tmp_path / "run"))
    table = read_predictions(run / "linear" / "predictions.csv")
    assert table.n_images == 36
    assert table.n_patients == 12
    for path, patient in zip(table.paths, table.patients, strict=True):
        assert Path(path).stem[1:] == Path(patient).stem[1:]  # the number of the person
    for file in run.rglob("*"):
        assert not file.is_file() or b"Jane" not in file.read_bytes()


def test_a_person_seen_in_pretraining_is_refused_on_other_images(tmp_path: Path) -> None:
    more = small.data(_scans(tmp_path / "more", TWELVE[:4], seed=1), fold=None)
    encoder = pretrain(small.pretraining(more, tmp_path / "encoder"))
    settings = small.probing(
        small.data(_scans(tmp_path / "dcm", TWELVE)), tmp_path / "probe", encoder=str(encoder)
    )
    with pytest.raises(UserError, match=r"^12 of 36 test images.*\(0 as they are.*12 only by a p"):
        probe(settings)
    probe(replace(settings, allow_seen=True))
    assert small.facts(tmp_path / "probe")["test_images_seen_in_pretraining"] == 12


def test_other_images_of_the_one_person_of_a_set_are_refused(tmp_path: Path) -> None:
    one = small.data(_scans(tmp_path / "one", TWELVE[:1], seed=1))
    encoder = pretrain(small.pretraining(one, tmp_path / "encoder"))
    data = small.data(_scans(tmp_path / "dcm", TWELVE))
    with pytest.raises(UserError, match=r"^3 of 36 test images"):
        probe(small.probing(data, tmp_path / "probe", encoder=str(encoder)))


def test_sets_made_anonymous_alike_are_not_one_person(tmp_path: Path) -> None:
    more = small.data(_scans(tmp_path / "more", ["ANON"] * 4, seed=1))
    encoder = pretrain(small.pretraining(more, tmp_path / "encoder"))
    data = small.data(_scans(tmp_path / "dcm", ["ANON"] * 12))
    run = probe(small.probing(data, tmp_path / "probe", encoder=str(encoder)))
    assert small.facts(run)["test_images_seen_in_pretraining"] == 0


def test_new_images_of_one_known_person_alone_are_told(tmp_path: Path) -> None:
    def seen(name: str, trained_on: Sequence[str], asked: Sequence[str]) -> list[bool | None]:
        known = small.data(_scans(tmp_path / name / "known", trained_on, seed=1))
        encoder = pretrain(small.pretraining(known, tmp_path / name / "encoder"))
        images = _scans(tmp_path / name / "asked", asked, seed=2)
        settings = EmbedSettings(run=str(encoder), images=str(images), out="", hardware=small.CPU)
        return embed(settings).seen

    assert seen("two", TWELVE[:2], TWELVE[:1]) == [True] * 3
    assert seen("other", TWELVE[:2], TWELVE[5:6]) == [False] * 3
    assert True not in seen("anonymous", ["ANON"] * 4, ["ANON"])


def test_embedding_tells_of_persons(tmp_path: Path) -> None:
    one = small.data(_scans(tmp_path / "one", TWELVE[:2], seed=1))
    encoder = pretrain(small.pretraining(one, tmp_path / "encoder"))
    found = embed(
        EmbedSettings(
            run=str(encoder),
            images=str(_scans(tmp_path / "dcm", TWELVE)),
            out=str(tmp_path / "features.csv"),
            hardware=small.CPU,
        )
    )
    seen = [int(record.path.stem.partition("-")[2]) < 2 for record in found.manifest.records]
    assert found.seen == seen
    table = str(tmp_path / "features.csv")
    write_embedding(found, EmbedSettings(run=str(encoder), images="dcm", out=table))
    with (tmp_path / "features.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["patient"] for row in rows}) == 12  # so that who learns of them can split
    assert "Jane" not in (tmp_path / "features.csv").read_text()
