"""Settings that change nothing are told of, and no others."""

import pytest

from glcm_mae.cli import main
from glcm_mae.settings import ModelSettings, ObjectiveSettings, TargetSettings, TextureSettings
from glcm_mae.stages.idle import idle_shape, idle_terms

from ..commands import TINY

LEVELS = "objective.texture.levels"


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (ObjectiveSettings(), []),
        (ObjectiveSettings(target=TargetSettings(levels=16)), []),
        (ObjectiveSettings(glcm=1.0, texture=TextureSettings(levels=16)), []),
        (
            ObjectiveSettings(texture=TextureSettings(levels=16, channels="first")),
            [f"{LEVELS}, objective.texture.channels: no effect, for objective.glcm is 0."],
        ),
        (
            ObjectiveSettings(glcm_prediction=0.0, target=TargetSettings(kept=True)),
            ["objective.target.kept: no effect, for objective.glcm_prediction is 0."],
        ),
        (
            ObjectiveSettings(glcm=1.0, texture=TextureSettings(form="transport", levels=16)),
            [f"{LEVELS}: no effect, for the form transport has no gray levels."],
        ),
    ],
)
def test_settings_of_terms(objective, said):
    assert idle_terms(objective) == said


def test_settings_of_the_network(tmp_path, phantom, capsys):
    run = str(tmp_path / "pre")
    words = ["--objective.texture.levels", "16", "--data.images", str(phantom), "--out", run]
    assert main(["pretrain", *TINY["pretrain"], *words]) == 0
    assert f"{LEVELS}: no effect" in capsys.readouterr().err
    own = ModelSettings(patch_size=8, embed_dim=32, depth=2, num_heads=2)
    assert idle_shape(ModelSettings(), run) == []
    assert idle_shape(own, run) == []
    assert idle_shape(own, None) == []
    assert idle_shape(own, f"{run}/encoder.safetensors") == []
    (said,) = idle_shape(ModelSettings(size="vit-s", decoder_depth=2), run)
    assert said.startswith(
        f"model.size: no effect, for the network is that of {run} (patch_size 8,"
    )
