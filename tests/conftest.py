"""Shared by all tests: a fixed seed and few threads, so that a test says the same thing twice."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
