"""An arm is what its recipe says, over what all arms share, under what the command line says."""

from dataclasses import replace
from pathlib import Path

import pytest

from glcm_mae.errors import UserError
from glcm_mae.study.arms import read_arms, recipe_arm

BY = ["linear", "finetune"]


def test_an_arm_is_laid_over_the_recipe(recipe: Path) -> None:
    random, mse, prediction = read_arms(["random", "mse", "texture_prediction"], [str(recipe)], BY)
    assert random.pretrain is None
    assert mse.pretrain is not None
    assert prediction.pretrain is not None
    assert (mse.pretrain.objective.glcm_prediction, mse.pretrain.optimizer.epochs) == (0.0, 2)
    assert prediction.pretrain.objective.glcm_prediction == 1.0
    assert random.probe == mse.probe == prediction.probe
    assert random.finetune == mse.finetune == prediction.finetune


def test_an_arm_of_ones_own_may_set_every_stage(recipe: Path, tmp_path: Path) -> None:
    own = tmp_path / "smoothed.yaml"
    own.write_text("pretrain: {mask_ratio: 0.5}\nfinetune: {label_smoothing: 0.3}\n")
    [arm] = read_arms([str(own)], [str(recipe)], BY)
    assert arm.name == "smoothed"
    base = tmp_path / "base.yaml"
    base.write_text("pretrain: {seed: 1}\n")
    assert read_arms([str(own)], [str(base)], ["finetune"])
    with pytest.raises(UserError, match=r"smoothed\.yaml has no section for probe"):
        read_arms([str(own)], [str(base)], ["knn", "finetune"])
    assert read_arms(["mse"], [], ["knn"])
    assert arm.pretrain is not None
    assert arm.finetune is not None
    assert (arm.pretrain.mask_ratio, arm.finetune.label_smoothing) == (0.5, 0.3)


def test_only_the_stages_that_are_asked_for_are_read(recipe: Path) -> None:
    arm = recipe_arm([str(recipe)], ["knn"])
    assert (arm.name, arm.finetune) == ("recipe", None)
    assert arm.probe is not None


def test_glcms_stand_beside_features_where_that_is_asked_for(recipe: Path) -> None:
    assert recipe_arm([str(recipe)], ["linear", "finetune"]).probe_glcm is None
    arm = recipe_arm([str(recipe)], ["linear_glcm"])
    assert arm.probe is not None
    assert not arm.probe.beside_glcms
    assert arm.probe_glcm == replace(arm.probe, beside_glcms=True)


def test_settings_of_the_command_line_win(recipe: Path) -> None:
    winning = ["data.resize=crop", "pretrain.optimizer.epochs=7", "mask_ratio=0.6"]
    arm = recipe_arm([str(recipe)], BY, winning)
    assert arm.pretrain is not None
    assert arm.probe is not None
    assert arm.finetune is not None
    for stage in (arm.pretrain, arm.probe, arm.finetune):
        assert stage.data.resize == "crop"
    assert (arm.pretrain.optimizer.epochs, arm.finetune.optimizer.epochs) == (7, 2)
    assert arm.pretrain.mask_ratio == 0.6


@pytest.mark.parametrize("wrong", ["seed=5", "probe.encoder=x", "data.images=other"])
def test_a_setting_that_the_study_gives_is_refused(wrong: str, recipe: Path) -> None:
    with pytest.raises(UserError, match="which the study gives each cell"):
        recipe_arm([str(recipe)], BY, [wrong])


@pytest.mark.parametrize("wrong", ["data.resize", "data.resise=crop", "probe.mask_ratio=0.5"])
def test_a_setting_that_no_stage_has_is_refused(wrong: str, recipe: Path) -> None:
    with pytest.raises(UserError, match=r"set has .*: write name=value with a setting of"):
        recipe_arm([str(recipe)], BY, [wrong])


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("data.resise=crop", "data.resize"),
        ("pretrain.optimiser.epochs=3", "optimizer.epochs"),
        ("finetune.patiense=3", "patience"),
    ],
)
def test_a_misspelt_setting_is_told_the_right_name(wrong: str, right: str, recipe: Path) -> None:
    with pytest.raises(UserError, match=rf"epochs=50\. Did you mean {right}\?$"):
        recipe_arm([str(recipe)], BY, [wrong])
