"""Exported encoders: what transformers makes of them, and what timm is told."""

import json
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from glcm_mae.cli import main
from glcm_mae.data.windows import CT_WINDOWS
from glcm_mae.models import Encoder, EncoderConfig, save_encoder
from glcm_mae.models.card import model_card
from glcm_mae.models.export import EXPORTS, for_timm, for_transformers
from glcm_mae.settings import ExportSettings

from ..commands import complaint


def _config(
    size: tuple[int, int] = (16, 16), in_chans: int = 1, **changes: object
) -> EncoderConfig:
    own = {"mean": (0.4,) * in_chans, "std": (0.2,) * in_chans}
    rest = {"resize": "none", "color": "gray", "window": None}
    shape = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
    facts = {"image_size": size, "in_chans": in_chans} | shape | own | rest | changes
    return EncoderConfig(**facts)


def _encoder(config: EncoderConfig) -> Encoder:
    """Random in every weight, so that none is taken for another."""
    encoder = config.build().eval()
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.copy_(torch.randn_like(weight) * 0.3)
    return encoder


def _written(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    config = _config()
    save_encoder(tmp_path / "run", _encoder(config), config)
    return tmp_path / "run"


@pytest.mark.parametrize("size", [(16, 16), (16, 32)])
@pytest.mark.parametrize("in_chans", [1, 3])
@torch.no_grad()
def test_transformers_computes_the_same(
    size: tuple[int, int], in_chans: int, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers", minversion="5")
    config = _config(size, in_chans)
    encoder = _encoder(config)
    folder = _written(tmp_path / "vit", for_transformers(encoder, config))
    theirs, found = transformers.ViTModel.from_pretrained(
        folder, add_pooling_layer=False, output_loading_info=True
    )
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    images = torch.rand(2, in_chans, *size)
    torch.testing.assert_close(
        theirs.eval()(images).last_hidden_state, encoder(images), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(("window", "white"), [(None, 255), ((0.0, 400.0), 1)])
def test_transformers_normalises_as_the_run_did(
    window: tuple[float, float] | None, white: int, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers", minversion="5")
    config = _config(window=window)
    folder = _written(tmp_path / "vit", for_transformers(_encoder(config), config))
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    image = torch.full((1, 16, 16), white, dtype=torch.uint8 if window is None else torch.float32)
    pixels = processor(image.numpy(), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(pixels, torch.full((1, 1, 16, 16), (1 - 0.4) / 0.2))


def test_no_weight_is_lost_on_the_way_to_transformers(tmp_path: Path) -> None:
    config = _config()
    encoder = _encoder(config)
    folder = _written(tmp_path / "vit", for_transformers(encoder, config))
    found = load_file(folder / "model.safetensors")

    def values(tensors: dict[str, Tensor]) -> Tensor:
        return torch.cat([tensor.flatten() for tensor in tensors.values()]).sort().values

    assert torch.equal(values(found), values(encoder.state_dict()))
    query = found["encoder.layer.2.attention.attention.query.weight"]
    assert torch.equal(query, encoder.state_dict()["blocks.2.attn.qkv.weight"][:16])


def test_timm_is_told_the_shape_and_given_the_weights_as_they_are(tmp_path: Path) -> None:
    config = _config((16, 32), 3)
    encoder = _encoder(config)
    folder = _written(tmp_path / "vit", for_timm(encoder, config))
    found = load_file(folder / "model.safetensors")
    assert found.keys() == encoder.state_dict().keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in encoder.state_dict().items())
    told = json.loads((folder / "config.json").read_text())
    assert told["model_args"]["img_size"] == [16, 32]
    assert told["model_args"]["fc_norm"] is False
    assert told["pretrained_cfg"]["input_size"] == [3, 16, 32]
    assert told["pretrained_cfg"]["mean"] == [0.4, 0.4, 0.4]


def test_every_library_has_a_name_on_the_command_line() -> None:
    assert set(get_args(get_type_hints(ExportSettings)["to"])) == EXPORTS.keys()


def test_the_card_says_how_images_are_read() -> None:
    card = model_card(
        "timm", _config(window=(-1000.0, 400.0), resize="pad"), CT_WINDOWS, own_weights=True
    )
    assert "(B, 1, 16, 16)" in card
    assert "filled up with zeros" in card
    assert "from 0 to 1 over the window from -1000 to 400" in card
    assert "mean [0.4] and std [0.2]" in card
    assert "CC BY-NC" not in card
    assert "8 bits" not in card
    assert "1 is white" in card
    assert "luminance" in card
    card = model_card("timm", _config(window="lung"), CT_WINDOWS, own_weights=True)
    assert "over -1350 to 150 Hounsfield units (window lung)" in card
    card = model_card("transformers", _config(window="file"), CT_WINDOWS, own_weights=True)
    assert "over the DICOM file's own first lookup table or window" in card
    assert "8 bits" not in card
    assert "processor(numpy.asarray(image)[None]" in card
    card = model_card("transformers", _config(in_chans=3), CT_WINDOWS, own_weights=False)
    assert "for images of 8 bits" in card
    assert "RGB images (B, 3, 16, 16)" in card
    assert "processor(image, " in card
    assert "luminance" not in card
    assert "the official MAE weights are CC BY-NC 4.0" in card


def test_the_command(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for library, files in (("timm", 3), ("transformers", 4)):
        out = tmp_path / library
        assert main(["export", "--run", str(run), "--to", library, "--out", str(out)]) == 0
        assert len(list(out.iterdir())) == files
        assert str(out) in capsys.readouterr().out.splitlines()[-1]
        # Nothing tells what trained these weights.
        assert "another project's" in (out / "README.md").read_text()
    (run / "seen.csv").write_text("pixels,patient\nabc,\n")
    (run / "head.safetensors").touch()
    words = ("export", "--run", run, "--to", "timm", "--out")
    assert main([*map(str, words), str(tmp_path / "own")]) == 0
    assert "Its head is not among it." in capsys.readouterr().out
    assert "another project's" not in (tmp_path / "own" / "README.md").read_text()


def test_mistakes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("export", "--run", run, "--to")
    assert "is not empty" in complaint(capsys, *words, "timm", "--out", run)
    file = tmp_path / "file"
    file.touch()
    assert "is a file" in complaint(capsys, *words, "timm", "--out", file)
    said = complaint(capsys, *words, "onnx", "--out", tmp_path / "out")
    assert "--to takes transformers | timm" in said
    said = complaint(capsys, "export", "--run", tmp_path, "--to", "timm", "--out", tmp_path / "out")
    assert "holds runs (run) and is none: give the folder of one" in said
    assert not (tmp_path / "out").exists()
