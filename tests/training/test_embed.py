"""Feature vectors as a table: those that a probe judges, and who has seen which image."""

import csv
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from glcm_mae.cli import main
from glcm_mae.data import read_manifest
from glcm_mae.errors import UserError
from glcm_mae.models import load_encoder
from glcm_mae.settings import EmbedSettings, HardwareSettings
from glcm_mae.training.embed import Embedding, embed, write_embedding
from glcm_mae.training.inputs import read_images
from glcm_mae.training.probe import extract

from ..commands import complaint
from . import small


def _table(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def _vectors(rows: list[dict[str, str]]) -> np.ndarray:
    names = [name for name in rows[0] if name[0] == "f" and name[1:].isdigit()]
    return np.array([[float(row[name]) for name in names] for row in rows], np.float32)


@pytest.mark.parametrize("pooling", ["mean", "moments", "token"])
def test_the_features_are_those_that_a_probe_judges(
    pooling: str, encoder: Path, manifest: Path, tmp_path: Path
) -> None:
    words = ("--run", encoder, "--images", manifest, "--out", tmp_path / "a.csv")
    assert main(["embed", *map(str, words), "--pooling", pooling]) == 0
    rows = _table(tmp_path / "a.csv")
    images = read_images(small.data(manifest), quiet=True)
    expected = extract(*load_encoder(encoder), images.pixels, pooling)
    np.testing.assert_array_equal(_vectors(rows), expected)
    records = images.manifest.records
    assert [row["path"] for row in rows] == [str(record.path) for record in records]
    assert [row["label"] for row in rows] == [record.label for record in records]
    assert [row["patient"] for row in rows] == [record.patient for record in records]
    assert {(row["run"], row["pooling"]) for row in rows} == {(str(encoder), pooling)}


def test_it_says_which_images_the_run_was_trained_on(
    encoder: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--run", encoder, "--images", manifest, "--out", tmp_path / "a.csv")
    assert main(["embed", *map(str, words)]) == 0
    told = capsys.readouterr().out
    # Fold 0 of 3 is held out and fold 1 validates: of 36 images 12 are trained on.
    assert told.startswith("Of 36 images, 16 features each lie in ")
    assert " 12 were used in the training of " in told
    assert told.strip().endswith("Test on those alone whose seen_in_training is FALSE.")
    rows = _table(tmp_path / "a.csv")
    patients = {
        cell: {row["patient"] for row in rows if row["seen_in_training"] == cell}
        for cell in ("TRUE", "FALSE")  # so that R reads a logical
    }
    assert sum(row["seen_in_training"] == "TRUE" for row in rows) == 12
    assert not patients["TRUE"] & patients["FALSE"]


def test_patients_of_one_side_alone_leave_it_open(
    encoder: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [record.path for record in read_manifest(manifest).records]
    lines = {
        "none": [str(path) for path in paths],
        "renamed": [f"{path},{n}-{n}" for n, path in enumerate(paths)],
    }
    for name, header in (("none", "path"), ("renamed", "path,patient")):
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *lines[name]]))
        images = str(tmp_path / f"{name}.csv")
        found = embed(EmbedSettings(run=str(encoder), images=images, out="a.csv"))
        assert found.seen.count(True) == 12
        assert found.seen.count(None) == 24
    words = ("--run", encoder, "--images", images, "--out", tmp_path / "a.csv")
    assert main(["embed", *map(str, words)]) == 0
    told = capsys.readouterr().out
    assert " 12 were used" in told
    assert " Of 24 it is unknown whether " in told


def test_patients_that_are_others_are_unseen(encoder: Path, tmp_path: Path) -> None:
    Image.new("L", (16, 16)).save(tmp_path / "new.png")
    (tmp_path / "new.csv").write_text("path,patient,split\nnew.png,somebody,test\n")
    settings = EmbedSettings(
        run=str(encoder), images=str(tmp_path / "new.csv"), out=str(tmp_path / "a.csv")
    )
    found = embed(settings)
    assert found.seen == [False]
    write_embedding(found, settings)
    [row] = _table(tmp_path / "a.csv")
    assert (row["split"], row["run"]) == ("test", str(encoder))


def test_a_fine_tuned_run_pools_as_it_did(finetuned: Path, manifest: Path) -> None:
    settings = EmbedSettings(run=str(finetuned), images=str(manifest), out="a.csv")
    assert embed(settings).features.shape == (36, 32)  # of moments
    assert embed(replace(settings, pooling="mean")).features.shape == (36, 16)


def test_another_image_of_a_patient_counts_as_seen(
    encoder: Path, manifest: Path, tmp_path: Path
) -> None:
    trained_on = embed(EmbedSettings(run=str(encoder), images=str(manifest), out="a.csv")).seen
    patient = read_manifest(manifest).records[trained_on.index(True)].patient
    Image.new("L", (16, 16)).save(tmp_path / "new.png")
    (tmp_path / "new.csv").write_text(f"path,patient\nnew.png,{patient}\n")
    found = embed(EmbedSettings(run=str(encoder), images=str(tmp_path / "new.csv"), out="a.csv"))
    assert found.seen == [True]


def test_what_is_not_on_record_is_left_open(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in encoder.iterdir():
        if file.name != "seen.csv":
            (copy / file.name).write_bytes(file.read_bytes())
    (tmp_path / "new").mkdir()
    Image.new("L", (16, 16)).save(tmp_path / "new" / "a.png")
    words = ("--run", copy, "--images", tmp_path / "new", "--out", tmp_path / "a.csv")
    assert main(["embed", *map(str, words)]) == 0
    assert " Of 1 it is unknown whether " in capsys.readouterr().out
    [row] = _table(tmp_path / "a.csv")
    assert list(row)[:5] == ["path", "seen_in_training", "run", "pooling", "glcm_mae"]
    assert row["seen_in_training"] == ""


def test_unreadable_images_are_skipped_if_asked_for(
    finetuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (16, 16)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    words = ("embed", "--run", finetuned, "--images", tmp_path, "--out", tmp_path / "a.csv")
    assert "b.png" in complaint(capsys, *words)
    assert not (tmp_path / "a.csv").exists()
    assert main([*map(str, words), "--on_error", "skip"]) == 0
    told = capsys.readouterr()
    assert f"skipped {tmp_path / 'b.png'}: " in told.err
    assert "1 could not be read and have none." in told.out
    assert len(_table(tmp_path / "a.csv")) == 1


def test_mistakes(
    encoder: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = ("--images", manifest)
    words = ("embed", "--run", encoder, *images, "--out")
    assert "ends in .csv" in complaint(capsys, *words, tmp_path / "a.npy")
    assert "which is read" in complaint(capsys, *words, manifest)
    for file in ("seen.csv", "predictions.csv"):
        assert f"in the run folder {encoder}" in complaint(capsys, *words, encoder / file)
    out = ("--out", tmp_path / "a.csv")
    stopped, several_runs = tmp_path / "stopped", tmp_path / "runs"
    study = tmp_path / "study"
    cell = study / "arms" / "mse" / "seed0-fold0" / "pretrain"
    for folder in (stopped, several_runs / "a", tmp_path / "empty", cell):
        folder.mkdir(parents=True)
    (cell / "config.json").touch()
    (stopped / "checkpoint.pt").touch()
    (several_runs / "a" / "config.json").touch()
    for place, message in (
        (tmp_path / "none", "does not exist: give the folder of a finished pretrain or finetune"),
        (encoder / "encoder.safetensors", "is a file: give the folder"),
        (stopped, "holds a run that is not finished: go on with it by --resume true."),
        (several_runs, "holds runs (a) and is none: give the folder of one."),
        (study, "holds runs (arms/mse/seed0-fold0/pretrain) and is none: give the folder of one."),
        (study / "arms" / "mse", "holds runs (seed0-fold0/pretrain) and is none"),
        (cell.parent, "holds runs (pretrain) and is none"),
        (tmp_path / "empty", "holds no config.json: give the folder"),
    ):
        said = complaint(capsys, "embed", "--run", place, *images, *out)
        assert said.startswith(f"{place} {message}")
    (tmp_path / "large").mkdir()
    Image.new("L", (20, 20)).save(tmp_path / "large" / "a.png")
    said = complaint(capsys, *words[:3], "--images", tmp_path / "large", *out)
    assert "20 x 20 pixels" in said
    assert said.endswith(
        f"(Here all settings of reading are those of {encoder}: convert the images.)"
    )
    several = HardwareSettings(accelerator="cpu", devices=2)
    with pytest.raises(UserError, match=r"hardware\.devices is 2: set it to 1"):
        embed(EmbedSettings(run=str(encoder), images="x", out="a.csv", hardware=several))
    assert not (tmp_path / "a.csv").exists()


def test_a_run_must_tell_how_its_images_were_read(
    encoder: Path, manifest: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in encoder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    written = yaml.safe_load((encoder / "settings.yaml").read_text())
    for changes, message in (
        (None, "holds no settings"),
        ({"data": None}, r"settings\.yaml does not tell how .* copy it anew"),
        ({"data": {}}, r"settings\.yaml does not tell how"),
        ({"data": written["data"] | {"image_size": "big"}}, r"has data\.image_size .*the run had"),
        (
            {"data": written["data"] | {"color": "rgb"}},
            r"has data\.color rgb, and the run had gray",
        ),
    ):
        text = "" if changes is None else yaml.safe_dump(written | changes)
        (copy / "settings.yaml").write_text(text)
        with pytest.raises(UserError, match=message):
            embed(EmbedSettings(run=str(copy), images=str(manifest), out="a.csv"))


def test_a_long_table_is_never_whole_in_memory(tmp_path: Path) -> None:
    """That of 50,000 images and a ViT-B took 2 GiB beside its features."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((400, 1024), dtype=np.float32)
    records = small.images().manifest.records * 100
    manifest = replace(small.images().manifest, records=records)
    found = Embedding(manifest, features, [None] * 400, "mean", 0)
    out = tmp_path / "features.csv"
    tracemalloc.start()
    write_embedding(found, EmbedSettings(run="run", images="images", out=str(out)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < out.stat().st_size / 4
    np.testing.assert_array_equal(_vectors(_table(out)), features)
