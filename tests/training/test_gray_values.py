"""Images on another gray scale than a run's: told, and brought there."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glcm_mae.data import count_gray_values, make_phantom, match_gray_values, write_phantom
from glcm_mae.errors import UserError
from glcm_mae.models import load_encoder
from glcm_mae.predictions import read_predictions
from glcm_mae.settings import (
    BaselineSettings,
    EmbedSettings,
    ExplainSettings,
    PredictSettings,
    ProbeSettings,
)
from glcm_mae.training.baseline import baseline
from glcm_mae.training.embed import embed
from glcm_mae.training.explain import explain
from glcm_mae.training.gray_values import read_gray_values
from glcm_mae.training.inputs import read_images, split_of
from glcm_mae.training.predict import predict
from glcm_mae.training.probe import extract, probe

from ..commands import complaint
from . import small


def _gain(share: np.ndarray) -> np.ndarray:
    return 0.3 + 0.7 * share**0.8


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """24 images of 12 other patients, as the study's scanner shows them and as another would."""
    phantom, folder = make_phantom(4, 2, 16, seed=7), tmp_path_factory.mktemp("others")
    brighter = np.rint(255 * _gain(phantom.images / 255.0)).astype(np.uint8)
    return {
        "same": write_phantom(phantom, folder / "same"),
        "gain": write_phantom(replace(phantom, images=brighter), folder / "gain"),
    }


def _asked(run: Path, images: Path, out: Path, *, match: bool) -> Path:
    return predict(
        PredictSettings(
            run=str(run),
            images=str(images),
            out=str(out),
            match_gray_values=match,
            hardware=small.CPU,
        )
    )


def test_each_run_tells_the_gray_values_of_the_images_it_knows(
    encoder: Path, finetuned: Path, manifest: Path, tmp_path: Path
) -> None:
    data = small.data(manifest, fold=0)
    images = read_images(data, quiet=True)
    split = split_of(data, images.manifest)
    tested = {int(i) for i in split.test}
    others = [i for i in range(len(images)) if i not in tested]
    probed = probe(
        ProbeSettings(data, str(tmp_path / "probe"), model=small.model(), hardware=small.CPU)
    )
    measured = baseline(BaselineSettings(data, str(tmp_path / "pixels"), kind="pixels"))
    for run, used in (
        (encoder, split.train),
        (finetuned, others),
        (probed, others),
        (measured, others),
    ):
        expected = count_gray_values(images.pixels[used])
        np.testing.assert_array_equal(read_gray_values(run, 1), expected)


def test_another_scale_is_told_and_its_own_is_not(
    finetuned: Path, sets: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = _asked(finetuned, sets["same"], tmp_path / "same", match=False)
    assert "gray" not in capsys.readouterr().err
    assert small.facts(out)["gray_values_apart"] < 0.1
    out = _asked(finetuned, sets["gain"], tmp_path / "gain", match=False)
    told = capsys.readouterr().err
    assert "the 24 images are on another gray scale than those that " in told
    assert "--match_gray_values true brings them to its scale" in told
    assert small.facts(out)["gray_values_apart"] > 0.5


def test_on_the_runs_scale_images_are_what_they_were(
    finetuned: Path, sets: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = {
        (name, match): read_predictions(
            _asked(finetuned, sets[name], tmp_path / f"{name}-{match}", match=match)
            / "predictions.csv"
        ).probabilities
        for name in sets
        for match in (False, True)
    }
    assert "24 images are brought to the gray scale of " in capsys.readouterr().err
    off, left = (
        np.abs(tables["gain", match] - tables["same", True]).max() for match in (False, True)
    )
    assert left < 0.1 * off
    assert np.abs(tables["same", True] - tables["same", False]).max() < 0.5 * off


def test_a_part_of_a_source_is_matched_as_the_whole(
    finetuned: Path, encoder: Path, sets: dict[str, Path], tmp_path: Path
) -> None:
    said = _asked(finetuned, sets["gain"], tmp_path / "said", match=True)
    shared = {"images": str(sets["gain"]), "match_gray_values": True, "hardware": small.CPU}
    found = explain(
        ExplainSettings(run=str(finetuned), out=str(tmp_path / "e"), n_images=5, **shared)
    )
    table = read_predictions(said / "predictions.csv")
    rows = [table.paths.index(record.name) for record in found.manifest.records]
    assert len(rows) == 5
    np.testing.assert_allclose(found.probabilities, table.probabilities[rows], atol=1e-6)
    images = read_images(small.data(sets["gain"]), quiet=True)
    own = read_gray_values(encoder, 1)
    assert own is not None
    matched = match_gray_values(images.pixels, own)
    features = embed(EmbedSettings(run=str(encoder), out="", **shared)).features
    np.testing.assert_allclose(features, extract(*load_encoder(encoder), matched), atol=1e-6)


def test_a_few_that_are_explained_are_told_by_their_source(
    finetuned: Path, sets: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, images in sets.items():
        settings = ExplainSettings(
            run=str(finetuned),
            images=str(images),
            out=str(tmp_path / name),
            n_images=3,
            hardware=small.CPU,
        )
        assert len(explain(settings).maps) == 3
        told = "images are on another gray scale" in capsys.readouterr().err
        assert told == (name == "gain")


def test_a_few_images_make_no_curve(
    finetuned: Path, sets: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for file in sorted(sets["gain"].parent.rglob("*.png"))[:3]:
        shutil.copy(file, few / file.name)
    out = _asked(finetuned, few, tmp_path / "out", match=True)
    assert "from 3 alone the curve takes away part of what they show" in capsys.readouterr().err
    assert len((out / "predictions.csv").read_text().splitlines()) == 4
    _asked(finetuned, few, tmp_path / "as-they-are", match=False)
    assert "gray scale" not in capsys.readouterr().err  # three may well look other than the rest


def test_runs_that_do_not_tell_can_match_nothing(
    finetuned: Path, sets: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finetuned, run)
    (run / "gray_values.csv").unlink()
    out = _asked(run, sets["gain"], tmp_path / "out", match=False)
    assert small.facts(out)["gray_values_apart"] is None
    words = ["predict", "--run", str(run), "--images", str(sets["gain"])]
    words += ["--match_gray_values", "true", "--out", str(tmp_path / "matched")]
    said = complaint(capsys, *words)
    assert "was made by an earlier version and does not tell the gray values" in said


def test_a_broken_table_is_refused(finetuned: Path, tmp_path: Path) -> None:
    whole = (finetuned / "gray_values.csv").read_text()
    head, first, *rest = whole.splitlines()
    nothing = [row.rpartition(",")[0] + ",0" for row in (first, *rest)]
    for rows in (
        [],
        [head],
        [head, first, *rest[:-1]],
        [head, f"{first},1", *rest],
        [head, "0,-1", *rest],
        [head, "0,much", *rest],
        [head, *nothing],
    ):
        (tmp_path / "gray_values.csv").write_text("\n".join(rows))
        with pytest.raises(UserError, match=r"gray_values\.csv is not a whole table of gray"):
            read_gray_values(tmp_path, 1)
    (tmp_path / "gray_values.csv").write_text(whole)
    with pytest.raises(UserError, match="is not a whole table"):
        read_gray_values(tmp_path, 3)
