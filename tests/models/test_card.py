"""What the card of an exported encoder says of its input is what glcm_mae does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glcm_mae.data import Record, load_images
from glcm_mae.models.card import model_card, reading
from glcm_mae.models.config import EncoderConfig

from ..data.readers.samples import dicom


@pytest.mark.parametrize("resize", ["none", "crop", "pad", "stretch", "center"])
@pytest.mark.parametrize("size", [(20, 31), (37, 24), (16, 24)])
def test_the_lines_of_the_card_read_an_image_as_in_training(resize, size, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    wanted = size if resize == "none" else (16, 24)
    config = EncoderConfig(wanted, 8, 1, 64, 2, 4, (0.5,), (0.25,), resize, "gray", None)
    names = {"image": torch.from_numpy(pixels)[None, None] / 255}
    exec(reading(config), names)
    record = Record(tmp_path / "a.png", None, "", None)
    loaded = load_images([record], wanted, "gray", resize).pixels
    torch.testing.assert_close(names["image"], (loaded - 0.5) / 0.25)
    card = model_card("timm", config, {}, own_weights=True)
    assert all(f"    {line}\n" in card for line in reading(config).splitlines())


@pytest.mark.parametrize("size", [(20, 31), (64, 9)])
def test_the_lines_bring_an_image_to_the_scale_of_training(size, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    (tmp_path / "a.dcm").write_bytes(dicom(pixels, PixelSpacing=[0.8, 0.6]))
    shape = (16, 24), 8, 1, 64, 2, 4
    config = EncoderConfig(*shape, (0.5,), (0.25,), "center", "gray", None, spacing=0.7)
    lines = reading(config).replace("pixel = (1.0, 1.0)", "pixel = (0.8, 0.6)")
    names = {"image": torch.from_numpy(pixels)[None, None] / 255}
    exec(lines, names)
    record = Record(tmp_path / "a.dcm", None, "", None)
    loaded = load_images([record], (16, 24), "gray", "center", spacing=0.7).pixels
    torch.testing.assert_close(names["image"], (loaded - 0.5) / 0.25)
    assert "- scale: 0.7 mm a pixel\n" in model_card("timm", config, {}, own_weights=True)
