import math

import numpy as np
import pytest
import torch
from torch import nn

from glcm_mae.models import SIZES, Encoder
from glcm_mae.models.vit import Attention, Block, DropPath, sincos_positions


def test_the_names_are_those_of_mae_and_timm():
    names = set(Encoder((16, 16), 8, 3, 32, 2, 4).state_dict())
    per_block = {
        f"{layer}.{kind}"
        for layer in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
        for kind in ("weight", "bias")
    }
    ends = {"cls_token", "pos_embed", "norm.weight", "norm.bias"}
    stem = {"patch_embed.proj.weight", "patch_embed.proj.bias"}
    assert names == ends | stem | {f"blocks.{i}.{name}" for i in (0, 1) for name in per_block}


def test_vit_b_has_the_shapes_of_the_official_checkpoint():
    with torch.device("meta"):
        encoder = Encoder((224, 224), 16, 3, *SIZES["vit-b"])
    shapes = {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
    assert shapes["patch_embed.proj.weight"] == (768, 3, 16, 16)
    assert shapes["pos_embed"] == (1, 197, 768)
    assert shapes["blocks.11.attn.qkv.weight"] == (2304, 768)
    assert shapes["blocks.11.mlp.fc1.weight"] == (3072, 768)
    assert sum(math.prod(shape) for shape in shapes.values()) == 85_798_656


@pytest.mark.parametrize("grid", [(3, 3), (2, 5), (5, 2)])
def test_positions_follow_the_formula(grid):
    width = 16
    positions = sincos_positions(width, grid)[0].numpy()
    assert positions.shape == (1 + grid[0] * grid[1], width)
    assert not positions[0].any()
    for row in range(grid[0]):
        for column in range(grid[1]):
            expected = []
            for place in (column, row):
                angles = [place / 10000 ** (2 * i / (width // 2)) for i in range(width // 4)]
                expected += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            np.testing.assert_allclose(
                positions[1 + row * grid[1] + column], expected, rtol=0, atol=1e-7
            )


def test_positions_are_fixed():
    assert not Encoder((16, 16), 8, 1, 32, 1, 4).pos_embed.requires_grad


def test_attention_is_the_formula():
    attention, x = Attention(24, 3), torch.randn(2, 5, 24)
    q, k, v = attention.qkv(x).split(24, dim=-1)
    heads = []
    for h in range(3):
        part = slice(8 * h, 8 * (h + 1))
        scores = q[..., part] @ k[..., part].transpose(1, 2) / 8**0.5
        heads.append(scores.softmax(dim=-1) @ v[..., part])
    expected = attention.proj(torch.cat(heads, dim=-1))
    torch.testing.assert_close(attention(x), expected, atol=1e-6, rtol=1e-5)


def test_block_is_pre_norm_with_an_exact_gelu():
    block, x = Block(8, 2), torch.randn(1, 3, 8)
    for norm in (block.norm1, block.norm2):  # not at the identity they start from
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)

    def normalized(x, norm):
        centred = x - x.mean(dim=-1, keepdim=True)
        spread = (centred.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
        return centred / spread * norm.weight + norm.bias

    middle = x + block.attn(normalized(x, block.norm1))
    hidden = block.mlp.fc1(normalized(middle, block.norm2))
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    expected = middle + block.mlp.fc2(hidden)
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-5)


def test_drop_path_without_a_rate_or_in_evaluation_is_the_identity():
    x = torch.randn(4, 3, 2)
    assert DropPath(0.0)(x) is x
    assert DropPath(0.5).eval()(x) is x


def test_drop_path_skips_whole_samples_and_keeps_the_mean():
    out = DropPath(0.3).train()(torch.ones(20_000, 2, 3))
    per_sample = out.flatten(1)
    assert torch.equal(per_sample.amin(dim=1), per_sample.amax(dim=1))
    kept = per_sample[:, 0] > 0
    torch.testing.assert_close(per_sample[kept, 0], torch.full((int(kept.sum()),), 1 / 0.7))
    assert kept.float().mean() == pytest.approx(0.7, abs=0.015)  # 4.6 standard errors
    assert out.mean() == pytest.approx(1.0, abs=0.022)


def test_drop_path_rises_linearly_to_the_last_block():
    encoder = Encoder((16, 16), 8, 1, 32, 5, 4, drop_path=0.2)
    rates = [block.drop_path.rate for block in encoder.blocks]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])


@pytest.mark.parametrize(("size", "in_chans"), [((16, 40), 1), ((24, 8), 3), ((8, 8), 5)])
def test_images_of_any_shape_and_channels(size, in_chans):
    encoder = Encoder(size, 8, in_chans, 32, 2, 4)
    tokens = encoder(torch.rand(2, in_chans, *size))
    assert tokens.shape == (2, 1 + size[0] * size[1] // 64, 32)
    assert tokens.isfinite().all()


def test_tokens_lie_in_row_order_on_a_grid_that_is_not_square():
    encoder = Encoder((16, 40), 8, 1, 32, 1, 4)
    images = torch.zeros(1, 1, 16, 40)
    images[..., 8:, 24:32] = torch.rand(8, 8)  # row 1, column 3: patch 8
    changed = encoder.patch_embed(images) - encoder.patch_embed(torch.zeros_like(images))
    assert changed[0].abs().sum(dim=1).nonzero().flatten().tolist() == [8]


def test_encoding_the_kept_patches_is_as_if_there_were_no_others():
    encoder, images = Encoder((16, 24), 8, 1, 32, 2, 4), torch.rand(2, 1, 16, 24)
    keep = torch.tensor([[4, 0], [1, 5]])
    hidden = images.clone()
    for i, kept in enumerate(keep.tolist()):
        for n in set(range(6)) - set(kept):
            y, x = divmod(n, 3)
            hidden[i, :, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = 99.0
    assert torch.equal(encoder(images, keep), encoder(hidden, keep))
    every = torch.arange(6).expand(2, -1)
    torch.testing.assert_close(encoder(images, every), encoder(images))


def test_initial_weights_are_those_of_mae():
    encoder = Encoder((32, 32), 8, 3, 128, 2, 4)
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            bound = math.sqrt(6 / (module.in_features + module.out_features))
            assert 0.95 * bound < module.weight.abs().max() <= bound
            assert not module.bias.any()
        if isinstance(module, nn.LayerNorm):
            assert module.eps == 1e-6
    projection = encoder.patch_embed.proj.weight
    bound = math.sqrt(6 / (3 * 8 * 8 + 128))  # as a linear layer, not as a convolution
    assert 0.95 * bound < projection.abs().max() <= bound
    assert 0.013 < encoder.cls_token.std() < 0.027


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": (30, 32)}, "model.patch_size 8 does not divide images of 30x32 pixels"),
        ({"embed_dim": 30, "num_heads": 5}, "model.embed_dim 30 must be a multiple of 4"),
        ({"num_heads": 3}, "multiple of 4 and of model.num_heads 3"),
        ({"num_heads": 0}, "model.num_heads 0"),
        ({"patch_size": 0}, "model.patch_size is 0"),
        ({"depth": 0}, "model.depth is 0"),
        ({"drop_path": 1.0}, "drop_path is 1.0"),
    ],
)
def test_refusals_name_the_setting(changes, message):
    settings = {"image_size": (32, 32), "patch_size": 8, "in_chans": 1}
    settings |= {"embed_dim": 32, "depth": 1, "num_heads": 4}
    with pytest.raises(ValueError, match=message):
        Encoder(**(settings | changes))


@pytest.mark.parametrize("size", [(64, 16), (35, 35), (8, 8)])
def test_images_of_another_size_are_refused(size):
    # Of these, the first has as many patches and the second loses three rows and columns.
    with pytest.raises(ValueError, match=r"takes .* of 32x32 pixels"):
        Encoder((32, 32), 8, 1, 32, 1, 4)(torch.rand(1, 1, *size))
