from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from glcm_mae.errors import UserError
from glcm_mae.models import EncoderConfig, read_config
from glcm_mae.settings import ModelSettings
from glcm_mae.training.encoders import (
    build_encoder,
    check_encoder,
    check_fits,
    encoder_config,
    encoder_or_random,
    moments,
)
from glcm_mae.training.inputs import read_images

from . import small

_CONFIG = EncoderConfig(
    (16, 16), 8, 1, 16, 2, 2, (0.5,), (0.2,), "crop", "gray", window=(0.0, 200.0)
)


def test_moments_are_those_of_all_pixels() -> None:
    pixels = torch.rand(150, 3, 5, 7) * torch.tensor([1.0, 0.1, 0.0]).view(3, 1, 1)
    rows = np.arange(10, 150)
    mean, deviation = moments(pixels, rows)
    exact = pixels[10:].double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(mean.double(), exact.mean(dim=1), rtol=1e-6, atol=0)
    torch.testing.assert_close(
        deviation[:2].double(), exact.std(dim=1, correction=0)[:2], rtol=1e-5, atol=0
    )
    assert float(deviation[2]) == pytest.approx(1e-3)  # of a constant channel: no division by 0


def test_the_training_part_is_not_copied() -> None:
    """It was, for its mean and deviation: most images were then in memory twice."""
    watched: Any = small.Watched(torch.rand(200, 1, 16, 16))
    images = replace(small.images(), pixels=watched)
    train = np.arange(20, 180)
    _, config = encoder_or_random(None, small.model(), small.data(Path("m.csv")), images, train)
    assert watched.most == 64
    assert config.mean == pytest.approx((watched.pixels[20:180].mean().item(),), rel=1e-6)


def test_named_sizes_give_way_to_numbers() -> None:
    data = small.data(Path("m.csv"), image_size=(16, 32), window=(0.0, 9.0), resize="pad")
    named = small.model(size="vit-s", embed_dim=None, depth=None, num_heads=None)
    config = encoder_config(named, data, 3, torch.zeros(3), torch.ones(3))
    assert (config.embed_dim, config.depth, config.num_heads) == (384, 12, 6)
    assert (config.image_size, config.in_chans) == ((16, 32), 3)
    assert (config.resize, config.color, config.window) == ("pad", "auto", (0.0, 9.0))
    own = encoder_config(small.model(size="vit-s"), data, 3, torch.zeros(3), torch.ones(3))
    assert (own.embed_dim, own.depth, own.num_heads) == (16, 2, 2)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"image_size": 32}, r"data\.image_size \(16, 16\), not \(32, 32\)"),
        ({"image_size": (16, 24)}, r"data\.image_size"),
        ({"window": None}, r"data\.window \(0\.0, 200\.0\), not None"),
        ({"window": (0.0, 255.0)}, r"data\.window"),
        ({"resize": "stretch"}, r"data\.resize crop, not stretch"),
        ({"resize": "pad"}, r"data\.resize"),
        ({"resize": "none", "spacing": 0.7}, r"data\.spacing None, not 0\.7"),
    ],
)
def test_images_read_in_another_way_are_refused(changes: dict[str, Any], named: str) -> None:
    alike: dict[str, Any] = {"window": (0.0, 200.0), "resize": "crop"}
    check_fits(_CONFIG, small.data(Path("m.csv"), **alike), small.images(), "runs/a")
    with pytest.raises(UserError, match=f"^runs/a was pre-trained with {named}"):
        check_fits(
            _CONFIG, small.data(Path("m.csv"), **(alike | changes)), small.images(), "runs/a"
        )


@pytest.mark.parametrize(("channels", "color"), [(1, "gray"), (3, "rgb")])
def test_images_of_other_channels_are_refused(channels: int, color: str) -> None:
    config = replace(_CONFIG, in_chans=channels, window=None)
    data = small.data(Path("m.csv"), resize="crop")
    check_fits(config, data, small.images(channels), "runs/a")
    with pytest.raises(UserError, match=rf"{channels} channel.* set data\.color to {color}"):
        check_fits(config, data, small.images(4 - channels), "runs/a")


def test_ways_that_leave_these_images_alike_are_the_same() -> None:
    # resize "none" takes only images that have the size already, and crop leaves those alone; a
    # window may come from YAML as a list.
    data = small.data(Path("m.csv"), window=[0.0, 200.0], resize="none", color="auto")
    check_fits(_CONFIG, data, small.images(), "runs/a")


def test_an_encoder_is_checked_before_images_are_read(encoder: Path) -> None:
    data = small.data(Path("there/is/none.csv"))
    check_encoder(str(encoder), small.model(), data)
    check_encoder(None, small.model(depth=12), data)
    with pytest.raises(UserError, match="image_size"):
        check_encoder(str(encoder), small.model(), replace(data, image_size=32))
    with pytest.raises(UserError, match=r"model\.patch_size 5 does not divide"):
        check_encoder(None, small.model(patch_size=5), data)
    with pytest.raises(UserError, match="none does not exist: give a run folder or a checkpoint"):
        check_encoder("none", small.model(), data)
    checkpoint = str(encoder / "encoder.safetensors")
    check_encoder(checkpoint, small.model(), replace(data, image_size=32))
    with pytest.raises(UserError, match=r"model\.patch_size 5 does not divide"):
        check_encoder(checkpoint, small.model(patch_size=5), data)


def test_a_random_encoder_is_normalised_by_the_training_part_alone() -> None:
    images = small.images()
    images.pixels[2:] += 100.0  # the test part
    data = small.data(Path("m.csv"))
    _, config = encoder_or_random(None, small.model(), data, images, np.array([0, 1]))
    assert config.mean[0] == pytest.approx(float(images.pixels[:2].mean()), rel=1e-5)


def test_a_pretrained_encoder_brings_its_own_shape_and_normalisation(
    encoder: Path, manifest: Path
) -> None:
    images = read_images(small.data(manifest), quiet=True)
    other = small.model(embed_dim=32)
    loaded, config = encoder_or_random(
        str(encoder), other, small.data(manifest), images, np.array([0])
    )
    assert loaded.embed_dim == config.embed_dim == 16
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, small.weights(encoder)[f"encoder.{name}"])


def test_a_checkpoint_brings_its_weights_and_the_normalisation_beside_it(
    encoder: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Its shape is in the settings.
    images = read_images(small.data(manifest), quiet=True)
    how = small.model(), small.data(manifest), images, np.array([0, 1])
    loaded, config = encoder_or_random(str(encoder / "encoder.safetensors"), *how)
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, small.weights(encoder)[f"encoder.{name}"])
    assert (config.mean, config.std) == (read_config(encoder).mean, read_config(encoder).std)
    assert "as beside the weights" in capsys.readouterr().err
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((encoder / "encoder.safetensors").read_bytes())
    _, as_random = encoder_or_random(None, *how)
    assert encoder_or_random(str(alone), *how)[1] == as_random
    assert "of the training images, for none is known" in capsys.readouterr().err
    other = small.model(depth=3)
    with pytest.raises(UserError, match=r"has no weights blocks\.2.*model\.depth"):
        encoder_or_random(str(alone), other, *how[1:])


def test_a_file_of_a_run_tells_of_images_that_are_read_otherwise(
    encoder: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(encoder / "encoder.safetensors")
    check_encoder(checkpoint, small.model(), small.data(manifest))
    assert not capsys.readouterr().err
    check_encoder(checkpoint, small.model(), replace(small.data(manifest), window=(0.0, 128.0)))
    said = capsys.readouterr().err
    assert said.startswith(f"{checkpoint} was pre-trained with data.window None, not (0.0, 128.0):")


@pytest.mark.parametrize("name", ["embed_dim", "depth", "num_heads"])
def test_zero_is_a_number_of_its_own_and_refused(name: str) -> None:
    config = encoder_config(
        ModelSettings(**{name: 0}), small.data(Path("m.csv")), 1, torch.zeros(1), torch.ones(1)
    )
    assert getattr(config, name) == 0
    with pytest.raises(UserError, match=rf"model\.{name}"):
        build_encoder(config)
