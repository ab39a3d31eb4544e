"""Settings from YAML files: which wins, what is refused, what can be given back."""

import sys
from pathlib import Path

import pytest
import yaml

from ..commands import NEEDED, complaint, printed_config


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
