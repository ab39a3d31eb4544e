"""Shared by all tests: a fixed seed, so that a test says the same thing twice, and a phantom."""

from pathlib import Path

import pytest
import torch

from glcm_mae.data import make_phantom, write_phantom

pytest.register_assert_rewrite("tests.commands")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of 36 simulated images: 3 classes, 6 patients each."""
    return write_phantom(make_phantom(6, 2, size=32), tmp_path_factory.mktemp("phantom"))
