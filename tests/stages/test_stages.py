"""One study from end to end, by the commands that each stage suggests."""

import json
import os
import re
import shutil
from pathlib import Path

import yaml
from safetensors import safe_open

from glcm_mae.cli import main

from ..commands import IMAGES, TINY


def keys(file: Path) -> set[str]:
    with safe_open(file, "pt") as tensors:
        return set(tensors.keys())


def test_study(phantom, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = ["--data.images", str(phantom), "--data.fold", "0"]

    def last_line(command: str, *words: str) -> str:
        assert main([command, *TINY.get(command, []), *words]) == 0
        return capsys.readouterr().out.splitlines()[-1]

    end = last_line("pretrain", *images, "--out", "pre")
    assert end.startswith("The encoder lies in pre. Next: glcm-mae probe --encoder pre ")
    assert f"--data.images {phantom} --data.image_size 32" in end
    assert {f.name for f in Path("pre").iterdir()} == {
        *("config.json", "encoder.safetensors", "decoder.safetensors", "finished.json"),
        *("gray_values.csv", "log.jsonl", "seen.csv", "settings.yaml"),
    }
    assert json.loads(Path("pre/config.json").read_text())["patch_size"] == 8
    assert {"patch_embed.proj.weight", "blocks.0.attn.qkv.weight"} <= keys(
        Path("pre/encoder.safetensors")
    )
    lines = [json.loads(line) for line in Path("pre/log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert yaml.safe_load(Path("pre/settings.yaml").read_text())["optimizer"]["epochs"] == 2

    # A run's own settings make the run again.
    assert main(["pretrain", "--config", "pre/settings.yaml", "--out", "again"]) == 0
    capsys.readouterr()
    again, before = (Path(f, "encoder.safetensors").read_bytes() for f in ("again", "pre"))
    assert again == before

    end = last_line("probe", *images, "--encoder", "pre", "--out", "probe")
    assert end.startswith("The metrics lie in probe/knn/metrics.json, probe/linear/metrics.json. ")
    assert "Next: glcm-mae finetune --encoder pre --data.images" in end
    assert Path("probe/linear/predictions.csv").is_file()

    file = ["--encoder", "pre/encoder.safetensors"]  # does not tell its shape
    end = last_line("probe", *images, *file, "--out", "probe-of-file")
    assert "--encoder pre/encoder.safetensors --model.patch_size 8 --model.embed_dim 32 " in end

    end = last_line("finetune", *images, "--encoder", "pre", "--out", "fine")
    assert end.startswith("The metrics lie in fine/metrics.json. Next: ")
    assert "for the same network" not in end
    assert {"config.json", "encoder.safetensors", "head.safetensors", "predictions.csv"} <= {
        f.name for f in Path("fine").iterdir()
    }

    # The network is the encoder's; random weights would get the default one.
    words = [*images, *IMAGES, "--encoder", "pre", "--optimizer.epochs", "1", "--out", "default"]
    assert main(["finetune", *words]) == 0
    end = capsys.readouterr().out.splitlines()[-1]
    assert "and, for the same network, with --model.patch_size 8 --model.embed_dim 32 " in end

    Path("fine/metrics.json").unlink()
    end = last_line("evaluate", "--predictions", "fine", "--n_resamples", "50")
    assert end == "The metrics lie in fine/metrics.json."
    metrics = json.loads(Path("fine/metrics.json").read_text())
    assert metrics["settings"]["n_resamples"] == 50

    end = last_line(
        "reconstruct", "--run", "pre", *images, "--n_images", "2", "--out", "pictures/a.png"
    )
    assert end.endswith("The picture is pictures/a.png.")
    assert "used in training" not in end  # of the fold that was held out
    assert Path("pictures/a.png").read_bytes().startswith(b"\x89PNG")

    of_fold = Path("pictures/a.png").read_bytes()
    everything = ["--data.images", str(phantom), "--n_images", "2", "--out", "pictures/a.png"]
    end = last_line("reconstruct", "--run", "pre", *everything)
    assert " of the 2 images, or copies of them, were used in training. The picture" in end
    assert Path("pictures/a.png").read_bytes() != of_fold

    # What a stage suggests runs as it stands, once the gaps are filled in.
    shutil.rmtree("probe")
    assert main(["probe", "--encoder", "pre", *IMAGES, *images, "--out", "probe"]) == 0
    assert os.listdir("probe")


def test_what_is_tested_next_are_images_that_were_held_out(phantom, tmp_path, capsys) -> None:
    split = tmp_path / "split.csv"
    assert main(["data", "split", str(phantom), "--out", str(split), "--folds", "3"]) == 0
    for images, tested in ((split, split), (phantom, "LABELLED_IMAGES")):
        out = str(tmp_path / images.stem)
        words = [*TINY["pretrain"], "--data.images", str(images), "--out", out]
        assert main(["pretrain", *words]) == 0
        said = capsys.readouterr().out
        assert f"Next: glcm-mae probe --encoder {out} --data.images {tested} " in said


def test_evaluate_says_how_much_better_than_another_arm(tmp_path: Path, capsys) -> None:
    for arm, right in (("better", 0.9), ("worse", 0.6)):
        rows = ["path,patient,label,p_a,p_b"]
        for n in range(40):
            chance = right if n % 3 else 1 - right  # both miss the same third, `better` by more
            label, p = ("a", chance) if n % 2 else ("b", 1 - chance)
            rows.append(f"{n}.png,p{n // 2},{label},{p},{1 - p}")
        (tmp_path / arm).mkdir()
        (tmp_path / arm / "predictions.csv").write_text("\n".join(rows) + "\n")
    better, worse = str(tmp_path / "better"), str(tmp_path / "worse")
    assert main(["evaluate", "--predictions", better, "--against", worse]) == 0
    said = capsys.readouterr().out
    assert f"{better}/predictions.csv minus {worse}/predictions.csv" in said
    assert re.search(r"^accuracy +\+0\.000 \[\+0\.000, \+0\.000\]", said, re.MULTILINE)
    assert "Intervals of differences: for other patients, of these trained models." in said
    alone = (tmp_path / "better" / "predictions.csv").read_text().splitlines()
    several = [alone[0] + ",seed"] + [f"{row},{seed}" for seed in (0, 1) for row in alone[1:]]
    (tmp_path / "better" / "predictions.csv").write_text("\n".join(several) + "\n")
    assert main(["evaluate", "--predictions", better, "--against", worse]) == 0
    assert (
        "Intervals of differences: for other patients and other seeds; one seed stands for all in "
        f"{worse}/predictions.csv."
    ) in capsys.readouterr().out
    assert main(["evaluate", "--predictions", better, "--sensitivity", "95"]) == 2
    assert "sensitivity is 95.0: give a share above 0, up to 1" in capsys.readouterr().err
    (tmp_path / "worse" / "predictions.csv").unlink()
    assert main(["evaluate", "--predictions", better, "--against", worse]) == 2
    assert "holds no predictions.csv" in capsys.readouterr().err
