"""Encoders to files and back, checkpoints of others, and files that are refused."""

import json
import re
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from glcm_mae.errors import UserError
from glcm_mae.models import (
    EncoderConfig,
    MaskedAutoencoder,
    fill_decoder,
    fill_weights,
    load_encoder,
    normalization_beside,
    read_config,
    run_of,
    save_encoder,
    write_tensors,
)
from glcm_mae.models.export import EXPORTS
from glcm_mae.models.names import to_transformers

CONFIG = EncoderConfig(
    image_size=(32, 32),
    patch_size=8,
    in_chans=1,
    embed_dim=32,
    depth=2,
    num_heads=4,
    mean=(0.1,),
    std=(1 / 3,),
    resize="pad",
    color="gray",
    window=(-160.0, 240.0),
)


def random_encoder(**changes):
    """An encoder none of whose weights is what a new one's would be."""
    encoder = replace(CONFIG, **changes).build()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter)
    return encoder


def write(path, encoder):
    write_tensors(path, encoder.state_dict())
    return path


def refusal(path, encoder=None):
    with pytest.raises(UserError) as caught:
        fill_weights(encoder or CONFIG.build(), path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"image_size": (16, 40), "in_chans": 3, "mean": (0.1, 0.2, 0.3), "std": (1.0, 1e-3, 1 / 3)},
        {"window": None, "depth": 1},
    ],
)
def test_round_trip_is_exact(tmp_path, changes):
    config, encoder = replace(CONFIG, **changes), random_encoder(**changes)
    save_encoder(tmp_path / "new" / "run", encoder, config)
    loaded, same = load_encoder(tmp_path / "new" / "run")
    assert same == config
    assert list(loaded.state_dict()) == list(encoder.state_dict())
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, encoder.state_dict()[name]), name
    images = torch.rand(1, config.in_chans, *config.image_size)
    assert torch.equal(loaded(images), encoder(images))


def test_a_folder_may_be_given_as_text(tmp_path):
    encoder = random_encoder()
    save_encoder(str(tmp_path / "run"), encoder, CONFIG)
    loaded, config = load_encoder(str(tmp_path / "run"))
    assert config == CONFIG == read_config(str(tmp_path / "run"))
    other = CONFIG.build()
    fill_weights(other, str(tmp_path / "run"))
    for each in (loaded, other):
        assert torch.equal(each.cls_token, encoder.cls_token)
    assert run_of(str(tmp_path / "run" / "encoder.safetensors")) == tmp_path / "run"
    assert normalization_beside(str(tmp_path / "run" / "encoder.safetensors"))[0] == CONFIG.mean


def test_the_file_is_plain_safetensors_under_official_names(tmp_path):
    encoder = random_encoder()
    save_encoder(tmp_path, encoder, CONFIG)
    tensors = load_file(tmp_path / "encoder.safetensors")
    assert set(tensors) == set(encoder.state_dict())
    assert torch.equal(tensors["blocks.1.attn.qkv.weight"], encoder.blocks[1].attn.qkv.weight)


def test_drop_path_is_that_of_the_new_use(tmp_path):
    save_encoder(tmp_path, CONFIG.build(), CONFIG)
    loaded, _ = load_encoder(tmp_path, drop_path=0.3)
    assert [block.drop_path.rate for block in loaded.blocks] == [0.0, 0.3]
    with pytest.raises(UserError, match=r"drop_path is 1.0"):
        load_encoder(tmp_path, drop_path=1.0)


def official_mae(encoder):
    """Make a state dict as MAE's release writes it: encoder and decoder side by side."""
    state = MaskedAutoencoder(encoder, encoder.patch_embed.proj.in_channels, 16, 1, 2).state_dict()
    return {name.removeprefix("encoder."): tensor for name, tensor in state.items()}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_an_official_mae_checkpoint_loads(tmp_path, suffix):
    source, target = random_encoder(), CONFIG.build()
    content = {
        "model": official_mae(source),
        "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": []},
        "epoch": 399,
        "scaler": {"scale": 65536.0},
        "args": Namespace(mask_ratio=0.75, model="mae_vit_base_patch16", lr=None, gpus=[0, 1]),
    }
    torch.save(content, tmp_path / f"mae{suffix}")
    fill_weights(target, tmp_path / f"mae{suffix}")
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name]), name


def test_a_bare_state_dict_with_a_head_loads(tmp_path):
    # As timm writes it.
    source, target = random_encoder(), CONFIG.build()
    extra = {"head.weight": torch.zeros(10, 32), "head.bias": torch.zeros(10)}
    torch.save({**source.state_dict(), **extra}, tmp_path / "vit.pth")
    fill_weights(target, tmp_path / "vit.pth")
    assert torch.equal(target.cls_token, source.cls_token)
    write_tensors(tmp_path / "vit.safetensors", {**source.state_dict(), **extra})
    again = CONFIG.build()
    fill_weights(again, tmp_path / "vit.safetensors")
    assert torch.equal(again.norm.weight, source.norm.weight)


def test_a_checkpoint_without_the_last_norm_leaves_it(tmp_path):
    source, target = random_encoder(), CONFIG.build()
    state = {n: t for n, t in source.state_dict().items() if not n.startswith("norm.")}
    torch.save({"model": state}, tmp_path / "finetuned.pth")
    fill_weights(target, tmp_path / "finetuned.pth")
    assert torch.equal(target.norm.weight, torch.ones(32))
    assert torch.equal(target.blocks[1].norm2.weight, source.blocks[1].norm2.weight)


def test_half_precision_weights_become_float32(tmp_path):
    source = random_encoder(image_size=(16, 16)).bfloat16()
    target = CONFIG.build()
    fill_weights(target, write(tmp_path / "half.safetensors", source))
    assert {tensor.dtype for tensor in target.state_dict().values()} == {torch.float32}
    assert torch.equal(target.cls_token, source.cls_token.float())


@pytest.mark.parametrize("size", [(64, 64), (16, 48), (8, 8)])
def test_positions_are_interpolated_to_another_grid(tmp_path, size):
    source, target = random_encoder(), random_encoder(image_size=size)
    fill_weights(target, write(tmp_path / "square.safetensors", source))
    before, after = source.pos_embed[0], target.pos_embed[0]
    assert torch.equal(after[0], before[0])  # the class token's
    channels = before[1:].T.reshape(1, 32, 4, 4)
    expected = F.interpolate(channels, target.grid, mode="bicubic")
    torch.testing.assert_close(after[1:], expected[0].flatten(1).T)
    assert target(torch.rand(1, 1, *size)).isfinite().all()


def test_interpolated_positions_keep_rows_and_columns_apart(tmp_path):
    source, target = random_encoder(), random_encoder(image_size=(32, 64))
    rows = torch.arange(4.0).repeat_interleave(4)
    with torch.no_grad():
        source.pos_embed[0, 1:] = rows[:, None]
    fill_weights(target, write(tmp_path / "rows.safetensors", source))
    found = target.pos_embed[0, 1:, 0].view(4, 8)
    torch.testing.assert_close(found, torch.arange(4.0)[:, None].expand(4, 8))


def test_a_grid_of_as_many_patches_but_another_shape_is_interpolated_too(tmp_path):
    source, target = random_encoder(), random_encoder(image_size=(16, 64))  # 4 x 4 and 2 x 8
    fill_weights(target, write(tmp_path / "square.safetensors", source))
    expected = F.interpolate(source.pos_embed[0, 1:].T.reshape(1, 32, 4, 4), (2, 8), mode="bicubic")
    torch.testing.assert_close(target.pos_embed[0, 1:], expected[0].flatten(1).T)


def test_a_run_folder_tells_its_grid(tmp_path):
    config, source = replace(CONFIG, image_size=(16, 48)), random_encoder(image_size=(16, 48))
    save_encoder(tmp_path, source, config)
    target = random_encoder(image_size=(48, 16))
    fill_weights(target, tmp_path)
    expected = F.interpolate(source.pos_embed[0, 1:].T.reshape(1, 32, 2, 6), (6, 2), mode="bicubic")
    torch.testing.assert_close(target.pos_embed[0, 1:], expected[0].flatten(1).T)
    again = random_encoder(image_size=(48, 16))
    fill_weights(again, tmp_path / "encoder.safetensors")  # as the folder
    assert torch.equal(again.pos_embed, target.pos_embed)
    lone = (tmp_path / "encoder.safetensors").rename(tmp_path / "lone.safetensors")
    assert refusal(lone, target) == (
        " has positions of 12 patches, no square grid: give the run folder, whose config.json "
        "tells the grid."
    )


def test_an_rgb_projection_is_summed_for_gray_images(tmp_path):
    source, target = random_encoder(in_chans=3), CONFIG.build()
    fill_weights(target, write(tmp_path / "rgb.safetensors", source))
    gray = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(
        target(gray), source(gray.expand(-1, 3, -1, -1)), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"embed_dim": 64},
            r": .* is \(1, 1, 64\), the model's \(1, 1, 32\): choose the model.size",
        ),
        (
            {"patch_size": 16, "image_size": (64, 64)},
            r"patch_embed.proj.weight is \(32, 1, 16, 16\)",
        ),
        ({"in_chans": 2}, r"patch_embed.proj.weight is \(32, 2, 8, 8\), .* data.color"),
        ({"depth": 1}, r"has no weights blocks.1.norm1.weight \(12 missing\): .* model.depth"),
        ({"depth": 3}, r"has weights blocks.2.* \(12 too many\).* model.depth .* plain"),
    ],
)
def test_another_shape_is_refused(tmp_path, changes, message):
    path = write(tmp_path / "other.safetensors", random_encoder(**changes))
    target = random_encoder()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    assert re.search(message, refusal(path, target))
    assert all(torch.equal(before[name], t) for name, t in target.state_dict().items())


def test_missing_files(tmp_path):
    for name in ("none.pth", "none.safetensors"):
        assert refusal(tmp_path / name) == (
            " does not exist: give a run folder or a checkpoint file."
        )
    with pytest.raises(UserError, match=r"holds no config.json: give the folder of a finished"):
        load_encoder(tmp_path)
    save_encoder(tmp_path, CONFIG.build(), CONFIG)
    (tmp_path / "encoder.safetensors").unlink()
    with pytest.raises(UserError, match=r"encoder.safetensors does not exist"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("size", [0, 4, 100, 2000, -1])
def test_truncated_safetensors(tmp_path, size):
    path = write(tmp_path / "encoder.safetensors", random_encoder())
    path.write_bytes(path.read_bytes()[:size])
    assert refusal(path).startswith(" cannot be read as weights (")


@pytest.mark.parametrize("size", [0, 100, 20_000, -1])
def test_truncated_pth(tmp_path, size):
    torch.save(random_encoder().state_dict(), tmp_path / "a.pth")
    (tmp_path / "a.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:size])
    assert refusal(tmp_path / "a.pth").startswith(" cannot be read as weights (")


@pytest.mark.parametrize("content", [b"hello", b"\x80\x02}q\x00.", b"PK\x03\x04", b"\xff" * 50])
def test_files_that_are_no_checkpoints(tmp_path, content):
    for name in ("a.pth", "a.safetensors"):
        (tmp_path / name).write_bytes(content)
        assert refusal(tmp_path / name)


@pytest.mark.parametrize("content", [torch.zeros(3), [torch.zeros(3)], {}, {"model": 3}])
def test_checkpoints_without_a_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    assert refusal(tmp_path / "a.pth") == (" holds no state dict: save the names with the tensors.")


class Burglar:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["model", "args", "namespace"])
def test_code_in_a_checkpoint_is_not_executed(tmp_path, zipped, place):
    trace = tmp_path / "executed"
    content = {"model": official_mae(random_encoder()), "args": None}
    burglar = Burglar(trace)
    content |= {
        "model": {"model": {"cls_token": burglar}},
        "args": {"args": burglar},
        "namespace": {"args": Namespace(lr=burglar)},
    }[place]
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert refusal(tmp_path / "a.pth") == (
        " holds more than tensors and is not opened: save its state dict alone."
    )
    assert not trace.exists()
    # The file does hold what it is said to: opened without care, it runs.
    torch.load(tmp_path / "a.pth", weights_only=False)
    assert trace.exists()


def test_namespaces_are_not_allowed_for_good(tmp_path):
    torch.save({"model": official_mae(random_encoder()), "args": Namespace()}, tmp_path / "a.pth")
    fill_weights(CONFIG.build(), tmp_path / "a.pth")
    assert Namespace not in torch.serialization.get_safe_globals()


def gray_mae(depth=1, width=16):
    return MaskedAutoencoder(CONFIG.build(), 1, width, depth, 2)


def random_mae(in_chans=1, image_size=(32, 32)):
    """An autoencoder none of whose weights is what a new one's would be."""
    mae = MaskedAutoencoder(
        random_encoder(in_chans=in_chans, image_size=image_size), in_chans, 16, 1, 2
    )
    for parameter in mae.parameters():
        torch.nn.init.normal_(parameter)
    return mae


def mae_file(path, mae):
    state = {name.removeprefix("encoder."): t for name, t in mae.state_dict().items()}
    torch.save({"model": state}, path)
    return path


def test_the_decoder_of_an_official_checkpoint_redraws_as_there(tmp_path):
    source, target = random_mae(), gray_mae()
    path = mae_file(tmp_path / "full.pth", source)
    fill_weights(target.encoder, path)
    target.decoder_pos_embed.copy_(source.decoder_pos_embed)  # random here, fixed in a real one
    assert fill_decoder(target, path) is None
    images, noise = torch.rand(2, 1, 32, 32), torch.rand(2, 16)
    torch.testing.assert_close(
        target(images, noise=noise).patches, source(images, noise=noise).patches
    )


def test_the_decoders_positions_are_those_of_the_images_at_hand(tmp_path):
    source, target = random_mae(image_size=(64, 64)), gray_mae()
    before = target.decoder_pos_embed.clone()
    assert fill_decoder(target, mae_file(tmp_path / "full.pth", source)) is None
    assert torch.equal(target.decoder_pos_embed, before)
    assert torch.equal(target.mask_token, source.mask_token)


def test_an_rgb_prediction_is_averaged_for_gray_images(tmp_path):
    source, target = random_mae(in_chans=3), gray_mae()
    assert fill_decoder(target, mae_file(tmp_path / "rgb.pth", source)) is None
    tokens = torch.rand(2, 16, 16)
    rgb = source.decoder_pred(tokens).unflatten(-1, (64, 3))  # pixels before channels
    torch.testing.assert_close(target.decoder_pred(tokens), rgb.mean(dim=-1), atol=1e-5, rtol=1e-5)


def test_the_decoder_of_a_run_folder_is_found(tmp_path):
    source, target = random_mae(), gray_mae()
    save_encoder(tmp_path, source.encoder, CONFIG)
    assert fill_decoder(target, tmp_path) == f"{tmp_path} holds no decoder"
    rest = {f"mae.{n}": t for n, t in source.state_dict().items() if not n.startswith("encoder.")}
    write_tensors(tmp_path / "decoder.safetensors", {**rest, "objective.mean": torch.zeros(1)})
    with pytest.raises(UserError, match=r"settings\.yaml cannot be read"):
        fill_decoder(target, tmp_path)
    (tmp_path / "settings.yaml").write_text("model: {decoder_num_heads: 4}")
    reason = f"the decoder of {tmp_path} has 4 heads: see model.decoder_num_heads"
    assert fill_decoder(target, tmp_path) == reason
    assert not torch.equal(target.mask_token, source.mask_token)
    (tmp_path / "settings.yaml").write_text("model: {decoder_num_heads: 2}")
    assert fill_decoder(target, tmp_path) is None
    assert torch.equal(target.decoder_blocks[0].mlp.fc1.bias, source.decoder_blocks[0].mlp.fc1.bias)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (gray_mae(depth=2), r"another form \(decoder_blocks\.1\..*\): see model.decoder_depth"),
        (gray_mae(width=32), r"is \(.*\), and the model's \(.*\): see model.decoder_embed_dim"),
    ],
)
def test_a_decoder_of_another_shape_stays_out_and_it_is_said_why(tmp_path, target, reason):
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    said = fill_decoder(target, mae_file(tmp_path / "full.pth", random_mae()))
    assert re.search(reason, said)
    assert all(torch.equal(before[name], t) for name, t in target.state_dict().items())


@pytest.mark.parametrize("extra", [{}, {"mask_token": torch.zeros(1, 1, 32)}])  # as BEiT has it
def test_an_encoder_alone_has_no_decoder_to_give(tmp_path, extra):
    path = tmp_path / "vit.safetensors"
    write_tensors(path, {**random_encoder().state_dict(), **extra})
    assert fill_decoder(gray_mae(), path) == f"{path} holds no decoder"


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("library", EXPORTS)
def test_other_heads_than_those_of_an_export_are_refused(library, file, tmp_path):
    encoder = CONFIG.build()
    for name, content in EXPORTS[library](encoder, CONFIG).items():
        (tmp_path / name).write_bytes(content)
    weights = tmp_path / file
    if file.endswith(".bin"):
        torch.save(load_file(tmp_path / "model.safetensors"), weights)
    fill_weights(CONFIG.build(), weights)
    assert refusal(weights, replace(CONFIG, num_heads=2).build()) == (
        " was trained with 4 heads: set model.num_heads to it."
    )


@pytest.mark.parametrize(
    "stray",
    [
        "encoder.layer.0.layer_scale1.lambda1",  # transformers' DINOv2
        "embeddings.register_tokens",
        "embeddings.detection_tokens",  # YOLOS
        "reg_token",  # timm's names from here on
        "blocks.0.ls1.gamma",
        "norm_pre.weight",
        "dist_token",
    ],
)
def test_other_architectures_are_refused(stray, tmp_path):
    weights = random_encoder().state_dict()
    if "." in stray and not stray.startswith(("blocks", "norm")):
        weights = to_transformers(weights)
    path = tmp_path / "other.safetensors"
    behind = {"head.weight": torch.zeros(1), "mask_token": torch.zeros(1)}
    write_tensors(path, weights | behind | {stray: torch.ones(32)})
    assert f"has weights {stray} (1 too many)" in refusal(path)
    write_tensors(path, weights | behind)
    fill_weights(CONFIG.build(), path)


def test_another_activation_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    write_tensors(path, to_transformers(random_encoder().state_dict()))
    (tmp_path / "config.json").write_text('{"hidden_act": "quick_gelu"}')
    assert "with the activation quick_gelu, by the config.json beside it" in refusal(path)


def test_the_heads_of_a_decoder_are_told_beside_it(tmp_path):
    path = tmp_path / "model.safetensors"
    mae = gray_mae()
    state = {name.removeprefix("encoder."): t for name, t in mae.state_dict().items()}
    write_tensors(path, to_transformers(state))
    own = mae.decoder_blocks[0].attn.num_heads
    for heads, reason in ((own, None), (own + 1, f"has {own + 1} heads: see")):
        (tmp_path / "config.json").write_text(json.dumps({"decoder_num_attention_heads": heads}))
        said = fill_decoder(gray_mae(), path)
        assert said is None if reason is None else reason in str(said)


@pytest.mark.parametrize("library", EXPORTS)
def test_an_export_that_is_not_square_keeps_its_places(library, tmp_path):
    oblong = replace(CONFIG, image_size=(16, 64))  # 2 x 8 patches, as many as of a square
    encoder, target = oblong.build(), oblong.build()
    torch.nn.init.normal_(encoder.pos_embed)
    for name, content in EXPORTS[library](encoder, oblong).items():
        (tmp_path / name).write_bytes(content)
    fill_weights(target, tmp_path / "model.safetensors")
    assert torch.equal(target.pos_embed, encoder.pos_embed)
    (tmp_path / "config.json").write_text('{"image_size": 48, "patch_size": 8}')  # of another
    fill_weights(CONFIG.build(), tmp_path / "model.safetensors")


def test_weights_are_found_where_others_wrap_them(tmp_path):
    encoder, target = random_encoder(), CONFIG.build()
    wrapped = {f"module.{name}": tensor for name, tensor in encoder.state_dict().items()}
    torch.save({"state_dict": wrapped, "epoch": 3}, tmp_path / "last.ckpt")
    fill_weights(target, tmp_path / "last.ckpt")
    assert torch.equal(target.cls_token, encoder.cls_token)
    torch.save({"teacher": wrapped, "scale": torch.ones(1)}, tmp_path / "dino.pth")
    assert refusal(tmp_path / "dino.pth") == (
        " has no weight of a ViT's names (but scale): save the state dict of the ViT alone."
    )


def test_other_heads_than_those_of_a_run_are_refused(tmp_path):
    save_encoder(tmp_path, CONFIG.build(), CONFIG)
    other = replace(CONFIG, num_heads=2).build()
    assert refusal(tmp_path, other) == (" was trained with 4 heads: set model.num_heads to it.")
