"""Images of another source: the models of a study are asked, and compared there."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glcm_mae.cli import main
from glcm_mae.data import make_phantom, read_manifest, write_phantom
from glcm_mae.evaluation import evaluate
from glcm_mae.predictions import read_predictions
from glcm_mae.settings import HardwareSettings, PredictSettings
from glcm_mae.study.together import predict_together
from glcm_mae.training.predict import predict

from ..audit.sets import write_dicom
from ..commands import complaint
from .conftest import ARMS, RECIPE, STAGES


@pytest.mark.parametrize("way", STAGES)
@pytest.mark.parametrize("arm", ARMS)
def test_each_model_says_what_predict_makes_it_say(
    done: Path, others: Path, tmp_path: Path, arm: str, way: str
) -> None:
    found = read_predictions(done / "external/arms" / arm / way / "predictions.csv")
    validation = read_predictions(done / "external/arms" / arm / way / "validation.csv")
    names = [record.name for record in read_manifest(others).records]
    assert found.seeds is not None
    assert validation.seeds is not None
    for number, (seed, fold) in enumerate((seed, fold) for seed in (0, 1) for fold in range(3)):
        run = done / f"arms/{arm}/seed{seed}-fold{fold}" / Path(STAGES[way]).parts[0]
        asked = PredictSettings(
            run=str(run),
            images=str(others),
            out=str(tmp_path / f"{seed}-{fold}"),
            hardware=HardwareSettings("cpu"),
        )
        place = way if way != "finetune" else "."
        expected = predict(asked) / place
        said = read_predictions(expected / "predictions.csv")
        rows = np.flatnonzero(found.seeds == number)
        assert [found.paths[i] for i in rows] == names
        np.testing.assert_allclose(found.probabilities[rows], said.probabilities, atol=1e-9)
        np.testing.assert_array_equal(found.labels[rows], said.labels)
        # Thresholds are by the images on which that very model was not trained.
        own = read_predictions(run / place / "validation.csv")
        rows = np.flatnonzero(validation.seeds == number)
        np.testing.assert_array_equal(validation.probabilities[rows], own.probabilities)
        assert [validation.paths[i] for i in rows] == [f"{done.name}: {path}" for path in own.paths]


def test_baselines_stand_beside_each_seed(done: Path) -> None:
    found = read_predictions(done / "external/baselines/pixels/predictions.csv")
    assert found.seeds is not None
    by_model = [found.probabilities[found.seeds == number] for number in range(6)]
    for fold in range(3):
        np.testing.assert_array_equal(by_model[fold], by_model[3 + fold])
    assert np.abs(by_model[0] - by_model[1]).max() > 0


def test_a_network_says_what_predict_makes_it_say(done: Path, others: Path, tmp_path: Path) -> None:
    found = read_predictions(done / "external/baselines/convolutional/predictions.csv")
    assert found.seeds is not None
    for fold in range(3):
        asked = PredictSettings(
            run=str(done / f"baselines/convolutional/fold{fold}"),
            images=str(others),
            out=str(tmp_path / str(fold)),
            hardware=HardwareSettings("cpu"),
        )
        said = read_predictions(predict(asked) / "predictions.csv")
        for number in (fold, 3 + fold):  # trained once, and set beside each seed
            rows = np.flatnonzero(found.seeds == number)
            np.testing.assert_allclose(found.probabilities[rows], said.probabilities, atol=1e-6)
    page = (done / "external/comparison.md").read_text()
    assert "convolutional is trained once a fold" in page
    settings = (done / "baselines/convolutional/fold0/settings.yaml").read_text()
    assert "accelerator: cpu" in settings  # as the recipe's probes


def test_arms_are_compared_there_at_thresholds_of_the_study(done: Path, others: Path) -> None:
    comparison = json.loads((done / "external/comparison.json").read_text())
    assert comparison["external"].pop("gray_values_apart") == 0  # phantoms have equal histograms
    assert comparison["external"] == {
        "images": str(others),
        "left_out": 0,
        "of_patients_named_alike": 24,  # as another phantom's are
        "lacking": [],
        "seed_of_model": [0, 0, 0, 1, 1, 1],
    }
    for way in STAGES:
        first = comparison["results"][way]["comparisons"][0]
        assert set(first["arms"]) == {
            *ARMS,
            "pixels",
            "convolutional",
        }  # shortcuts say nothing of another set
        of_sparse = comparison["results"][way]["comparisons"][-1]["arms"]["mse"]["metrics"]
        assert of_sparse["sensitivity_at_threshold"]["value"] is not None
    page = (done / "external/comparison.md").read_text()
    assert page.count("frozen features, all models of an arm together\n") == 2
    assert "\n## Fine-tuning, all models of an arm together\n" in page
    assert page.startswith("# Comparison on images of another source")
    assert f"**Asked about: {others}.**" in page
    assert "24 images are of patients that are named as some of the study's" in page
    assert "Their gray values, as they are, not brought to the scale of those that " in page
    assert (done / "external/comparison.png").exists()
    assert "another source" not in (done / "comparison.md").read_text()


def test_all_models_of_an_arm_are_compared_together(
    done: Path, others: Path, tmp_path: Path
) -> None:
    comparison = json.loads((done / "external/comparison.json").read_text())
    for folder in (done / "arms/mse", done / "arms/random"):
        asked = PredictSettings(
            run=str(folder),
            images=str(others),
            out=str(tmp_path / folder.name),
            hardware=HardwareSettings("cpu"),
        )
        out = predict_together(asked)
        for way in STAGES:
            expected = evaluate(out / way / "predictions.csv", n_resamples=50)["by_image"][
                "overall"
            ]["auroc"]
            found = comparison["together"][way]["comparisons"][0]["arms"][folder.name]["metrics"]
            assert found["auroc"]["value"] == pytest.approx(expected["value"], abs=1e-6)


def test_a_cache_gives_the_same_table(
    done: Path, words: list[str], others: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    shutil.copytree(done, again)
    shutil.rmtree(again / "external")
    cache = tmp_path / "cache"
    more = ["--external", str(others), "--set", f"data.cache={cache}"]
    assert main([*words[:-1], str(again), *more]) == 0
    assert len(list(cache.glob("*/pixels.array"))) == 2  # the study's, and the other source's
    found, before = (
        json.loads((folder / "external/comparison.json").read_text())["results"]
        for folder in (again, done)
    )
    assert found == before


def test_images_of_the_study_are_left_out(
    done: Path, words: list[str], images: Path, others: Path, tmp_path: Path
) -> None:
    own, strange = read_manifest(images).records[:5], read_manifest(others).records
    rows = [f"{record.path},{record.label},s{record.patient}" for record in [*own, *strange]]
    Image.open(own[0].path).save(tmp_path / "copy.bmp")
    rows.append(f"{tmp_path / 'copy.bmp'},{own[0].label},x")
    (tmp_path / "mixed.csv").write_text("\n".join(["path,label,patient", *rows]))
    again = tmp_path / "again"
    shutil.copytree(done, again)
    (again / "external/arms/other").mkdir()  # of an earlier comparison
    assert main([*words[:-1], str(again), "--external", str(tmp_path / "mixed.csv")]) == 0
    comparison = json.loads((again / "external/comparison.json").read_text())
    assert comparison["external"]["left_out"] == 6
    assert comparison["external"]["of_patients_named_alike"] == 0
    assert not (again / "external/arms/other").exists()
    for arm in ARMS:
        place = f"external/arms/{arm}/linear/predictions.csv"
        before, table = (read_predictions(folder / place) for folder in (done, again))
        assert sorted(table.paths) == sorted(before.paths)


def test_on_another_gray_scale_models_are_asked_as_predict_asks_them(
    done: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phantom = make_phantom(4, 2, 32, seed=7)
    bright = write_phantom(replace(phantom, images=phantom.images // 2 + 120), tmp_path / "bright")
    again = tmp_path / "again"
    shutil.copytree(done, again)
    ask = [*words[:-1], str(again), "--external", str(bright)]
    assert main(ask) == 0
    assert "the 24 images are on another gray scale than those that " in capsys.readouterr().err
    assert main([*ask, "--match_gray_values", "true"]) == 0
    page = (again / "external/comparison.md").read_text()
    assert "Their gray values, brought to the scale of those that each model was trained on" in page
    asked = PredictSettings(
        run=str(again / "arms/mse/seed1-fold2/finetune"),
        images=str(bright),
        out=str(tmp_path / "alone"),
        match_gray_values=True,
        hardware=HardwareSettings("cpu"),
    )
    said = read_predictions(predict(asked) / "predictions.csv")
    found = read_predictions(again / "external/arms/mse/finetune/predictions.csv")
    rows = np.flatnonzero(found.seeds == 5)
    np.testing.assert_allclose(found.probabilities[rows], said.probabilities, atol=1e-9)
    (again / "arms/mse/seed1-fold2/probe/gray_values.csv").unlink()
    assert main([*ask, "--match_gray_values", "true"]) == 2
    said_of_it = capsys.readouterr().out
    assert "are without the gray values that they were trained on, such as " in said_of_it


def test_arms_may_read_images_in_ways_of_their_own(
    images: Path, others: Path, tmp_path: Path
) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    words = ["compare", str(images), "--config", str(tmp_path / "recipe.yaml"), "--folds", "3"]
    words += ["--arms", "random", "--reference", "random", "--baselines", "", "--seeds", "1"]
    words += ["--by", "linear,finetune", "--n_resamples", "50", "--out", str(tmp_path / "out")]
    words += ["--set", "finetune.data.image_size=24,finetune.data.resize=stretch"]
    assert main([*words, "--external", str(others)]) == 0
    for way in ("linear", "finetune"):
        table = tmp_path / f"out/external/arms/random/{way}/predictions.csv"
        assert read_predictions(table).n_images == 24


def test_what_is_wrong_with_external_is_told_before_anything_is_run(
    words: list[str], images: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    new = [*words[:-1], str(out), "--external"]
    records = read_manifest(others).records
    for label, sentence in (
        ("", "has 1 of 24 images without a label: leave them out"),
        ("blurred", "has the class 'blurred', which "),
    ):
        rows = [f"{r.path},{label if r is records[0] else r.label}" for r in records]
        (tmp_path / "others.csv").write_text("\n".join(["path,label", *rows]))
        assert sentence in complaint(capsys, *new, tmp_path / "others.csv")
    rows = [f"{record.path},{record.label}" for record in records if record.label == "dense"]
    (tmp_path / "others.csv").write_text("\n".join(["path,label", *rows]))
    said = complaint(capsys, *new, tmp_path / "others.csv")
    assert "has images of 'dense' alone: give two classes" in said
    Image.new("L", (20, 20)).save(tmp_path / "large.png")
    rows.append(f"{tmp_path / 'large.png'},sparse")
    (tmp_path / "others.csv").write_text("\n".join(["path,label", *rows]))
    assert "20 x 20 pixels" in complaint(capsys, *new, tmp_path / "others.csv")
    (tmp_path / "torn.png").write_bytes(b"torn")
    rows[-1] = f"{tmp_path / 'torn.png'},sparse"
    (tmp_path / "others.csv").write_text("\n".join(["path,label", *rows]))
    said = complaint(capsys, *new, tmp_path / "others.csv", "--set", "probe.data.on_error=skip")
    assert said.startswith(f"{tmp_path / 'torn.png'} is ")
    assert "nowhere does not exist" in complaint(capsys, *new, "nowhere")
    assert "folds is 2" in complaint(capsys, *new, "nowhere", "--folds", "2")
    assert "the study's own images: give another" in complaint(capsys, *new, images)
    said = complaint(capsys, *new, others, "--reference", "shortcuts")
    assert said.startswith("reference is shortcuts, which say nothing of another set")
    said = complaint(capsys, *new, others, "--protocol", "published")
    assert said.startswith("protocol published is not for images of another source")
    said = complaint(capsys, *new[:-1], "--match_gray_values", "true")
    assert said.startswith("match_gray_values is for images of another source")
    assert not out.exists()


def test_an_external_without_a_class_is_told(
    done: Path, words: list[str], others: Path, tmp_path: Path
) -> None:
    records = [record for record in read_manifest(others).records if record.label != "dense"]
    rows = [f"{record.path},{record.label},s{record.patient}" for record in records]
    (tmp_path / "others.csv").write_text("\n".join(["path,label,patient", *rows]))
    again = tmp_path / "again"
    shutil.copytree(done, again)
    assert main([*words[:-1], str(again), "--external", str(tmp_path / "others.csv")]) == 0
    page = (again / "external/comparison.md").read_text()
    assert "There is no image of dense: figures over all classes are not defined." in page


def test_patients_may_be_those_of_dicom_headers(
    done: Path, words: list[str], others: Path, tmp_path: Path
) -> None:
    for record in read_manifest(others).records:
        place = tmp_path / "dcm" / str(record.label) / f"{record.path.stem}.dcm"
        write_dicom(place, np.asarray(Image.open(record.path)), PatientID=record.patient)
    again = tmp_path / "again"
    shutil.copytree(done, again)
    assert main([*words[:-1], str(again), "--external", str(tmp_path / "dcm")]) == 0
    table = read_predictions(again / "external/arms/mse/linear/predictions.csv")
    assert len(set(table.paths)) == 24
    assert table.n_patients == 12
    results = json.loads((again / "external/comparison.json").read_text())["results"]
    assert {one["unit"] for one in results["linear"]["comparisons"]} == {"image", "patient"}


def test_what_is_wrong_later_leaves_the_study_its_report(
    done: Path,
    words: list[str],
    images: Path,
    others: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    again = tmp_path / "again"
    shutil.copytree(done, again)
    ask = [*words[:-1], str(again), "--external"]
    copies = [f"{record.path},{record.label}" for record in read_manifest(images).records]
    (tmp_path / "copies.csv").write_text("\n".join(["path,label", *copies]))
    (again / "comparison.png").unlink()
    assert main([*ask, str(tmp_path / "copies.csv")]) == 2
    said = capsys.readouterr().out
    assert "# Comparison\n" in said
    assert f"external: all 36 images of {tmp_path / 'copies.csv'}, or copies of them, are" in said
    assert (again / "comparison.png").exists()
    (again / "arms/random/seed0-fold0/probe/linear/classifier.safetensors").unlink()
    assert main([*ask, str(others)]) == 2
    said = capsys.readouterr().out
    assert "1 of 30 runs are without a classifier, such as " in said
    assert "and the study's command makes them again, without another pre-training" in said
