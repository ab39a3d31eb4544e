"""A probe or baseline says of other images what it has said of its own."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from glcm_mae.cli import main
from glcm_mae.data import read_manifest
from glcm_mae.errors import UserError
from glcm_mae.models import load_encoder, save_encoder
from glcm_mae.predictions import Predictions, read_predictions
from glcm_mae.settings import BaselineKind, BaselineSettings, PredictSettings
from glcm_mae.training import classifiers, encoders
from glcm_mae.training.baseline import baseline
from glcm_mae.training.classifier_file import CLASSIFIER, keep, read_kept
from glcm_mae.training.classifiers import (
    Linear,
    Neighbours,
    Standardized,
    boosting,
    fitted,
    linear,
    neighbours,
)
from glcm_mae.training.hand_made import local_glcms
from glcm_mae.training.inputs import read_images
from glcm_mae.training.predict import predict
from glcm_mae.training.probe import probe

from ..commands import complaint
from . import small

KINDS: list[BaselineKind] = [kind for kind in get_args(BaselineKind) if kind != "shortcuts"]


@pytest.fixture
def ask(manifest: Path, tmp_path: Path) -> PredictSettings:
    """Asks of the images that the run knows; which run, each test says."""
    return PredictSettings(
        run="", images=str(manifest), out=str(tmp_path / "asked"), hardware=small.CPU
    )


def _probe(manifest: Path, out: Path, encoder: Path | str | None, **changes: Any) -> Path:
    data = small.data(manifest, fold=0)
    weights = None if encoder is None else str(encoder)
    return probe(small.probing(data, out, **{"encoder": weights, **changes}))


def _baseline(manifest: Path, out: Path, kind: BaselineKind, **changes: Any) -> Path:
    data = small.data(manifest, **changes)
    return baseline(BaselineSettings(data, str(out), kind))


def _same_images(before: Predictions, after: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the images that both have."""
    rows = [after.paths.index(path) for path in before.paths]
    return before.probabilities, after.probabilities[rows]


# --- as of their own images


@pytest.mark.parametrize("pooling", ["mean", "moments"])
def test_a_probe_says_what_it_has_said(
    ask: PredictSettings, encoder: Path, manifest: Path, tmp_path: Path, pooling: str
) -> None:
    run = _probe(manifest, tmp_path / "probe", encoder, pooling=pooling)
    out = predict(replace(ask, run=str(run)))
    for way in ("linear", "knn"):
        for side in ("predictions.csv", "validation.csv"):
            own = read_predictions(run / way / side)
            said = read_predictions(out / way / "predictions.csv")
            np.testing.assert_allclose(*_same_images(own, said), atol=1e-6)
        thresholds = read_predictions(out / way / "validation.csv")
        assert thresholds.paths[0].startswith("probe: ")
    assert small.facts(out)["images_seen_in_training"] == 24


@pytest.mark.parametrize("kind", KINDS)
def test_a_baseline_says_what_it_has_said(
    ask: PredictSettings, manifest: Path, tmp_path: Path, kind: BaselineKind
) -> None:
    run = _baseline(manifest, tmp_path / "run", kind, fold=0)
    out = predict(replace(ask, run=str(run)))
    own, said = (read_predictions(f / "predictions.csv") for f in (run, out))
    np.testing.assert_allclose(*_same_images(own, said), atol=1e-9)
    assert small.facts(out)["images_seen_in_training"] == 24


def test_glcms_stand_beside_the_features_of_others_too(
    ask: PredictSettings, encoder: Path, manifest: Path, tmp_path: Path
) -> None:
    run = _probe(manifest, tmp_path / "probe", encoder, beside_glcms=True)
    assert len(read_kept(run / "linear", 3).centre) == 16 + 384
    out = predict(replace(ask, run=str(run)))
    own, said = (read_predictions(f / "linear" / "predictions.csv") for f in (run, out))
    np.testing.assert_allclose(*_same_images(own, said), atol=1e-6)


@pytest.mark.parametrize("weights", [None, "encoder.safetensors"])
def test_weights_that_are_no_run_are_made_anew(
    ask: PredictSettings, encoder: Path, manifest: Path, tmp_path: Path, weights: str | None
) -> None:
    """Random ones by their seed, those of a file by the file."""
    file = None if weights is None else encoder / weights
    run = _probe(manifest, tmp_path / "probe", file, seed=3)
    torch.manual_seed(99)
    out = predict(replace(ask, run=str(run)))
    own, said = (read_predictions(f / "linear" / "predictions.csv") for f in (run, out))
    np.testing.assert_allclose(*_same_images(own, said), atol=1e-6)


# --- where each fold was tested in turn


def test_the_classifier_of_all_folds_is_fitted_on_all_images(
    ask: PredictSettings, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _baseline(manifest, tmp_path / "run", "glcm_local")
    features = local_glcms(read_images(small.data(manifest), quiet=True).pixels).numpy()
    whole = read_manifest(manifest)
    expected = fitted(linear, features, whole.labels, whole.patients, 0).chances(features)
    words = ("--run", run, "--images", ask.images, "--out", ask.out)
    assert main(["predict", *map(str, words)]) == 0
    said = read_predictions(Path(ask.out, "predictions.csv"))
    np.testing.assert_allclose(said.probabilities, expected, atol=1e-9)
    assert "36 of 36 images, or copies of them, were used" in capsys.readouterr().err
    # Thresholds are by what classifiers said that had not seen the image.
    thresholds, own = (read_predictions(f) for f in (_in(ask, "validation.csv"), _in(run)))
    np.testing.assert_array_equal(thresholds.probabilities, own.probabilities)
    metrics = json.loads(_in(ask, "metrics.json").read_text())
    assert metrics["by_image"]["at_threshold"] is not None


def _in(folder: PredictSettings | Path, name: str = "predictions.csv") -> Path:
    return Path(folder.out if isinstance(folder, PredictSettings) else folder, name)


def test_a_test_part_alone_gives_no_threshold(
    ask: PredictSettings, manifest: Path, tmp_path: Path
) -> None:
    run = _baseline(manifest, tmp_path / "run", "histogram", fold=0)
    (run / "validation.csv").unlink()
    assert not (predict(replace(ask, run=str(run))) / "validation.csv").exists()


# --- the command


def test_the_command_measures_both_ways_of_a_probe(
    ask: PredictSettings,
    encoder: Path,
    manifest: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = _probe(manifest, tmp_path / "probe", encoder)
    folder = tmp_path / "others"
    for name in ("dense/a.png", "sparse/b.png", "streaked/c.png", "dense/d.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(len(name)).integers(0, 256, (16, 16), np.uint8)
        Image.fromarray(noise).save(folder / name)
    words = ["predict", "--run", str(run), "--images", str(folder), "--out", ask.out]
    assert main(words) == 0
    said = capsys.readouterr().out
    for way in ("linear", "knn"):
        assert str(Path(ask.out, way, "metrics.json")) in said
    unlabelled = [str(folder / "dense"), "--out", str(tmp_path / "new")]
    assert main(["predict", "--run", str(run), "--images", *unlabelled]) == 0
    tables = " and ".join(str(tmp_path / "new" / w / "predictions.csv") for w in ("knn", "linear"))
    assert f"The predictions lie in {tables}. They are not measured" in capsys.readouterr().out


def test_shortcuts_say_nothing_of_another_set(
    ask: PredictSettings, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _baseline(manifest, tmp_path / "run", "shortcuts")
    assert not (run / CLASSIFIER).exists()
    words = ("predict", "--images", ask.images, "--out", ask.out, "--run", run)
    assert "measured among the images of one set" in complaint(capsys, *words)
    assert not Path(ask.out).exists()


# --- the encoder of a probe


def test_run_and_encoder_may_move_together(
    ask: PredictSettings, encoder: Path, manifest: Path, tmp_path: Path
) -> None:
    shutil.copytree(encoder, tmp_path / "here/encoder")
    run = _probe(manifest, tmp_path / "here/probe", tmp_path / "here/encoder")
    own = read_predictions(run / "linear/predictions.csv")
    (tmp_path / "here").rename(tmp_path / "there")
    out = predict(replace(ask, run=str(tmp_path / "there/probe")))
    said = read_predictions(out / "linear/predictions.csv")
    np.testing.assert_allclose(*_same_images(own, said), atol=1e-6)


def test_an_encoder_that_is_gone_or_another_is_refused(
    ask: PredictSettings, encoder: Path, manifest: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "encoder"
    shutil.copytree(encoder, copy)
    run = _probe(manifest, tmp_path / "probe", copy)
    model, config = load_encoder(copy)
    model.cls_token.data += 1
    save_encoder(copy, model, config)
    asked = replace(ask, run=str(run))
    with pytest.raises(UserError, match=f"fitted on another encoder than {copy} is: restore that"):
        predict(asked)
    shutil.rmtree(copy)
    with pytest.raises(UserError, match="which is neither there nor at"):
        predict(asked)
    assert not Path(ask.out).exists()


def test_random_weights_that_come_out_otherwise_are_refused(
    ask: PredictSettings, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _probe(manifest, tmp_path / "probe", None)
    seed = torch.manual_seed
    monkeypatch.setattr(torch, "manual_seed", lambda n: seed(n + 1))
    with pytest.raises(UserError, match=r"another encoder than torch \S+ draws from seed 0"):
        predict(replace(ask, run=str(run)))


def test_a_digest_tells_one_weight_from_another(encoder: Path) -> None:
    model, _ = load_encoder(encoder)
    before = encoders.digest(model)
    assert before == encoders.digest(load_encoder(encoder)[0])
    with torch.no_grad():
        model.cls_token[0, 0, 0] += 1
    assert before != encoders.digest(model)


# --- what is not whole


def test_runs_without_a_classifier_are_refused(
    ask: PredictSettings, encoder: Path, manifest: Path, tmp_path: Path
) -> None:
    of_probe = _probe(manifest, tmp_path / "probe", encoder)
    of_baseline = _baseline(manifest, tmp_path / "baseline", "histogram", fold=0)
    for run, kept in ((of_probe, of_probe / "knn"), (of_baseline, of_baseline)):
        asked = replace(ask, run=str(run))
        whole = (kept / CLASSIFIER).read_bytes()
        (kept / CLASSIFIER).write_bytes(whole[:-8])
        with pytest.raises(UserError, match="is not a whole classifier: copy the run anew"):
            predict(asked)
        (kept / CLASSIFIER).unlink()
        with pytest.raises(UserError, match="keeps no classifier, for it was made by an earlier"):
            predict(asked)
        (kept / CLASSIFIER).write_bytes(whole)
        facts = small.facts(run)
        for lacking in ("classes", "channels"):
            told = {name: value for name, value in facts.items() if name != lacking}
            (run / "finished.json").write_text(json.dumps(told))
            with pytest.raises(UserError, match="does not tell its classes and channels"):
                predict(asked)
        (run / "finished.json").unlink()
        with pytest.raises(UserError, match="is not finished: run it again with --resume true"):
            predict(asked)
        (run / "finished.json").write_text(json.dumps(facts))
    told = {name: value for name, value in small.facts(of_probe).items() if name != "encoder"}
    whole_facts = (of_probe / "finished.json").read_text()
    (of_probe / "finished.json").write_text(json.dumps(told))
    with pytest.raises(UserError, match="does not tell how it made its features"):
        predict(replace(ask, run=str(of_probe)))
    (of_probe / "finished.json").write_text(whole_facts)
    written = yaml.safe_load((of_probe / "settings.yaml").read_text())
    for changes in ({"pooling": "foo"}, {"model": {"what": 1}}):
        (of_probe / "settings.yaml").write_text(yaml.safe_dump(written | changes))
        with pytest.raises(UserError, match="does not tell how it made its features"):
            predict(replace(ask, run=str(of_probe)))
    written = yaml.safe_load((of_baseline / "settings.yaml").read_text())
    (of_baseline / "settings.yaml").write_text(yaml.safe_dump(written | {"kind": "foo"}))
    with pytest.raises(UserError, match="is of no known kind, 'foo'"):
        predict(replace(ask, run=str(of_baseline)))


def _of_labels(labels: np.ndarray) -> Standardized:
    features, _, patients = small.clusters(np.random.default_rng(0))
    return fitted(neighbours(3), features, labels, patients, 0)


@pytest.mark.parametrize(
    "classifier",
    [
        Standardized(np.zeros(5), np.ones(5), Linear(np.zeros((2, 5)), np.zeros(2))),
        Standardized(np.zeros(5), np.ones(5), Linear(np.zeros((3, 4)), np.zeros(3))),
        Standardized(np.zeros(5), np.ones(4), Linear(np.zeros((3, 5)), np.zeros(3))),
        Standardized(np.zeros(5), np.zeros(5), Linear(np.zeros((3, 5)), np.zeros(3))),
        Standardized(np.zeros(5), np.ones(5), Linear(np.full((3, 5), np.nan), np.zeros(3))),
        Standardized(np.zeros((1, 5)), np.ones(5), Linear(np.zeros((3, 5)), np.zeros(3))),
        _of_labels(np.zeros(60, dtype=np.int64)),
        _of_labels(np.linspace(0, 2, 60)),
    ],
)
def test_what_cannot_tell_these_classes_is_refused(classifier: Any, tmp_path: Path) -> None:
    keep(classifier, tmp_path)
    with pytest.raises(UserError, match="is not a whole classifier"):
        read_kept(tmp_path, 3)


def test_a_classifier_is_of_the_rule_that_is_asked_for(tmp_path: Path) -> None:
    features, labels, patients = small.clusters(np.random.default_rng(0))
    keep(fitted(linear, features, labels, patients, 0), tmp_path)
    assert isinstance(read_kept(tmp_path, 3, Linear).rule, Linear)
    with pytest.raises(UserError, match="is not a whole classifier"):
        read_kept(tmp_path, 3, Neighbours)


def test_trees_that_grow_otherwise_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, labels, patients = small.clusters(np.random.default_rng(0))
    keep(fitted(boosting, features, labels, patients, 0), tmp_path)
    read_kept(tmp_path, 3)
    plain = HistGradientBoostingClassifier(max_iter=2)
    monkeypatch.setattr(classifiers, "_boosted", lambda *_: plain)
    with pytest.raises(UserError, match="grows other trees by the scikit-learn that is installed"):
        read_kept(tmp_path, 3)


def test_two_classes_are_those_of_scikit_learn(tmp_path: Path) -> None:
    features, labels, patients = small.clusters(np.random.default_rng(0))
    labels = labels.clip(max=1)
    classifier = fitted(linear, features, labels, patients, 0)
    keep(classifier, tmp_path)
    again = read_kept(tmp_path, 2)
    np.testing.assert_array_equal(again.chances(features), classifier.chances(features))
    scaled = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    strengths = np.logspace(-4, 2, 7)
    models = [LogisticRegression(C=c, max_iter=1000).fit(scaled, labels) for c in strengths]
    gaps = [np.abs(m.predict_proba(scaled) - again.chances(features)).max() for m in models]
    assert min(gaps) < 1e-12
