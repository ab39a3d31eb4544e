from pathlib import Path

import pytest

from glcm_mae.data import make_phantom, write_phantom

RECIPE = """
pretrain:
  data: &data {image_size: 32}
  model: &model {patch_size: 8, embed_dim: 16, depth: 1, num_heads: 2, decoder_embed_dim: 16,
                 decoder_depth: 1, decoder_num_heads: 2}
  augment: {crop_scale: [1.0, 1.0]}
  optimizer: {epochs: 2, batch_size: 16}
  hardware: &hardware {accelerator: cpu}
probe: {data: *data, model: *model, hardware: *hardware}
finetune:
  data: *data
  model: *model
  hardware: *hardware
  augment: {crop_scale: [1.0, 1.0]}
  optimizer: {epochs: 2, batch_size: 16}
"""


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 36 images: 18 patients of three classes, two images each."""
    return write_phantom(make_phantom(6, 2, 32), tmp_path_factory.mktemp("phantom"))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path
