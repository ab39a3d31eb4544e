"""Settings that change nothing are told of, and no others."""

import pytest

from glcm_mae.cli import main
from glcm_mae.models.descriptors import OF_PIXELS
from glcm_mae.settings import ModelSettings, ObjectiveSettings, TargetSettings, TextureSettings
from glcm_mae.stages.idle import _NOT_OF_DESCRIPTOR, idle_shape, idle_terms

from ..commands import TINY

TEXTURE = "objective.texture"


def test_every_descriptor_that_needs_no_glcm_is_known():
    assert set(_NOT_OF_DESCRIPTOR) == set(OF_PIXELS)


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (ObjectiveSettings(), []),
        (ObjectiveSettings(target=TargetSettings(levels=16)), []),
        (ObjectiveSettings(glcm=1.0, texture=TextureSettings(levels=16)), []),
        (
            ObjectiveSettings(texture=TextureSettings(levels=16, channels="first")),
            [f"{TEXTURE} (levels, channels): no effect, for objective.glcm is 0."],
        ),
        (
            ObjectiveSettings(glcm_prediction=0.0, target=TargetSettings(kept=True)),
            ["objective.target (kept): no effect, for objective.glcm_prediction is 0."],
        ),
        (
            ObjectiveSettings(glcm=1.0, texture=TextureSettings(form="transport", levels=16)),
            [f"{TEXTURE} (levels): no effect, for the form transport does not use them."],
        ),
        (
            ObjectiveSettings(
                glcm=1.0, texture=TextureSettings(form="pair_kernel", kernel="linear", pool="image")
            ),
            [f"{TEXTURE} (kernel): no effect, for the form pair_kernel does not use them."],
        ),
        (
            ObjectiveSettings(target=TargetSettings(descriptor="hog", levels=16, scope="patch")),
            ["objective.target (levels): no effect, for the descriptor hog does not use them."],
        ),
        (
            ObjectiveSettings(target=TargetSettings(descriptor="deviation", relative=False)),
            [
                "objective.target (relative): no effect, for the descriptor deviation does not use "
                "them."
            ],
        ),
        (
            ObjectiveSettings(mse=0.0, norm_pix_loss=True),
            ["objective (norm_pix_loss): no effect, for objective.mse, ssim and glcm are 0."],
        ),
        (ObjectiveSettings(mse=0.0, ssim=1.0, norm_pix_loss=True), []),
        (ObjectiveSettings(mse=0.0, glcm=1.0, norm_pix_loss=True), []),
        (ObjectiveSettings(mse=0.0, mse_first=0.5, norm_pix_loss=True), []),
    ],
)
def test_settings_of_terms(objective, said):
    assert idle_terms(objective) == said


def test_settings_of_the_network(tmp_path, phantom, capsys):
    run = str(tmp_path / "pre")
    words = ["--objective.texture.levels", "16", "--data.images", str(phantom), "--out", run]
    assert main(["pretrain", *TINY["pretrain"], *words]) == 0
    assert f"{TEXTURE} (levels): no effect" in capsys.readouterr().err
    words = [
        "--encoder",
        run,
        "--data.images",
        str(phantom),
        "--model.depth",
        "3",
        "--allow_seen=true",
    ]
    for stage in ("probe", "finetune"):
        assert main([stage, *TINY[stage], *words, "--out", str(tmp_path / stage)]) == 0
        assert "): no effect, for the network is that of" in capsys.readouterr().err
    own = ModelSettings(patch_size=8, embed_dim=32, depth=2, num_heads=2)
    assert idle_shape(ModelSettings(), run) == []
    assert idle_shape(own, run) == []
    assert idle_shape(own, None) == []
    assert idle_shape(own, f"{run}/encoder.safetensors") == []
    (said,) = idle_shape(ModelSettings(size="vit-s", decoder_depth=2), run)
    assert said.startswith(
        f"model (size): no effect, for the network is that of {run} (patch_size 8,"
    )
