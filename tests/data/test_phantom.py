"""The phantom: its physics, what tells its classes apart, and what must not."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.feature import graycomatrix, graycoprops
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from glcm_mae.data.phantom import (
    TEXTURES,
    Phantom,
    Texture,
    envelope,
    gray_levels,
    make_phantom,
    phantom_image,
    write_phantom,
)
from glcm_mae.errors import UserError

PROPERTIES = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation")
ANGLES = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(patients_per_class=50, images_per_patient=4)


@pytest.fixture(scope="module")
def glcm(phantom: Phantom) -> np.ndarray:
    return np.stack([_glcm_features(image) for image in phantom.images])


def _glcm_features(image: np.ndarray) -> np.ndarray:
    matrices = graycomatrix(image // 16, [1, 2], ANGLES, levels=16, symmetric=True, normed=True)
    return np.concatenate([graycoprops(matrices, name).ravel() for name in PROPERTIES])


def _logistic() -> ClassifierMixin:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))


def _accuracy(
    model: ClassifierMixin, features: np.ndarray, phantom: Phantom
) -> tuple[float, float]:
    """Accuracy over grouped folds, and its standard error over patients."""
    labels, patients = np.array(phantom.labels), np.array(phantom.patients)
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    predicted = cross_val_predict(model, features, labels, groups=patients, cv=folds)
    correct = predicted == labels
    of_patient = np.array([correct[patients == name].mean() for name in np.unique(patients)])
    return float(correct.mean()), float(of_patient.std(ddof=1) / np.sqrt(len(of_patient)))


# The physics


@pytest.mark.parametrize("density", [1.7, 4.0, 16.0])
def test_few_scatterers_make_the_intensity_heavy_tailed(density: float) -> None:
    intensity = envelope(Texture(density, 1.0, 1.2), 768, np.random.default_rng(0)) ** 2
    moment = (intensity**2).mean() / intensity.mean() ** 2
    assert moment == pytest.approx(2 + 1 / density, rel=0.03)


def test_a_dense_texture_is_fully_developed_speckle() -> None:
    amplitude = envelope(Texture(50.0, 1.0, 1.2), 768, np.random.default_rng(0))
    rayleigh = np.sqrt(np.pi / (4 - np.pi))  # 1.91, Wagner et al.'s signal-to-noise ratio
    assert amplitude.mean() / amplitude.std() == pytest.approx(rayleigh, rel=0.02)


def test_the_intensity_has_the_correlation_lengths_asked_for() -> None:
    intensity = envelope(Texture(50.0, 1.0, 1.8), 768, np.random.default_rng(0)) ** 2
    centred = intensity - intensity.mean()
    for lag in (1, 2, 3):
        down = (centred[lag:] * centred[:-lag]).mean() / centred.var()
        across = (centred[:, lag:] * centred[:, :-lag]).mean() / centred.var()
        assert down == pytest.approx(np.exp(-(lag**2) / (2 * 1.0**2)), abs=0.02)
        assert across == pytest.approx(np.exp(-(lag**2) / (2 * 1.8**2)), abs=0.02)


def test_opposite_edges_are_strangers() -> None:
    rng = np.random.default_rng(0)
    intensities = np.stack([envelope(TEXTURES["dense"], 16, rng) ** 2 for _ in range(400)])
    for first, last in (
        (intensities[:, 0], intensities[:, -1]),
        (intensities[..., 0], intensities[..., -1]),
    ):
        assert abs(np.corrcoef(first.ravel(), last.ravel())[0, 1]) < 0.06


# The seed


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    first, again, other = (make_phantom(2, 2, size=32, seed=seed) for seed in (3, 3, 4))
    assert first.images.tobytes() == again.images.tobytes()
    assert not (first.images == other.images).all(axis=(1, 2)).any()


def test_no_two_images_are_alike(phantom: Phantom) -> None:
    assert len({image.tobytes() for image in phantom.images}) == len(phantom.images)


def test_a_larger_phantom_begins_with_the_smaller_one() -> None:
    small, large = make_phantom(1, 2, size=32), make_phantom(3, 2, size=32)
    assert (large.images[:6] == small.images).all()
    assert large.patients[:6] == small.patients


@pytest.mark.parametrize(
    ("patients", "images", "size", "seed"),
    [(0, 1, 16, 0), (1, 0, 16, 0), (1, 1, 0, 0), (1, 1, 16, -1)],
)
def test_senseless_settings_are_refused(patients: int, images: int, size: int, seed: int) -> None:
    with pytest.raises(UserError, match="phantom needs"):
        make_phantom(patients, images, size, seed)


# What tells the classes apart, and what must not


def test_every_image_has_the_same_histogram(phantom: Phantom) -> None:
    assert phantom.images.dtype == np.uint8
    assert (np.sort(phantom.images.reshape(600, -1)) == gray_levels(64 * 64)).all()


def test_a_histogram_shows_a_range_of_grays_around_the_middle() -> None:
    levels = gray_levels(64 * 64)
    assert np.median(levels) == pytest.approx(127.5, abs=1)
    assert len(np.unique(levels)) > 128
    assert (levels == 0).mean() < 0.01
    assert levels.max() < 255


def test_no_classifier_learns_the_class_from_the_histogram(phantom: Phantom) -> None:
    pixels = phantom.images.reshape(len(phantom.images), -1)
    bins = np.stack([np.histogram(row, 32, (0, 256))[0] for row in pixels])
    quantiles = np.quantile(pixels, np.linspace(0, 1, 64), axis=1).T
    moments = np.stack([pixels.mean(1), pixels.var(1), (pixels == 0).mean(1)], axis=1)
    everything = np.concatenate([quantiles, moments], axis=1)
    forest = RandomForestClassifier(50, random_state=0)
    for model, features in ((_logistic(), bins), (forest, everything)):
        accuracy, error = _accuracy(model, features, phantom)
        assert abs(accuracy - 1 / 3) <= 1.96 * error


def test_no_classifier_learns_the_class_from_where_the_gray_lies(phantom: Phantom) -> None:
    """The texture is stationary: no place is brighter in one class than in another."""
    blocks = phantom.images.reshape(-1, 8, 8, 8, 8).mean(axis=(2, 4)).reshape(-1, 64)
    accuracy, error = _accuracy(_logistic(), blocks, phantom)
    assert accuracy - 1.96 * error <= 1 / 3


def test_glcm_features_tell_the_classes_apart(glcm: np.ndarray, phantom: Phantom) -> None:
    accuracy, error = _accuracy(_logistic(), glcm, phantom)
    assert accuracy - 1.96 * error > 0.9


def test_images_of_one_patient_resemble_each_other(glcm: np.ndarray) -> None:
    features = glcm.reshape(50, 3, 4, -1)  # turn, class, image of the patient
    within = features.var(axis=2, ddof=1).mean(axis=0)
    between = features.mean(axis=2).var(axis=0, ddof=1) - within / 4
    of_patient = between / (between + within)  # the intraclass correlation of every feature
    assert np.median(of_patient) > 0.5


# The folder


def test_the_folder_reads_back_as_the_phantom(tmp_path: Path) -> None:
    phantom = make_phantom(2, 2, size=32)
    manifest = write_phantom(phantom, tmp_path / "new" / "phantom")
    assert manifest == tmp_path / "new" / "phantom" / "manifest.csv"
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == phantom.labels
    assert [row["patient"] for row in rows] == phantom.patients
    for row, image in zip(rows, phantom.images, strict=True):
        with Image.open(manifest.parent / row["path"]) as png:
            assert png.mode == "L"
            assert (np.asarray(png) == image).all()


def test_a_half_written_folder_is_completed(tmp_path: Path) -> None:
    phantom = make_phantom(1, 1, size=16)
    manifest = write_phantom(phantom, tmp_path)
    whole = manifest.read_bytes()
    manifest.unlink()
    assert write_phantom(phantom, str(tmp_path)).read_bytes() == whole


def test_a_killed_writing_leaves_whole_files_and_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantom = make_phantom(1, 1, size=16)
    write_phantom(phantom, tmp_path / "whole")

    def killed(temporary: Path, path: Path) -> None:
        if path.name == "00001.png":
            shutil.copy(temporary, temporary.with_name(".00001.png.123.tmp"))  # not cleared up
            raise KeyboardInterrupt
        temporary.rename(path)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_phantom(phantom, tmp_path / "killed")
    monkeypatch.undo()
    assert sorted(os.listdir(tmp_path / "killed/images")) == [".00001.png.123.tmp", "00000.png"]
    write_phantom(phantom, tmp_path / "killed")
    names = [
        sorted(path.relative_to(tmp_path / folder) for path in (tmp_path / folder).rglob("*"))
        for folder in ("whole", "killed")
    ]
    assert names[0] == names[1]


def test_a_folder_that_holds_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path\nmine.png\n")
    with pytest.raises(UserError, match=r"manifest\.csv"):
        write_phantom(make_phantom(1, 1, size=16), tmp_path)
    assert (tmp_path / "manifest.csv").read_text() == "path\nmine.png\n"
    assert not (tmp_path / "images").exists()


def test_another_phantom_is_something_else(tmp_path: Path) -> None:
    write_phantom(make_phantom(1, 1, size=16, seed=0), tmp_path)
    with pytest.raises(UserError, match="something other"):
        write_phantom(make_phantom(1, 1, size=16, seed=1), tmp_path)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        write_phantom(make_phantom(1, 1, size=16), tmp_path / "file")


def test_own_textures_take_the_place_of_the_default_ones() -> None:
    own = {"a": Texture(8, 1.0, 1.0), "b": Texture(8, 2.0, 1.0)}
    assert make_phantom(2, 1, size=16, textures=own).labels == ["a", "b", "a", "b"]
    image = phantom_image(own["a"], 48, np.random.default_rng(0))
    assert image.shape == (48, 48)
