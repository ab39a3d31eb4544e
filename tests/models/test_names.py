"""The names of weights: there and back, and what transformers itself writes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from glcm_mae.errors import UserError
from glcm_mae.models import (
    EncoderConfig,
    MaskedAutoencoder,
    fill_decoder,
    fill_weights,
    write_tensors,
)
from glcm_mae.models.names import from_transformers, to_transformers
from glcm_mae.models.vit import sincos_positions

CONFIG = EncoderConfig((16, 16), 8, 1, 16, 3, 2, (0.5,), (0.25,), "none", "gray", None)


def autoencoder() -> MaskedAutoencoder:
    return MaskedAutoencoder(CONFIG.build(), 1, 8, 2, 2).eval()


def as_released(mae: MaskedAutoencoder) -> dict[str, Tensor]:
    """Name the weights as MAE's release does, which has no word for the encoder."""
    state = {name.removeprefix("encoder."): t for name, t in mae.state_dict().items()}
    return {name: torch.randn_like(tensor) for name, tensor in state.items()}


def test_there_and_back() -> None:
    weights = as_released(autoencoder())
    theirs = to_transformers(weights)
    assert len(theirs) == len(weights) + 4 * (3 + 2)  # queries, keys and values by themselves
    again = from_transformers(theirs)
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_other_weights_stay_as_they_are() -> None:
    weights = as_released(autoencoder())
    assert from_transformers(weights) is weights
    assert from_transformers({}) == {}
    theirs = {**to_transformers(weights), "pooler.dense.bias": torch.zeros(1)}
    assert from_transformers(theirs).keys() == weights.keys() | {"pooler.dense.bias"}


def test_queries_without_keys_are_missed_as_a_whole(tmp_path: Path) -> None:
    theirs = to_transformers(as_released(autoencoder()))
    del theirs["encoder.layer.1.attention.attention.key.weight"]
    write_tensors(tmp_path / "a.safetensors", theirs)
    with pytest.raises(UserError, match=r"has no weights blocks\.1\.attn\.qkv\.weight \(1 missing"):
        fill_weights(CONFIG.build(), tmp_path / "a.safetensors")


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@torch.no_grad()
def test_what_transformers_writes_is_read(file: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", minversion="5")
    config = transformers.ViTMAEConfig(
        image_size=16,
        patch_size=8,
        num_channels=1,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        decoder_hidden_size=8,
        decoder_num_hidden_layers=2,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
        layer_norm_eps=1e-6,
    )
    theirs = transformers.ViTMAEForPreTraining(config).eval()
    for weight in theirs.parameters():
        if weight.requires_grad:
            weight.copy_(torch.randn_like(weight) * 0.3)
    # Those of a trained model; a fresh one has zeros.
    theirs.vit.embeddings.position_embeddings.copy_(sincos_positions(16, (2, 2)))
    theirs.decoder.decoder_pos_embed.copy_(sincos_positions(8, (2, 2)))
    theirs.save_pretrained(tmp_path)
    if file.endswith(".bin"):
        torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / file)
    mae = autoencoder()
    fill_weights(mae.encoder, tmp_path / file)
    assert fill_decoder(mae, tmp_path / file) is None
    images, noise = torch.rand(3, 1, 16, 16), torch.rand(3, 4)
    redrawn = theirs(images, noise=noise)
    torch.testing.assert_close(
        mae(images, 0.75, noise).patches, redrawn.logits, atol=1e-5, rtol=1e-5
    )
