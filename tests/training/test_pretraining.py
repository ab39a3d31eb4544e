import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from glcm_mae.errors import UserError
from glcm_mae.models import EncoderConfig, TextureHead
from glcm_mae.settings import AugmentSettings, ObjectiveSettings, TargetSettings
from glcm_mae.training.pretrain import pretrain
from glcm_mae.training.pretraining import assemble, load_run

from . import small

CONFIG = EncoderConfig((24, 40), 8, 2, 16, 1, 2, (0.5, 0.5), (0.2, 0.2), "none", "rgb", None)


def head_of(target: TargetSettings) -> TextureHead:
    model = assemble(CONFIG, small.model(), ObjectiveSettings(target=target), 0.75, (0.1, 0.9))
    assert model.objective.head is not None
    return model.objective.head


@pytest.fixture
def reference(manifest: Path, tmp_path: Path) -> Path:
    return pretrain(small.pretraining(small.data(manifest), tmp_path / "reference"))


def test_a_finished_run_can_redraw(reference: Path) -> None:
    model = load_run(reference)
    kept = small.weights(reference)
    for name, tensor in model.mae.state_dict().items():
        stored = kept[name if name.startswith("encoder.") else f"decoder.mae.{name}"]
        assert torch.equal(tensor, stored)
    assert not model.training


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"torn")])
def test_a_run_without_a_decoder_cannot(reference: Path, damage: Callable[[Path], Any]) -> None:
    damage(reference / "decoder.safetensors")
    with pytest.raises(UserError, match=r"holds no decoder|decoder\.safetensors cannot be read"):
        load_run(reference)


@pytest.mark.parametrize(
    "text", ["a: [", "seed: 0", "objective: {norm_pix_loss: false}\nmask_ratio: 0.75\nmodel: 3"]
)
def test_a_run_whose_settings_are_damaged_cannot_and_says_so(reference: Path, text: str) -> None:
    (reference / "settings.yaml").write_text(text)
    with pytest.raises(UserError, match=r"settings\.yaml (.|\n)*copy it anew"):
        load_run(reference)


def test_every_setting_of_the_target_reaches_the_head() -> None:
    head = head_of(
        TargetSettings(
            offsets=[(0, 2), (3, -1), (1, 1)],
            kernel="bspline",
            bandwidth=0.3,
            value_range=None,
            levels=5,
            scope=3,
            descriptor="both",
        )
    )
    assert (head.binning.levels, head.binning.kernel, head.binning.scale) == (5, "bspline", 0.3)
    assert head.binning.value_range == (0.1, 0.9)  # that of the images
    assert head.offsets == ((0, 2), (3, -1), (1, 1))
    assert (head.scope, head.descriptors) == (3, ("glcm", "haralick"))
    assert (head.grid, head.patch_size) == ((3, 5), 8)
    assert head.linear.out_features == 2 * 3 * (25 + 13)  # channels, offsets, entries


def test_the_default_target_is_the_glcm_of_the_neighbourhood() -> None:
    head = head_of(TargetSettings())
    assert (head.scope, head.descriptors, head.binning.levels) == (3, ("glcm",), 8)


@pytest.mark.parametrize(
    "target",
    [
        TargetSettings(scope=4),
        TargetSettings(scope=11),
        TargetSettings(descriptor="lbp"),  # type: ignore[arg-type]
        TargetSettings(levels=1),
        TargetSettings(offsets=[(0, 8)]),
    ],
)
def test_a_target_that_cannot_be_is_the_users_error(target: TargetSettings) -> None:
    with pytest.raises(UserError, match=r"^objective\.target: "):
        head_of(target)


@pytest.mark.parametrize("scope", ["patch", "image"])
def test_a_run_with_any_descriptor_lowers_its_loss(
    manifest: Path, tmp_path: Path, scope: Any
) -> None:
    objective = ObjectiveSettings(
        mse=0.0, target=TargetSettings(levels=4, scope=scope, descriptor="both")
    )
    settings = small.pretraining(
        small.data(manifest),
        tmp_path / "run",
        objective=objective,
        optimizer=small.optimizer(epochs=8),
        augment=AugmentSettings(crop_scale=(1.0, 1.0)),  # resizing would change the texture
    )
    log = [json.loads(line) for line in (pretrain(settings) / "log.jsonl").open()]
    assert log[-1]["glcm_prediction"] < log[0]["glcm_prediction"]
