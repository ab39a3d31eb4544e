"""A network trained with labels alone learns from its training part, and from nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from glcm_mae.data import Split, make_phantom, read_manifest
from glcm_mae.errors import UserError
from glcm_mae.models.residual import ResidualNetwork
from glcm_mae.settings import BaselineSettings, HardwareSettings, PredictSettings
from glcm_mae.training import convolutional
from glcm_mae.training.baseline import baseline
from glcm_mae.training.classifier_file import CLASSIFIER
from glcm_mae.training.convolutional import (
    networks_out_of_fold,
    read_network,
    train_network,
)
from glcm_mae.training.logits import probabilities
from glcm_mae.training.predict import predict

from . import small

CPU = torch.device("cpu")


@pytest.fixture
def pixels() -> torch.Tensor:
    """24 images whose two classes differ in brightness."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(24, 1, 32, 32, generator=generator)
    return noise / 2 + (torch.arange(24) % 2 / 2).view(-1, 1, 1, 1)


LABELS = torch.arange(24) % 2


def _split(n_train: int = 12, n_val: int = 6) -> Split:
    train, val, test = np.split(np.arange(24), [n_train, n_train + n_val])
    return Split(train=train, val=val, test=test)


def _same(a: ResidualNetwork, b: ResidualNetwork) -> bool:
    return all(
        torch.equal(one, other)
        for one, other in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_it_learns(pixels: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutional, "_EPOCHS", 20)
    part = _split()
    network = train_network(pixels, LABELS, part, 2, 0, CPU)
    said = probabilities(network, pixels, part.test, CPU)
    np.testing.assert_allclose(said.sum(axis=1), 1)
    np.testing.assert_array_equal(said.argmax(axis=1), LABELS[part.test])


@pytest.mark.parametrize("n_val", [0, 6])
def test_it_learns_nothing_from_its_test_part(pixels: torch.Tensor, n_val: int) -> None:
    part = _split(n_val=n_val)
    before = train_network(pixels, LABELS, part, 2, 0, CPU)
    spoilt, wrong = pixels.clone(), LABELS.clone()
    spoilt[part.test], wrong[part.test] = 0.3, 1 - LABELS[part.test]
    assert _same(before, train_network(spoilt, wrong, part, 2, 0, CPU))
    wrong[:3] = 1 - LABELS[:3]
    assert not _same(before, train_network(pixels, wrong, part, 2, 0, CPU))
    assert not _same(before, train_network(pixels, LABELS, part, 2, 1, CPU))


def test_the_validation_part_chooses_the_epoch(
    pixels: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[float] = []
    measure = convolutional._loss

    def noted(*what: Any) -> float:
        losses.append(measure(*what))
        return losses[-1]

    monkeypatch.setattr(convolutional, "_EPOCHS", 8)
    monkeypatch.setattr(convolutional, "_loss", noted)
    part = _split()
    wrong = LABELS.clone()
    wrong[part.val] = 1 - wrong[part.val]  # the longer it learns, the worse it does there
    network = train_network(pixels, wrong, part, 2, 0, CPU)
    assert min(losses) < losses[-1]
    assert measure(network, pixels, wrong, part.val, CPU) == pytest.approx(min(losses))


def test_without_a_validation_part_the_last_epoch_counts(
    pixels: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one, the weights of the last epoch are kept only if they are the best."""
    part = _split(n_val=0)
    few = train_network(pixels, LABELS, part, 2, 0, CPU)
    assert int(few.stem[0].num_batches_tracked) == 3  # epochs of a batch each
    monkeypatch.setattr(convolutional, "_EPOCHS", 5)
    assert int(train_network(pixels, LABELS, part, 2, 0, CPU).stem[0].num_batches_tracked) == 5


def test_weights_that_are_no_numbers_are_told(pixels: torch.Tensor) -> None:
    pixels[:6] = float("nan")
    with pytest.raises(UserError, match="are no longer numbers"):
        train_network(pixels, LABELS, _split(), 2, 0, CPU)


@pytest.mark.parametrize("side", [4, 8, 20])
@pytest.mark.parametrize("n_train", [2, 3, 17])
def test_small_images_and_few_of_them(side: int, n_train: int) -> None:
    pixels = torch.rand(24, 3, side, side + 1)
    part = _split(n_train=n_train, n_val=2)
    network = train_network(pixels, LABELS, part, 2, 0, CPU)
    assert np.isfinite(probabilities(network, pixels, part.test, CPU)).all()


def test_folds_in_turn_leave_one_for_other_images(manifest: Path) -> None:
    found = read_manifest(manifest)
    pixels = torch.from_numpy(make_phantom(6, 2, size=16).images).float().unsqueeze(1)
    pixels = pixels / pixels.max()
    sides = np.array_split(np.arange(36), 3)
    empty = np.array([], dtype=np.int64)
    parts = [
        Split(train=np.concatenate([s for m, s in enumerate(sides) if m != n]), val=empty, test=own)
        for n, own in enumerate(sides)
    ]
    tables, network = networks_out_of_fold(pixels, found, parts, 0, CPU)
    assert tables.validation is None
    assert tables.test.n_images == 36
    labels = torch.from_numpy(found.labels)
    on_all = Split(train=np.arange(36), val=empty, test=empty)
    assert _same(network, train_network(pixels, labels, on_all, 3, 0, CPU))


def _run(manifest: Path, out: Path, **changes: object) -> Path:
    data = small.data(manifest, **changes)
    return baseline(BaselineSettings(data, str(out), "convolutional"))


def test_a_network_of_another_shape_or_a_broken_file_is_refused(
    manifest: Path, tmp_path: Path
) -> None:
    run = _run(manifest, tmp_path / "run", fold=0)
    weights = read_network(run, 1, 3).parameters()
    assert small.facts(run)["weights"] == sum(weight.numel() for weight in weights)
    for channels, classes in ((3, 3), (1, 2)):
        with pytest.raises(UserError, match="is not a whole classifier: copy the run anew"):
            read_network(run, channels, classes)
    file = run / CLASSIFIER
    file.write_bytes(file.read_bytes()[:-9])
    ask = PredictSettings(
        run=str(run), images=str(manifest), out=str(tmp_path / "o"), hardware=small.CPU
    )
    with pytest.raises(UserError, match="is not a whole classifier: copy the run anew"):
        predict(ask)


def test_hardware_is_not_ignored(manifest: Path, tmp_path: Path) -> None:
    data, out = small.data(manifest, fold=0), str(tmp_path / "run")
    with pytest.raises(UserError, match="hardware is for convolutional alone, not for pixels"):
        baseline(BaselineSettings(data, out, "pixels", hardware=small.CPU))
    two = HardwareSettings("cpu", devices=2)
    with pytest.raises(UserError, match=r"hardware\.devices is 2: set it to 1"):
        baseline(BaselineSettings(data, out, "convolutional", hardware=two))


def test_images_from_a_cache_give_the_same(manifest: Path, tmp_path: Path) -> None:
    plain = _run(manifest, tmp_path / "plain", fold=0)
    cached = _run(manifest, tmp_path / "cached", fold=0, cache=str(tmp_path / "cache"))
    for name in ("predictions.csv", "validation.csv"):
        assert (plain / name).read_bytes() == (cached / name).read_bytes()
