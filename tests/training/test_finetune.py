import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from glcm_mae.data import holdout, read_manifest
from glcm_mae.errors import UserError
from glcm_mae.models import load_encoder
from glcm_mae.predictions import read_predictions
from glcm_mae.settings import AugmentSettings, FinetuneSettings, HardwareSettings
from glcm_mae.training import finetune as module
from glcm_mae.training.finetune import finetune
from glcm_mae.training.inputs import read_images
from glcm_mae.training.run import Run
from glcm_mae.training.seen import refuse_seen

from . import small


@pytest.fixture
def settings(manifest: Path, tmp_path: Path) -> FinetuneSettings:
    """Random weights, fold 0: 12 images for each of training, validation and test."""
    return small.finetuning(small.data(manifest), tmp_path / "run")


def _fold(manifest: Path, fold: int = 0) -> Any:
    return holdout(read_manifest(manifest), folds=3, fold=fold, seed=0)


def _given(manifest: Path, out: Path, move: str = "") -> Path:
    """Write the split of fold 0 down; the labels of one side can move on by a class."""
    split = _fold(manifest)
    side = {int(i): n for n in ("train", "val", "test") for i in getattr(split, n)}
    moved = {"dense": "sparse", "sparse": "streaked", "streaked": "dense"}
    rows = ["path,label,patient,split"]
    for i, record in enumerate(read_manifest(manifest).records):
        label = moved[str(record.label)] if side[i] == move else record.label
        rows.append(f"{record.path},{label},{record.patient},{side[i]}")
    out.write_text("\n".join(rows))
    return out


def test_a_run_leaves_predictions_and_weights(settings: FinetuneSettings, manifest: Path) -> None:
    run = finetune(settings)
    test = _fold(manifest).test
    table = read_predictions(run / "predictions.csv")
    records = read_manifest(manifest).records
    assert [Path(path).name for path in table.paths] == [records[i].path.name for i in test]
    assert table.labels.tolist() == read_manifest(manifest).labels[test].tolist()
    assert table.folds is not None
    assert set(table.folds.tolist()) == {0}
    facts = small.facts(run)
    assert (facts["train"], facts["val"], facts["test"]) == (12, 12, 12)
    assert facts["test_images_seen_in_pretraining"] == 0
    assert not (run / "checkpoint.pt").exists()
    encoder, config = load_encoder(run)
    assert encoder.embed_dim == config.embed_dim == 16


def test_a_pretrained_encoder_is_where_training_starts(
    settings: FinetuneSettings, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_train", lambda *_: None)
    run = finetune(replace(settings, encoder=str(encoder)))
    kept, before = small.weights(run), small.weights(encoder)
    assert all(torch.equal(kept[n], before[n]) for n in kept if n.startswith("encoder."))


def test_a_checkpoint_file_may_be_where_training_starts(
    settings: FinetuneSettings,
    encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "_train", lambda *_: None)
    imagenet = tmp_path / "imagenet.safetensors"
    imagenet.write_bytes((encoder / "encoder.safetensors").read_bytes())
    run = finetune(replace(settings, encoder=str(imagenet)))
    assert small.facts(run)["test_images_seen_in_pretraining"] is None
    kept, before = small.weights(run), small.weights(encoder)
    assert all(torch.equal(kept[n], before[n]) for n in kept if n.startswith("encoder."))
    assert "CC BY-NC 4.0" in capsys.readouterr().err


def test_the_predictions_are_those_of_the_written_weights(settings: FinetuneSettings) -> None:
    run = finetune(settings)
    encoder, config = load_encoder(run)
    classifier = module.Classifier(encoder, 3)
    state = {n: t for n, t in small.weights(run).items() if n.startswith("head.")}
    classifier.load_state_dict({n.removeprefix("head."): t for n, t in state.items()}, strict=False)
    images = read_images(settings.data, quiet=True)
    test = holdout(images.manifest, 3, 0, 0).test
    model = module.NormalizedClassifier(classifier, config)
    chances = module.probabilities(model, images.pixels, test, torch.device("cpu"))
    np.testing.assert_allclose(
        chances, read_predictions(run / "predictions.csv").probabilities, atol=1e-5
    )


def test_held_out_images_are_not_copied() -> None:
    """They were, those of the validation part in every epoch."""
    watched: Any = small.Watched(torch.rand(200, 1, 16, 16))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 3))
    rows = np.arange(0, 200, 2)
    chances = module.probabilities(model, watched, rows, torch.device("cpu"))
    assert chances.shape == (100, 3)
    assert watched.most == 64


def test_a_run_killed_between_epochs_resumes_to_the_same_bits(
    settings: FinetuneSettings, manifest: Path, tmp_path: Path
) -> None:
    script = tmp_path / "killed.py"
    script.write_text(
        small.KILLED.format(stage="finetune", settings="finetuning", count="epoch", last=3)
    )
    killed = small.python(script, manifest, settings.out)
    assert killed.returncode == -9, killed.stderr
    run = Path(settings.out)
    assert torch.load(run / "checkpoint.pt", weights_only=True)["epoch"] == 2
    assert len(small.log(run)) == 3  # the last line is of an epoch that the checkpoint lacks
    finetune(replace(settings, resume=True))
    whole = finetune(replace(settings, out=str(tmp_path / "whole")))
    assert small.same(small.weights(run), small.weights(whole))
    assert small.log(run) == small.log(whole)
    assert (run / "predictions.csv").read_text() == (whole / "predictions.csv").read_text()


def _validation(losses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter(losses)
    monkeypatch.setattr(module, "_validation_loss", lambda *_: next(left))


def test_training_stops_when_validation_stops_improving(
    settings: FinetuneSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ten = small.optimizer(epochs=10)
    _validation([5.0, 3.0, 4.0, 3.0, 9.0, 1.0], monkeypatch)
    run = finetune(replace(settings, optimizer=ten, patience=3))
    assert [line["epoch"] for line in small.log(run)] == [1, 2, 3, 4, 5]
    # The weights kept are those after the second epoch.
    _validation([5.0, 3.0, 9.0], monkeypatch)
    two = finetune(replace(settings, optimizer=ten, patience=1, out=str(tmp_path / "two")))
    assert len(small.log(two)) == 3
    assert small.same(small.weights(run), small.weights(two))
    _validation([5.0, 4.0, 3.0, 9.0], monkeypatch)
    three = finetune(replace(settings, optimizer=ten, patience=1, out=str(tmp_path / "three")))
    assert not small.same(small.weights(run), small.weights(three))


def test_patience_outlives_a_kill(
    settings: FinetuneSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Run.save

    def interrupted(run: Run, state: dict[str, Any]) -> None:
        save(run, state)
        if state["epoch"] == 3:
            raise KeyboardInterrupt

    ten = replace(settings, optimizer=small.optimizer(epochs=10), patience=3)
    _validation([3.0, 4.0, 4.0, 4.0, 1.0], monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            finetune(ten)
    run = finetune(replace(ten, resume=True))
    assert [line["epoch"] for line in small.log(run)] == [1, 2, 3, 4]


@pytest.mark.parametrize("side", ["train", "val", "test"])
def test_a_run_does_not_go_on_with_other_labels(
    settings: FinetuneSettings, manifest: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    save = Run.save

    def interrupted(run: Run, state: dict[str, Any]) -> None:
        save(run, state)
        raise KeyboardInterrupt

    out = Path(settings.out).parent
    true, moved = _given(manifest, out / "true.csv"), _given(manifest, out / "moved.csv", side)
    ours = replace(settings, data=small.data(true))
    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            finetune(ours)
    with pytest.raises(UserError, match="was begun with other labels, sides or normalisation"):
        finetune(replace(ours, data=small.data(moved), resume=True))
    finetune(replace(ours, resume=True))


def _with_moved_labels(settings: FinetuneSettings, manifest: Path, side: str) -> list[Path]:
    """Run with the true labels, and with other ones on one side."""
    out = Path(settings.out).parent
    sources = _given(manifest, out / "true.csv"), _given(manifest, out / "moved.csv", side)
    return [
        finetune(replace(settings, data=small.data(source), out=str(out / source.stem)))
        for source in sources
    ]


def test_test_labels_change_nothing_but_the_table(
    settings: FinetuneSettings, manifest: Path
) -> None:
    runs = _with_moved_labels(settings, manifest, "test")
    assert small.same(*map(small.weights, runs))
    assert small.log(runs[0]) == small.log(runs[1])
    tables = [read_predictions(run / "predictions.csv") for run in runs]
    np.testing.assert_array_equal(tables[0].probabilities, tables[1].probabilities)
    assert (tables[0].labels != tables[1].labels).all()


def test_validation_labels_choose_but_do_not_train(
    settings: FinetuneSettings, manifest: Path
) -> None:
    true, moved = (small.log(run) for run in _with_moved_labels(settings, manifest, "val"))
    assert [line["loss"] for line in true] == [line["loss"] for line in moved]
    assert true[0]["validation"] != moved[0]["validation"]


def test_balanced_weights_are_inverse_to_frequency(settings: FinetuneSettings) -> None:
    labels = torch.tensor([0, 0, 0, 1, 2, 2])
    weights = module._class_weights(replace(settings, class_weights="balanced"), labels, 3)
    torch.testing.assert_close(weights, torch.tensor([2 / 3, 2.0, 1.0]))
    assert weights[labels].mean() == pytest.approx(1.0)
    assert module._class_weights(settings, labels, 3).tolist() == [1, 1, 1]


def test_class_weights_enter_the_loss(
    settings: FinetuneSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = finetune(settings)
    monkeypatch.setattr(module, "_class_weights", lambda *_: torch.tensor([5.0, 1.0, 1.0]))
    weighted = finetune(replace(settings, out=str(tmp_path / "weighted")))
    assert not small.same(small.weights(plain), small.weights(weighted))
    assert small.log(plain)[0]["validation"] != small.log(weighted)[0]["validation"]


def test_class_weights_mean_the_same_in_batches_of_any_size(
    settings: FinetuneSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_class_weights", lambda *_: torch.tensor([5.0, 1.0, 1.0]))
    whole = replace(settings, augment=AugmentSettings(crop_scale=(1.0, 1.0)), drop_path=0.0)
    runs = [
        finetune(
            replace(
                whole,
                optimizer=small.optimizer(epochs=1, batch_size=size, accumulate=8 // size),
                out=str(tmp_path / str(size)),
            )
        )
        for size in (8, 1)
    ]
    at_once, singly = (small.weights(run) for run in runs)
    for name in at_once:
        torch.testing.assert_close(at_once[name], singly[name], atol=1e-4, rtol=0)


def test_lower_layers_learn_more_slowly(
    settings: FinetuneSettings, encoder: Path, tmp_path: Path
) -> None:
    before = small.weights(encoder)
    name = "encoder.patch_embed.proj.weight"
    moved = []
    for decay in (1.0, 0.1):
        out = str(tmp_path / str(decay))
        run = finetune(replace(settings, encoder=str(encoder), layer_decay=decay, out=out))
        moved.append(float((small.weights(run)[name] - before[name]).norm()))
    assert moved[1] < 0.05 * moved[0]  # the patch embedding lies below two blocks and the head


def test_the_same_fold_passes_and_another_is_refused(
    settings: FinetuneSettings, encoder: Path, manifest: Path, tmp_path: Path
) -> None:
    pretrained = replace(settings, encoder=str(encoder))
    run = finetune(replace(pretrained, data=small.data(manifest, fold=0)))
    assert small.facts(run)["test_images_seen_in_pretraining"] == 0
    # Fold 0 was pre-trained on fold 2, which is the test part of fold 2.
    other = replace(pretrained, data=small.data(manifest, fold=2), out=str(tmp_path / "other"))
    with pytest.raises(UserError, match="12 of 12 test images"):
        finetune(other)
    assert not Path(other.out).exists()
    allowed = finetune(replace(other, allow_seen=True))
    assert small.facts(allowed)["test_images_seen_in_pretraining"] == 12
    table = read_predictions(allowed / "predictions.csv")
    assert table.folds is not None
    assert set(table.folds.tolist()) == {2}


def test_a_finetuned_encoder_has_seen_training_and_validation(
    settings: FinetuneSettings, manifest: Path
) -> None:
    run = finetune(settings)
    images = read_images(settings.data, quiet=True)
    split = _fold(manifest)
    assert refuse_seen(str(run), images, split.test, allow=False) == 0
    for side in (split.train, split.val):
        assert refuse_seen(str(run), images, side, allow=True) == len(side)


def test_a_finished_run_is_not_run_again(
    settings: FinetuneSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finetune(settings)
    monkeypatch.setattr(module, "read_images", None)
    with pytest.raises(UserError, match="holds a run already"):
        finetune(settings)
    assert finetune(replace(settings, resume=True)) == run


def test_a_class_without_training_images_is_refused(
    settings: FinetuneSettings, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = _given(manifest, tmp_path / "given.csv")
    rows = [r for r in given.read_text().split("\n") if "sparse" not in r or "train" not in r]
    given.write_text("\n".join(rows))
    monkeypatch.setattr(module, "read_images", None)
    with pytest.raises(UserError, match="class 'sparse' has 0 patient"):
        finetune(replace(settings, data=small.data(given)))


@pytest.mark.parametrize("broken", ["training", "validation"])
def test_a_loss_that_is_no_number_stops_the_run(
    settings: FinetuneSettings, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    if broken == "training":
        monkeypatch.setattr(module, "_class_weights", lambda *_: torch.full((3,), math.nan))
        expected = "the loss is no longer a number at step 1"
    else:
        _validation([3.0, math.nan], monkeypatch)
        expected = "validation loss is no longer a number after epoch 2"
    with pytest.raises(UserError, match=expected):
        finetune(settings)
    assert not (Path(settings.out) / "predictions.csv").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"patience": 0}, "patience is 0"),
        ({"layer_decay": 0.0}, "layer_decay is 0"),
        ({"layer_decay": 1.5}, "layer_decay is 1.5"),
        ({"drop_path": 1.0}, "drop_path is 1"),
        ({"label_smoothing": -0.1}, "label_smoothing is -0.1"),
        ({"model": small.model(patch_size=5)}, "model.patch_size 5"),
        ({"optimizer": small.optimizer(clip=-1.0)}, "optimizer.clip is -1"),
        ({"encoder": "nowhere"}, "nowhere does not exist"),
    ],
)
def test_impossible_settings_are_refused_before_images_are_read(
    settings: FinetuneSettings,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    named: str,
) -> None:
    monkeypatch.setattr(module, "read_images", None)
    with pytest.raises(UserError, match=named):
        finetune(replace(settings, **changes))
    assert not Path(settings.out).exists()


def test_too_few_images_for_a_step_leave_no_folder(settings: FinetuneSettings) -> None:
    with pytest.raises(UserError, match=r"lower optimizer\.accumulate"):
        finetune(replace(settings, optimizer=small.optimizer(accumulate=100)))
    assert not Path(settings.out).exists()


def test_settings_are_kept_beside_the_results(settings: FinetuneSettings) -> None:
    half = HardwareSettings(accelerator="cpu", precision="bf16")
    run = finetune(replace(settings, hardware=half, pooling="token", seed=5))
    kept = yaml.safe_load((run / "settings.yaml").read_text())
    assert (kept["seed"], kept["hardware"]["precision"]) == (5, "bf16")
    assert json.loads((run / "config.json").read_text())["format"] == "glcm-mae encoder"
    seeds = read_predictions(run / "predictions.csv").seeds
    assert seeds is not None
    assert set(seeds.tolist()) == {5}
