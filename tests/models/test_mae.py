"""The masked autoencoder: what is hidden, where it is redrawn, and that it is He et al.'s."""

import pytest
import torch
from torch import nn

from glcm_mae.models import (
    Encoder,
    MaskedAutoencoder,
    Objective,
    Reconstruction,
    Weights,
    patchify,
)

SIZE, PATCH, CHANNELS = 32, 8, 3
DEPTH, DECODER_DEPTH = 3, 2


def autoencoder(image_size=(SIZE, SIZE), in_chans=CHANNELS):
    encoder = Encoder(image_size, PATCH, in_chans, embed_dim=48, depth=DEPTH, num_heads=4)
    return MaskedAutoencoder(encoder, in_chans, 32, DECODER_DEPTH, 2)


def shaken(model):
    """Give every parameter a random value: norms at 1 and biases at 0 hide mistakes."""
    for name, parameter in model.named_parameters():
        nn.init.normal_(parameter, mean=1.0 if "norm" in name else 0.0, std=0.2)
    return model


@pytest.mark.parametrize(
    ("ratio", "removed"),
    [(0.75, 12), (0.5, 8), (0.9, 14), (0.85, 14), (0.01, 1), (0.99, 15), (0.0, 0)],
)
def test_the_number_of_removed_patches_is_exact(ratio, removed):
    out = autoencoder()(torch.rand(5, CHANNELS, SIZE, SIZE), ratio)
    assert out.mask.sum(dim=1).tolist() == [removed] * 5
    assert set(out.mask.unique().tolist()) <= {0.0, 1.0}
    assert out.patches.shape == (5, 16, PATCH * PATCH * CHANNELS)
    assert out.tokens.shape == (5, 16, 32)


def test_masks_differ_between_images_and_calls():
    mae, images = autoencoder(), torch.rand(4, CHANNELS, SIZE, SIZE)
    masks = torch.cat([mae(images).mask, mae(images).mask])
    assert len({tuple(mask.tolist()) for mask in masks}) == 8


def test_the_smallest_noise_is_kept():
    noise = torch.rand(2, 16)
    out = autoencoder()(torch.rand(2, CHANNELS, SIZE, SIZE), 0.75, noise)
    for mask, values in zip(out.mask, noise, strict=True):
        assert values[mask == 0].max() < values[mask == 1].min()


def test_removed_pixels_are_not_looked_at():
    mae, images, noise = autoencoder(), torch.rand(2, CHANNELS, SIZE, SIZE), torch.rand(2, 16)
    out = mae(images, 0.75, noise)
    removed = out.mask.unflatten(1, (4, 4)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    other = torch.where(removed[:, None] > 0, torch.rand_like(images), images)
    assert not torch.equal(other, images)
    assert torch.equal(mae(other, 0.75, noise).patches, out.patches)


def test_decode_puts_tokens_and_mask_tokens_in_their_places():
    mae = shaken(autoencoder((16, 24), 1))
    mae.decoder_blocks = nn.ModuleList()
    mae.decoder_norm = nn.Identity()
    encoded = torch.randn(2, 3, 48)  # class token, two kept patches
    keep = torch.tensor([[5, 0], [2, 3]])
    tokens = mae.decode(encoded, keep)
    embedded = mae.decoder_embed(encoded)
    for i in range(2):
        for n in range(6):
            kept = keep[i].tolist()
            content = embedded[i, 1 + kept.index(n)] if n in kept else mae.mask_token[0, 0]
            expected = content + mae.decoder_pos_embed[0, 1 + n]
            torch.testing.assert_close(tokens[i, n], expected)


def test_the_class_token_takes_part_in_decoding():
    mae = shaken(autoencoder())
    encoded, keep = torch.randn(1, 3, 48), torch.tensor([[5, 0]])
    changed = encoded.clone()
    changed[:, 0] += 1
    assert not torch.allclose(mae.decode(encoded, keep), mae.decode(changed, keep))


def test_a_decoder_of_less_than_no_blocks_is_refused():
    encoder = Encoder((16, 16), 8, 1, 16, 1, 2)
    with pytest.raises(ValueError, match=r"model\.decoder_depth is -1"):
        MaskedAutoencoder(encoder, 1, 16, -1, 2)


def test_names_of_the_decoder_are_those_of_mae():
    names = {n.removesuffix(".weight") for n in autoencoder().state_dict() if "encoder" not in n}
    assert {"mask_token", "decoder_pos_embed", "decoder_embed", "decoder_pred"} <= names
    assert {"decoder_norm", "decoder_blocks.0.attn.qkv", "decoder_blocks.1.mlp.fc2"} <= names


def test_initial_weights_of_the_decoder_are_those_of_mae():
    mae = MaskedAutoencoder(Encoder((32, 32), 8, 1, 48, 1, 4), 1, 128, 1, 4)
    assert 0.013 < mae.mask_token.std() < 0.027
    for module in (mae.decoder_embed, mae.decoder_pred, mae.decoder_blocks[0].attn.qkv):
        bound = (6 / (module.in_features + module.out_features)) ** 0.5
        assert 0.95 * bound < module.weight.abs().max() <= bound
        assert not module.bias.any()
    assert mae.decoder_norm.eps == 1e-6
    assert not mae.decoder_pos_embed.requires_grad


@pytest.mark.parametrize(("width", "heads"), [(30, 4), (32, 5), (32, 0)])
def test_a_decoder_that_does_not_divide_is_refused(width, heads):
    message = f"model.decoder_embed_dim {width} .* model.decoder_num_heads {heads}"
    with pytest.raises(ValueError, match=message):
        MaskedAutoencoder(Encoder((32, 32), 8, 1, 48, 1, 4), 1, width, 1, heads)


def test_images_that_are_not_square():
    out = autoencoder((16, 40), 1)(torch.rand(2, 1, 16, 40), 0.6)
    assert isinstance(out, Reconstruction)
    assert out.patches.shape == (2, 10, 64)
    assert out.mask.sum(dim=1).tolist() == [6, 6]


def test_under_bfloat16_it_runs_and_says_nearly_the_same():
    mae, images, noise = autoencoder(), torch.rand(2, CHANNELS, SIZE, SIZE), torch.rand(2, 16)
    with torch.autocast("cpu", torch.bfloat16):
        low = mae(images, 0.75, noise)
    assert low.patches.dtype == torch.float32
    torch.testing.assert_close(
        low.patches.float(), mae(images, 0.75, noise).patches, atol=0.1, rtol=0
    )


def as_transformers(weights):
    """Name the weights as transformers does, with queries, keys and values apart."""
    renamed = {
        "encoder.cls_token": "vit.embeddings.cls_token",
        "encoder.pos_embed": "vit.embeddings.position_embeddings",
        "encoder.patch_embed.proj": "vit.embeddings.patch_embeddings.projection",
        "encoder.blocks.": "vit.layers.",
        "encoder.norm.": "vit.layernorm.",
        "mask_token": "decoder.mask_token",
        "decoder_": "decoder.decoder_",
        "decoder.decoder_blocks.": "decoder.decoder_layers.",
        "attn.proj": "attention.o_proj",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
    }
    out = {}
    for name, tensor in weights.items():
        for ours, theirs in renamed.items():
            name = name.replace(ours, theirs)
        if "attn.qkv" in name:
            for part, third in zip("qkv", tensor.chunk(3), strict=True):
                out[name.replace("attn.qkv", f"attention.{part}_proj")] = third
        else:
            out[name] = tensor
    return out


@pytest.mark.parametrize("norm_pix_loss", [False, True])
def test_the_same_weights_in_transformers_give_the_same_output(norm_pix_loss):
    # An implementation of its own, which reproduces the official checkpoints.
    transformers = pytest.importorskip("transformers", minversion="5.23")
    config = transformers.ViTMAEConfig(
        image_size=SIZE,
        patch_size=PATCH,
        num_channels=CHANNELS,
        hidden_size=48,
        num_hidden_layers=DEPTH,
        num_attention_heads=4,
        intermediate_size=4 * 48,
        decoder_hidden_size=32,
        decoder_num_hidden_layers=DECODER_DEPTH,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=4 * 32,
        layer_norm_eps=1e-6,  # as MAE's release; transformers' default is another
        mask_ratio=0.75,
        norm_pix_loss=norm_pix_loss,
    )
    theirs = transformers.ViTMAEForPreTraining(config).eval()
    mae = autoencoder()
    theirs.load_state_dict(as_transformers(shaken(mae).state_dict()))  # strict: no key left over
    images, noise = torch.rand(3, CHANNELS, SIZE, SIZE), torch.rand(3, 16)

    encoded = theirs.vit(images, noise=noise)
    redrawn = theirs(images, noise=noise)
    keep = noise.argsort(dim=1)[:, :4]
    out = mae(images, 0.75, noise)
    torch.testing.assert_close(
        mae.encoder(images, keep), encoded.last_hidden_state, atol=1e-5, rtol=0
    )
    assert torch.equal(out.mask, redrawn.mask)
    torch.testing.assert_close(out.patches, redrawn.logits, atol=1e-5, rtol=0)
    assert torch.equal(patchify(images, PATCH), theirs.patchify(images))
    objective = Objective(
        Weights({"mse": 1.0}),
        PATCH,
        (4, 4),
        torch.zeros(CHANNELS),
        torch.ones(CHANNELS),
        norm_pix_loss=norm_pix_loss,
    )
    torch.testing.assert_close(objective(images, out).total, redrawn.loss, atol=1e-6, rtol=1e-5)


def test_what_is_no_share_and_no_noise_is_refused():
    mae, images = autoencoder(), torch.rand(2, CHANNELS, SIZE, SIZE)
    for ratio in (75, -0.5, float("nan")):
        with pytest.raises(ValueError, match=r"mask_ratio is .*: give a share between 0 and 1"):
            mae(images, ratio)
    with pytest.raises(ValueError, match=r"noise is \(2, 9\): give \(2, 16\)"):
        mae(images, 0.75, torch.rand(2, 9))
