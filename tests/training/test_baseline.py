"""Each baseline finds what it is made to find, and nothing that it must not see."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import nibabel
import numpy as np
import pytest
from PIL import Image

from glcm_mae.audit.inspection import inspect
from glcm_mae.audit.shortcuts import rank_shortcuts
from glcm_mae.cli import main
from glcm_mae.data import make_phantom, read_manifest, write_phantom
from glcm_mae.errors import UserError
from glcm_mae.evaluation import compute_metrics
from glcm_mae.predictions import read_predictions
from glcm_mae.settings import BaselineKind, BaselineSettings, DataSettings
from glcm_mae.training import baseline as module
from glcm_mae.training.baseline import baseline

from ..commands import complaint

KINDS: tuple[BaselineKind, ...] = get_args(BaselineKind)
GLCM_KINDS = [kind for kind in KINDS if kind.startswith("glcm")]
Capsys = pytest.CaptureFixture[str]
Rows = list[tuple[np.ndarray, str, dict[str, Any]]]  # pixels, class, how to save them


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """72 images of 36 patients, whose 3 classes differ in texture and whose histograms are one."""
    return write_phantom(make_phantom(12, 2, size=32), tmp_path_factory.mktemp("phantom"))


def settings(images: Path, out: Path, kind: BaselineKind, **changes: Any) -> BaselineSettings:
    reading: dict[str, Any] = {"image_size": 32, "folds": 3}
    own = {name: changes.pop(name) for name in ("seed", "resume") if name in changes}
    return BaselineSettings(DataSettings(str(images), **(reading | changes)), str(out), kind, **own)


def auroc(run: Path) -> float:
    table = read_predictions(run / "predictions.csv")
    return float(compute_metrics(table.labels, table.probabilities)["auroc"])


def written(folder: Path, rows: Rows, header: str = "path,label,patient") -> Path:
    """Save images, two a patient, and their manifest."""
    folder.mkdir()
    lines = [header]
    for n, (pixels, label, how) in enumerate(rows):
        Image.fromarray(pixels).save(folder / f"{n}.png", **how)
        lines.append(f"{n}.png,{label},{label}{n // 4}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.csv"


def noise(rng: np.random.Generator, *shape: int, low: int = 0, high: int = 200) -> np.ndarray:
    return rng.integers(low, high, shape or (32, 32), dtype=np.uint8)


# --- what each finds


@pytest.mark.parametrize("kind", GLCM_KINDS)
def test_texture_is_found_by_glcm_features(
    phantom: Path, tmp_path: Path, kind: BaselineKind
) -> None:
    assert auroc(baseline(settings(phantom, tmp_path / "run", kind))) > 0.9


def test_texture_is_not_found_by_what_knows_none(phantom: Path, tmp_path: Path) -> None:
    assert auroc(baseline(settings(phantom, tmp_path / "histogram", "histogram"))) == 0.5
    assert 0.3 < auroc(baseline(settings(phantom, tmp_path / "pixels", "pixels"))) < 0.7


@pytest.mark.parametrize("kind", ["histogram", "pixels"])
def test_brightness_is_found_by_histogram_and_pixels(tmp_path: Path, kind: BaselineKind) -> None:
    rng = np.random.default_rng(0)
    rows: Rows = [(noise(rng, high=(200, 150)[n % 2]), "ab"[n % 2], {}) for n in range(48)]
    images = written(tmp_path / "set", rows)
    assert auroc(baseline(settings(images, tmp_path / "run", kind))) > 0.9


@pytest.mark.parametrize("kind", ["glcm_logistic", "glcm_local"])
def test_glcm_features_do_not_know_brightness(tmp_path: Path, kind: BaselineKind) -> None:
    rng = np.random.default_rng(1)
    rows: Rows = [(noise(rng) + np.uint8(50 * (n % 2)), "ab"[n % 2], {}) for n in range(120)]
    images = written(tmp_path / "set", rows)
    assert 0.3 < auroc(baseline(settings(images, tmp_path / "run", kind))) < 0.7


def test_a_shortcut_of_the_file_is_found_by_shortcuts_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows: Rows = [
        (noise(rng, high=64), "ab"[n % 2], {"compress_level": (9, 0)[n % 2]}) for n in range(120)
    ]
    images = written(tmp_path / "set", rows)
    for kind in KINDS:
        found = auroc(baseline(settings(images, tmp_path / kind, kind)))
        if kind == "shortcuts":
            assert found > 0.95
        else:
            assert 0.3 < found < 0.7


def test_shortcuts_predict_as_the_audit_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows: Rows = []
    for n in range(60):
        pixels = noise(rng)
        pixels[: int(rng.integers(0, 5)) + n % 2] = 0  # a border that tells something
        rows.append((pixels, "ab"[n % 2], {}))
    images = written(tmp_path / "set", rows)
    run = baseline(settings(images, tmp_path / "run", "shortcuts"))
    manifest = read_manifest(images)
    audit = rank_shortcuts(manifest, inspect(manifest), manifest.patients, folds=3, seed=0)
    (together,) = (s.auroc.value for s in audit if s.name == "all together")
    assert 0.55 < together < 1
    assert auroc(run) == pytest.approx(together, abs=1e-9)


# --- on which images


@pytest.fixture(scope="module")
def split(phantom: Path) -> Path:
    """Write the phantom's manifest with a split by patient: 24 of each side, and 8 of a class."""
    rows = ["path,label,patient,split"]
    for n, record in enumerate(read_manifest(phantom).records):
        side = ("train", "val", "test")[n // 6 % 3]
        rows.append(f"{record.path},{record.label},{record.patient},{side}")
    path = phantom.with_name("split.csv")
    path.write_text("\n".join(rows) + "\n")
    return path


def relabelled(split: Path, side: str) -> Path:
    """Copy a manifest, with the labels of one side in reverse order."""
    with split.open() as file:
        rows = list(csv.DictReader(file))
    chosen = [row for row in rows if row["split"] == side]
    for row, label in zip(chosen, [row["label"] for row in chosen][::-1], strict=True):
        row["label"] = label
    path = split.with_name(f"{side}-relabelled.csv")
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    return path


FITTED = [kind for kind in KINDS if kind not in ("histogram", "convolutional")]


@pytest.mark.parametrize("kind", FITTED)
def test_labels_of_held_out_images_do_not_matter(
    split: Path, tmp_path: Path, kind: BaselineKind
) -> None:
    plain = baseline(settings(split, tmp_path / "plain", kind))
    for side, table in (("test", "predictions.csv"), ("val", "validation.csv")):
        other = baseline(settings(relabelled(split, side), tmp_path / side, kind))
        before, after = (read_predictions(run / table) for run in (plain, other))
        assert before.paths == after.paths
        assert not np.array_equal(before.labels, after.labels)
        for name in ("predictions.csv", "validation.csv"):
            np.testing.assert_array_equal(
                read_predictions(plain / name).probabilities,
                read_predictions(other / name).probabilities,
            )
    other = baseline(settings(relabelled(split, "train"), tmp_path / "train", kind))
    before, after = (read_predictions(run / "predictions.csv") for run in (plain, other))
    assert not np.array_equal(before.probabilities, after.probabilities)


def test_a_split_is_kept_and_its_validation_part_written(split: Path, tmp_path: Path) -> None:
    run = baseline(settings(split, tmp_path / "run", "histogram", seed=5))
    sides = {record.name: record.split for record in read_manifest(split).records}
    for name, side in (("predictions.csv", "test"), ("validation.csv", "val")):
        table = read_predictions(run / name)
        assert [sides[path] for path in table.paths] == [side] * 24
        assert table.seeds is not None
        assert set(table.seeds.tolist()) == {5}


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_split_every_image_is_tested_once(
    phantom: Path, tmp_path: Path, kind: BaselineKind
) -> None:
    run = baseline(settings(phantom, tmp_path / "run", kind))
    table = read_predictions(run / "predictions.csv")
    assert sorted(table.paths) == sorted(r.name for r in read_manifest(phantom).records)
    np.testing.assert_allclose(table.probabilities.sum(axis=1), 1, atol=1e-6)
    assert table.folds is not None
    assert len({(p, f) for p, f in zip(table.patients, table.folds.tolist(), strict=True)}) == 36
    assert not (run / "validation.csv").exists()
    assert json.loads((run / "finished.json").read_text())["test"] == 72


def test_a_held_out_fold_is_named(phantom: Path, tmp_path: Path) -> None:
    run = baseline(settings(phantom, tmp_path / "run", "histogram", fold=2))
    for name in ("predictions.csv", "validation.csv"):
        folds = read_predictions(run / name).folds
        assert folds is not None
        assert set(folds.tolist()) == {2}


@pytest.mark.parametrize("kind", ["histogram", "shortcuts"])
def test_an_unreadable_image_is_left_out_where_that_is_asked_for(
    tmp_path: Path, kind: BaselineKind, capsys: Capsys
) -> None:
    rng = np.random.default_rng(4)
    rows: Rows = [(noise(rng), "ab"[n % 2], {}) for n in range(24)]
    images = written(tmp_path / "set", rows)
    (tmp_path / "set" / "3.png").write_bytes(b"")
    run = baseline(settings(images, tmp_path / "run", kind, on_error="skip"))
    assert read_predictions(run / "predictions.csv").n_images == 23
    assert "3.png" in capsys.readouterr().err


def test_slices_are_cut_in_the_plane_that_was_asked_for(tmp_path: Path) -> None:
    """Twelve sagittal slices, two axial ones: those beyond the second exist in one plane only."""
    rng = np.random.default_rng(5)
    for n in range(8):
        path = tmp_path / "set" / "ab"[n % 2] / f"{n}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        volume = noise(rng, 12, 10, 2)
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path)
    reading = {"image_size": (2, 10), "plane": "sagittal", "patient_regex": r"\d"}
    run = baseline(settings(tmp_path / "set", tmp_path / "run", "shortcuts", **reading))
    assert read_predictions(run / "predictions.csv").n_images == 8 * 12


# --- features


@pytest.mark.parametrize(
    ("kind", "features"),
    [("glcm_logistic", 100), ("pixels", 1024), ("histogram", 192)],
)
def test_colour_images_give_their_luminance_or_each_channel(
    tmp_path: Path, kind: BaselineKind, features: int
) -> None:
    rng = np.random.default_rng(6)
    rows: Rows = [(noise(rng, 32, 32, 3), "ab"[n % 2], {}) for n in range(24)]
    run = baseline(settings(written(tmp_path / "set", rows), tmp_path / "run", kind))
    assert json.loads((run / "finished.json").read_text())["features"] == features


# --- runs


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_table(
    phantom: Path, tmp_path: Path, kind: BaselineKind
) -> None:
    tables = [
        (baseline(settings(phantom, tmp_path / str(n), kind)) / "predictions.csv").read_bytes()
        for n in range(2)
    ]
    assert tables[0] == tables[1]


def test_a_finished_run_is_returned_and_an_unfinished_one_begun_anew(
    phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = settings(phantom, tmp_path / "run", "histogram")
    run = baseline(first)
    table = (run / "predictions.csv").read_bytes()
    for name in ("predictions.csv", "finished.json"):
        (run / name).unlink()
    again = replace(first, resume=True)
    assert baseline(again) == run
    assert (run / "predictions.csv").read_bytes() == table
    monkeypatch.setattr(module, "images_and_parts", None)
    assert baseline(again) == run
    with pytest.raises(UserError, match="begun with other settings"):
        baseline(replace(again, kind="pixels"))


@pytest.mark.parametrize("step", ["out_of_fold", "to_keep"])
def test_a_stopped_baseline_leaves_no_trace(
    phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        baseline(settings(phantom, tmp_path / "run", "histogram"))
    assert not (tmp_path / "run").exists()


# --- the command


@pytest.fixture
def words(phantom: Path, tmp_path: Path) -> Callable[..., list[object]]:
    def command(*more: object) -> list[object]:
        reading = ["--data.image_size", 32, "--data.folds", 3]
        return ["baseline", phantom, "--out", tmp_path / "out", *reading, *more]

    return command


def test_the_command_measures_and_says_what_is_next(
    words: Callable[..., list[object]], phantom: Path, tmp_path: Path, capsys: Capsys
) -> None:
    assert main([str(word) for word in words("--kind", "histogram")]) == 0
    said = capsys.readouterr().out
    assert "auroc" in said
    assert said.splitlines()[-1] == (
        f"The metrics lie in {tmp_path / 'out' / 'metrics.json'}. Next: glcm-mae probe --encoder "
        f"RUN --data.images {phantom} --data.image_size 32 --data.folds 3 --out OUT must beat this."
    )
    sentence = complaint(capsys, *words("--kind", "histogram"))
    assert sentence.startswith(f"{tmp_path / 'out'} holds a run already: go on with it by --resume")
    assert main([str(word) for word in words("--kind", "histogram", "--resume")]) == 0


def test_an_unknown_kind_is_refused(
    words: Callable[..., list[object]], tmp_path: Path, capsys: Capsys
) -> None:
    sentence = complaint(capsys, *words("--kind", "haralick"))
    assert sentence == (
        "--kind takes glcm_logistic | glcm_boosting | glcm_local | pixels | histogram | "
        "shortcuts | convolutional, not 'haralick'."
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", GLCM_KINDS)
def test_images_too_small_for_the_farthest_pair_are_refused(
    words: Callable[..., list[object]], tmp_path: Path, capsys: Capsys, kind: str
) -> None:
    size = ["--data.image_size", "[8,32]", "--data.resize", "stretch"]
    sentence = complaint(capsys, *words("--kind", kind, *size))
    assert sentence.startswith(f"data.image_size is (8, 32): the baseline {kind} pairs pixels 8")
    assert not (tmp_path / "out").exists()


def test_images_without_labels_or_of_one_patient_are_refused(
    tmp_path: Path, capsys: Capsys
) -> None:
    rng = np.random.default_rng(8)
    rows: Rows = [(noise(rng), label, {}) for label in ["a"] * 24 + ["b"] * 4]
    images = written(tmp_path / "set", rows)
    command = ["baseline", "--out", tmp_path / "out", "--data.image_size", 32, "--data.folds", 3]
    assert "Class b has 1 patient(s), too few for 3 folds" in complaint(capsys, *command, images)
    images.write_text("path\n" + "".join(f"{n}.png\n" for n in range(24)))
    assert "24 of 24 images without a label" in complaint(capsys, *command, images)
    assert not (tmp_path / "out").exists()


def test_a_class_that_the_training_part_lacks_is_named(
    split: Path, tmp_path: Path, capsys: Capsys
) -> None:
    lines = [
        line.replace("train", "val") if ",sparse," in line else line
        for line in split.read_text().splitlines()
    ]
    lacking = tmp_path / "lacking.csv"
    lacking.write_text("\n".join(lines))
    command = ["baseline", lacking, "--data.image_size", 32, "--out", tmp_path / "out"]
    assert "class 'sparse' has 0 patient(s)" in complaint(capsys, *command)
    assert not (tmp_path / "out").exists()
