"""The command line: arguments, help, configs, and one study from end to end."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open

from glcm_mae import __version__, arguments, settings, stages
from glcm_mae.arguments import COMMANDS, parse
from glcm_mae.cli import main
from glcm_mae.data import make_phantom, write_phantom

IMAGES = ["--data.image_size=32", "--data.folds=3"]
MODEL = ["--model.embed_dim=32", "--model.depth=2", "--model.num_heads=2", "--model.patch_size=8"]
DECODER = [f"--model.decoder_{n}" for n in ("embed_dim=32", "depth=1", "num_heads=2")]
TRAINING = [f"--optimizer.{n}" for n in ("epochs=2", "batch_size=16", "base_lr=1e-3")]
TINY = {
    "pretrain": [*IMAGES, *MODEL, *DECODER, *TRAINING],
    "finetune": [*IMAGES, *MODEL, *TRAINING],
    "probe": [*IMAGES, *MODEL],
    "reconstruct": IMAGES,
}
NEEDED = ["--data.images", "nowhere", "--out", "out"]


def complaint(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a command that must be refused: one sentence on stderr, code 2. Return the sentence."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    sentence = err.splitlines()[-1]  # before it there may be progress
    assert err.count("glcm-mae: ") == 1
    assert sentence.startswith("glcm-mae: ")
    return sentence.removeprefix("glcm-mae: ")


def printed_config(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    """Ask for the settings that a command would use."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([*map(str, words), "--print_config"])
    assert stop.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of 36 simulated images: 3 classes, 6 patients each."""
    return write_phantom(make_phantom(6, 2, size=32), tmp_path_factory.mktemp("phantom"))


# --- what it says about itself


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    usage, _, summary = text.splitlines()[:3]
    assert usage.startswith(f"usage: glcm-mae {command} [--config RECIPE]")
    assert summary == COMMANDS[command].__doc__.splitlines()[0][: len(summary)]
    assert "A YAML file, or the name of a recipe" in text
    assert not any(raw in text for raw in ("Literal[", "Optional[", "Union[", "<class", "CONFIG"))


def test_help_lists_defaults_types_and_recipes(capsys):
    with pytest.raises(SystemExit):
        main(["pretrain", "-h"])
    text = " ".join(capsys.readouterr().out.split())
    assert "(type: [float, float] | lung | soft_tissue | bone | file | null, default: null)" in text
    assert "(type: float, default: 0.75)" in text
    assert "(type: patch | image | int, default: patch)" in text
    assert "small" in text


def test_overview_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in COMMANDS)


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"glcm-mae {__version__}\n"


def test_installed_under_its_name():
    (script,) = (e for e in entry_points(group="console_scripts") if e.name == "glcm-mae")
    assert script.load() is main


def test_help_answers_at_once():
    words = [sys.executable, "-X", "importtime", "-m", "glcm_mae.cli", "pretrain", "--help"]
    seconds = []
    for _ in range(3):  # of processor time: the machine may be busy with something else
        start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        seconds.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - start)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "numpy", "lightning_fabric", "kornia", "sklearn", "matplotlib"}
    assert min(seconds) < 0.5


# --- arguments


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], ["no command", "pretrain, finetune, probe", "--help"]),
        (["pretain"], ["pretain is no command", "did you mean pretrain?"]),
        (["--data.images", "x", "pretrain"], ["--data.images is no command"]),
        (["pretrain"], ["pretrain needs --data.images and --out"]),
        (["pretrain", "--out", "x"], ["pretrain needs --data.images:"]),
        (["pretrain", "--out", "", "--data.images", "x"], ["pretrain needs --out:"]),
        (["pretrain", *NEEDED, "--otu", "x"], ["--otu is no setting", "did you mean out?"]),
        (["pretrain", *NEEDED, "--epochs", "3"], ["did you mean optimizer.epochs?"]),
        # No abbreviations: tomorrow they may mean another setting.
        (["pretrain", *NEEDED, "--optimizer.epoch", "3"], ["did you mean optimizer.epochs?"]),
        (["pretrain", *NEEDED, "--data", "x"], ["data is a group", "data.images, data.image_size"]),
        (["pretrain", *NEEDED, "more"], ["more is no option", "--name value"]),
        (["pretrain", "-s", "3"], ["-s is no option", "--name value"]),
        (["pretrain", *NEEDED, "--seed"], ["--seed has no value"]),
        (["pretrain", "--out", "--seed", "3"], ["--out has no value"]),
        (["pretrain", "--config"], ["--config has no value"]),
    ],
)
def test_wrong_words(words, said, capsys):
    sentence = complaint(capsys, *words)
    assert all(part in sentence for part in said), sentence


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--optimizer.epochs", "abc"], "--optimizer.epochs takes int, not 'abc'."),
        (["--optimizer.epochs", "null"], "--optimizer.epochs takes int, not 'null'."),
        (["--optimizer.base-lr=x"], "--optimizer.base_lr takes float, not 'x'."),
        (["--mask_ratio", "nan"], "--mask_ratio takes float, not 'nan'."),
        (["--model.depth", "2.5"], "--model.depth takes int | null, not '2.5'."),
        (["--resume", "perhaps"], "--resume takes true | false, not 'perhaps'."),
        (["--data.resize", "fit"], "--data.resize takes none | crop | pad | stretch, not 'fit'."),
        (
            ["--data.window", "[1]"],
            "--data.window takes [float, float] | lung | soft_tissue | bone | file | null, "
            "not '[1]'.",
        ),
        (["--data.image_size", "[8]"], "--data.image_size takes int | [int, int], not '[8]'."),
        (
            ["--objective.texture.offsets", "[0,1]"],
            "--objective.texture.offsets takes [[int, int], ...], not '[0,1]'.",
        ),
    ],
)
def test_wrong_values(words, said, capsys):
    assert complaint(capsys, "pretrain", *NEEDED, *words) == said


def test_first_needed_setting_needs_no_name():
    bare = parse(["pretrain", "--seed", "3", "scans", "-o", "run"])[1]
    named = parse(["pretrain", "--data.images", "scans", "--out", "run", "--seed", "3"])[1]
    assert bare == named


def test_commands_of_two_words(monkeypatch, capsys):
    monkeypatch.setitem(arguments.COMMANDS, "set check", settings.EvaluateSettings)
    monkeypatch.setitem(arguments.COMMANDS, "set split", settings.EvaluateSettings)
    command, values, _ = parse(["set", "check", "table.csv"])
    assert (command, values.predictions) == ("set check", "table.csv")
    for words, said in [
        (["set"], "set is no command"),
        (["set", "chek"], "set chek is no command (did you mean set check?)"),
    ]:
        sentence = complaint(capsys, *words)
        assert sentence == f"{said}: give one of set check, set split, or --help."
    with pytest.raises(SystemExit):
        parse(["set", "--help"])
    assert "set split" in capsys.readouterr().out


def test_values_are_read_by_their_type(capsys):
    config = printed_config(
        capsys,
        "pretrain",
        *NEEDED,
        *("--data.window", "[-100,300]", "--augment.crop_scale=[0.5, 1.0]"),
        *("--optimizer.clip", "null", "--optimizer.base-lr", "1e-3", "--seed=3"),
        *("--data.image-size", "[64,32]", "--objective.texture.offsets", "[[0,1],[1,-1]]"),
        *("--data.patient_regex", r"^([a-z]+\d+)", "--on-error", "skip", "--resume"),
    )
    assert config["data"]["window"] == [-100, 300]
    assert config["augment"]["crop_scale"] == [0.5, 1.0]
    assert config["optimizer"]["clip"] is None
    assert config["optimizer"]["base_lr"] == 1e-3
    assert config["seed"] == 3
    assert config["data"]["image_size"] == [64, 32]
    assert config["objective"]["texture"]["offsets"] == [[0, 1], [1, -1]]
    assert config["data"]["patient_regex"] == r"^([a-z]+\d+)"
    assert config["data"]["on_error"] == "skip"
    assert config["resume"] is True


# --- configs


def test_command_line_wins_over_config_in_any_order(tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 5\noptimizer: {epochs: 7, base_lr: 1e-3}\ndata.folds: 4\n")
    for words in (
        ["--config", file, "--optimizer.epochs", 9],
        ["--optimizer.epochs=9", f"--config={file}"],
    ):
        config = printed_config(capsys, "pretrain", *NEEDED, *words)
        assert config["optimizer"]["epochs"] == 9
        assert config["optimizer"]["base_lr"] == 1e-3
        assert (config["seed"], config["data"]["folds"]) == (5, 4)


def test_later_config_wins(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("seed: 1\nmask_ratio: 0.5\n")
    (tmp_path / "b.yaml").write_text("seed: 2\n")
    words = ["--config", tmp_path / "a.yaml", "--config", tmp_path / "b.yaml"]
    config = printed_config(capsys, "pretrain", *NEEDED, *words)
    assert (config["seed"], config["mask_ratio"]) == (2, 0.5)


def test_a_config_may_merge_what_it_has_named(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text(
        "pretrain: {augment: &mine {flip: true, rotate: 5}}\n"
        "finetune: {augment: {<<: *mine, rotate: 7}}\n"
    )
    config = printed_config(capsys, "finetune", *NEEDED, "--config", tmp_path / "a.yaml")
    assert (config["augment"]["flip"], config["augment"]["rotate"]) == (True, 7.0)


def test_printed_config_can_be_given_back(tmp_path, capsys):
    config = printed_config(capsys, "pretrain", "--config", "small", "--seed", 4)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    again = printed_config(capsys, "pretrain", "--config", tmp_path / "mine.yaml", *NEEDED)
    config["out"], config["data"]["images"] = "out", "nowhere"
    assert again == config
    # What must be given stands there as null.
    assert "pretrain needs" in complaint(capsys, "pretrain", "--config", tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is not a YAML file"),
        ("\x00", "is not a YAML file"),
        ("- 1", "is not a mapping of settings to values"),
        ("just words", "is not a mapping of settings to values"),
        ("optimzer: {epochs: 2}", "optimzer is no setting: did you mean optimizer?"),
        ("optimizer: {epoch: 2}", "optimizer.epoch is no setting: did you mean optimizer.epochs?"),
        ("pretrain: {sead: 2}", "sead is no setting: did you mean seed?"),
        ("optimizer: 3", "optimizer is a group of settings: give optimizer.epochs"),
        ("out: {a: 3}", "out is one setting and not a group: give it text."),
        ("optimizer: {epochs: abc}", "optimizer.epochs takes int, not 'abc'."),
        ("optimizer: {epochs: null}", "optimizer.epochs takes int, not 'null'."),
        ("optimizer: {epochs: [1, 2]}", "optimizer.epochs takes int, not '[1, 2]'."),
        ("probe: {seed: 2}", "has no section for pretrain: it has probe."),
        ("pretrain: {seed: 2}\nseed: 3", "seed stands beside sections: move it into one."),
    ],
)
def test_wrong_config(text, said, tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    sentence = complaint(capsys, "pretrain", *NEEDED, "--config", file)
    assert sentence.startswith(str(file))
    assert said in sentence


def test_empty_config_changes_nothing(tmp_path, capsys):
    for text in ("", "pretrain:\n", "data:\noptimizer: null\n"):
        (tmp_path / "mine.yaml").write_text(text)
        config = printed_config(capsys, "pretrain", "--config", tmp_path / "mine.yaml", *NEEDED)
        assert config == printed_config(capsys, "pretrain", *NEEDED)


def test_missing_config(capsys):
    sentence = complaint(capsys, "pretrain", "--config", "smal")
    assert sentence.startswith("--config smal is no file and no recipe (did you mean small?)")


def test_a_section_that_stands_twice(capsys, tmp_path):
    recipe = tmp_path / "twice.yaml"
    recipe.write_text("pretrain: {seed: 1}\nprobe: {seed: 1}\npretrain: {seed: 2}\n")
    assert "pretrain stands twice" in complaint(capsys, "pretrain", "--config", str(recipe))


def test_what_a_merge_brings_may_be_overridden(capsys, tmp_path):
    recipe = tmp_path / "merged.yaml"
    recipe.write_text(
        "pretrain:\n  model: &a {depth: 1}\nprobe:\n  model: &b {<<: *a, depth: 2}\n"
        "finetune:\n  model: {<<: *b}\n"
    )
    for command in ("pretrain", "probe", "finetune"):
        assert printed_config(capsys, command, "--config", str(recipe))


def recipe_sections() -> list[tuple[str, str]]:
    folder = Path(sys.modules["glcm_mae"].__file__ or "").parent / "recipes"
    return [
        (file.stem, command)
        for file in sorted(folder.glob("*.yaml"))
        for command in yaml.safe_load(file.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize(("recipe", "command"), recipe_sections())
def test_every_recipe_is_read(recipe, command, capsys):
    assert printed_config(capsys, command, "--config", recipe)


# --- how it ends


def test_ctrl_c(monkeypatch, capsys):
    def interrupted(_, recipe: object):
        raise KeyboardInterrupt

    for command, needed in (("pretrain", NEEDED), ("evaluate", ["--predictions", "x"])):
        monkeypatch.setattr(stages, command, interrupted)
        assert main([command, *needed]) == 130
        _, err = capsys.readouterr()
        assert err.startswith("glcm-mae: stopped")
        assert ("--resume" in err) == (command == "pretrain")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "the memory is full"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "optimizer.batch_"),
        (
            PermissionError(13, "Permission denied", "a.csv"),
            "a.csv cannot be read or written (Perm",
        ),
    ],
)
def test_what_the_machine_refuses_is_said_in_a_sentence(error, said, monkeypatch, capsys):
    def fails(_, recipe: object):
        raise error

    monkeypatch.setattr(stages, "evaluate", fails)
    assert said in complaint(capsys, "evaluate", "--predictions", "x")


def test_our_own_mistakes_keep_their_traceback(monkeypatch):
    def broken(_, recipe: object):
        raise ValueError("shapes differ")

    monkeypatch.setattr(stages, "evaluate", broken)
    with pytest.raises(ValueError, match="shapes differ"):
        main(["evaluate", "--predictions", "x"])


def test_process_exits_with_the_code_of_main():
    done = subprocess.run(
        [sys.executable, "-m", "glcm_mae.cli", "pretain"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("glcm-mae: pretain is no command")
    assert done.stderr.count("\n") == 1


def test_ctrl_c_in_the_middle_of_a_training(phantom, tmp_path):
    words = ["--data.images", phantom, *TINY["pretrain"], "--optimizer.epochs", 400]
    words += ["--checkpoint_minutes", 0, "--out", tmp_path / "run"]
    command = [sys.executable, "-m", "glcm_mae.cli", "pretrain", *map(str, words)]
    # A shell that puts the tests into the background has them ignore the signal.
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heeding)
    while not (tmp_path / "run" / "checkpoint.pt").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith("glcm-mae: stopped; the same command with --resume")
    assert "Traceback" not in err
    assert not (tmp_path / "run" / "encoder.safetensors").exists()


# --- one study from end to end


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
        *("log.jsonl", "seen.csv", "settings.yaml"),
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
    assert Path("pictures/a.png").read_bytes().startswith(b"\x89PNG")

    # What a stage suggests runs as it stands, once the gaps are filled in.
    shutil.rmtree("probe")
    assert main(["probe", "--encoder", "pre", *IMAGES, *images, "--out", "probe"]) == 0
    assert os.listdir("probe")


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
    (tmp_path / "worse" / "predictions.csv").unlink()
    assert main(["evaluate", "--predictions", better, "--against", worse]) == 2
    assert "holds no predictions.csv" in capsys.readouterr().err


def test_the_next_command_keeps_the_recipe() -> None:
    given = ["probe", "--config", "demo", "--data.images", "x", "--out", "y"]
    assert parse(given)[2] == " --config demo"


def test_a_list_of_words_needs_no_brackets() -> None:
    shared = ["compare", "images", "--out", "o"]
    winning = "data.window=[0,200],seed=1"
    _, settings, _ = parse([*shared, "--arms", "mse, random", "--set", winning])
    assert settings.arms == ["mse", "random"]
    assert settings.set == ["data.window=[0,200]", "seed=1"]
    assert parse([*shared, "--baselines", ""])[1].baselines == []


def test_a_list_that_stands_twice_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("compare", "images", "--out", "o", "--set", "seed=1", "--set", "mask_ratio=0.5")
    assert (
        complaint(capsys, *words) == "--set stands twice: give all its values at once, as in A,B."
    )
