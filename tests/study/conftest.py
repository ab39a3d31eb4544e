from pathlib import Path

import pytest

from glcm_mae.cli import main
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

ARMS = ("random", "mse")
STAGES = {"linear": "probe/linear", "knn": "probe/knn", "finetune": "finetune"}


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 36 images: 18 patients of three classes, two images each."""
    return write_phantom(make_phantom(6, 2, 32), tmp_path_factory.mktemp("phantom"))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images of 12 other patients, named as those of the study."""
    phantom = make_phantom(4, 2, 32, seed=7)
    return write_phantom(phantom, tmp_path_factory.mktemp("others"))


@pytest.fixture(scope="session")
def words(images: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("study")
    (folder / "recipe.yaml").write_text(RECIPE)
    shared = ["--config", str(folder / "recipe.yaml"), "--folds", "3", "--n_resamples", "50"]
    of_arms = [
        "--arms",
        ",".join(ARMS),
        "--baselines",
        "pixels,shortcuts,convolutional",
        "--seeds",
        "2",
    ]
    of_arms += ["--positive", "sparse"]
    ways = ["--by", ",".join(STAGES), "--out", str(folder / "out")]
    return ["compare", str(images), *shared, *of_arms, *ways]


@pytest.fixture(scope="session")
def done(words: list[str], others: Path) -> Path:
    """A study of two arms and a baseline, three folds and two seeds, and of another source."""
    assert main([*words, "--external", str(others)]) == 0
    return Path(words[-1])
