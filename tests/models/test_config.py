"""What a run folder says of its encoder, and descriptions that are refused."""

import json
from dataclasses import asdict, replace

import pytest

from glcm_mae import __version__
from glcm_mae.errors import UserError
from glcm_mae.models import load_encoder, read_config, save_encoder
from glcm_mae.models.export import EXPORTS

from .test_weights import CONFIG


def test_config_says_how_to_use_the_encoder(tmp_path):
    save_encoder(tmp_path, CONFIG.build(), CONFIG)
    written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert written == {
        "format": "glcm-mae encoder",
        "version": __version__,
        "image_size": [32, 32],
        "patch_size": 8,
        "in_chans": 1,
        "embed_dim": 32,
        "depth": 2,
        "num_heads": 4,
        "mean": [0.1],
        "std": [1 / 3],
        "resize": "pad",
        "color": "gray",
        "window": [-160.0, 240.0],
        "spacing": None,
    }


@pytest.mark.parametrize("text", ["", "{", "\xff", '{"depth": NaN', "null"])
def test_a_config_that_is_no_json_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"config.json (cannot be read|does not describe)"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("depth", "2"),
        ("depth", 2.0),
        ("depth", 0),
        ("num_heads", True),
        ("image_size", 32),
        ("image_size", [32]),
        ("image_size", [32.5, 32]),
        ("mean", 0.5),
        ("mean", [0.5, 0.5]),
        ("std", ["1"]),
        ("resize", None),
        ("color", 3),
        ("window", [0]),
        ("window", 255),
        ("spacing", "1"),
        ("spacing", 0),
    ],
)
def test_a_config_with_a_wrong_value_is_refused(tmp_path, field, value):
    content = json.loads(json.dumps(asdict(CONFIG))) | {field: value}
    (tmp_path / "config.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=rf"config.json does not .* \(no proper {field}\)"):
        read_config(tmp_path)


def test_a_config_of_a_version_that_knew_no_scale(tmp_path):
    content = {name: value for name, value in asdict(CONFIG).items() if name != "spacing"}
    (tmp_path / "config.json").write_text(json.dumps(content), encoding="utf-8")
    assert read_config(tmp_path) == CONFIG


@pytest.mark.parametrize("field", sorted({*asdict(CONFIG)} - {"spacing"}))
def test_a_config_without_a_field_is_refused(tmp_path, field):
    content = {name: value for name, value in asdict(CONFIG).items() if name != field}
    (tmp_path / "config.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=rf"\(no proper .*{field}"):
        read_config(tmp_path)


def test_a_config_that_no_encoder_can_have_is_refused(tmp_path):
    save_encoder(tmp_path, CONFIG.build(), replace(CONFIG, num_heads=5))
    with pytest.raises(UserError, match=r"model.embed_dim 32 must be .* model.num_heads 5"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("library", EXPORTS)
def test_of_an_exported_folder_the_weights_are_asked_for(tmp_path, library):
    for name, content in EXPORTS[library](CONFIG.build(), CONFIG).items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=r"is no run, but .* its weights, .*model\.safetensors"):
        read_config(tmp_path)
