"""A command line in, settings out; whatever is wrong with it in a sentence."""

from pathlib import Path

import pytest
import yaml

from glcm_mae import arguments, settings
from glcm_mae.arguments import parse

from ..commands import NEEDED, complaint, printed_config


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
        (["compare", "i", "--by", "knn", "linear"], ["linear is no option", "--name A,B"]),
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
        (
            ["--data.resize", "fit"],
            "--data.resize takes none | crop | pad | stretch | center, not 'fit'.",
        ),
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


@pytest.mark.parametrize(
    "text",
    [
        *(r"#(\d+)", "~", "&p", "*p", "!p", "@p", "%p", "Null", "| p", "p: q", "p #q", "'p'"),
        *('"p"', "12", "1e3", "true", "{p}", "[0-9]+=p", r"\d", "é😀"),
    ],
)
def test_text_arrives_as_typed(text: str, tmp_path: Path) -> None:
    words = ["data", "manifest", "images", "--out", "m.csv"]
    for given in (["--pattern", text, "--rename", text], [f"--pattern={text}", f"--rename={text}"]):
        settings = parse([*words, *given])[1]
        assert (settings.pattern, settings.rename) == (text, [text])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"pattern": text, "rename": ["a, b", text]}))
    settings = parse([*words, "--config", str(recipe)])[1]
    assert (settings.pattern, settings.rename) == (text, ["a, b", text])


@pytest.mark.parametrize("nothing", ["null", "~", ""])
def test_a_text_is_taken_back_by_null(nothing: str, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"pattern: {nothing}")
    words = ["data", "manifest", "images", "--out", "m.csv", "--config", str(recipe)]
    assert parse(words)[1].pattern is None
    recipe.write_text("pattern: p")
    assert parse([*words, "--pattern", "null"])[1].pattern is None


@pytest.mark.parametrize("text", ["-1000,400", "[-1000,400]", "-1e3, 400.0", "[-1000, 400]"])
def test_a_pair_of_numbers_needs_no_brackets(text: str) -> None:
    shared = ["features", "scans", "-o", "f.csv"]
    for words in (["--range", text], [f"--range={text}"]):
        assert parse([*shared, *words])[1].range == (-1000.0, 400.0)
        assert parse([*shared, *words])[1].window is None
    assert parse([*shared, "--window", "0,1"])[1].window == (0.0, 1.0)
    assert parse([*shared, "--window", "lung"])[1].window == "lung"
    assert parse([*shared, "--range", "-1000,Inf"])[1].range == (-1000.0, float("inf"))
    assert parse([*shared, "--range", "[-inf,.inf]"])[1].range == (-float("inf"), float("inf"))
    assert parse(["pretrain", *NEEDED, "--data.image_size", "64,32"])[1].data.image_size == (64, 32)
    assert parse(["pretrain", *NEEDED, "--data.image_size", "64"])[1].data.image_size == 64


def test_numbers_where_one_will_do_need_no_brackets() -> None:
    for text, levels in (("8,16", [8, 16]), ("[8, 16]", [8, 16]), ("8", 8), ("[8]", [8])):
        given = parse(["pretrain", *NEEDED, "--objective.texture.levels", text])[1]
        assert given.objective.texture.levels == levels


@pytest.mark.parametrize("text", ["400", "1,2,3", "[1,2", "low,high", "1,"])
def test_what_is_no_pair_of_numbers(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, "features", "scans", "-o", "f.csv", "--range", text)
    assert said == f"--range takes [float, float] | null, not {text!r}."


def test_a_list_that_stands_twice_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("compare", "images", "--out", "o", "--set", "seed=1", "--set", "mask_ratio=0.5")
    assert (
        complaint(capsys, *words) == "--set stands twice: give all its values at once, as in A,B."
    )
