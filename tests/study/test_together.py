"""An arm's models of all folds and seeds, asked together."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from glcm_mae.cli import main
from glcm_mae.data import read_manifest
from glcm_mae.predictions import Predictions, read_predictions
from glcm_mae.settings import HardwareSettings, PredictSettings
from glcm_mae.study.together import predict_together

from ..commands import complaint
from .conftest import ARMS, STAGES


def _ask(run: Path, images: Path, out: Path, **settings: bool) -> Path:
    return predict_together(
        PredictSettings(
            run=str(run),
            images=str(images),
            out=str(out),
            hardware=HardwareSettings("cpu"),
            **settings,
        )
    )


def _mean(table: Predictions) -> dict[str, np.ndarray]:
    """What all models of a table say of each image, by a loop."""
    rows: dict[str, list[np.ndarray]] = {}
    for path, chances in zip(table.paths, table.probabilities, strict=True):
        rows.setdefault(path, []).append(chances)
    return {path: np.mean(said, axis=0) for path, said in rows.items()}


@pytest.mark.parametrize("arm", ARMS)
def test_they_say_the_mean_of_what_each_says(
    done: Path, others: Path, tmp_path: Path, arm: str
) -> None:
    out = _ask(done / "arms" / arm, others, tmp_path / "out")
    assert {path.parent.name for path in out.glob("*/predictions.csv")} == set(STAGES)
    for way in STAGES:
        said = read_predictions(out / way / "predictions.csv")
        of_each = read_predictions(done / "external/arms" / arm / way / "predictions.csv")
        expected = _mean(of_each)
        assert list(said.paths) == [record.name for record in read_manifest(others).records]
        for path, chances in zip(said.paths, said.probabilities, strict=True):
            np.testing.assert_allclose(chances, expected[path], atol=1e-6)
    models = json.loads((out / "finished.json").read_text())["models"]
    assert models == dict.fromkeys(STAGES, 6)  # two seeds, three folds


def test_thresholds_are_by_images_that_the_models_had_not_seen(
    done: Path, others: Path, tmp_path: Path
) -> None:
    out = _ask(done / "arms/mse", others, tmp_path / "out")
    for way in STAGES:
        kept = read_predictions(out / way / "validation.csv")
        out_of_fold = read_predictions(done / "arms/mse" / way / "predictions.csv")
        expected = _mean(out_of_fold)
        assert len(kept.paths) == len(expected) == 36
        labels = dict(zip(out_of_fold.paths, out_of_fold.labels.tolist(), strict=True))
        for path, label, chances in zip(kept.paths, kept.labels, kept.probabilities, strict=True):
            own = path.removeprefix("mse: ")
            assert own != path
            assert label == labels[own]
            np.testing.assert_allclose(chances, expected[own], atol=1e-12)


def test_a_baselines_folds_answer_together(done: Path, others: Path, tmp_path: Path) -> None:
    out = _ask(done / "baselines/pixels", others, tmp_path / "out")
    said = read_predictions(out / "predictions.csv")
    expected = _mean(read_predictions(done / "external/baselines/pixels/predictions.csv"))
    for path, chances in zip(said.paths, said.probabilities, strict=True):
        np.testing.assert_allclose(chances, expected[path], atol=1e-9)
    assert (out / "validation.csv").is_file()


def test_the_command_measures_them(
    done: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ("--run", done / "arms/mse", "--images", others, "--out", out)
    assert main(["predict", *map(str, words)]) == 0
    assert "[12/12]" in capsys.readouterr().err
    for way in STAGES:
        metrics = json.loads((out / way / "metrics.json").read_text())
        assert metrics["n_images"] == 24
        assert metrics["by_image"]["at_threshold"] is not None


def test_images_without_labels_are_asked_about_too(
    done: Path, others: Path, tmp_path: Path
) -> None:
    (tmp_path / "bare.csv").write_text(
        "\n".join(["path", *(str(record.path) for record in read_manifest(others).records)])
    )
    out = _ask(done / "arms/random", tmp_path / "bare.csv", tmp_path / "out")
    for way in STAGES:
        lines = (out / way / "predictions.csv").read_text().splitlines()
        assert lines[0] == "path,patient,p_dense,p_sparse,p_streaked"
        assert len(lines) == 25


def test_images_that_any_of_them_was_trained_on_are_told(
    done: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = _ask(done / "arms/mse", images, tmp_path / "out")
    told = f"36 of 36 images, or copies of them, were used in the training of {done / 'arms/mse'}"
    assert told in capsys.readouterr().err
    assert json.loads((out / "finished.json").read_text())["images_seen_in_training"] == 36


def test_a_whole_study_is_refused_and_says_what_can_be_asked(
    done: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = complaint(capsys, "predict", "--run", done, "--images", others, "--out", tmp_path / "o")
    assert f"{done} is a study: give one of its arms or baselines" in told
    assert str(done / "arms" / "mse") in told
    assert not (tmp_path / "o").exists()


def test_an_arm_that_is_not_complete_is_refused(
    done: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    shutil.copytree(done, study)
    for table in (
        *study.glob("arms/mse/*/predictions.csv"),
        study / "baselines/pixels/predictions.csv",
    ):
        if "fold" not in table.parent.name:
            table.unlink()
    for part, what in (("arms/mse", "arm"), ("baselines/pixels", "baseline")):
        words = ("--run", study / part, "--images", others, "--out", tmp_path / "o")
        assert f"is no complete {what}: the study's command" in complaint(capsys, "predict", *words)
    gone = study / "arms/random/seed1-fold2/probe/linear/classifier.safetensors"
    gone.unlink()
    words = ("--run", study / "arms/random", "--images", others, "--out", tmp_path / "o")
    told = complaint(capsys, "predict", *words)
    assert f"1 of 12 runs are without a classifier, such as {gone.parent.parent}" in told
    shutil.rmtree(study / "arms/random/seed1-fold2/finetune")
    told = complaint(capsys, "predict", *words)
    assert "1 of 12 runs are not there or unfinished, such as " in told
    (study / "arms/random/finetune/predictions.csv").unlink()
    gone.write_bytes((study / "arms/random/seed1-fold1/probe/linear" / gone.name).read_bytes())
    assert main(["predict", *map(str, words)]) == 0
    assert (
        f"finetune is left out: its runs in {study / 'arms/random'} are" in capsys.readouterr().err
    )


def test_an_arm_is_found_however_it_is_written(
    done: Path, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(done / "arms/mse")
    plain = _ask(done / "arms/mse", others, tmp_path / "plain")
    monkeypatch.chdir(done / "arms/mse")
    for number, run in enumerate((Path(), tmp_path / "link", Path("../random/../mse"))):
        out = _ask(run, others, tmp_path / str(number))
        for table in ("predictions.csv", "validation.csv"):
            assert (out / "knn" / table).read_bytes() == (plain / "knn" / table).read_bytes()


def test_the_tables_of_a_study_are_not_written_over(
    done: Path, others: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (done / "arms/mse/linear/predictions.csv").read_bytes()
    for out in ("arms/mse", "arms/random/new", "baselines/new", "arms", "."):
        words = ("--run", done / "arms/mse", "--images", others, "--out", done / out)
        assert "which belongs to a study: choose" in complaint(capsys, "predict", *words)
    words = ("--run", done / "arms/mse", "--images", others)
    told = complaint(capsys, "predict", *words, "--out", done / "external/arms/mse")
    assert "holds a run already: choose another" in told
    assert (done / "arms/mse/linear/predictions.csv").read_bytes() == before


def test_shortcuts_say_nothing_of_another_set(
    done: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--run", done / "baselines/shortcuts", "--images", others, "--out", tmp_path / "o")
    assert "is a baseline of shortcuts" in complaint(capsys, "predict", *words)
