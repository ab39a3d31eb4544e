"""What a fine-tuned run goes by: as its own answers say, and mistakes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from glcm_mae.cli import main
from glcm_mae.data import read_manifest
from glcm_mae.errors import UserError
from glcm_mae.predictions import read_predictions
from glcm_mae.settings import ExplainSettings, HardwareSettings
from glcm_mae.training.explain import SHARES, explain
from glcm_mae.training.finetune import finetune

from ..commands import complaint
from . import small


@pytest.fixture
def settings(finetuned: Path, manifest: Path, tmp_path: Path) -> ExplainSettings:
    out = str(tmp_path / "out")
    return ExplainSettings(
        run=str(finetuned), images=str(manifest), out=out, n_images=10, hardware=small.CPU
    )


def test_the_runs_own_answers_are_explained(settings: ExplainSettings, finetuned: Path) -> None:
    found = explain(replace(settings, n_images=100))  # more than there are
    table = read_predictions(finetuned / "predictions.csv")
    names = [record.name for record in found.manifest.records]
    rows = [names.index(path) for path in table.paths]
    answers = torch.from_numpy(table.probabilities)
    torch.testing.assert_close(found.probabilities[rows], answers, atol=1e-6, rtol=0)
    assert found.maps.shape == (36, 2, 2)
    own = found.probabilities.gather(1, found.predicted[:, None])[:, 0]
    odds = (own / (1 - own)).log()
    torch.testing.assert_close(found.by_map[:, 0], odds, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.at_random[:, 0], odds, atol=1e-5, rtol=0)
    # What is left out last is what was marked least: a map that is turned around would lose.
    assert float(found.gains.mean()) > 0


def test_images_are_spread_over_the_set(settings: ExplainSettings, manifest: Path) -> None:
    found = explain(settings)
    assert [record.label for record in found.manifest.records] == [
        read_manifest(manifest).records[n].label for n in (0, 3, 7, 11, 15, 19, 23, 27, 31, 35)
    ]
    assert found.by_map.shape == found.at_random.shape == (10, len(SHARES))


def test_the_seed_draws_the_random_orders_alone(settings: ExplainSettings) -> None:
    first, second, other = (explain(replace(settings, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(first.at_random, second.at_random)
    assert not torch.equal(first.at_random, other.at_random)
    assert torch.equal(first.by_map, other.by_map)


def test_the_command_writes_a_picture_and_a_table(
    settings: ExplainSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explain", "--run", settings.run, "--images", settings.images, "--out", settings.out]
    assert main([*words, "--hardware.accelerator", "cpu"]) == 0
    told = capsys.readouterr()
    assert "(mean over 8 images)" in told.out
    assert "were used in the training of" in told.err
    out = Path(settings.out)
    assert {file.name for file in out.iterdir()} == {
        *("settings.yaml", "explanations.csv", "explanations.png", "finished.json")
    }
    facts = small.facts(out)
    assert (facts["images"], facts["skipped"]) == (8, 0)
    assert 0 < facts["images_seen_in_training"] < 8
    assert set(facts["faithfulness"]) == {"value", "low", "high"}
    assert "holds a run already" in complaint(capsys, *words)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"window": 2}, "window is 2: set it to an odd number of patches"),
        ({"window": 3}, "window is 3, and an image has 2 x 2 patches: set it lower"),
        ({"window": -1}, "window is -1: set it to an odd"),
        ({"n_images": 0}, "n_images is 0: set it to 1 or more"),
        ({"seed": -1}, "seed is -1: set it from 0 to"),
    ],
)
def test_mistakes(settings: ExplainSettings, changes: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        explain(replace(settings, **changes))


def test_a_pretraining_has_no_answers(
    settings: ExplainSettings, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("explain", "--images", settings.images, "--out", settings.out, "--run", encoder)
    assert f"{encoder} is no finished fine-tuning" in complaint(capsys, *words)
    assert not Path(settings.out).exists()


def test_nothing_is_drawn_among_the_images(
    settings: ExplainSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    (images / "a").mkdir(parents=True)
    Image.new("L", (16, 16), 9).save(images / "a" / "explanations.png")
    words = ("explain", "--run", settings.run, "--images")
    for out in (images, images / "explained"):
        said = complaint(capsys, *words, images, "--out", out)
        assert f"out is {out}, in the folder of images {images}: choose another" in said
    table = tmp_path / "table.csv"
    table.write_text("path\nimages/a/explanations.png\n")
    said = complaint(capsys, *words, table, "--out", images / "a")
    assert "explanations.png, which is read" in said
    assert [file.name for file in (images / "a").iterdir()] == ["explanations.png"]


def test_skipped_images_are_counted(settings: ExplainSettings, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        Image.new("L", (16, 16), ord(name[0])).save(images / name)
    (images / "b.png").write_bytes(b"torn")
    found = explain(replace(settings, images=str(images), on_error="skip"))
    assert (len(found.maps), found.skipped, found.seen) == (2, 1, 0)


def test_half_precision_is_used(settings: ExplainSettings) -> None:
    half = HardwareSettings(accelerator="cpu", precision="bf16")
    found, rough = explain(settings), explain(replace(settings, hardware=half))
    torch.testing.assert_close(found.probabilities, rough.probabilities, atol=0.02, rtol=0)
    assert not torch.allclose(found.probabilities, rough.probabilities, atol=1e-7)


def test_a_single_patch_has_no_parts(
    settings: ExplainSettings, manifest: Path, tmp_path: Path
) -> None:
    whole = small.model(patch_size=16)
    run = finetune(small.finetuning(small.data(manifest), tmp_path / "whole", model=whole))
    with pytest.raises(UserError, match=r"a single patch.* smaller model\.patch_size"):
        explain(replace(settings, run=str(run)))
