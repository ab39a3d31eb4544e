"""The demonstration: the commands of a real study, run on the simulated ultrasound phantom."""

from __future__ import annotations

import io
import json
import shlex
import time
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from glcm_mae.cli import main
from glcm_mae.data import load_images, make_phantom, read_manifest, write_phantom
from glcm_mae.errors import UserError
from glcm_mae.evaluation import evaluate, paired_difference, with_interval
from glcm_mae.files import write_atomically
from glcm_mae.report.pictures import draw_reconstructions, kept_texture, redraw
from glcm_mae.settings import DemoSettings
from glcm_mae.stages.checks import check_empty, check_seed
from glcm_mae.texture import image_features, quantize
from glcm_mae.training.classifiers import linear
from glcm_mae.training.pretraining import load_run
from glcm_mae.training.probe import grouped_parts, out_of_fold

_SIZE = 64
_FOLDS = 5
_LEVELS = 16
_OFFSETS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))
_ARMS = {"mse": "MSE", "texture": "MSE + texture prediction"}


def demo(settings: DemoSettings) -> str:
    """Pre-train two arms on the phantom's unlabelled patients, and probe them on the others.

    Parameters
    ----------
    settings : DemoSettings
        See there.

    Returns
    -------
    str
        The two arms side by side, with floor and ceiling, and where the pictures lie.

    Raises
    ------
    UserError
        If a size is too small, the folder is not empty, or a stage fails.
    """
    start = time.monotonic()
    out = Path(settings.out)
    _check_sizes(settings)
    check_seed("seed", settings.seed)
    check_empty(out)
    unlabelled, labelled = _write_data(settings, out)

    seed = ["--seed", str(settings.seed)]
    pretrain = ["pretrain", "--config", "demo", "--data.images", str(unlabelled), *seed]
    pretrain += ["--optimizer.epochs", str(settings.epochs)]
    _run([*pretrain, "--objective.glcm_prediction", "0", "--out", str(out / "mse")])
    _run([*pretrain, "--out", str(out / "texture")])
    probe = ["probe", "--config", "demo", "--data.images", str(labelled), *seed]
    _run([*probe, "--out", str(out / "random-probe")])
    for arm in _ARMS:
        _run([*probe, "--encoder", str(out / arm), "--out", str(out / f"{arm}-probe")])

    pixels = _pixels(labelled)
    _probe_texture_features(pixels, labelled, out / "glcm-features-probe", settings.seed)
    kept = {}
    for arm in _ARMS:
        redrawn = redraw(load_run(out / arm), pixels[::4], mask_ratio=0.75, seed=settings.seed)
        kept[arm] = kept_texture(redrawn)
    pictures = [_draw(out, arm, pixels, settings.seed) for arm in _ARMS]
    summary = _summary(out, kept)
    write_atomically(out / "summary.txt", summary + "\n")
    minutes = (time.monotonic() - start) / 60
    shown = " and ".join(str(picture) for picture in pictures)
    return f"\n{summary}\n\nPictures: {shown}. Everything lies in {out} ({minutes:.1f} minutes)."


def _check_sizes(settings: DemoSettings) -> None:
    """Refuse at once what would be refused when all is simulated and pre-trained."""
    least = {
        "epochs": 1,
        "unlabelled_patients": 1,
        "labelled_patients": _FOLDS,  # of each class, for a probe tests one in each fold
        "images_per_patient": 1,
    }
    for name, number in least.items():
        if getattr(settings, name) < number:
            raise UserError(f"{name} is {getattr(settings, name)}: set it to {number} or more.")


def _write_data(settings: DemoSettings, out: Path) -> tuple[Path, Path]:
    """Simulate one phantom and deal its patients: some for pre-training, the others for probing."""
    phantom = make_phantom(
        settings.unlabelled_patients + settings.labelled_patients,
        settings.images_per_patient,
        _SIZE,
        settings.seed,
    )
    manifest = read_manifest(write_phantom(phantom, out / "data"))
    patients = list(dict.fromkeys(manifest.patients))
    first = patients[: len(set(manifest.classes)) * settings.unlabelled_patients]
    for_pretraining = np.isin(manifest.patients, first)
    paths = out / "data" / "unlabelled.csv", out / "data" / "labelled.csv"
    for path, chosen in zip(paths, (for_pretraining, ~for_pretraining), strict=True):
        manifest.subset(np.flatnonzero(chosen)).write(path)
    return paths


def _run(words: list[str]) -> None:
    """Run a command as it would be typed, its own report hidden."""
    print(f"$ glcm-mae {shlex.join(words)}", flush=True)
    with redirect_stdout(io.StringIO()):
        code = main(words)
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise UserError("the demo has stopped at the command above.")


def _pixels(labelled: Path) -> Tensor:
    return load_images(read_manifest(labelled).records, (_SIZE, _SIZE)).pixels[:]


def _probe_texture_features(pixels: Tensor, labelled: Path, out: Path, seed: int) -> None:
    """Probe GLCM features on the folds of the other probes: what texture alone can tell."""
    manifest = read_manifest(labelled)
    levels = quantize(pixels[:, 0], _LEVELS)
    features = image_features(levels, _LEVELS, _OFFSETS, aggregation="separate").flatten(1)
    parts = grouped_parts(manifest, _FOLDS, seed=0)
    tables, _ = out_of_fold(linear, features.numpy(), manifest, parts, seed)
    tables.write(out / "linear")
    evaluate(_predictions(out / "linear"))


def _draw(out: Path, arm: str, pixels: Tensor, seed: int) -> Path:
    chosen = torch.linspace(0, len(pixels) - 1, 4).long()
    path = out / f"{arm}.png"
    draw_reconstructions(redraw(load_run(out / arm), pixels[chosen], 0.75, seed), path)
    return path


def _summary(out: Path, kept: dict[str, dict[str, float]]) -> str:
    rows = {
        "random weights (floor)": "random-probe",
        **{name: f"{arm}-probe" for arm, name in _ARMS.items()},
        "GLCM features (ceiling)": "glcm-features-probe",
    }
    lines = [f"{'accuracy, 3 classes':26}{'linear probe':24}nearest neighbours"]
    for name, folder in rows.items():
        cells = [_accuracy(out / folder / kind) for kind in ("linear", "knn")]
        lines.append(f"{name:26}{cells[0]:24}{cells[1]:24}".rstrip())
    lines.append("")
    for kind, name in (("linear", "linear probe"), ("knn", "nearest neighbours")):
        mse, texture = (_predictions(out / f"{arm}-probe" / kind) for arm in _ARMS)
        d = paired_difference(mse, texture, "accuracy")["difference"]
        lines.append(f"texture - MSE, {name}: {with_interval(d, signed=True)}")
    counts = json.loads((out / "mse-probe" / "linear" / "metrics.json").read_text(encoding="utf-8"))
    lines += [
        "",
        f"{counts['n_images']} images of {counts['n_patients']} patients that pre-training has not"
        f" seen, {_FOLDS} folds grouped by patient;",
        "95% intervals from a bootstrap over patients, one training seed. Chance is 0.333.",
        "",
        f"{'what redrawn patches keep':26}{'local contrast (ideal 1)':28}GLCM distance (ideal 0)",
    ]
    for arm, name in _ARMS.items():
        contrast, distance = kept[arm]["contrast"], kept[arm]["glcm_distance"]
        lines.append(f"{name:26}{contrast:<28.2f}{distance:.2f}")
    return "\n".join(lines)


def _predictions(folder: Path) -> Path:
    return folder / "predictions.csv"


def _accuracy(folder: Path) -> str:
    file = folder / "metrics.json"
    if not file.exists():
        return ""
    metrics = json.loads(file.read_text(encoding="utf-8"))["by_image"]["overall"]
    return with_interval(metrics["accuracy"])
