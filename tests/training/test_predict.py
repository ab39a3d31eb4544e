"""Other images by a fine-tuned run: as in its own test part, with labels and without."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glcm_mae.cli import main
from glcm_mae.data import read_manifest
from glcm_mae.errors import UserError
from glcm_mae.predictions import read_predictions
from glcm_mae.settings import HardwareSettings, PredictSettings
from glcm_mae.training.finetune import finetune
from glcm_mae.training.predict import predict

from ..commands import complaint
from ..data.readers.samples import dicom
from . import small


@pytest.fixture
def settings(finetuned: Path, manifest: Path, tmp_path: Path) -> PredictSettings:
    out = str(tmp_path / "out")
    return PredictSettings(run=str(finetuned), images=str(manifest), out=out, hardware=small.CPU)


def _others(folder: Path, names: list[str], size: int = 16) -> Path:
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size, size), np.uint8)).save(folder / name)
    return folder


def test_the_runs_own_test_part_is_predicted_as_before(
    settings: PredictSettings, finetuned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = predict(settings)
    before, table = (read_predictions(f / "predictions.csv") for f in (finetuned, out))
    rows = [table.paths.index(path) for path in before.paths]
    np.testing.assert_allclose(table.probabilities[rows], before.probabilities, atol=1e-6)
    assert len(table.paths) == 36
    assert table.classes == before.classes
    # The other images are those that the run was trained on.
    assert (
        "24 of 36 images, or copies of them, were used in the training of"
        in capsys.readouterr().err
    )
    assert small.facts(out)["images_seen_in_training"] == 24
    words = ("--run", finetuned, "--images", settings.images, "--out", f"{settings.out}-measured")
    assert main(["predict", *map(str, words)]) == 0
    assert "24 of the test images" in capsys.readouterr().out


def test_another_hospital_may_name_its_patients_and_files_alike(
    settings: PredictSettings, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = read_manifest(manifest)
    rng = np.random.default_rng(1)
    rows = ["path,label,patient"]
    for record in own.records:
        path = tmp_path / record.path.name
        Image.fromarray(rng.integers(0, 256, (16, 16), np.uint8)).save(path)
        rows.append(f"{path},{record.label},{record.patient}")
    (tmp_path / "other.csv").write_text("\n".join(rows))
    words = ("--run", settings.run, "--images", tmp_path / "other.csv", "--out", settings.out)
    assert main(["predict", *map(str, words)]) == 0
    told = capsys.readouterr()
    assert "used in training" not in told.out
    assert "were used in the training" not in told.err
    assert "24 images are of patients that are named as some of those that " in told.err
    metrics = json.loads((Path(settings.out) / "metrics.json").read_text())
    assert metrics["by_image"]["at_threshold"] is not None


def test_colour_images_become_what_the_run_was_trained_on(
    settings: PredictSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = _others(tmp_path / "new", ["a.png", "b.png", "c.png"])
    Image.open(images / "a.png").convert("RGB").save(images / "a.png")  # but gray as it was
    marked = Image.open(images / "b.png").convert("RGB")
    marked.putpixel((3, 4), (255, 0, 0))
    marked.save(images / "b.png")
    out = predict(replace(settings, images=str(images)))
    assert (out / "predictions.csv").read_text().count("\n") == 4
    assert f"1 of 3 images have colours and are read as gray, as {settings.run} reads all" in (
        capsys.readouterr().err
    )


def test_labelled_images_are_measured_at_the_runs_thresholds(
    settings: PredictSettings, finetuned: Path, tmp_path: Path
) -> None:
    names = [f"{label}/{n}.png" for label in ("sparse", "dense") for n in range(6)]
    images = _others(tmp_path / "others", names)
    words = ("--run", finetuned, "--images", images, "--out", settings.out)
    assert main(["predict", *map(str, words)]) == 0
    out = Path(settings.out)
    kept, own = (read_predictions(f / "validation.csv") for f in (out, finetuned))
    np.testing.assert_array_equal(kept.probabilities, own.probabilities)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["n_images"] == 12
    assert metrics["classes"] == ["dense", "sparse", "streaked"]
    assert metrics["by_image"]["at_threshold"] is not None


def test_images_without_labels_get_a_table_without(
    settings: PredictSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = _others(tmp_path / "new", ["a.png", "b.png"])
    words = ("--run", settings.run, "--images", images, "--out", settings.out)
    assert main(["predict", *map(str, words)]) == 0
    with (Path(settings.out) / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "patient", "p_dense", "p_sparse", "p_streaked"]
    assert [Path(row["path"]).name for row in rows] == ["a.png", "b.png"]
    assert sum(float(rows[0][f"p_{name}"]) for name in ("dense", "sparse", "streaked")) == (
        pytest.approx(1)
    )
    assert "They are not measured: the images have no label." in capsys.readouterr().out


def test_images_without_labels_stand_apart_from_those_with(
    settings: PredictSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _others(tmp_path / "new", [f"{n}.png" for n in range(5)])
    rows = ["path,label", "0.png,sparse", "1.png,dense", "2.png,", "3.png,streaked", "4.png,"]
    (folder / "some.csv").write_text("\n".join(rows))
    words = ("--run", settings.run, "--images", folder / "some.csv", "--out", settings.out)
    assert main(["predict", *map(str, words)]) == 0
    measured = read_predictions(Path(settings.out, "predictions.csv"))
    assert [Path(path).name for path in measured.paths] == ["0.png", "1.png", "3.png"]
    assert json.loads(Path(settings.out, "metrics.json").read_text())["n_images"] == 3
    with Path(settings.out, "unlabelled.csv").open(newline="") as file:
        assert [Path(row["path"]).name for row in csv.DictReader(file)] == ["2.png", "4.png"]
    assert "2 images have no label: they are in " in capsys.readouterr().out


def test_what_was_seen_is_counted_among_the_images_with_labels(
    settings: PredictSettings, tmp_path: Path, manifest: Path
) -> None:
    own = [str(record.path) for record in read_manifest(manifest).records]
    folder = _others(tmp_path / "new", ["0.png", "1.png"])
    rows = ["path,label", "0.png,sparse", "1.png,dense", *(f"{path}," for path in own)]
    (folder / "some.csv").write_text("\n".join(rows))
    out = predict(replace(settings, images=str(folder / "some.csv")))
    assert small.facts(out)["images_seen_in_training"] == 24
    assert not (out / "about.json").exists()


def test_dark_images_are_not_to_be_read_otherwise_than_the_run_reads(
    settings: PredictSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new").mkdir()
    dark = np.random.default_rng(0).integers(0, 300, (16, 16)).astype(np.uint16)
    Image.fromarray(dark).save(tmp_path / "new/a.png")
    predict(replace(settings, images=str(tmp_path / "new")))
    said = capsys.readouterr().err
    assert f": {settings.run} reads all so, convert the images." in said
    assert "data.window" not in said


def test_mistakes(
    settings: PredictSettings,
    finetuned: Path,
    encoder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = _others(tmp_path / "others", ["x/a.png", "dense/b.png"])
    words = ("predict", "--out", settings.out, "--images", images, "--run")
    assert f"{encoder} is no finished fine-tuning" in complaint(capsys, *words, encoder)
    said = complaint(capsys, *words, finetuned)
    assert "others has the class 'x', which " in said
    assert "name the classes as there, dense, sparse, streaked" in said
    large = _others(tmp_path / "large", ["dense/a.png"], size=20)
    said = complaint(capsys, *words[:4], large, "--run", finetuned)
    assert "20 x 20 pixels" in said
    assert said.endswith(
        f"(Here all settings of reading are those of {finetuned}: convert the images.)"
    )
    assert not Path(settings.out).exists()
    with pytest.raises(UserError, match=r"hardware\.devices is 2: set it to 1"):
        predict(replace(settings, hardware=HardwareSettings(accelerator="cpu", devices=2)))
    said = complaint(capsys, "predict", "--out", images, "--images", images, "--run", finetuned)
    assert f"in the folder of images {images}" in said
    with pytest.raises(UserError, match="holds a run already: choose another"):
        predict(replace(settings, out=str(finetuned)))


def test_a_head_of_another_network_is_refused(
    settings: PredictSettings, finetuned: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in finetuned.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    facts = small.facts(finetuned)
    (other / "finished.json").write_text(json.dumps({**facts, "classes": ["dense", "sparse"]}))
    unlabelled = _others(tmp_path / "new", ["a.png"])
    with pytest.raises(UserError, match=r"head\.safetensors is not of this encoder"):
        predict(replace(settings, run=str(other), images=str(unlabelled)))
    (other / "finished.json").write_text("{}")
    with pytest.raises(UserError, match="does not tell its classes and pooling"):
        predict(replace(settings, run=str(other), images=str(unlabelled)))


def test_images_of_another_scale_are_read_at_the_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for n in range(24):
        folder = tmp_path / "set" / "ab"[n % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (16, 16), np.uint8)
        (folder / f"{n}.dcm").write_bytes(dicom(pixels, PixelSpacing=[1.0, 1.0]))
    data = small.data(tmp_path / "set", spacing=1.0, resize="center", folds=3)
    run = finetune(small.finetuning(data, tmp_path / "run"))
    asked = PredictSettings(run=str(run), images="", out="", hardware=small.CPU)
    chances = []
    for name, finer in (("as", 1), ("finer", 3)):
        (tmp_path / name).mkdir()
        same = np.kron(pixels, np.ones((finer, finer), np.uint8))
        file = tmp_path / name / "a.dcm"
        file.write_bytes(dicom(same, PixelSpacing=[1 / finer, 1 / finer]))
        there = replace(asked, images=str(tmp_path / name), out=str(tmp_path / f"{name}-out"))
        with (predict(there) / "predictions.csv").open(newline="") as table:
            [row] = csv.DictReader(table)
        chances.append([float(row["p_a"]), float(row["p_b"])])
    np.testing.assert_allclose(*chances, atol=0.02)
    Image.fromarray(pixels).save(tmp_path / "as/b.png")
    with pytest.raises(UserError, match=r"b\.png does not tell the size of its pixels"):
        predict(replace(there, images=str(tmp_path / "as"), out=str(tmp_path / "more")))
