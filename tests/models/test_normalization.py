"""Which normalisation stands beside weights, and which does not."""

import json
from pathlib import Path

import pytest

from glcm_mae.models import EncoderConfig, normalization_beside
from glcm_mae.models.export import EXPORTS


@pytest.mark.parametrize("library", EXPORTS)
def test_an_export_tells_its_own(library: str, tmp_path: Path) -> None:
    config = EncoderConfig((16, 16), 8, 1, 64, 2, 4, (0.4,), (0.2,), "none", "gray", None)
    for name, content in EXPORTS[library](config.build(), config).items():
        (tmp_path / name).write_bytes(content)
    assert normalization_beside(tmp_path / "model.safetensors") == ((0.4,), (0.2,))


@pytest.mark.parametrize(
    "told",
    [
        "",
        "[]",
        "{}",
        json.dumps({"mean": [0.4], "std": [0.0]}),
        json.dumps({"mean": [0.4], "std": [0.1, 0.2]}),
        json.dumps({"mean": "0.4", "std": "0.2"}),
        '{"mean": [NaN], "std": [0.2]}',
        json.dumps({"mean": [123.7], "std": [58.4]}),
        json.dumps({"mean": [True], "std": [True]}),
        json.dumps({"mean": [0.4], "std": [0.2], "do_normalize": False}),
        json.dumps({"mean": [0.4], "std": [10**400]}),
        "[" * 100_000,
        json.dumps({"pretrained_cfg": [0.4]}),
    ],
)
def test_what_is_no_normalisation_is_none(told: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(told)
    assert normalization_beside(tmp_path / "model.safetensors") is None


def test_what_lies_beside_another_file_may_be_of_another_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"mean": [0.4], "std": [0.2]}))
    assert normalization_beside(tmp_path / "model.safetensors") == ((0.4,), (0.2,))
    assert normalization_beside(tmp_path / "mae.pth") is None
