"""What users get wrong: each ends in one sentence that says what to do, and loses nothing."""

import json
import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from glcm_mae.cli import main
from glcm_mae.training.run import Run

from .commands import TINY, complaint

Capsys = pytest.CaptureFixture[str]
Images = Callable[..., Path]


@pytest.fixture
def images(tmp_path) -> Images:
    """Make a folder of class folders with so many noise images of 32 x 32 pixels each."""

    def make(**counts: int) -> Path:
        for name, count in counts.items():
            for number in range(count):
                draw(tmp_path / "images" / name / f"{number}.png", seed=number + len(name) * 100)
        return tmp_path / "images"

    return make


def draw(path: Path, size: tuple[int, ...] = (32, 32), seed: int = 99) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    Image.fromarray(noise).save(path)


def words(command: str, data: Path, out: Path, *more: object) -> list[object]:
    return [command, "--data.images", data, "--out", out, *TINY[command], *more]


def refused(capsys: Capsys, tmp_path: Path, command: str, data: Path, *more: object) -> str:
    """Run a stage that must be refused before it makes its folder; return the sentence."""
    sentence = complaint(capsys, *words(command, data, tmp_path / "out", *more))
    assert not (tmp_path / "out").exists()
    return sentence


def done(*command: object) -> None:
    assert main([str(word) for word in command]) == 0


def state(folder: Path) -> dict[str, str]:
    """Fingerprint every file of a folder, hidden ones too."""
    return {
        str(file.relative_to(folder)): sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.fixture(scope="module")
def run(phantom, tmp_path_factory) -> Path:
    """Pre-train on fold 2 of the phantom: 0 is for testing, 1 for validation."""
    folder = tmp_path_factory.mktemp("runs") / "pre"
    done(*words("pretrain", phantom, folder, "--data.fold", 0))
    return folder


# --- images


def test_empty_folder(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    for command in ("pretrain", "probe", "finetune"):
        sentence = refused(capsys, tmp_path, command, tmp_path / "images")
        assert sentence.startswith(f"{tmp_path / 'images'} holds no images: looked for .png")


def test_missing_folder(tmp_path, capsys):
    sentence = refused(capsys, tmp_path, "pretrain", tmp_path / "nowhere")
    assert sentence == f"{tmp_path / 'nowhere'} does not exist: give a folder of images or a CSV " \
        "manifest."  # fmt: skip


@pytest.mark.parametrize("command", ["probe", "finetune"])
def test_class_with_one_image(command, images, tmp_path, capsys):
    sentence = refused(capsys, tmp_path, command, images(benign=6, malignant=1))
    assert "malignant" in sentence
    assert "add images" in sentence or "label more" in sentence


@pytest.mark.parametrize("command", ["probe", "finetune"])
def test_one_class_alone(command, images, tmp_path, capsys):
    assert "'benign' alone" in refused(capsys, tmp_path, command, images(benign=6))


@pytest.mark.parametrize("command", ["probe", "finetune"])
def test_images_without_labels(command, tmp_path, capsys):
    for number in range(3):
        draw(tmp_path / "images" / f"{number}.png")
    sentence = refused(capsys, tmp_path, command, tmp_path / "images")
    assert "3 of 3 images without a label: give a folder per class" in sentence


def spoil(file: Path, how: str) -> None:
    whole = file.read_bytes()
    file.write_bytes({"corrupt": b"no image", "truncated": whole[: len(whole) // 2]}[how])


@pytest.mark.parametrize("command", ["pretrain", "probe", "finetune"])
@pytest.mark.parametrize("how", ["corrupt", "truncated"])
def test_unreadable_image_stops_or_is_skipped(how, command, images, tmp_path, capsys):
    data = images(benign=9, malignant=9)
    broken = data / "benign" / "3.png"
    spoil(broken, how)
    sentence = refused(capsys, tmp_path, command, data)
    assert sentence.startswith(f"{broken} is ")
    assert sentence.endswith(("or remove it.", "export or copy it again."))

    done(*words(command, data, tmp_path / "out", "--on-error", "skip"))
    out, err = capsys.readouterr()
    assert err.count(f"skipped {broken}: is ") == 1
    assert str(broken) not in out
    for table in (tmp_path / "out").rglob("predictions.csv"):
        assert str(broken) not in table.read_text()


def test_nothing_but_unreadable_images(images, tmp_path, capsys):
    data = images(benign=2)
    for file in data.rglob("*.png"):
        spoil(file, "corrupt")
    sentence = refused(capsys, tmp_path, "pretrain", data, "--on-error", "skip")
    assert "None of the 2 images can be read" in sentence


def test_mixed_sizes(images, tmp_path, capsys):
    data = images(benign=4)
    draw(data / "benign" / "tall.png", (40, 32))
    sentence = refused(capsys, tmp_path, "pretrain", data)
    assert sentence.startswith(f"{data / 'benign' / 'tall.png'} has 40 x 32 pixels")
    assert "set data.resize to crop, pad, stretch" in sentence
    done(*words("pretrain", data, tmp_path / "out", "--data.resize", "pad"))


def test_mixed_channels(images, tmp_path, capsys):
    data = images(benign=4)
    draw(data / "benign" / "color.png", (32, 32, 3))
    sentence = refused(capsys, tmp_path, "pretrain", data)
    assert "4 gray" in sentence
    assert f"1 RGB (such as {data / 'benign' / 'color.png'})" in sentence
    assert sentence.endswith("set data.color to gray or rgb.")
    done(*words("pretrain", data, tmp_path / "out", "--data.color", "gray"))


# --- manifests


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["benign/0.png,a,p0,", "benign/9.png,a,p1,"], "names 1 of 2 files that are missing ("),
        (["benign/0.png,a,p0,", "benign/0.png,a,p0,"], "lists 1 image(s) more than once ("),
        (
            ["benign/0.png,a,p0,train", "benign/1.png,a,p0,test"],
            "puts 1 patient(s) on two sides of its split",
        ),
        (["benign/0.png,a,p0,teach"], "unknown split names (teach): use train, val, test"),
        (["benign/0.png,a"], "has 2 cells instead of 4 in row 1 below the header"),
        ([], "lists no images"),
    ],
)
@pytest.mark.parametrize("command", ["pretrain", "probe", "finetune"])
def test_broken_manifest(command, rows, said, images, tmp_path, capsys):
    manifest = images(benign=4) / "manifest.csv"
    manifest.write_text("\n".join(["path,label,patient,split", *rows]) + "\n")
    sentence = refused(capsys, tmp_path, command, manifest)
    assert sentence.startswith(f"{manifest} ")
    assert said in sentence


# --- settings


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--model.patch_size 5", "model.patch_size"),
        ("--model.patch_size 0", "model.patch_size"),
        ("--model.patch_size 32", "model.patch_size is 32 for images of 32x32: that is one patch"),
        ("--model.embed_dim 30", "model.embed_dim"),
        ("--model.decoder_num_heads 3", "model.decoder_num_heads"),
        ("--objective.glcm 1 --objective.texture.levels 1", "objective.texture: levels is 1"),
        ("--objective.target.levels 1", "objective.target: levels is 1"),
        ("--objective.target.offsets []", "objective.target: offsets is empty"),
        ("--objective.target.offsets [[0,8]]", "objective.target: offset (0, 8)"),
        (
            "--objective.glcm 1 --objective.texture.offsets [[0,0]]",
            "objective.texture: offset (0, 0)",
        ),
        ("--objective.target.bandwidth 0", "bandwidth is 0"),
        ("--objective.target.value_range [1,0]", "value_range is (1.0, 0.0)"),
        ("--objective.glcm 1 --objective.texture.pool 0", "pool is 0"),
        ("--objective.mse 0 --objective.glcm_prediction 0", "objective has no term"),
        ("--optimizer.epochs 0", "optimizer.epochs is 0: set it to 1 or more."),
        ("--optimizer.betas [1.5,0.9]", "optimizer.betas"),
        ("--mask_ratio 1", "mask_ratio is 1.0: set it between 0 and 1."),
        ("--seed -1", "seed is -1: set it from 0 to 4294967295."),
        ("--data.split_seed 4294967296", "data.split_seed is 4294967296"),
        ("--data.image_size 0", "data.image_size is 0"),
        ("--data.fold 7", "fold is 7"),
        ("--data.window [5,5]", "data.window is (5.0, 5.0)"),
        ("--data.patient_regex (", "patient_regex"),
        ("--augment.crop_scale [0,1]", "crop_scale is (0.0, 1.0)"),
        ("--hardware.devices 0", "hardware.devices"),
        ("--hardware.devices -1", "hardware.devices"),
        ("--hardware.accelerator abacus", "hardware.accelerator"),
        ("--init nowhere.pth", "nowhere.pth does not exist"),
        ("--optimizer.epoch 3", "did you mean optimizer.epochs?"),
    ],
)
def test_setting_out_of_range(more, said, images, tmp_path, capsys):
    sentence = refused(capsys, tmp_path, "pretrain", images(benign=4), *more.split())
    assert said in sentence


# --- runs


@pytest.mark.parametrize("command", ["pretrain", "probe", "finetune", "baseline", "predict"])
def test_a_run_is_not_written_over_its_own_manifest(command, images, tmp_path, capsys):
    manifest = images(a=4, b=4).parent / "out/validation.csv"
    done("data", "manifest", tmp_path / "images", "--out", manifest)
    before = state(tmp_path)
    option = ["--run", "nowhere", "--images"] if command == "predict" else ["--data.images"]
    sentence = complaint(capsys, command, *option, manifest, "--out", manifest.parent)
    assert sentence == f"out would write over {manifest}, which is read: give another name."
    assert state(tmp_path) == before


@pytest.mark.parametrize("place", ["", "encoder.safetensors"])
@pytest.mark.parametrize("command", ["pretrain", "probe", "finetune"])
def test_a_run_is_not_written_over_its_own_weights(command, place, images, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    option = "--init" if command == "pretrain" else "--encoder"
    sentence = complaint(capsys, *words(command, images(a=4), out, option, out / place))
    assert sentence == f"out would write over {out / place}, which is read: give another name."


def test_loss_that_is_no_number(images, tmp_path, capsys):
    more = ["--optimizer.base_lr", 1e30, "--optimizer.warmup", 0, "--checkpoint_minutes", 0]
    sentence = complaint(capsys, *words("pretrain", images(a=20), tmp_path / "out", *more))
    assert "no longer a number" in sentence
    assert "optimizer.base_lr" in sentence
    assert not (tmp_path / "out" / "encoder.safetensors").exists()
    if (tmp_path / "out" / "checkpoint.pt").exists():  # then it is from before
        saved = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)
        assert all(bool(t.isfinite().all()) for t in saved["model"].values())


def test_initial_weights_that_are_no_number(run, phantom, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "init")
    tensors = load_file(tmp_path / "init" / "encoder.safetensors")
    tensors["blocks.0.attn.qkv.weight"][0, 0] = float("nan")
    save_file(tensors, tmp_path / "init" / "encoder.safetensors")
    more = ["--data.fold", 0, "--init", tmp_path / "init"]
    sentence = complaint(capsys, *words("pretrain", phantom, tmp_path / "out", *more))
    assert "number" in sentence or "NaN" in sentence
    assert not (tmp_path / "out" / "encoder.safetensors").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_full_disk(command, images, tmp_path, capsys, monkeypatch):
    data = images(a=9, b=9)
    out = tmp_path / "out"
    more = [] if command == "finetune" else ["--checkpoint_minutes", 0]
    saved = []

    def save_to_full_disk(self: Run, content: dict) -> None:
        if saved:  # from the second time on, what is written goes where there is no room
            (self.folder / f".checkpoint.pt.{os.getpid()}.tmp").symlink_to("/dev/full")
        saved.append(content)
        save(self, content)

    save = Run.save
    monkeypatch.setattr(Run, "save", save_to_full_disk)
    sentence = complaint(capsys, *words(command, data, out, *more))
    assert sentence.startswith(f"{out / 'checkpoint.pt'} (")
    assert (
        "cannot be written (No space left on device); the version before it is intact" in sentence
    )
    assert len(saved) == 2
    assert torch.load(out / "checkpoint.pt", weights_only=True)
    assert not list(out.glob(".*"))

    monkeypatch.setattr(Run, "save", save)
    done(*words(command, data, out, *more, "--resume"))
    done(*words(command, data, tmp_path / "whole", *more))
    resumed, whole = state(out), state(tmp_path / "whole")
    assert resumed["encoder.safetensors"] == whole["encoder.safetensors"]


def test_existing_run_is_left_alone(run, phantom, capsys):
    before = state(run)
    sentence = complaint(capsys, *words("pretrain", phantom, run, "--data.fold", 0))
    assert sentence.startswith(f"{run} holds a run already: ")
    assert "--resume" in sentence
    assert "--out" in sentence
    for more in (["--resume", "--seed", 1], ["--resume", "--model.depth", 1]):
        sentence = complaint(capsys, *words("pretrain", phantom, run, "--data.fold", 0, *more))
        assert sentence.startswith(f"{run} was begun with other settings (")
    assert state(run) == before
    done(*words("pretrain", phantom, run, "--data.fold", 0, "--resume"))  # nothing left to do
    assert state(run) == before


@pytest.mark.parametrize("command", ["pretrain", "probe", "finetune"])
def test_out_is_a_file(command, phantom, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    sentence = complaint(capsys, *words(command, phantom, tmp_path / "out"))
    assert sentence == f"{tmp_path / 'out'} is a file: choose a folder with --out."
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("command", ["pretrain", "probe", "finetune", "crossval", "compare"])
def test_out_is_among_the_images(command, images, tmp_path, capsys):
    folder = images(benign=6, malignant=6)
    if command in ("crossval", "compare"):
        sentence = complaint(capsys, command, "--images", folder, "--out", folder / "run")
    else:
        sentence = complaint(capsys, *words(command, folder, folder / "run"))
    assert sentence == f"out is {folder / 'run'}, in the folder of images {folder}: choose another."
    assert not (folder / "run").exists()


@pytest.mark.parametrize("command", ["probe", "finetune"])
def test_encoder_that_has_seen_the_test_images(command, run, phantom, tmp_path, capsys):
    more = ["--encoder", run, "--data.fold", 2]  # it was trained on this one
    sentence = refused(capsys, tmp_path, command, phantom, *more)
    assert "12 of 12 test images" in sentence
    assert f"training of {run}" in sentence
    assert "--allow_seen" in sentence


@pytest.mark.parametrize("command", ["probe", "finetune"])
def test_no_encoder_there(command, phantom, tmp_path, capsys):
    sentence = refused(capsys, tmp_path, command, phantom, "--encoder", tmp_path)
    assert sentence.startswith(f"{tmp_path} holds no config.json: give the folder of a finished")


# --- evaluate and reconstruct


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "holds no predictions.csv: give the folder of a run, or the file."),
        ("", "the file is empty"),
        ("a,b\n1,2\n", "has no column path"),
        ("path;patient;label\n0.png;p0;a\n", "columns, separated by commas"),
        ("path,patient,label,p_a,p_b\n", "there are no predictions"),
        ("path,patient,label,p_a,p_b\n0.png,p0,a,nan,0.5\n", "row 2"),
        ("path,patient,label,p_a,p_b\n0.png,p0,c,0.5,0.5\n", "row 2: the label 'c' has no column"),
        ("path,patient,label,p_a,p_b\n0.png,p0,a,half,0.5\n", "row 2"),
        ("path,patient,label,p_a,p_b\n0.png,p0,a\n", "row 2: the number of cells"),
    ],
)
def test_evaluate_broken_table(text, said, tmp_path, capsys):
    table = tmp_path / "predictions.csv"
    if text is not None:
        table.write_text(text)
    sentence = complaint(capsys, "evaluate", "--predictions", table)
    assert sentence.startswith(str(table))
    assert said in sentence
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize("inside", [".", "run"])
def test_results_in_a_cache(images, run, tmp_path, capsys, inside):
    """Who removes a cache, as the guide says one may, would remove them."""
    folder, cache = images(a=3, b=3), tmp_path / "cache"
    out = cache / inside
    for command in ("pretrain", "probe", "finetune"):
        sentence = complaint(capsys, *words(command, folder, out, "--data.cache", cache))
        assert sentence.startswith(f"out is {out}, in the cache {cache}, which is to be removed")
    for command, result in (("predict", out), ("explain", out), ("embed", out / "features.csv")):
        ask = ("--run", run, "--images", folder, "--cache", cache, "--out", result)
        assert f"out is {result}, in the cache {cache}" in complaint(capsys, command, *ask)
    assert not cache.exists()


def test_evaluate_beside_a_damaged_description(tmp_path, capsys):
    table = tmp_path / "predictions.csv"
    table.write_text("path,patient,label,p_a,p_b\n0.png,p0,a,1,0\n1.png,p1,b,0,1\n")
    (tmp_path / "about.json").write_text("garbage")
    sentence = complaint(capsys, "evaluate", "--predictions", table)
    assert sentence.startswith(f"{tmp_path / 'about.json'} is damaged")


def test_evaluate_unknown_class(tmp_path, capsys):
    table = tmp_path / "predictions.csv"
    table.write_text("path,patient,label,p_a,p_b\n0.png,p0,a,1,0\n1.png,p1,b,0,1\n")
    sentence = complaint(capsys, "evaluate", "--predictions", table, "--positive", "c")
    assert "positive='c' is not a class: choose one of 'a', 'b'." in sentence
    assert "n_resamples" in complaint(capsys, "evaluate", "--predictions", table, "--n_resamples=0")


def test_reconstruct_what_is_no_run(run, phantom, tmp_path, capsys):
    def sentence(folder: Path, *more: object) -> str:
        picture = tmp_path / "a.png"
        said = complaint(capsys, *words("reconstruct", phantom, picture, "--run", folder, *more))
        assert not picture.exists()
        return said

    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "nowhere", tmp_path / "empty"):
        what = "does not exist" if folder.name == "nowhere" else "holds no config.json"
        assert sentence(folder).startswith(f"{folder} {what}: give the folder of a finished")
    shutil.copytree(run, tmp_path / "half")
    (tmp_path / "half" / "decoder.safetensors").unlink()
    assert sentence(tmp_path / "half").startswith(f"{tmp_path / 'half'} holds no decoder: ")
    (tmp_path / "half" / "decoder.safetensors").write_bytes(b"torn")
    assert str(tmp_path / "half" / "decoder.safetensors") in sentence(tmp_path / "half")
    (tmp_path / "half" / "config.json").write_text(json.dumps({"patch_size": 8}))
    assert str(tmp_path / "half" / "config.json") in sentence(tmp_path / "half")
    assert "mask_ratio is 1.5" in sentence(run, "--mask_ratio", 1.5)
    assert "n_images is 0" in sentence(run, "--n_images", 0)
    assert "ends in .png" in sentence(run, "--out", tmp_path / "a.jpg")
    assert "image_size" in sentence(run, "--data.image_size", 64)
