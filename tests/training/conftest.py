"""A phantom, and one finished pre-training on its first fold, shared by the whole folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scipy.linalg  # noqa: F401 (its BLAS must be there before its threads are counted)
import torch
from threadpoolctl import threadpool_limits

from glcm_mae.data import make_phantom, write_phantom
from glcm_mae.training import convolutional, inputs
from glcm_mae.training.finetune import finetune
from glcm_mae.training.pretrain import pretrain

from . import small


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The order of a sum, and with it its last digit, depends on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):  # those of BLAS, which else wait for each other by turning round
        yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _few_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a convolutional network, which is not the point of most tests here."""
    monkeypatch.setattr(convolutional, "_EPOCHS", 3)


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 images of 18 patients in 3 classes."""
    return write_phantom(make_phantom(6, 2, size=16), tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="session")
def encoder(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-training that has left out the validation and test part of fold 0."""
    out = tmp_path_factory.mktemp("encoder") / "run"
    return pretrain(small.pretraining(small.data(manifest, fold=0), out))


@pytest.fixture(scope="session")
def finetuned(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuning from random weights."""
    out = tmp_path_factory.mktemp("finetuned") / "run"
    return finetune(small.finetuning(small.data(manifest), out, pooling="moments"))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each reading took."""
    counts: list[int] = []
    load = inputs.load_images

    def counted(records: Any, *how: Any, **more: Any) -> Any:
        counts.append(len(records))
        return load(records, *how, **more)

    monkeypatch.setattr(inputs, "load_images", counted)
    return counts
