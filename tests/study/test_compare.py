"""A study ends with the same table however it was run, stopped and gone on with."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from glcm_mae.cli import main
from glcm_mae.data import load_images, make_phantom, read_manifest, write_phantom
from glcm_mae.errors import UserError
from glcm_mae.models import load_encoder
from glcm_mae.predictions import read_predictions
from glcm_mae.provenance import made_by
from glcm_mae.settings import DataSettings
from glcm_mae.stages.studies import _with_failures
from glcm_mae.study import format_page, format_summary
from glcm_mae.study.alone import alone_in
from glcm_mae.study.arms import read_arms
from glcm_mae.study.cells import cell_folder
from glcm_mae.study.in_turn import Failure
from glcm_mae.training import probe as probing
from glcm_mae.training.encoders import encoder_or_random
from glcm_mae.training.inputs import read_images

from ..commands import complaint

ARMS = "random,mse,texture_prediction"


def _words(images: Path, recipe: Path, out: Path, *more: str) -> list[str]:
    shared = ["--config", str(recipe), "--folds", "3", "--n_resamples", "50", "--out", str(out)]
    return [str(images), *shared, *more]


def _compare(images: Path, recipe: Path, out: Path, *more: str, seeds: int = 1) -> list[str]:
    own = {"--arms": ARMS, "--baselines": "histogram", "--by": "linear", "--seeds": str(seeds)}
    kept = [word for pair in own.items() if pair[0] not in more for word in pair]
    return ["compare", *_words(images, recipe, out, *kept, *more)]


def _tables(out: Path) -> dict[str, bytes]:
    """The results, but for where they lie."""
    comparison = json.loads((out / "comparison.json").read_text())
    found = {"comparison": json.dumps(comparison["results"]).encode()}
    for table in sorted(out.glob("arms/*/*/*.csv")):
        found[table.relative_to(out).as_posix()] = table.read_bytes()
    return found


def _no_stage(*_: Any, **__: Any) -> None:
    raise AssertionError("a finished cell was run again")


@pytest.fixture(scope="module")
def done(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A finished comparison, and its recipe."""
    from .conftest import RECIPE

    folder = tmp_path_factory.mktemp("study")
    recipe, out = folder / "recipe.yaml", folder / "out"
    recipe.write_text(RECIPE)
    assert main(_compare(images, recipe, out)) == 0
    return out, recipe


def test_every_image_is_predicted_once_by_every_arm(done: tuple[Path, Path], images: Path) -> None:
    out, _ = done
    names = {record.path.name for record in read_manifest(images).records}
    for arm in (*ARMS.split(","), "histogram"):
        folder = out / "baselines" / arm if arm == "histogram" else out / "arms" / arm / "linear"
        for table in ("predictions.csv", "validation.csv"):
            found = read_predictions(folder / table)
            assert sorted(Path(path).name for path in found.paths) == sorted(names)
            assert found.folds is not None
            assert set(found.folds.tolist()) == {0, 1, 2}


def test_predictions_are_of_images_that_pretraining_has_not_seen(done: tuple[Path, Path]) -> None:
    out, _ = done
    for cell in out.glob("arms/mse/seed0-fold*"):
        facts = json.loads((cell / "probe" / "finished.json").read_text())
        assert facts["test_images_seen_in_pretraining"] == 0
        fold = read_manifest(out / "folds" / f"{cell.name.removeprefix('seed0-')}.csv")
        seen = (cell / "pretrain" / "seen.csv").read_text().count("\n") - 1
        assert seen == sum(record.split == "train" for record in fold.records)


def test_the_page_says_what_was_compared(done: tuple[Path, Path]) -> None:
    out, recipe = done
    page = (out / "comparison.md").read_text()
    assert f"Recipe: {recipe}" in page
    assert "texture_prediction, other than mse: objective.glcm_prediction 1.0" in page
    for arm in (*ARMS.split(","), "histogram"):
        assert f"| {arm} " in page
    assert "images of 32 x 32 in patches of 8, 2 epochs of pre-training in batches of" in page
    summary = format_summary(json.loads((out / "comparison.json").read_text()))
    assert page.startswith(summary)
    assert "**Linear probe of frozen features**, AUROC by image" in summary
    assert "- texture_prediction " in summary
    assert ", the best baseline, histogram, " in summary.splitlines()[-1]
    assert "## Linear probe" in page
    assert "## Fine-tuning" not in page


def test_a_baseline_may_be_the_reference_and_stand_beside_an_encoder(
    images: Path, recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ask = ["--by", "linear,linear_glcm", "--reference", "glcm_local", "--baselines", "glcm_local"]
    assert main(_compare(images, recipe, out, *ask, "--arms", "random,mse")) == 0
    comparison = json.loads((out / "comparison.json").read_text())
    assert list(comparison["results"]) == ["linear", "linear_glcm"]
    beside, alone = (
        [result["comparisons"][0]["arms"] for result in comparison["results"].values()][way]
        for way in (1, 0)
    )
    assert "differences" not in beside["glcm_local"]
    assert beside["mse"]["differences"]["auroc"].keys() == {
        *("value", "low", "high", "standard_error", "degrees_of_freedom", "smallest")
    }
    assert beside["mse"]["metrics"] != alone["mse"]["metrics"]
    page = (out / "comparison.md").read_text()
    assert "## Linear probe of frozen features beside GLCMs" in page
    assert "mse cannot be told from glcm_local" in page or "than glcm_local" in page
    assert "random: no pre-training." in page


def test_the_same_command_reuses_what_is_finished(
    done: tuple[Path, Path], images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, recipe = done
    before = _tables(out)
    monkeypatch.setattr(probing, "read_images", _no_stage)
    monkeypatch.setattr("glcm_mae.training.pretrain.read_images", _no_stage)
    monkeypatch.setattr("glcm_mae.training.inputs.read_images", _no_stage)
    assert main(_compare(images, recipe, out)) == 0
    assert _tables(out) == before


def test_the_page_names_the_code_that_made_each_run(done: tuple[Path, Path]) -> None:
    out, _ = done
    comparison = json.loads((out / "comparison.json").read_text())
    code = made_by()["code"]
    assert comparison["code"] == code
    # A baseline, and three arms, of which two pre-train.
    assert comparison["code_of_runs"] == {code: 3 * (1 + 3 + 2)}
    assert f"code {code[:12]}." in format_summary(comparison)
    assert "other code" not in format_summary(comparison)
    comparison["code_of_runs"] = {code: 10, "f" * 40: 4, "": 1}
    assert "other code made, and how many: ffffffffffff (4), not told (1)." in format_summary(
        comparison
    )


def test_tables_that_were_lost_are_made_again(
    images: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = _compare(images, recipe, out, "--arms", "random,mse", "--by", "linear,finetune")
    assert main(words) == 0
    before = _tables(out)
    lost = ("baselines/histogram/fold1", "arms/mse/seed0-fold0/probe/linear")
    for folder in (*lost, "arms/random/seed0-fold2/finetune"):
        (out / folder / "predictions.csv").unlink()
    capsys.readouterr()
    assert main(words) == 0
    assert capsys.readouterr().err.count("finished before") == 3 + 2 * 3 - 3
    assert _tables(out) == before


def test_cells_of_other_settings_are_refused_and_kept(
    done: tuple[Path, Path], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, recipe = done
    other = tmp_path / "recipe.yaml"
    other.write_text(recipe.read_text().replace("batch_size: 16", "batch_size: 8"))
    before = _tables(out)
    page = (out / "comparison.md").read_bytes()
    told = complaint(capsys, *_compare(images, other, out))
    assert "optimizer.batch_size was 16, is 8" in told
    assert told.endswith("(So were 5 other runs of this study.)")
    assert _tables(out) == before
    assert (out / "comparison.md").read_bytes() == page


def test_an_arm_of_other_settings_is_refused_before_anything_is_run(
    images: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("pretrain: {mask_ratio: 0.5}")
    phantom = write_phantom(make_phantom(3, 2, 32, seed=9), tmp_path / "unlabelled")
    for more in ([], ["--pretrain_on", str(phantom.parent / "images")]):  # shared pre-training
        out = tmp_path / f"out{len(more)}"
        arms = ["--arms", f"mse,{own}", "--by", "knn", "--baselines", "", "--seeds", "1"]
        words = ["compare", *_words(images, recipe, out, *arms, *more)]
        own.write_text("pretrain: {mask_ratio: 0.5}")
        assert main(words) == 0
        own.write_text("pretrain: {mask_ratio: 0.6}")
        files = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
        assert "mask_ratio was 0.5, is 0.6" in complaint(capsys, *words)
        assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == files


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff"])
def test_a_damaged_note_of_the_images_is_named(
    content: bytes, images: Path, recipe: Path, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "images.json").write_bytes(content)
    said = complaint(capsys, *_compare(images, recipe, out))
    assert said.startswith(f"{out / 'images.json'} is damaged: copy it anew, or choose another")


def test_two_studies_are_not_at_work_in_one_folder(
    images: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with alone_in(tmp_path / "out"):
        said = complaint(capsys, *_compare(images, recipe, tmp_path / "out"))
    assert "another study is at work in" in said
    assert not (tmp_path / "out" / "folds").exists()


def test_a_comparison_that_was_killed_ends_with_the_same_table(
    done: tuple[Path, Path], images: Path, tmp_path: Path
) -> None:
    out, recipe = done
    again = tmp_path / "again"
    words = _compare(images, recipe, again)
    process = subprocess.Popen(
        [sys.executable, "-m", "glcm_mae.cli", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    middle = again / "arms" / "mse" / "seed0-fold1" / "pretrain" / "settings.yaml"
    deadline = time.monotonic() + 120
    while not middle.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (again / "comparison.json").exists()
    assert main(words) == 0
    _assert_same(again, out)


def _assert_same(one: Path, other: Path) -> None:
    """The same predictions; the rest of the tables follows from them."""
    for table in other.glob("arms/*/*/*.csv"):
        a = read_predictions(table)
        b = read_predictions(one / table.relative_to(other))
        assert a.paths == b.paths
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-6)
    results = [json.loads((o / "comparison.json").read_text())["results"] for o in (one, other)]
    assert set(results[0]) == set(results[1])
    arms = [r["linear"]["comparisons"][0]["arms"] for r in results]
    for name, arm in arms[0].items():
        value = arms[1][name]["metrics"]["auroc"]["value"]
        assert arm["metrics"]["auroc"]["value"] == pytest.approx(value, abs=1e-6)


def test_jobs_of_an_engine_give_the_same_table(
    done: tuple[Path, Path], images: Path, tmp_path: Path
) -> None:
    out, recipe = done
    jobs = ["--engine.name", "local", "--engine.jobs", "2"]
    assert main(_compare(images, recipe, tmp_path / "out", *jobs)) == 0
    _assert_same(tmp_path / "out", out)
    assert len(list((tmp_path / "out" / "jobs").glob("*.pkl"))) >= 2


def test_a_job_that_dies_names_the_cells_that_it_left_undone(
    images: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = _compare(images, recipe, tmp_path / "out", "--arms", "random", "--reference", "random")
    jobs = ["--engine.name", "local"]
    broken = tmp_path / "sitecustomize.py"  # imported by whatever Python starts
    broken.write_text("import os, sys\nif 'submitit' in str(sys.orig_argv): os._exit(3)\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        assert main([*words, *jobs]) == 2
    told = capsys.readouterr().out
    assert "random, seed 0, fold 0; random, seed 0, fold 1; random, seed 0, fold 2: job " in told
    assert "died; what it printed is in" in told
    assert main(words) == 0


def test_more_seeds_and_arms_are_taken_up(images: Path, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    encoder = out / "arms/mse/seed0-fold0/pretrain/encoder.safetensors"
    words = ["compare", *_words(images, recipe, out, "--by", "knn", "--baselines", "")]
    assert main([*words, "--arms", "mse", "--seeds", "1"]) == 0
    written = encoder.stat().st_mtime_ns
    measured = out / "arms/mse/knn/metrics.json"
    assert main(["evaluate", "--predictions", str(measured.parent), "--n_resamples", "40"]) == 0
    assert main([*words, "--arms", "mse", "--seeds", "1"]) == 0
    assert measured.exists()
    assert main([*words, "--arms", "mse,random", "--seeds", "2"]) == 0
    assert not measured.exists()  # it told of one seed
    assert encoder.stat().st_mtime_ns == written
    for arm in ("mse", "random"):
        table = read_predictions(out / "arms" / arm / "knn" / "predictions.csv")
        assert table.seeds is not None
        assert set(table.seeds.tolist()) == {0, 1}
        by_seed = [table.probabilities[table.seeds == seed] for seed in (0, 1)]
        assert not np.allclose(*by_seed)


def test_what_fails_stops_no_other_cell_and_is_tried_again(
    images: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = tmp_path / "wild.yaml"
    wild.write_text("pretrain: {optimizer: {base_lr: 1.0e+30, clip: null}}")
    out = tmp_path / "out"
    more = ["--arms", f"mse,{wild}", "--by", "knn", "--baselines", "", "--seeds", "1"]
    words = ["compare", *_words(images, recipe, out, *more)]
    assert main(words) == 2
    told = capsys.readouterr().out
    assert "3 failed; the same command tries them again" in told
    assert "wild, seed 0, fold 2: " in told
    assert "no longer a number" in told
    page = (out / "comparison.md").read_text()
    assert "Cells that failed, whose arms are missing here: wild, seed 0, fold 0" in page
    assert (out / "arms" / "mse" / "knn" / "predictions.csv").exists()
    assert main(words) == 2


def test_a_failure_that_is_not_the_users_stops_no_other_cell(
    images: Path,
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr("glcm_mae.training.finetune.finetune", full)
    out = tmp_path / "out"
    more = ["--by", "knn,finetune", "--arms", "mse,random", "--baselines", "", "--seeds", "1"]
    assert main(["compare", *_words(images, recipe, out, *more)]) == 2
    told = capsys.readouterr()
    assert "6 failed; the same command tries them again" in told.out
    assert "Traceback" in told.err
    results = json.loads((out / "comparison.json").read_text())["results"]
    assert {way: set(r["comparisons"][0]["arms"]) for way, r in results.items()} == {
        "knn": {"mse", "random"}
    }


def test_the_page_says_where_arms_differ(images: Path, recipe: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("pretrain: {mask_ratio: 0.5}\nprobe: {neighbours: 3}")
    out = tmp_path / "out"
    more = ["--by", "knn", "--arms", f"random,{own}", "--baselines", "", "--seeds", "1"]
    words = ["compare", *_words(images, recipe, out, *more, "--reference", "random")]
    assert main(words) == 0
    page = (out / "comparison.md").read_text()
    assert "random, other than own: pretraining False, probe.neighbours 20." in page
    assert "random: no pre-training." in page
    comparison = json.loads((out / "comparison.json").read_text())
    assert "is unknown" not in page
    page = format_page({**comparison, "init": "imagenet.pth", "init_tells_what_it_saw": False})
    assert "random: no pre-training, nor imagenet.pth, from which the others start." in page
    assert "Whether imagenet.pth has seen tested images is unknown." in page


def test_the_weights_that_training_starts_from_are_an_arm(
    done: tuple[Path, Path], images: Path, recipe: Path, tmp_path: Path
) -> None:
    given = done[0] / "arms" / "mse" / "seed0-fold0" / "pretrain" / "encoder.safetensors"
    lone = tmp_path / "imagenet.safetensors"  # away from its seen.csv
    lone.write_bytes(given.read_bytes())
    out = tmp_path / "out"
    more = ["--by", "knn,finetune", "--arms", "random,init,mse", "--set", f"pretrain.init={lone}"]
    assert main(_compare(images, recipe, out, *more)) == 0
    for fold in range(3):
        assert not (cell_folder(out, "init", 0, fold) / "pretrain").exists()
    results = json.loads((out / "comparison.json").read_text())["results"]
    arms = results["knn"]["comparisons"][0]["arms"]
    assert arms["init"]["metrics"] != arms["random"]["metrics"]
    page = (out / "comparison.md").read_text()
    assert f"random: no pre-training, nor {lone}, from which the others start." in page
    assert f"init: the weights {lone}, without pre-training on these images." in page
    assert "init, other than mse" not in page
    assert f"Whether {lone} has seen tested images is unknown." in page


def test_other_weights_under_the_same_name_are_refused(
    done: tuple[Path, Path],
    images: Path,
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights = tmp_path / "w.safetensors"
    first, second = (
        done[0] / "arms" / "mse" / f"seed0-fold{fold}" / "pretrain" / "encoder.safetensors"
        for fold in (0, 1)
    )
    weights.write_bytes(first.read_bytes())
    more = ["--by", "knn", "--arms", "init", "--reference", "init", "--set"]
    words = _compare(images, recipe, tmp_path / "out", *more, f"pretrain.init={weights}")
    assert main(words) == 0
    assert main(words) == 0
    weights.write_bytes(second.read_bytes())
    assert f"{weights} is not what it was when" in complaint(capsys, *words)


def test_other_pixels_under_the_same_name_are_refused(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = write_phantom(make_phantom(6, 2, 32), tmp_path / "own")
    words = _compare(own, recipe, tmp_path / "out", "--arms", "random", "--reference", "random")
    assert main(words) == 0
    assert main(words) == 0
    changed = read_manifest(own).records[3].path
    Image.new("L", (32, 32), 7).save(changed)
    assert f"{changed} is not what it was when" in complaint(capsys, *words)


def test_an_encoder_that_is_trained_anew_does_not_keep_its_old_probe(
    images: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    more = ["--arms", "mse", "--reference", "mse"]
    assert main(_compare(images, recipe, out, *more)) == 0
    for fold in range(3):
        shutil.rmtree(out / f"arms/mse/seed0-fold{fold}/pretrain")
    other = tmp_path / "other.yaml"
    other.write_text(recipe.read_text().replace("epochs: 2", "epochs: 3"))
    assert main(_compare(images, other, out, *more)) == 2
    told = capsys.readouterr().out
    assert "mse, seed 0, fold 1: " in told
    assert "probe stands on an encoder that" in told


def test_a_run_folder_gives_the_arm_its_weights_alone(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    given = [f"pretrain.init={tmp_path / 'run'}"]
    [init] = read_arms(["init"], [str(recipe)], ["knn"], given)
    assert init.encoder == str(tmp_path / "run" / "encoder.safetensors")
    assert init.pretrain is None


def test_an_arms_file_may_not_take_the_name_of_another_arm(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "init.yaml").write_text("pretrain: {mask_ratio: 0.5}")
    with pytest.raises(UserError, match="init is another arm: rename the file"):
        read_arms([str(tmp_path / "init.yaml")], [str(recipe)], ["knn"])


def test_where_no_patient_is_known_nothing_is_said_of_patients(
    images: Path, recipe: Path, tmp_path: Path
) -> None:
    rows = [line.split(",") for line in images.read_text().splitlines()]
    drop = rows[0].index("patient")
    unknown = images.with_name("unknown.csv")
    unknown.write_text("\n".join(",".join(r[:drop] + r[drop + 1 :]) for r in rows))
    copy = images.parent / "images" / "copy.png"
    first = read_manifest(unknown).records[0]
    copy.write_bytes(first.path.read_bytes())
    with unknown.open("a") as file:
        file.write("\n" + ",".join(["images/copy.png", *rows[1][1:drop], *rows[1][drop + 1 :]]))
    out = tmp_path / "out"
    more = ["--by", "knn", "--arms", "mse", "--baselines", "", "--seeds", "1"]
    try:
        assert main(["compare", *_words(unknown, recipe, out, *more)]) == 0
    finally:
        copy.unlink()
    page = (out / "comparison.md").read_text()
    assert "by patient" not in page
    assert "37 images of 36 patients (an image with its copies counts as one" in page


def test_cells_in_a_row_do_not_read_the_same_images_anew(
    images: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine cells of 50,000 images of 512 x 512 read for forty minutes."""
    read = []

    def counted(records: Any, *how: Any, keep: bool, **more: Any) -> Any:
        read.extend([len(records)] * keep)  # else they are looked at, and not kept
        return load_images(records, *how, keep=keep, **more)

    monkeypatch.setattr("glcm_mae.training.inputs.load_images", counted)
    more = ["--by", "linear,finetune", "--arms", "random", "--reference", "random"]
    assert main(_compare(images, recipe, tmp_path / "out", *more)) == 0
    assert read == [36]


def test_a_study_with_a_cache_reads_once_and_gives_the_same_table(
    done: tuple[Path, Path], images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pre-trained in each fold: every cell asks for another part of the images."""
    read = []

    def counted(records: Any, *how: Any, **more: Any) -> Any:
        read.append(len(records))
        return load_images(records, *how, **more)

    monkeypatch.setattr("glcm_mae.training.inputs.load_images", counted)
    in_memory, recipe = done
    out = tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    assert main(_compare(images, recipe, out, "--set", "data.cache=cache")) == 0
    assert read == [36]
    assert _tables(out) == _tables(in_memory)
    shutil.rmtree(tmp_path / "cache")  # no result stands on it
    assert main(_compare(images, recipe, out)) == 0


def test_a_cache_in_the_studys_own_folder(images: Path, recipe: Path, tmp_path: Path) -> None:
    """It once waited for itself."""
    out = tmp_path / "out"
    more = ["--arms", "random", "--reference", "random", "--set", f"data.cache={out / 'cache'}"]
    assert main(_compare(images, recipe, out, *more)) == 0


def test_a_study_in_its_own_cache_is_refused(
    images: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who removes a cache shall not remove a study."""
    for out in (tmp_path / "cache", tmp_path / "cache/out"):
        ask = _compare(images, recipe, out, "--set", f"data.cache={tmp_path / 'cache'}")
        assert f"out is {out}, in the cache {tmp_path / 'cache'}" in complaint(capsys, *ask)
        assert not (tmp_path / "cache").exists()


def test_a_cache_among_a_studys_images_is_refused(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phantom = make_phantom(6, 2, 32)
    for n, image in enumerate(phantom.images):
        (tmp_path / f"set/{n % 3}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.uint8(255 * image)).save(tmp_path / f"set/{n % 3}/{n}.png")
    cache = tmp_path / "set/cache"
    ask = _compare(tmp_path / "set", recipe, tmp_path / "out", "--set", f"data.cache={cache}")
    assert "where a folder is a class" in complaint(capsys, *ask)
    of_images = tmp_path / "images.csv"
    pictures = sorted((tmp_path / "set").glob("*/*.png"))
    rows = [f"{picture},{picture.parent.name}" for picture in pictures]
    of_images.write_text("\n".join(["path,label", *rows]) + "\n")
    ask = _compare(of_images, recipe, tmp_path / "out", "--set", f"data.cache={cache}")
    said = complaint(capsys, *ask, "--pretrain_on", str(tmp_path / "set"))
    assert "where a folder is a class" in said
    assert not cache.exists()


def test_the_tables_of_a_study_are_measured_again_as_they_were_and_pair_by_place(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "images"
    rng = np.random.default_rng(0)
    for label in ("benign", "malignant"):
        (folder / label).mkdir(parents=True)
        for number in range(9):
            scene = Image.fromarray(rng.integers(0, 255, (32, 32), np.uint8))
            scene.save(folder / label / f"{number}.png")
            scene.save(folder / label / f"{number} again.png")
    out = tmp_path / "out"
    more = ["--arms", "random", "--reference", "random", "--by", "linear,knn"]
    assert main(_compare(folder, recipe, out, *more)) == 0
    capsys.readouterr()
    assert main(["evaluate", str(out / "arms/random/knn"), "--n_resamples", "40"]) == 0
    assert "patients are not known or not kept together" in capsys.readouterr().out
    shutil.copytree(out / "arms/random", tmp_path / "other")
    (tmp_path / "other/knn").rename(tmp_path / "other/finetune")
    words = ["evaluate", str(out / "arms/random"), "--against", str(tmp_path / "other")]
    told = complaint(capsys, *words)
    assert "holds knn/predictions.csv, linear/predictions.csv, " in told
    assert "finetune/predictions.csv" in told


def test_the_patients_that_any_section_names_stay_together(
    images: Path, recipe: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "named"
    for n, record in enumerate(read_manifest(images).records):
        target = folder / str(record.label) / f"{record.patient}_{n}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(record.path.read_bytes())
    text = recipe.read_text().replace(
        "{image_size: 32}", "{image_size: 32, patient_regex: '^(.+)_'}"
    )
    only = text.replace("probe: {data: *data", "probe: {data: {image_size: 32}")
    recipe.write_text(only)
    out = tmp_path / "out"
    assert main(["crossval", *_words(folder, recipe, out, "--by", "knn", "--seeds", "1")]) == 0
    assert read_predictions(out / "arms/recipe/knn/predictions.csv").n_patients == 18


def test_crossval_says_what_stands_where_a_patient_should(
    images: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(record.path, record.label) for record in read_manifest(images).records]
    alone = tmp_path / "alone.csv"
    copy = tmp_path / "copy.png"
    copy.write_bytes(rows[0][0].read_bytes())
    listed = [*rows, (copy, rows[0][1])]
    alone.write_text("path,label\n" + "".join(f"{path},{label}\n" for path, label in listed))
    words = _words(alone, recipe, tmp_path / "out", "--by", "knn", "--seeds", "1")
    assert main(["crossval", *words]) == 0
    said = capsys.readouterr().out
    assert "an image with its copies counts as one, for patients are not known" in said
    assert "by patient" not in said
    metrics = json.loads((tmp_path / "out/arms/recipe/knn/metrics.json").read_text())
    assert metrics["by_patient"] is None
    [cell, *_] = sorted((tmp_path / "out/arms/recipe").glob("seed0-fold*/probe/knn"))
    assert main(["evaluate", "--predictions", str(cell)]) == 0
    said = capsys.readouterr().out
    assert "an image with its copies counts as one, for patients are not known" in said


def test_a_probe_that_fails_does_not_hold_up_fine_tuning(
    images: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise UserError("no probe today")

    monkeypatch.setattr(probing, "probe", fail)
    out = tmp_path / "out"
    ask = ["--by", "linear,finetune", "--arms", "mse", "--baselines", ""]
    assert main(_compare(images, recipe, out, *ask)) == 2
    comparison = json.loads((out / "comparison.json").read_text())
    assert list(comparison["results"]) == ["finetune"]
    assert {failure["reason"] for failure in comparison["failed"]} == {"no probe today"}
    left_out = "Left out, for mse is not complete in it: Linear probe of frozen features."
    assert left_out in (out / "comparison.md").read_text()


def test_a_cell_at_work_elsewhere_and_a_damaged_one_are_left_alone(
    images: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(_compare(images, recipe, out, "--arms", "random,mse")) == 0
    capsys.readouterr()
    damaged = cell_folder(out, "random", 0, 1) / "probe" / "settings.yaml"
    damaged.write_text("")
    held = cell_folder(out, "mse", 0, 0) / "probe"
    (held / "finished.json").unlink()
    with alone_in(held):
        assert main(_compare(images, recipe, out, "--arms", "random,mse")) == 2
    said = capsys.readouterr().err
    assert f"{damaged} cannot be read: remove the run's folder" in said
    assert f"at work in {held}" in said


def test_an_arm_is_not_taken_for_a_baseline(
    images: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "histogram.yaml"
    own.write_text("pretrain: {mask_ratio: 0.5}")
    said = complaint(capsys, *_compare(images, recipe, tmp_path / "out", "--arms", f"mse,{own}"))
    assert "histogram is an arm and a baseline" in said


@pytest.mark.parametrize(
    "engine",
    [
        ["--engine.name", "slurm"],
        ["--engine.name", "local", "--engine.options", "foo=1"],
    ],
)
def test_what_the_engine_refuses_is_one_sentence(
    engine: Sequence[str],
    images: Path,
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_: None)  # a machine without SLURM
    said = complaint(capsys, *_compare(images, recipe, tmp_path / "out"), *engine)
    assert "submitit refuses engine.name" in said


def test_a_class_with_too_few_patients_to_train_on_is_refused_first(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = write_phantom(make_phantom(3, 2, 32), tmp_path / "few")
    said = complaint(capsys, *_compare(few, recipe, tmp_path / "out"))
    assert "has 1 patient(s) in the training part and needs 2" in said
    assert not (tmp_path / "out" / "arms").exists()


def test_crossval_gives_what_the_same_arm_gives_in_a_comparison(
    done: tuple[Path, Path], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, recipe = done
    words = _words(images, recipe, tmp_path / "out", "--config", "arms/mse")
    assert main(["crossval", *words, "--by", "linear", "--seeds", "1"]) == 0
    assert "auroc" in capsys.readouterr().out
    alone = read_predictions(tmp_path / "out/arms/mse/linear/predictions.csv")
    compared = read_predictions(out / "arms/mse/linear/predictions.csv")
    assert alone.paths == compared.paths
    np.testing.assert_allclose(alone.probabilities, compared.probabilities, atol=1e-6)
    assert (tmp_path / "out/arms/mse/linear/metrics.json").exists()


def test_one_pretraining_serves_all_folds_if_none_tests_its_images(
    images: Path, recipe: Path, tmp_path: Path
) -> None:
    phantom = write_phantom(make_phantom(3, 2, 32, seed=9), tmp_path / "unlabelled")
    unlabelled = phantom.parent / "images"
    out = tmp_path / "out"
    more = ["--pretrain_on", str(unlabelled), "--seeds", "1", "--by", "knn"]
    assert main(["crossval", *_words(images, recipe, out, *more)]) == 0
    runs = sorted(p.relative_to(out).as_posix() for p in out.glob("arms/recipe/*/pretrain"))
    assert runs == ["arms/recipe/seed0/pretrain"]


def test_the_published_protocol_leaks_and_says_so(
    images: Path, recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    more = ["--protocol", "published", "--arms", "mse", "--seeds", "1", "--by", "knn"]
    assert main(["compare", *_words(images, recipe, out, *more, "--baselines", "")]) == 0
    assert "Test images were seen in pre-training" in " ".join(
        (out / "comparison.md").read_text().split()
    )
    facts = json.loads((out / "arms/mse/seed0-fold0/probe/finished.json").read_text())
    assert facts["test_images_seen_in_pretraining"] == facts["test"] > 0


def test_a_seed_gives_all_arms_the_same_initial_weights(
    images: Path, recipe: Path, tmp_path: Path
) -> None:
    still = tmp_path / "still.yaml"  # trains without moving
    still.write_text("pretrain: {optimizer: {base_lr: 0.0, epochs: 4}}")
    out = tmp_path / "out"
    shared = [str(recipe), str(still)]
    names = ["mse", "texture_prediction", "paper"]
    configs = [word for name in shared for word in ("--config", name)]
    more = ["--folds", "3", "--seeds", "1", "--by", "knn", "--baselines", ""]
    words = ["compare", str(images), *configs, "--out", str(out), *more]
    assert main([*words, "--n_resamples", "40", "--arms", ",".join(names)]) == 0
    [arm] = read_arms(["random"], shared, ["knn"])
    assert arm.probe is not None
    data = DataSettings(str(out / "folds" / "fold0.csv"), image_size=32)
    loaded = read_images(data)
    torch.manual_seed(0)
    random, _ = encoder_or_random(None, arm.probe.model, data, loaded, np.arange(5))
    for name in names:
        trained, _ = load_encoder(cell_folder(out, name, 0, 0) / "pretrain")
        for key, weight in random.state_dict().items():
            assert torch.equal(weight, trained.state_dict()[key]), (name, key)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--reference", "paper"], "reference is paper, which is neither an arm nor a baseline"),
        (["--arms", "mse,nonsense"], "arms has nonsense, which is no YAML file and no arm"),
        (["--arms", "mse,mse"], "arms has mse twice"),
        (["--arms", "mse,init"], "set pretrain.init, or leave the arm out"),
        (["--arms", "mse,init", "--set", "pretrain.init=none.pth"], "none.pth does not exist"),
        (["--folds", "2"], "folds is 2: set it to 3 or more"),
        (["--folds", "7"], "too few for 7 folds"),
        (["--seeds", "0"], "seeds is 0: set it to 1 or more"),
        (["--by", ""], "by is empty"),
        (["--by", "forest"], "--by takes"),
        (["--arms", ""], "arms is empty"),
        (["--set", "pretrain.data.image_size=64"], "arm mse: pretrain.data.image_size is 64 and"),
        (["--set", "probe.model.depth=2"], "the arm random would be of another network"),
        (["--set", "probe.neighbours=0"], "probe (random): neighbours is 0"),
        (["--set", "pretrain.mask_ratio=2"], "pretrain (mse): mask_ratio is 2"),
        (["--set", "pretrain.mask_ratio=high"], "pretrain: --mask_ratio takes"),
        (["--set", "data.image_size=-32"], "data.image_size is -32"),
        (["--set", "pretrain.data.resize=crop,probe.data.resize=pad"], "data.resize is crop and"),
        (
            ["--by", "finetune", "--set", "finetune.patience=0"],
            "finetune (random): patience",
        ),
        (["--set", "probe.beside_glcms=true"], "which the study gives each cell"),
        (["--set", "data.folds=6"], "which the study gives each cell"),
        (["--engine.jobs", "0"], "engine.jobs is 0"),
        (["--split_seed", "-1"], "split_seed is -1"),
        (["--positive", "cyst"], "positive"),
        (["--pretrain_on", "nowhere"], "nowhere does not exist"),
        (["--protocol", "published", "--pretrain_on", "x"], "leave out pretrain_on"),
    ],
)
def test_a_study_that_cannot_be_made_is_refused_before_anything_is_trained(
    more: Sequence[str],
    said: str,
    images: Path,
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert said in complaint(capsys, *_compare(images, recipe, tmp_path / "out", *more))
    assert not (tmp_path / "out" / "arms").exists()


def test_several_devices_a_cell_are_refused(
    images: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe.write_text(recipe.read_text().replace("accelerator: cpu}", "devices: 2}"))
    said = complaint(capsys, *_compare(images, recipe, tmp_path / "out"))
    assert "hardware.devices must be 1 in a study" in said


def test_a_recipe_without_sections_is_refused(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = tmp_path / "flat.yaml"
    flat.write_text("folds: 3\n")
    words = ("crossval", images, "--config", flat, "--out", tmp_path / "out")
    assert "has no sections" in complaint(capsys, *words)


def test_a_recipe_without_the_section_that_is_asked_for_is_refused(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = tmp_path / "part.yaml"
    part.write_text("pretrain: {seed: 1}\nprobe: {seed: 1}\n")
    words = (images, "--config", part, "--out", tmp_path / "out")
    for command in ("crossval", "compare"):
        said = complaint(capsys, command, *words)
        assert said.startswith(f"{part} has no section for finetune, of which --by linear,knn,")
        assert said.endswith("add one, or leave it out by --by linear,knn,linear_glcm.")


def test_a_positive_class_of_three_is_no_error_in_crossval(
    images: Path, recipe: Path, tmp_path: Path
) -> None:
    more = ["--positive", "dense", "--by", "knn", "--seeds", "1"]
    assert main(["crossval", *_words(images, recipe, tmp_path / "out", *more)]) == 0


@pytest.mark.parametrize("apart", [False, True])
def test_an_image_that_the_settings_do_not_fit_is_told_once_and_first(
    images: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], apart: bool
) -> None:
    mixed = write_phantom(make_phantom(6, 2, 32), tmp_path / "mixed")
    odd = sorted(mixed.parent.rglob("*.png"))[-1]
    Image.new("L", (48, 32)).save(odd)
    given = [images, "--pretrain_on", str(mixed)] if apart else [mixed]
    words = _compare(given[0], recipe, tmp_path / "out", *given[1:])
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.err.count("has 32 x 48 pixels (height x width) instead of 32 x 32") == 1
    assert odd.name in told.err
    assert "failed" not in told.out + told.err
    assert not (tmp_path / "out").exists()


def test_cells_that_fail_alike_are_listed_together() -> None:
    failures = [
        Failure("a, fold 0", "full"),
        Failure("b, fold 0", "empty"),
        Failure("a, fold 1", "full"),
    ]
    told, code = _with_failures("", failures)
    assert code == 2
    assert told.splitlines()[1:] == ["  a, fold 0; a, fold 1: full", "  b, fold 0: empty"]
