"""The packaged recipes: every key is a setting, and `default` is what the code does."""

from dataclasses import asdict, fields, is_dataclass
from importlib.resources import files
from typing import get_type_hints

import pytest
import yaml

from glcm_mae import settings

KINDS = {
    "pretrain": settings.PretrainSettings,
    "finetune": settings.FinetuneSettings,
    "probe": settings.ProbeSettings,
}
RECIPES = sorted(
    entry for entry in (files("glcm_mae") / "recipes").iterdir() if entry.name.endswith(".yaml")
)


def plain(value):
    if isinstance(value, dict):
        return {name: plain(v) for name, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def defaults(kind):
    return plain(asdict(kind(data=settings.DataSettings(images=""), out="")))


def assert_known(values, kind, place):
    hints = get_type_hints(kind)
    known = {field.name for field in fields(kind)}
    for name, value in values.items():
        assert name in known, f"{place}.{name} is no setting"
        if is_dataclass(hints[name]):
            assert_known(value, hints[name], f"{place}.{name}")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_key_is_a_setting(recipe):
    content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    assert set(content) <= set(KINDS)
    for command, values in content.items():
        assert_known(values, KINDS[command], command)


def test_the_default_recipe_is_what_the_code_does():
    recipe = next(recipe for recipe in RECIPES if recipe.name == "default.yaml")
    for command, values in yaml.safe_load(recipe.read_text(encoding="utf-8")).items():
        expected = defaults(KINDS[command])
        for name, value in values.items():
            if isinstance(value, dict):  # `model` names only what the command uses
                assert value == {key: expected[name][key] for key in value}, (command, name)
            else:
                assert value == expected[name], (command, name)


def test_the_paper_recipe_is_the_paper():
    recipe = next(recipe for recipe in RECIPES if recipe.name == "paper.yaml")
    paper = yaml.safe_load(recipe.read_text(encoding="utf-8"))["pretrain"]
    texture = paper["objective"]["texture"]
    assert (texture["levels"], texture["kernel"], texture["channels"]) == (256, "sigmoid", "first")
    assert texture["offsets"] == [[0, 1], [1, 0]]
    assert paper["optimizer"]["epochs"] * paper["objective"]["mse_first"] == 200
    assert paper["optimizer"]["base_lr"] == 1.5e-4
