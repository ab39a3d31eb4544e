from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from glcm_mae.errors import UserError
from glcm_mae.training.pretrain import pretrain
from glcm_mae.training.pretraining import load_run

from . import small


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
