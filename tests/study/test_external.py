"""Images of another source: the models of a study are asked, and compared there."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glcm_mae.cli import main
from glcm_mae.data import make_phantom, read_manifest, write_phantom
from glcm_mae.predictions import read_predictions
from glcm_mae.settings import HardwareSettings, PredictSettings
from glcm_mae.training.predict import predict

from ..commands import complaint
from .conftest import RECIPE

ARMS = ("random", "mse")
STAGES = {"linear": "probe/linear", "knn": "probe/knn", "finetune": "finetune"}


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images of 12 other patients, named as those of the study."""
    phantom = make_phantom(4, 2, 32, seed=7)
    return write_phantom(phantom, tmp_path_factory.mktemp("others"))


@pytest.fixture(scope="module")
def words(images: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("study")
    (folder / "recipe.yaml").write_text(RECIPE)
    shared = ["--config", str(folder / "recipe.yaml"), "--folds", "3", "--n_resamples", "50"]
    of_arms = ["--arms", ",".join(ARMS), "--baselines", "histogram,shortcuts", "--seeds", "2"]
    of_arms += ["--positive", "sparse"]
    ways = ["--by", ",".join(STAGES), "--out", str(folder / "out")]
    return ["compare", str(images), *shared, *of_arms, *ways]


@pytest.fixture(scope="module")
def done(words: list[str], others: Path) -> Path:
    assert main([*words, "--external", str(others)]) == 0
    return Path(words[-1])


@pytest.mark.parametrize("way", STAGES)
def test_each_seed_is_the_mean_of_what_predict_says_of_its_folds(
    done: Path, others: Path, tmp_path: Path, way: str
) -> None:
    found = read_predictions(done / "external/arms/mse" / way / "predictions.csv")
    assert found.seeds is not None
    names = [record.name for record in read_manifest(others).records]
    for seed in (0, 1):
        said = []
        for fold in range(3):
            run = done / f"arms/mse/seed{seed}-fold{fold}" / Path(STAGES[way]).parts[0]
            out = str(tmp_path / f"{seed}-{fold}")
            asked = PredictSettings(
                run=str(run), images=str(others), out=out, hardware=HardwareSettings("cpu")
            )
            place = way if way != "finetune" else "."
            said.append(read_predictions(predict(asked) / place / "predictions.csv"))
        rows = np.flatnonzero(found.seeds == seed)
        assert [found.paths[i] for i in rows] == names
        expected = np.mean([one.probabilities for one in said], axis=0)
        np.testing.assert_allclose(found.probabilities[rows], expected, atol=1e-6)
        np.testing.assert_array_equal(found.labels[rows], said[0].labels)


def test_arms_are_compared_there_at_thresholds_of_the_study(done: Path, others: Path) -> None:
    comparison = json.loads((done / "external/comparison.json").read_text())
    assert comparison["external"] == {"images": str(others), "left_out": 0}
    for way in STAGES:
        first = comparison["results"][way]["comparisons"][0]
        assert set(first["arms"]) == {*ARMS, "histogram"}  # shortcuts say nothing of another set
        of_sparse = comparison["results"][way]["comparisons"][-1]
        sensitivity = of_sparse["arms"]["mse"]["metrics"]["sensitivity_at_threshold"]
        assert sensitivity["value"] is not None
    page = (done / "external/comparison.md").read_text()
    assert page.startswith("# Comparison on images of another source")
    assert f"**Asked about: {others}**" in page
    assert (done / "external/comparison.png").exists()
    assert "another source" not in (done / "comparison.md").read_text()


def test_images_of_the_study_are_left_out(
    done: Path, words: list[str], images: Path, others: Path, tmp_path: Path
) -> None:
    own, strange = read_manifest(images).records[:5], read_manifest(others).records
    rows = [f"{record.path},{record.label},{record.patient}" for record in [*own, *strange]]
    Image.open(own[0].path).save(tmp_path / "copy.bmp")
    rows.append(f"{tmp_path / 'copy.bmp'},{own[0].label},x")
    (tmp_path / "mixed.csv").write_text("\n".join(["path,label,patient", *rows]))
    again = tmp_path / "again"
    shutil.copytree(done, again)
    assert main([*words[:-1], str(again), "--external", str(tmp_path / "mixed.csv")]) == 0
    comparison = json.loads((again / "external/comparison.json").read_text())
    assert comparison["external"]["left_out"] == 6
    for arm in ARMS:
        place = f"external/arms/{arm}/linear/predictions.csv"
        before, table = (read_predictions(folder / place) for folder in (done, again))
        assert sorted(table.paths) == sorted(before.paths)


def test_mistakes(
    done: Path,
    words: list[str],
    images: Path,
    others: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = (done / "comparison.json").read_bytes()
    records = read_manifest(others).records
    for label, sentence in (
        ("", "has 1 of 24 images without a label: leave them out"),
        ("blurred", "has the class 'blurred', which "),
    ):
        rows = [f"{r.path},{label if r is records[0] else r.label}" for r in records]
        (tmp_path / "others.csv").write_text("\n".join(["path,label", *rows]))
        assert sentence in complaint(capsys, *words, "--external", tmp_path / "others.csv")
    said = complaint(capsys, *words, "--external", images)
    assert f"all 36 images of {images}, or copies of them, are in the study" in said
    said = complaint(capsys, *words, "--external", others, "--reference", "shortcuts")
    assert said.startswith("reference is shortcuts, which say nothing of another set")
    kept = done / "arms/random/seed0-fold0/probe/linear/classifier.safetensors"
    moved = kept.rename(tmp_path / "classifier")
    said = complaint(capsys, *words, "--external", others)
    assert "keeps no classifier, for it was made by an earlier version" in said
    moved.rename(kept)
    before, after = (json.loads(text)["results"] for text in (whole, _text(done)))
    assert before == after


def _text(out: Path) -> bytes:
    return (out / "comparison.json").read_bytes()
