from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glcm_mae.data import Manifest, Record, Split, holdout, read_manifest
from glcm_mae.errors import UserError
from glcm_mae.evaluation import evaluate, format_table
from glcm_mae.models import load_encoder
from glcm_mae.predictions import read_predictions
from glcm_mae.settings import HardwareSettings, ProbeSettings
from glcm_mae.training import probe as module
from glcm_mae.training.classifiers import Linear, linear, neighbours
from glcm_mae.training.hand_made import local_glcms
from glcm_mae.training.inputs import read_images
from glcm_mae.training.probe import (
    extract,
    grouped_parts,
    images_and_parts,
    out_of_fold,
    probe,
)

from . import small


@pytest.fixture
def settings(manifest: Path, tmp_path: Path) -> ProbeSettings:
    return small.probing(small.data(manifest), tmp_path / "run")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _manifest(labels: np.ndarray, patients: np.ndarray) -> Manifest:
    records = tuple(
        Record(Path(f"{i}.png"), "abc"[label], patient, None)
        for i, (label, patient) in enumerate(zip(labels, patients, strict=True))
    )
    return Manifest(records, ("a", "b", "c"), True)


def test_every_fold_is_tested_once_and_no_patient_is_on_two_sides(
    settings: ProbeSettings, manifest: Path
) -> None:
    run = probe(settings)
    whole = read_manifest(manifest)
    for kind in ("linear", "knn"):
        table = read_predictions(run / kind / "predictions.csv")
        assert sorted(Path(p).name for p in table.paths) == [r.path.name for r in whole.records]
        np.testing.assert_allclose(table.probabilities.sum(axis=1), 1, atol=1e-6)
        assert table.folds is not None
        assert set(table.folds.tolist()) == {0, 1, 2}
        pairs = {(p, int(f)) for p, f in zip(table.patients, table.folds, strict=True)}
        assert len(pairs) == 18
    assert small.facts(run)["test"] == 36


def test_the_parts_are_grouped_by_patient(manifest: Path) -> None:
    whole = read_manifest(manifest)
    parts = grouped_parts(whole, 3, seed=0)
    assert sorted(np.concatenate([part.test for part in parts]).tolist()) == list(range(36))
    for part in parts:
        assert not set(whole.patients[part.train]) & set(whole.patients[part.test])
        assert len(part.train) + len(part.test) == 36


def test_the_same_fold_passes_and_another_is_refused(
    settings: ProbeSettings, encoder: Path, manifest: Path, tmp_path: Path
) -> None:
    pretrained = replace(settings, encoder=str(encoder))
    run = probe(replace(pretrained, data=small.data(manifest, fold=0)))
    assert small.facts(run) | {"test": 12, "test_images_seen_in_pretraining": 0} == small.facts(run)
    table = read_predictions(run / "linear" / "predictions.csv")
    names = [r.path.name for r in read_manifest(manifest).records]
    test = holdout(read_manifest(manifest), 3, 0, 0).test
    assert [Path(p).name for p in table.paths] == [names[i] for i in test]
    # Fold 0 was pre-trained on fold 2; without a fold, all are tested.
    for fold, seen, tested in ((2, 12, 12), (None, 12, 36)):
        out = tmp_path / f"fold {fold}"
        other = replace(pretrained, data=small.data(manifest, fold=fold), out=str(out))
        with pytest.raises(UserError, match=f"{seen} of {tested} test images"):
            probe(other)
        assert not out.exists()
        allowed = probe(replace(other, allow_seen=True))
        assert small.facts(allowed)["test_images_seen_in_pretraining"] == seen
        metrics = evaluate(allowed / "linear" / "predictions.csv", n_resamples=50)
        assert metrics["test_images_seen_in_pretraining"] == seen
        assert f"{seen} of the test images, or others of their patients" in format_table(metrics)
    clean = evaluate(run / "linear" / "predictions.csv", n_resamples=50)
    assert "test_images_seen_in_pretraining" not in clean


def test_skipped_images_leave_the_others_in_their_folds(
    settings: ProbeSettings, manifest: Path
) -> None:
    whole = read_manifest(manifest)
    broken = whole.records[3].path
    content = broken.read_bytes()
    broken.write_bytes(b"xx")
    try:
        data = small.data(manifest, fold=0, on_error="skip")
        images, [part], _ = images_and_parts(data)
    finally:
        broken.write_bytes(content)
    before = holdout(whole, 3, 0, 0)
    assert (images.skipped, len(images)) == (1, 35)
    for side in ("train", "val", "test"):
        names = {images.manifest.records[i].name for i in getattr(part, side)}
        assert names == {whole.records[i].name for i in getattr(before, side) if i != 3}


def test_the_table_names_the_fold_that_was_asked_for(
    settings: ProbeSettings, manifest: Path
) -> None:
    run = probe(replace(settings, data=small.data(manifest, fold=1), seed=4))
    table = read_predictions(run / "knn" / "predictions.csv")
    assert table.folds is not None
    assert table.seeds is not None
    assert (set(table.folds.tolist()), set(table.seeds.tolist())) == ({1}, {4})


def test_features_are_the_encoders_on_normalised_images(encoder: Path, manifest: Path) -> None:
    pixels = read_images(small.data(manifest), quiet=True).pixels
    model, config = load_encoder(encoder)
    features = extract(model, config, pixels)
    tokens = model.eval()((pixels - config.mean[0]) / config.std[0]).detach()
    np.testing.assert_allclose(features, tokens[:, 1:].mean(dim=1), atol=1e-5)
    token = extract(model, config, pixels, "token")
    np.testing.assert_allclose(token, tokens[:, 0], atol=1e-5)


def test_glcms_stand_beside_the_features(
    settings: ProbeSettings, encoder: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def record(learn: Any, features: np.ndarray, *rest: Any) -> Any:
        given.append(features)
        return out_of_fold(learn, features, *rest)

    monkeypatch.setattr(module, "out_of_fold", record)
    settings = replace(settings, encoder=str(encoder), allow_seen=True)
    probe(settings)
    probe(replace(settings, beside_glcms=True, out=settings.out + "-glcm"))
    pixels = read_images(small.data(manifest), quiet=True).pixels
    plain, beside = given[0], given[-1]
    np.testing.assert_array_equal(beside[:, : plain.shape[1]], plain)
    np.testing.assert_array_equal(beside[:, plain.shape[1] :], local_glcms(pixels).numpy())


def test_a_probe_finds_what_is_there_and_not_what_is_not(rng: np.random.Generator) -> None:
    features, labels, patients = small.clusters(rng)
    manifest = _manifest(labels, patients)
    parts = grouped_parts(manifest, 3, seed=0)
    for learn in (linear, neighbours(5)):
        for true, least, most in ((features, 0.85, 1.0), (rng.normal(size=(60, 5)), 0.0, 0.6)):
            table = out_of_fold(learn, true, manifest, parts, seed=0)[0].test
            accuracy = (table.probabilities.argmax(axis=1) == table.labels).mean()
            assert least <= accuracy <= most


def test_features_are_standardised_by_the_training_part(rng: np.random.Generator) -> None:
    features, labels, patients = small.clusters(rng, 12)
    features[6:] += 1000.0
    given: list[np.ndarray] = []

    def learn(train: np.ndarray, *_: Any) -> Linear:
        given.append(train)
        return Linear(np.zeros((3, 5)), np.zeros(3))

    manifest = _manifest(labels, patients)
    part = Split(np.arange(6), np.arange(9, 12), np.arange(6, 9))
    tables, [classifier] = out_of_fold(learn, features, manifest, [part], seed=0, first_fold=2)
    np.testing.assert_allclose(given[0].mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(given[0].std(axis=0), 1, atol=1e-4)
    np.testing.assert_allclose(classifier.centre, features[:6].mean(axis=0))
    assert tables.validation is not None
    for table, side in ((tables.test, part.test), (tables.validation, part.val)):
        assert table.paths == tuple(f"{i}.png" for i in side)
        assert table.folds is not None
        assert set(table.folds.tolist()) == {2}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"neighbours": 0}, "neighbours is 0"),
        ({"hardware": HardwareSettings("cpu", devices=2)}, "hardware.devices is 2"),
        ({"encoder": "nowhere"}, "nowhere does not exist"),
        ({"model": small.model(patch_size=5)}, "model.patch_size 5"),
        (
            {"data": small.data(Path("m.csv"), image_size=4), "beside_glcms": True},
            "data.image_size is 4: beside_glcms pairs pixels 4 apart, so set it to 5 or more",
        ),
    ],
)
def test_impossible_settings_are_refused_before_images_are_read(
    settings: ProbeSettings,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    named: str,
) -> None:
    monkeypatch.setattr(module, "read_images", None)
    with pytest.raises(UserError, match=named):
        probe(replace(settings, **changes))
    assert not Path(settings.out).exists()


def test_a_class_of_one_patient_is_named(
    settings: ProbeSettings, manifest: Path, tmp_path: Path
) -> None:
    rows = ["path,label,patient,split"]
    for i, record in enumerate(read_manifest(manifest).records):
        side = "val" if i < 6 else "test" if record.label == "sparse" and i < 32 else "train"
        rows.append(f"{record.path},{record.label},{record.patient},{side}")
    (tmp_path / "given.csv").write_text("\n".join(rows))
    with pytest.raises(UserError, match=r"class 'sparse' has 1 patient\(s\).*needs 2"):
        probe(replace(settings, data=small.data(tmp_path / "given.csv")))


def test_an_existing_probe_is_refused_and_a_stopped_one_leaves_no_trace(
    settings: ProbeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "linear", interrupt)
        with pytest.raises(KeyboardInterrupt):
            probe(settings)
    assert not Path(settings.out).exists()
    probe(settings)
    monkeypatch.setattr(module, "read_images", None)
    with pytest.raises(UserError, match="holds a run already"):
        probe(settings)
    assert probe(replace(settings, resume=True)) == Path(settings.out)


def test_a_probe_computes_in_the_precision_that_was_asked_for(
    settings: ProbeSettings,
    encoder: Path,
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features: list[np.ndarray] = []
    whole = module.extract

    def spied(*arguments: Any) -> np.ndarray:
        features.append(whole(*arguments))
        return features[-1]

    monkeypatch.setattr(module, "extract", spied)
    fold = small.data(manifest, fold=0)
    for precision in ("fp32", "bf16"):
        probe(
            replace(
                settings,
                encoder=str(encoder),
                data=fold,
                out=str(tmp_path / precision),
                hardware=HardwareSettings("cpu", precision=precision),
            )
        )
    assert np.abs(features[0] - features[1]).max() > 0
    np.testing.assert_allclose(features[0], features[1], atol=0.1)
