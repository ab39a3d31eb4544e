"""The packaged arms: each can be laid over any recipe and then means the same objective."""

from importlib.resources import files

import pytest
import yaml

from glcm_mae.arguments import parse
from glcm_mae.models import EncoderConfig
from glcm_mae.settings import ObjectiveSettings, PretrainSettings
from glcm_mae.training.pretraining import assemble, weights_of

ARMS = {
    entry.name.removesuffix(".yaml"): entry
    for entry in (files("glcm_mae") / "recipes" / "arms").iterdir()
}


def over(recipe: str, arm: str) -> PretrainSettings:
    needed = ["--data.images", "nowhere", "--out", "out"]
    return parse(["pretrain", "--config", recipe, "--config", f"arms/{arm}", *needed])[1]


def meaning(objective: ObjectiveSettings) -> dict:
    """What counts of an objective: a term without weight has no settings."""
    counts = dict(vars(objective))
    if not objective.glcm:
        del counts["texture"]
    if not objective.glcm_prediction:
        del counts["target"]
    return counts


def test_the_arms_that_the_issue_names_are_there():
    assert {
        *("mse", "mse_norm_pix", "ssim", "paper", "transport", "texture_prediction"),
        *("gaussian", "gaussian_pooled", "multi_bandwidth", "multi_bandwidth_pooled"),
        *("pair_kernel", "pair_kernel_pooled", "prediction_alone", "prediction_distances"),
        *("prediction_16_levels", "prediction_bspline", "prediction_neighbourhood"),
        *("prediction_image", "prediction_haralick", "prediction_both"),
        "prediction_and_reconstruction",
    } <= set(ARMS)


@pytest.mark.parametrize("arm", sorted(ARMS))
def test_an_arm_is_an_objective_with_a_line_why(arm):
    text = ARMS[arm].read_text(encoding="utf-8")
    assert text.startswith("# ")
    content = yaml.safe_load(text)
    assert set(content) == {"pretrain"}
    assert set(content["pretrain"]) == {"objective"}


@pytest.mark.parametrize("arm", sorted(ARMS))
def test_nothing_of_the_recipe_below_leaks_into_the_objective(arm):
    objective = meaning(over("paper", arm).objective)
    assert objective == meaning(over("small", arm).objective)
    assert objective == meaning(over("demo", arm).objective)


def test_two_arms_never_are_the_same():
    meanings = {arm: str(meaning(over("small", arm).objective)) for arm in ARMS}
    assert len(set(meanings.values())) == len(meanings)


@pytest.mark.parametrize("patch_size", [8, 16])
@pytest.mark.parametrize("arm", sorted(ARMS))
def test_an_arm_can_be_assembled(arm, patch_size):
    settings = over("small", arm)
    config = EncoderConfig((64, 64), patch_size, 1, 32, 1, 2, (0.5,), (0.25,), "none", "gray", None)
    settings.model.decoder_depth = 1
    model = assemble(
        config, settings.model, settings.objective, settings.mask_ratio, (0.1, 0.9)
    ).objective
    active = weights_of(settings.objective).active
    assert (model.glcm is not None) == ("glcm" in active)
    assert (model.head is not None) == ("glcm_prediction" in active)


def test_the_paper_arm_is_the_objective_of_the_paper_recipe():
    alone = parse(["pretrain", "--config", "paper", "--data.images", "x", "--out", "y"])[1]
    assert meaning(over("small", "paper").objective) == meaning(alone.objective)


def test_the_neighbourhood_is_the_default():
    arm = over("paper", "prediction_neighbourhood")
    assert meaning(arm.objective) == meaning(ObjectiveSettings())


@pytest.mark.parametrize(
    ("arm", "changed"),
    [
        ("prediction_absolute", {"relative": False}),
        ("prediction_kept", {"kept": True}),
        ("prediction_whitened", {"whitened": True}),
        ("prediction_16_levels", {"levels": 16}),
        ("prediction_bspline", {"kernel": "bspline"}),
        ("prediction_sigmoid", {"kernel": "sigmoid"}),
        ("prediction_neighbourhood", {"scope": 3}),
        ("prediction_image", {"scope": "image"}),
        ("prediction_haralick", {"descriptor": "haralick"}),
        ("prediction_both", {"descriptor": "both"}),
        ("prediction_histogram", {"descriptor": "histogram"}),
        ("prediction_hog", {"descriptor": "hog"}),
        ("prediction_deviation", {"descriptor": "deviation"}),
    ],
)
def test_a_prediction_arm_differs_from_texture_prediction_in_one_thing(arm, changed):
    base = meaning(over("small", "texture_prediction").objective)
    expected = {**base, "target": type(base["target"])(**(vars(base["target"]) | changed))}
    assert meaning(over("small", arm).objective) == expected


@pytest.mark.parametrize("descriptor", ["histogram", "hog", "deviation"])
def test_a_control_over_the_neighbourhood_differs_from_that_of_the_patch_in_its_scope(descriptor):
    alone = over("small", f"prediction_{descriptor}").objective
    around = over("small", f"prediction_{descriptor}_neighbourhood").objective
    alone.target.scope = 3
    assert meaning(around) == meaning(alone)
